package http

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// answering is a raw server that answers every request by write, until that fails.
func answering(t *testing.T, write func(w io.Writer) error) string {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		for request(conn) {
			if write(conn) != nil {
				return
			}
		}
	})
}

// forever writes chunk until the scanner hangs up.
func forever(w io.Writer, chunk string) error {
	for {
		if _, err := io.WriteString(w, chunk); err != nil {
			return err
		}
	}
}

// drip writes text one byte at a time.
func drip(w io.Writer, text string, every time.Duration) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for i := range len(text) {
		<-ticks.C
		if _, err := io.WriteString(w, text[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

const ok = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"

// Each hostile server must end in a result, soon, and without a fact that is not true.
func TestHostileServers(t *testing.T) {
	long := strings.Repeat("x", 4096)
	tests := []struct {
		name    string
		write   func(w io.Writer) error
		outcome modelv1.Outcome
		reason  string
		facts   int
		want    func(f *modelv1.HttpFact) bool
	}{
		{"drips the header", func(w io.Writer) error { return drip(w, ok+strings.Repeat("A: b\r\n", 1000), 50*time.Millisecond) }, modelv1.Outcome_OUTCOME_FAILED, "tarpit", 0, nil},
		{"drips the body", func(w io.Writer) error {
			_, _ = io.WriteString(w, ok+"Content-Length: 10000\r\n\r\n<title>slow</title>")
			return drip(w, long, 20*time.Millisecond)
		}, modelv1.Outcome_OUTCOME_PARTIAL, "tarpit", 1, func(f *modelv1.HttpFact) bool { return f.GetTitle() == "slow" && f.GetTruncated() }},
		{"says nothing", func(w io.Writer) error {
			_, err := io.Copy(io.Discard, w.(net.Conn))
			return fmt.Errorf("end: %w", err)
		}, modelv1.Outcome_OUTCOME_FAILED, "no answer in time", 0, nil},
		{"endless body", func(w io.Writer) error {
			return forever(w, strings.ReplaceAll(ok, "OK\r\n", "OK\r\nConnection: close\r\n")+"\r\n"+long)
		}, modelv1.Outcome_OUTCOME_COMPLETE, "", 1, func(f *modelv1.HttpFact) bool { return f.GetTruncated() && f.GetBodyBytes() == probes.MaxBodyBytes }},
		{"endless chunks", func(w io.Writer) error {
			_, _ = io.WriteString(w, ok+"Transfer-Encoding: chunked\r\n\r\n")
			return forever(w, "1000\r\n"+long+"\r\n")
		}, modelv1.Outcome_OUTCOME_COMPLETE, "", 1, func(f *modelv1.HttpFact) bool { return f.GetTruncated() && f.GetBodyBytes() == probes.MaxBodyBytes }},
		{"header block of 10 MiB", func(w io.Writer) error { _, _ = io.WriteString(w, ok); return forever(w, "X: "+long+"\r\n") }, modelv1.Outcome_OUTCOME_FAILED, "exceeded", 0, nil},
		{"one header line of 10 MiB", func(w io.Writer) error { _, _ = io.WriteString(w, ok+"X: "); return forever(w, long) }, modelv1.Outcome_OUTCOME_FAILED, "", 0, nil},
		{"100,000 cookies", func(w io.Writer) error {
			_, err := io.WriteString(w, ok+strings.Repeat("Set-Cookie: a=b\r\n", 100_000)+"\r\n")
			return err
		}, modelv1.Outcome_OUTCOME_FAILED, "exceeded", 0, nil},
		{"1,000 short headers", func(w io.Writer) error {
			var head strings.Builder
			for i := range 1000 {
				fmt.Fprintf(&head, "A%d: b\r\n", i)
			}
			_, err := io.WriteString(w, ok+head.String()+"Content-Length: 0\r\n\r\n")
			return err
		}, modelv1.Outcome_OUTCOME_FAILED, "too many headers", 0, nil},
		{"150 headers", func(w io.Writer) error {
			var head strings.Builder
			for i := range 150 {
				fmt.Fprintf(&head, "A%d: %s\r\n", i, strings.Repeat("y", 300))
			}
			_, err := io.WriteString(w, ok+head.String()+"X-Frame-Options: DENY\r\nContent-Length: 0\r\n\r\n")
			return err
		}, modelv1.Outcome_OUTCOME_COMPLETE, "", 1, func(f *modelv1.HttpFact) bool {
			return len(f.GetHeaders()) == maxFactHeaders && f.GetHeaders()["x-frame-options"] == "DENY"
		}},
		{"endless interim answers", func(w io.Writer) error {
			return forever(w, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </"+long[:500]+">\r\n\r\n")
		}, modelv1.Outcome_OUTCOME_FAILED, "", 0, nil},
		{"text that is no text", func(w io.Writer) error {
			body := "<title>\x1b[31m\u202eevil\u0000\ufeff\xff\n title</title>"
			_, err := fmt.Fprintf(w, "%sServer: a\xe2\x80\xaeb\x85\r\nContent-Length: %d\r\n\r\n%s", ok, len(body), body)
			return err
		}, modelv1.Outcome_OUTCOME_COMPLETE, "", 1, func(f *modelv1.HttpFact) bool {
			return f.GetTitle() == "[31m evil title" && f.GetHeaders()["server"] == "a b"
		}},
		{"a status of its own", func(w io.Writer) error {
			_, err := io.WriteString(w, "HTTP/1.1 999 \x1b[2J\r\nContent-Length: 0\r\n\r\n")
			return err
		}, modelv1.Outcome_OUTCOME_COMPLETE, "", 1, func(f *modelv1.HttpFact) bool { return f.GetStatus() == 999 }},
		{"switches protocols", func(w io.Writer) error {
			_, _ = io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
			return forever(w, long)
		}, modelv1.Outcome_OUTCOME_PARTIAL, "", 1, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			started := time.Now()
			result := scan(t, New(Options{}).withLimits(400*time.Millisecond), newLab().Env, quick(jobFor(answering(t, test.write), "bad.test", false)))
			// Quick scans are partial for a reason of their own.
			if test.outcome == modelv1.Outcome_OUTCOME_COMPLETE && strings.Contains(result.Reason, "quick profile") {
				result.Outcome, result.Reason = modelv1.Outcome_OUTCOME_COMPLETE, ""
			}
			if result.Outcome != test.outcome || !strings.Contains(result.Reason, test.reason) || len(result.Observations) != test.facts {
				t.Fatalf("got %v (%q) with %d observations; want %v (%q) with %d", result.Outcome, result.Reason, len(result.Observations), test.outcome, test.reason, test.facts)
			}
			if test.want != nil && !test.want(result.Observations[0].GetHttp()) {
				t.Errorf("fact %v", result.Observations[0].GetHttp())
			}
			if took := time.Since(started); took > probes.DefaultBudget {
				t.Errorf("took %v", took)
			}
		})
	}
}

func quick(job *modelv1.ScanJob) *modelv1.ScanJob {
	job.Options.Profile = modelv1.Profile_PROFILE_QUICK
	return job
}

func pack(t testing.TB, open func(io.Writer) io.WriteCloser, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := open(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var (
	gzipped  = func(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, gzip.BestCompression); return z }
	zlibbed  = func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }
	deflated = func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, flate.BestCompression); return z }
)

func TestCompressedBodies(t *testing.T) {
	page := []byte("<html><title>packed</title>" + strings.Repeat("<p>some text that repeats itself</p>", 100))
	zeros := make([]byte, 16<<20)
	long := make([]byte, 3<<20)
	for i := range long {
		long[i] = byte(i>>3) ^ byte(i>>11)*31 // repeats itself, but not without end
	}
	bomb := pack(t, gzipped, zeros)
	if ratio := len(zeros) / len(bomb); ratio < 1000 {
		t.Fatalf("the bomb unfolds %d:1, want 1,000:1", ratio)
	}
	tests := []struct {
		name, encoding string
		body           []byte
		title          string
		size           int
		truncated      bool
		bomb           bool
	}{
		{"none", "", page, "packed", len(page), false, false},
		{"identity", "identity", page, "packed", len(page), false, false},
		{"gzip", "gzip", pack(t, gzipped, page), "packed", len(page), false, false},
		{"x-gzip", "X-GZIP", pack(t, gzipped, page), "packed", len(page), false, false},
		{"zlib", "deflate", pack(t, zlibbed, page), "packed", len(page), false, false},
		{"bare deflate", "deflate", pack(t, deflated, page), "packed", len(page), false, false},
		{"small and dense", "gzip", pack(t, gzipped, make([]byte, 60<<10)), "", 60 << 10, false, false},
		{"bomb", "gzip", bomb, "", -1, true, true},
		{"zlib bomb", "deflate", pack(t, zlibbed, zeros), "", -1, true, true},
		{"bomb in a bomb", "gzip, gzip", pack(t, gzipped, bomb), "", -1, true, true},
		{"long but no bomb", "gzip", pack(t, gzipped, long), "", probes.MaxBodyBytes, true, false},
		{"half", "gzip", pack(t, gzipped, page)[:60], "packed", -1, true, false},
		{"no gzip at all", "gzip", page, "", -1, true, false},
		{"brotli", "br", []byte("\x0b\x02\x80<title>abc</title>\x03"), "", -1, true, false},
		{"empty", "gzip", nil, "", 0, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				w.Header().Set("Content-Type", "text/html")
				if test.encoding != "" {
					w.Header().Set("Content-Encoding", test.encoding)
				}
				_, _ = w.Write(test.body)
			})
			result := scan(t, New(Options{}), newLab().Env, quick(jobFor(server.Listener.Addr().String(), "", false)))
			fact := result.Observations[0].GetHttp()
			if fact.GetTitle() != test.title || fact.GetTruncated() != test.truncated || fact.GetDecompressionBomb() != test.bomb || (test.size >= 0 && fact.GetBodyBytes() != uint64(test.size)) {
				t.Errorf("title %q, %d bytes, truncated %t, bomb %t; want %q, %d, %t, %t",
					fact.GetTitle(), fact.GetBodyBytes(), fact.GetTruncated(), fact.GetDecompressionBomb(), test.title, test.size, test.truncated, test.bomb)
			}
			if fact.GetBodyBytes() > probes.MaxBodyBytes {
				t.Errorf("%d bytes kept", fact.GetBodyBytes())
			}
		})
	}
}

