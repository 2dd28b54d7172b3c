//go:build aws || awstest

package drivers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

func TestAWSSettings(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                "RISKPROFILER_BACKEND is not set",
		"eu-west-1/rp":                    "eu-west-1/rp",
		"http://eu-west-1/rp":             "http://eu-west-1/rp",
		"aws://eu-west-1":                 "prefix",
		"aws://eu-west-1/RP":              "prefix",
		"aws://eu-west-1/rp?endpoint=x":   "endpoint",
		"aws://eu-west-1/rp?dynamo=http:": "dynamo",
	} {
		_, err := drivers.AWS(t.Context(), map[string]string{"RISKPROFILER_BACKEND": raw})
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v, want Invalid", raw, err)
			continue
		}
		if line := err.Error(); !strings.Contains(line, want) || !strings.Contains(line, "aws://eu-west-1/rp-prod") || strings.Contains(line, "\n") {
			t.Errorf("%q: %q, want one line with %q and an example", raw, line, want)
		}
	}
}

// stand is a server in AWS's place that counts what it is asked.
type stand struct {
	*httptest.Server

	asked  atomic.Int64
	answer func(w http.ResponseWriter, r *http.Request)
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.answer(w, r)
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return s
}

func (s *stand) open(t *testing.T) app.Backends {
	t.Helper()
	b, err := drivers.AWS(t.Context(), map[string]string{"RISKPROFILER_BACKEND": "aws://eu-west-1/rp-test?endpoint=" + s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// A function that starts has no time for its backends: nothing is called before it is used.
func TestAWSCallsNothingAtTheStart(t *testing.T) {
	s := newStand(t)
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("asked for %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusTeapot)
	}
	b := s.open(t)
	ctx := t.Context()
	if _, err := b.Table(ctx, "ingest", []string{"assets"}); err != nil {
		t.Error(err)
	}
	for _, consumer := range []bool{false, true} {
		d, err := b.Queue(ctx, "results", consumer)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := d.(interface {
			FromEvent(context.Context, []byte) ([]queue.Delivery, error)
		}); !ok {
			t.Errorf("%T takes no events", d)
		}
	}
	if _, err := b.Bucket(ctx, "evidence"); err != nil {
		t.Error(err)
	}
	engine, runner, err := b.Workflow(ctx, app.WorkflowRequest{})
	if err != nil || engine == nil || runner != nil {
		t.Errorf("workflow %v, %v: want an engine that runs nothing here", engine, err)
	}
	signer, err := b.Keys().Signer(ctx, "ingest")
	if err != nil || signer == nil {
		t.Errorf("signer: %v", err)
	}
	authn.NewVerifier(authn.VerifierOptions{Keys: b.Keys().Keys()})
	if b, ok := b.(app.XRaySigner); !ok || b.XRay("eu-west-1") == nil {
		t.Error("nothing signs for X-Ray")
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestAWSInvoke(t *testing.T) {
	s := newStand(t)
	invoker, ok := s.open(t).(app.Invoker)
	if !ok {
		t.Fatal("the backends call no functions")
	}
	throttled := 0
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
		err    error
		words  []string
		asked  int64
	}{
		"answer": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"body":"eA=="}`) }, `{"body":"eA=="}`, nil, nil, 1},
		"crash": {func(w http.ResponseWriter) {
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
			_, _ = io.WriteString(w, `{"errorType":"Runtime.ExitError","errorMessage":"exit status 2"}`)
		}, "", fault.Unavailable, []string{"rp-test-ingest:live", "Runtime.ExitError"}, 1},
		"throttled": {func(w http.ResponseWriter) {
			if throttled++; throttled < 3 {
				w.Header().Set("X-Amzn-Errortype", "TooManyRequestsException")
				w.WriteHeader(http.StatusTooManyRequests)
				_, _ = io.WriteString(w, `{}`)
				return
			}
			_, _ = io.WriteString(w, `{}`)
		}, `{}`, nil, nil, 3},
		// It may have begun: what may be done twice is for the caller to say.
		"error": {func(w http.ResponseWriter) {
			w.Header().Set("X-Amzn-Errortype", "ServiceException")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{}`)
		}, "", fault.Unavailable, []string{"rp-test-ingest:live"}, 1},
		"missing": {func(w http.ResponseWriter) {
			w.Header().Set("X-Amzn-Errortype", "ResourceNotFoundException")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{}`)
		}, "", fault.Internal, []string{"rp-test-ingest:live", "eu-west-1", "RISKPROFILER_BACKEND"}, 1},
		"denied": {func(w http.ResponseWriter) {
			w.Header().Set("X-Amzn-Errortype", "AccessDeniedException")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{}`)
		}, "", fault.Internal, []string{"rp-test-ingest:live", "permission"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s.asked.Store(0)
			s.answer = func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || r.Method != http.MethodPost || r.URL.Path != "/2015-03-31/functions/rp-test-ingest:live/invocations" || string(body) != `{"method":"m"}` {
					t.Errorf("asked for %s %s with %s, %v", r.Method, r.URL, body, err)
				}
				test.answer(w)
			}
			got, err := invoker.Invoke(t.Context(), "rp-test-ingest:live", []byte(`{"method":"m"}`))
			if string(got) != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %s, %v; want %s, %v", got, err, test.want, test.err)
			}
			for _, word := range test.words {
				if err == nil || !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not name %s", err, word)
				}
			}
			if err != nil && strings.Contains(fault.From(err).Public(), "rp-test") {
				t.Errorf("a tenant may read %q", fault.From(err).Public())
			}
			if n := s.asked.Load(); n != test.asked {
				t.Errorf("asked %d times, want %d", n, test.asked)
			}
		})
	}
}
