package workflow

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/riskprofiler/riskprofiler/platform/table"
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
func (w *world) token(id string) string {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var body struct{ Token string }
	if len(w.sent[id]) == 0 || json.Unmarshal(w.sent[id][0].m.Body, &body) != nil {
		w.t.Fatalf("no message %s", id)
	}
	return body.Token
}

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

func TestTokenIsCompletedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		// Waits for a second token, so that the execution goes on after the first.
		two := strings.Replace(waits, `"End": true`, `"Next": "W"`, 1)
		two = strings.Replace(two, `"States": {`, `"States": {"W": {"Type": "Wait", "Seconds": 50, "End": true}, `, 1)
		p := w.start(map[string]string{"m": two}, 0, false)
		defer p.stop()
		other := NewClient(w.store.table())
		must(t, other.Start(ctx, "m", "one", nil))
		time.Sleep(101 * time.Millisecond)
		token := w.token("one")
		if len(token) > MaxTokenBytes || strings.Contains(token, "one") {
			t.Errorf("token %q is not opaque", token)
		}
		for _, bad := range []string{"", "x", token[:len(token)-2], token + "AA", token[:len(token)-1] + "_", strings.Repeat("A", 5000)} {
			if bad != token {
				wantCode(t, other.Complete(ctx, bad, json.RawMessage(`1`)), fault.NotFound)
			}
		}
		forged, _ := parseToken(token)
		forged.secret[3] ^= 1
		wantCode(t, other.Complete(ctx, forged.String(), json.RawMessage(`1`)), fault.NotFound)
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`{`)), fault.Invalid)
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`"`+strings.Repeat("x", MaxDataBytes)+`"`)), fault.Invalid)
		must(t, other.Complete(ctx, token, json.RawMessage(`{"b": 2, "a": 1}`)))
		must(t, other.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)))
		must(t, p.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)))
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`{"a":1}`)), fault.FailedPrecondition)
		wantCode(t, other.Fail(ctx, token, "E", "c"), fault.FailedPrecondition)
		wantCode(t, other.Heartbeat(ctx, token), fault.FailedPrecondition)
		e := w.await("m", "one")
		if e.Status != Succeeded || string(e.Output) != `{"a":1,"b":2}` {
			t.Errorf("ended as %+v", e)
		}
		if took := e.StoppedAt.Sub(e.StartedAt); took > 50*time.Second+300*time.Millisecond {
			t.Errorf("start and completion were noticed after %s", took-50*time.Second)
		}
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`{"a":1,"b":2}`)), fault.FailedPrecondition)
	})
}

func TestTokenInTheSameProcessNeedsNoPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		p := w.start(map[string]string{"m": waits}, 0, false, func(o *RunnerOptions) { o.Poll = -1 })
		defer p.stop()
		synctest.Wait()
		must(t, p.Start(ctx, "m", "one", nil))
		must(t, p.Complete(ctx, w.token("one"), json.RawMessage(`7`)))
		synctest.Wait()
		e, err := p.Describe(ctx, "m", "one")
		if err != nil || e.Status != Succeeded || !e.StoppedAt.Equal(e.StartedAt) {
			t.Errorf("ended as %+v, %v", e, err)
		}
		if left := w.store.keys(eventsPartition, ""); len(left) > 0 {
			t.Errorf("events were written: %v", left)
		}
	})
}

func TestHeartbeatsKeepATaskOpenUntilItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		p := w.start(map[string]string{"m": waits}, 0, false)
		other := NewClient(w.store.table())
		must(t, p.Start(ctx, "m", "one", nil))
		token := w.token("one")
		for i := range 6 {
			time.Sleep(15 * time.Second)
			must(t, other.Heartbeat(ctx, token))
			if i == 2 { // a restart in between changes nothing
				p.stop()
				p = w.start(map[string]string{"m": waits}, 0, false)
			}
		}
		e := w.await("m", "one")
		p.stop()
		if took := e.StoppedAt.Sub(e.StartedAt); e.Error != ErrorTimeout || took != 100*time.Second || !strings.Contains(e.Cause, "no result") {
			t.Errorf("ended as %s %q after %s", e.Error, e.Cause, took)
		}
		wantCode(t, other.Complete(ctx, token, json.RawMessage(`1`)), fault.FailedPrecondition)
		if n := len(w.sent["one"]); n != 1 {
			t.Errorf("message was sent %d times", n)
		}
	})
}

func TestTimersKeepTheirTimeOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		machines := map[string]string{"m": `{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 100, "End": true}}}`}
		p := w.start(machines, 0, false)
		must(t, p.Start(context.Background(), "m", "one", nil))
		time.Sleep(30 * time.Second)
		p.stop()
		time.Sleep(40 * time.Second)
		p = w.start(machines, 0, false)
		defer p.stop()
		e := w.await("m", "one")
		if took := e.StoppedAt.Sub(e.StartedAt); took != 100*time.Second {
			t.Errorf("waited %s, want 100s", took)
		}
	})
}

func TestFailedMapClosesTheTokensInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := silent(t)
		definition := `{"StartAt": "M", "States": {
			"M": {"Type": "Map", "ItemProcessor": ` + strings.Replace(waits, "$$.Execution.Name", "$", 1) + `,
				"Catch": [{"ErrorEquals": ["Bad"], "Next": "W"}], "End": true},
			"W": {"Type": "Wait", "Seconds": 10, "End": true}}}`
		p := w.start(map[string]string{"m": definition}, 0, false)
		defer p.stop()
		other := NewClient(w.store.table())
		must(t, p.Start(ctx, "m", "one", json.RawMessage(`["a","b"]`)))
		a, b := w.token("a"), w.token("b")
		must(t, other.Fail(ctx, a, "Bad", "why"))
		time.Sleep(time.Second)
		wantCode(t, other.Complete(ctx, b, json.RawMessage(`1`)), fault.FailedPrecondition)
		must(t, other.Fail(ctx, a, "Bad", "why"))
		if e := w.await("m", "one"); string(e.Output) != `{"Cause":"why","Error":"Bad"}` {
			t.Errorf("ended as %+v", e)
		}
	})
}

func TestStop(t *testing.T) {
	for _, where := range []string{"same process", "other process"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				w := silent(t)
				var cancelled atomic.Bool
				both := `{"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true,
					"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "S"}], "Branches": [` + waits + `,` + calls + `]}, "S": {"Type": "Succeed"}}}`
				p := w.start(map[string]string{"m": both}, 0, false, func(o *RunnerOptions) {
					o.Invoke = func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
						<-ctx.Done()
						cancelled.Store(true)
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
				if !cancelled.Load() {
					t.Error("the running function was not cancelled")
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

func TestDataLimit(t *testing.T) {
	big := `"` + strings.Repeat("<", 200<<10) + `"`
	machine := func(caught string) string {
		return `{"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
			"Parameters": {"FunctionName": "f", "Payload.$": "States.Array($, $)"},
			"Catch": [{"ErrorEquals": ["` + caught + `"], "ResultPath": null, "Next": "S"}], "End": true}, "S": {"Type": "Succeed"}}}`
	}
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		inner, calls := calls, 0
		p := w.start(map[string]string{"all": machine("States.ALL"), "named": machine("States.DataLimitExceeded"), "calls": inner,
			"map": `{"StartAt": "M", "States": {"M": {"Type": "Map", "InputPath": "$.items", "ItemSelector": {"v.$": "$$.Execution.Input.big"},
				"MaxConcurrency": 1, "ItemProcessor": ` + inner + `, "End": true}}}`}, 0, false,
			func(o *RunnerOptions) {
				o.Invoke = func(_ context.Context, _ string, payload json.RawMessage) (json.RawMessage, error) {
					calls++
					return payload, nil
				}
			})
		defer p.stop()
		must(t, p.Start(ctx, "all", "one", json.RawMessage(big)))
		if e := w.await("all", "one"); e.Error != ErrorDataLimit || calls != 0 {
			t.Errorf("ended as %s %s after %d calls", e.Status, e.Error, calls)
		}
		// Input and output together are more than an item holds.
		for _, name := range []string{"named", "calls"} {
			must(t, p.Start(ctx, name, "one", json.RawMessage(big)))
			if e := w.await(name, "one"); e.Status != Succeeded || string(e.Output) != big || string(e.Input) != big {
				t.Errorf("%s ended as %s %s with %d bytes", name, e.Status, e.Error, len(e.Output))
			}
		}
		calls = 0
		must(t, p.Start(ctx, "map", "one", json.RawMessage(`{"items":[1,2,3,4,5],"big":"`+strings.Repeat("x", 90<<10)+`"}`)))
		if e := w.await("map", "one"); e.Error != ErrorDataLimit || calls != 3 {
			t.Errorf("ended as %s %s after %d calls", e.Status, e.Error, calls)
		}
	})
}

func TestEndlessExecutionIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.start(map[string]string{"m": `{"StartAt": "A", "States": {
			"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Choice", "Choices": [{"Variable": "$.never", "IsPresent": true, "Next": "C"}], "Default": "A"},
			"C": {"Type": "Succeed"}}}`}, 0, false)
		defer p.stop()
		must(t, p.Start(context.Background(), "m", "one", nil))
		if e := w.await("m", "one"); e.Error != ErrorRuntime || !strings.Contains(e.Cause, "25000 events") {
			t.Errorf("ended as %s %s", e.Error, e.Cause)
		}
	})
}