func TestMemoryOfEndlessServers(t *testing.T) {
	address := answering(t, func(w io.Writer) error {
		_, _ = io.WriteString(w, ok+"Transfer-Encoding: chunked\r\n\r\n")
		return forever(w, "8000\r\n"+strings.Repeat("\x00", 0x8000)+"\r\n")
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { _, _ = New(Options{}).Scan(t.Context(), newLab().Env, quick(jobFor(address, "", false))) })
	}
	all.Wait()
	runtime.ReadMemStats(&after)
	// 10 bodies of 2 MiB, and as much again while they grow and are stored.
	if grown := int64(after.Sys) - int64(before.Sys); grown > 128<<20 {
		t.Errorf("10 scans of an endless server grew the process by %d MiB, want at most 128", grown>>20)
	}
}

// Fifty drip servers among others cost their own time and nobody else's, and leave no goroutine (see TestMain).
func TestDripServersDoNotHoldTheOthers(t *testing.T) {
	slow := answering(t, func(w io.Writer) error { return drip(w, ok+strings.Repeat("A: b\r\n", 1000), 50*time.Millisecond) })
	fast := serve(t, false, func(nethttp.ResponseWriter, *nethttp.Request) {}).Listener.Addr().String()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			address, want := fast, modelv1.Outcome_OUTCOME_PARTIAL
			if i%2 == 0 {
				address, want = slow, modelv1.Outcome_OUTCOME_FAILED
			}
			result, err := New(Options{}).withLimits(time.Second).Scan(t.Context(), newLab().Env, quick(jobFor(address, "", false)))
			if err != nil || result.Outcome != want {
				t.Errorf("%+v, %v; want %v", result, err, want)
			}
		})
	}
	all.Wait()
}

