//go:build awstest

package sqsqueue_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
)

// callsOf counts the calls of a part of a test.
func callsOf(w *world, part func()) map[string]int {
	before := w.service.count()
	part()
	after := w.service.count()
	for name, n := range before {
		if after[name] -= n; after[name] == 0 {
			delete(after, name)
		}
	}
	return after
}

// drain receives and acknowledges until n messages came.
func drain(t *testing.T, d queue.Driver, n int) {
	t.Helper()
	for n > 0 {
		got := receive(t, d, 10, time.Second, time.Minute)
		if len(got) == 0 {
			t.Fatalf("%d messages are missing", n)
		}
		var answers []queue.Settlement
		for _, one := range got {
			answers = append(answers, queue.Settlement{Receipt: one.Receipt, Action: queue.Ack})
		}
		settle(t, d, answers...)
		n -= len(got)
	}
}

// TestCalls counts what the package comment promises. There is no table: a message that succeeds at once does not need it.
func TestCalls(t *testing.T) {
	awstest.Moto(t)
	atOnce := func(linger time.Duration, groups int) func(t *testing.T) map[string]int {
		return func(t *testing.T) map[string]int {
			w := newWorld(t, sqsqueue.Options{Linger: linger})
			d := w.driver("jobs")
			return callsOf(w, func() {
				var all sync.WaitGroup
				for n := range 100 {
					all.Go(func() { send(t, d, message(fmt.Sprint("g", n%groups), n)) })
				}
				all.Wait()
				time.Sleep(linger) // one that found nothing left to send is still lingering
			})
		}
	}
	oneByOne := func(groups int, together bool) func(t *testing.T) map[string]int {
		return func(t *testing.T) map[string]int {
			w := newWorld(t, sqsqueue.Options{})
			w.driver("jobs")
			queues := open(t, w.cfg, w.place, sqsqueue.Options{})
			d := queues.Queue("jobs")
			return callsOf(w, func() {
				var batch []queue.Message
				for n := range 100 {
					batch = append(batch, message(fmt.Sprint("g", n%groups), n))
				}
				if together {
					send(t, d, batch...)
					drain(t, d, len(batch))
					return
				}
				for _, m := range batch {
					send(t, d, m)
					drain(t, d, 1)
				}
			})
		}
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T) map[string]int
		most map[string]int
	}{
		{"100 groups, 10 at a time", oneByOne(100, true), map[string]int{"SendMessageBatch": 10, "ReceiveMessage": 10, "DeleteMessageBatch": 10}},
		{"each alone", oneByOne(100, false), map[string]int{"SendMessageBatch": 100, "ReceiveMessage": 100, "DeleteMessageBatch": 100}},
		{"1 group", oneByOne(1, true), map[string]int{"SendMessageBatch": 100, "ReceiveMessage": 22, "DeleteMessageBatch": 12}},
		{"100 Sends at once", atOnce(0, 100), map[string]int{"SendMessageBatch": 25}},
		{"100 Sends at once that linger", atOnce(5*time.Millisecond, 100), map[string]int{"SendMessageBatch": 10}},
		{"100 Sends at once in 10 groups", atOnce(0, 10), map[string]int{"SendMessageBatch": 40}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := test.run(t)
				delete(calls, "GetQueueUrl") // once for a queue and a process
				t.Logf("100 messages: %v", calls)
				for name, n := range calls {
					if n > test.most[name] {
						t.Errorf("%d calls of %s, want at most %d", n, name, test.most[name])
					}
				}
			})
		})
	}
}

// TestIdle: a consumer without work makes three calls a minute.
func TestIdle(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		d := w.driver("jobs")
		calls := callsOf(w, func() { receive(t, d, 10, 10*time.Minute-time.Second, time.Minute) })
		delete(calls, "GetQueueUrl")
		if diff := cmp.Diff(map[string]int{"ReceiveMessage": 31}, calls); diff != "" { // the last asks what the one before it had got
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

// TestRetryCosts: a failed attempt is one write, one change and, when it comes again, one read.
func TestRetryCosts(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		d := w.driver("jobs")
		send(t, d, message("g", 1))
		got := receive(t, d, 10, time.Second, time.Minute)
		calls := callsOf(w, func() {
			settle(t, d, queue.Settlement{Receipt: got[0].Receipt, Action: queue.Retry, After: time.Second})
		})
		if diff := cmp.Diff(map[string]int{"ChangeMessageVisibilityBatch": 1}, calls); diff != "" {
			t.Errorf("calls of a retry (-want +got):\n%s", diff)
		}
		want(t, receive(t, d, 10, 2*time.Second, time.Minute), "g/1")
	})
}
