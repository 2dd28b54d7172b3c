package workflow

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// maxTries bounds how often a write is repeated when somebody else changed the item in between.
const maxTries = 16

// Client is an [Engine] over a table that a [Runner] works on, in this or another process.
type Client struct {
	table *table.Table
	hub   *hub // of the runner in this process, or nil
}

// NewClient gives an engine for a process without a runner. The runner's process notices what it
// does within 100 ms.
func NewClient(t *table.Table) *Client { return &Client{table: t} }

// Start implements [Engine]. A machine that the runner does not know fails the execution.
func (c *Client) Start(ctx context.Context, machine, name string, input json.RawMessage) error {
	if err := CheckNames(machine, name); err != nil {
		return err
	}
	raw, err := StartInput(ctx, input)
	if err != nil {
		return err
	}
	partition := partitionOf(machine, name)
	e := &executionItem{Execution: Execution{
		Machine: machine, Name: name, Status: Running, Input: raw, StartedAt: now(),
	}}
	item, err := e.item(partition, indexRunning)
	if err != nil {
		return err
	}
	writes := []table.Write{{Item: item, If: table.Absent}}
	if c.hub == nil {
		writes = append(writes, event(eventStart, partition))
	}
	err = c.table.Write(ctx, writes...)
	if errors.Is(err, fault.Conflict) {
		err = nil // it was started before, perhaps by a call whose answer was lost
	}
	if err == nil && c.hub != nil {
		c.hub.started(partition)
	}
	return err
}

// Stop implements [Engine].
func (c *Client) Stop(ctx context.Context, machine, name, errName, cause string) error {
	if err := CheckNames(machine, name); err != nil {
		return err
	}
	partition := partitionOf(machine, name)
	for range maxTries {
		e, revision, err := readExecution(ctx, c.table, partition)
		if err != nil || e.Status != Running {
			return err
		}
		e.Status, e.StoppedAt = Aborted, now()
		e.Error, e.Cause = ClipError(errName, cause)
		writes, err := e.ended(partition, revision)
		if err != nil {
			return err
		}
		if c.hub == nil {
			writes = append(writes, event(eventStop, partition))
		}
		err = c.table.Write(ctx, writes...)
		if err == nil && c.hub != nil {
			c.hub.stop(partition)
		}
		if !errors.Is(err, fault.Conflict) {
			return err
		}
	}
	return fault.New(fault.Conflict, "stop execution: it keeps changing")
}

// Describe implements [Engine].
func (c *Client) Describe(ctx context.Context, machine, name string) (Execution, error) {
	if err := CheckNames(machine, name); err != nil {
		return Execution{}, err
	}
	partition := partitionOf(machine, name)
	e, _, err := readExecution(ctx, c.table, partition)
	if err != nil {
		return Execution{}, err
	}
	if e.Apart {
		found, err := c.table.Get(ctx, outputKey(partition))
		if err != nil {
			return Execution{}, err
		}
		e.Output = found.Value
	}
	return e.Execution, nil
}

// Complete implements [Engine].
func (c *Client) Complete(ctx context.Context, token string, output json.RawMessage) error {
	raw, err := TaskOutput(output)
	if err != nil {
		return err
	}
	return c.settle(ctx, token, func(rec *record) { rec.succeed(raw) })
}

// Fail implements [Engine].
func (c *Client) Fail(ctx context.Context, token, errName, cause string) error {
	errName, cause = TaskFailure(errName, cause)
	f := &failure{name: errName, cause: cause}
	return c.settle(ctx, token, func(rec *record) { rec.fail(f) })
}

// Heartbeat implements [Engine].
func (c *Client) Heartbeat(ctx context.Context, token string) error {
	return c.settle(ctx, token, func(rec *record) { rec.Beat = now() })
}

// settle changes the record of an open token.
func (c *Client) settle(ctx context.Context, text string, change func(*record)) error {
	t, ok := parseToken(text)
	if !ok {
		return errUnknownToken
	}
	for try := range maxTries {
		rec, revisions, err := c.open(ctx, t, try > 0)
		if err != nil {
			return err
		}
		if rec.Done {
			var wanted record
			if change(&wanted); sameOutcome(rec, &wanted) {
				return nil
			}
			return errClosedToken
		}
		next := *rec
		change(&next)
		err = c.settled(ctx, t, &next, revisions, try == 0)
		if !errors.Is(err, fault.Conflict) {
			return err
		}
	}
	return fault.New(fault.Conflict, "settle task: it keeps changing")
}

var (
	errUnknownToken = fault.New(fault.NotFound, "task token is unknown")
	errClosedToken  = fault.New(fault.FailedPrecondition, "task token is closed")
)

func sameOutcome(a, b *record) bool {
	return b.Done && a.Failed == b.Failed && a.Error == b.Error && a.Cause == b.Cause && bytes.Equal(a.Output, b.Output)
}

// open reads the record of a token that its execution still waits for. The states around it need to
// be read only after a write was refused, which checks them too.
func (c *Client) open(ctx context.Context, t token, around bool) (*record, map[table.Key]int64, error) {
	execution, step := executionKey(t.partition), stepKey(t.partition, t.path)
	keys := []table.Key{execution, step}
	for _, path := range ancestors(t.path) {
		if around {
			keys = append(keys, stepKey(t.partition, path))
		}
	}
	items, err := c.table.GetAll(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	revisions := map[table.Key]int64{}
	rec := &record{}
	for _, item := range items {
		revisions[item.Key] = item.Revision
		switch item.Key {
		case execution:
			if !item.Expires.IsZero() { // it has ended; the item itself may be long to decode
				return nil, nil, errClosedToken
			}
		case step:
			if err := json.Unmarshal(item.Value, rec); err != nil {
				return nil, nil, fault.Wrap(fault.DataLoss, err, "read task")
			}
		}
	}
	if revisions[execution] == 0 || revisions[step] == 0 || subtle.ConstantTimeCompare(rec.Secret, t.secret) == 0 {
		return nil, nil, errUnknownToken
	}
	if len(revisions) > 2 && !rec.Done {
		return nil, nil, errClosedToken // a Map or Parallel around the task is over
	}
	return rec, revisions, nil
}

// settled writes the record while execution, task and the states around it are as they were read,
// and tells the runner: directly if it is the one in this process, which the first try supposes.
func (c *Client) settled(ctx context.Context, t token, rec *record, revisions map[table.Key]int64, first bool) error {
	value, err := encode(rec)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode task")
	}
	execution, step := executionKey(t.partition), stepKey(t.partition, t.path)
	writes := []table.Write{
		{Item: table.Item{Key: step, Value: value}, If: table.Condition(revisions[step])},
		{Check: true, Item: table.Item{Key: execution}, If: table.Condition(revisions[execution])},
	}
	for _, path := range ancestors(t.path) {
		writes = append(writes, table.Write{Check: true, Item: table.Item{Key: stepKey(t.partition, path)}, If: table.Absent})
	}
	switch {
	case !rec.Done:
		// A heartbeat is looked up when it is due.
	case first && c.hub != nil && c.hub.listens(step):
		// The check tells apart a runner that was superseded and does not know it yet.
		writes = append(writes, c.hub.hold())
	default:
		writes = append(writes, event(eventDone, t.partition+"/"+t.path))
	}
	err = c.table.Write(ctx, writes...)
	if err == nil && rec.Done && c.hub != nil {
		c.hub.signal(step, &signal{record: rec})
	}
	return err
}
