package telemetry

import (
	"context"
	"encoding/hex"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

const (
	traceparent = "traceparent"
	tracestate  = "tracestate"

	// maxTraceparent leaves room for what a later version of the standard may add.
	maxTraceparent = 128
	// maxTracestate is what a carrier must propagate at least, and at most here
	// (https://www.w3.org/TR/trace-context/#tracestate-limits).
	maxTracestate = 512
	// maxXRay is twice the longest header that X-Ray documents.
	maxXRay = 256
)

// carrier is what trace context travels in: exactly two fields of it are touched.
type carrier struct{ traceparent, tracestate string }

// Get is one of the two fields.
func (c *carrier) Get(key string) string {
	switch key {
	case traceparent:
		return c.traceparent
	case tracestate:
		return c.tracestate
	default:
		return ""
	}
}

// Set sets one of the two fields.
func (c *carrier) Set(key, value string) {
	switch key {
	case traceparent:
		c.traceparent = value
	case tracestate:
		c.tracestate = value
	}
}

// Keys are the two fields.
func (c *carrier) Keys() []string { return []string{traceparent, tracestate} }

func carry(ctx context.Context) carrier {
	var c carrier
	propagation.TraceContext{}.Inject(ctx, &c)
	if len(c.tracestate) > maxTracestate {
		c.tracestate = ""
	}
	return c
}

// resume gives ctx the context in c as its remote parent. What is too long or malformed is as if
// it were not there: a broken header starts a new trace and never fails a request.
func (c carrier) resume(ctx context.Context) context.Context {
	if c.traceparent == "" || len(c.traceparent) > maxTraceparent {
		return ctx
	}
	if len(c.tracestate) > maxTracestate {
		c.tracestate = ""
	}
	return propagation.TraceContext{}.Extract(ctx, &c)
}

// Inject puts ctx's trace context into m, as "traceparent" and, where there is one, "tracestate":
// for a message's attributes, a workflow's input, a stored record.
func Inject(ctx context.Context, m map[string]string) {
	c := carry(ctx)
	if c.traceparent == "" {
		return
	}
	m[traceparent] = c.traceparent
	if c.tracestate != "" {
		m[tracestate] = c.tracestate
	}
}

// Extract gives ctx the trace context that [Inject] put into m. Without one, ctx is returned as
// it is.
func Extract(ctx context.Context, m map[string]string) context.Context {
	return carrier{m[traceparent], m[tracestate]}.resume(ctx)
}

// injectMetadata puts ctx's trace context into its outgoing metadata, in place of any other.
func injectMetadata(ctx context.Context) context.Context {
	c := carry(ctx)
	if c.traceparent == "" {
		return ctx
	}
	stale := len(metadata.ValueFromOutgoingContext(ctx, traceparent)) + len(metadata.ValueFromOutgoingContext(ctx, tracestate))
	if stale > 0 {
		md, _ := metadata.FromOutgoingContext(ctx)
		md.Delete(traceparent)
		md.Delete(tracestate)
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	if c.tracestate == "" {
		return metadata.AppendToOutgoingContext(ctx, traceparent, c.traceparent)
	}
	return metadata.AppendToOutgoingContext(ctx, traceparent, c.traceparent, tracestate, c.tracestate)
}

// extractMetadata reads the incoming metadata. Several values would leave open which one holds.
func extractMetadata(ctx context.Context) context.Context {
	parent := metadata.ValueFromIncomingContext(ctx, traceparent)
	if len(parent) != 1 {
		return ctx
	}
	c := carrier{traceparent: parent[0]}
	if state := metadata.ValueFromIncomingContext(ctx, tracestate); len(state) == 1 {
		c.tracestate = state[0]
	}
	return c.resume(ctx)
}

// FormatXRay is sc as an X-Ray trace header, as SQS carries it in the system attribute
// AWSTraceHeader (https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html
// #xray-concepts-tracingheader). It is empty for an invalid sc.
func FormatXRay(sc trace.SpanContext) string {
	if !sc.IsValid() {
		return ""
	}
	id, sampled := sc.TraceID().String(), "0"
	if sc.IsSampled() {
		sampled = "1"
	}
	return "Root=1-" + id[:8] + "-" + id[8:] + ";Parent=" + sc.SpanID().String() + ";Sampled=" + sampled
}

// ParseXRay reads an X-Ray trace header as a remote span context. Unknown fields are skipped; it
// is false if there is no valid root and parent.
func ParseXRay(header string) (trace.SpanContext, bool) {
	if len(header) > maxXRay {
		return trace.SpanContext{}, false
	}
	c := trace.SpanContextConfig{Remote: true}
	ok := true
	for field := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Root":
			ok = ok && xrayTrace(value, &c.TraceID)
		case "Parent":
			ok = ok && decodeHex(c.SpanID[:], value)
		case "Sampled":
			c.TraceFlags = c.TraceFlags.WithSampled(value == "1")
		}
	}
	sc := trace.NewSpanContext(c)
	return sc, ok && sc.IsValid()
}

// xrayTrace reads "1-<8 hex>-<24 hex>".
func xrayTrace(value string, id *trace.TraceID) bool {
	const length = 35
	if len(value) != length || value[:2] != "1-" || value[10] != '-' {
		return false
	}
	return decodeHex(id[:4], value[2:10]) && decodeHex(id[4:], value[11:])
}

func decodeHex(into []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(into)) {
		return false
	}
	_, err := hex.Decode(into, []byte(text))
	return err == nil
}
