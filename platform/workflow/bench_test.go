package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

const (
	benchTargets = 50
	benchTasks   = 10 // for each target
)

// benchMachine runs benchTasks tasks at once for each of benchTargets targets.
func benchMachine(task string) string {
	return fmt.Sprintf(`{"StartAt": "Targets", "States": {"Targets": {"Type": "Map", "ItemsPath": "$.targets", "MaxConcurrency": 40, "End": true,
		"ResultPath": null, "ItemSelector": {"target.$": "$$.Map.Item.Value", "jobs.$": "$.jobs"},
		"ItemProcessor": {"StartAt": "Jobs", "States": {"Jobs": {"Type": "Map", "ItemsPath": "$.jobs", "End": true, "ResultPath": null,
			"ItemSelector": {"job.$": "States.Format('{}-{}', $.target, $$.Map.Item.Index)"},
			"ItemProcessor": {"StartAt": "Job", "States": {"Job": %s}}}}}}}}`, task)
}

const (
	benchCall = `{"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
		"Parameters": {"FunctionName": "f", "Payload.$": "$"}}`
	benchToken = `{"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "End": true, "TimeoutSeconds": 60,
		"Parameters": {"QueueUrl": "q", "MessageGroupId": "g", "MessageDeduplicationId.$": "$.job",
			"MessageBody": {"token.$": "$$.Task.Token", "job.$": "$.job"}}}`
)

// BenchmarkRun is one execution with 500 tasks on the embedded store. The floor is the same number
// of records, written to the same table by as many writers as there are tasks at a time, by a bare
// loop: one write for a call; for a token two (minted and sent) and one by the worker.
func BenchmarkRun(b *testing.B) {
	for name, task := range map[string]string{"calls": benchCall, "tokens": benchToken} {
		b.Run(name, func(b *testing.B) { benchRun(b, benchMachine(task)) })
	}
	b.Run("floor/calls", func(b *testing.B) { benchFloor(b, 1) })
	b.Run("floor/tokens", func(b *testing.B) { benchFloor(b, 3) })
}

func benchTable(b *testing.B) *table.Table {
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: filepath.Join(b.TempDir(), "workflows.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return table.New(db.Table("workflows"), table.Options{Name: "workflows"})
}

func benchRun(b *testing.B, definition string) {
	var r *Runner
	var workers sync.WaitGroup
	ended := make(chan string, 1)
	r, err := NewRunner(RunnerOptions{
		Table: benchTable(b), Machines: map[string][]byte{"m": []byte(definition)},
		Invoke: func(_ context.Context, _ string, payload json.RawMessage) (json.RawMessage, error) {
			return payload, nil
		},
		Send: func(_ context.Context, _ string, m queue.Message) error {
			var body struct{ Token string }
			if err := json.Unmarshal(m.Body, &body); err != nil {
				return err
			}
			workers.Go(func() {
				if err := r.Complete(context.Background(), body.Token, json.RawMessage(`{"done": true}`)); err != nil {
					ended <- err.Error()
				}
			})
			return nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	defer running.Wait()
	defer cancel()
	input, _ := encode(map[string]any{"targets": numbers(benchTargets), "jobs": numbers(benchTasks)})
	n := 0
	for b.Loop() {
		name := fmt.Sprintf("run-%d", n)
		n++
		if err := r.Start(ctx, "m", name, input); err != nil {
			b.Fatal(err)
		}
		for {
			e, err := r.Describe(ctx, "m", name)
			if err != nil {
				b.Fatal(err)
			}
			if e.Status == Succeeded {
				break
			}
			if e.Status != Running {
				b.Fatal(e.Error, e.Cause)
			}
			time.Sleep(time.Millisecond)
		}
	}
	workers.Wait()
	b.ReportMetric(float64(n*benchTargets*benchTasks)/b.Elapsed().Seconds(), "tasks/s")
}

func numbers(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func benchFloor(b *testing.B, writes int) {
	t := benchTable(b)
	n := 0
	for b.Loop() {
		n++
		var wait sync.WaitGroup
		for w := range 400 {
			wait.Go(func() {
				for i := w; i < benchTargets*benchTasks; i += 400 {
					key := table.Key{Partition: fmt.Sprint("run-", n), Sort: fmt.Sprint("step/", i)}
					for range writes {
						item := table.Item{Key: key, Value: []byte(`{"Done":true,"Output":{"Payload":{"job":"12-3"},"StatusCode":200}}`)}
						if err := t.Write(context.Background(), table.Write{Item: item, If: table.Any}); err != nil {
							b.Error(err)
						}
					}
				}
			})
		}
		wait.Wait()
	}
	b.ReportMetric(float64(n*benchTargets*benchTasks)/b.Elapsed().Seconds(), "tasks/s")
}
