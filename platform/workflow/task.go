package workflow

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// errTaskTimeout is the cause of a task's context when TimeoutSeconds passed.
var errTaskTimeout = errors.New("task timed out")

func (v *visit) task(ctx context.Context, input any) (any, error) {
	if err := v.thread.run.count(3); err != nil {
		return nil, err
	}
	if v.state.task.awaits() {
		return v.await(ctx, input)
	}
	rec, _, err := v.load(ctx, v.step())
	if err != nil {
		return nil, err
	}
	if rec == nil {
		result, err := v.call(v.trace(ctx), input)
		if err != nil && asFailure(err) == nil {
			return nil, err
		}
		if rec, err = outcome(result, err); err != nil {
			return nil, err
		}
		if err := v.remember(ctx, v.step(), rec); err != nil {
			return nil, err
		}
	}
	return rec.result()
}

// call does a task that is done when it returns.
func (v *visit) call(ctx context.Context, input any) (any, error) {
	timeout, err := v.state.task.timeout.secondsIn(v.scope(input), 1)
	if err != nil {
		return nil, err
	}
	parameters, err := v.parameters(input)
	if err != nil {
		return nil, err
	}
	outer := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTaskTimeout)
		defer cancel()
	}
	result, err := v.effect(ctx, parameters)
	switch {
	case err == nil:
		return result, nil
	case asFailure(err) != nil:
		return nil, err
	case outer.Err() != nil:
		return nil, context.Cause(outer) // stopped: not an outcome
	case ctx.Err() != nil:
		return nil, failed(ErrorTimeout, "the task ran longer than %s", timeout)
	}
	return nil, taskFailure(err)
}

// effect calls the function or sends the message. The result has the shape that AWS gives it.
func (v *visit) effect(ctx context.Context, parameters map[string]any) (result any, err error) {
	r := v.thread.run.runner
	if v.state.task.resource != resourceInvoke {
		return map[string]any{}, v.send(ctx, parameters)
	}
	name, ok := parameters["FunctionName"].(string)
	if !ok {
		return nil, failed(ErrorRuntime, "FunctionName of %s is no string", v.state.name)
	}
	payload, given := parameters["Payload"]
	if !given {
		payload = map[string]any{}
	}
	raw, err := encode(payload)
	if err != nil {
		return nil, err
	}
	err = protect(func() (err error) {
		raw, err = r.options.Invoke(ctx, name, raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxDataBytes {
		return nil, failed(ErrorDataLimit, "function %s returned %d bytes, at most %d are allowed", name, len(raw), MaxDataBytes)
	}
	var reply any
	if len(raw) > 0 {
		if reply, err = decode(raw); err != nil {
			return nil, failed(ErrorRuntime, "function %s did not return JSON", name)
		}
	}
	return map[string]any{"StatusCode": json.Number("200"), "Payload": reply}, nil
}

// parameters evaluates Parameters, whose form Parse checked.
func (v *visit) parameters(input any) (map[string]any, error) {
	effective, err := v.effective(input)
	if err != nil {
		return nil, err
	}
	if _, err := limited(effective, "the input of "+v.state.name); err != nil {
		return nil, err
	}
	object, _ := effective.(map[string]any)
	return object, nil
}

func (v *visit) send(ctx context.Context, parameters map[string]any) error {
	var name string
	m := queue.Message{Attributes: map[string]string{}}
	for _, part := range []struct {
		name string
		into *string
	}{{"QueueUrl", &name}, {"MessageGroupId", &m.Group}, {"MessageDeduplicationId", &m.DedupID}} {
		text, ok := parameters[part.name].(string)
		if !ok || text == "" {
			return failed(ErrorRuntime, "%s of %s is no string", part.name, v.state.name)
		}
		*part.into = text
	}
	if text, ok := parameters["MessageBody"].(string); ok {
		m.Body = []byte(text)
	} else {
		body, err := encode(parameters["MessageBody"])
		if err != nil {
			return err
		}
		m.Body = body
	}
	attributes, _ := parameters["MessageAttributes"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		attribute, _ := attributes[name].(map[string]any)
		text, ok := attribute["StringValue"].(string)
		if !ok {
			return failed(ErrorRuntime, "attribute %s of %s is no string", name, v.state.name)
		}
		m.Attributes[name] = text
	}
	if sameTrace(ctx, m.Attributes) {
		for _, field := range traceContext.Fields() {
			delete(m.Attributes, field)
		}
	}
	return protect(func() error { return v.thread.run.runner.options.Send(ctx, name, m) })
}

// traceContext is how a definition writes a trace into a message: Step Functions itself adds nothing to one that our consumers
// read, so a definition says where the trace is in its input.
var traceContext = propagation.TraceContext{}

// sameTrace says whether this process made a span in the trace that the attributes name. It is then closer than the span in
// the input, and the sender writes it.
func sameTrace(ctx context.Context, attributes map[string]string) bool {
	own := trace.SpanContextFromContext(ctx)
	given := trace.SpanContextFromContext(traceContext.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), propagation.MapCarrier(attributes)))
	return own.IsValid() && !own.IsRemote() && given.TraceID() == own.TraceID()
}

// await sends a message with a token and waits until the token is completed. The record of the
// token is written first and marked when the message was sent, so that after a crash the same token
// is waited for, and sent again only if it is not known to have been sent.
func (v *visit) await(ctx context.Context, input any) (any, error) {
	x := v.thread.run
	if err := x.count(1); err != nil {
		return nil, err
	}
	key := stepKey(x.key.Partition, v.step())
	// From here on a completion is noticed. Before the record is read, so that none is missed.
	done := x.runner.hub.listen(key)
	defer x.runner.hub.unlisten(key)
	rec, revision, err := v.load(ctx, v.step())
	if err != nil {
		return nil, err
	}
	if rec == nil {
		if rec, err = v.mint(input); err != nil {
			return nil, err
		}
	}
	if rec.Done {
		return rec.result()
	}
	w := &waiting{visit: v, record: rec, revision: revision, done: done, since: now()}
	ctx = v.trace(ctx)
	if !rec.Sent {
		if err := w.send(ctx, input); err != nil {
			return nil, err
		}
	}
	v.thread.live = true
	return w.wait(ctx)
}

// mint makes the record of a new token.
func (v *visit) mint(input any) (*record, error) {
	at := now()
	rec := &record{Entered: v.entered.UTC().Round(0), Beat: at, Secret: make([]byte, secretBytes)}
	_, _ = rand.Read(rec.Secret) // never fails: crypto/rand ends the process instead
	timeout, err := v.state.task.timeout.secondsIn(v.scope(input), 1)
	if err != nil {
		return nil, err
	}
	if rec.Heartbeat, err = v.state.task.heartbeat.secondsIn(v.scope(input), 1); err != nil {
		return nil, err
	}
	rec.Due = at.Add(timeout)
	return rec, nil
}

// waiting is a task between the sending of its token and its outcome.
type waiting struct {
	visit    *visit
	record   *record
	revision int64
	done     <-chan *signal
	since    time.Time // when this process began to wait
}

func (w *waiting) send(ctx context.Context, input any) error {
	v := w.visit
	v.token = token{partition: v.thread.run.key.Partition, path: v.step(), secret: w.record.Secret}.String()
	v.entered = w.record.Entered
	parameters, err := v.parameters(input)
	if err != nil {
		return err
	}
	if w.revision == 0 {
		if err := v.remember(ctx, v.step(), w.record); err != nil {
			return err
		}
		w.revision = 1
	}
	if err := v.send(ctx, parameters); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f := asFailure(err)
		if f == nil {
			f = taskFailure(err)
		}
		return w.update(ctx, func(rec *record) { rec.fail(f) })
	}
	select {
	case s := <-w.done:
		return w.woken(ctx, s) // that it was sent needs no record any more
	default:
		return w.update(ctx, func(rec *record) { rec.Sent = true })
	}
}

