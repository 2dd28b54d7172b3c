package tls

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func benchServer(b *testing.B) (net.Addr, *authority) {
	root := newAuthority(b, "Bench Root", nil)
	key := newKey(b)
	return serveTLS(b, &stdtls.Config{
		Certificates: []stdtls.Certificate{root.issue(b, leafFor("bench.test"), key)}, NextProtos: []string{"h2", "http/1.1"},
	}), root
}

// BenchmarkScan is one whole scan of a modern endpoint on loopback; both ends run on this machine. Beside each profile stands
// its floor: as many bare handshakes with crypto/tls, one after the other.
func BenchmarkScan(b *testing.B) {
	addr, root := benchServer(b)
	p := New(Options{ExtraRoots: []*x509.Certificate{root.cert}})
	for _, profile := range []modelv1.Profile{modelv1.Profile_PROFILE_QUICK, modelv1.Profile_PROFILE_STANDARD, modelv1.Profile_PROFILE_DEEP} {
		job := jobFor(addr, "bench.test")
		job.Options.Profile = profile
		connections := factOf(b, p, job).GetConnections() // loads the roots, too
		name := strings.ToLower(strings.TrimPrefix(profile.String(), "PROFILE_"))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				scan(b, p, job)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
			b.ReportMetric(float64(connections), "connections/scan")
		})
		b.Run(name+" floor", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bareHandshakes(b, addr, connections)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
		})
	}
}

func bareHandshakes(b *testing.B, addr net.Addr, count uint32) {
	b.Helper()
	for range count {
		conn, err := net.DialTimeout("tcp", addr.String(), 5*time.Second)
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
