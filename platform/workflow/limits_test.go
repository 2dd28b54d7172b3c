package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

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
		inner := calls
		var calls atomic.Int64
		p := w.start(map[string]string{"all": machine("States.ALL"), "named": machine("States.DataLimitExceeded"), "calls": inner,
			"map": `{"StartAt": "M", "States": {"M": {"Type": "Map", "InputPath": "$.items", "ItemSelector": {"v.$": "$$.Execution.Input.big"},
				"MaxConcurrency": 1, "ItemProcessor": ` + inner + `, "End": true}}}`}, 0, false,
			func(o *RunnerOptions) {
				o.Invoke = func(_ context.Context, _ string, payload json.RawMessage) (json.RawMessage, error) {
					calls.Add(1)
					return payload, nil
				}
			})
		defer p.stop()
		must(t, p.Start(ctx, "all", "one", json.RawMessage(big)))
		if e := w.await("all", "one"); e.Error != ErrorDataLimit || calls.Load() != 0 {
			t.Errorf("ended as %s %s after %d calls", e.Status, e.Error, calls.Load())
		}
		// Input and output together are more than an item holds.
		for _, name := range []string{"named", "calls"} {
			must(t, p.Start(ctx, name, "one", json.RawMessage(big)))
			if e := w.await(name, "one"); e.Status != Succeeded || string(e.Output) != big || string(e.Input) != big {
				t.Errorf("%s ended as %s %s with %d bytes", name, e.Status, e.Error, len(e.Output))
			}
		}
		calls.Store(0)
		must(t, p.Start(ctx, "map", "one", json.RawMessage(`{"items":[1,2,3,4,5],"big":"`+strings.Repeat("x", 90<<10)+`"}`)))
		if e := w.await("map", "one"); e.Error != ErrorDataLimit || calls.Load() != 3 {
			t.Errorf("ended as %s %s after %d calls", e.Status, e.Error, calls.Load())
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
