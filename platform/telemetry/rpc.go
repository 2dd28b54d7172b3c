package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// ServerOptions configure the interceptors of a server. The zero value is for a service that only
// other services call.
type ServerOptions struct {
	// Untrusted says that callers are strangers: their trace context is ignored, so that they cannot
	// write into our traces or switch recording on. In a function the request is a part of the invocation
	// nevertheless, which is the platform's word ([Telemetry.Invoke]).
	Untrusted bool
	// Services are the telemetries of the services behind one server, by the full name of the gRPC
	// service, such as "riskprofiler.ingest.v1.IngestService": spans and events of a request have the
	// name of the service that answers it. Others have the name of the telemetry that made the
	// interceptor.
	Services map[string]*Telemetry
	// Level is that of the event of a request that did not fail through us. Nil: slog.LevelDebug,
	// which suits calls between services; an edge logs every request at slog.LevelInfo.
	Level slog.Leveler
}

// owner is the telemetry of the service that a method belongs to.
func (o ServerOptions) owner(t *Telemetry, method string) *Telemetry {
	if cut := strings.LastIndexByte(method, '/'); len(o.Services) > 0 && cut > 0 {
		if own := o.Services[method[1:cut]]; own != nil {
			return own
		}
	}
	return t
}

// UnaryServerInterceptor makes a SERVER span for every request, measures it and writes its event.
// An error of the handler is returned as a fault (see fault.From), so that the reference which the
// caller gets is the one in the log.
func (t *Telemetry) UnaryServerInterceptor(o ServerOptions) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
		ctx, r := t.begin(ctx, info.FullMethod, o)
		defer r.abandoned()
		reply, err = handler(ctx, req)
		return reply, r.end(ctx, err)
	}
}

// StreamServerInterceptor is [Telemetry.UnaryServerInterceptor] for streams; the event is written
// when the stream ends.
func (t *Telemetry) StreamServerInterceptor(o ServerOptions) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, r := t.begin(stream.Context(), info.FullMethod, o)
		defer r.abandoned()
		return r.end(ctx, handler(srv, &serverStream{ServerStream: stream, ctx: ctx}))
	}
}

// serverStream is a stream with another context.
type serverStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // grpc.ServerStream is made this way
}

// Context is the stream's context with the span in it.
func (s *serverStream) Context() context.Context { return s.ctx }

// UnaryClientInterceptor makes a CLIENT span for every call, measures it and sends the trace
// context with it.
func (t *Telemetry) UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if parent := trace.SpanContextFromContext(ctx); t.quiet || (parent.IsValid() && !parent.IsSampled()) {
			return t.callQuietly(ctx, parent, method, req, reply, cc, invoke, opts)
		}
		m := t.rpc.method(method)
		start := time.Now()
		ctx, span := t.tracer.Start(ctx, m.name, m.clientSpan...)
		defer span.End()
		err := invoke(injectMetadata(ctx, span.SpanContext()), method, req, reply, cc, opts...)
		code := fault.CodeOf(err).GRPC()
		if t.Metrics.enabled {
			t.Metrics.client.Record(ctx, time.Since(start).Seconds(), m.measured(code)...)
		}
		if span.IsRecording() {
			describe(span, code, err, err != nil)
		}
		return err
	}
}

// callQuietly makes a call of which no span is recorded: it carries the ids of the span it is made
// under, or those of a new trace.
func (t *Telemetry) callQuietly(ctx context.Context, parent trace.SpanContext, method string, req, reply any, cc *grpc.ClientConn,
	invoke grpc.UnaryInvoker, opts []grpc.CallOption,
) error {
	if !parent.IsValid() {
		parent = below(ctx, parent)
	}
	ctx = injectMetadata(ctx, parent)
	if !t.Metrics.enabled {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	start := time.Now()
	err := invoke(ctx, method, req, reply, cc, opts...)
	t.Metrics.client.Record(ctx, time.Since(start).Seconds(), t.rpc.method(method).measured(fault.CodeOf(err).GRPC())...)
	return err
}

// request is one request that is being served, with all that it needs in one piece of memory. It is
// the context of its handler too, which finds the event in it.
type request struct {
	context.Context //nolint:containedctx // it lives exactly as long as the request

	t     *Telemetry
	m     *rpcMethod
	level slog.Leveler
	span  trace.Span
	quiet quietSpan
	event event
	start time.Time
	ended bool
}

// Value is the request's event, or what the context around it has.
func (r *request) Value(key any) any {
	if key == (eventKey{}) {
		return &r.event
	}
	return r.Context.Value(key)
}

func (t *Telemetry) begin(ctx context.Context, method string, o ServerOptions) (context.Context, *request) {
	t = o.owner(t, method)
	r := &request{t: t, m: t.rpc.method(method), level: o.Level, start: time.Now()}
	ctx, parent, options := r.m.above(ctx, o.Untrusted)
	if t.quiet || (parent.IsValid() && !parent.IsSampled()) {
		r.quiet.sc = below(ctx, parent)
		r.span = &r.quiet
		ctx = trace.ContextWithSpan(ctx, r.span)
	} else {
		if parent.IsRemote() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		}
		ctx, r.span = t.tracer.Start(ctx, r.m.name, options...)
	}
	r.Context = ctx
	return r, r
}

