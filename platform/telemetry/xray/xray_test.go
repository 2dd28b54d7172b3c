package xray

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", SessionToken: "session"}

func static(c aws.Credentials) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
}

// endpoint is X-Ray's: it takes what is signed by secret and nothing else.
type endpoint struct {
	*httptest.Server

	mu       sync.Mutex
	names    []string
	requests int
	refused  []string
	status   int
	stall    chan struct{}
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	stall, status := e.stall, e.status
	e.mu.Unlock()
	if stall != nil {
		<-stall
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 10<<20))
	names, why := "", ""
	switch {
	case err != nil:
		why = err.Error()
	case r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.ProtoMajor != 1 || r.ProtoMinor != 1:
		why = r.Method + r.URL.Path + r.Proto
	case r.ContentLength != int64(len(body)) || len(r.TransferEncoding) > 0:
		why = "the length is not said"
	case r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Content-Encoding") != "gzip":
		why = "headers"
	default:
		if why = forged(r, body); why == "" {
			names, why = spans(body)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests++
	if why != "" {
		e.refused = append(e.refused, why)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	e.names = append(e.names, strings.Fields(names)...)
}

// forged signs the request again, as the service does, and compares.
func forged(r *http.Request, body []byte) string {
	got := r.Header.Get("Authorization")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "no date"
	}
	if left := time.Since(at).Abs(); left > 5*time.Minute {
		return "signed at another time"
	}
	again := httptest.NewRequest(http.MethodPost, "http://"+r.Host+"/v1/traces", bytes.NewReader(body))
	_, signed, _ := strings.Cut(got, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	for name := range strings.SplitSeq(signed, ";") {
		if v := r.Header.Values(name); len(v) > 0 {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	again.Header.Del("X-Amz-Date")
	again.Header.Del("X-Amz-Security-Token")
	digest := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(context.Background(), secret, again, hex.EncodeToString(digest[:]), "xray", "eu-west-1", at); err != nil {
		return err.Error()
	}
	if want := again.Header.Get("Authorization"); got != want {
		return "signature " + got + ", want " + want
	}
	for _, must := range []string{"content-length", "host", "x-amz-date", "x-amz-security-token"} {
		if !strings.Contains(";"+signed+";", ";"+must+";") {
			return must + " is not signed: " + signed
		}
	}
	return ""
}

func spans(body []byte) (names, why string) {
	zipped, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return "", err.Error()
	}
	data, err := io.ReadAll(io.LimitReader(zipped, 5_000_001))
	if err != nil || len(data) > 5_000_000 {
		return "", "too large"
	}
	req := &collectortrace.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(data, req); err != nil {
		return "", err.Error()
	}
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				names += s.Name + " "
			}
		}
	}
	return names, ""
}

func setup(t *testing.T, e *endpoint, transport func(string) http.RoundTripper) (*telemetry.Telemetry, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{
		Service: "scanner", Writer: log, OTLPEndpoint: "xray://eu-west-1?endpoint=" + e.URL, XRay: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tel, log
}

// keeping is the transport with secret, whose idle connections are closed with the test.
func keeping(t *testing.T, o Options) func(string) http.RoundTripper {
	return func(region string) http.RoundTripper {
		base, _ := http1().(*http.Transport)
		t.Cleanup(base.CloseIdleConnections)
		o.Region, o.Base = region, base
		return NewTransport(o)
	}
}

func TestSpansReachXRaySigned(t *testing.T) {
	e := newEndpoint(t)
	tel, log := setup(t, e, keeping(t, Options{Credentials: static(secret)}))
	for range 2 {
		_, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
		span.End()
		tel.Flush(t.Context())
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if strings.Join(e.names, " ") != "work work" || e.requests != 2 || len(e.refused) > 0 {
		t.Errorf("%d requests, spans %v, refused %v, log %s", e.requests, e.names, e.refused, log)
	}
}

func TestDefaultChainIsReadAtTheFirstUpload(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	t.Setenv("AWS_SESSION_TOKEN", "y")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	e := newEndpoint(t)
	tel, _ := setup(t, e, keeping(t, Options{}))
	t.Setenv("AWS_ACCESS_KEY_ID", secret.AccessKeyID) // after Setup
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret.SecretAccessKey)
	t.Setenv("AWS_SESSION_TOKEN", secret.SessionToken)
	_, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if strings.Join(e.names, " ") != "work" || len(e.refused) > 0 {
		t.Errorf("spans %v, refused %v", e.names, e.refused)
	}
}

// TestFlushNeverHoldsWorkUp: an endpoint that does not answer costs a function 200 ms, and its answer nothing.
func TestFlushNeverHoldsWorkUp(t *testing.T) {
	e := newEndpoint(t)
	e.stall = make(chan struct{})
	tel, _ := setup(t, e, keeping(t, Options{Credentials: static(secret)}))
	_, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
	span.End()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	tel.Flush(cancelled)
	if took := time.Since(began); took < telemetry.FlushTimeout || took > 10*telemetry.FlushTimeout {
		t.Errorf("flushed for %s", took)
	}
	close(e.stall)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.names, "work") {
		t.Errorf("the span was lost: %v", e.names)
	}
}

func TestSetupRefusesEndpoints(t *testing.T) {
	for endpoint, transport := range map[string]func(string) http.RoundTripper{
		"xray://eu-west-1": nil, "xray://": New, "xray://evil.example/": New, "xray://eu-west-1/path": New, "xray://eu-west-1?x=y": New,
		"xray://eu-west-1?endpoint=ftp://x": New, "xray://u:p@eu-west-1": New, "xray://eu-west-1.evil.example": New, "xray://eu-west-1:80": New,
	} {
		if _, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "x", OTLPEndpoint: endpoint, XRay: transport}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "x", OTLPEndpoint: "xray://us-gov-west-1", XRay: New})
	if err != nil || !tel.Bounded() {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// roundTripper answers with a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportLeavesTheRequestAlone(t *testing.T) {
	var sent *http.Request
	rt := NewTransport(Options{Region: "eu-west-1", Credentials: static(secret), Base: roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = r
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})})
	r := httptest.NewRequest(http.MethodPost, "https://xray.eu-west-1.amazonaws.com/v1/traces", io.LimitReader(zeros{}, 100))
	res, err := rt.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if r.Header.Get("Authorization") != "" || sent.Header.Get("Authorization") == "" || sent.ContentLength != 100 {
		t.Errorf("request %v became %v of %d bytes", r.Header, sent.Header, sent.ContentLength)
	}
	// What cannot be signed is not sent.
	failing := errors.New("no role")
	for name, c := range map[string]struct {
		body io.Reader
		o    Options
		want error
	}{
		"too large":      {io.LimitReader(zeros{}, MaxBodyBytes+1), Options{Credentials: static(secret)}, fault.Invalid},
		"unreadable":     {io.MultiReader(strings.NewReader("x"), broken{}), Options{Credentials: static(secret)}, fault.Internal},
		"no credentials": {strings.NewReader("x"), Options{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, failing })}, fault.Unauthenticated},
	} {
		sent, c.o.Base = nil, roundTripper(func(r *http.Request) (*http.Response, error) { sent = r; return nil, failing })
		res, err := NewTransport(c.o).RoundTrip(httptest.NewRequest(http.MethodPost, "/", c.body))
		if res != nil {
			_ = res.Body.Close()
		}
		if !errors.Is(err, c.want) || sent != nil {
			t.Errorf("%s: %v, sent %v", name, err, sent)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }
