package tls

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each hostile server must end in a result, soon and without a fact that is not true.
func TestHostileServers(t *testing.T) {
	wait := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<16)); _, _ = conn.Read(make([]byte, 1)) }
	record := func(kind byte, body []byte) []byte { return appendBlock16([]byte{kind, 3, 3}, body) }
	endless := func(message []byte) func(net.Conn) {
		return func(conn net.Conn) {
			if _, ok := readHello(conn); !ok {
				return
			}
			for {
				if _, err := conn.Write(message); err != nil {
					return
				}
			}
		}
	}
	hello := flightOf(versionTLS12, helloOf(versionTLS12, 0xc02f), nil, nil)
	tests := []struct {
		name    string
		handle  func(net.Conn)
		outcome modelv1.Outcome
		reason  string
	}{
		{"says nothing", wait, modelv1.Outcome_OUTCOME_FAILED, "no answer in time"},
		{"hangs up at once", func(conn net.Conn) { _, _ = readHello(conn) }, modelv1.Outcome_OUTCOME_FAILED, "closes every connection"},
		{"drips one byte at a time", func(conn net.Conn) {
			ticks := time.NewTicker(20 * time.Millisecond)
			defer ticks.Stop()
			for _, b := range append(record(recordHandshake, make([]byte, 16000)), hello...) {
				<-ticks.C
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}, modelv1.Outcome_OUTCOME_FAILED, "no answer in time"},
		{"endless warnings", endless(record(recordAlert, []byte{1, 112})), modelv1.Outcome_OUTCOME_FAILED, "longer than"},
		{"endless empty records", endless(record(recordHandshake, nil)), modelv1.Outcome_OUTCOME_FAILED, "longer than"},
		{"a message of 16 MiB", endless(record(recordHandshake, append([]byte{typeServerHello, 0xff, 0xff, 0xff}, make([]byte, 1000)...))), modelv1.Outcome_OUTCOME_FAILED, "longer than"},
		{"a certificate before the hello", endless(record(recordHandshake, []byte{typeCertificate, 0, 0, 3, 0, 0, 0})), modelv1.Outcome_OUTCOME_COMPLETE, ""},
		{"application data first", endless(record(recordData, []byte("x"))), modelv1.Outcome_OUTCOME_COMPLETE, ""},
		{"a record that is too long", endless([]byte{recordHandshake, 3, 3, 0xff, 0xff}), modelv1.Outcome_OUTCOME_COMPLETE, ""},
		{"refuses every hello", func(conn net.Conn) {
			_, _ = readHello(conn)
			_, _ = conn.Write(record(recordAlert, []byte{2, 112}))
		}, modelv1.Outcome_OUTCOME_PARTIAL, "alert unrecognized_name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := New(Options{})
			if test.reason == "no answer in time" {
				p = p.withLimits(300 * time.Millisecond)
			}
			result := scan(t, p, jobFor(serve(t, test.handle), "bad.test"))
			if result.Outcome != test.outcome || !strings.Contains(result.Reason, test.reason) || len(result.Observations) != 0 {
				t.Errorf("got %v (%q) with %d observations; want %v (%q) with none",
					result.Outcome, result.Reason, len(result.Observations), test.outcome, test.reason)
			}
		})
	}
}

// A certificate message can name 16 MiB of certificates; the probe keeps 16 of at most 64 KiB, and says what it could not read.
func TestHostileChains(t *testing.T) {
	cert := selfSign(t, leafFor("bad.test"), newKey(t)).Certificate[0]
	var many [][]byte
	for range 100 {
		many = append(many, cert)
	}
	tests := []struct {
		name    string
		chain   [][]byte
		outcome modelv1.Outcome
		length  int
	}{
		{"a hundred certificates", many, modelv1.Outcome_OUTCOME_COMPLETE, maxChain},
		{"no certificate in it", [][]byte{[]byte("no certificate")}, modelv1.Outcome_OUTCOME_PARTIAL, 0},
		{"half a certificate", [][]byte{cert[:len(cert)/2]}, modelv1.Outcome_OUTCOME_PARTIAL, 0},
		{"a good one and a bad one", [][]byte{cert, []byte("no certificate")}, modelv1.Outcome_OUTCOME_PARTIAL, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := legacyServer{suites: map[uint16][]uint16{versionTLS12: {0xc02b}}, chain: test.chain}
			result := scan(t, New(Options{}), jobFor(server.start(t), "bad.test"))
			if result.Outcome != test.outcome || len(result.Observations) != 1 || len(result.Observations[0].GetTls().GetChain()) != test.length {
				t.Errorf("got %v (%s), %v; want %v and a chain of %d", result.Outcome, result.Reason, result.Observations, test.outcome, test.length)
			}
		})
	}
}

