package workflow_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/platform/workflow/workflowtest"
)

// TestRunnerConformance is the engine in the process that executes the machines.
func TestRunnerConformance(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, o *workflowtest.Outside) workflow.Engine {
		runner, _ := open(t, o)
		return runner
	})
}

// TestClientConformance is the engine of another process that shares the table.
func TestClientConformance(t *testing.T) {
	workflowtest.Run(t, func(t *testing.T, o *workflowtest.Outside) workflow.Engine {
		_, path := open(t, o)
		return workflow.NewClient(openTable(t, path))
	})
}

func open(t *testing.T, o *workflowtest.Outside) (*workflow.Runner, string) {
	path := filepath.Join(t.TempDir(), "workflows.db")
	definitions := map[string][]byte{}
	for name, text := range o.Machines {
		definitions[name] = []byte(text)
	}
	runner, err := workflow.NewRunner(workflow.RunnerOptions{
		Table: openTable(t, path), Machines: definitions, Invoke: o.Invoke, Send: o.Send,
		Resources: map[string]string{"Queue": "jobs", "Function": "worker"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait() // it has taken hold of the table
	return runner, path
}

func openTable(t *testing.T, path string) *table.Table {
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return table.New(db.Table("workflows"), table.Options{Name: "workflows"})
}
