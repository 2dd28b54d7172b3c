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

	// parentLength is that of a traceparent of version 0.
	parentLength = 55
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

// carry is sc in the form in which it travels; empty for an invalid one.
func carry(sc trace.SpanContext) carrier {
	if !sc.IsValid() {
		return carrier{}
	}
	c := carrier{traceparent: formatParent(sc)}
	if state := sc.TraceState(); state.Len() > 0 {
		if text := state.String(); len(text) <= maxTracestate {
			c.tracestate = text
		}
	}
	return c
}

// formatParent is sc as a traceparent of version 0 (https://www.w3.org/TR/trace-context/#traceparent-header-field-values).
func formatParent(sc trace.SpanContext) string {
	var out [parentLength]byte
	id, span := sc.TraceID(), sc.SpanID()
	copy(out[:], "00-")
	hex.Encode(out[3:35], id[:])
	out[35] = '-'
	hex.Encode(out[36:52], span[:])
	flags := [1]byte{byte(sc.TraceFlags() & (trace.FlagsSampled | trace.FlagsRandom))}
	out[52] = '-'
	hex.Encode(out[53:], flags[:])
	return string(out[:])
}

// remote is the span context in c. What is too long or malformed is as if it were not there: a
// broken header starts a new trace and never fails a request.
func (c carrier) remote() trace.SpanContext {
	if c.traceparent == "" || len(c.traceparent) > maxTraceparent {
		return trace.SpanContext{}
	}
	if len(c.tracestate) > maxTracestate {
		c.tracestate = ""
	}
	if c.tracestate == "" {
		if sc, ok := parseParent(c.traceparent); ok {
			return sc
		}
	}
	return c.decide()
}

// decide is the propagator's reading, which takes the carrier to the heap.
func (c carrier) decide() trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), &c))
}

// parseParent reads what nearly all calls carry, a well formed traceparent of version 0, for a
// fraction of what the propagator costs. It says false for all else, which the propagator decides.
func parseParent(s string) (trace.SpanContext, bool) {
	if len(s) != parentLength || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return trace.SpanContext{}, false
	}
	var flags [1]byte
	c := trace.SpanContextConfig{Remote: true}
	if !decodeLower(c.TraceID[:], s[3:35]) || !decodeLower(c.SpanID[:], s[36:52]) || !decodeLower(flags[:], s[53:]) || flags[0] > 3 {
		return trace.SpanContext{}, false
	}
	c.TraceFlags = trace.TraceFlags(flags[0])
	sc := trace.NewSpanContext(c)
	return sc, sc.IsValid()
}

// nibbles are the values of the hexadecimal digits that a traceparent may have, and 0xFF for all else.
var nibbles = func() (out [256]byte) {
	for i := range out {
		out[i] = 0xFF
	}
	for i, c := range []byte("0123456789abcdef") {
		out[c] = byte(i)
	}
	return out
}()

// decodeLower reads lower case hexadecimal text of twice the length of into.
func decodeLower(into []byte, text string) bool {
	var wrong byte
	for i := range into {
		high, low := nibbles[text[2*i]], nibbles[text[2*i+1]]
		wrong |= high | low
		into[i] = high<<4 | low
	}
	return wrong < 1<<4
}

// resume gives ctx the context in c as its remote parent, if there is a valid one.
func (c carrier) resume(ctx context.Context) context.Context {
	if sc := c.remote(); sc.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}

// Inject puts ctx's trace context into m, as "traceparent" and, where there is one, "tracestate":
// for a message's attributes, a workflow's input, a stored record.
func Inject(ctx context.Context, m map[string]string) {
	c := carry(trace.SpanContextFromContext(ctx))
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

// injectMetadata puts sc into ctx's outgoing metadata, in place of any other.
func injectMetadata(ctx context.Context, sc trace.SpanContext) context.Context {
	c := carry(sc)
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

// extractMetadata is the span context in the incoming metadata. Several values would leave open
// which one holds.
func extractMetadata(ctx context.Context) trace.SpanContext {
	parent := metadata.ValueFromIncomingContext(ctx, traceparent)
	if len(parent) != 1 {
		return trace.SpanContext{}
	}
	c := carrier{traceparent: parent[0]}
	if state := metadata.ValueFromIncomingContext(ctx, tracestate); len(state) == 1 {
		c.tracestate = state[0]
	}
	return c.remote() //nolint:contextcheck // the propagator wants a context to put its result into
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
	if sc := trace.NewSpanContext(c); ok && sc.IsValid() {
		return sc, true
	}
	return trace.SpanContext{}, false // nothing of a half that could be read
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
