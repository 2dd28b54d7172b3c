package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// errTimedOut is the cause of an execution's context when the machine's TimeoutSeconds passed.
var errTimedOut = errors.New("execution timed out")

// run is one execution at work in this process.
type run struct {
	runner    *Runner
	key       table.Key
	execution *executionItem
	revision  int64 // of the execution's item, which only its end changes
	machine   *Machine
	input     any
	fresh     bool // it never ran before, so there are no records
	events    atomic.Int64
}

// execute works on an execution until it has ended and is cleared away, or ctx ends.
func (r *Runner) execute(ctx context.Context, partition string) error {
	x := &run{runner: r, key: executionKey(partition)}
	err := x.open(ctx)
	if errors.Is(err, fault.NotFound) {
		return nil // forgotten, or never was
	}
	if err == nil && x.execution.Status == Running {
		err = x.work(ctx)
	}
	if err == nil || errors.Is(err, errEnded) {
		// The end is recorded, so that it is cleared away even if nobody waits for it any more.
		return x.clear(context.WithoutCancel(ctx))
	}
	return err
}

// open reads the execution and takes it over: writing it makes the writes of an earlier runner fail.
// The first time it is bound to the definition of now.
func (x *run) open(ctx context.Context) error {
	err := x.persist(ctx, func(ctx context.Context) (err error) {
		x.execution, x.revision, err = readExecution(ctx, x.runner.table, x.key.Partition)
		return err
	})
	if err != nil || x.execution.Status != Running {
		return err
	}
	if x.execution.Definition == "" {
		x.fresh = true
		if d := x.runner.machines[x.execution.Machine]; d != nil {
			x.execution.Definition = d.digest
		}
	}
	item, err := x.execution.item(x.key.Partition, indexRunning)
	if err != nil {
		return err
	}
	writes := []table.Write{{Item: item, If: table.Condition(x.revision)}, x.runner.hold()}
	err = x.persist(ctx, func(ctx context.Context) error { return x.runner.table.Write(ctx, writes...) })
	x.revision++
	if errors.Is(err, fault.Conflict) {
		// It was stopped meanwhile, or the answer to a write was lost that did happen.
		if err = x.explain(ctx, x.key, item.Value); !errors.Is(err, errSuperseded) {
			x.fresh = false
			return x.open(ctx)
		}
	}
	return err
}

// work runs the machine and records how it ended.
func (x *run) work(ctx context.Context) error {
	output, err := x.interpret(ctx)
	e := x.execution
	f := asFailure(err)
	switch {
	case err == nil:
		e.Status, e.Output = Succeeded, output
	case f != nil:
		e.Status, e.Error, e.Cause = Failed, f.name, f.cause
	case errors.Is(err, errTimedOut):
		e.Status, e.Error, e.Cause = TimedOut, ErrorTimeout, "the execution ran longer than its TimeoutSeconds"
	case errors.Is(err, errEnded), errors.Is(err, errSuperseded), ctx.Err() != nil:
		return err
	default:
		// Not the workflow's doing and not passing: to try it for ever would help nobody.
		x.runner.logger.ErrorContext(ctx, "workflow execution broken", "execution", x.key.Partition, "error", err)
		e.Status, e.Error, e.Cause = Failed, ErrorRuntime, fault.From(err).Public()
	}
	e.StoppedAt = now()
	return x.finish(ctx)
}

func (x *run) finish(ctx context.Context) error {
	writes, err := x.execution.ended(x.key.Partition, x.revision)
	if err != nil {
		return err
	}
	value := writes[len(writes)-1].Item.Value
	writes = append(writes, x.runner.hold())
	err = x.persist(ctx, func(ctx context.Context) error { return x.runner.table.Write(ctx, writes...) })
	if errors.Is(err, fault.Conflict) {
		err = x.explain(ctx, x.key, value)
	}
	if errors.Is(err, errMoved) {
		return errEnded // stopped at the last moment
	}
	return err
}

// interpret runs the machine in a span of its own, below the trace that the input carries.
func (x *run) interpret(ctx context.Context) (output json.RawMessage, err error) {
	input, err := decode(x.execution.Input)
	if err != nil {
		return nil, fault.Wrap(fault.DataLoss, err, "read input")
	}
	x.input = input
	if x.machine, err = x.definition(ctx); err != nil {
		return nil, err
	}
	if x.machine.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, x.execution.StartedAt.Add(x.machine.timeout), errTimedOut)
		defer cancel()
	}
	ctx, span := x.runner.tracer.Start(traced(ctx, input), "workflow "+x.execution.Machine,
		trace.WithAttributes(attribute.String("workflow.execution", x.execution.Name)))
	defer span.End()
	err = protect(func() error {
		if err := x.count(2); err != nil {
			return err
		}
		t := &thread{run: x, flow: x.machine.flow, visits: map[string]int{}, live: x.fresh}
		result, err := t.do(ctx, input)
		if err == nil {
			output, err = limited(result, "the output")
		}
		return err
	})
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return output, err
}

// traced gives ctx the trace context in the field "trace" of the input.
func traced(ctx context.Context, input any) context.Context {
	object, _ := input.(map[string]any)
	fields, _ := object["trace"].(map[string]any)
	carrier := propagation.MapCarrier{}
	for name, v := range fields {
		if text, ok := v.(string); ok {
			carrier[name] = text
		}
	}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// definition is the one that the execution began with: records of a step mean nothing under another.
func (x *run) definition(ctx context.Context) (*Machine, error) {
	d := x.runner.machines[x.execution.Machine]
	switch {
	case d != nil && d.digest == x.execution.Definition:
		return d.machine, nil
	case x.execution.Definition == "":
		return nil, failed(ErrorRuntime, "there is no machine %s", x.execution.Machine)
	}
	var found table.Item
	err := x.persist(ctx, func(ctx context.Context) (err error) {
		found, err = x.runner.table.Get(ctx, definitionKey(x.execution.Definition))
		return err
	})
	if err != nil {
		return nil, err
	}
	m, err := x.runner.compile(found.Value)
	if err != nil {
		return nil, failed(ErrorRuntime, "the definition that the execution began with cannot be used any more: %v", err)
	}
	return m, nil
}

// count adds to the history.
func (x *run) count(events int) error {
	if n := x.events.Add(int64(events)); n > int64(x.runner.options.MaxEvents) {
		return failed(ErrorRuntime, "the execution has more than %d events", x.runner.options.MaxEvents)
	}
	return nil
}

// clear deletes the records of the steps and takes the execution out of the index.
func (x *run) clear(ctx context.Context) error {
	t := x.runner.table
	ctx, cancel := context.WithTimeout(ctx, 3*writeTimeout)
	defer cancel()
	e, revision, err := readExecution(ctx, t, x.key.Partition)
	if err != nil || !e.indexed {
		return err
	}
	for {
		page, err := t.Query(ctx, table.Query{
			Partition: x.key.Partition, Prefix: stepPrefix, KeysOnly: true, Limit: table.MaxWriteItems - 1,
		})
		if err != nil {
			return err
		}
		var writes []table.Write
		for _, item := range page.Items {
			writes = append(writes, table.Write{Delete: true, Item: table.Item{Key: item.Key}, If: table.Any})
		}
		last := page.NextPageToken == ""
		if last {
			item, err := e.item(x.key.Partition, "")
			if err != nil {
				return err
			}
			writes = append(writes, table.Write{Item: item, If: table.Condition(revision)})
		}
		if err := t.Write(ctx, writes...); err != nil || last {
			return err
		}
	}
}
