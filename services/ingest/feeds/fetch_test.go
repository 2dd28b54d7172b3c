package feeds

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// origin serves one body with ETag and ranges, and cuts answers off when it is told to.
type origin struct {
	*httptest.Server

	mu     sync.Mutex
	body   []byte
	etag   string
	cuts   int // so many answers are cut off in their middle
	ranges []string
	sent   int
}

func newOrigin(t *testing.T, body []byte) *origin {
	o := &origin{body: body, etag: `"1"`}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

// ServeHTTP serves the body.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ranges = append(o.ranges, r.Header.Get("Range"))
	w.Header().Set("ETag", o.etag)
	if o.cuts > 0 {
		o.cuts--
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && r.Header.Get("If-Range") == o.etag {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(o.body)-1, len(o.body)))
			w.Header().Set("Content-Length", fmt.Sprint(len(o.body)-from))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			from = 0
			w.Header().Set("Content-Length", fmt.Sprint(len(o.body)))
		}
		half := from + (len(o.body)-from)/2
		_, _ = w.Write(o.body[from:half])
		o.sent += half - from
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.body))
}

func content(t *testing.T, d *Download) []byte {
	t.Helper()
	raw, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	return raw
}

// TestFetchResumes: a download that is cut off goes on where it stopped, in the same call, in a later one and in another process.
func TestFetchResumes(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	o := newOrigin(t, body)
	o.cuts = resumes // the first call fails altogether
	dir := t.TempDir()
	if _, err := NewClient("test", dir).Fetch(t.Context(), o.URL, "", 10<<20); fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "cannot be reached") && !strings.Contains(err.Error(), "cut off") {
		t.Fatalf("a source that always cuts off: %v", err)
	}
	d, err := NewClient("test", dir).Fetch(t.Context(), o.URL, "", 10<<20)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, d), body) {
		t.Error("another body")
	}
	if len(o.ranges) != resumes+1 || o.ranges[0] != "" || o.ranges[1] == "" || o.ranges[resumes] == "" {
		t.Errorf("ranges that were asked for: %q", o.ranges)
	}
	// What is there is not fetched again, until it is discarded.
	d, err = NewClient("test", dir).Fetch(t.Context(), o.URL, "", 10<<20)
	if err != nil || !bytes.Equal(content(t, d), body) || len(o.ranges) != resumes+1 {
		t.Errorf("fetched again: %q, %v", o.ranges, err)
	}
	NewClient("test", dir).Discard(o.URL)
	d, err = NewClient("test", dir).Fetch(t.Context(), o.URL, o.etag, 10<<20)
	if err != nil || !d.Unchanged {
		t.Errorf("what did not change: %+v, %v", d, err)
	}
}

// TestFetchBeginsAnew: what changed meanwhile is not glued to what was there.
func TestFetchBeginsAnew(t *testing.T) {
	o := newOrigin(t, bytes.Repeat([]byte("old"), 100_000))
	o.cuts = resumes
	c := NewClient("test", t.TempDir())
	if _, err := c.Fetch(t.Context(), o.URL, "", 10<<20); err == nil {
		t.Fatal("no error")
	}
	o.body, o.etag = bytes.Repeat([]byte("new!"), 50_000), `"2"`
	d, err := c.Fetch(t.Context(), o.URL, "", 10<<20)
	if err != nil || !bytes.Equal(content(t, d), o.body) || d.ETag != `"2"` {
		t.Errorf("%v", err)
	}
}

// TestFetchBounds: what is larger than permitted is refused, whether it says so or not.
func TestFetchBounds(t *testing.T) {
	o := newOrigin(t, bytes.Repeat([]byte("x"), 1000))
	c := NewClient("test", t.TempDir())
	if _, err := c.Fetch(t.Context(), o.URL, "", 999); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("Fetch: %v", err)
	}
	res, err := c.Get(t.Context(), o.URL, "", 999, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("Get: %v", err)
	}
	_ = res.Close()
}

// TestAnswers: what a source answers, and what that means.
func TestAnswers(t *testing.T) {
	sum := md5.Sum([]byte("body"))
	for _, c := range []struct {
		name, etag, want string
		code             fault.Code
		answer           http.HandlerFunc
	}{
		{"well", "", "body", fault.OK, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "body") }},
		{"the right checksum", "", "body", fault.OK, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-Goog-Hash"] = []string{"md5=" + base64.StdEncoding.EncodeToString(sum[:])}
			_, _ = io.WriteString(w, "body")
		}},
		{"a wrong checksum", "", "checksum", fault.Unavailable, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Goog-Hash", "md5="+base64.StdEncoding.EncodeToString(sum[:]))
			_, _ = io.WriteString(w, "bodi")
		}},
		{"unchanged", `"x"`, "", fault.OK, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }},
		{"304 that nobody asked for", "", "304", fault.Unavailable, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }},
		{"not there", "", "has no /feed", fault.NotFound, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }},
		{"over the limit", "", "429", fault.ResourceExhausted, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}},
		{"out of order", "", "500", fault.Unavailable, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
		{"cut off", "", "cut off", fault.Unavailable, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "body")
		}},
		{"turned away for ever", "", "redirects", fault.Unavailable, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/feed", http.StatusFound) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			text := ""
			res, err := NewClient("RiskProfiler/test", t.TempDir()).Get(t.Context(), server.URL+"/feed", c.etag, 1000, nil)
			if err == nil {
				var raw []byte
				raw, err = io.ReadAll(res)
				text = string(raw)
				_ = res.Close()
			}
			if err != nil {
				text = err.Error()
			}
			if fault.CodeOf(err) != c.code || !strings.Contains(text, c.want) || strings.Contains(text, "\n") {
				t.Errorf("%q (%s), want %q (%s)", text, fault.CodeOf(err), c.want, c.code)
			}
			if delay, ok := fault.RetryDelay(err); c.code == fault.ResourceExhausted && (!ok || delay != 7*time.Second) {
				t.Errorf("delay %s", delay)
			}
		})
	}
}

func TestNameOfTheAsker(t *testing.T) {
	var agent string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { agent = r.UserAgent() }))
	defer server.Close()
	res, err := NewClient("RiskProfiler/test", t.TempDir()).Get(t.Context(), server.URL, "", 1, nil)
	if err != nil || agent != "RiskProfiler/test" {
		t.Errorf("agent %q, %v", agent, err)
	}
	_ = res.Close()
}

func TestRetryAfter(t *testing.T) {
	for in, want := range map[string]time.Duration{"": time.Minute, "7": 7 * time.Second, "-1": time.Minute, "x": time.Minute, "99999999": maxRetryAfter, "Mon, 02 Jan 2006 15:04:05 GMT": 0} {
		if got := retryAfter(in); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}
