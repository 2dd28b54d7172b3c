package queue

import (
	"context"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// instrumentation is the scope of spans and metrics.
const instrumentation = "github.com/riskprofiler/riskprofiler/platform/queue"

// w3c carries traceparent and tracestate and nothing else: baggage of strangers must not travel.
var w3c = propagation.TraceContext{}

// telemetry makes spans and metrics by the semantic conventions for messaging
// (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).
type telemetry struct {
	tracer   trace.Tracer
	queue    string
	system   attribute.KeyValue
	sent     metric.Int64Counter
	duration metric.Float64Histogram
	age      metric.Float64Histogram
	queueSet metric.MeasurementOption            // made once, there is one for each message
	outcomes map[Action]metric.MeasurementOption // the same
	own      bool                                // Options.OwnTraces
}

// maxBatchLinks is how many links X-Ray keeps of a trace
// (https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html). The messages of a larger batch
// get traces of their own. SQS FIFO queues give out ten at a time.
const maxBatchLinks = 100

// ageBounds are the buckets of riskprofiler.queue.age: an alarm is due after five minutes.
var ageBounds = []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 14400}

func newTelemetry(o Options) telemetry {
	meter := o.MeterProvider.Meter(instrumentation)
	t := telemetry{
		tracer:   o.TracerProvider.Tracer(instrumentation),
		queue:    o.Name,
		system:   attribute.String("messaging.system", o.System),
		sent:     metricnoop.Int64Counter{},
		duration: metricnoop.Float64Histogram{},
		age:      metricnoop.Float64Histogram{},
		own:      o.OwnTraces,
		outcomes: map[Action]metric.MeasurementOption{},
	}
	destination := attribute.String("messaging.destination.name", o.Name)
	t.queueSet = metric.WithAttributeSet(attribute.NewSet(t.system, destination))
	for _, outcome := range []Action{Ack, Retry, Return, Park} {
		t.outcomes[outcome] = metric.WithAttributeSet(attribute.NewSet(t.system, destination,
			attribute.String("messaging.operation.name", "process"),
			attribute.String("riskprofiler.queue.outcome", outcome.String())))
	}
	// A meter that refuses an instrument costs the metric, never a message.
	if sent, err := meter.Int64Counter("messaging.client.sent.messages",
		metric.WithUnit("{message}"), metric.WithDescription("Messages that were sent.")); err == nil {
		t.sent = sent
	}
	if duration, err := meter.Float64Histogram("messaging.process.duration",
		metric.WithUnit("s"), metric.WithDescription("Time that handling one message took, by what became of it.")); err == nil {
		t.duration = duration
	}
	if age, err := meter.Float64Histogram("riskprofiler.queue.age", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(ageBounds...),
		metric.WithDescription("Time that a message lay in the queue before its first attempt.")); err == nil {
		t.age = age
	}
	return t
}

// inject copies the messages and writes the trace context into the copies: that of one producer
// span for the call, and for a message that brought a traceparent that of a producer span below
// it. What is done to send them is below the span, if there is one only. finish ends the spans.
func (t telemetry) inject(ctx context.Context, messages []Message) (encoded []Message, sending context.Context, finish func(error)) {
	encoded = make([]Message, len(messages))
	var spans []trace.Span
	var shared propagation.MapCarrier
	sending = ctx
	for i, m := range messages {
		carrier := shared
		parent, own := t.brought(ctx, m)
		if own || shared == nil {
			spanCtx, span := sender(ctx, t.tracer).Start(parent, "send "+t.queue, trace.WithSpanKind(trace.SpanKindProducer))
			if span.IsRecording() {
				span.SetAttributes(t.sendAttributes(m, len(messages), own)...)
			}
			spans, sending = append(spans, span), trace.ContextWithSpan(ctx, span)
			carrier = propagation.MapCarrier{}
			w3c.Inject(spanCtx, carrier)
			if !own {
				shared = carrier
			}
		}
		encoded[i] = Message{Group: m.Group, DedupID: m.DedupID, Body: m.Body, Attributes: mergeAttributes(m.Attributes, carrier)}
	}
	if len(spans) != 1 {
		sending = ctx
	}
	return encoded, sending, func(err error) {
		for _, span := range spans {
			endSpan(span, err)
		}
		if err == nil {
			t.sent.Add(ctx, int64(len(messages)), t.queueSet)
		}
	}
}

// sender makes the spans of a send in the name of the service whose span it is under: several services of
// a process send to one queue.
func sender(ctx context.Context, other trace.Tracer) trace.Tracer {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		return span.TracerProvider().Tracer(instrumentation)
	}
	return other
}

