package workflow

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// TestTwoProcessesShareAFile runs the sample on the embedded store, with everything but the runner
// behind a second handle on the same file.
func TestTwoProcessesShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "workflows.db")
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		open := func() *table.Table {
			db, err := sqlitetable.Open(ctx, sqlitetable.Options{Path: path})
			must(t, err)
			t.Cleanup(func() { _ = db.Close() })
			return table.New(db.Table("workflows"), table.Options{Name: "workflows"})
		}
		here, there := open(), NewClient(open())
		answer := newWorld(t)
		sampleAnswers(answer)
		r, err := NewRunner(RunnerOptions{
			Table: here, Machines: map[string][]byte{"sample": []byte(sample(t))},
			Resources: map[string]string{"Queue": "jobs", "Function": "worker"},
			Invoke:    answer.invoke,
			Send: func(ctx context.Context, name string, m queue.Message) error {
				var job map[string]any
				must(t, json.Unmarshal(m.Body, &job))
				token, ok := job["token"].(string)
				if !ok {
					return nil
				}
				delete(job, "token")
				out, err := answer.answer(name, job)
				if err != nil {
					return there.Fail(ctx, token, ErrorName(err), err.Error())
				}
				raw, err := encode(out)
				must(t, err)
				return there.Complete(ctx, token, raw)
			},
		})
		must(t, err)
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		must(t, there.Start(ctx, "sample", "one", json.RawMessage(sampleInput)))
		for status := Running; status == Running; time.Sleep(100 * time.Millisecond) {
			e, err := there.Describe(ctx, "sample", "one")
			must(t, err)
			if status = e.Status; status != Running && (status != Succeeded || e.StoppedAt.Sub(e.StartedAt) > time.Minute) {
				t.Errorf("ended as %+v", e)
			}
		}
		cancel()
		must(t, <-ended)
	})
}
