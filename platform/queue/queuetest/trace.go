package queuetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var traceCases = []testCase{
	{"OneTrace", oneTrace},
	{"TraceOfEachMessage", traceOfEachMessage},
	{"TraceThatAMessageBrings", traceThatAMessageBrings},
	{"TraceWithoutProvider", traceWithoutProvider},
	{"NoTrace", noTrace},
	{"TraceOfFailures", traceOfFailures},
	{"TraceThroughSpill", traceThroughSpill},
	{"Metrics", metrics},
}

// recorder keeps all spans.
type recorder struct {
	*tracetest.SpanRecorder
	provider *sdktrace.TracerProvider
}

func newRecorder(t testing.TB) recorder {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return recorder{spans, provider}
}

// named is the ended spans of that name, in the order of their ends.
func (r recorder) named(name string) []sdktrace.ReadOnlySpan {
	return slices.DeleteFunc(r.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
}

// one is the only span of that name.
func (r recorder) one(t testing.TB, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	found := r.named(name)
	if len(found) != 1 {
		t.Fatalf("there are %d spans %q, want 1", len(found), name)
	}
	return found[0]
}

func attributesOf(s sdktrace.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

// remote is a span context that came from elsewhere.
func remote(t testing.TB, state string) trace.SpanContext {
	t.Helper()
	parsed, err := trace.ParseTraceState(state)
	if err != nil {
		t.Fatal(err)
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0xaf, 0x76, 1}, SpanID: trace.SpanID{0xb7, 1}, TraceFlags: trace.FlagsSampled, TraceState: parsed, Remote: true,
	})
}

// wantChild checks the pair of a send and a process span.
func wantChild(t testing.TB, send, process sdktrace.ReadOnlySpan) {
	t.Helper()
	if send.SpanKind() != trace.SpanKindProducer || process.SpanKind() != trace.SpanKindConsumer {
		t.Errorf("kinds are %s and %s", send.SpanKind(), process.SpanKind())
	}
	if process.SpanContext().TraceID() != send.SpanContext().TraceID() {
		t.Error("the consumer's span is in another trace than the producer's")
	}
	if process.Parent().SpanID() != send.SpanContext().SpanID() || !process.Parent().IsRemote() {
		t.Errorf("the consumer's parent is %s, want the producer %s from remote", process.Parent().SpanID(), send.SpanContext().SpanID())
	}
	if links := process.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != send.SpanContext().SpanID() ||
		links[0].SpanContext.TraceID() != send.SpanContext().TraceID() {
		t.Errorf("the consumer's links are %v, want one to the producer", links)
	}
}

func oneTrace(t *testing.T, h Harness) {
	spans := newRecorder(t)
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", TracerProvider: spans.provider, System: "sqlite"})
	m := message("g", 1)
	m.Attributes = map[string]string{}
	attributes(queue.MaxAttributes)(&m) // there is room for the trace beside them
	ctx, root := spans.provider.Tracer("test").Start(trace.ContextWithRemoteSpanContext(t.Context(), remote(t, "vendor=x")), "root")
	if err := q.Send(ctx, m); err != nil {
		t.Fatal(err)
	}
	root.End()
	var inner trace.SpanContext
	var state string
	var got queue.Message
	stop := start(t, q, func(ctx context.Context, m queue.Message) error {
		inner = trace.SpanContextFromContext(ctx)
		state = inner.TraceState().String()
		got = m
		return nil
	})
	synctest.Wait()
	stop()
	send, process := spans.one(t, "send jobs"), spans.one(t, "process jobs")
	wantChild(t, send, process)
	if send.Parent().SpanID() != root.SpanContext().SpanID() {
		t.Error("the send span is not below the sender's")
	}
	if inner.SpanID() != process.SpanContext().SpanID() || state != "vendor=x" {
		t.Errorf("the handler runs in span %s with state %q", inner.SpanID(), state)
	}
	if diff := cmp.Diff(m.Attributes, got.Attributes); diff != "" {
		t.Errorf("attributes (-sent +handled):\n%s", diff)
	}
	want := map[string]string{
		"messaging.system": "sqlite", "messaging.destination.name": "jobs",
		"messaging.operation.name": "process", "messaging.operation.type": "process",
		"messaging.message.id": got.ID, "messaging.message.body.size": "3",
		"riskprofiler.queue.group": "g", "riskprofiler.queue.attempt": "1",
	}
	if diff := cmp.Diff(want, attributesOf(process)); diff != "" {
		t.Errorf("attributes of the process span (-want +got):\n%s", diff)
	}
	want = map[string]string{
		"messaging.system": "sqlite", "messaging.destination.name": "jobs",
		"messaging.operation.name": "send", "messaging.operation.type": "send", "messaging.message.body.size": "3",
	}
	if diff := cmp.Diff(want, attributesOf(send)); diff != "" {
		t.Errorf("attributes of the send span (-want +got):\n%s", diff)
	}
}

