package workflow

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// thread runs one flow: the machine's, a branch's or an iteration's. It is used by one goroutine.
//
// After a crash all of an execution is run again from its start, and a step that left a record in
// the table is not done again. So everything that is not recorded must follow from the definition,
// the input and the records alone.
type thread struct {
	run    *run
	flow   *flow
	prefix string // of the paths of its steps
	item   *item  // of the innermost Map around it
	visits map[string]int
	// live: nothing that comes now was recorded by an earlier run, so nothing needs to be looked up.
	live bool
}

// item is what $$.Map.Item shows.
type item struct {
	index int
	value any
}

// visit is one execution of a state, with all its attempts.
type visit struct {
	thread  *thread
	state   *state
	path    string // without the attempt
	attempt int
	entered time.Time
	token   string
	span    trace.Span // nil until there is something to do that no earlier run did
}

// run executes the flow and gives its output.
func (t *thread) do(ctx context.Context, input any) (any, error) {
	for name := t.flow.start; ; {
		output, next, err := t.step(ctx, t.flow.states[name], input)
		if err != nil || next == "" {
			return output, err
		}
		input, name = output, next
	}
}

// step executes one state: its attempts, then its catchers.
func (t *thread) step(ctx context.Context, s *state, raw any) (output any, next string, err error) {
	v := &visit{
		thread: t, state: s, entered: time.Now(),
		path: t.prefix + url.PathEscape(s.name) + ":" + strconv.Itoa(t.visits[s.name]),
	}
	t.visits[s.name]++
	defer func() { v.end(err) }()
	for tries := newAttempts(s.retriers); ; v.attempt++ {
		if ctx.Err() != nil {
			return nil, "", context.Cause(ctx)
		}
		output, next, err = v.try(ctx, raw)
		f := asFailure(err)
		if f == nil {
			return output, next, err
		}
		if pause, again := tries.next(f, t.run.key.Partition+"/"+v.path); again {
			from := f.at
			if from.IsZero() {
				from = time.Now()
			}
			if err := sleepUntil(ctx, from.Add(pause)); err != nil {
				return nil, "", err
			}
			continue
		}
		next, output, caught, problem := catch(s.catchers, f, raw)
		switch {
		case problem != nil:
			return nil, "", problem
		case caught:
			_, err := limited(output, "the output of "+s.name)
			return output, next, err
		}
		return nil, "", f
	}
}

// try makes one attempt: input filters, the state's own work, output filters.
func (v *visit) try(ctx context.Context, raw any) (output any, next string, err error) {
	s := v.state
	if err := v.thread.run.count(2); err != nil {
		return nil, "", err
	}
	if v.thread.live {
		ctx = v.trace(ctx)
	}
	if s.usesClock && v.attempt == 0 {
		if err := v.fixClock(ctx); err != nil {
			return nil, "", err
		}
	}
	if s.kind == kindFail {
		return nil, "", v.failState(raw)
	}
	input, err := v.selected(s.input, "InputPath", raw)
	if err != nil {
		return nil, "", err
	}
	next = s.next
	result := input
	switch s.kind {
	case kindTask:
		result, err = v.task(ctx, input)
	case kindMap, kindParallel:
		result, err = v.fan(ctx, input)
	case kindChoice:
		next, err = v.choose(input)
	case kindWait:
		err = v.wait(ctx, input)
	case kindPass:
		result, err = v.pass(input)
	}
	if err != nil {
		return nil, "", err
	}
	if s.selector != nil {
		if result, err = s.selector.eval(v.scope(result)); err != nil {
			return nil, "", err
		}
	}
	if output, err = v.combined(raw, input, result); err != nil {
		return nil, "", err
	}
	_, err = limited(output, "the output of "+s.name)
	return output, next, err
}

// combined applies ResultPath, which is relative to the raw input, and OutputPath.
func (v *visit) combined(raw, input, result any) (any, error) {
	output := input
	var err error
	switch {
	case v.state.kind == kindChoice || v.state.kind == kindWait || v.state.kind == kindSucceed:
		// These have no result.
	case v.state.result == nil:
		output = raw
	default:
		if output, err = v.state.result.put(raw, result); err != nil {
			return nil, err
		}
	}
	return v.selected(v.state.output, "OutputPath", output)
}

func (v *visit) selected(s selection, what string, data any) (any, error) {
	if s.path == nil {
		return map[string]any{}, nil
	}
	out, ok := s.path.get(v.scope(data))
	if !ok {
		return nil, failed(ErrorRuntime, "%s %s finds nothing", what, s.path.text)
	}
	return out, nil
}

// effective applies Parameters.
func (v *visit) effective(input any) (any, error) {
	if v.state.template == nil {
		return input, nil
	}
	return v.state.template.eval(v.scope(input))
}

func (v *visit) pass(input any) (any, error) {
	if v.state.constant != nil {
		return v.state.constant.value, nil
	}
	return v.effective(input)
}

