package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waits is a machine of one task that waits for a token.
const waits = `{"StartAt": "Job", "States": {"Job": {"Type": "Task",
	"Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "TimeoutSeconds": 100, "HeartbeatSeconds": 20,
	"Parameters": {"QueueUrl": "${Queue}", "MessageGroupId": "g", "MessageDeduplicationId.$": "$$.Execution.Name",
		"MessageBody": {"token.$": "$$.Task.Token"}}, "End": true}}}`

// calls is a machine of one function call.
const calls = `{"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
	"Parameters": {"FunctionName": "${Function}", "Payload.$": "$"}, "OutputPath": "$.Payload", "End": true}}}`

// token is the token in the message that was sent under a dedup id.
func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Errorf("error is %v (%v), want %v", got, err, code)
	}
}

// silent is a world whose workers never answer, so that the test does.
func silent(t *testing.T) *world {
	w := newWorld(t)
	w.answer = func(string, any) (any, error) { return nil, errSilent }
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStop(t *testing.T) {
	for _, where := range []string{"same process", "other process"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				w := silent(t)
				var canceled atomic.Bool
				both := `{"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true,
					"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "S"}], "Branches": [` + waits + `,` + calls + `]}, "S": {"Type": "Succeed"}}}`
				p := w.start(map[string]string{"m": both}, 0, false, func(o *RunnerOptions) {
					o.Invoke = func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
						<-ctx.Done()
						canceled.Store(true)
						return nil, ctx.Err()
					}
				})
				defer p.stop()
				var engine Engine = p
				if where == "other process" {
					engine = NewClient(w.store.table())
				}
				wantCode(t, engine.Stop(ctx, "m", "one", "", ""), fault.NotFound)
				must(t, engine.Start(ctx, "m", "one", nil))
				time.Sleep(time.Second)
				token := w.token("one")
				must(t, engine.Stop(ctx, "m", "one", "Enough", "because"))
				wantCode(t, engine.Complete(ctx, token, json.RawMessage(`1`)), fault.FailedPrecondition)
				must(t, engine.Stop(ctx, "m", "one", "Again", "no"))
				time.Sleep(time.Second)
				e, err := engine.Describe(ctx, "m", "one")
				if err != nil || e.Status != Aborted || e.Error != "Enough" || e.Cause != "because" {
					t.Errorf("stopped as %+v, %v", e, err)
				}
				if !canceled.Load() {
					t.Error("the running function was not canceled")
				}
				for _, kind := range []string{stepPrefix, "stop", "done", "start"} {
					if left := w.store.keys("", kind); len(left) > 0 {
						t.Errorf("was left: %v", left)
					}
				}
			})
		})
	}
}

// TestStoppedExecutionDoesNothingMore also where the runner does not hear of it.
func TestStoppedExecutionDoesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		w.answer = func(_ string, request any) (any, error) {
			time.Sleep(time.Second)
			return request, nil
		}
		two := strings.Replace(calls, `"End": true`, `"Next": "Again"`, 1)
		two = strings.Replace(two, `"States": {`, `"States": {"Again": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
			"Parameters": {"FunctionName": "f", "Payload": "again"}, "End": true}, `, 1)
		p := w.start(map[string]string{"m": two}, 0, false, func(o *RunnerOptions) { o.Poll = -1 })
		defer p.stop()
		synctest.Wait()
		must(t, p.Start(ctx, "m", "one", nil))
		synctest.Wait()
		must(t, NewClient(w.store.table()).Stop(ctx, "m", "one", "", ""))
		time.Sleep(time.Minute)
		if len(w.invoked) != 1 {
			t.Errorf("invoked: %v", w.invoked)
		}
		if left := w.store.keys("one/", stepPrefix); len(left) > 0 {
			t.Errorf("records were left: %v", left)
		}
	})
}

func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		p := w.start(map[string]string{"m": calls}, 0, false)
		defer p.stop()
		other := NewClient(w.store.table())
		for _, e := range []Engine{p, other} {
			must(t, e.Start(ctx, "m", "one", json.RawMessage(`{"n": 1}`)))
			must(t, e.Start(ctx, "m", "one", json.RawMessage(`{"n": 2}`)))
			for _, bad := range []string{"", "a/b", "a b", "é", strings.Repeat("x", 81)} {
				wantCode(t, e.Start(ctx, "m", bad, nil), fault.Invalid)
				_, err := e.Describe(ctx, "m", bad)
				wantCode(t, err, fault.Invalid)
				wantCode(t, e.Stop(ctx, "m", bad, "", ""), fault.Invalid)
			}
			wantCode(t, e.Start(ctx, "m", "two", json.RawMessage(`{`)), fault.Invalid)
			wantCode(t, e.Start(ctx, "m", "two", json.RawMessage(`"`+strings.Repeat("x", MaxDataBytes)+`"`)), fault.Invalid)
			_, err := e.Describe(ctx, "m", "two")
			wantCode(t, err, fault.NotFound)
		}
		if e := w.await("m", "one"); string(e.Output) != `{"did":{"n":1}}` {
			t.Errorf("ended as %+v", e)
		}
		must(t, other.Start(ctx, "m", "one", json.RawMessage(`{"n": 3}`)))
		wantCode(t, p.Start(ctx, "unknown", "one", nil), fault.NotFound)
		must(t, other.Start(ctx, "unknown", "one", nil))
		if e := w.await("unknown", "one"); e.Status != Failed || e.Error != ErrorRuntime {
			t.Errorf("unknown machine ended as %+v", e)
		}
		if len(w.invoked) != 1 {
			t.Errorf("invoked: %v", w.invoked)
		}
		p.stop() // or it would look for events for all that time
		time.Sleep(retention + time.Minute)
		_, err := other.Describe(ctx, "m", "one")
		wantCode(t, err, fault.NotFound)
	})
}

func TestNewestRunnerWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		first := w.start(map[string]string{"m": waits}, 0, false)
		must(t, first.Start(ctx, "m", "one", nil))
		token := w.token("one")
		second := w.start(map[string]string{"m": waits}, 0, false)
		synctest.Wait()
		// The first does not know yet: what it takes reaches the second all the same.
		must(t, first.Complete(ctx, token, json.RawMessage(`1`)))
		completed := time.Now()
		e := w.await("m", "one")
		if late := e.StoppedAt.Sub(completed); late > DefaultPoll {
			t.Errorf("the second runner noticed after %s", late)
		}
		<-first.ended
		wantCode(t, first.err, fault.FailedPrecondition)
		if e.Status != Succeeded || len(w.sent["one"]) != 1 {
			t.Errorf("ended as %+v, sent %d times", e, len(w.sent["one"]))
		}
		second.stop()
		must(t, second.err)
	})
}

func TestSupersededRunnerBeginsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		idle := w.start(map[string]string{"m": calls}, 0, false)
		synctest.Wait()
		first := w.start(map[string]string{"m": calls}, 0, false, func(o *RunnerOptions) {
			o.Invoke = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
				t.Error("the first runner still works")
				return nil, nil
			}
		})
		synctest.Wait()
		second := w.start(map[string]string{"m": calls}, 0, false)
		defer second.stop()
		synctest.Wait()
		must(t, first.Start(ctx, "m", "one", nil))
		<-first.ended
		wantCode(t, first.err, fault.FailedPrecondition)
		// Nobody told the second, which looks by itself.
		if e := w.await("m", "one"); e.StoppedAt.Sub(e.StartedAt) > sweepEvery {
			t.Errorf("ended as %+v", e)
		}
		<-idle.ended
		wantCode(t, idle.err, fault.FailedPrecondition)
	})
}

func TestMaxExecutionsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		var mu sync.Mutex
		var order []string
		running, most := 0, 0
		p := w.start(map[string]string{"m": calls}, 0, false, func(o *RunnerOptions) {
			o.MaxExecutions = 3
			o.Invoke = func(_ context.Context, _ string, payload json.RawMessage) (json.RawMessage, error) {
				mu.Lock()
				order = append(order, string(payload))
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				return payload, nil
			}
		})
		defer p.stop()
		for i := range 20 {
			must(t, p.Start(ctx, "m", fmt.Sprintf("e%d", i), json.RawMessage(fmt.Sprint(100+i))))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(8 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 3 || len(order) != 20 || order[19] != "119" {
			t.Errorf("%d at once, order %v", most, order)
		}
		if left := w.store.keys("e", stepPrefix); len(left) > 0 {
			t.Errorf("records were left: %v", left)
		}
	})
}

func TestExecutionKeepsTheDefinitionItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		p := w.start(map[string]string{"m": waits}, 0, false)
		must(t, p.Start(ctx, "m", "one", nil))
		token := w.token("one")
		p.stop()
		p = w.start(map[string]string{"m": calls}, 0, false)
		must(t, p.Complete(ctx, token, json.RawMessage(`1`)))
		if e := w.await("m", "one"); string(e.Output) != "1" {
			t.Errorf("ended as %+v", e)
		}
		p.stop()
	})
}

// outage is a table that is unavailable for a while: half the time the write happens all the same.
func TestNewRunnerRefusesWhatItCannotRun(t *testing.T) {
	o := RunnerOptions{
		Table:  newMemory().table(),
		Invoke: func(context.Context, string, json.RawMessage) (json.RawMessage, error) { return nil, nil },
		Send:   nil,
	}
	_, err := NewRunner(o)
	wantCode(t, err, fault.Invalid)
	o.Send = func(context.Context, string, queue.Message) error { return nil }
	for name, text := range map[string]string{"m": waits, "bad name": `{}`, "x": `{"StartAt": "A", "States": {}}`} {
		o.Machines = map[string][]byte{name: []byte(text)}
		_, err := NewRunner(o)
		wantCode(t, err, fault.Invalid)
	}
	o.Machines = map[string][]byte{"m": []byte(waits)}
	o.Resources = map[string]string{"Queue": `q"\<`}
	if _, err := NewRunner(o); err != nil {
		t.Error(err)
	}
}
