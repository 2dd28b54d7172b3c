// Package telemetry is how a process tells what it does: one JSON line per event, spans, and a few
// metrics.
//
// [Setup] makes a [Telemetry] for a process, and [Telemetry.For] one for each service in it that
// shares its exporters. Nothing global is used but OpenTelemetry's error handler: a service is
// given what it needs, and domain code starts spans with [Start], which takes the provider from
// the span it is under.
//
// Traces. Identifiers are made in X-Ray's form, with the time in front, which is valid W3C too.
// Without an exporter no span is recorded, but every span has its ids, so that log lines and
// findings can name their trace. Context crosses RPCs as W3C traceparent and tracestate in the
// metadata, and queues and workflows as the same two in a string map ([Inject], [Extract]); X-Ray's
// own header, which SQS carries as AWSTraceHeader, is made and read by [FormatXRay] and
// [ParseXRay]. Baggage is never read or written.
//
// Metrics. No attribute of a metric is a tenant, a host, a target or an id: each value of one is paid
// for as long as the metric is kept. Those belong into spans and log lines.
//
// RPCs. One pair of interceptors serves every transport, because only real gRPC would call a stats
// handler. The server's writes one wide event for each request, to which the code below it adds
// with [Annotate]. Requests, replies and metadata are never logged, and of an error only what went
// wrong with us is: the words of an error that blames the caller may quote the caller.
//
// The package refuses to log values it cannot know to be safe: what is not text, number, time,
// error or the like is replaced by the name of its type, so a message that is passed to a logger
// by mistake does not end up in the log.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name under which this package's own spans and metrics are made.
const scope = "github.com/riskprofiler/riskprofiler/platform/telemetry"

// Limits of a span. X-Ray keeps 20 links and 50 annotations of a segment of 64 KB
// (https://docs.aws.amazon.com/general/latest/gr/xray.html).
const (
	maxSpanAttributes     = 50
	maxSpanAttributeBytes = 1024
	maxSpanEvents         = 16
	maxSpanLinks          = 20
)

// Options configure [Setup]. Only Service is required.
type Options struct {
	// Service is the name of the service or process, as it appears in logs and traces.
	Service string
	// Version is that of the program.
	Version string
	// Writer receives the log. Nil: standard error.
	Writer io.Writer
	// Level is the lowest level that is logged. Nil: slog.LevelInfo.
	Level slog.Leveler
	// OTLPEndpoint is the base URL of a collector that takes OTLP over HTTP, for example
	// "http://127.0.0.1:4318", or "xray://eu-west-1" for X-Ray itself, which takes spans and no
	// metrics; its parameter endpoint replaces AWS's address. Empty: nothing is exported.
	OTLPEndpoint string
	// XRay makes the transport that signs uploads to X-Ray in a region; xray.New does. Nil: an
	// endpoint "xray://" is refused, for programs that do not link the AWS SDK.
	XRay func(region string) http.RoundTripper
	// EMF receives the metrics in CloudWatch's embedded metric format, lines of JSON; in a function
	// it is os.Stdout. Nil: there are none.
	EMF io.Writer
	// Resource says more about where the process runs, beside its name and version; see
	// [FunctionResource].
	Resource []attribute.KeyValue
	// SampleRatio is the part of new traces that is recorded, if anything listens. Zero: all.
	SampleRatio float64
	// SpanProcessors receive spans, beside the OTLP exporter.
	SpanProcessors []sdktrace.SpanProcessor
	// MetricReaders collect metrics, beside the OTLP exporter.
	MetricReaders []sdkmetric.Reader
}

// Telemetry is what a service tells with. It may be used concurrently.
type Telemetry struct {
	// TracerProvider makes tracers. Never nil.
	TracerProvider trace.TracerProvider
	// MeterProvider makes meters. Never nil; it discards where nothing collects.
	MeterProvider metric.MeterProvider
	// Logger writes the log, with the ids of the context's span.
	Logger *slog.Logger
	// Metrics are the instruments that several packages share.
	Metrics *Metrics

	options    Options
	service    string
	handler    slog.Handler
	processors []sdktrace.SpanProcessor
	provider   *sdktrace.TracerProvider // nil where nothing records
	quiet      bool                     // nothing records spans
	invoked    *atomic.Bool             // a first invocation was seen in this process
	meters     *sdkmetric.MeterProvider // nil where nothing collects
	tracer     trace.Tracer
	rpc        *rpcCache
}

// Setup makes the telemetry of a process. It opens no connection: an exporter that cannot reach
// its collector loses spans, says so in the log, and disturbs nothing else.
func Setup(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Service == "" {
		return nil, errors.New("set up telemetry: no service name")
	}
	if o.Writer == nil {
		o.Writer = os.Stderr
	}
	t := &Telemetry{options: o, handler: newHandler(o.Writer, o.Level), invoked: &atomic.Bool{}}
	var readers []sdkmetric.Reader
	var err error
	if t.processors, readers, err = exporters(ctx, o); err != nil {
		return nil, fmt.Errorf("set up telemetry: %w", err)
	}
	t.MeterProvider = noop.NewMeterProvider()
	if len(readers) > 0 {
		opts := []sdkmetric.Option{
			sdkmetric.WithResource(t.resource(o.Service)), sdkmetric.WithView(Dimensions()), sdkmetric.WithCardinalityLimit(maxCombinations),
		}
		for _, r := range readers {
			opts = append(opts, sdkmetric.WithReader(r))
		}
		t.meters = sdkmetric.NewMeterProvider(opts...)
		t.MeterProvider = t.meters
	}
	if t.Metrics, err = newMetrics(t.MeterProvider.Meter(scope), t.meters != nil); err != nil {
		return nil, fmt.Errorf("set up telemetry: %w", err)
	}
	t.rpc = newRPCCache()
	t.name(o.Service)
	log := t.Logger
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry was lost", "error", err)
	}))
	return t, nil
}

