package test

import (
	"context"
	"slices"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
)

const createAssessment = "riskprofiler.scheduler.v1.SchedulerService/CreateAssessment"

// stories are the ways that one assessment takes through the services: names of spans from the request down, each below the
// one before it, with others between them.
var stories = map[string][]string{
	"a scan job": {
		createAssessment, createAssessment, createAssessment, "workflow assessment", "state Seeds", "state Jobs", "state Scan",
		"send scan-http", "process scan-http", "scan http",
	},
	"a result to a finding": {
		createAssessment, "workflow assessment", "state Scan", "send scan-http", "process scan-http", "send results", "process results",
		"send changes", "process changes", "evaluate", "riskprofiler.ingest.v1.IngestService/GetAssetState",
	},
	"scope": {
		createAssessment, "riskprofiler.ingest.v1.IngestService/CheckScope",
	},
	"scope checked by the scanner": {
		createAssessment, "workflow assessment", "send scan-port", "process scan-port", "riskprofiler.ingest.v1.IngestService/CheckScope",
	},
	"waves": {
		createAssessment, "workflow assessment", "riskprofiler.scheduler.v1.SchedulerService/NextWave",
		"riskprofiler.ingest.v1.IngestService/GetJobRecords",
	},
	"correlation": {
		createAssessment, "workflow assessment", "state Correlate", "riskprofiler.correlator.v1.CorrelatorService/EvaluateAssessment", "evaluate",
	},
	"report": {
		createAssessment, "workflow assessment", "state Report", "riskprofiler.reporter.v1.ReporterService/CreateReport",
		"riskprofiler.correlator.v1.CorrelatorService/GetAssetFindings",
	},
	"notification": {
		createAssessment, "workflow assessment", "state Notify", "riskprofiler.reporter.v1.ReporterService/Notify",
	},
	"end": {
		createAssessment, "workflow assessment", "riskprofiler.scheduler.v1.SchedulerService/FinishAssessment",
	},
}

// TestTrace: one assessment is one trace from the REST request through all services and queues to the finding.
func TestTrace(t *testing.T) {
	l := StartLab(t, "127.60.3.0/24", lab.Options{})
	recorder := tracetest.New()
	out := InProcess(t, Options{Resolver: l.Resolver(), Spans: recorder}).Assess(t, []string{"www.acme.test"}, "8080,8443")
	awaitAll(t, recorder)
	root := rootOf(t, recorder)
	id := root.SpanContext().TraceID()
	tree := recorder.Tree(tracetest.Options{Trace: id, Fold: true})

	known := map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, s := range recorder.Spans() {
		if s.SpanContext().TraceID() == id {
			known[s.SpanContext().SpanID()] = s
		}
	}
	var paths [][]string
	for _, s := range known {
		path, unbroken := pathTo(known, s)
		if !unbroken || path[0] != root.Name() {
			t.Errorf("span %q does not lead back to the request: %v", s.Name(), path)
		}
		for _, link := range s.Links() {
			if known[link.SpanContext.SpanID()] == nil {
				t.Errorf("span %q links to a span of another trace", s.Name())
			}
		}
		paths = append(paths, path)
	}
	for name, story := range stories {
		if !slices.ContainsFunc(paths, func(path []string) bool { return isSubsequence(story, path) }) {
			t.Errorf("%s: no path %v", name, story)
		}
	}
	if len(out.Report.GetFindings()) == 0 {
		t.Error("the report has no findings")
	}
	for _, f := range out.Report.GetFindings() {
		if f.GetTraceId() != id.String() {
			t.Errorf("finding %s names trace %q, want %q", f.GetCheck(), f.GetTraceId(), id)
		}
	}
	if t.Failed() {
		t.Logf("the trace:\n%s", tree)
	}
}

// awaitAll waits until what one assessment started has ended: its workflow, and the handling of every message sent.
func awaitAll(t *testing.T, r *tracetest.Recorder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	if err := r.Await(ctx, "workflow assessment", 1); err != nil {
		t.Fatal(err)
	}
	for _, queue := range []string{"scan-dns", "scan-port", "scan-service", "scan-tls", "scan-http", "results", "changes"} {
		if err := r.Await(ctx, "process "+queue, len(r.Find("send "+queue))); err != nil {
			t.Fatal(err)
		}
	}
}

// rootOf is the span of the request that started the assessment.
func rootOf(t *testing.T, r *tracetest.Recorder) sdktrace.ReadOnlySpan {
	t.Helper()
	roots := slices.DeleteFunc(r.Find(createAssessment), func(s sdktrace.ReadOnlySpan) bool { return s.Parent().IsValid() })
	if len(roots) != 1 {
		t.Fatalf("%d requests for an assessment, want 1:\n%s", len(roots), r.Tree(tracetest.Options{Fold: true}))
	}
	return roots[0]
}

// pathTo are the names of the spans from the outermost known one to s, and whether the outermost has no parent.
func pathTo(known map[trace.SpanID]sdktrace.ReadOnlySpan, s sdktrace.ReadOnlySpan) ([]string, bool) {
	path := []string{s.Name()}
	for s.Parent().IsValid() {
		parent := known[s.Parent().SpanID()]
		if parent == nil {
			slices.Reverse(path)
			return path, false
		}
		s = parent
		path = append(path, s.Name())
	}
	slices.Reverse(path)
	return path, true
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
