package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a log that several goroutines write.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Reset()
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines reads the log: every line must be one JSON object.
func (b *buffer) lines(t testing.TB) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func setup(t testing.TB, o Options) (*Telemetry, *buffer) {
	t.Helper()
	log := &buffer{}
	o.Writer = log
	if o.Service == "" {
		o.Service = "test"
	}
	tel, err := Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return tel, log
}

// recording is a telemetry that keeps its spans.
func recording(t testing.TB) (*Telemetry, *tracetest.Recorder, *buffer) {
	t.Helper()
	r := tracetest.New()
	tel, log := setup(t, Options{SpanProcessors: []sdktrace.SpanProcessor{r}, Level: slog.LevelDebug})
	return tel, r, log
}

func TestWithoutAnExporterSpansHaveIDsAndRecordNothing(t *testing.T) {
	tel, log := setup(t, Options{})
	ctx, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
	defer span.End()
	sc := span.SpanContext()
	if !sc.IsValid() || sc.IsSampled() || span.IsRecording() {
		t.Errorf("valid %v, sampled %v, recording %v", sc.IsValid(), sc.IsSampled(), span.IsRecording())
	}
	ctx, below := Start(ctx, "below")
	defer below.End()
	if got := below.SpanContext(); got.TraceID() != sc.TraceID() || got.SpanID() == sc.SpanID() || !got.IsValid() {
		t.Errorf("below: %v", got)
	}
	tel.Logger.InfoContext(ctx, "found")
	if line := log.lines(t)[0]; line["trace_id"] != sc.TraceID().String() || line["span_id"] != below.SpanContext().SpanID().String() {
		t.Errorf("log: %v", line)
	}
	if _, span := Start(t.Context(), "alone"); span.SpanContext().IsValid() {
		t.Error("a span out of nothing")
	}
}

func TestTraceIDsBeginWithTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel, _ := setup(t, Options{})
		seen := map[trace.TraceID]bool{}
		for range 100 {
			time.Sleep(time.Second)
			_, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
			id := span.SpanContext().TraceID()
			if seconds := time.Unix(int64(id[0])<<24|int64(id[1])<<16|int64(id[2])<<8|int64(id[3]), 0); !seconds.Equal(time.Now().Truncate(time.Second)) {
				t.Fatalf("%s begins with %s, it is %s", id, seconds, time.Now())
			}
			if seen[id] {
				t.Fatalf("%s came twice", id)
			}
			seen[id] = true
			span.End()
		}
	})
}

func TestForSharesExportersAndNamesItsService(t *testing.T) {
	r := tracetest.New()
	tel, log := setup(t, Options{Service: "riskprofiler", SpanProcessors: []sdktrace.SpanProcessor{r}})
	ctx, outer := tel.For("gateway").TracerProvider.Tracer("x").Start(t.Context(), "outer")
	_, inner := tel.For("scheduler").TracerProvider.Tracer("x").Start(ctx, "inner")
	tel.For("scheduler").Logger.InfoContext(ctx, "hello")
	inner.End()
	outer.End()
	const want = "outer @gateway\n  inner @scheduler\n"
	if got := r.Tree(tracetest.Options{Service: true}); got != want {
		t.Errorf("got\n%s", got)
	}
	if line := log.lines(t)[0]; line["service"] != "scheduler" || line["msg"] != "hello" {
		t.Errorf("log: %v", line)
	}
}

func TestSpansAreBounded(t *testing.T) {
	tel, r, _ := recording(t)
	_, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
	for i := range 500 {
		span.SetAttributes(attribute.String(strings.Repeat("k", i+1), strings.Repeat("v", 10_000)))
		span.AddEvent("event")
		span.AddLink(trace.Link{SpanContext: span.SpanContext()})
	}
	span.End()
	s := r.Spans()[0]
	if len(s.Attributes()) != maxSpanAttributes || len(s.Events()) != maxSpanEvents || len(s.Links()) != maxSpanLinks {
		t.Errorf("%d attributes, %d events, %d links", len(s.Attributes()), len(s.Events()), len(s.Links()))
	}
	if n := len(s.Attributes()[0].Value.AsString()); n != maxSpanAttributeBytes {
		t.Errorf("attribute of %d bytes", n)
	}
}

