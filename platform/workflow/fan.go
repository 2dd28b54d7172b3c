package workflow

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
)

// inlineConcurrency is how many iterations run at once where MaxConcurrency sets no limit: what AWS
// does in an inline Map.
// https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html
const inlineConcurrency = 40

// child is one branch or iteration.
type child struct {
	flow  *flow
	item  *item
	input any
}

// fan runs the children of a Map or Parallel and records the result, or the failure: which of
// several failures was first could not be told again after a crash.
func (v *visit) fan(ctx context.Context, input any) (any, error) {
	rec, _, err := v.load(ctx, v.step())
	if err != nil {
		return nil, err
	}
	if rec == nil {
		ctx = v.trace(ctx)
		result, err := v.spread(ctx, input)
		if rec, err = outcome(result, err); err != nil {
			return nil, err
		}
		if err := v.remember(ctx, v.step(), rec); err != nil {
			return nil, err
		}
	}
	return rec.result()
}

func (v *visit) spread(ctx context.Context, input any) (any, error) {
	if v.state.kind == kindParallel {
		effective, err := v.effective(input)
		if err != nil {
			return nil, err
		}
		if _, err := limited(effective, "the input of "+v.state.name); err != nil {
			return nil, err
		}
		branches := v.state.fan.branches
		return v.all(ctx, len(branches), len(branches), func(i int) (child, error) {
			return child{flow: branches[i], item: v.thread.item, input: effective}, nil
		})
	}
	found, ok := v.state.fan.items.get(v.scope(input))
	items, isList := found.([]any)
	if !ok || !isList {
		return nil, failed(ErrorRuntime, "ItemsPath %s of %s finds no array", v.state.fan.items.text, v.state.name)
	}
	limit, err := v.state.fan.limit.in(v.scope(input), 0)
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = inlineConcurrency
	}
	return v.all(ctx, len(items), limit, func(i int) (child, error) { return v.iteration(input, i, items[i]) })
}

func (v *visit) iteration(input any, i int, value any) (child, error) {
	c := child{flow: v.state.fan.iterator, item: &item{index: i, value: value}, input: value}
	if v.state.fan.selector == nil {
		return c, nil
	}
	var err error
	if c.input, err = v.state.fan.selector.eval(v.itemScope(input, c.item)); err != nil {
		return c, err
	}
	_, err = limited(c.input, "the input of an iteration of "+v.state.name)
	return c, err
}

// all runs n children in their order, at most limit at a time, and gathers their outputs. The first
// error ends the others.
func (v *visit) all(ctx context.Context, n, limit int, start func(int) (child, error)) (any, error) {
	if err := v.thread.run.count(2 + 2*n); err != nil {
		return nil, err
	}
	g := &gathering{visit: v, outputs: make([]any, n), start: start}
	ctx, g.cancel = context.WithCancelCause(ctx)
	defer g.cancel(nil)
	var workers sync.WaitGroup
	for range min(n, limit) {
		workers.Go(func() {
			for i := int(g.next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(g.next.Add(1)) - 1 {
				if err := protect(func() error { return g.run(ctx, i) }); err != nil {
					g.cancel(err) // keeps the first
				}
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return g.outputs, nil
}

type gathering struct {
	visit   *visit
	start   func(int) (child, error)
	next    atomic.Int64
	bytes   atomic.Int64
	outputs []any
	cancel  context.CancelCauseFunc
}

func (g *gathering) run(ctx context.Context, i int) error {
	v := g.visit
	c, err := g.start(i)
	if err != nil {
		return err
	}
	t := &thread{
		run: v.thread.run, flow: c.flow, item: c.item, live: v.thread.live, visits: map[string]int{},
		prefix: v.step() + "[" + strconv.Itoa(i) + "]/",
	}
	output, err := t.do(ctx, c.input)
	if err != nil {
		return err
	}
	raw, err := limited(output, "the output of "+v.state.name)
	if err != nil {
		return err
	}
	// Outputs are added up while they come in, so that they never fill the memory.
	if g.bytes.Add(int64(len(raw))+1) > MaxDataBytes {
		return failed(ErrorDataLimit, "the outputs of %s have more than %d bytes together", v.state.name, MaxDataBytes)
	}
	g.outputs[i] = output
	return nil
}
