package service

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// drip sends one byte every few milliseconds, for as long as somebody listens.
func drip(text string) handler {
	return func(conn net.Conn) {
		ticker := time.NewTicker(40 * time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
			<-ticker.C
		}
	}
}

func TestTarpit(t *testing.T) {
	tests := map[string]handler{
		"greeting": drip("x"),
		"header": func(conn net.Conn) {
			if _, err := conn.Read(make([]byte, 1024)); err == nil {
				drip("HTTP/1.1 200 OK\r\nX-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")(conn)
			}
		},
	}
	for name, server := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", server))
			if fact := factOf(t, result); !fact.GetTarpit() {
				t.Errorf("%v %q: %v", result.Outcome, result.Reason, fact)
			}
		})
	}
}

// A mail server that sends a part of its greeting, waits, and sends the rest is no tarpit.
func TestSlowGreetingIsNoTarpit(t *testing.T) {
	// The second part comes when the minimum rate counts already.
	parts := map[time.Duration]string{450 * time.Millisecond: "220-m\r\n", 900 * time.Millisecond: "220 Postfix\r\n"}
	result := scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", func(conn net.Conn) {
		_, _ = io.WriteString(conn, "220-m ESMTP\r\n")
		said := make(chan struct{}, len(parts))
		for after, part := range parts {
			time.AfterFunc(after, func() {
				_, _ = io.WriteString(conn, part)
				said <- struct{}{}
			})
		}
		for range parts {
			<-said
		}
		script("", map[string]string{"EHLO": "250 mail\r\n"})(conn)
	}))
	if fact := factOf(t, result); fact.GetTarpit() || fact.GetName() != "smtp" || fact.GetProduct() != "Postfix" {
		t.Errorf("%v", fact)
	}
}

// flood sends without end.
func flood(text string) handler {
	block := []byte(strings.Repeat(text, 64<<10/len(text)))
	return func(conn net.Conn) {
		for {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	}
}

func TestEndlessBanner(t *testing.T) {
	for name, text := range map[string]string{"zeros": "\x00", "lines": "hello\r\n", "one line": "a", "ssh": "SSH-2.0-OpenSSH_9.9\r\n", "replies": "220-welcome\r\n", "telnet": "\xff\xfd\x18"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Blobs: new(shelf)}
			port := serve(t, "127.0.0.1:0", flood(text))
			result, err := (&Probe{patience: hurried}).Scan(t.Context(), env, serviceJob("127.0.0.1", port))
			if err != nil {
				t.Fatal(err)
			}
			factOf(t, result)
			evidence := result.Observations[0].GetEvidence()
			raw := env.Blobs.(*shelf).data[evidence.GetBlob()]
			if len(raw) > probes.MaxBannerBytes {
				t.Errorf("%d bytes kept", len(raw))
			}
			if name == "zeros" && (!evidence.GetTruncated() || len(raw) != probes.MaxBannerBytes) {
				t.Errorf("%d bytes kept, truncated %v", len(raw), evidence.GetTruncated())
			}
		})
	}
}

// A thousand endless banners at once cost no more than their bound.
func TestManyEndlessBanners(t *testing.T) {
	port := serve(t, "127.0.0.1:0", flood("\x00"))
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if _, err := (&Probe{patience: hurried}).Scan(t.Context(), env, serviceJob("127.0.0.1", port)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 128<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func TestTargetsThatHangUp(t *testing.T) {
	reset := func(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }
	for name, server := range map[string]handler{"reset": reset, "close": func(net.Conn) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", server))
			fact := factOf(t, result)
			if fact.GetName() != unknown || fact.GetDetails()["tcp"] != "hangs up at once" || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
				t.Errorf("%v %q: %v", result.Outcome, result.Reason, fact)
			}
		})
	}
}

func TestClosedPortHasNoService(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	_ = listener.Close()
	result := scan(t, "127.0.0.1", port)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations)+len(result.Leads) != 0 {
		t.Errorf("%v %q with %v", result.Outcome, result.Reason, result.Observations)
	}
}

// A service that takes connections and says nothing is unknown, and its scan keeps to the budget.
func TestSilentService(t *testing.T) {
	port := serve(t, "127.0.0.1:0", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	result := scan(t, "127.0.0.1", port)
	if fact := factOf(t, result); fact.GetName() != unknown || fact.GetTarpit() {
		t.Errorf("%v", fact)
	}
	job := serviceJob("127.0.0.1", port)
	job.Options.Budget = durationpb.New(100 * time.Millisecond)
	result, err := New().Scan(t.Context(), probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}, job)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "time was up") {
		t.Errorf("%v %q", result.Outcome, result.Reason)
	}
}

func TestScanEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reached := make(chan struct{}, 100)
	port := serve(t, "127.0.0.1:0", func(conn net.Conn) {
		reached <- struct{}{}
		_, _ = io.Copy(io.Discard, conn)
	})
	go func() { <-reached; cancel() }()
	result, err := New().Scan(ctx, probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}, serviceJob("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL {
		t.Errorf("%v %q", result.Outcome, result.Reason)
	}
}