// Malicious HTTP/2: each case is what the server sends after the preface. None may hold the scan or grow it.
func TestHostileHTTP2(t *testing.T) {
	frame := func(length int, kind, flags byte, stream uint32, payload string) string {
		return string([]byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}) + payload
	}
	settings := frame(0, 4, 0, 0, "")
	cases := map[string]func(w io.Writer) error{
		"settings without end": func(w io.Writer) error { return forever(w, strings.Repeat(settings, 100)) },
		"pings without end":    func(w io.Writer) error { return forever(w, settings+frame(8, 6, 0, 0, "12345678")) },
		"continuation flood": func(w io.Writer) error {
			_, _ = io.WriteString(w, settings+frame(1, 1, 0, 1, "\x88"))
			return forever(w, frame(4, 9, 0, 1, "\x00\x01a\x00"))
		},
		"frame of 16 MiB":           func(w io.Writer) error { return forever(w, settings+frame(1<<24-1, 0, 0, 1, "x")) },
		"max frame size of nothing": func(w io.Writer) error { return forever(w, frame(6, 4, 0, 0, "\x00\x05\x00\x00\x00\x00")) },
		"header table bomb": func(w io.Writer) error {
			return forever(w, frame(6, 4, 0, 0, "\x00\x01\xff\xff\xff\xff")+frame(5, 1, 4, 1, "\x3f\xff\xff\xff\x7f"))
		},
		"resets without end":   func(w io.Writer) error { return forever(w, settings+frame(4, 3, 0, 1, "\x00\x00\x00\x08")) },
		"push promise":         func(w io.Writer) error { return forever(w, settings+frame(5, 5, 4, 1, "\x00\x00\x00\x02\x88")) },
		"data without headers": func(w io.Writer) error { return forever(w, settings+frame(1, 0, 0, 1, "x")) },
		"window overflow":      func(w io.Writer) error { return forever(w, settings+frame(4, 8, 0, 0, "\x7f\xff\xff\xff")) },
		"goaway": func(w io.Writer) error {
			_, err := io.WriteString(w, settings+frame(8, 7, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x0b"))
			return err
		},
		"half a frame": func(w io.Writer) error { _, err := io.WriteString(w, settings+"\x00\x00"); return err },
	}
	for name, write := range cases {
		t.Run(name, func(t *testing.T) {
			address := listen(t, func(conn net.Conn) {
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				_ = write(conn)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			started := time.Now()
			result, err := New(Options{}).withLimits(300*time.Millisecond).Scan(ctx, newLab().Env, quick(jobFor(address, "bad.test", false)))
			if err != nil || len(result.Observations) != 0 {
				t.Errorf("got %+v, %v", result, err)
			}
			if took := time.Since(started); took > 6*time.Second {
				t.Errorf("held for %v", took)
			}
		})
	}
}

func TestCancelledScanEnds(t *testing.T) {
	address := answering(t, func(w io.Writer) error {
		_, err := io.Copy(io.Discard, w.(net.Conn))
		return fmt.Errorf("end: %w", err)
	})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	result, err := New(Options{}).Scan(ctx, newLab().Env, jobFor(address, "", false))
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_FAILED {
		t.Errorf("got %+v, %v; want a failed scan", result, err)
	}
}

// A title of a megabyte, a page of nothing but elements, forms and forms in forms: the page is read once, and what is kept is small.
func TestGiantPages(t *testing.T) {
	for name, body := range map[string]string{
		"title":      "<title>" + strings.Repeat("A\x1b[31m", probes.MaxBodyBytes/8) + "</title>",
		"attributes": "<script " + strings.Repeat("a=b ", probes.MaxBodyBytes/4) + "src=x>",
		"scripts":    strings.Repeat("<script src=//h1.test/x></script>", 20_000),
		"hosts":      manyHosts(20_000),
		"images":     strings.Repeat("<img src=/a/b.png>", 50_000),
		"nesting":    strings.Repeat("<form><div>", 100_000),
		"unclosed":   "<title>" + strings.Repeat("<", probes.MaxBodyBytes),
		"meta":       strings.Repeat("<meta http-equiv=content-security-policy content='script-src *'>", 20_000),
	} {
		at, _ := url.Parse("https://bad.test/")
		began := time.Now()
		p := readPage([]byte(body[:min(len(body), probes.MaxBodyBytes)]), at)
		if len([]rune(p.title)) > maxTitle || len(p.scripts) > maxScripts || len(p.foreign) > maxForeign || len(p.paths) > maxPaths || strings.Contains(p.title, "\x1b") {
			t.Errorf("%s: kept %d of title, %d scripts, %d hosts, %d paths", name, len(p.title), len(p.scripts), len(p.foreign), len(p.paths))
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

func manyHosts(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "<script src=//h%d.test/x></script>", i)
	}
	return out.String()
}

// Sixty-four bombs for each codec: none passes the bound, and what each may cost is measured in what is unfolded.
func TestManyBombs(t *testing.T) {
	zeros := make([]byte, 16<<20)
	for encoding, body := range map[string][]byte{"gzip": pack(t, gzipped, zeros), "deflate": pack(t, zlibbed, zeros), "br": []byte("\x5b\xff\xff\xff"), "zstd": []byte("\x28\xb5\x2f\xfd")} {
		for range 64 {
			r := &reply{header: nethttp.Header{"Content-Encoding": {encoding}}}
			r.readBody(bytes.NewReader(body), probes.MaxBodyBytes)
			if len(r.body) > probes.MaxBodyBytes || !r.truncated {
				t.Fatalf("%s: %d bytes, truncated %t", encoding, len(r.body), r.truncated)
			}
		}
	}
}

// Evil expressions cannot be sent: only pages are. The patterns are Go's, which are linear; this holds for all of them at once.
func TestPatternsAreBounded(t *testing.T) {
	catalogue := loadCatalogue()
	var body strings.Builder
	for _, list := range catalogue.indexes[inMarkup].byGram {
		for _, e := range list {
			body.WriteString("<script src=\"" + e.literal + "\"></script>" + e.literal + " ")
		}
	}
	for _, list := range catalogue.indexes[inScripts].byGram {
		for _, e := range list {
			body.WriteString("<script src=\"/" + e.literal + strings.Repeat("a", 400) + "\"></script>")
		}
	}
	text := []byte(body.String() + strings.Repeat("<a ", 100_000))
	at, _ := url.Parse("https://bad.test/")
	answer := &reply{url: at, status: 200, header: nethttp.Header{"Content-Type": {"text/html"}}, body: text[:min(len(text), probes.MaxBodyBytes)]}
	found := technologies(answer, readPage(answer.body, at))
	if len(found) > maxTechnologies {
		t.Errorf("%d technologies, want at most %d", len(found), maxTechnologies)
	}
}

// The work is bounded for each pattern and for all of them.
func TestWorkOfMatchingIsBounded(t *testing.T) {
	x := newIndex(true)
	for range 10 {
		x.add(readPattern("p", "needle(?:[a-z]+)"))
	}
	text := strings.Repeat("needle ", 10_000)
	tries := 0
	x.candidates(text, func(*pattern, string) bool {
		tries++
		return true
	})
	if tries != 30 {
		t.Errorf("10 patterns were tried %d times on 10,000 occurrences, want 3 times each", tries)
	}
	m := &matcher{catalogue: &catalogue{indexes: map[part]*index{inMarkup: x}}, left: 3000, found: make(map[string]*sighting)}
	m.look(inMarkup, text, maxMarkup)
	if m.left > 0 || m.left < -3*around {
		t.Errorf("%d bytes of work left of 3,000, want it spent and not much more", m.left)
	}
}

// A panic on what a target sent must reach the scanner, which recovers it; in a goroutine of its own it would end the process.
func TestPanicsReachTheCaller(t *testing.T) {
	defer func() {
		if p, ok := recover().(*together.Panic); !ok || p.Value != "broken" {
			t.Errorf("recovered %v", p)
		}
	}()
	run(t.Context(), &findings{}, []func(){func() {}, func() { panic("broken") }})
	t.Error("no panic")
}