// In one batch and in one receive each message goes on in its own trace.
func traceOfEachMessage(t *testing.T, h Harness) {
	spans := newRecorder(t)
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", TracerProvider: spans.provider, Concurrency: 10})
	want := map[string]string{}
	for n := range 6 {
		ctx, root := spans.provider.Tracer("test").Start(t.Context(), "root")
		if err := q.Send(ctx, message("g", 2*n), message(fmt.Sprint("h", n), 2*n+1)); err != nil {
			t.Fatal(err)
		}
		root.End()
		want[fmt.Sprint("g/", 2*n)] = root.SpanContext().TraceID().String()
		want[fmt.Sprintf("h%d/%d", n, 2*n+1)] = root.SpanContext().TraceID().String()
	}
	for _, s := range spans.named("send jobs") {
		if got := attributesOf(s)["messaging.batch.message_count"]; got != "2" {
			t.Errorf("a send span of two messages counts %q", got)
		}
	}
	var j journal
	stop := start(t, q, func(ctx context.Context, m queue.Message) error {
		j.add("%s %s", m.Body, trace.SpanContextFromContext(ctx).TraceID())
		return nil
	})
	synctest.Wait()
	stop()
	got := map[string]string{}
	for _, line := range j.all() {
		body, id, _ := strings.Cut(line, " ")
		got[body] = id
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("traces of the messages (-want +got):\n%s", diff)
	}
	for _, process := range spans.named("process jobs") {
		i := slices.IndexFunc(spans.named("send jobs"), func(s sdktrace.ReadOnlySpan) bool {
			return s.SpanContext().SpanID() == process.Parent().SpanID()
		})
		if i < 0 {
			t.Fatal("a process span has no send span above it")
		}
		wantChild(t, spans.named("send jobs")[i], process)
	}
}

func traceThatAMessageBrings(t *testing.T, h Harness) {
	spans := newRecorder(t)
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", TracerProvider: spans.provider})
	m := message("g", 1)
	m.Attributes = map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
	invalid := message("g", 2)
	invalid.Attributes = map[string]string{"traceparent": "00-zz", "tracestate": "c=d"}
	ctx, root := spans.provider.Tracer("test").Start(t.Context(), "worker")
	if err := q.Send(ctx, message("g", 0), m, invalid); err != nil {
		t.Fatal(err)
	}
	root.End()
	var j journal
	stop := start(t, q, func(ctx context.Context, m queue.Message) error {
		sc := trace.SpanContextFromContext(ctx)
		own := sc.TraceID() == root.SpanContext().TraceID()
		j.add("%s brought %t sender's %t state %q %v", m.Body, sc.TraceID().String() == "0af7651916cd43dd8448eb211c80319c", own, sc.TraceState().String(), m.Attributes)
		return nil
	})
	j.want(t, `g/0 brought false sender's true state "" map[]`, `g/1 brought true sender's false state "a=b" map[]`, `g/2 brought false sender's true state "" map[]`)
	stop()
	for _, s := range spans.named("send jobs") {
		if s.SpanContext().TraceID() != root.SpanContext().TraceID() && s.Parent().SpanID().String() != "b7ad6b7169203331" {
			t.Errorf("the send span of the message that brought a trace has the parent %s", s.Parent().SpanID())
		}
	}
}

func traceWithoutProvider(t *testing.T, h Harness) {
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	sc := remote(t, "vendor=x")
	if err := q.Send(trace.ContextWithRemoteSpanContext(t.Context(), sc), message("g", 1)); err != nil {
		t.Fatal(err)
	}
	var j journal
	start(t, q, func(ctx context.Context, _ queue.Message) error {
		j.add("%s", trace.SpanContextFromContext(ctx).TraceID())
		return nil
	})
	j.want(t, sc.TraceID().String())
}

