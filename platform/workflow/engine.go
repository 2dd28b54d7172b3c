package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Status says how far an execution is. The values are those of Step Functions.
type Status string

// The statuses. All but Running are final.
const (
	Running   Status = "RUNNING"
	Succeeded Status = "SUCCEEDED"
	Failed    Status = "FAILED"
	TimedOut  Status = "TIMED_OUT"
	Aborted   Status = "ABORTED"
)

// Execution is one run of a machine, as far as it is.
type Execution struct {
	Machine, Name string
	Status        Status
	// Input is what the execution was started with, the trace included. Output is set once it
	// succeeded, Error and Cause once it did not.
	Input  json.RawMessage
	Output json.RawMessage `json:",omitempty"`
	Error  string          `json:",omitempty"`
	Cause  string          `json:",omitempty"`
	// StartedAt is when it was accepted. StoppedAt is zero while it runs.
	StartedAt time.Time
	StoppedAt time.Time `json:",omitzero"`
}

// Engine is what services see of workflows: [Client] and [Runner] here, Step Functions on AWS.
type Engine interface {
	// Start begins an execution. A second start of the same name is the same run, whatever its
	// input, running or finished, for 90 days after its end. input is a JSON text of at most
	// MaxDataBytes, nil stands for {}; if it is an object without a field "trace", that is set to
	// the W3C trace context of ctx. An unusable name or input is fault.Invalid. When Start has
	// returned nil the execution is not lost any more.
	Start(ctx context.Context, machine, name string, input json.RawMessage) error
	// Stop ends an execution as Aborted: what it does is canceled, its tokens are closed. The end
	// of an execution that has one stays as it is. An unknown one is fault.NotFound.
	Stop(ctx context.Context, machine, name, errName, cause string) error
	// Describe reads an execution; fault.NotFound if it is unknown or was forgotten after 90 days.
	Describe(ctx context.Context, machine, name string) (Execution, error)
	// Complete ends the task that waits for the token with its output. It is fault.NotFound if the
	// token is unknown, and fault.FailedPrecondition if it is closed: the task timed out, was given
	// up, or has an outcome. To repeat a call changes nothing: it is nil while the execution runs, or
	// fault.FailedPrecondition from Step Functions, which does not tell a repeat from another outcome.
	Complete(ctx context.Context, token string, output json.RawMessage) error
	// Fail ends the task that waits for the token with an error, which can be retried and caught by
	// its name; an empty name is States.TaskFailed. Otherwise it is as Complete.
	Fail(ctx context.Context, token, errName, cause string) error
	// Heartbeat says that the task is still worked on. Errors are as those of Complete.
	Heartbeat(ctx context.Context, token string) error
}

const (
	// retention is how long a finished execution can be described and its name is taken: as in
	// https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
	retention = 90 * 24 * time.Hour
	// maxNameBytes is AWS's limit for the names of machines and executions.
	maxNameBytes = 80
)

// executionItem is an Execution in the table.
type executionItem struct {
	Execution
	// Definition is the digest of the definition that the execution began with, "" before that.
	Definition string `json:",omitempty"`
	// Apart: the output has an item of its own, since it would not fit beside the input.
	Apart bool `json:",omitempty"`
	// indexed: it is at work or not cleared away yet.
	indexed bool
}

// Everything of one execution is one partition, named by the execution first: callers begin their
// names with the tenant, so that the key does too.
func partitionOf(machine, name string) string { return name + "/" + machine }

func executionKey(partition string) table.Key {
	return table.Key{Partition: partition, Sort: "execution"}
}

func outputKey(partition string) table.Key { return table.Key{Partition: partition, Sort: "output"} }

// index is sparse: it has the executions that run, and those that ended and are not cleared away.
const index = "workflow"

const (
	indexRunning = "running"
	indexEnded   = "ended"
)

// indexTime sorts as text.
const indexTime = "2006-01-02T15:04:05.000000000Z"

func validName(s string) bool {
	return s != "" && len(s) <= maxNameBytes && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}) < 0
}

func validPartition(s string) bool {
	name, machine, ok := strings.Cut(s, "/")
	return ok && validName(name) && validName(machine)
}

// item is the execution as it is stored: in the index until it is cleared away.
func (e *executionItem) item(partition, state string) (table.Item, error) {
	value, err := encode(e)
	if err != nil {
		return table.Item{}, fault.Wrap(fault.Internal, err, "encode execution")
	}
	out := table.Item{Key: executionKey(partition), Value: value}
	if state != "" {
		out.Indexes = map[string]table.Key{index: {
			Partition: state, Sort: e.StartedAt.Format(indexTime) + "/" + partition,
		}}
	}
	if e.Status != Running {
		out.Expires = e.StoppedAt.Add(retention)
	}
	return out, nil
}

// readExecution reads an execution and its revision.
func readExecution(ctx context.Context, t *table.Table, partition string) (*executionItem, int64, error) {
	found, err := t.Get(ctx, executionKey(partition))
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "execution not found")
	}
	if err != nil {
		return nil, 0, err
	}
	e := &executionItem{indexed: len(found.Indexes) > 0}
	if err := json.Unmarshal(found.Value, e); err != nil {
		return nil, 0, fault.Wrap(fault.DataLoss, err, "read execution")
	}
	return e, found.Revision, nil
}

// ended gives the writes that end an execution.
func (e *executionItem) ended(partition string, revision int64) ([]table.Write, error) {
	var writes []table.Write
	if len(e.Input)+len(e.Output)+len(e.Cause) > table.MaxItemBytes-16<<10 {
		e.Apart = true
		writes = append(writes, table.Write{If: table.Any, Item: table.Item{
			Key: outputKey(partition), Value: e.Output, Expires: e.StoppedAt.Add(retention),
		}})
		e.Output = nil
	}
	item, err := e.item(partition, indexEnded)
	return append(writes, table.Write{Item: item, If: table.Condition(revision)}), err
}