// update changes the record, unless it has an outcome by now.
func (w *waiting) update(ctx context.Context, change func(*record)) error {
	for !w.record.Done {
		next := *w.record
		change(&next)
		err := w.visit.thread.run.save(ctx, w.visit.step(), &next, w.revision)
		if err == nil {
			w.record, w.revision = &next, w.revision+1
			return nil
		}
		if !errors.Is(err, errMoved) {
			return err
		}
		if err := w.reload(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *waiting) reload(ctx context.Context) error {
	rec, revision, err := w.visit.thread.run.load(ctx, w.visit.step())
	if err == nil && rec == nil {
		return errEnded // cleared away with its execution
	}
	if err == nil {
		w.record, w.revision = rec, revision
	}
	return err
}

// woken takes the outcome over that a signal brings or announces.
func (w *waiting) woken(ctx context.Context, s *signal) error {
	if s.record == nil {
		return w.reload(ctx)
	}
	w.record = s.record
	return nil
}

// wait ends when the record has an outcome, if need be that of a timeout.
func (w *waiting) wait(ctx context.Context) (any, error) {
	for !w.record.Done {
		due, f := w.due()
		timer := time.NewTimer(time.Until(due))
		select {
		case s := <-w.done:
			timer.Stop()
			if err := w.woken(ctx, s); err != nil {
				return nil, err
			}
		case <-timer.C:
			// A heartbeat brings no signal: it may have moved the time.
			if err := w.reload(ctx); err != nil {
				return nil, err
			}
			if again, _ := w.due(); !w.record.Done && !again.After(due) {
				if err := w.update(ctx, func(rec *record) { rec.fail(f) }); err != nil {
					return nil, err
				}
			}
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
	return w.record.result()
}

// due is when the task fails if nothing happens, and as what. While no runner was there to see a
// heartbeat none was missed, so that a heartbeat counts from when this process began to wait;
// TimeoutSeconds is absolute.
func (w *waiting) due() (time.Time, *failure) {
	if w.record.Heartbeat > 0 {
		beat := w.record.Beat
		if w.since.After(beat) {
			beat = w.since
		}
		if at := beat.Add(w.record.Heartbeat); at.Before(w.record.Due) {
			f := failed(ErrorTimeout, "no heartbeat within %s", w.record.Heartbeat)
			f.heartbeat = true
			return at, f
		}
	}
	return w.record.Due, failed(ErrorTimeout, "no result before %s", w.record.Due.Format(time.RFC3339))
}