// Text of a certificate is text of a stranger.
func TestHostileNames(t *testing.T) {
	template := leafFor("bad.test")
	template.Subject.CommonName = "evil\x1b[31m\n\u202etxt\u0000" + strings.Repeat("x", 5000)
	for i := range 500 {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("n%d.bad.test", i))
	}
	fact := factOf(t, New(Options{}), jobFor(serveTLS(t, &stdtls.Config{Certificates: []stdtls.Certificate{selfSign(t, template, newKey(t))}}), "bad.test"))
	leaf := fact.GetChain()[0]
	if strings.ContainsAny(leaf.GetSubject(), "\x1b\n\u202e\u0000") || len([]rune(leaf.GetSubject())) > maxText || len(leaf.GetNames()) != maxNames {
		t.Errorf("subject %q, %d names", leaf.GetSubject(), len(leaf.GetNames()))
	}
}

func TestSoManyAtOnce(t *testing.T) {
	var now, most atomic.Int32
	var tasks []func(context.Context)
	ready := make(chan struct{})
	for i := range 40 {
		tasks = append(tasks, func(context.Context) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			if i == parallel-1 {
				close(ready) // as many as may are there: the first ones wait for it, so it must come to that
			}
			<-ready
			now.Add(-1)
		})
	}
	run(t.Context(), tasks)
	if most.Load() > parallel {
		t.Errorf("%d tasks at once, want at most %d", most.Load(), parallel)
	}
}

// A modern server is asked a dozen times for the outline and some fifty for everything, about four at once.
func TestFewConnections(t *testing.T) {
	for profile, most := range map[modelv1.Profile]int32{
		modelv1.Profile_PROFILE_QUICK: 13, modelv1.Profile_PROFILE_STANDARD: 60, modelv1.Profile_PROFILE_DEEP: 80,
	} {
		t.Run(profile.String(), func(t *testing.T) { fewConnections(t, profile, most) })
	}
}

func fewConnections(t *testing.T, profile modelv1.Profile, limit int32) {
	t.Helper()
	root := newAuthority(t, "Test Root", nil)
	config := &stdtls.Config{Certificates: []stdtls.Certificate{root.issue(t, leafFor("few.test"), nil)}, NextProtos: []string{"h2", "http/1.1"}}
	var now, most, all atomic.Int32
	addr := serve(t, func(conn net.Conn) {
		all.Add(1)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		answerTLS(conn, config)
	})
	var permits atomic.Int32
	env := lab()
	env.Permit = func(_ context.Context, host string, cost int) error {
		if host != "127.0.0.1" {
			t.Errorf("permits for %q", host)
		}
		permits.Add(int32(cost))
		return nil
	}
	job := jobFor(addr, "few.test")
	job.Options.Profile = profile
	result, err := New(Options{}).Scan(t.Context(), env, job)
	if err != nil || len(result.Observations) != 1 {
		t.Fatalf("got %+v, %v", result, err)
	}
	if said := result.Observations[0].GetTls().GetConnections(); int32(said) != all.Load() {
		t.Errorf("the fact says %d connections, %d were made", said, all.Load())
	}
	// The server notices the end of one connection a little after the probe opened the next.
	if all.Load() > limit || most.Load() > parallel+2 || permits.Load() != all.Load() {
		t.Errorf("%d connections, %d at once, %d permits; want at most %d, %d, and a permit each", all.Load(), most.Load(), permits.Load(), limit, parallel)
	}
}

