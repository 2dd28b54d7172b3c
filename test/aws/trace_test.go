//go:build awstest

package cloud

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
	"github.com/riskprofiler/riskprofiler/test"
)

// What X-Ray keeps of links (https://docs.aws.amazon.com/xray/latest/devguide/xray-tracelinking.html) and how old a trace may be
// (https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-traceids); a trace of this test is younger.
const (
	maxTraceLinks = 100
	maxSpanLinks  = 20
	maxTraceAge   = time.Hour
)

const (
	createAssessment = "riskprofiler.scheduler.v1.SchedulerService/CreateAssessment"
	nextWave         = "riskprofiler.scheduler.v1.SchedulerService/NextWave"
	evaluateAll      = "riskprofiler.correlator.v1.CorrelatorService/EvaluateAssessment"
	assetState       = "riskprofiler.ingest.v1.IngestService/GetAssetState"
	// storeRisk is the request that stores findings and risks.
	storeRisk = "DynamoDB.TransactWriteItems"
)

// stories are the ways that one assessment takes through the functions: names of spans from the request down, each caused by the
// one before it, over parents and links, with others between them.
var stories = map[string][]string{
	"request":             {"gateway", createAssessment, createAssessment, "Lambda.Invoke"},
	"another function":    {"gateway", createAssessment, "scheduler", createAssessment, "SFN.StartExecution"},
	"waves":               {"gateway", createAssessment, "scheduler", nextWave},
	"a scan job":          {"gateway", createAssessment, "handle scan-http", "scan http"},
	"its scope":           {"gateway", "handle scan-http", "riskprofiler.ingest.v1.IngestService/CheckScope", "ingest"},
	"its evidence":        {"gateway", "handle scan-http", "S3.PutObject"},
	"the call that sends": {"gateway", "handle scan-http", "send results", "SQS.SendMessageBatch"},
	"a result":            {"gateway", createAssessment, "handle scan-http", "send results", "handle results", "send changes", "handle changes", "evaluate", assetState},
	"its task":            {"gateway", createAssessment, "handle scan-http", "handle results", "SFN.SendTaskSuccess"},
	"the end":             {"gateway", createAssessment, "correlator", evaluateAll, "evaluate", assetState},
	"a risk":              {"gateway", createAssessment, "evaluate", "write correlator", storeRisk},
	"report":              {"gateway", createAssessment, "reporter", "riskprofiler.reporter.v1.ReporterService/CreateReport"},
	"notification":        {"gateway", createAssessment, "reporter", "riskprofiler.reporter.v1.ReporterService/Notify"},
}

