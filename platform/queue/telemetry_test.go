package queue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/queuetest"
)

// What X-Ray keeps: https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html.
const linksOfSegment, linksOfTrace = 20, 100

// story is all spans of a test.
type story struct {
	*tracetest.SpanRecorder

	provider *sdktrace.TracerProvider
}

func newStory(t *testing.T) story {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return story{spans, provider}
}

// links counts the links of each trace and the most of a span.
func (s story) links() (most, span int) {
	count := map[trace.TraceID]int{}
	for _, e := range s.Ended() {
		id := e.SpanContext().TraceID()
		count[id] += len(e.Links())
		most, span = max(most, count[id]), max(span, len(e.Links()))
	}
	return most, span
}

// lost counts the spans from which no way of parents and links leads to root.
func (s story) lost(root trace.SpanContext) int {
	up := map[trace.SpanID][]trace.SpanID{}
	for _, e := range s.Ended() {
		id := e.SpanContext().SpanID()
		up[id] = append(up[id], e.Parent().SpanID())
		for _, l := range e.Links() {
			up[id] = append(up[id], l.SpanContext.SpanID())
		}
	}
	found := map[trace.SpanID]bool{root.SpanID(): true}
	for grown := true; grown; {
		grown = false
		for id, above := range up {
			for _, a := range above {
				if found[a] && !found[id] {
					found[id], grown = true, true
				}
			}
		}
	}
	return len(up) - len(found)
}

// step is a message that is sent on: fan times, hops times.
type step struct{ Hops, Fan int }

func (s step) messages(t *testing.T, name string) []queue.Message {
	t.Helper()
	body, err := json.Marshal(step{s.Hops - 1, s.Fan})
	if err != nil {
		t.Fatal(err)
	}
	var out []queue.Message
	for i := range max(s.Fan, 1) {
		out = append(out, queue.Message{Group: name + strconv.Itoa(i%50), Body: body})
	}
	return out
}

// relay handles a step by sending what follows from it, each by a call of its own as a workflow does.
func relay(t *testing.T, q *queue.Queue) queue.Handler {
	return func(ctx context.Context, m queue.Message) error {
		var s step
		if err := json.Unmarshal(m.Body, &s); err != nil {
			return err
		}
		if s.Hops <= 0 {
			return nil
		}
		for _, next := range (step{s.Hops, 1}).messages(t, m.Group) {
			if err := q.Send(ctx, next); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestTracesStayWithinWhatXRayKeeps: neither a long chain nor a wide fan-out brings more links into a trace or
// a span than X-Ray keeps, in functions and in containers, and no span is cut off from the beginning.
func TestTracesStayWithinWhatXRayKeeps(t *testing.T) {
	for name, first := range map[string]step{"20 hops": {20, 1}, "1000 wide": {0, 1000}, "200 wide and 3 deep": {3, 200}} {
		for _, functions := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, functions %t", name, functions), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					spans := newStory(t)
					d := queuetest.NewMemory().Queue("jobs")
					q := queue.New(d, queue.Options{Name: "jobs", TracerProvider: spans.provider, OwnTraces: !functions})
					ctx, root := spans.provider.Tracer("test").Start(t.Context(), "workflow")
					for _, m := range first.messages(t, "g") {
						if err := q.Send(ctx, m); err != nil {
							t.Fatal(err)
						}
					}
					root.End()
					if functions {
						asFunctions(t, spans, q, d)
					} else {
						asContainer(t, q)
					}
					most, span := spans.links()
					if most > linksOfTrace || span > linksOfSegment {
						t.Errorf("a trace has %d links, a span %d", most, span)
					}
					if n := spans.lost(root.SpanContext()); n > 0 && !functions {
						t.Errorf("%d of %d spans are not connected", n, len(spans.Ended()))
					}
					handled := 0
					for _, s := range spans.Ended() {
						if s.SpanKind() == trace.SpanKindConsumer && len(s.Links()) == 1 {
							handled++
						}
					}
					if want := max(first.Fan, 1) * (max(first.Hops, 1)); handled != want {
						t.Errorf("%d messages are linked, want %d", handled, want)
					}
				})
			})
		}
	}
}