// brought is the context that a message carries by itself, if it carries a valid one.
func (t telemetry) brought(ctx context.Context, m Message) (context.Context, bool) {
	if m.Attributes[traceparentKey] == "" {
		return ctx, false
	}
	remote := trace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.MapCarrier(m.Attributes)))
	if !remote.IsValid() {
		return ctx, false
	}
	return trace.ContextWithRemoteSpanContext(ctx, remote), true
}

func (t telemetry) sendAttributes(m Message, count int, single bool) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		t.system,
		attribute.String("messaging.destination.name", t.queue),
		attribute.String("messaging.operation.name", "send"),
		attribute.String("messaging.operation.type", "send"),
	}
	if count > 1 && !single {
		return append(attributes, attribute.Int("messaging.batch.message_count", count))
	}
	return append(attributes, attribute.Int("messaging.message.body.size", len(m.Body)))
}

// startBatch starts the consumer span of a batch that a platform handed to a function: below the
// function's own span, or as a trace of its own.
func (t telemetry) startBatch(ctx context.Context, messages int) (context.Context, trace.Span) {
	ctx, span := t.tracer.Start(ctx, "process "+t.queue, trace.WithSpanKind(trace.SpanKindConsumer))
	if span.IsRecording() {
		span.SetAttributes(t.system, attribute.String("messaging.destination.name", t.queue),
			attribute.String("messaging.operation.name", "process"), attribute.String("messaging.operation.type", "process"),
			attribute.Int("messaging.batch.message_count", messages))
	}
	return ctx, span
}

// startProcess starts the consumer span of one delivery and links it to its producer. Where it goes:
//
//   - in a batch: below the batch's span, because messages of many traces come together there;
//   - with Options.OwnTraces: in a trace of its own;
//   - else in the trace of the message, below its producer.
//
// So however far work fans out, a trace that X-Ray gets has one link for each message of one batch, and
// the rest of an assessment's story is behind the links
// (https://opentelemetry.io/docs/specs/semconv/faas/aws-lambda/, "SQS": links and not parents).
func (t telemetry) startProcess(ctx context.Context, d Delivery, inBatch bool) (context.Context, trace.Span) {
	options := append(make([]trace.SpanStartOption, 0, 3), trace.WithSpanKind(trace.SpanKindConsumer))
	remote := trace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.MapCarrier(d.Message.Attributes)))
	if remote.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: remote}))
	}
	name := "process " + t.queue
	switch {
	case inBatch:
		name = "handle " + t.queue
	case remote.IsValid() && !t.own:
		ctx = trace.ContextWithRemoteSpanContext(ctx, remote)
	default:
		options = append(options, trace.WithNewRoot())
	}
	ctx, span := t.tracer.Start(ctx, name, options...)
	if span.IsRecording() {
		span.SetAttributes(t.processAttributes(d.Message)...)
	}
	if d.Message.Attempt <= 1 && !d.Message.SentAt.IsZero() {
		t.age.Record(ctx, max(time.Since(d.Message.SentAt), 0).Seconds(), t.queueSet)
	}
	return ctx, span
}

func (t telemetry) processAttributes(m Message) []attribute.KeyValue {
	return []attribute.KeyValue{
		t.system,
		attribute.String("messaging.destination.name", t.queue),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.message.id", m.ID),
		attribute.Int("messaging.message.body.size", len(m.Body)),
		attribute.String("riskprofiler.queue.group", m.Group),
		attribute.Int("riskprofiler.queue.attempt", m.Attempt),
	}
}

// processed records one handled delivery.
func (t telemetry) processed(ctx context.Context, outcome Action, took time.Duration) {
	t.duration.Record(ctx, took.Seconds(), t.outcomes[outcome])
}

// endSpan ends a span with what became of its work. The text of a handler's error may quote what
// a target sent; it stays in the log and with the parked message, and the span has its code.
func endSpan(span trace.Span, err error) {
	if err != nil {
		code := fault.CodeOf(err).String()
		span.SetAttributes(attribute.String("error.type", code))
		span.SetStatus(codes.Error, code)
	}
	span.End()
}

func mergeAttributes(own map[string]string, carrier propagation.MapCarrier) map[string]string {
	merged := maps.Clone(own)
	if merged == nil {
		merged = make(map[string]string, len(carrier))
	}
	delete(merged, traceparentKey)
	delete(merged, tracestateKey)
	maps.Copy(merged, carrier)
	return merged
}

// traceID is the trace of a context as 32 hex digits, or empty.
func traceID(ctx context.Context) string {
	if id := trace.SpanContextFromContext(ctx).TraceID(); id.IsValid() {
		return id.String()
	}
	return ""
}
