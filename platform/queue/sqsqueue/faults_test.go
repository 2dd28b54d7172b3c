//go:build awstest

package sqsqueue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
)

// dice says yes with a probability, the same in every run.
type dice struct {
	mu     sync.Mutex
	random *rand.Rand
	chance float64
	on     func() bool
}

func newDice(chance float64, on func() bool) *dice {
	return &dice{random: rand.New(rand.NewPCG(1, 2)), chance: chance, on: on}
}

func (d *dice) roll() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.on() && d.random.Float64() < d.chance
}

// load is a run: senders that keep sending and a consumer, both for a time.
type load struct {
	senders, groups int
	pause           time.Duration // between two messages of a sender, half of it to one and a half
	lasts           time.Duration
	settle          time.Duration // how long the consumer goes on afterwards
}

// outcome is what was seen of a run.
type outcome struct {
	sent, refused int
	effects       map[string]int
	disorder      []string
	calls         map[string]int
}

// play runs a load.
func (l load) play(t *testing.T, w *world) outcome {
	t.Helper()
	d := w.driver("jobs")
	out := outcome{effects: map[string]int{}}
	var mu sync.Mutex
	last := map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	var consumer, senders sync.WaitGroup
	q := queue.New(d, queue.Options{Name: "jobs", Concurrency: 16})
	consumer.Go(func() {
		if err := q.Run(ctx, func(_ context.Context, m queue.Message) error {
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			body := string(m.Body)
			out.effects[body]++
			var n int
			_, _ = fmt.Sscanf(body[strings.Index(body, "/")+1:], "%d", &n)
			if n < last[m.Group] {
				out.disorder = append(out.disorder, fmt.Sprintf("%s came after %d", body, last[m.Group]))
			}
			last[m.Group] = n
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	begin := time.Now()
	for s := range l.senders {
		senders.Go(func() {
			jitter := rand.New(rand.NewPCG(uint64(s), 3)) // senders are not in step
			time.Sleep(time.Duration(jitter.Int64N(int64(l.pause))))
			for n := 1; time.Since(begin) < l.lasts; n++ {
				m := message(fmt.Sprintf("s%d-g%d", s, n%l.groups), n)
				err := q.Send(t.Context(), m)
				for err != nil { // as a service's own caller does
					mu.Lock()
					out.refused++
					mu.Unlock()
					time.Sleep(time.Second)
					err = q.Send(t.Context(), m)
				}
				mu.Lock()
				out.sent++
				mu.Unlock()
				time.Sleep(l.pause/2 + time.Duration(jitter.Int64N(int64(l.pause))))
			}
		})
	}
	senders.Wait()
	time.Sleep(l.settle)
	out.calls = w.service.count()
	cancel()
	consumer.Wait()
	return out
}

func (o outcome) total() (n int) {
	for _, c := range o.calls {
		n += c
	}
	return n
}

// judge holds a run to what is promised: nothing is lost, nothing done twice, every group in order.
func (o outcome) judge(t *testing.T) {
	t.Helper()
	if len(o.effects) != o.sent {
		t.Errorf("%d messages were sent, %d came", o.sent, len(o.effects))
	}
	for body, n := range o.effects {
		if n != 1 {
			t.Errorf("%s was handled %d times", body, n)
		}
	}
	if len(o.disorder) > 0 {
		t.Errorf("out of order: %v", o.disorder)
	}
}

// TestThrottling refuses 30 % of all calls for ten minutes. What SQS refuses is made again, and what comes meanwhile goes along.
func TestThrottling(t *testing.T) {
	awstest.Moto(t)
	l := load{senders: 12, groups: 3, pause: 4 * time.Second, lasts: 10 * time.Minute, settle: 5 * time.Minute}
	var quiet, rough outcome
	synctest.Test(t, func(t *testing.T) {
		quiet = l.play(t, newWorld(t, sqsqueue.Options{}))
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		begin := time.Now()
		d := newDice(0.3, func() bool { return time.Since(begin) < 10*time.Minute })
		w.driver("jobs") // is made before
		w.service.refuse = func(string) *http.Response {
			if d.roll() {
				return answerOf(http.StatusBadRequest, "RequestThrottled", "Rate exceeded")
			}
			return nil
		}
		rough = l.play(t, w)
	})
	quiet.judge(t)
	rough.judge(t)
	per := func(o outcome) float64 { return float64(o.total()) / float64(o.sent) }
	t.Logf("undisturbed: %d messages, %.2f calls each %v", quiet.sent, per(quiet), quiet.calls)
	t.Logf("throttled:   %d messages, %.2f calls each %v; %d Sends were made again by their caller", rough.sent, per(rough), rough.calls, rough.refused)
	if amplification := per(rough) / per(quiet); amplification > 1.3 {
		t.Errorf("with 30 %% throttling there are %.2f times the calls, want at most 1.3", amplification)
	}
}

// TestLostAnswers carries calls out and loses their answers. Everything is repeated under the same ids.
func TestLostAnswers(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		begin := time.Now()
		d := newDice(0.2, func() bool { return time.Since(begin) < 5*time.Minute })
		w.service.lose = func(string) bool { return d.roll() }
		w.driver("jobs")
		load{senders: 10, groups: 2, pause: 5 * time.Second, lasts: 5 * time.Minute, settle: 5 * time.Minute}.play(t, w).judge(t)
	})
}

// TestRefusedEntries has SQS refuse single entries of batches: nothing of their group gets before them.
func TestRefusedEntries(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		d := newDice(0.3, func() bool { return true })
		w.service.drop = d.roll
		driver := w.driver("jobs")
		next := map[string]int{}
		failures := 0
		for n := range 60 {
			var batch []queue.Message
			for i := range queue.MaxBatch {
				batch = append(batch, message(fmt.Sprint("g", i%3), 10*n+i))
			}
			for driver.Send(t.Context(), batch) != nil {
				failures++
			}
		}
		for {
			got := receive(t, driver, 10, time.Second, time.Minute)
			if len(got) == 0 {
				break
			}
			for _, one := range got {
				group, number, _ := strings.Cut(string(one.Message.Body), "/")
				var n int
				_, _ = fmt.Sscan(number, &n)
				if n < next[group] {
					t.Errorf("%s came after %d", one.Message.Body, next[group])
				}
				next[group] = n + 1
			}
			ack(t, driver, got...)
		}
		if diff := cmp.Diff(map[string]int{"g0": 600, "g1": 598, "g2": 599}, next); diff != "" {
			t.Errorf("behind the last of each group (-want +got):\n%s", diff)
		}
		t.Logf("%d Sends failed for good and were made again", failures)
	})
}