// TestTraceOfFunctions: an assessment by Lambda functions is one story from the REST request to the evaluation that stores the
// risk, in traces of which each is linked to those before it; read back from what the functions exported by OTLP.
func TestTraceOfFunctions(t *testing.T) {
	for i, c := range []struct {
		name     string
		endpoint func(address string) string
		check    func(*http.Request, []byte) error
		targets  func(network string) []string
	}{
		{"collector", func(address string) string { return address }, nil, test.LegTargets},
		{"X-Ray", func(address string) string {
			return "xray://" + awstest.Region + "?endpoint=" + url.QueryEscape(address)
		}, signed, func(string) []string { return []string{"www.acme.test"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			collector := &tracetest.Collector{Check: c.check}
			server := httptest.NewServer(collector)
			t.Cleanup(server.Close)
			var out test.Outcome
			var w *World
			ran := t.Run("assess", func(t *testing.T) { // at its end all functions have ended, and sent what they had
				network := fmt.Sprintf("127.60.%d.0/24", 20+i)
				l := test.StartLab(t, network, lab.Options{})
				var p *test.Platform
				p, w = startFunctions(t, test.Options{Resolver: l.Resolver()}, map[string]string{exportSetting: c.endpoint(server.URL)})
				out = p.Assess(t, c.targets(network), l.Ports())
			})
			if !ran {
				return
			}
			s := newTraces(t, collector)
			t.Run("story", func(t *testing.T) { s.isConnected(t) })
			t.Run("findings", func(t *testing.T) { s.isNamedBy(t, out) })
			t.Run("limits", func(t *testing.T) { s.fitsXRay(t) })
			t.Run("conventions", func(t *testing.T) { s.isDescribed(t, w.Place.Prefix) })
		})
	}
}

// signed says why a request is not signed for X-Ray by the functions' credentials, as the service finds out: it signs it again.
func signed(r *http.Request, body []byte) error {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return err
	}
	got := r.Header.Get("Authorization")
	_, names, _ := strings.Cut(got, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again := httptest.NewRequest(r.Method, "http://"+r.Host+r.URL.Path, bytes.NewReader(body))
	for name := range strings.SplitSeq(names, ";") {
		if v := r.Header.Values(name); len(v) > 0 && name != "x-amz-date" {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	digest := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	if err := v4.NewSigner().SignHTTP(context.Background(), credentials, again, hex.EncodeToString(digest[:]), "xray", awstest.Region, at); err != nil {
		return err
	}
	if want := again.Header.Get("Authorization"); got != want {
		return fmt.Errorf("the upload is signed by %q, want %q", got, want)
	}
	return nil
}

// traces are the spans of a scenario.
type traces struct {
	spans  []tracetest.Span
	causes tracetest.Causes
	root   tracetest.Span
	// paths are the ways from the root to each span that comes from there.
	paths map[trace.SpanID][]tracetest.Span
	// story are the traces that something caused by the root is in.
	story map[trace.TraceID]bool
}

// newTraces finds the request that started the assessment and all that it caused.
func newTraces(t *testing.T, c *tracetest.Collector) *traces {
	t.Helper()
	uploads, refused := c.Uploads()
	s := &traces{spans: c.Spans(), paths: map[trace.SpanID][]tracetest.Span{}, story: map[trace.TraceID]bool{}}
	if len(refused) > 0 || len(s.spans) == 0 {
		t.Fatalf("%d uploads brought %d spans, refused: %q", uploads, len(s.spans), slices.Compact(refused))
	}
	s.causes = tracetest.NewCauses(s.spans)
	var roots []tracetest.Span
	for _, span := range s.spans {
		if span.Name == createAssessment && span.Kind == trace.SpanKindServer && span.Resource["service.name"] == edge {
			roots = append(roots, s.top(span))
		}
	}
	if len(roots) != 1 {
		t.Fatalf("%d requests for an assessment, want 1", len(roots))
	}
	s.root = roots[0]
	for _, span := range s.spans {
		if path := s.causes.Path(s.root, span); path != nil {
			s.paths[span.ID], s.story[span.Trace] = path, true
		}
	}
	t.Logf("%d uploads, %d spans, of these %d of the story, in %d traces", uploads, len(s.spans), len(s.paths), len(s.story))
	return s
}

// top is the first span of a span's trace.
func (s *traces) top(span tracetest.Span) tracetest.Span {
	for span.Parent.IsValid() {
		i := slices.IndexFunc(s.spans, func(p tracetest.Span) bool { return p.ID == span.Parent })
		if i < 0 {
			break
		}
		span = s.spans[i]
	}
	return span
}

func names(path []tracetest.Span) []string {
	out := make([]string, len(path))
	for i, s := range path {
		out[i] = s.Name
	}
	return out
}

// isConnected checks that the request is where everything begins, that nothing points to a span that did not arrive, and that
// the ways of the stories exist.
func (s *traces) isConnected(t *testing.T) {
	if s.root.Kind != trace.SpanKindServer || s.root.Parent.IsValid() || s.root.Name != edge {
		t.Errorf("the story begins with %s %q below %s, want the edge's invocation", s.root.Kind, s.root.Name, s.root.Parent)
	}
	for _, span := range s.spans {
		want := len(span.Links)
		if span.Parent.IsValid() {
			want++
		}
		if have := len(s.causes.Of(span)); have != want {
			t.Errorf("%s %q of %s: %d of its parents and links arrived, want %d", span.Kind, span.Name, span.Resource["faas.name"], have, want)
		}
		if (strings.HasPrefix(span.Name, "handle ") || span.Name == "evaluate") && s.paths[span.ID] == nil && !s.fromClock(span) {
			t.Errorf("%q of %s leads back neither to the request nor to a schedule", span.Name, span.Resource["faas.name"])
		}
	}
	for name, story := range stories {
		found := false
		for _, path := range s.paths {
			found = found || isSubsequence(story, names(path))
		}
		if !found {
			t.Errorf("%s: nothing was caused by %q", name, story)
		}
	}
	if t.Failed() {
		s.log(t)
	}
}

// fromClock says whether a span leads back to a schedule: one that comes due while the assessment runs begins a story of its own, such
// as the look at what a new catalogue concerns.
func (s *traces) fromClock(span tracetest.Span) bool {
	return slices.ContainsFunc(s.spans, func(root tracetest.Span) bool {
		return root.Attributes["faas.trigger"] == string(telemetry.TriggerTimer) && s.causes.Path(root, span) != nil
	})
}

// log shows the different ways from the request on.
func (s *traces) log(t *testing.T) {
	count := map[string]int{}
	for _, path := range s.paths {
		count[strings.Join(names(path), " > ")]++
	}
	var lines []string
	for path, n := range count {
		lines = append(lines, fmt.Sprintf("%s (%d)", path, n))
	}
	slices.Sort(lines)
	t.Logf("the story:\n%s", strings.Join(lines, "\n"))
}

// isSubsequence says whether all of part are in whole in their order.
func isSubsequence(part, whole []string) bool {
	for _, name := range whole {
		if len(part) > 0 && part[0] == name {
			part = part[1:]
		}
	}
	return len(part) == 0
}

// isNamedBy checks that every finding names a trace of the story.
func (s *traces) isNamedBy(t *testing.T, out test.Outcome) {
	if len(out.Report.GetFindings()) == 0 {
		t.Error("the report has no findings")
	}
	for _, f := range out.Report.GetFindings() {
		id, err := trace.TraceIDFromHex(f.GetTraceId())
		if err != nil || !s.story[id] {
			t.Errorf("finding %s names trace %q (%v), which is none of the story", f.GetCheck(), f.GetTraceId(), err)
		}
	}
}

// fitsXRay checks the ids and the numbers of links that X-Ray takes.
func (s *traces) fitsXRay(t *testing.T) {
	links, most := map[trace.TraceID]int{}, 0
	for _, span := range s.spans {
		links[span.Trace] += len(span.Links)
		most = max(most, links[span.Trace])
		if len(span.Links) > maxSpanLinks || span.Dropped > 0 {
			t.Errorf("%q has %d links, and %d things were dropped", span.Name, len(span.Links), span.Dropped)
		}
	}
	for id, n := range links {
		if n > maxTraceLinks {
			t.Errorf("trace %s has %d links", id, n)
		}
		if err := xrayID(id); err != nil {
			t.Errorf("trace %s: %v", id, err)
		}
	}
	t.Logf("%d links at most in one of %d traces", most, len(links))
}

// xrayID says why X-Ray would not take an id: its first eight digits are the time, and its form 1-8-24 leads back to it.
func xrayID(id trace.TraceID) error {
	text := id.String()
	seconds, err := strconv.ParseInt(text[:8], 16, 64)
	if err != nil {
		return err
	}
	if age := time.Since(time.Unix(seconds, 0)); age < -time.Second || age > maxTraceAge {
		return fmt.Errorf("it is %s old", age)
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
	header := telemetry.FormatXRay(sc)
	if want := "Root=1-" + text[:8] + "-" + text[8:] + ";"; !strings.HasPrefix(header, want) {
		return fmt.Errorf("its header is %q, want %q", header, want)
	}
	if back, ok := telemetry.ParseXRay(header); !ok || back.TraceID() != id {
		return errors.New("its header does not lead back to it")
	}
	return nil
}

// isDescribed checks what spans say about their functions and about what they were made for.
func (s *traces) isDescribed(t *testing.T, prefix string) {
	services := map[string]string{}
	for _, f := range Functions() {
		services[prefix+"-"+f.Name] = f.Spec.Name
	}
	seen := map[string]int{}
	requests, failed := map[string]string{}, map[string]int{}
	for _, span := range s.spans {
		seen[span.Resource["faas.name"]]++
		if span.Failed {
			failed[span.Name+" "+span.Attributes["error.type"]]++
		}
		problems := slices.Concat(wrongResource(span, services), wrongInvocation(span, prefix), wrongMessage(span), s.wrongCall(span, requests))
		if len(problems) > 0 {
			t.Errorf("%s %q of %s: %s; it has %v", span.Kind, span.Name, span.Resource["faas.name"], strings.Join(problems, ", "), span.Attributes)
		}
	}
	if len(requests) == 0 {
		t.Error("no call to AWS has the id of its request")
	}
	t.Logf("%d calls to AWS; what failed: %v", len(requests), failed)
	for _, f := range Functions() {
		// Some functions have nothing to do in this scenario.
		t.Logf("%-18s %d spans", f.Name, seen[prefix+"-"+f.Name])
	}
}

// differing says which attributes do not have the values they must have; "*" is any.
func differing(have, want map[string]string) []string {
	var out []string
	for key, value := range want {
		if got := have[key]; got == "" || (value != "*" && got != value) {
			out = append(out, fmt.Sprintf("%s is %q, want %q", key, got, value))
		}
	}
	slices.Sort(out)
	return out
}

// wrongResource: https://opentelemetry.io/docs/specs/semconv/resource/faas/.
func wrongResource(s tracetest.Span, services map[string]string) []string {
	service := services[s.Resource["faas.name"]]
	if service == "" {
		return []string{fmt.Sprintf("faas.name is %q, which is no function", s.Resource["faas.name"])}
	}
	return differing(s.Resource, map[string]string{
		"service.name": service, "service.namespace": "riskprofiler", "cloud.provider": "aws", "cloud.platform": "aws_lambda",
		"cloud.region": awstest.Region, "faas.version": "1", "faas.instance": "*", "faas.max_memory": "*",
	})
}

// wrongInvocation: https://opentelemetry.io/docs/specs/semconv/faas/aws-lambda/.
func wrongInvocation(s tracetest.Span, prefix string) []string {
	trigger := s.Attributes["faas.trigger"]
	if trigger == "" {
		return nil
	}
	problems := differing(s.Attributes, map[string]string{"faas.invocation_id": "*", "faas.coldstart": "*", "cloud.resource_id": "*"})
	if s.Kind != trace.SpanKindServer || !strings.Contains(s.Attributes["cloud.resource_id"], ":function:"+prefix+"-") {
		problems = append(problems, "is no invocation of a function")
	}
	if (trigger == "http" || trigger == "pubsub" || trigger == "timer") && s.Parent.IsValid() {
		problems = append(problems, "an invocation by "+trigger+" has a parent")
	}
	return problems
}

// wrongMessage: https://opentelemetry.io/docs/specs/semconv/messaging/sqs/.
func wrongMessage(s tracetest.Span) []string {
	if s.Kind != trace.SpanKindProducer && s.Kind != trace.SpanKindConsumer {
		return nil
	}
	verb, queue, _ := strings.Cut(s.Name, " ")
	operation := map[string]string{"send": "send", "process": "process", "handle": "process"}[verb]
	problems := differing(s.Attributes, map[string]string{
		"messaging.system": "aws_sqs", "messaging.destination.name": queue,
		"messaging.operation.name": operation, "messaging.operation.type": operation,
	})
	if verb == "handle" {
		problems = append(problems, differing(s.Attributes, map[string]string{"messaging.message.id": "*"})...)
		if len(s.Links) != 1 {
			problems = append(problems, fmt.Sprintf("%d links to producers, want 1", len(s.Links)))
		}
	}
	return problems
}

// wrongCall: https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/. A call is one span: there is none below it and
// no second one for the same request.
func (s *traces) wrongCall(span tracetest.Span, requests map[string]string) []string {
	below := slices.ContainsFunc(s.causes.Of(span), func(p tracetest.Span) bool { return p.Attributes["rpc.system"] == "aws-api" })
	if below {
		return []string{"is a part of a call to AWS"}
	}
	if span.Attributes["rpc.system"] == "" {
		if strings.Contains(span.Scope, "smithy") || strings.Contains(span.Scope, "aws-sdk") {
			return []string{"is made by " + span.Scope}
		}
		return nil
	}
	service, method, _ := strings.Cut(span.Name, ".")
	problems := differing(span.Attributes, map[string]string{"rpc.system": "aws-api", "rpc.service": service, "rpc.method": method})
	if span.Kind != trace.SpanKindClient {
		problems = append(problems, "is no client's span")
	}
	if id := span.Attributes["aws.request_id"]; id != "" {
		if other := requests[id]; other != "" {
			problems = append(problems, "is the same request as "+other)
		}
		requests[id] = span.Name
	}
	return problems
}
