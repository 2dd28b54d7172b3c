package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var runCases = []testCase{
	{"RunHandlesInOrder", runHandlesInOrder},
	{"RunConcurrency", runConcurrency},
	{"RunExtendsVisibility", runExtendsVisibility},
	{"RunEndsHandlerThatCannotBeHeld", runEndsHandlerThatCannotBeHeld},
	{"RunEndsHandlerWhoseReceiptExpired", runEndsHandlerWhoseReceiptExpired},
	{"RunEndsHandlerAtTheLimit", runEndsHandlerAtTheLimit},
	{"RunDrains", runDrains},
	{"RunDrainTimeout", runDrainTimeout},
	{"RunSurvivesDriverErrors", runSurvivesDriverErrors},
	{"RunNeedsAHandler", runNeedsAHandler},
}

func runHandlesInOrder(t *testing.T, h Harness) {
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Concurrency: 4})
	var want []string
	for n := range 40 {
		if err := q.Send(t.Context(), message("a", n), message("b", n)); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(n))
	}
	var mu sync.Mutex
	got := map[string][]string{}
	start(t, q, func(_ context.Context, m queue.Message) error {
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		got[m.Group] = append(got[m.Group], string(m.Body)[2:])
		return nil
	})
	begin := time.Now()
	eventually(t, "the queue is empty", time.Minute, func() bool { return depthOf(t, q) == queue.Depth{} })
	for _, group := range []string{"a", "b"} {
		if !slices.Equal(got[group], want) {
			t.Errorf("group %s was handled in the order %v", group, got[group])
		}
	}
	if took := time.Since(begin); took > 50*time.Second {
		t.Errorf("40 messages of 1 s in each of 2 groups took %s: the groups waited for each other", took)
	}
}

func runConcurrency(t *testing.T, h Harness) {
	for _, limit := range []int{1, 3, queue.DefaultConcurrency, 20} {
		name, option := fmt.Sprint("jobs-", limit), limit
		if limit == queue.DefaultConcurrency {
			option = 0
		}
		q := queue.New(h.Queue(name), queue.Options{Name: name, Concurrency: option})
		for n := range 60 {
			if err := q.Send(t.Context(), message(fmt.Sprint("g", n), 1)); err != nil {
				t.Fatal(err)
			}
		}
		var running, most atomic.Int64
		stop := start(t, q, func(context.Context, queue.Message) error {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(10 * time.Second)
			return nil
		})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := running.Load(); n != int64(limit) {
			t.Errorf("with a concurrency of %d there are %d handlers at work", limit, n)
		}
		eventually(t, "the queue is empty", 20*time.Minute, func() bool { return depthOf(t, q) == queue.Depth{} })
		if n := most.Load(); n != int64(limit) {
			t.Errorf("with a concurrency of %d there were up to %d handlers at work", limit, n)
		}
		stop()
	}
}

// A handler that takes far longer than the visibility keeps its message from everybody else.
func runExtendsVisibility(t *testing.T, h Harness) {
	var j journal
	handler := func(_ context.Context, m queue.Message) error {
		j.add("begin %s %d", m.Body, m.Attempt)
		time.Sleep(5 * time.Minute)
		j.add("end %s", m.Body)
		return nil
	}
	for range 3 {
		start(t, queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Visibility: time.Minute}), handler)
	}
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(11 * time.Minute)
	j.want(t, "begin g/1 1", "end g/1", "begin g/2 1", "end g/2")
	if d := depthOf(t, q); d != (queue.Depth{}) {
		t.Errorf("depth %+v after all was done", d)
	}
}

