//go:build awstest

package asl

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// The three resources of tasks.
const (
	invoke      = "arn:aws:states:::lambda:invoke"
	send        = "arn:aws:states:::sqs:sendMessage"
	sendAndWait = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
)

// outcome is what a task comes to.
type outcome struct {
	Output       json.RawMessage
	Error, Cause string
	Hangs        bool
}

// script decides the outcomes of tasks and keeps the calls. One script is for one run.
type script struct {
	decide func(name, request string) outcome

	mu    sync.Mutex
	calls []string
}

// answer is the outcome of a call. A token in the request is no part of it: it is another one every time.
func (s *script) answer(t testing.TB, name string, raw json.RawMessage) outcome {
	t.Helper()
	request := canonical(t, raw)
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) == nil {
		delete(object, "token")
		delete(object, "taskToken")
		raw, err := json.Marshal(object)
		if err != nil {
			t.Error(err)
		}
		request = canonical(t, raw)
	}
	request = withoutFreeText(request)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, name+" "+request)
	return s.decide(name, request)
}

// made are the calls so far.
func (s *script) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// result is how a run ended.
type result struct {
	Status, Output, Error, Cause string
	Seconds                      float64
	States                       []string
	Calls                        []string
	fan                          bool
}

// ours runs a definition by our interpreter in a bubble of its own.
func ours(t *testing.T, definition []byte, input json.RawMessage, s *script) (r result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { r = inBubble(t, definition, input, s) })
	return r
}

func inBubble(t *testing.T, definition []byte, input json.RawMessage, s *script) result {
	ctx, cancel := context.WithCancel(context.Background())
	db, err := sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(t.TempDir(), "w.db")})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, script: s}
	var work sync.WaitGroup
	defer func() {
		cancel()
		w.workers.Wait()
		work.Wait()
		_ = db.Close()
	}()
	w.runner, err = workflow.NewRunner(workflow.RunnerOptions{
		Table:    table.New(db.Table("workflows"), table.Options{Name: "workflows"}),
		Machines: map[string][]byte{"m": definition}, Invoke: w.invoke, Send: w.send, Poll: -1,
	})
	if err != nil {
		t.Fatalf("%v: %s", err, definition)
	}
	work.Go(func() { _ = w.runner.Run(ctx) })
	synctest.Wait()
	if err := w.runner.Start(ctx, "m", "one", input); err != nil {
		t.Fatal(err)
	}
	for {
		x, err := w.runner.Describe(ctx, "m", "one")
		if err != nil {
			t.Fatal(err)
		}
		if x.Status != workflow.Running {
			return result{
				Status: string(x.Status), Output: canonical(t, x.Output), Error: x.Error, Cause: x.Cause,
				Seconds: x.StoppedAt.Sub(x.StartedAt).Seconds(), Calls: s.made(),
			}
		}
		time.Sleep(time.Second)
	}
}

// world is what our interpreter calls.
type world struct {
	t       *testing.T
	script  *script
	runner  *workflow.Runner
	workers sync.WaitGroup
}

func (w *world) invoke(ctx context.Context, name string, payload json.RawMessage) (json.RawMessage, error) {
	a := w.script.answer(w.t, name, payload)
	switch {
	case a.Hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case a.Error != "":
		return nil, &workflow.TaskError{Name: a.Error, Cause: a.Cause}
	}
	return a.Output, nil
}

func (w *world) send(_ context.Context, name string, m queue.Message) error {
	var body struct{ Token, TaskToken string }
	_ = json.Unmarshal(m.Body, &body)
	token := body.Token + body.TaskToken
	a := w.script.answer(w.t, name, m.Body)
	if token == "" || a.Hangs {
		return nil
	}
	w.workers.Go(func() {
		time.Sleep(time.Second)
		// A token that was closed in the meantime is no error here.
		if a.Error != "" {
			_ = w.runner.Fail(context.Background(), token, a.Error, a.Cause)
			return
		}
		_ = w.runner.Complete(context.Background(), token, a.Output)
	})
	return nil
}
