package telemetry

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
)

// maxLogText is the longest text in a log line: enough for a stack, and CloudWatch takes 1 MB a
// line (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html).
const maxLogText = 8 << 10

// newHandler writes JSON, one line for each record, and makes every value safe.
func newHandler(w io.Writer, level slog.Leveler) slog.Handler {
	if level == nil {
		level = slog.LevelInfo
	}
	return &handler{inner: slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: safeAttr})}
}

// handler adds what the context knows: the ids of its span, and the attributes of [With].
type handler struct {
	inner slog.Handler // with all of open applied
	// open are the groups that were opened, and what was added in them. The context's attributes
	// belong outside of them, so for the few loggers that have a group it is applied anew.
	base slog.Handler
	open []func(slog.Handler) slog.Handler
}

// Enabled reports whether the level is logged.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// Handle writes one record.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	attrs := contextAttrs(ctx)
	if len(h.open) == 0 {
		r.AddAttrs(attrs...)
		return h.inner.Handle(ctx, r)
	}
	out := h.base.WithAttrs(attrs)
	for _, apply := range h.open {
		out = apply(out)
	}
	return out.Handle(ctx, r)
}

// WithAttrs adds attributes to every record.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.open) == 0 {
		return &handler{inner: h.inner.WithAttrs(attrs)}
	}
	return h.nest(func(in slog.Handler) slog.Handler { return in.WithAttrs(attrs) })
}

// WithGroup puts what follows into a group.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.nest(func(in slog.Handler) slog.Handler { return in.WithGroup(name) })
}

func (h *handler) nest(apply func(slog.Handler) slog.Handler) slog.Handler {
	base := h.base
	if len(h.open) == 0 {
		base = h.inner
	}
	return &handler{inner: apply(h.inner), base: base, open: append(slices.Clone(h.open), apply)}
}

type attrsKey struct{}

// With gives a context whose log lines have attrs. They do not cross into another service.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	have, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	return context.WithValue(ctx, attrsKey{}, append(have[:len(have):len(have)], attrs...))
}

// WithAssessment says which assessment the work belongs to: in log lines under ctx, in the
// request's event, and on the span in ctx.
func WithAssessment(ctx context.Context, name string) context.Context {
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("riskprofiler.assessment", name))
	Annotate(ctx, slog.String("assessment", name))
	return With(ctx, slog.String("assessment", name))
}

func contextAttrs(ctx context.Context) []slog.Attr {
	have, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return have
	}
	return append(have[:len(have):len(have)], slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
}

// safeAttr makes a value fit for a line that people read in a terminal: texts are bounded and have
// no control characters, and what may hold a request is replaced by the name of its type.
func safeAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		if text := a.Value.String(); !isSafe(text) {
			a.Value = slog.StringValue(safeText(text))
		}
	case slog.KindAny:
		a.Value = safeValue(a.Value.Any())
	}
	return a
}

func safeValue(v any) slog.Value {
	switch v := v.(type) {
	case nil:
		return slog.AnyValue(nil)
	case proto.Message:
		return slog.StringValue("[" + string(v.ProtoReflect().Descriptor().FullName()) + "]")
	case error:
		return slog.StringValue(safeText(v.Error()))
	case slog.Level:
		return slog.StringValue(v.String())
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = safeText(s)
		}
		return slog.AnyValue(out)
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return slog.StringValue(fmt.Sprintf("[%T]", v))
		}
		return slog.StringValue(safeText(string(text)))
	default:
		return slog.StringValue(fmt.Sprintf("[%T]", v))
	}
}

// isSafe is the quick answer for nearly all texts: short and plain ASCII.
func isSafe(s string) bool {
	if len(s) > maxLogText {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}

// safeText bounds s and replaces what a terminal would obey or a reader would be deceived by:
// invalid UTF-8, control characters other than line end and tab (JSON escapes those two), and
// format characters such as the ones that turn the direction of writing.
func safeText(s string) string {
	const mark = "…"
	if len(s) > maxLogText {
		cut := maxLogText - len(mark)
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + mark
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return r
		}
		return utf8.RuneError
	}, s)
}
