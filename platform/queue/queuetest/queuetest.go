// Package queuetest is the conformance suite of queue drivers. A driver's test is:
//
//	func TestConformance(t *testing.T) { queuetest.Run(t, newHarness) }
//
// Every case runs in a bubble of testing/synctest, where hours pass at once. A driver whose waiting
// is on channels and timers needs nothing for that; one that talks to a server has to be given a
// connection that lives in the bubble.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// Harness is one fresh storage without messages.
type Harness struct {
	// Queue opens a handle on the queue with the given name. Handles on one name are as two
	// processes on one queue; other names are other queues on the same storage.
	Queue func(name string) queue.Driver
}

// Run holds a driver to the contract of [queue.Driver], and [queue.Queue] on top of it to its own.
// newHarness is called inside each case's bubble, and cleans up with t.Cleanup.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	cases := slices.Concat(driverCases, receiveCases, settleCases, parkCases, sendCases, runCases, failureCases, spillCases, traceCases)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(t, newHarness(t)) })
		})
	}
	t.Run("Model", func(t *testing.T) { modelOfDisorder(t, newHarness) })
}

type testCase struct {
	name string
	run  func(t *testing.T, h Harness)
}

// visibility is that of the driver cases.
const visibility = time.Minute

// message is the n-th message of a group.
func message(group string, n int) queue.Message {
	return queue.Message{Group: group, DedupID: fmt.Sprintf("%s-%d", group, n), Body: fmt.Appendf(nil, "%s/%d", group, n)}
}

func bodies(deliveries []queue.Delivery) []string {
	var all []string
	for _, d := range deliveries {
		all = append(all, string(d.Message.Body))
	}
	return all
}

func mustSend(t testing.TB, d queue.Driver, messages ...queue.Message) {
	t.Helper()
	for batch := range slices.Chunk(messages, queue.MaxBatch) {
		if err := d.Send(t.Context(), batch); err != nil {
			t.Fatalf("Send: %v", err)
		}
	}
}

// receive takes what there is right now, nothing if there is nothing.
func receive(t testing.TB, d queue.Driver, limit int) []queue.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	deliveries, err := d.Receive(ctx, limit, visibility)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Receive: %v", err)
	}
	if len(deliveries) > limit {
		t.Fatalf("Receive returned %d messages, the most was %d", len(deliveries), limit)
	}
	return deliveries
}

// mustReceive takes one message, which must be there and have the given body.
func mustReceive(t testing.TB, d queue.Driver, body string) queue.Delivery {
	t.Helper()
	got := receive(t, d, 1)
	if diff := cmp.Diff([]string{body}, bodies(got)); diff != "" {
		t.Fatalf("Receive (-want +got):\n%s", diff)
	}
	return got[0]
}

func wantNothing(t testing.TB, d queue.Driver, why string) {
	t.Helper()
	if got := receive(t, d, 10); len(got) > 0 {
		t.Fatalf("Receive returned %v %s", bodies(got), why)
	}
}

// settle answers and says whether the receipt was valid.
func settle(t testing.TB, d queue.Driver, s queue.Settlement) bool {
	t.Helper()
	expired, err := d.Settle(t.Context(), []queue.Settlement{s})
	if err != nil {
		t.Fatalf("Settle %s: %v", s.Action, err)
	}
	return len(expired) == 0
}

func mustSettle(t testing.TB, d queue.Driver, s queue.Settlement) {
	t.Helper()
	if !settle(t, d, s) {
		t.Fatalf("Settle %s: the receipt is not valid", s.Action)
	}
}

func ack(t testing.TB, d queue.Driver, delivery queue.Delivery) {
	t.Helper()
	mustSettle(t, d, queue.Settlement{Receipt: delivery.Receipt, Action: queue.Ack})
}

func wantDepth(t testing.TB, d queue.Driver, want queue.Depth) {
	t.Helper()
	got, err := d.Inspect(t.Context(), queue.Inspect{})
	if err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	got.Depth.OldestSentAt, want.OldestSentAt = got.Depth.OldestSentAt.UTC(), want.OldestSentAt.UTC()
	if diff := cmp.Diff(want, got.Depth); diff != "" {
		t.Fatalf("depth (-want +got):\n%s", diff)
	}
}

func wantCode(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: got error %v, want %v", what, err, code)
	}
}

// now is the time as a queue keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// start runs a queue until stop is called or the case ends.
func start(t testing.TB, q *queue.Queue, h queue.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// journal notes what handlers saw, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// want compares the lines with those given, once everything has come to rest.
func (j *journal) want(t testing.TB, lines ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(lines, j.all()); diff != "" {
		t.Fatalf("what happened (-want +got):\n%s", diff)
	}
}

// parkedOf lists all parked messages.
func parkedOf(t testing.TB, q *queue.Queue) []queue.ParkedMessage {
	t.Helper()
	parked, next, err := q.Parked(t.Context(), "", 0)
	if err != nil || next != "" {
		t.Fatalf("Parked: next page %q, error %v", next, err)
	}
	return parked
}

// eventually lets time pass in the bubble, ten seconds at a time, until the condition holds.
func eventually(t testing.TB, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Second) {
		synctest.Wait()
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", limit, what)
		}
	}
}

// depthOf counts.
func depthOf(t testing.TB, q *queue.Queue) queue.Depth {
	t.Helper()
	d, err := q.Depth(t.Context())
	if err != nil {
		t.Fatalf("Depth: %v", err)
	}
	return d
}