func TestScanEndsWithItsBudget(t *testing.T) {
	addr := serve(t, func(conn net.Conn) {
		if h, _ := readHello(conn); h.version == versionTLS12 && len(h.suites) > 3 {
			_, _ = conn.Write(flightOf(versionTLS12, helloOf(versionTLS12, h.suites[0]), nil, nil))
		}
		_, _ = conn.Read(make([]byte, 1))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // enough for the one answer on a busy machine too
	defer cancel()
	result, err := New(Options{}).Scan(ctx, lab(), jobFor(addr, "slow.test"))
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || len(result.Observations) != 1 {
		t.Errorf("got %+v, %v; want a partial result with what was seen", result, err)
	}
}

func TestMemoryOfEndlessServers(t *testing.T) {
	chunk := bytes.Repeat(appendBlock16([]byte{recordHandshake, 3, 3}, make([]byte, 1<<14)), 4)
	addr := serve(t, func(conn net.Conn) {
		for {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	for range 100 {
		go func() {
			defer func() { done <- struct{}{} }()
			_, _ = New(Options{}).withLimits(time.Second).Scan(t.Context(), lab(), jobFor(addr, ""))
		}()
	}
	for range 100 {
		<-done
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("100 scans of an endless server grew the process by %d MiB, want at most 64", grown>>20)
	}
}

func TestEndlessGreeting(t *testing.T) {
	t.Run("endless greeting", func(t *testing.T) {
		job := jobFor(serve(t, func(conn net.Conn) {
			for {
				if _, err := conn.Write(bytes.Repeat([]byte("220-more\r\n"), 100)); err != nil {
					return
				}
			}
		}), "mail.test")
		job.Target.Service, job.Target.Tls = "smtp", false
		if result := scan(t, New(Options{}), job); result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 0 {
			t.Errorf("got %+v, want complete without observation", result)
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	cert := selfSign(f, leafFor("fuzz.test"), newKey(f)).Certificate[0]
	f.Add(flightOf(versionTLS12, helloOf(versionTLS12, 0xc02f), [][]byte{cert, cert}, []byte{3, 0, 0x1d, 1, 2, 8, 4, 0, 1, 1}))
	f.Add(flightOf(versionSSL3, helloOf(versionSSL3, 0x0005), nil, nil))
	f.Add([]byte{recordAlert, 3, 1, 0, 2, 2, 40})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readAnswer(bytes.NewReader(data), true)
		if err == nil && got.version>>8 != 3 && got.version == 0 {
			t.Errorf("an answer without version: %+v", got)
		}
		if len(got.chain) > maxChain {
			t.Errorf("a chain of %d", len(got.chain))
		}
	})
}

func FuzzCertificate(f *testing.F) {
	root := newAuthority(f, "Fuzz Root", nil)
	f.Add(root.cert.Raw)
	f.Add(selfSign(f, leafFor("fuzz.test"), newKey(f)).Certificate[0])
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := readCertificate(der)
		if err != nil {
			return
		}
		fact := c.fact()
		if len(fact.GetNames()) > maxNames || len([]rune(fact.GetSubject())) > maxText || len(fact.GetSerial()) > maxSerial {
			t.Errorf("unbounded fact: %v", fact)
		}
		if at := fact.GetNotAfter(); at != nil && !at.IsValid() {
			t.Errorf("no time: %v", at)
		}
		c.matches("www.example.com")
		judge([]certificate{c, c}, stores{x509.NewCertPool(), x509.NewCertPool()}, time.Unix(1<<31, 0))
		chainFaults([]certificate{c, c})
	})
}

// A panic on what a target sent must reach the scanner, which recovers it; in a goroutine of its own it would end the process.
func TestPanicsReachTheCaller(t *testing.T) {
	defer func() {
		if p, ok := recover().(*together.Panic); !ok || p.Value != "broken" {
			t.Errorf("recovered %v", p)
		}
	}()
	run(t.Context(), []func(context.Context){func(context.Context) {}, func(context.Context) { panic("broken") }})
	t.Error("no panic")
}
