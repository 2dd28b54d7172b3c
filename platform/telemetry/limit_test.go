package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// uploads keeps what was uploaded, and fails if it is told to.
type uploads struct {
	otlptrace.Client

	calls [][]*tracepb.ResourceSpans
	err   error
}

func (u *uploads) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	u.calls = append(u.calls, spans)
	return u.err
}

func (u *uploads) Stop(context.Context) error { return nil }

func text(key string, bytes int) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.Repeat("v", bytes)}}}
}

func protoSpan(name string, start time.Time, bytes int) *tracepb.Span {
	s := &tracepb.Span{TraceId: make([]byte, 16), SpanId: make([]byte, 8), Name: name, StartTimeUnixNano: uint64(start.UnixNano())}
	if bytes > 0 {
		s.Attributes = append(s.Attributes, text("k", bytes))
	}
	return s
}

// within fails if a call is one that X-Ray refuses.
func within(t interface {
	Helper()
	Errorf(string, ...any)
}, calls [][]*tracepb.ResourceSpans, now time.Time,
) (names []string) {
	t.Helper()
	for _, c := range calls {
		if n := proto.Size(&collectortrace.ExportTraceServiceRequest{ResourceSpans: c}); n > xrayCallBytes {
			t.Errorf("call of %d bytes", n)
		}
		count, first, last := 0, time.Time{}, time.Time{}
		for _, rs := range c {
			for _, ss := range rs.ScopeSpans {
				if n := proto.Size(rs.Resource) + proto.Size(ss.Scope); n > xrayResourceBytes {
					t.Errorf("resource and scope of %d bytes", n)
				}
				for _, s := range ss.Spans {
					at := time.Unix(0, int64(s.StartTimeUnixNano))
					if n := proto.Size(s); n > xraySpanBytes || at.Before(now.Add(-14*24*time.Hour)) || at.After(now.Add(2*time.Hour)) {
						t.Errorf("span of %d bytes at %s", n, at)
					}
					if count == 0 || at.Before(first) {
						first = at
					}
					if count == 0 || at.After(last) {
						last = at
					}
					count++
					names = append(names, s.Name)
				}
			}
		}
		if count == 0 || count > xrayCallSpans || last.Sub(first) > 24*time.Hour {
			t.Errorf("call of %d spans over %s", count, last.Sub(first))
		}
	}
	return names
}

func resourceSpans(spans ...*tracepb.Span) []*tracepb.ResourceSpans {
	return []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text("service.name", 7)}},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "x"}, Spans: spans}},
	}}
}