func TestOutcomes(t *testing.T) {
	private := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}
	job := func(change func(*modelv1.ScanJob)) *modelv1.ScanJob {
		j := serviceJob("127.0.0.1", 9)
		change(j)
		return j
	}
	gone := func(context.Context, string, int) error { return errors.New("the bucket is gone") }
	tests := map[string]struct {
		env     probes.Env
		job     *modelv1.ScanJob
		outcome modelv1.Outcome
		reason  string
	}{
		"refused by the guard": {probes.Env{Guard: netguard.New(netguard.Options{})}, job(func(*modelv1.ScanJob) {}), modelv1.Outcome_OUTCOME_NOT_PERMITTED, "127.0.0.1"},
		"passive":              {private, job(func(j *modelv1.ScanJob) { j.Options.Profile = modelv1.Profile_PROFILE_PASSIVE }), modelv1.Outcome_OUTCOME_NOT_PERMITTED, "passive"},
		"no port":              {private, job(func(j *modelv1.ScanJob) { j.Target.Port = 0 }), modelv1.Outcome_OUTCOME_FAILED, "names no port"},
		"no address":           {private, job(func(j *modelv1.ScanJob) { j.Target = &modelv1.Target{Port: 9} }), modelv1.Outcome_OUTCOME_FAILED, "no address"},
		"no permits":           {probes.Env{Guard: private.Guard, Permit: gone}, job(func(*modelv1.ScanJob) {}), modelv1.Outcome_OUTCOME_FAILED, "the bucket is gone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			result, err := New().Scan(t.Context(), tt.env, tt.job)
			if err != nil {
				t.Fatal(err)
			}
			if result.Outcome != tt.outcome || !strings.Contains(result.Reason, tt.reason) || len(result.Observations) != 0 {
				t.Errorf("%v %q", result.Outcome, result.Reason)
			}
		})
	}
}

// Whatever a service says, what is kept of it for people holds no control, format or bidirectional characters.
func TestTextIsSafe(t *testing.T) {
	const evil = "\x1b[2J\x07\u202e\u200b\ufeff\x00\r<script>=1+1\u2028"
	servers := map[string]handler{
		"unknown": script("hello "+evil+"\r\n", nil),
		"ssh":     sshServer("SSH-2.0-OpenSSH_9.0 "+evil, "kex"+evil+",b", "host"+evil),
		"ftp":     script("220 ftp "+evil+"\r\n", map[string]string{"FEAT": "211-x\r\n AUTH TLS " + evil + "\r\n211 End\r\n", "USER": "230 yes\r\n", "PWD": "257 \"" + evil + "\"\r\n"}),
		"smtp":    script("220 smtp "+evil+"\r\n", map[string]string{"EHLO": "250-x\r\n250 " + evil + "\r\n"}),
		"imap":    script("* OK "+evil+"\r\n", map[string]string{"a1": "* CAPABILITY " + evil + "\r\na1 OK\r\n"}),
		"rsync":   script("@RSYNCD: 31.0"+evil+"\n", map[string]string{"#list": evil + "\tx\n@RSYNCD: EXIT\n", "@RSYNCD": ""}),
		"mysql":   script("\x4a\x00\x00\x00\x0a8.0\x1b[2J\x07\xe2\x80\xae34-0ubuntu0.22.04\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xc1\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00ijklmnopqrst\x00caching\x00", nil),
		"redis":   script("-DENIED Redis "+evil+"\r\n", nil),
		"nats":    script("INFO {\"server_id\":\"A\",\"version\":\"1\\u001b[2J\\u202e\"}\r\n", nil),
		"telnet":  script("\xff\xfb\x01"+evil+"login: ", nil),
	}
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", server))
			checkSafe(t, factOf(t, result))
			excerpt := result.Observations[0].GetEvidence().GetExcerpt()
			if !isSafe(excerpt) || excerpt == "" {
				t.Errorf("excerpt %q", excerpt)
			}
		})
	}
}

func checkSafe(t testing.TB, fact *modelv1.ServiceFact) {
	t.Helper()
	texts := append([]string{fact.GetName(), fact.GetProduct(), fact.GetVersion(), fact.GetBanner(), fact.GetProof(), fact.GetOs(), fact.GetDistribution(), fact.GetPackageVersion()}, fact.GetCpe()...)
	texts = append(texts, fact.GetWeakAlgorithms()...)
	for key, value := range fact.GetDetails() {
		texts = append(texts, key, value)
	}
	for _, text := range texts {
		if !isSafe(text) || utf8.RuneCountInString(text) > maxBanner {
			t.Errorf("%q is not safe", text)
		}
	}
	if _, err := proto.Marshal(fact); err != nil {
		t.Errorf("marshal: %v", err)
	}
}

func isSafe(text string) bool {
	for _, r := range text {
		if r == utf8.RuneError || !unicode.IsGraphic(r) || r != ' ' && unicode.IsSpace(r) {
			return false
		}
	}
	return utf8.ValidString(text)
}

// A mistake of ours in an exchange is a failed scan, not the end of the process.
func TestPanicIsAResult(t *testing.T) {
	port := serve(t, "127.0.0.1:0", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	var dials atomic.Int32
	prober := &prober{
		connect: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				panic("a mistake")
			}
			return netguard.New(netguard.Options{AllowPrivate: true}).DialContext(ctx, network, address)
		},
		reach: "127.0.0.1", port: port, patience: hurried(false),
	}
	result, err := prober.scan(t.Context(), serviceJob("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_FAILED || !strings.Contains(result.Reason, "a mistake") {
		t.Errorf("%v %q", result.Outcome, result.Reason)
	}
}
