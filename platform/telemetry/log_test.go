package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"pgregory.net/rapid"
)

func TestLogValues(t *testing.T) {
	tel, log := setup(t, Options{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tel.Logger.Info("values", "text", "ä", "n", 7, "f", 1.5, "b", true, "d", time.Second, "t", at, "err", fmt.Errorf("a: %w", errors.New("b")),
		"list", []string{"x", "y"}, "addr", netip.MustParseAddr("192.0.2.1"), "nil", nil, "level", slog.LevelWarn,
		"message", &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("hunter2")}}, "bytes", []byte("hunter2"),
		"map", map[string]string{"k": "hunter2"}, "struct", struct{ K string }{"hunter2"}, "pointer", &struct{ K string }{"hunter2"},
		"messages", []*testpb.Payload{{Body: []byte("hunter2")}}, slog.Group("g", "message", &testpb.Payload{Body: []byte("hunter2")}))
	got := log.lines(t)[0]
	delete(got, "time")
	want := map[string]any{
		"level": "WARN", "msg": "values", "service": "test", "text": "ä", "n": 7.0, "f": 1.5, "b": true, "d": 1e9, "t": "2026-01-02T03:04:05Z", "err": "a: b",
		"list": []any{"x", "y"}, "addr": "192.0.2.1", "nil": nil, "message": "[grpc.testing.SimpleRequest]", "bytes": "[[]uint8]",
		"map": "[map[string]string]", "struct": "[struct { K string }]", "pointer": "[*struct { K string }]", "messages": "[[]*grpc_testing.Payload]",
		"g": map[string]any{"message": "[grpc.testing.Payload]"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestContextAttributesStayOutsideOfGroups(t *testing.T) {
	tel, _, log := recording(t)
	ctx, span := tel.TracerProvider.Tracer("x").Start(WithAssessment(t.Context(), "assessments/a1"), "work")
	defer span.End()
	ctx = With(ctx, slog.String("tenant", "t1"))
	tel.Logger.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h").InfoContext(ctx, "deep", "c", 3)
	tel.Logger.WithGroup("").With("a", 1).InfoContext(ctx, "flat", "c", 3)
	for i, want := range []map[string]any{
		{"msg": "deep", "a": 1.0, "g": map[string]any{"b": 2.0, "h": map[string]any{"c": 3.0}}}, {"msg": "flat", "a": 1.0, "c": 3.0},
	} {
		want["level"], want["service"], want["tenant"], want["assessment"] = "INFO", "test", "t1", "assessments/a1"
		want["trace_id"], want["span_id"] = span.SpanContext().TraceID().String(), span.SpanContext().SpanID().String()
		got := log.lines(t)[i]
		delete(got, "time")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestWithDoesNotLeakIntoSiblings(t *testing.T) {
	tel, log := setup(t, Options{})
	base := With(With(With(t.Context(), slog.Int("x", 1)), slog.Int("y", 1)), slog.Int("a", 1)) // its list has room for one more
	left, right := With(base, slog.Int("b", 2)), With(base, slog.Int("c", 3))
	for _, ctx := range []context.Context{left, right, base} {
		tel.Logger.InfoContext(ctx, "x")
	}
	for i, want := range []string{`"a":1,"b":2}`, `"a":1,"c":3}`, `"a":1}`} {
		if line := strings.Split(log.String(), "\n")[i]; !strings.HasSuffix(line, want) {
			t.Errorf("%s, want %s", line, want)
		}
	}
}

// TestLogTextIsHarmless: whatever a text is made of, its line is one line of valid JSON without
// anything that a terminal obeys.
func TestLogTextIsHarmless(t *testing.T) {
	tel, log := setup(t, Options{})
	nasty := []string{
		"a\nb", "\r\n{\"level\":\"ERROR\"}", "\x1b[2Jgone", "\u009b31m", "\u202eevil", "\u2028\u2029", "\x00\x07\x7f", "\xff\xfe", "\u200b\ufeff", `"\`, strings.Repeat("é", 10_000),
	}
	for _, text := range nasty {
		tel.Logger.Info(text, "text", text, "err", errors.New(text), "list", []string{text})
	}
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.String().Draw(rt, "text")
		before := len(log.String())
		tel.Logger.Info("x", "text", text)
		if line := log.String()[before:]; strings.Count(line, "\n") != 1 {
			rt.Fatalf("%q", line)
		}
	})
	for _, line := range log.lines(t) {
		for key, v := range line {
			for _, r := range fmt.Sprint(v) {
				if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != '\n' && r != '\t' {
					t.Fatalf("%s has %U: %q", key, r, v)
				}
			}
			if n := len(fmt.Sprint(v)); n > maxLogText+10 {
				t.Fatalf("%s has %d bytes", key, n)
			}
		}
	}
	for _, r := range log.String() {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != '\n' {
			t.Fatalf("the log has %U", r)
		}
	}
}

func TestLevel(t *testing.T) {
	level := &slog.LevelVar{}
	tel, log := setup(t, Options{Level: level})
	tel.Logger.Debug("no")
	level.Set(slog.LevelDebug)
	tel.Logger.Debug("yes")
	if lines := log.lines(t); len(lines) != 1 || lines[0]["msg"] != "yes" {
		t.Errorf("log: %v", lines)
	}
}

func BenchmarkLog(b *testing.B) {
	tel, _ := setup(b, Options{})
	tel.handler = newHandler(discard{}, nil)
	tel.name("x")
	ctx, span := tel.TracerProvider.Tracer("x").Start(b.Context(), "work")
	defer span.End()
	b.ReportAllocs()
	for b.Loop() {
		tel.Logger.InfoContext(ctx, "request", "method", "/a.B/C", "code", "OK", "duration_ms", 1.5)
	}
}

// BenchmarkFloorLog is slog's own handler with the same line.
func BenchmarkFloorLog(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(discard{}, nil))
	b.ReportAllocs()
	for b.Loop() {
		log.InfoContext(b.Context(), "request", "method", "/a.B/C", "code", "OK", "duration_ms", 1.5)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