// TestOneTraceHasALinkForEveryMessage is why OwnTraces exists.
func TestOneTraceHasALinkForEveryMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := newStory(t)
		q := queue.New(queuetest.NewMemory().Queue("jobs"), queue.Options{Name: "jobs", TracerProvider: spans.provider})
		ctx, root := spans.provider.Tracer("test").Start(t.Context(), "workflow")
		defer root.End()
		for _, m := range (step{0, 200}).messages(t, "g") {
			if err := q.Send(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		asContainer(t, q)
		if most, _ := spans.links(); most != 200 {
			t.Errorf("the trace has %d links", most)
		}
	})
}

func asContainer(t *testing.T, q *queue.Queue) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, relay(t, q)) }()
	time.Sleep(time.Minute)
	synctest.Wait()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// asFunctions receives as an event source does and invokes with up to ten messages.
func asFunctions(t *testing.T, spans story, q *queue.Queue, d queue.Driver) {
	t.Helper()
	for {
		receive, cancel := context.WithTimeout(t.Context(), time.Second)
		got, err := d.Receive(receive, queue.MaxBatch, time.Minute)
		cancel()
		if err != nil {
			return
		}
		ctx, invocation := spans.provider.Tracer("test").Start(t.Context(), "invocation", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
		if left, err := q.Handle(ctx, queue.Batch{Deliveries: got}, relay(t, q)); err != nil || len(left) > 0 {
			t.Fatalf("left %v, %v", left, err)
		}
		invocation.End()
	}
}

func TestSpansOfABatch(t *testing.T) {
	spans := newStory(t)
	d := queuetest.NewMemory().Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs", TracerProvider: spans.provider, System: "aws_sqs"})
	producers := map[string]trace.SpanContext{}
	for _, group := range []string{"a", "b"} {
		ctx, root := spans.provider.Tracer("test").Start(t.Context(), "root "+group)
		producers[group] = root.SpanContext()
		if err := q.Send(ctx, queue.Message{Group: group, Body: []byte(group)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Send(t.Context(), []queue.Message{{Group: "none", Body: []byte("none")}}); err != nil { // not by us: no trace
		t.Fatal(err)
	}
	got, err := d.Receive(t.Context(), queue.MaxBatch, time.Minute)
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	ctx, invocation := spans.provider.Tracer("test").Start(t.Context(), "invocation")
	left, err := q.Handle(ctx, queue.Batch{Deliveries: got}, func(ctx context.Context, m queue.Message) error {
		if id := trace.SpanContextFromContext(ctx).TraceID(); id != invocation.SpanContext().TraceID() {
			t.Errorf("message %s is handled in trace %s", m.Body, id)
		}
		return nil
	})
	if err != nil || len(left) > 0 {
		t.Fatalf("left %v, %v", left, err)
	}
	var batch sdktrace.ReadOnlySpan
	groups := map[string]bool{}
	for _, s := range spans.Ended() {
		if s.Name() == "process jobs" {
			batch = s
		}
	}
	if batch == nil || batch.SpanKind() != trace.SpanKindConsumer || batch.Parent().SpanID() != invocation.SpanContext().SpanID() ||
		attributeOf(batch, "messaging.batch.message_count") != "3" || attributeOf(batch, "messaging.system") != "aws_sqs" || len(batch.Links()) != 0 {
		t.Fatalf("the batch's span is %+v", batch)
	}
	for _, s := range spans.Ended() {
		if s.Name() != "handle jobs" {
			continue
		}
		group := attributeOf(s, "riskprofiler.queue.group")
		groups[group] = true
		if s.Parent().SpanID() != batch.SpanContext().SpanID() || s.SpanKind() != trace.SpanKindConsumer {
			t.Errorf("the span of %s is not below the batch's", group)
		}
		if want, has := producers[group], len(s.Links()) == 1; has != want.IsValid() || (has && s.Links()[0].SpanContext.TraceID() != want.TraceID()) {
			t.Errorf("the span of %s has links %v", group, s.Links())
		}
	}
	if len(groups) != 3 {
		t.Errorf("spans of %v", groups)
	}
}

// Without a provider, and without an invocation, the handler still finds the message's trace.
func TestBatchWithoutProviderPassesTheTraceOn(t *testing.T) {
	spans := newStory(t)
	d := queuetest.NewMemory().Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs"})
	ctx, root := spans.provider.Tracer("test").Start(t.Context(), "root")
	defer root.End()
	if err := q.Send(ctx, queue.Message{Group: "g"}); err != nil {
		t.Fatal(err)
	}
	got, err := d.Receive(t.Context(), 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Handle(context.Background(), queue.Batch{Deliveries: got}, func(ctx context.Context, _ queue.Message) error {
		if id := trace.SpanContextFromContext(ctx).TraceID(); id != root.SpanContext().TraceID() {
			t.Errorf("handled in trace %s", id)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Several services of a process send to one queue; each send is in the name of the service it is made by.
func TestSendsAreInTheNameOfTheSender(t *testing.T) {
	own, other := newStory(t), newStory(t)
	q := queue.New(queuetest.NewMemory().Queue("jobs"), queue.Options{Name: "jobs", TracerProvider: own.provider})
	ctx, root := other.provider.Tracer("test").Start(t.Context(), "root")
	defer root.End()
	for _, ctx := range []context.Context{ctx, t.Context()} {
		if err := q.Send(ctx, queue.Message{Group: "g"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(own.Ended()) != 1 || len(other.Ended()) != 1 || other.Ended()[0].Name() != "send jobs" {
		t.Errorf("%d and %d spans", len(own.Ended()), len(other.Ended()))
	}
}

// calling is a driver that has a name in the conventions, and tells under which span it was called.
type calling struct {
	queue.Driver

	under []trace.SpanID
}

func (*calling) System() string { return "aws_sqs" }

func (c *calling) Send(ctx context.Context, messages []queue.Message) error {
	c.under = append(c.under, trace.SpanContextFromContext(ctx).SpanID())
	return c.Driver.Send(ctx, messages)
}

// What a driver does to send is a part of the send, unless messages of other traces are sent with it.
func TestSendIsWhatTheDriverDoes(t *testing.T) {
	spans, d := newStory(t), &calling{Driver: queuetest.NewMemory().Queue("jobs")}
	q := queue.New(d, queue.Options{Name: "jobs", TracerProvider: spans.provider})
	ctx, root := spans.provider.Tracer("test").Start(t.Context(), "root")
	defer root.End()
	brought := queue.Message{Group: "h", Attributes: map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	for _, messages := range [][]queue.Message{{{Group: "g"}, {Group: "g"}}, {{Group: "g"}, brought}} {
		if err := q.Send(ctx, messages...); err != nil {
			t.Fatal(err)
		}
	}
	ended := spans.Ended()
	if len(ended) != 3 || attributeOf(ended[0], "messaging.system") != "aws_sqs" {
		t.Fatalf("%d spans, the first of system %q", len(ended), attributeOf(ended[0], "messaging.system"))
	}
	if want := []trace.SpanID{ended[0].SpanContext().SpanID(), root.SpanContext().SpanID()}; !slices.Equal(d.under, want) {
		t.Errorf("the driver was called under %v, want %v", d.under, want)
	}
}

func TestAgeOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		d := queuetest.NewMemory().Queue("jobs")
		q := queue.New(d, queue.Options{Name: "jobs", MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Backoff: func(int) time.Duration { return time.Second }})
		if err := q.Send(t.Context(), queue.Message{Group: "g"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Minute)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- q.Run(ctx, func(_ context.Context, m queue.Message) error {
				if m.Attempt < 3 {
					return fmt.Errorf("attempt %d", m.Attempt)
				}
				return nil
			})
		}()
		time.Sleep(time.Minute)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		var data metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &data); err != nil {
			t.Fatal(err)
		}
		for _, m := range data.ScopeMetrics[0].Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "riskprofiler.queue.age" {
				if p := h.DataPoints[0]; p.Count != 1 || p.Sum != 420 {
					t.Errorf("%d ages of %v s together", p.Count, p.Sum)
				}
				return
			}
		}
		t.Error("there is no age")
	})
}

func attributeOf(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	for _, a := range s.Attributes() {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}
