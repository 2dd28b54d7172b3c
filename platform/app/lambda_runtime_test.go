package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/app"
)

// processData is the setting by which this test's binary becomes a function: TestFunctionProcess is its main.
const processData = "RISKPROFILER_TEST_FUNCTION"

// TestFunctionProcess is the process of a function, started by the tests below.
func TestFunctionProcess(t *testing.T) {
	dir := os.Getenv(processData)
	if dir == "" {
		return // an ordinary run of the tests
	}
	c := newCloud(t)
	c.dir = dir
	spec := with(app.SpecOf("ingest", who), func(s *app.Service) {
		s.Schedules = map[string]func(context.Context) error{"tick": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		s.Close = func() error { return os.WriteFile(dir+"/closed", nil, 0o600) }
	})
	os.Args = os.Args[:1]
	os.Exit(app.Main(os.Stderr, c.open, spec))
}

// runtime is Lambda's Runtime API, and what an extension needs of the Extensions API
// (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and runtimes-extensions-api.html).
type runtime struct {
	*httptest.Server

	events   chan invocation
	answers  chan posted
	extended chan string
}

type invocation struct {
	id, arn, payload string
	left             time.Duration
}

// posted is what the function said: where, and what.
type posted struct{ path, header, body string }

func newRuntime(t *testing.T) *runtime {
	t.Helper()
	r := &runtime{events: make(chan invocation), answers: make(chan posted, 8), extended: make(chan string, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, req *http.Request) {
		select {
		case e := <-r.events:
			h := w.Header()
			h.Set("Lambda-Runtime-Aws-Request-Id", e.id)
			h.Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(e.left).UnixMilli()))
			h.Set("Lambda-Runtime-Invoked-Function-Arn", e.arn)
			h.Set("Lambda-Runtime-Trace-Id", "Root=1-65f0c0de-00112233445566778899aabb;Parent=0123456789abcdef;Sampled=1")
			_, _ = io.WriteString(w, e.payload)
		case <-req.Context().Done():
		}
	})
	post := func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.answers <- posted{req.URL.Path, req.Header.Get("Lambda-Runtime-Function-Error-Type"), string(body)}
		w.WriteHeader(http.StatusAccepted)
	}
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", post)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", post)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", post)
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, req *http.Request) {
		r.extended <- req.Header.Get("Lambda-Extension-Name")
		w.Header().Set("Lambda-Extension-Identifier", "e1")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

// function is a process under the runtime.
type functionProcess struct {
	*exec.Cmd

	stderr *bytes.Buffer
}

func (r *runtime) start(t *testing.T, dir string, more ...string) functionProcess {
	t.Helper()
	p := functionProcess{exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFunctionProcess$"), &bytes.Buffer{}}
	p.Stderr = p.stderr
	p.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(r.URL, "http://"), processData+"="+dir)
	p.Env = append(p.Env, more...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// invoke hands the function an event and returns what it says.
func (r *runtime) invoke(t *testing.T, e invocation) posted {
	t.Helper()
	const arn = "arn:aws:lambda:eu-west-1:123456789012:function:rp-test-ingest:"
	e.arn = arn + e.arn
	r.events <- e
	return <-r.answers
}

func TestFunctionUnderTheRuntime(t *testing.T) {
	r := newRuntime(t)
	dir := t.TempDir()
	p := r.start(t, dir)
	call := string(callOf(t, app.MethodNext, "x", map[string][]string{app.TenantMetadata: {"t1"}}))
	if got := r.invoke(t, invocation{id: "1", arn: "workflow", payload: call, left: time.Minute}); got.path != "/2018-06-01/runtime/invocation/1/response" ||
		!strings.Contains(got.body, "workflow for t1") {
		t.Errorf("got %+v", got)
	}
	var failure struct{ ErrorType, ErrorMessage string }
	got := r.invoke(t, invocation{id: "2", arn: "live", payload: call, left: time.Minute})
	if err := json.Unmarshal([]byte(got.body), &failure); err != nil || got.path != "/2018-06-01/runtime/invocation/2/error" || failure.ErrorType != "RiskProfiler.PermissionDenied" {
		t.Errorf("got %+v, %v", got, err)
	}
	// What runs too long ends before the function does.
	got = r.invoke(t, invocation{id: "3", arn: "events", payload: `{"schedule":"tick"}`, left: 700 * time.Millisecond})
	if err := json.Unmarshal([]byte(got.body), &failure); err != nil || failure.ErrorType != "RiskProfiler.DeadlineExceeded" {
		t.Errorf("got %+v, %v", got, err)
	}
	if name := <-r.extended; name == "" {
		t.Error("no extension was registered: there would be no SIGTERM")
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("ended with %v\n%s", err, p.stderr)
	}
	if _, err := os.Stat(dir + "/closed"); err != nil {
		t.Error("the host was not closed")
	}
	for line := range strings.Lines(p.stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is no JSON: %s", line)
		}
	}
}

func TestFunctionThatCannotStartSaysWhy(t *testing.T) {
	r := newRuntime(t)
	p := r.start(t, t.TempDir(), "RISKPROFILER_DRAIN=soon")
	got := <-r.answers
	var failure struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal([]byte(got.body), &failure); err != nil || got.path != "/2018-06-01/runtime/init/error" ||
		got.header != "RiskProfiler.Invalid" || failure.ErrorType != "RiskProfiler.Invalid" || !strings.Contains(failure.ErrorMessage, "RISKPROFILER_DRAIN") {
		t.Errorf("got %+v, %v", got, err)
	}
	err := p.Wait()
	if p.ProcessState.ExitCode() != 1 || strings.Count(p.stderr.String(), "\n") != 1 {
		t.Errorf("ended with %v and %q, want 1 and one line", err, p.stderr)
	}
}
