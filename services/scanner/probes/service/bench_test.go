package service

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
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

// BenchmarkServiceUDP is the same over UDP, for SNMP: a floor that asks all of the scan's questions on bare sockets, those that are
// answered and the one that is not left out.
func BenchmarkServiceUDP(b *testing.B) {
	answer := snmpAnswer(snmpV2c, object(oidDescription, tagOctets, "Linux gw 5.10.0"))
	old := snmpAnswer(snmpV1, object(oidDescription, tagOctets, "Linux gw 5.10.0"))
	engine := unhex(b, engineReport)
	port := serveUDP(b, "127.0.0.1:0", func(question []byte) [][]byte {
		switch question[4] {
		case snmpV1:
			return [][]byte{[]byte(old)}
		case snmpV2c:
			return [][]byte{[]byte(answer)}
		}
		return [][]byte{[]byte(engine)}
	})
	floor := func() error {
		conn, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		if err != nil {
			return err
		}
		defer conn.Close()
		data := make([]byte, 4096)
		for _, version := range []byte{snmpV3, snmpV2c, snmpV1} {
			if _, err := conn.Write([]byte{0x30, 3, 2, 1, version}); err != nil {
				return err
			}
			if _, err := conn.Read(data); err != nil {
				return err
			}
		}
		return nil
	}
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			if err := floor(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		p := udpProber(port)
		p.patience = patienceOf(false)
		p.patience.settle = 0 // waited after each answer for more of it, by design
		snmp := datagramTable()[1]
		for b.Loop() {
			if answer := p.askDatagram(b.Context(), snmp); answer.fact.GetName() != "snmp" {
				b.Fatal(answer)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ports/s")
	})
}

// BenchmarkServiceMany scans 256 ports at a time, and reports how many a second and what the heap held at most.
func BenchmarkServiceMany(b *testing.B) {
	const width = 256
	port := serve(b, "127.0.0.1:0", script("* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n", map[string]string{"a1": "* CAPABILITY IMAP4rev1\r\na1 OK done\r\n", "a2": hangUp}))
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}
	probe, job := New(), serviceJob("127.0.0.1", port)
	var peak uint64
	for b.Loop() {
		var group sync.WaitGroup
		for range width {
			group.Go(func() {
				if result, err := probe.Scan(b.Context(), env, job); err != nil || factOf(b, result).GetName() != "imap" {
					b.Error(result, err)
				}
			})
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		peak = max(peak, memory.HeapInuse)
		group.Wait()
	}
	b.ReportMetric(float64(width*b.N)/b.Elapsed().Seconds(), "ports/s")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-heap")
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
		b.ReportAllocs()
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
