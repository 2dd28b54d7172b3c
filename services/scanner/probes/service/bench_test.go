package service

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// BenchmarkService measures the scan of one port against its floor: a bare connection that says the same words and reads the
// same answer. "ratio" is the floor's time by the scan's, both of the same run.
func BenchmarkService(b *testing.B) {
	b.Run("ssh", func(b *testing.B) {
		port := serve(b, "127.0.0.1:0", sshServer("SSH-2.0-OpenSSH_9.6", "curve25519-sha256", "ssh-ed25519", "aes128-ctr", "aes128-ctr"))
		against(b, "127.0.0.1", port, "ssh", func() error {
			return bareTalk(port, "127.0.0.1", true, ownSSH, 5)
		})
	})
	b.Run("http", func(b *testing.B) {
		const address = "127.0.6.20"
		port := serveWeb(b, address+":8080", false, website(map[string]string{"Server": "nginx/1.24.0"}, map[string]string{"GET /": "hello"}))
		against(b, address, port, "http", func() error {
			return bareTalk(port, address, false, string(request("GET", "/", address, nil)), 100)
		})
	})
}

// bareTalk is the floor: greeting, words, answer.
func bareTalk(port uint16, address string, greets bool, words string, answer int) error {
	conn, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	if greets {
		if _, err := reader.ReadString('\n'); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, words); err != nil {
		return err
	}
	_, err = io.ReadFull(reader, make([]byte, answer))
	return err
}

func against(b *testing.B, address string, port uint16, name string, floor func() error) {
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			if err := floor(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}
		probe, job := New(), serviceJob(address, port)
		var scanned, bare time.Duration
		for b.Loop() {
			began := time.Now()
			result, err := probe.Scan(b.Context(), env, job)
			scanned += time.Since(began)
			if err != nil || factOf(b, result).GetName() != name {
				b.Fatal(result, err)
			}
			b.StopTimer()
			began = time.Now()
			if err := floor(); err != nil {
				b.Fatal(err)
			}
			bare += time.Since(began)
			b.StartTimer()
		}
		b.ReportMetric(float64(bare)/float64(scanned), "ratio")
		b.ReportMetric(float64(b.N)/scanned.Seconds(), "ports/s")
	})
}