// Without a trace, or with a broken one, the consumer starts its own and nothing fails.
func noTrace(t *testing.T, h Harness) {
	spans := newRecorder(t)
	d := h.Queue("jobs")
	broken := message("g", 2)
	broken.Attributes = map[string]string{"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"}
	mustSend(t, d, message("g", 1), broken)
	q := queue.New(d, queue.Options{Name: "jobs", TracerProvider: spans.provider})
	ctx, root := spans.provider.Tracer("test").Start(t.Context(), "the process")
	defer root.End()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- q.Run(ctx, func(context.Context, queue.Message) error { return nil })
	}()
	synctest.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	found := spans.named("process jobs")
	if len(found) != 2 {
		t.Fatalf("there are %d process spans, want 2", len(found))
	}
	for _, s := range found {
		if s.Parent().IsValid() || len(s.Links()) != 0 || s.SpanContext().TraceID() == root.SpanContext().TraceID() {
			t.Errorf("parent %v, links %v: want a new trace", s.Parent(), s.Links())
		}
	}
	if found[0].SpanContext().TraceID() == found[1].SpanContext().TraceID() {
		t.Error("two messages without a trace share one")
	}
}

func traceOfFailures(t *testing.T, h Harness) {
	spans := newRecorder(t)
	q := queue.New(h.Queue("jobs"), queue.Options{
		Name: "jobs", TracerProvider: spans.provider, Backoff: func(int) time.Duration { return time.Second },
		OnParked: func(ctx context.Context, _ queue.Message, _ error) error {
			_, span := spans.provider.Tracer("test").Start(ctx, "OnParked")
			span.End()
			return nil
		},
	})
	if err := q.Send(t.Context(), message("g", 1)); err != nil {
		t.Fatal(err)
	}
	stop := start(t, q, func(_ context.Context, m queue.Message) error {
		if m.Attempt == 1 {
			return queue.Later(time.Second, nil)
		}
		return errPoison
	})
	failed := 0
	stop()
	stop = start(t, q, func(context.Context, queue.Message) error { return fmt.Errorf("secret banner: %w", errPoison) })
	time.Sleep(time.Minute)
	stop()
	send := spans.one(t, "send jobs")
	for _, s := range spans.named("process jobs") {
		wantChild(t, send, s)
		if s.Status().Code != codes.Error {
			continue
		}
		failed++
		if strings.Contains(s.Status().Description, "secret") || attributesOf(s)["error.type"] == "" {
			t.Errorf("a failed span has status %+v and error.type %q", s.Status(), attributesOf(s)["error.type"])
		}
	}
	if failed != queue.MaxAttempts {
		t.Errorf("%d process spans failed, want %d", failed, queue.MaxAttempts)
	}
	parked := parkedOf(t, q)
	if len(parked) != 1 || parked[0].TraceID != send.SpanContext().TraceID().String() {
		t.Errorf("parked %+v, want trace %s", parked, send.SpanContext().TraceID())
	}
	if spans.one(t, "OnParked").SpanContext().TraceID() != send.SpanContext().TraceID() {
		t.Error("OnParked runs in another trace")
	}
}

func traceThroughSpill(t *testing.T, h Harness) {
	spans := newRecorder(t)
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", TracerProvider: spans.provider, Spill: bucket(t)})
	if err := q.Send(t.Context(), large("g", 1)); err != nil {
		t.Fatal(err)
	}
	stop := start(t, q, func(context.Context, queue.Message) error { return nil })
	synctest.Wait()
	stop()
	wantChild(t, spans.one(t, "send jobs"), spans.one(t, "process jobs"))
}

func metrics(t *testing.T, h Harness) {
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", MeterProvider: provider, Backoff: func(int) time.Duration { return time.Second }})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2), message("g", 3)); err != nil {
		t.Fatal(err)
	}
	stop := start(t, q, func(_ context.Context, m queue.Message) error {
		switch {
		case string(m.Body) == "g/1":
			return queue.Permanent(errPoison)
		case string(m.Body) == "g/2" && m.Attempt == 1:
			return errPoison
		}
		return nil
	})
	time.Sleep(time.Minute)
	stop()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					got[m.Name] += int(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					outcome, _ := p.Attributes.Value(attribute.Key("riskprofiler.queue.outcome"))
					got[m.Name+" "+outcome.AsString()] += int(p.Count)
				}
			}
		}
	}
	want := map[string]int{
		"messaging.client.sent.messages":   3,
		"messaging.process.duration ack":   2,
		"messaging.process.duration retry": 1,
		"messaging.process.duration park":  1,
		"riskprofiler.queue.age ":          3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