func runEndsHandlerThatCannotBeHeld(t *testing.T, h Harness) {
	broken := &flaky{Driver: h.Queue("jobs")}
	q := queue.New(broken, queue.Options{Name: "jobs", Visibility: time.Minute})
	var j journal
	begin := time.Now()
	stop := start(t, q, func(ctx context.Context, _ queue.Message) error {
		broken.settle.Store(true)
		broken.receive.Store(true)
		<-ctx.Done()
		j.add("ended after %s: %v", time.Since(begin), context.Cause(ctx))
		return ctx.Err()
	})
	if err := q.Send(t.Context(), message("g", 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	j.want(t, "ended after 1m0s: the receipt of the message expired")
	stop()
	got := mustReceive(t, h.Queue("jobs"), "g/1")
	if got.Message.Attempt != 1 || got.Lost != 1 {
		t.Errorf("attempt %d, lost %d; want 1 and 1", got.Message.Attempt, got.Lost)
	}
}

// The driver knows best whether a receipt is still valid.
func runEndsHandlerWhoseReceiptExpired(t *testing.T, h Harness) {
	q := queue.New(&hasty{h.Queue("jobs")}, queue.Options{Name: "jobs", Visibility: time.Minute, Concurrency: 1})
	var j journal
	begin := time.Now()
	start(t, q, func(ctx context.Context, m queue.Message) error {
		if len(j.all()) > 0 {
			return nil
		}
		<-ctx.Done()
		j.add("%s ended after %s: %v", m.Body, time.Since(begin), context.Cause(ctx))
		return ctx.Err()
	})
	if err := q.Send(t.Context(), message("g", 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	j.want(t, "g/1 ended after 30s: the receipt of the message expired")
	if d := depthOf(t, q); d != (queue.Depth{}) {
		t.Errorf("depth %+v after the second delivery", d)
	}
}

// No delivery lasts longer than a queue service allows.
func runEndsHandlerAtTheLimit(t *testing.T, h Harness) {
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Visibility: time.Hour, Concurrency: 1})
	if err := q.Send(t.Context(), message("g", 1)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var took []time.Duration
	start(t, q, func(ctx context.Context, _ queue.Message) error {
		if len(took) == 0 {
			<-ctx.Done()
		}
		took = append(took, time.Since(begin))
		return ctx.Err()
	})
	time.Sleep(queue.MaxVisibility + time.Hour)
	synctest.Wait()
	if len(took) != 2 || took[0] > queue.MaxVisibility || took[0] < queue.MaxVisibility-time.Hour {
		t.Errorf("the handlers ended after %v, want the first at %s and a second", took, queue.MaxVisibility)
	}
}

func runDrains(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs", Concurrency: 3})
	for n := range 6 {
		if err := q.Send(t.Context(), message("a", n), message("b", n), message("c", n)); err != nil {
			t.Fatal(err)
		}
	}
	var j journal
	var handled atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- q.Run(ctx, func(ctx context.Context, m queue.Message) error {
			time.Sleep(20 * time.Second)
			handled.Add(1)
			if ctx.Err() != nil {
				j.add("%s was stopped: %v", m.Body, ctx.Err())
			}
			return ctx.Err()
		})
	}()
	time.Sleep(30 * time.Second)
	cancel()
	time.Sleep(9 * time.Second)
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("Run returned %v while handlers were running", err)
	default:
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	j.want(t)
	if n := handled.Load(); n != 6 {
		t.Errorf("%d messages were handled, want the 3 before the end and the 3 that were running", n)
	}
	// Nothing is held back, not even for a moment.
	want := queue.Depth{Visible: 12, OldestSentAt: depthOf(t, q).OldestSentAt}
	wantDepth(t, d, want)
	if got := receive(t, d, 3); len(got) == 0 || got[0].Lost != 0 || got[0].Message.Attempt != 1 {
		t.Errorf("after draining: %+v", got)
	}
}

func runDrainTimeout(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs"})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2)); err != nil {
		t.Fatal(err)
	}
	var j journal
	var stopped time.Time
	stop := start(t, q, func(ctx context.Context, m queue.Message) error {
		<-ctx.Done()
		j.add("%s ended after %s: %v", m.Body, time.Since(stopped), context.Cause(ctx))
		return fmt.Errorf("half done: %w", ctx.Err())
	})
	synctest.Wait()
	stopped = time.Now()
	stop()
	j.want(t, fmt.Sprintf("g/1 ended after %s: the process is shutting down", queue.DrainTimeout))
	// Being stopped is no failure.
	got := mustReceive(t, d, "g/1")
	if got.Message.Attempt != 1 || got.Lost != 0 {
		t.Errorf("attempt %d, lost %d; want 1 and 0", got.Message.Attempt, got.Lost)
	}
}

func runSurvivesDriverErrors(t *testing.T, h Harness) {
	broken := &flaky{Driver: h.Queue("jobs")}
	q := queue.New(broken, queue.Options{Name: "jobs"})
	var j journal
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("%s %d", m.Body, m.Attempt)
		broken.settle.Store(string(m.Body) == "g/2")
		return nil
	})
	broken.receive.Store(true)
	if err := q.Send(t.Context(), message("g", 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Minute)
	if n := broken.failures.Load(); n < 100 || n > 500 {
		t.Errorf("in ten minutes receiving was tried %d times", n)
	}
	broken.receive.Store(false)
	time.Sleep(5 * time.Second)
	j.want(t, "g/1 1")
	// An answer that fails is given again while the receipt is valid.
	if err := q.Send(t.Context(), message("g", 2), message("g", 3)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Second)
	j.want(t, "g/1 1", "g/2 1")
	broken.settle.Store(false)
	time.Sleep(3 * time.Second)
	j.want(t, "g/1 1", "g/2 1", "g/3 1")
	if d := depthOf(t, q); d != (queue.Depth{}) {
		t.Errorf("depth %+v after all was done", d)
	}
}

func runNeedsAHandler(t *testing.T, h Harness) {
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	wantCode(t, "Run without a handler", q.Run(t.Context(), nil), fault.Invalid)
}

// flaky is a driver whose calls can be made to fail.
type flaky struct {
	queue.Driver
	receive, settle atomic.Bool
	failures        atomic.Int64
}

var errBroken = fault.Wrap(fault.Unavailable, errors.New("made to fail"), "use queue")

// Receive fails as told.
func (f *flaky) Receive(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	if f.receive.Load() {
		f.failures.Add(1)
		return nil, errBroken
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second) // to notice soon that it is to fail
	defer cancel()
	got, err := f.Driver.Receive(ctx, limit, visibility)
	if len(got) == 0 && errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return got, err
}

// Settle fails as told.
func (f *flaky) Settle(ctx context.Context, s []queue.Settlement) ([]int, error) {
	if f.settle.Load() {
		f.failures.Add(1)
		return nil, errBroken
	}
	return f.Driver.Settle(ctx, s)
}
