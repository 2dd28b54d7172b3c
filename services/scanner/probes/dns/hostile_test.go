package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// bothAt listens at one port for datagrams and connections. One that is free for the first may be taken for the second.
func bothAt(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 50 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if tcp, err := net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			return udp, tcp
		}
		_ = udp.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

// rawServer answers every question with bytes of the test's choice, by UDP and TCP, and returns its address.
func rawServer(t *testing.T, answer func(question []byte) []byte) netip.AddrPort {
	t.Helper()
	udp, tcp := bothAt(t)
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		buffer := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			if reply := answer(buffer[:n]); len(reply) > 0 {
				_, _ = udp.WriteTo(reply[:min(len(reply), 1200)], from)
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err == nil {
				question := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, question); err == nil {
					reply := answer(question)
					_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
				}
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = udp.Close(); _ = tcp.Close(); <-done; <-done })
	return netip.MustParseAddrPort(udp.LocalAddr().String())
}

// reply begins a raw answer: the question's id and the question again, with counts.
func replyTo(question []byte, answers uint16) []byte {
	out := append([]byte{}, question[:2]...)
	out = append(out, 0x81, 0x80, 0, 1)
	out = binary.BigEndian.AppendUint16(out, answers)
	out = append(out, 0, 0, 0, 0)
	end := 12
	for end < len(question) && question[end] != 0 {
		end += int(question[end]) + 1
	}
	return append(out, question[12:min(end+5, len(question))]...)
}

// Broken and forged answers end the scan as failed or partial, soon, and without a fact that accuses.
func TestHostileAnswers(t *testing.T) {
	tests := map[string]func([]byte) []byte{
		"a compression loop": func(q []byte) []byte {
			return append(replyTo(q, 1), 0xC0, byte(len(replyTo(q, 1))), 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4)
		},
		"a pointer past the end": func(q []byte) []byte {
			return append(replyTo(q, 1), 0xFF, 0xFF, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4)
		},
		"more records than bytes": func(q []byte) []byte { return replyTo(q, 65535) },
		"half a header":           func(q []byte) []byte { return q[:5] },
		"the question itself":     func(q []byte) []byte { return q },
		"another id":              func(q []byte) []byte { out := replyTo(q, 0); out[0] ^= 0xFF; return out },
		"nothing":                 func([]byte) []byte { return nil },
		"zeros":                   func([]byte) []byte { return make([]byte, 1000) },
		"cut off for ever":        func(q []byte) []byte { out := replyTo(q, 0); out[2] |= 2; return out },
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			p := New(Options{Resolver: rawServer(t, answer).String()})
			p.limits.try, p.limits.again, p.limits.failure = 50*time.Millisecond, time.Millisecond, time.Millisecond
			began := time.Now()
			result, err := p.Scan(t.Context(), labOf(p), jobFor(domain, "z.test"))
			if err != nil || result.Outcome == modelv1.Outcome_OUTCOME_COMPLETE {
				t.Fatalf("got %+v, %v", result, err)
			}
			if time.Since(began) > 20*time.Second {
				t.Errorf("took %v", time.Since(began))
			}
			for _, o := range result.Observations {
				if o.GetDangling() != nil {
					t.Errorf("accuses: %v", o)
				}
			}
		})
	}
}

// An answer of 64 KiB is read and bounded.
func TestHugeAnswers(t *testing.T) {
	var zone strings.Builder
	zone.WriteString(top)
	for i := range 240 {
		fmt.Fprintf(&zone, "z.test. TXT \"%03d %s\"\n", i, strings.Repeat("x", 240))
		fmt.Fprintf(&zone, "z.test. A 10.1.%d.1\nz.test. CAA 0 issue \"ca%d.test\"\nz.test. NAPTR %d 1 \"\" \"\" \"\" a.test.\nz.test. HTTPS %d h%d.z.test.\n", i, i, i, i+1, i)
	}
	result := run(t, probeFor(t, newWorld(t, zone.String()), nil), jobFor(domain, "z.test"))
	dns, _, dangling := facts(result)
	if len(dns.GetTxt()) != maxValues || len(dns.GetA()) != maxValues || len(dns.GetCaa()) > maxValues || len(dns.GetNaptr()) > maxBindings ||
		len(dns.GetBindings()) > maxBindings || len(result.Leads) > maxLeads || len(dangling) > maxDangling {
		t.Errorf("%d texts, %d addresses, %d CAA, %d NAPTR, %d bindings, %d leads, %d dangling", len(dns.GetTxt()), len(dns.GetA()), len(dns.GetCaa()),
			len(dns.GetNaptr()), len(dns.GetBindings()), len(result.Leads), len(dangling))
	}
	for _, o := range result.Observations {
		if n := len(o.GetEvidence().GetExcerpt()); n > probes.MaxExcerptRunes*4 {
			t.Errorf("an excerpt of %d bytes", n)
		}
	}
}

