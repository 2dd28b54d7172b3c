package telemetry

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
	"pgregory.net/rapid"
)

const (
	someParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	someState  = "vendor=value,other=1"
)

func remote(t testing.TB, parent, state string) trace.SpanContext {
	t.Helper()
	return trace.SpanContextFromContext(Extract(t.Context(), map[string]string{"traceparent": parent, "tracestate": state}))
}

func TestInjectAndExtract(t *testing.T) {
	sc := remote(t, someParent, someState)
	if !sc.IsRemote() || !sc.IsSampled() || sc.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || sc.TraceState().String() != someState {
		t.Fatalf("extracted %+v", sc)
	}
	m := map[string]string{"kept": "1", "baggage": "x=y"}
	Inject(trace.ContextWithSpanContext(t.Context(), sc), m)
	want := map[string]string{"kept": "1", "baggage": "x=y", "traceparent": someParent, "tracestate": someState}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	m = map[string]string{}
	Inject(t.Context(), m)
	if len(m) != 0 {
		t.Errorf("injected out of nothing: %v", m)
	}
}

func TestBrokenContextStartsAnew(t *testing.T) {
	for name, parent := range map[string]string{
		"empty": "", "zero trace": "00-00000000000000000000000000000000-b7ad6b7169203331-01", "zero span": "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"upper case": strings.ToUpper(someParent), "short": someParent[:54], "long": someParent + "-x", "version ff": "ff" + someParent[2:], "spaces": " " + someParent,
		"huge": someParent + strings.Repeat("0", 1<<20), "no hex": strings.Replace(someParent, "0af7", "0ag7", 1), "NUL": "\x00", "line end": someParent + "\n",
	} {
		if sc := remote(t, parent, ""); sc.IsValid() {
			t.Errorf("%s: %v", name, sc)
		}
	}
	for name, state := range map[string]string{"malformed": "=,=,", "huge": "a=" + strings.Repeat("x", 1<<20), "long": "a=" + strings.Repeat("x", 200) + ",b=" + strings.Repeat("x", 200) + ",c=" + strings.Repeat("x", 200), "many": strings.Repeat("a=b,", 1000)} {
		if sc := remote(t, someParent, state); !sc.IsValid() || sc.TraceState().Len() != 0 {
			t.Errorf("state %s: %v", name, sc)
		}
	}
	if ctx := t.Context(); Extract(ctx, nil) != ctx {
		t.Error("nothing to extract made another context")
	}
}

func TestMetadataCarrier(t *testing.T) {
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "stale", "tracestate", "stale=1", "kept", "1")
	md, _ := metadata.FromOutgoingContext(injectMetadata(ctx, remote(t, someParent, someState)))
	if diff := cmp.Diff(metadata.MD{"traceparent": {someParent}, "tracestate": {someState}, "kept": {"1"}}, md); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, c := range map[string]struct {
		md   metadata.MD
		want bool
	}{
		"one": {metadata.MD{"traceparent": {someParent}}, true}, "none": {nil, false}, "two": {metadata.MD{"traceparent": {someParent, someParent}}, false},
		"two states": {metadata.MD{"traceparent": {someParent}, "tracestate": {someState, someState}}, true},
		"baggage":    {metadata.MD{"baggage": {strings.Repeat("x=y,", 1<<18)}}, false},
	} {
		sc := extractMetadata(metadata.NewIncomingContext(t.Context(), c.md))
		if sc.IsValid() != c.want || sc.TraceState().Len() != 0 {
			t.Errorf("%s: %v", name, sc)
		}
	}
}

func TestXRayHeader(t *testing.T) {
	const header = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1"
	if got := FormatXRay(remote(t, someParent, "")); got != header {
		t.Errorf("got %s", got)
	}
	if got := FormatXRay(trace.SpanContext{}); got != "" {
		t.Errorf("no context: %q", got)
	}
	for _, text := range []string{
		header, "Sampled=1;Parent=b7ad6b7169203331;Root=1-0af76519-16cd43dd8448eb211c80319c", " Root=1-0af76519-16cd43dd8448eb211c80319c ; Parent=b7ad6b7169203331;Lineage=a:0; Sampled=1 ",
	} {
		if sc, ok := ParseXRay(text); !ok || !sc.Equal(remote(t, someParent, "")) {
			t.Errorf("%q: %v, %v", text, sc, ok)
		}
	}
	for _, text := range []string{
		"", ";", "Root", "Root=", "Root=1-0af76519-16cd43dd8448eb211c80319c", "Parent=b7ad6b7169203331", "Root=2-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331",
		"Root=1-0af76519-16cd43dd8448eb211c80319;Parent=b7ad6b7169203331", "Root=1-0af76519_16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331",
		"Root=1-0ag76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331", "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b716920333",
		"Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7adLb7169203331", "Root=1-00000000-000000000000000000000000;Parent=b7ad6b7169203331", "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=0000000000000000", header + strings.Repeat(";", 1<<20),
	} {
		if sc, ok := ParseXRay(text); ok || sc.IsValid() {
			t.Errorf("%.80q: %v", text, sc)
		}
	}
	if sc, ok := ParseXRay(strings.Replace(header, "Sampled=1", "Sampled=?", 1)); !ok || sc.IsSampled() {
		t.Errorf("to be decided: %v, %v", sc, ok)
	}
}

func TestXRayRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := trace.SpanContextConfig{Remote: true, TraceFlags: trace.TraceFlags(rapid.IntRange(0, 1).Draw(t, "flags"))}
		copy(c.TraceID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace"))
		copy(c.SpanID[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span"))
		sc := trace.NewSpanContext(c)
		got, ok := ParseXRay(FormatXRay(sc))
		if ok != sc.IsValid() || (ok && !got.Equal(sc)) {
			t.Fatalf("%v became %v, %v", sc, got, ok)
		}
	})
}

func FuzzExtract(f *testing.F) {
	f.Add(someParent, someState)
	f.Add("Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1", "")
	f.Add("Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7adLb7169203331", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		sc := trace.SpanContextFromContext(Extract(context.Background(), map[string]string{"traceparent": a, "tracestate": b}))
		if sc.IsValid() && (len(a) > maxTraceparent || len(sc.TraceState().String()) > maxTracestate) {
			t.Fatalf("%q, %q: %v", a, b, sc)
		}
		want := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": a})
		if got := (carrier{traceparent: a}).remote(); len(a) <= maxTraceparent && !got.Equal(trace.SpanContextFromContext(want)) {
			t.Fatalf("%q: got %v, the propagator reads %v", a, got, want)
		}
		if back := carry(sc).traceparent; sc.IsValid() && trace.SpanContextFromContext(Extract(context.Background(), map[string]string{"traceparent": back})).SpanID() != sc.SpanID() {
			t.Fatalf("%q came back as %q", a, back)
		}
		if sc, ok := ParseXRay(a); ok != sc.IsValid() {
			t.Fatalf("%q: %v, %v", a, sc, ok)
		}
	})
}