// TestParkedBeforeDeleted ends the process, as it were, between the table and SQS.
func TestParkedBeforeDeleted(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		d := w.driver("jobs")
		send(t, d, message("g", 1), message("g", 2))
		got := receive(t, d, 1, time.Second, time.Minute)
		broken := true
		w.service.refuse = func(operation string) *http.Response {
			if broken && operation == "DeleteMessageBatch" {
				return answerOf(http.StatusInternalServerError, "InternalFailure", "")
			}
			return nil
		}
		park := queue.Settlement{Receipt: got[0].Receipt, Action: queue.Park, Error: "poison"}
		for range 2 {
			if _, err := d.Settle(t.Context(), []queue.Settlement{park}); !errors.Is(err, fault.Unavailable) {
				t.Fatalf("Settle: %v", err)
			}
		}
		broken = false
		time.Sleep(time.Minute)
		want(t, receive(t, d, 1, time.Second, time.Minute), "g/2")
		parked, err := d.Inspect(t.Context(), queue.Inspect{Limit: 10})
		if err != nil || len(parked.Parked) != 1 || parked.Parked[0].Attempt != 1 {
			t.Fatalf("parked: %+v, %v", parked.Parked, err)
		}
		if n, err := d.Redrive(t.Context(), nil); n != 1 || err != nil {
			t.Fatalf("Redrive: %d, %v", n, err)
		}
	})
}