// Servers that take questions and say nothing cost no more than the budget, and what was learned stays.
func TestBudgetWithSilentServers(t *testing.T) {
	for name, test := range map[string]struct {
		second mdns.Handler // a name server
		quiet  bool         // questions of which there are many get no answer
	}{"a silent name server": {mute, false}, "silence on what there is much of": {newWorld(t, tidy), true}, "both": {mute, true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tidy)
			w.fault = func(_ mdns.ResponseWriter, q *mdns.Msg) bool {
				kind := q.Question[0].Qtype
				return test.quiet && (kind == mdns.TypeSRV || kind == mdns.TypeTLSA || strings.Contains(q.Question[0].Name, "_domainkey"))
			}
			p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": test.second})
			p.limits.try = time.Minute
			job := jobFor(domain, "good.test")
			job.Options.Budget = durationpb.New(2 * time.Second)
			began := time.Now()
			result := run(t, p, job)
			dns, mail, _ := facts(result)
			if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || len(dns.GetA()) != 2 || mail.GetSpf().GetAll() != "-" {
				t.Errorf("got %v (%s) with %v and %v", result.Outcome, result.Reason, dns, mail)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("a budget of 2 s took %v", took)
			}
		})
	}
}

// Who does not answer the first questions of a long list does not get all the others.
func TestPatience(t *testing.T) {
	w := newWorld(t, tidy)
	var dropped atomic.Int32
	w.fault = func(_ mdns.ResponseWriter, q *mdns.Msg) bool {
		quiet := q.Question[0].Qtype == mdns.TypeSRV
		if quiet {
			dropped.Add(1)
		}
		return quiet
	}
	p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": newWorld(t, tidy)})
	p.limits.try = 50 * time.Millisecond
	result := run(t, p, jobFor(domain, "good.test"))
	if most := int32(tries * (maxUnanswered + perResolver)); result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || dropped.Load() == 0 || dropped.Load() > most {
		t.Errorf("%d questions (%v), want at most %d", dropped.Load(), result.Outcome, most)
	}
}

// A scan that is stopped returns with what it has.
func TestStoppedScan(t *testing.T) {
	w := newWorld(t, tidy)
	w.fault = func(_ mdns.ResponseWriter, q *mdns.Msg) bool { return q.Question[0].Qtype == mdns.TypeTXT }
	p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": mute})
	p.limits.try = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	result, err := p.Scan(ctx, labOf(p), jobFor(domain, "good.test"))
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL {
		t.Errorf("got %+v, %v", result, err)
	}
}

// What a provider's page says is read in bounds and compared, never kept.
func TestEndlessPage(t *testing.T) {
	zone := "test. SOA ns.test. a.test. 1 1 1 1 1\nwww.test. CNAME x.pages.test.\nx.pages.test. A 127.0.0.1\n"
	probe := probeFor(t, newWorld(t, zone), nil)
	probe.providers = func() []provider {
		return []provider{{Name: "Pages", State: stateVulnerable, CNAME: []string{"pages.test"}, Text: []string{"no site"}}}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\n\r\n")
			for {
				if _, err := conn.Write(make([]byte, 1<<16)); err != nil {
					break
				}
			}
			_ = conn.Close()
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	probe.webPorts = [2]uint16{port, port}
	result := run(t, probe, jobFor(host, "www.test"))
	if _, _, dangling := facts(result); len(dangling) != 0 {
		t.Errorf("got %v", dangling)
	}
}