func TestSampleRatio(t *testing.T) {
	r := tracetest.New()
	tel, _ := setup(t, Options{SpanProcessors: []sdktrace.SpanProcessor{r}, SampleRatio: 1e-9})
	for range 100 {
		_, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
		if !span.SpanContext().IsValid() {
			t.Error("a span that is not sampled has no id")
		}
		span.End()
	}
	if n := len(r.Spans()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

func TestSetupRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no service": {}, "no URL": {Service: "x", OTLPEndpoint: "::"}, "no scheme": {Service: "x", OTLPEndpoint: "localhost:4318"},
		"other scheme": {Service: "x", OTLPEndpoint: "grpc://localhost:4317"}, "no host": {Service: "x", OTLPEndpoint: "http:///v1"},
	} {
		if tel, err := Setup(t.Context(), o); err == nil || tel != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOTLP sends to a collector on loopback.
func TestOTLP(t *testing.T) {
	var mu sync.Mutex
	names, paths := []string{}, map[string]int{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				t.Error(err)
				return
			}
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		paths[r.URL.Path]++
		if r.URL.Path != "/base/v1/traces" {
			return
		}
		req := &collectortrace.ExportTraceServiceRequest{}
		if err := proto.Unmarshal(data, req); err != nil {
			t.Error(err)
		}
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					names = append(names, s.Name)
				}
			}
		}
	}))
	t.Cleanup(collector.Close) // after the exporters are shut down
	defer http.DefaultClient.CloseIdleConnections()
	tel, _ := setup(t, Options{OTLPEndpoint: collector.URL + "/base"})
	_, span := tel.For("gateway").TracerProvider.Tracer("x").Start(t.Context(), "work")
	span.End()
	tel.Metrics.ScanJob(t.Context(), "dns", "complete")
	tel.Flush(t.Context())
	mu.Lock()
	defer mu.Unlock()
	if !cmp.Equal(names, []string{"work"}) || paths["/base/v1/metrics"] == 0 {
		t.Errorf("spans %v, requests %v", names, paths)
	}
}

// TestCollectorIsDown: a span is lost, the log says so, nothing else happens.
func TestCollectorIsDown(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	log := &buffer{}
	tel, err := Setup(t.Context(), Options{Service: "x", Writer: log, OTLPEndpoint: gone.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.TracerProvider.Tracer("x").Start(t.Context(), "work")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	tel.Flush(ctx)
	if err := tel.Shutdown(ctx); err == nil {
		t.Error("shut down without a word")
	}
	log.lines(t) // JSON, whatever was said
}

func TestMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	tel, _ := setup(t, Options{MetricReaders: []sdkmetric.Reader{reader}})
	ctx := t.Context()
	tel.Metrics.Provider(ctx, "shodan", "ok")
	tel.Metrics.Provider(ctx, "shodan", "ok")
	tel.Metrics.Provider(ctx, "shodan", "Unavailable")
	tel.Metrics.WorkflowStart(ctx, "assessment", "ok")
	tel.Metrics.ScheduleLag(ctx, "tick", 3*time.Second)
	tel.Metrics.ScheduleLag(ctx, "tick", -3*time.Second)
	tel.For("scanner").Metrics.ScanJob(ctx, "dns", "complete")
	(*Metrics)(nil).ScanJob(ctx, "dns", "complete")
	want := map[string]int64{
		"riskprofiler.provider.requests outcome=ok,provider=shodan": 2, "riskprofiler.provider.requests outcome=Unavailable,provider=shodan": 1,
		"riskprofiler.workflow.starts outcome=ok,workflow=assessment": 1, "riskprofiler.schedule.lag schedule=tick": 2,
		"riskprofiler.scan_jobs outcome=complete,scan_type=dns": 1,
	}
	if diff := cmp.Diff(want, collect(t, reader)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// collect reads counters by their sums and histograms by their counts.
func collect(t testing.TB, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	encoder := attribute.DefaultEncoder()
	for _, sm := range data.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					out[m.Name+" "+p.Attributes.Encoded(encoder)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					out[m.Name+" "+p.Attributes.Encoded(encoder)] = int64(p.Count)
				}
			}
		}
	}
	return out
}

func TestErrorHandlerWritesJSON(t *testing.T) {
	_, log := setup(t, Options{})
	otel.Handle(errors.New("cannot\nexport"))
	if line := log.lines(t)[0]; line["msg"] != "telemetry was lost" || line["error"] != "cannot\nexport" {
		t.Errorf("log: %v", line)
	}
}
