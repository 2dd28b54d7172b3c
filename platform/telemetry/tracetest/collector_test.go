package tracetest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
)

// export sends a story of two traces, "request > send" and "process > work", of which the second links to the first.
func export(t *testing.T, endpoint string, o ...otlptracehttp.Option) error {
	t.Helper()
	ctx := t.Context()
	exporter, err := otlptracehttp.New(ctx, append(o, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))...)
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	kept := &keeper{}
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(kept), sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "one"))))
	tracer := tp.Tracer("scope")
	request, root := tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.Int("n", 7), attribute.Bool("cold", true)))
	_, send := tracer.Start(request, "send", trace.WithSpanKind(trace.SpanKindProducer))
	process, consumer := tracer.Start(ctx, "process", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(trace.Link{SpanContext: send.SpanContext()}))
	_, work := tracer.Start(process, "work")
	work.SetStatus(codes.Error, "")
	for _, s := range []trace.Span{work, consumer, send, root} {
		s.End()
	}
	failed = exporter.ExportSpans(ctx, kept.spans)
	return errors.Join(failed, exporter.Shutdown(ctx))
}

// keeper keeps what ended.
type keeper struct {
	sdktrace.SpanProcessor

	spans []sdktrace.ReadOnlySpan
}

func (*keeper) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (k *keeper) OnEnd(s sdktrace.ReadOnlySpan)                 { k.spans = append(k.spans, s) }

func TestCollector(t *testing.T) {
	for name, o := range map[string][]otlptracehttp.Option{"plain": nil, "gzip": {otlptracehttp.WithCompression(otlptracehttp.GzipCompression)}} {
		collector := &tracetest.Collector{}
		server := httptest.NewServer(collector)
		if err := export(t, server.URL, o...); err != nil {
			t.Fatal(err)
		}
		server.Close()
		byName := map[string]tracetest.Span{}
		for _, s := range collector.Spans() {
			byName[s.Name] = s
		}
		if n, refused := collector.Uploads(); len(byName) != 4 || n != 1 || refused != nil {
			t.Fatalf("%s: %d uploads, refused %v: %v", name, n, refused, byName)
		}
		causes := tracetest.NewCauses(collector.Spans())
		var path []string
		for _, s := range causes.Path(byName["request"], byName["work"]) {
			path = append(path, s.Name+" "+s.Kind.String())
		}
		if diff := cmp.Diff([]string{"request server", "send producer", "process consumer", "work internal"}, path); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if back := causes.Path(byName["work"], byName["request"]); back != nil {
			t.Errorf("%s: the request was caused by %v", name, back)
		}
		root := byName["request"]
		if diff := cmp.Diff(map[string]string{"n": "7", "cold": "true"}, root.Attributes); diff != "" || root.Resource["service.name"] != "one" || root.Scope != "scope" {
			t.Errorf("%s: %+v", name, root)
		}
		if !byName["work"].Failed || root.Failed || root.Parent.IsValid() || root.Trace == byName["work"].Trace {
			t.Errorf("%s: %+v", name, byName)
		}
		if lost := tracetest.NewCauses([]tracetest.Span{byName["request"], byName["work"]}).Path(byName["request"], byName["work"]); lost != nil {
			t.Errorf("%s: a way over spans that did not arrive: %v", name, lost)
		}
	}
}

func TestCollectorRefuses(t *testing.T) {
	collector := &tracetest.Collector{Check: func(*http.Request, []byte) error { return errors.New("not signed") }}
	server := httptest.NewServer(collector)
	defer server.Close()
	if err := export(t, server.URL); err == nil {
		t.Error("taken")
	}
	collector.Check = nil
	for _, body := range []string{"\xff", strings.Repeat("x", 5_000_001), "\x0a\x08\x12\x06\x12\x04\x0a\x02\x01\x02"} { // no message, too long, a trace id of two bytes
		res, err := http.Post(server.URL+"/v1/traces", "application/x-protobuf", strings.NewReader(body)) //nolint:noctx // a test's own server
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%.10q: %s", body, res.Status)
		}
	}
	if n, refused := collector.Uploads(); n != 4 || len(refused) != 4 || refused[0] != "not signed" || len(collector.Spans()) != 0 {
		t.Errorf("%d uploads, refused %q", n, refused)
	}
}
