package drivers

import (
	"context"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// workflowTable is the table, and the index in it, where executions are that run in a process of ours.
const workflowTable = "workflow"

// tableWorkflow runs the machines in this process over a table; a process without machines starts and completes executions
// through the same table. One process at a time may have machines.
func tableWorkflow(t *table.Table, r app.WorkflowRequest, poll time.Duration) (workflow.Engine, func(context.Context) error, error) {
	if len(r.Machines) == 0 {
		return workflow.NewClient(t), nil, nil
	}
	runner, err := workflow.NewRunner(workflow.RunnerOptions{
		Table: t, Machines: r.Machines, Resources: r.Resources, Invoke: r.Invoke, Send: r.Send, Poll: poll,
		TracerProvider: r.Telemetry.TracerProvider, Logger: r.Telemetry.Logger,
	})
	if err != nil {
		return nil, nil, err
	}
	return runner, runner.Run, nil
}
