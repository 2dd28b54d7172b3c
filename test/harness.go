// Package test holds scenarios of the whole system. One scenario runs on several legs, which differ in where the services
// live and in nothing else: all in this process, or each in a process of its own.
//
// A scenario talks REST with an API key and knows nothing about the leg it runs on.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/app"
)

// Tenant is the tenant whose key [Start] hands out.
const Tenant = "acme"

// scenarioLimit ends a scenario that hangs: many times what one takes on a busy machine.
const scenarioLimit = 5 * time.Minute

// Options of a platform under test.
type Options struct {
	// Resolver is the DNS server that scanners ask, host:port.
	Resolver string
	// Spans takes the spans of the in-process leg.
	Spans sdktrace.SpanProcessor
	// Verbose logs all that can be logged, of the in-process leg.
	Verbose bool
	// Settings are further settings of the processes.
	Settings map[string]string
}

// Leg starts a platform that ends with the test.
type Leg func(t testing.TB, o Options) *Platform

// Platform is a running platform as its users see it.
type Platform struct {
	// Address is where gRPC and REST are served.
	Address string
	// Key is an operator's API key for [Tenant].
	Key string
	// Data is the data directory, and Log what was logged so far, of the in-process leg.
	Data string
	Log  func() string
	// Host is what the services of the in-process leg live in.
	Host *app.Host
}

// StartLab serves a lab on a network of its own until the test ends.
func StartLab(t testing.TB, network string, o lab.Options) *lab.Lab {
	t.Helper()
	o.Network = netip.MustParsePrefix(network)
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// freeAddress is a loopback address with a port that nobody listens on. Another program may take it before it is used; a
// test then fails with an error that names the port.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Status is the answer of a call that failed.
type Status struct {
	HTTP    int
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Error is the status as one line.
func (s *Status) Error() string {
	return fmt.Sprintf("HTTP %d, code %d: %s", s.HTTP, s.Code, s.Message)
}

// Call makes one REST call with a key and reads the answer into out; nil out: the body is returned only.
func (p *Platform) Call(ctx context.Context, key, method, path string, in any, out proto.Message) ([]byte, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.Address+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		s := &Status{HTTP: res.StatusCode}
		if err := json.Unmarshal(raw, s); err != nil {
			s.Message = string(raw)
		}
		return nil, fmt.Errorf("%s %s: %w", method, path, s)
	}
	if out == nil {
		return raw, nil
	}
	return raw, protojson.Unmarshal(raw, out)
}

// must is Call with the operator's key for calls that have to work.
func (p *Platform) must(t testing.TB, ctx context.Context, method, path string, in any, out proto.Message) []byte {
	t.Helper()
	raw, err := p.Call(ctx, p.Key, method, path, in, out)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Own imports targets as seeds and attests that they may be scanned.
func (p *Platform) Own(t testing.TB, ctx context.Context, targets []string) {
	t.Helper()
	// Seeds are the assets, targets may be URLs and ports on them: the answer names the assets.
	var imported struct {
		Assets   []struct{ Name string }
		Problems []any
	}
	if err := json.Unmarshal(p.must(t, ctx, http.MethodPost, "/v1/assets:batchImport", map[string]any{"targets": targets}, nil), &imported); err != nil {
		t.Fatal(err)
	}
	if len(imported.Problems) > 0 || len(imported.Assets) == 0 {
		t.Fatalf("import of %v: %d assets, problems %v", targets, len(imported.Assets), imported.Problems)
	}
	for _, a := range imported.Assets {
		p.must(t, ctx, http.MethodPost, "/v1/"+a.Name+":attest", map[string]any{"reason": "the lab of this test"}, nil)
	}
}

// Outcome is what one assessment ended with.
type Outcome struct {
	Report *reporterv1.ReportDocument
	Events []*schedulerv1.AssessmentEvent
}

// Assess is the scenario: own the targets, start an assessment, follow it to its end, download its report.
func (p *Platform) Assess(t testing.TB, targets []string, ports string) Outcome {
	t.Helper()
	return p.Finish(t, p.Begin(t, targets, ports))
}

// Begin is the first half of the scenario: own the targets and start an assessment, whose name it returns.
func (p *Platform) Begin(t testing.TB, targets []string, ports string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scenarioLimit)
	defer cancel()
	p.Own(t, ctx, targets)
	a := &schedulerv1.Assessment{}
	p.must(t, ctx, http.MethodPost, "/v1/assessments", map[string]any{"targets": targets, "ports": ports, "profile": "PROFILE_STANDARD"}, a)
	return a.GetName()
}

// Finish is the second half: follow the assessment to its end and download its report.
func (p *Platform) Finish(t testing.TB, name string) Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scenarioLimit)
	defer cancel()
	out := Outcome{Events: p.follow(t, ctx, name), Report: &reporterv1.ReportDocument{}}
	a := &schedulerv1.Assessment{}
	p.must(t, ctx, http.MethodGet, "/v1/"+name, nil, a)
	if a.GetReport() == "" {
		t.Fatalf("%s ended without a report: %s %s", a.GetName(), a.GetState(), a.GetReason())
	}
	raw := p.download(t, ctx, a.GetReport())
	if err := protojson.Unmarshal(raw, out.Report); err != nil {
		t.Fatal(err)
	}
	return out
}

// followEvery is how often a scenario looks at its assessment.
const followEvery = 100 * time.Millisecond

// follow reads the events of an assessment until it is closed.
func (p *Platform) follow(t testing.TB, ctx context.Context, name string) []*schedulerv1.AssessmentEvent {
	t.Helper()
	var events []*schedulerv1.AssessmentEvent
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for token := ""; ; {
		res := &schedulerv1.ListAssessmentEventsResponse{}
		p.must(t, ctx, http.MethodGet, "/v1/"+name+"/events?page_size=500&page_token="+url.QueryEscape(token), nil, res)
		events = append(events, res.GetEvents()...)
		if token = res.GetNextPageToken(); token == "" {
			return events
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not end: %v; last events:\n%s", name, ctx.Err(), tail(events))
		case <-tick.C:
		}
	}
}

func tail(events []*schedulerv1.AssessmentEvent) string {
	var b strings.Builder
	for _, e := range events[max(0, len(events)-10):] {
		b.WriteString(e.GetMessage() + "\n")
	}
	return b.String()
}

// download reads a report part by part.
func (p *Platform) download(t testing.TB, ctx context.Context, report string) []byte {
	t.Helper()
	var raw []byte
	for {
		part := p.must(t, ctx, http.MethodGet, fmt.Sprintf("/v1/%s:download?format=FORMAT_JSON&offset=%d", report, len(raw)), nil, nil)
		if len(part) == 0 {
			return raw
		}
		raw = append(raw, part...)
	}
}