func TestPanicsAndOddAnswersOfTasks(t *testing.T) {
	for _, c := range []struct {
		about  string
		invoke func() (json.RawMessage, error)
		want   string
	}{
		{"panic", func() (json.RawMessage, error) { panic("boom") }, "RiskProfiler.Internal"},
		{"no JSON", func() (json.RawMessage, error) { return json.RawMessage("x"), nil }, ErrorRuntime},
		{"plain error", func() (json.RawMessage, error) { return nil, errors.New("x") }, "RiskProfiler.Internal"},
		{"fault", func() (json.RawMessage, error) { return nil, fault.New(fault.ResourceExhausted, "x") }, "RiskProfiler.ResourceExhausted"},
		{"named", func() (json.RawMessage, error) { return nil, &TaskError{Name: "Mine", Cause: "x"} }, "Mine"},
		{"nothing", func() (json.RawMessage, error) { return nil, nil }, ""},
	} {
		t.Run(c.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p := w.start(map[string]string{"m": calls}, 0, false, func(o *RunnerOptions) {
					o.Invoke = func(context.Context, string, json.RawMessage) (json.RawMessage, error) { return c.invoke() }
				})
				defer p.stop()
				must(t, p.Start(context.Background(), "m", "one", nil))
				e := w.await("m", "one")
				if e.Error != c.want || c.want == "" && string(e.Output) != "null" {
					t.Errorf("ended as %s %s %s %s", e.Status, e.Error, e.Cause, e.Output)
				}
			})
		})
	}
}

func TestTaskTimeoutEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.start(map[string]string{"m": strings.Replace(calls, `"End"`, `"TimeoutSeconds": 5, "End"`, 1)}, 0, false, func(o *RunnerOptions) {
			o.Invoke = func(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
				<-ctx.Done()
				return nil, fault.New(fault.Unavailable, "the connection broke")
			}
		})
		defer p.stop()
		must(t, p.Start(context.Background(), "m", "one", nil))
		if e := w.await("m", "one"); e.Error != ErrorTimeout || e.StoppedAt.Sub(e.StartedAt) != 5*time.Second {
			t.Errorf("ended as %s after %s", e.Error, e.StoppedAt.Sub(e.StartedAt))
		}
	})
}

// outage is a table that is unavailable for a while: half the time the write happens all the same.
type outage struct {
	*memory
	until atomic.Int64
	n     atomic.Int64
}

func (o *outage) Write(ctx context.Context, writes []table.Write) error {
	if time.Now().UnixNano() >= o.until.Load() {
		return o.memory.Write(ctx, writes)
	}
	if o.n.Add(1)%2 == 0 {
		_ = o.memory.Write(ctx, writes)
	}
	return fault.New(fault.Unavailable, "store is away")
}

func (o *outage) Get(ctx context.Context, key table.Key) (table.Item, error) {
	if time.Now().UnixNano() < o.until.Load() {
		return table.Item{}, fault.New(fault.Unavailable, "store is away")
	}
	return o.memory.Get(ctx, key)
}

func TestStoreOutageRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		sampleAnswers(w)
		away := &outage{memory: w.store}
		p := w.start(map[string]string{"sample": sample(t)}, 0, false, func(o *RunnerOptions) {
			o.Table = table.New(away, table.Options{Name: "workflows"})
			invoke := o.Invoke
			o.Invoke = func(ctx context.Context, name string, payload json.RawMessage) (json.RawMessage, error) {
				away.until.Store(time.Now().Add(20 * time.Second).UnixNano())
				return invoke(ctx, name, payload)
			}
		})
		defer p.stop()
		must(t, NewClient(w.store.table()).Start(ctx, "sample", "one", json.RawMessage(sampleInput)))
		if e := w.await("sample", "one"); e.Status != Succeeded {
			t.Errorf("ended as %s %s %s", e.Status, e.Error, e.Cause)
		}
		for payload, n := range w.invoked {
			if n != 1 {
				t.Errorf("%s was invoked %d times", payload, n)
			}
		}
		w.complete.Wait()
		w.check()
	})
}

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