func TestCallsStayWithinXRaysLimits(t *testing.T) {
	now := time.Now()
	many := func(n, bytes int) (out []*tracepb.Span) {
		for i := range n {
			out = append(out, protoSpan(fmt.Sprint("s", i), now, bytes))
		}
		return out
	}
	stuffed := protoSpan("stuffed", now, 1000)
	for range 20 {
		stuffed.Events = append(stuffed.Events, &tracepb.Span_Event{Name: "e", Attributes: []*commonpb.KeyValue{text("k", 20_000)}})
		stuffed.Links = append(stuffed.Links, &tracepb.Span_Link{TraceId: make([]byte, 16), SpanId: make([]byte, 8), Attributes: []*commonpb.KeyValue{text("k", 20_000)}})
		stuffed.Attributes = append(stuffed.Attributes, text("k", 20_000))
	}
	for name, c := range map[string]struct {
		spans        []*tracepb.Span
		calls, spare int
	}{
		"none":           {nil, 0, 0},
		"one":            {many(1, 10), 1, 1},
		"many":           {many(25_000, 10), 3, 25_000},
		"large":          {many(100, 190_000), 4, 100},
		"stuffed":        {[]*tracepb.Span{stuffed}, 1, 1},
		"a name of 1 MB": {[]*tracepb.Span{protoSpan(strings.Repeat("n", 1<<20), now, 0)}, 0, 0},
		"old":            {[]*tracepb.Span{protoSpan("old", now.Add(-15*24*time.Hour), 0), protoSpan("new", now, 0)}, 1, 1},
		"future":         {[]*tracepb.Span{protoSpan("future", now.Add(3*time.Hour), 0)}, 0, 0},
		"no time":        {[]*tracepb.Span{{Name: "zero"}}, 0, 0},
		"spread":         {[]*tracepb.Span{protoSpan("a", now, 0), protoSpan("b", now.Add(-36*time.Hour), 0), protoSpan("c", now.Add(-37*time.Hour), 0), protoSpan("d", now, 0)}, 3, 4},
	} {
		u := &uploads{}
		if err := (&limited{Client: u}).UploadTraces(t.Context(), resourceSpans(c.spans...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if names := within(t, u.calls, now); len(u.calls) != c.calls || len(names) != c.spare {
			t.Errorf("%s: %d calls of %d spans together, want %d of %d", name, len(u.calls), len(names), c.calls, c.spare)
		}
	}
	if len(stuffed.Events) != 0 || stuffed.DroppedEventsCount != 20 || len(stuffed.Links) != 20 || len(stuffed.Attributes) < 5 {
		t.Errorf("stuffed: %d events, %d links, %d attributes", len(stuffed.Events), len(stuffed.Links), len(stuffed.Attributes))
	}
}

func TestOneFailedCallDoesNotKeepOthersBack(t *testing.T) {
	u := &uploads{err: errors.New("no")}
	now := time.Now()
	err := (&limited{Client: u}).UploadTraces(t.Context(), resourceSpans(protoSpan("a", now, 0), protoSpan("b", now.Add(-30*time.Hour), 0)))
	if err == nil || len(u.calls) != 2 {
		t.Errorf("%v after %d calls", err, len(u.calls))
	}
}

// TestWhatRanOutOfTimeIsSentWithTheNext: the first flush of a function is often too short to connect in.
func TestWhatRanOutOfTimeIsSentWithTheNext(t *testing.T) {
	u := &uploads{}
	l := &limited{Client: u}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	now := time.Now()
	for i := range 3 {
		if err := l.UploadTraces(over, resourceSpans(protoSpan(fmt.Sprint("cold", i), now, 0))); err == nil {
			t.Error("uploaded in no time")
		}
	}
	if err := l.UploadTraces(t.Context(), resourceSpans(protoSpan("warm", now, 0))); err != nil {
		t.Error(err)
	}
	if names := strings.Join(within(t, u.calls, now), " "); names != "cold0 cold1 cold2 warm" {
		t.Errorf("sent %s", names)
	}
	// What was refused is not sent again.
	u.calls, u.err = nil, errors.New("refused")
	if err := l.UploadTraces(t.Context(), resourceSpans(protoSpan("bad", now, 0))); err == nil || l.kept != nil {
		t.Errorf("%v, kept %v", err, l.kept)
	}
	// It is bounded, the oldest go first, and the end sends what is left.
	u.calls, u.err = nil, nil
	for i := range 3 {
		var many []*tracepb.ResourceSpans
		for j := range keptSpans {
			many = append(many, resourceSpans(protoSpan(fmt.Sprint("s", i*keptSpans+j), now, 0))...)
		}
		_ = l.UploadTraces(over, many)
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if names := within(t, u.calls, now); len(names) != keptSpans || names[0] != fmt.Sprint("s", 2*keptSpans) {
		t.Errorf("%d spans are left, from %s on", len(names), names[0])
	}
	if len(u.calls) != 1 {
		t.Errorf("they took %d calls", len(u.calls))
	}
}

// TestCollectorGetsWhatRanOutOfTime: the same without X-Ray's limits.
func TestCollectorGetsWhatRanOutOfTime(t *testing.T) {
	u := &uploads{}
	p := &patient{Client: u}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	now := time.Now()
	if err := p.UploadTraces(over, resourceSpans(protoSpan("cold", now, 0))); err == nil {
		t.Error("uploaded in no time")
	}
	if err := p.UploadTraces(t.Context(), resourceSpans(protoSpan("warm", now, 0))); err != nil {
		t.Error(err)
	}
	if names := strings.Join(within(t, u.calls, now), " "); names != "cold warm" || len(u.calls) != 1 {
		t.Errorf("sent %s in %d calls", names, len(u.calls))
	}
	u.err = errors.New("refused")
	if err := p.UploadTraces(t.Context(), resourceSpans(protoSpan("bad", now, 0))); err == nil || p.kept != nil {
		t.Errorf("%v, kept %v", err, p.kept)
	}
	u.calls, u.err = nil, nil
	_ = p.UploadTraces(over, resourceSpans(protoSpan("last", now, 0)))
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if names := strings.Join(within(t, u.calls, now), " "); names != "last" || len(u.calls) != 1 {
		t.Errorf("the end sent %s in %d calls", names, len(u.calls))
	}
}

func TestResourceIsTrimmed(t *testing.T) {
	all := resourceSpans(protoSpan("a", time.Now(), 0))
	for i := range 100 {
		all[0].Resource.Attributes = append(all[0].Resource.Attributes, text(fmt.Sprint("k", i), 1000))
	}
	calls, _ := split(all, time.Now())
	within(t, calls, time.Now())
	if left := calls[0][0].Resource.Attributes; len(left) != 1 || left[0].Key != "service.name" {
		t.Errorf("left is %v", left)
	}
}

func TestSplitProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		want := 0
		var all []*tracepb.ResourceSpans
		for range rapid.IntRange(0, 4).Draw(t, "resources") {
			var spans []*tracepb.Span
			for range rapid.IntRange(0, 40).Draw(t, "spans") {
				age := time.Duration(rapid.IntRange(-1, 20*24).Draw(t, "age")) * time.Hour
				if age < 14*24*time.Hour {
					want++
				}
				spans = append(spans, protoSpan(fmt.Sprint("s", want), now.Add(-age), rapid.IntRange(0, 199_000).Draw(t, "bytes")))
			}
			all = append(all, resourceSpans(spans...)...)
		}
		calls, dropped := split(all, now)
		names := within(t, calls, now)
		total := 0
		for _, r := range all {
			total += len(r.ScopeSpans[0].Spans)
		}
		if len(names)+dropped != total || len(names) != want {
			t.Fatalf("%d sent, %d dropped, of %d, want %d", len(names), dropped, total, want)
		}
	})
}