// TestSettleAgain repeats a call of which a part took effect.
func TestSettleAgain(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		d := w.driver("jobs")
		send(t, d, message("a", 1), message("b", 1), message("c", 1))
		var answers []queue.Settlement
		for i, action := range []queue.Action{queue.Ack, queue.Retry, queue.Return} {
			got := receive(t, d, 1, time.Second, time.Minute)
			answers = append(answers, queue.Settlement{Receipt: got[0].Receipt, Action: action, After: time.Duration(i) * time.Second, Error: "x"})
		}
		broken := true
		w.service.refuse = func(operation string) *http.Response {
			if broken && operation == "ChangeMessageVisibilityBatch" {
				return answerOf(http.StatusInternalServerError, "InternalFailure", "")
			}
			return nil
		}
		if _, err := d.Settle(t.Context(), answers); err == nil {
			t.Fatal("Settle took what SQS refused")
		}
		broken = false
		if expired := settle(t, d, answers...); len(expired) > 0 {
			t.Errorf("the same call again says that %v have expired", expired)
		}
		if expired := settle(t, d, answers...); len(expired) != 3 {
			t.Errorf("a third time only %v have expired", expired)
		}
		time.Sleep(5 * time.Second)
		for _, one := range receive(t, d, 10, time.Second, time.Minute) {
			attempts := map[string]int{"b": 2, "c": 1}
			if one.Message.Attempt != attempts[one.Message.Group] || one.Lost != 0 {
				t.Errorf("%s: attempt %d, lost %d", one.Message.Body, one.Message.Attempt, one.Lost)
			}
		}
	})
}

// TestWords: one line that names the resource and the remedy.
func TestWords(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		missing := w.queues.Queue("nowhere")
		d := w.driver("jobs")
		tests := []struct {
			name   string
			driver queue.Driver
			answer *http.Response
			code   fault.Code
			words  string
		}{
			{"missing", missing, nil, fault.Internal, "nowhere.fifo in eu-west-1: it does not exist there; deploy it"},
			{"denied", d, answerOf(http.StatusForbidden, "AccessDenied", "no"), fault.Internal, "jobs.fifo in eu-west-1: AWS refused the permission"},
			{"credentials", d, answerOf(http.StatusForbidden, "InvalidClientTokenId", "no"), fault.Internal, "AWS does not accept the credentials"},
			{"down", d, answerOf(http.StatusServiceUnavailable, "ServiceUnavailable", ""), fault.Unavailable, "AWS could not answer"},
		}
		for _, test := range tests {
			w.service.refuse = func(string) *http.Response { return test.answer }
			err := test.driver.Send(t.Context(), []queue.Message{message("g", 1)})
			if !errors.Is(err, test.code) || !strings.Contains(fmt.Sprintf("%v %v", err, errors.Unwrap(err)), test.words) {
				t.Errorf("%s: %v; want %v with %q", test.name, err, test.code, test.words)
			}
		}
	})
	nobody := awsclient.Location{Region: awstest.Region, Prefix: "t", Endpoint: "http://127.0.0.1:1"}
	q := open(t, awstest.Config(t, nobody), nobody, sqsqueue.Options{})
	if err := q.Queue("jobs").Send(t.Context(), []queue.Message{message("g", 1)}); !errors.Is(err, fault.Unavailable) || !strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), "cannot be reached") {
		t.Errorf("nobody there: %v", err)
	}
}

// TestGivenUpReceive: a receive whose caller gives up while the answer is on its way loses nothing of it.
func TestGivenUpReceive(t *testing.T) {
	awstest.Moto(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqsqueue.Options{})
		d := w.driver("jobs")
		send(t, d, message("g", 1))
		ctx, cancel := context.WithCancel(t.Context())
		w.service.lose = func(operation string) bool {
			if operation != "ReceiveMessage" || ctx.Err() != nil {
				return false
			}
			cancel()
			return true
		}
		got, err := d.Receive(ctx, 10, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		want(t, got, "g/1")
		if got[0].Lost != 0 {
			t.Errorf("it lost %d deliveries", got[0].Lost)
		}
		ack(t, d, got...)
	})
}