func (v *visit) choose(input any) (string, error) {
	c := v.state.choice
	s := v.scope(input)
	for i, r := range c.rules {
		if ok, err := r(s); err != nil || ok {
			return c.next[i], err
		}
	}
	if c.fallback == "" {
		return "", failed(ErrorNoChoice, "no rule of %s matches and it has no Default", v.state.name)
	}
	return c.fallback, nil
}

func (v *visit) failState(raw any) error {
	f := &failure{}
	for _, part := range []struct {
		from  node
		into  *string
		limit int
	}{{v.state.fail.err, &f.name, maxErrorBytes}, {v.state.fail.cause, &f.cause, maxCauseBytes}} {
		if part.from == nil {
			continue
		}
		value, err := part.from.eval(v.scope(raw))
		text, ok := value.(string)
		if err != nil || !ok {
			return failed(ErrorRuntime, "ErrorPath or CausePath of %s finds no string", v.state.name)
		}
		*part.into = clip(text, part.limit)
	}
	return f
}

// wait sleeps until a time that stays the same after a crash: a relative one is recorded.
func (v *visit) wait(ctx context.Context, input any) error {
	w := v.state.wait
	switch {
	case w.until != nil:
		return v.sleepUntil(ctx, *w.until)
	case w.path != nil:
		value, ok := w.path.get(v.scope(input))
		until, valid := parseTimestamp(value)
		if !ok || !valid {
			return failed(ErrorRuntime, "TimestampPath %s finds no RFC 3339 timestamp", w.path.text)
		}
		return v.sleepUntil(ctx, until)
	}
	rec, _, err := v.load(ctx, v.step())
	if err != nil {
		return err
	}
	if rec == nil {
		d, err := w.seconds.secondsIn(v.scope(input), 0)
		if err != nil || d == 0 {
			return err
		}
		rec = &record{Due: now().Add(d)}
		if err := v.remember(ctx, v.step(), rec); err != nil {
			return err
		}
	}
	return v.sleepUntil(ctx, rec.Due)
}

func (v *visit) sleepUntil(ctx context.Context, until time.Time) error {
	if time.Until(until) > 0 {
		ctx = v.trace(ctx)
	}
	return sleepUntil(ctx, until)
}

// fixClock records when the state was entered, as its paths read it.
func (v *visit) fixClock(ctx context.Context) error {
	path := v.path + "@"
	rec, _, err := v.load(ctx, path)
	if err == nil && rec == nil {
		rec = &record{Entered: now()}
		err = v.remember(ctx, path, rec)
	}
	if err == nil {
		v.entered = rec.Entered
	}
	return err
}

// step is the path of this attempt.
func (v *visit) step() string { return v.path + "." + strconv.Itoa(v.attempt) }

// load reads the record of a step, nil if there is none.
func (v *visit) load(ctx context.Context, path string) (*record, int64, error) {
	if v.thread.live {
		return nil, 0, nil
	}
	return v.thread.run.load(ctx, path)
}

// remember writes the first record of a step. Everything that this thread does later is new too.
func (v *visit) remember(ctx context.Context, path string, rec *record) error {
	err := v.thread.run.save(ctx, path, rec, 0)
	v.thread.live = v.thread.live || err == nil
	return err
}

// trace gives the context of the state's span. It is called when the state does something that no
// earlier run did, so that a replay leaves no second span.
func (v *visit) trace(ctx context.Context) context.Context {
	if v.span == nil {
		_, v.span = v.thread.run.runner.tracer.Start(ctx, "state "+v.state.name)
	}
	return trace.ContextWithSpan(ctx, v.span)
}

func (v *visit) end(err error) {
	if v.span == nil {
		return
	}
	if f := asFailure(err); f != nil {
		v.span.SetStatus(codes.Error, f.name)
	}
	v.span.End()
}

// contextTime is how the Context Object writes times.
const contextTime = "2006-01-02T15:04:05.000Z"

// scope is data with the Context Object of this visit.
// https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
func (v *visit) scope(data any) *scope { return v.itemScope(data, v.thread.item) }

func (v *visit) itemScope(data any, it *item) *scope {
	return &scope{data: data, context: func() any {
		x := v.thread.run
		object := map[string]any{
			"Execution": map[string]any{
				"Id": x.execution.Machine + ":" + x.execution.Name, "Name": x.execution.Name,
				"Input": x.input, "StartTime": x.execution.StartedAt.Format(contextTime),
			},
			"StateMachine": map[string]any{"Name": x.execution.Machine},
			"State": map[string]any{
				"Name": v.state.name, "RetryCount": number(v.attempt),
				"EnteredTime": v.entered.UTC().Format(contextTime),
			},
		}
		if v.token != "" {
			object["Task"] = map[string]any{"Token": v.token}
		}
		if it != nil {
			object["Map"] = map[string]any{"Item": map[string]any{"Index": number(it.index), "Value": it.value}}
		}
		return object
	}}
}

// sleepUntil gives the context's cause if that ends first.
func sleepUntil(ctx context.Context, until time.Time) error {
	d := time.Until(until)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// protect turns a panic into an error, so that a mistake in one execution does not end the process
// and come back with every start.
func protect(fn func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return fn()
}
