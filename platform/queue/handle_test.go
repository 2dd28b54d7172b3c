package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/queuetest"
)

// handled is one queue with a batch that was received from it, as a platform does.
type handled struct {
	*queue.Queue

	driver queue.Driver
	batch  queue.Batch
	mu     sync.Mutex
	seen   []string
}

// receive sends messages "<group><n>" and receives all of them.
func receive(t *testing.T, o queue.Options, bodies ...string) *handled {
	t.Helper()
	d := queuetest.NewMemory().Queue("jobs")
	o.Name = "jobs"
	h := &handled{Queue: queue.New(d, o), driver: d}
	for _, body := range bodies {
		if err := h.Send(t.Context(), queue.Message{Group: body[:1], Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	h.again(t)
	return h
}

// again receives what is visible now.
func (h *handled) again(t *testing.T) {
	t.Helper()
	h.batch.Deliveries = nil
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		got, err := h.driver.Receive(ctx, queue.MaxBatch, time.Minute)
		cancel()
		if err != nil {
			return
		}
		h.batch.Deliveries = append(h.batch.Deliveries, got...)
	}
}

// handle runs the batch and returns the bodies that remain, in order.
func (h *handled) handle(t *testing.T, f queue.Handler) []string {
	t.Helper()
	remaining, err := h.Handle(t.Context(), h.batch, func(ctx context.Context, m queue.Message) error {
		h.mu.Lock()
		h.seen = append(h.seen, string(m.Body))
		h.mu.Unlock()
		return f(ctx, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, at := range remaining {
		bodies = append(bodies, string(h.batch.Deliveries[at].Message.Body))
	}
	slices.Sort(bodies)
	return bodies
}

func TestHandleStopsOnlyTheGroupThatFailed(t *testing.T) {
	failures := map[string]error{
		"error": errors.New("no luck"),
		"later": queue.Later(time.Second, nil),
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := receive(t, queue.Options{}, "a1", "b1", "a2", "b2", "a3", "c1")
				got := h.handle(t, func(_ context.Context, m queue.Message) error {
					if string(m.Body) == "a2" {
						return failure
					}
					return nil
				})
				if want := []string{"a2", "a3"}; !slices.Equal(got, want) {
					t.Errorf("remaining %v, want %v", got, want)
				}
				if slices.Contains(h.seen, "a3") {
					t.Error("a3 was handled though a2 failed")
				}
				time.Sleep(time.Minute)
				h.again(t)
				if got := h.handle(t, func(context.Context, queue.Message) error { return nil }); len(got) != 0 {
					t.Errorf("remaining %v after the second time", got)
				}
				if want := []string{"a2", "a3"}; !slices.Equal(h.seen[len(h.seen)-2:], want) {
					t.Errorf("handled %v, want it to end with %v", h.seen, want)
				}
				if d, _ := h.Depth(t.Context()); d != (queue.Depth{}) {
					t.Errorf("depth %+v, want nothing", d)
				}
			})
		})
	}
}

func TestHandleParksAndCountsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parked := 0
		h := receive(t, queue.Options{OnParked: func(context.Context, queue.Message, error) error { parked++; return nil }}, "a1", "a2")
		var attempts []int
		for range queue.MaxAttempts + 1 {
			h.handle(t, func(_ context.Context, m queue.Message) error {
				if string(m.Body) == "a1" {
					attempts = append(attempts, m.Attempt)
					panic("poison")
				}
				return nil
			})
			time.Sleep(10 * time.Minute)
			h.again(t)
		}
		if want := []int{1, 2, 3, 4, 5}; !slices.Equal(attempts, want) || parked != 1 {
			t.Errorf("attempts %v and parked %d times, want %v and once", attempts, parked, want)
		}
		if !slices.Contains(h.seen, "a2") {
			t.Error("the group did not go on behind the parked message")
		}
		if d, _ := h.Depth(t.Context()); d != (queue.Depth{Parked: 1}) {
			t.Errorf("depth %+v, want one parked", d)
		}
	})
}

func TestHandleBeginsNothingWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := receive(t, queue.Options{}, "a1", "a2", "a3", "b1")
		end := time.Now().Add(15 * time.Second)
		h.batch.MayBegin = func() bool { return time.Now().Before(end) }
		got := h.handle(t, func(_ context.Context, m queue.Message) error { time.Sleep(10 * time.Second); return nil })
		if want := []string{"a3"}; !slices.Equal(got, want) {
			t.Errorf("remaining %v, want %v", got, want)
		}
		h.again(t) // at once: what was handed back waits for nothing
		h.batch.MayBegin = nil
		h.handle(t, func(_ context.Context, m queue.Message) error {
			if m.Attempt != 1 {
				t.Errorf("%s has attempt %d: being handed back counted", m.Body, m.Attempt)
			}
			return nil
		})
	})
}

// What was cut off at the end of the time failed if it had the whole of it, and comes again uncounted if it had not.
func TestHandleEndsWorkInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := receive(t, queue.Options{}, "a1", "b1", "b2")
		begin := time.Now()
		h.batch.WorkUntil = begin.Add(20 * time.Second)
		endless := func(ctx context.Context, m queue.Message) error {
			if string(m.Body) == "b1" {
				time.Sleep(time.Second)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		if got, want := h.handle(t, endless), []string{"a1", "b2"}; !slices.Equal(got, want) {
			t.Errorf("remaining %v, want %v", got, want)
		}
		if took := time.Since(begin); took != 20*time.Second {
			t.Errorf("took %s, want 20s", took)
		}
		time.Sleep(time.Minute)
		h.again(t)
		h.batch.WorkUntil = time.Time{}
		attempts := map[string]int{}
		h.handle(t, func(_ context.Context, m queue.Message) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			attempts[string(m.Body)] = m.Attempt
			return nil
		})
		if attempts["a1"] != 2 || attempts["b2"] != 1 {
			t.Errorf("attempts %v, want a1 2 and b2 1", attempts)
		}
	})
}

// down refuses every answer.
type down struct{ queue.Driver }

func (down) Settle(context.Context, []queue.Settlement) ([]int, error) {
	return nil, fault.New(fault.Unavailable, "the queue is down")
}

func TestHandleGivesUpAnsweringInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := receive(t, queue.Options{}, "a1", "b1")
		h.Queue = queue.New(down{h.driver}, queue.Options{Name: "jobs"})
		begin := time.Now()
		h.batch.AnswerBy = begin.Add(5 * time.Second)
		if got, want := h.handle(t, func(context.Context, queue.Message) error { return nil }), []string{"a1", "b1"}; !slices.Equal(got, want) {
			t.Errorf("remaining %v, want %v: what was not acknowledged comes again", got, want)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %s, want 5s", took)
		}
	})
}

func TestHandleHoldsReceiptsAndRestoresBodies(t *testing.T) {
	var bucket blob.Bucket
	bucket, err := fileblob.Open(t.Context(), fileblob.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	large := "a" + strings.Repeat("x", queue.MaxBodyBytes)
	h := receive(t, queue.Options{Spill: bucket, Visibility: time.Minute}, large)
	h.batch.Deliveries[0].Message.Attributes["traceparent"] = "00-" + strings.Repeat("1", 32) + "-" + strings.Repeat("2", 16) + "-01"
	if got := h.handle(t, func(_ context.Context, m queue.Message) error {
		if string(m.Body) != large || m.Attributes != nil {
			return fmt.Errorf("got %d bytes and %v", len(m.Body), m.Attributes)
		}
		return nil
	}); len(got) != 0 {
		t.Errorf("%d remain", len(got))
	}
	if left, _, err := bucket.List(t.Context(), "", "", 0); err != nil || len(left) != 0 {
		t.Errorf("blobs left: %v, %v", left, err)
	}
}

func TestHandleNeedsAHandler(t *testing.T) {
	h := receive(t, queue.Options{}, "a1")
	if _, err := h.Handle(t.Context(), h.batch, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("got %v, want Invalid", err)
	}
}

func TestHandleExtendsWhileItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := receive(t, queue.Options{Visibility: time.Minute}, "a1")
		got := h.handle(t, func(ctx context.Context, _ queue.Message) error { time.Sleep(5 * time.Minute); return ctx.Err() })
		if len(got) != 0 {
			t.Errorf("remaining %v: the receipt was not held", got)
		}
	})
}
