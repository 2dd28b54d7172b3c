package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// record is what is remembered of a step, so that it is not done again after a crash. A task that
// awaits a token has one from before the message is sent; all others when they are done.
type record struct {
	// Entered is when the state was entered, of a state whose paths read that.
	Entered time.Time `json:",omitzero"`
	// Due is when a Wait ends or a task times out.
	Due time.Time `json:",omitzero"`
	// Secret makes the token unguessable.
	Secret []byte `json:",omitempty"`
	// Sent: the message with the token was sent.
	Sent bool `json:",omitempty"`
	// Beat is the last sign of life, and a further one is due within Heartbeat.
	Beat      time.Time     `json:",omitzero"`
	Heartbeat time.Duration `json:",omitempty"`

	// Done: the step has its outcome since At.
	Done   bool            `json:",omitempty"`
	At     time.Time       `json:",omitzero"`
	Output json.RawMessage `json:",omitempty"`
	// Failed: the outcome is Error and Cause. Missed: it is for want of a heartbeat.
	Failed bool   `json:",omitempty"`
	Error  string `json:",omitempty"`
	Cause  string `json:",omitempty"`
	Missed bool   `json:",omitempty"`
}

// succeed and fail set the outcome.
func (r *record) succeed(output json.RawMessage) {
	r.Done, r.At, r.Output = true, now(), output
}

func (r *record) fail(f *failure) {
	r.Done, r.At, r.Failed = true, now(), true
	r.Error, r.Cause, r.Missed = f.name, f.cause, f.heartbeat
}

// result is the outcome as the state sees it.
func (r *record) result() (any, error) {
	if r.Failed {
		return nil, &failure{name: r.Error, cause: r.Cause, heartbeat: r.Missed, at: r.At}
	}
	return decode(r.Output)
}

// outcome makes a record of what a step came to. An error that is no failure is handed back.
func outcome(result any, err error) (*record, error) {
	rec := &record{}
	var raw json.RawMessage
	if err == nil {
		raw, err = limited(result, "the result")
	}
	if f := asFailure(err); f != nil {
		rec.fail(f)
		return rec, nil
	}
	rec.succeed(raw)
	return rec, err
}

// now is the time as it comes back from the table.
func now() time.Time { return time.Now().UTC().Round(0) }

func number(n int) json.Number { return json.Number(strconv.Itoa(n)) }

// Reasons for which an execution stops without an outcome of its own.
var (
	// errEnded: the execution was stopped.
	errEnded = errors.New("execution has ended")
	// errSuperseded: another Runner took over the table.
	errSuperseded = fault.New(fault.FailedPrecondition, "run workflows: another runner took over the table")
	// errMoved: somebody else wrote the record, which has to be read again.
	errMoved = errors.New("record was changed")
)

const stepPrefix = "step/"

func stepKey(partition, path string) table.Key {
	return table.Key{Partition: partition, Sort: stepPrefix + path}
}

// load reads the record of a step, nil if there is none.
func (x *run) load(ctx context.Context, path string) (*record, int64, error) {
	var found table.Item
	err := x.persist(ctx, func(ctx context.Context) (err error) {
		found, err = x.runner.table.Get(ctx, stepKey(x.key.Partition, path))
		return err
	})
	if errors.Is(err, fault.NotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	rec := &record{}
	if err := json.Unmarshal(found.Value, rec); err != nil {
		return nil, 0, fault.Wrap(fault.DataLoss, err, "read step %s", path)
	}
	return rec, found.Revision, nil
}

// save writes the record of a step if it has the revision (0: if there is none) and if the
// execution's item is as this runner left it when it took the execution over: one that was superseded,
// or that did not hear of a Stop, changes nothing. It goes on when ctx has ended, since what was done should be remembered.
func (x *run) save(ctx context.Context, path string, rec *record, revision int64) error {
	value, err := encode(rec)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode step %s", path)
	}
	key := stepKey(x.key.Partition, path)
	writes := []table.Write{
		{Item: table.Item{Key: key, Value: value}, If: table.Condition(revision)},
		{Check: true, Item: table.Item{Key: x.key}, If: table.Condition(x.revision)},
	}
	err = x.persist(ctx, func(ctx context.Context) error { return x.runner.table.Write(ctx, writes...) })
	if errors.Is(err, fault.Conflict) {
		return x.explain(ctx, key, value)
	}
	return err
}

// explain says why a write was refused. A write whose answer was lost is refused when it is
// repeated: then the record is already as it should be.
func (x *run) explain(ctx context.Context, key table.Key, value []byte) error {
	var items []table.Item
	keys := []table.Key{holdKey, x.key}
	if key != x.key {
		keys = append(keys, key)
	}
	err := x.persist(ctx, func(ctx context.Context) (err error) {
		items, err = x.runner.table.GetAll(ctx, keys)
		return err
	})
	if err != nil {
		return err
	}
	held, running := false, false
	for _, item := range items {
		if item.Key == key && string(item.Value) == string(value) {
			return nil
		}
		held = held || item.Key == holdKey && item.Revision == x.runner.epoch()
		running = running || item.Key == x.key && item.Revision == x.revision
	}
	switch {
	case !held:
		return errSuperseded
	case !running:
		return errEnded
	}
	return errMoved
}

// Pauses between tries while the store is unavailable or full, doubling.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 5 * time.Second
	// writeTimeout bounds one try, which goes on for so long when the runner stops.
	writeTimeout = 10 * time.Second
)

// persist calls the store until it answers. Effects that were done wait here to be recorded: to give
// up would be to do them again.
func (x *run) persist(ctx context.Context, call func(context.Context) error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		// The store's own spans are left out: there would be one for every step.
		try, cancel := context.WithTimeout(trace.ContextWithSpan(context.WithoutCancel(ctx), nil), writeTimeout)
		err := call(try)
		cancel()
		switch fault.CodeOf(err) {
		case fault.Unavailable, fault.ResourceExhausted, fault.DeadlineExceeded, fault.Cancelled:
			x.runner.logger.WarnContext(ctx, "workflow store does not answer", "error", err, "retry", pause)
		default:
			return err
		}
		if err := sleepUntil(ctx, time.Now().Add(pause)); err != nil {
			return err
		}
	}
}
