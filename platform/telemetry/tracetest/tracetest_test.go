package tracetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
)

// story is a request that sends three messages, which are handled concurrently.
func story(t testing.TB, r *tracetest.Recorder) trace.TraceID {
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r), sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "all"))))
	tracer := tp.Tracer("x")
	ctx, root := tracer.Start(t.Context(), "POST")
	var wg sync.WaitGroup
	for i := range 3 {
		sent, send := tracer.Start(ctx, "send jobs", trace.WithSpanKind(trace.SpanKindProducer))
		send.End()
		wg.Go(func() {
			link := trace.WithLinks(trace.Link{SpanContext: send.SpanContext()})
			ctx, process := tracer.Start(sent, "process jobs", trace.WithSpanKind(trace.SpanKindConsumer), link, trace.WithAttributes(attribute.Int("attempt", 1)))
			_, work := tracer.Start(ctx, "work")
			if i == 2 {
				work.SetStatus(codes.Error, "")
			}
			work.End()
			process.End()
		})
	}
	wg.Wait()
	root.End()
	_, other := tracer.Start(trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true,
	})), "stray", trace.WithLinks(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{3}, SpanID: trace.SpanID{4}})}))
	other.End()
	return root.SpanContext().TraceID()
}

func TestTree(t *testing.T) {
	r := tracetest.New()
	id := story(t, r)
	const work = "  send jobs producer\n    process jobs consumer <- send jobs\n      work\n"
	const failed = "  send jobs producer\n    process jobs consumer <- send jobs\n      work !\n"
	const stray = "stray <- (not recorded) (parent not recorded)\n"
	for name, c := range map[string]struct {
		o    tracetest.Options
		want string
	}{
		"plain":     {tracetest.Options{}, "POST\n" + work + work + failed + stray},
		"folded":    {tracetest.Options{Fold: true}, "POST\n" + strings.Replace(work, "producer", "producer x2", 1) + failed + stray},
		"one trace": {tracetest.Options{Trace: id, Fold: true}, "POST\n" + strings.Replace(work, "producer", "producer x2", 1) + failed},
		"lifted": {tracetest.Options{Trace: id, Fold: true, Ignore: func(s sdktrace.ReadOnlySpan) bool { return s.Name() == "send jobs" || s.Name() == "process jobs" }},
			"POST\n  work x2\n  work !\n"},
		"attributes": {tracetest.Options{Trace: id, Service: true, Attributes: []string{"none", "attempt"}, Ignore: func(s sdktrace.ReadOnlySpan) bool { return s.Name() != "process jobs" }},
			strings.Repeat("process jobs consumer @all attempt=1 <- send jobs\n", 3)},
	} {
		if got := r.Tree(c.o); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
	}
	if n := len(r.Find("work")); n != 3 {
		t.Errorf("%d spans named work", n)
	}
	r.Reset()
	if got := r.Tree(tracetest.Options{}); got != "" {
		t.Errorf("after a reset:\n%s", got)
	}
}

func TestTreeIsTheSameEveryTime(t *testing.T) {
	want := ""
	for i := range 20 {
		r := tracetest.New()
		story(t, r)
		got := r.Tree(tracetest.Options{})
		if i > 0 && got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
		want = got
	}
}

func TestSiblingsAreInTheOrderOfTheirText(t *testing.T) {
	r := tracetest.New()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r)).Tracer("x")
	for _, name := range []string{"c", "a", "b"} {
		_, span := tracer.Start(t.Context(), name)
		span.End()
	}
	if got := r.Tree(tracetest.Options{}); got != "a\nb\nc\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestAwait(t *testing.T) {
	r := tracetest.New()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := r.Await(t.Context(), "work", 3); err != nil {
				t.Error(err)
			}
		})
	}
	story(t, r)
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := r.Await(ctx, "work", 4)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "have 3") || !strings.Contains(fmt.Sprint(err), "process jobs") {
		t.Errorf("got %v", err)
	}
}
