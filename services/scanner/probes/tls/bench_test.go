package tls

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

func benchServer(b *testing.B) (net.Addr, *authority) {
	root := newAuthority(b, "Bench Root", nil)
	key := newKey(b)
	return serveTLS(b, &stdtls.Config{
		Certificates: []stdtls.Certificate{root.issue(b, leafFor("bench.test"), key)}, NextProtos: []string{"h2", "http/1.1"},
	}), root
}

// BenchmarkScan is one whole scan of a modern endpoint on loopback; both ends run on this machine. Its floor is
// BenchmarkScanFloor: the bare handshakes that a scan needs at least.
func BenchmarkScan(b *testing.B) {
	addr, root := benchServer(b)
	p := New(Options{ExtraRoots: []*x509.Certificate{root.cert}})
	job := jobFor(addr, "bench.test")
	scan(b, p, job) // loads the roots
	b.ResetTimer()
	for b.Loop() {
		scan(b, p, job)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
}

// BenchmarkScanFloor opens and completes as many handshakes as a scan of this endpoint, one after the other with crypto/tls.
func BenchmarkScanFloor(b *testing.B) {
	addr, _ := benchServer(b)
	const connections = 9
	b.ResetTimer()
	for b.Loop() {
		for range connections {
			conn, err := net.DialTimeout("tcp", addr.String(), time.Second)
			if err != nil {
				b.Fatal(err)
			}
			client := stdtls.Client(conn, &stdtls.Config{InsecureSkipVerify: true, ServerName: "bench.test"})
			if err := client.Handshake(); err != nil {
				b.Fatal(err)
			}
			_ = conn.Close()
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
}

// BenchmarkCertificate is what one certificate of a chain costs.
func BenchmarkCertificate(b *testing.B) {
	der := selfSign(b, leafFor("bench.test"), newKey(b)).Certificate[0]
	for b.Loop() {
		c, err := readCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		c.fact()
	}
}
