package telemetry

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// FunctionResource is what a function's environment says about it, for [Options.Resource]; nothing
// where there is no AWS_LAMBDA_FUNCTION_NAME
// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime,
// https://opentelemetry.io/docs/specs/semconv/resource/faas/).
func FunctionResource(env map[string]string) []attribute.KeyValue {
	name := env["AWS_LAMBDA_FUNCTION_NAME"]
	if name == "" {
		return nil
	}
	attrs := []attribute.KeyValue{semconv.CloudProviderAWS, semconv.CloudPlatformAWSLambda, semconv.FaaSName(name)}
	for _, a := range []struct {
		key   attribute.Key
		value string
	}{
		{semconv.CloudRegionKey, env["AWS_REGION"]}, {semconv.FaaSVersionKey, env["AWS_LAMBDA_FUNCTION_VERSION"]},
		{semconv.FaaSInstanceKey, env["AWS_LAMBDA_LOG_STREAM_NAME"]},
	} {
		if a.value != "" {
			attrs = append(attrs, a.key.String(a.value))
		}
	}
	// The variable is in MB, which are MiB, the attribute in bytes.
	if mib, err := strconv.Atoi(env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]); err == nil && mib > 0 {
		attrs = append(attrs, semconv.FaaSMaxMemory(mib<<20))
	}
	return attrs
}

// Trigger is what made a function run, in the words of the conventions.
type Trigger string

// The triggers.
const (
	// TriggerHTTP is a request of the API gateway.
	TriggerHTTP Trigger = "http"
	// TriggerMessages is a batch of a queue.
	TriggerMessages Trigger = "pubsub"
	// TriggerTimer is a schedule.
	TriggerTimer Trigger = "timer"
	// TriggerOther is all else: a call of another service or of a workflow.
	TriggerOther Trigger = "other"
)

// Invocation is one call of a function.
type Invocation struct {
	// ID is the platform's id of the request, Resource the ARN under which the function was called.
	ID, Resource string
	Trigger      Trigger
	// Name is the span's. Empty: the service's.
	Name string
	// Metadata is that of a call between services: the invocation becomes part of the caller's trace,
	// and what is written back there makes the request's own span part of the invocation. Nil for
	// all else; that of strangers must not be given.
	Metadata map[string][]string
	// XRay is the platform's own trace header, of _X_AMZN_TRACE_ID or the context. It is used only for
	// timers and other calls, and where it was sampled: an invocation that AWS did not choose to trace
	// is traced by our own choice.
	XRay string
}

// invocationKey is where the context of an invocation has its span.
type invocationKey struct{}

// Invoke starts the SERVER span of an invocation, by
// https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/. The function that it returns ends it;
// call that before [Telemetry.Flush], or the span is not sent until the next invocation. A batch of messages begins a
// trace of its own: its messages link to their producers.
func (t *Telemetry) Invoke(ctx context.Context, in Invocation) (context.Context, func(error)) {
	cold := !t.invoked.Swap(true)
	if in.Name == "" {
		in.Name = t.service
	}
	parent := in.parent()
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	if parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	} else {
		options = append(options, trace.WithNewRoot())
	}
	if !t.quiet {
		options = append(options, trace.WithAttributes(in.attributes(cold)...))
	}
	ctx, span := t.tracer.Start(ctx, in.Name, options...)
	ctx = context.WithValue(ctx, invocationKey{}, span)
	if in.Metadata != nil {
		write(in.Metadata, carry(span.SpanContext()))
	}
	return ctx, func(err error) {
		if err != nil && span.IsRecording() {
			span.SetAttributes(semconv.ErrorTypeKey.String(fault.CodeOf(err).String()))
			span.SetStatus(otelcodes.Error, "")
		}
		span.End()
	}
}

// parent is what the invocation belongs to: the caller that says so in its metadata, else what AWS
// traces, if it does.
func (in Invocation) parent() trace.SpanContext {
	if v := in.Metadata[traceparent]; len(v) == 1 {
		c := carrier{traceparent: v[0]}
		if state := in.Metadata[tracestate]; len(state) == 1 {
			c.tracestate = state[0]
		}
		if sc := c.remote(); sc.IsValid() {
			return sc
		}
	}
	// What a stranger's request brings may be the stranger's own, and a batch has many parents.
	if in.Trigger == TriggerHTTP || in.Trigger == TriggerMessages {
		return trace.SpanContext{}
	}
	if sc, ok := ParseXRay(in.XRay); ok && sc.IsSampled() {
		return sc
	}
	return trace.SpanContext{}
}

func (in Invocation) attributes(cold bool) []attribute.KeyValue {
	attrs := []attribute.KeyValue{semconv.FaaSColdstart(cold), semconv.FaaSTriggerKey.String(string(in.Trigger))}
	if in.ID != "" {
		attrs = append(attrs, semconv.FaaSInvocationID(in.ID))
	}
	if in.Resource != "" {
		attrs = append(attrs, semconv.CloudResourceID(in.Resource))
	}
	return attrs
}

// write replaces the trace context in metadata.
func write(md map[string][]string, c carrier) {
	delete(md, traceparent)
	delete(md, tracestate)
	if c.traceparent != "" {
		md[traceparent] = []string{c.traceparent}
	}
	if c.tracestate != "" {
		md[tracestate] = []string{c.tracestate}
	}
}
