package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var receiveCases = []testCase{
	{"ReceiveWaits", receiveWaits},
	{"EndedReceiveKeepsNothing", endedReceiveKeepsNothing},
	{"ConsumersShare", consumersShare},
	{"Depth", depthCounts},
	{"Closed", closedDriver},
}

func receiveWaits(t *testing.T, h Harness) {
	d, other := h.Queue("jobs"), h.Queue("jobs")
	var j journal
	begin := time.Now()
	go func() {
		for range 4 {
			got, err := d.Receive(t.Context(), 1, visibility)
			j.add("%s %v %v", time.Since(begin), bodies(got), err)
			if len(got) == 1 && string(got[0].Message.Body) == "g/1" && got[0].Message.Attempt == 1 {
				mustSettle(t, d, queue.Settlement{Receipt: got[0].Receipt, Action: queue.Retry, After: time.Minute})
			} else if len(got) == 1 && string(got[0].Message.Body) != "h/1" {
				ack(t, d, got[0])
			}
		}
	}()
	j.want(t)
	time.Sleep(10 * time.Minute)
	j.want(t)
	mustSend(t, d, message("g", 1), message("g", 2))
	j.want(t, "10m0s [g/1] <nil>")
	time.Sleep(time.Minute)
	j.want(t, "10m0s [g/1] <nil>", "11m0s [g/1] <nil>", "11m0s [g/2] <nil>")
	// The consumer that waits is told by another handle too, if not as quickly.
	mustSend(t, other, message("h", 1))
	time.Sleep(time.Second)
	synctest.Wait()
	if got := j.all(); len(got) != 4 || !strings.HasSuffix(got[3], "[h/1] <nil>") {
		t.Errorf("what happened: %v; want h/1 at the end", got)
	}
}

func endedReceiveKeepsNothing(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mustSend(t, d, message("g", 0))
	if got, err := d.Receive(ctx, 1, visibility); len(got) == 0 && !errors.Is(err, context.Canceled) {
		t.Errorf("Receive with an ended context: %v", err)
	} else if len(got) > 0 {
		ack(t, d, got[0])
	} else {
		ack(t, d, mustReceive(t, d, "g/0"))
	}
	// Sends and cancellations race: what a receive took it returned.
	for n := 1; n <= 100; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		var got []queue.Delivery
		group.Go(func() { got, _ = d.Receive(ctx, 1, visibility) })
		group.Go(func() { mustSend(t, d, message("g", n)) })
		group.Go(cancel)
		group.Wait()
		if len(got) == 0 {
			got = receive(t, d, 1)
		}
		if len(got) != 1 {
			t.Fatalf("round %d: the message was taken by a receive that did not return it", n)
		}
		ack(t, d, got[0])
	}
}

func consumersShare(t *testing.T, h Harness) {
	const senders, each, consumers = 4, 60, 3
	var group, consuming sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	for s := range senders {
		group.Go(func() {
			d := h.Queue("jobs")
			for n := range each {
				mustSend(t, d, message(fmt.Sprintf("g%d-%d", s, n%5), n))
			}
		})
	}
	for range consumers {
		consuming.Go(func() {
			d := h.Queue("jobs")
			for {
				got, err := d.Receive(ctx, 5, visibility)
				if err != nil {
					return
				}
				for _, one := range got {
					ack(t, d, one) //nolint:contextcheck // what was received is answered, also at the end
					mu.Lock()
					seen[string(one.Message.Body)]++
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	time.Sleep(10 * time.Second)
	cancel()
	consuming.Wait()
	if len(seen) != senders*each {
		t.Errorf("%d messages came, want %d", len(seen), senders*each)
	}
	for body, times := range seen {
		if times != 1 {
			t.Errorf("message %s was acknowledged %d times", body, times)
		}
	}
	wantDepth(t, h.Queue("jobs"), queue.Depth{})
}

func depthCounts(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	wantDepth(t, d, queue.Depth{})
	begin := now()
	mustSend(t, d, message("a", 1))
	time.Sleep(time.Minute)
	mustSend(t, d, message("a", 2), message("b", 1), message("c", 1), message("c", 2))
	wantDepth(t, d, queue.Depth{Visible: 5, OldestSentAt: begin})
	a := mustReceive(t, d, "a/1")
	b := mustReceive(t, d, "b/1")
	wantDepth(t, d, queue.Depth{Visible: 3, InFlight: 2, OldestSentAt: begin})
	mustSettle(t, d, queue.Settlement{Receipt: b.Receipt, Action: queue.Retry, After: 10 * time.Second})
	wantDepth(t, d, queue.Depth{Visible: 3, InFlight: 1, Delayed: 1, OldestSentAt: begin})
	time.Sleep(10 * time.Second)
	wantDepth(t, d, queue.Depth{Visible: 4, InFlight: 1, OldestSentAt: begin})
	mustSettle(t, d, queue.Settlement{Receipt: a.Receipt, Action: queue.Park})
	wantDepth(t, d, queue.Depth{Visible: 4, Parked: 1, OldestSentAt: begin.Add(time.Minute)})
	mustReceive(t, d, "c/1")
	wantDepth(t, d, queue.Depth{Visible: 3, InFlight: 1, Parked: 1, OldestSentAt: begin.Add(time.Minute)})
	time.Sleep(visibility)
	wantDepth(t, d, queue.Depth{Visible: 4, Parked: 1, OldestSentAt: begin.Add(time.Minute)})
}

func closedDriver(t *testing.T, h Harness) {
	d, other := h.Queue("jobs"), h.Queue("jobs")
	waiting := make(chan error, 1)
	go func() {
		_, err := d.Receive(t.Context(), 1, visibility)
		waiting <- err
	}()
	synctest.Wait()
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	_, receiveErr := d.Receive(t.Context(), 1, visibility)
	_, settleErr := d.Settle(t.Context(), []queue.Settlement{{Action: queue.Ack}})
	_, inspectErr := d.Inspect(t.Context(), queue.Inspect{})
	_, redriveErr := d.Redrive(t.Context(), nil)
	for what, err := range map[string]error{
		"the Receive that waited": <-waiting,
		"Send":                    d.Send(t.Context(), []queue.Message{message("g", 1)}),
		"Receive":                 receiveErr,
		"Settle":                  settleErr,
		"Inspect":                 inspectErr,
		"Redrive":                 redriveErr,
	} {
		if !errors.Is(err, queue.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
	mustSend(t, other, message("g", 1))
	ack(t, other, mustReceive(t, other, "g/1"))
	q := queue.New(d, queue.Options{Name: "jobs"})
	if err := q.Run(t.Context(), func(context.Context, queue.Message) error { return nil }); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Run after Close: %v, want ErrClosed", err)
	}
}
