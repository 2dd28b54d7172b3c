package dns

import (
	"fmt"
	"net"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// BenchmarkNames asks a server on loopback for the addresses of names, as a scan does, and beside it the floor: the same
// questions in a bare loop over one socket that checks nothing. floor/op says how many times the floor one name costs.
func BenchmarkNames(b *testing.B) {
	const zone = "test. SOA ns.test. a.test. 1 1 1 1 1\n*.test. A 192.0.2.1\n"
	w := newWorld(b, zone)
	w.quiet = true
	p := probeFor(b, w, nil)
	var floor time.Duration
	b.Run("floor", func(b *testing.B) {
		floor = time.Duration(1<<63 - 1)
		socket, err := net.Dial("udp", p.options.Resolver)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = socket.Close() }()
		buffer := make([]byte, udpSize)
		began := time.Now()
		for i := 0; b.Loop(); i++ {
			for _, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
				q := new(mdns.Msg).SetQuestion(fmt.Sprintf("n%d.test.", i), kind)
				q.SetEdns0(udpSize, false)
				raw, err := q.Pack()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := socket.Write(raw); err != nil {
					b.Fatal(err)
				}
				n, err := socket.Read(buffer)
				if err != nil || new(mdns.Msg).Unpack(buffer[:n]) != nil {
					b.Fatal(err)
				}
			}
		}
		floor = time.Since(began) / time.Duration(max(b.N, 1))
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "names/s")
	})
	b.Run("resolver", func(b *testing.B) {
		env := labOf(p)
		r, err := newResolver(env, p)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			if i%(maxQuestions/4) == 0 { // a scan asks no more than so many questions
				if r, err = newResolver(env, p); err != nil {
					b.Fatal(err)
				}
			}
			if list, _, err := r.addresses(b.Context(), fmt.Sprintf("n%d.test", i)); err != nil || len(list) != 1 {
				b.Fatal(list, err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "names/s")
		b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(floor), "floor/op")
	})
}

// BenchmarkScan runs whole scans of a domain with all that it has, and says how many questions each costs.
func BenchmarkScan(b *testing.B) {
	w := newWorld(b, tidy)
	p := probeFor(b, w, map[string]mdns.Handler{"127.0.0.2": w})
	job := jobFor(domain, "good.test")
	env := labOf(p)
	env.Blobs = nil
	var result *probes.Result
	scans := 0
	for b.Loop() {
		var err error
		if result, err = p.Scan(b.Context(), env, job); err != nil {
			b.Fatal(err)
		}
		scans++
	}
	b.ReportMetric(float64(len(w.questions()))/float64(scans), "questions/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scans/s")
	if len(result.Observations) != 2 {
		b.Fatalf("%d observations (%s)", len(result.Observations), result.Reason)
	}
}