// For gives the telemetry of one service in the process: spans and log lines have its name, and go
// where the process's go.
func (t *Telemetry) For(service string) *Telemetry {
	out := *t
	out.name(service)
	return &out
}

// name sets what carries the service's name.
func (t *Telemetry) name(service string) {
	t.service, t.Logger = service, slog.New(t.handler).With("service", service)
	t.TracerProvider, t.quiet = quietProvider{}, len(t.processors) == 0
	if !t.quiet {
		t.provider = t.newProvider(service)
		t.TracerProvider = t.provider
	}
	t.tracer = t.TracerProvider.Tracer(scope)
}

func (t *Telemetry) newProvider(service string) *sdktrace.TracerProvider {
	root := sdktrace.AlwaysSample()
	if t.options.SampleRatio > 0 {
		root = sdktrace.TraceIDRatioBased(t.options.SampleRatio)
	}
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(sdktrace.ParentBased(root)), sdktrace.WithIDGenerator(xrayIDs{}),
		sdktrace.WithResource(t.resource(service)), sdktrace.WithRawSpanLimits(spanLimits()),
	}
	for _, p := range t.processors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	return sdktrace.NewTracerProvider(opts...)
}

func spanLimits() sdktrace.SpanLimits {
	return sdktrace.SpanLimits{
		AttributeValueLengthLimit: maxSpanAttributeBytes, AttributeCountLimit: maxSpanAttributes,
		EventCountLimit: maxSpanEvents, LinkCountLimit: maxSpanLinks,
		AttributePerEventCountLimit: maxSpanAttributes, AttributePerLinkCountLimit: maxSpanAttributes,
	}
}

// resource names the service. There is no detector of hosts or processes: they run programs and
// read files (CVE-2026-24051), and nobody asks for what they find.
func (t *Telemetry) resource(service string) *resource.Resource {
	attrs := []attribute.KeyValue{semconv.ServiceName(service), semconv.ServiceNamespace("riskprofiler")}
	if t.options.Version != "" {
		attrs = append(attrs, semconv.ServiceVersion(t.options.Version))
	}
	return resource.NewWithAttributes(semconv.SchemaURL, append(attrs, t.options.Resource...)...)
}

// Bounded reports whether spans go to X-Ray, which keeps 100 links of a trace: a trace has to end
// then where work fans out (see queue.Options.OwnTraces).
func (t *Telemetry) Bounded() bool {
	return strings.HasPrefix(t.options.OTLPEndpoint, xrayScheme+"://")
}

// FlushTimeout is how long [Telemetry.Flush] takes at most.
const FlushTimeout = 200 * time.Millisecond

// Flush sends what has been recorded so far. A function's host calls it before it answers, because a
// frozen process sends nothing. It takes at most [FlushTimeout], less if ctx has an earlier deadline,
// and no notice of ctx being cancelled. What cannot be sent in that time is tried again with the next
// spans, which is never worth failing the work for, so nothing is returned; the log says so at debug.
func (t *Telemetry) Flush(ctx context.Context) {
	if t.provider == nil && t.meters == nil {
		return
	}
	until := time.Now().Add(FlushTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	bounded, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	done := make(chan error, 2) // room for both, so that a late one does not wait for anybody
	wait := 0
	if t.provider != nil {
		wait++
		go func() { done <- t.provider.ForceFlush(bounded) }()
	}
	if t.meters != nil {
		wait++
		go func() { done <- t.meters.ForceFlush(bounded) }()
	}
	for ; wait > 0; wait-- {
		select {
		case err := <-done:
			if err != nil {
				t.Logger.DebugContext(ctx, "telemetry was not flushed", "error", err)
			}
		case <-bounded.Done():
			t.Logger.DebugContext(ctx, "telemetry was not flushed in time", "after", FlushTimeout.String())
			return
		}
	}
}

// Shutdown sends what is left and stops the exporters, of all services of the process. Spans that
// end later are lost.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var err error
	if t.provider != nil {
		err = t.provider.Shutdown(ctx)
	}
	if t.meters != nil {
		err = errors.Join(err, t.meters.Shutdown(ctx))
	}
	if err != nil {
		return fmt.Errorf("shut down telemetry: %w", err)
	}
	return nil
}

// Start starts a span below the one in ctx, for work inside a process. It needs no tracer: the span
// comes from the provider that made its parent, and without a parent it records nothing. End it.
func Start(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return trace.SpanFromContext(ctx).TracerProvider().Tracer(scope).Start(ctx, name, trace.WithAttributes(attrs...))
}