// above is what the span of a request is under, and how it is started.
func (m *rpcMethod) above(ctx context.Context, untrusted bool) (context.Context, trace.SpanContext, []trace.SpanStartOption) {
	if untrusted {
		if span, ok := ctx.Value(invocationKey{}).(trace.Span); ok {
			return trace.ContextWithSpan(ctx, span), span.SpanContext(), m.serverSpan
		}
		return ctx, trace.SpanContext{}, m.rootSpan
	}
	parent := extractMetadata(ctx)
	if !parent.IsValid() {
		parent = trace.SpanContextFromContext(ctx)
	}
	return ctx, parent, m.serverSpan
}

// end closes the request and gives the error that it is answered with.
func (r *request) end(ctx context.Context, err error) error {
	r.ended = true
	defer r.span.End()
	var answer error
	code := codes.OK
	if err != nil {
		// What carries a status already passes as it is, with all its details.
		answer, code = err, fault.CodeOf(err).GRPC()
		if ours(code) {
			f := fault.From(err)
			answer = f
		}
	}
	if r.t.Metrics.enabled {
		r.t.Metrics.server.Record(ctx, time.Since(r.start).Seconds(), r.m.measured(code)...)
	}
	if r.span.IsRecording() {
		describe(r.span, code, answer, ours(code))
	}
	r.log(ctx, code, err, answer)
	return answer
}

// abandoned ends a request whose handler panicked through the interceptor.
func (r *request) abandoned() {
	if !r.ended {
		r.span.SetStatus(otelcodes.Error, "")
		r.span.End()
	}
}

// log writes the request's event. Only an error that is ours is written with its words.
func (r *request) log(ctx context.Context, code codes.Code, err, answer error) {
	level := slog.LevelDebug
	if r.level != nil {
		level = r.level.Level()
	}
	if ours(code) {
		level = slog.LevelError
	}
	if !r.t.Logger.Enabled(ctx, level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 8), slog.String("method", r.m.name), slog.String("code", codeName(code)),
		slog.Float64("duration_ms", float64(time.Since(r.start).Microseconds())/1e3))
	if ours(code) {
		attrs = append(attrs, slog.String("error", err.Error()))
		if reference := fault.Reference(answer); reference != "" {
			attrs = append(attrs, slog.String("reference", reference))
		}
	}
	r.t.Logger.LogAttrs(ctx, level, "request", append(attrs, r.event.list()...)...)
}

// ours reports whether an error with this code means that something is wrong on our side.
func ours(code codes.Code) bool {
	return code == codes.Internal || code == codes.DataLoss || code == codes.Unknown
}

// describe puts the outcome on a span. The error's words are left out: they may quote the request.
func describe(span trace.Span, code codes.Code, err error, failed bool) {
	name := codeName(code)
	span.SetAttributes(semconv.RPCResponseStatusCode(name))
	if err == nil {
		return
	}
	if reference := fault.Reference(err); reference != "" {
		span.SetAttributes(attribute.String("riskprofiler.reference", reference))
	}
	if failed || code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Unimplemented {
		span.SetAttributes(semconv.ErrorTypeKey.String(name))
		span.SetStatus(otelcodes.Error, "")
	}
}

// codeName is the code as the conventions and gRPC's documents write it: "NOT_FOUND".
func codeName(code codes.Code) string {
	names := [...]string{"OK", "CANCELLED",
		"UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
		"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
		"OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}
	if int(code) < len(names) {
		return names[code]
	}
	return "UNKNOWN"
}

// rpcCache keeps what is the same for every call of a method.
type rpcCache struct {
	mu      sync.RWMutex
	methods map[string]*rpcMethod
}

// maxMethods bounds the cache. Interceptors run for methods that exist, but nothing forces a
// client to call only those.
const maxMethods = 1024

type rpcMethod struct {
	name                             string
	serverSpan, rootSpan, clientSpan []trace.SpanStartOption
	byCode                           [17][]metric.RecordOption
}

func newRPCCache() *rpcCache { return &rpcCache{methods: map[string]*rpcMethod{}} }

func (c *rpcCache) method(full string) *rpcMethod {
	c.mu.RLock()
	m, ok := c.methods[full]
	c.mu.RUnlock()
	if ok {
		return m
	}
	m = newRPCMethod(strings.TrimPrefix(full, "/"))
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.methods) < maxMethods {
		c.methods[strings.Clone(full)] = m
	}
	return m
}

func newRPCMethod(name string) *rpcMethod {
	attrs := []attribute.KeyValue{semconv.RPCSystemNameGRPC, semconv.RPCMethod(name)}
	same := trace.WithAttributes(attrs...)
	m := &rpcMethod{
		name:       name,
		serverSpan: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), same},
		rootSpan:   []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), same, trace.WithNewRoot()},
		clientSpan: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), same},
	}
	for code := range m.byCode {
		set := append(attrs[:len(attrs):len(attrs)], semconv.RPCResponseStatusCode(codeName(codes.Code(code))))
		m.byCode[code] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(set...))}
	}
	return m
}

// measured are the attributes of a measurement.
func (m *rpcMethod) measured(code codes.Code) []metric.RecordOption {
	if int(code) < len(m.byCode) {
		return m.byCode[code]
	}
	return m.byCode[codes.Unknown]
}
