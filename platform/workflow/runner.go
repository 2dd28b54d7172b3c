package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Defaults of [RunnerOptions].
const (
	DefaultMaxExecutions = 256
	// DefaultMaxEvents is the quota of a Standard execution's history, so that a definition that
	// would end there on AWS does so here:
	// https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
	DefaultMaxEvents = 25000
	// DefaultPoll is the longest pause between two looks for what other processes did.
	DefaultPoll = 100 * time.Millisecond
)

const (
	// shortestPoll is the pause after a look that found something. It doubles up to the longest.
	shortestPoll = 25 * time.Millisecond
	// sweepEvery is how often the index is read for executions that were not noticed otherwise.
	sweepEvery = 30 * time.Second
	// instrumentation is the scope name of the spans.
	instrumentation = "github.com/riskprofiler/riskprofiler/platform/workflow"
)

// RunnerOptions configure a runner. Table, Machines, Invoke and Send are needed.
type RunnerOptions struct {
	// Table holds executions and steps. It belongs to workflows alone.
	Table *table.Table
	// Machines are the definitions by name, as States Language JSON with placeholders.
	Machines map[string][]byte
	// Resources are the values of the placeholders ${Name} in the definitions.
	Resources map[string]string
	// Invoke calls a function for arn:aws:states:::lambda:invoke and returns its JSON. It must
	// return soon after ctx ended, and it must bear being called again with the same payload: a
	// crash between its return and the record of its result repeats it. See [ErrorName] for errors.
	Invoke func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error)
	// Send sends a message for arn:aws:states:::sqs:sendMessage. A repeat after a crash has the
	// same group, dedup id and token.
	Send func(ctx context.Context, queue string, m queue.Message) error
	// MaxExecutions is how many executions are at work at once, others wait for their turn by their
	// start time. 0: DefaultMaxExecutions.
	MaxExecutions int
	// MaxEvents ends an execution that does not end by itself with States.Runtime. It counts what
	// Step Functions would write into its history: 2 for a state, 3 more for a task, 1 more for a
	// token, 2 for an iteration or branch. 0: DefaultMaxEvents.
	MaxEvents int
	// Poll is the longest pause between two looks for what other processes did. 0: DefaultPoll.
	// Negative: never, where no other process shares the table.
	Poll time.Duration
	// TracerProvider makes the spans. nil: none are made, trace context still passes through.
	TracerProvider trace.TracerProvider
	// Logger is told about executions that ended badly and about a store that does not answer; never
	// about inputs or outputs. nil: silent.
	Logger *slog.Logger
}

// Runner executes workflows, and is an [Engine] itself.
type Runner struct {
	*Client
	options  RunnerOptions
	machines map[string]*definition
	tracer   trace.Tracer
	logger   *slog.Logger
	running  sync.WaitGroup
	lost     chan error // why Run has to end
}

var (
	_ Engine = (*Runner)(nil)
	_ Engine = (*Client)(nil)
)

// definition is a machine, its text as it was given, and the digest of that.
type definition struct {
	machine *Machine
	text    []byte
	digest  string
}

// NewRunner checks and compiles all definitions. It touches nothing but the memory.
func NewRunner(o RunnerOptions) (*Runner, error) {
	if o.Table == nil || o.Invoke == nil || o.Send == nil {
		return nil, fault.New(fault.Invalid, "new workflow runner: Table, Invoke and Send are needed")
	}
	if o.MaxExecutions == 0 {
		o.MaxExecutions = DefaultMaxExecutions
	}
	if o.MaxEvents == 0 {
		o.MaxEvents = DefaultMaxEvents
	}
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.TracerProvider == nil {
		o.TracerProvider = noop.NewTracerProvider()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runner{
		Client:  &Client{table: o.Table, hub: newHub()},
		options: o, machines: map[string]*definition{},
		tracer: o.TracerProvider.Tracer(instrumentation), logger: o.Logger, lost: make(chan error, 1),
	}
	for _, name := range sortedKeys(o.Machines) {
		m, err := r.compile(o.Machines[name])
		if err == nil && !validName(name) {
			err = fault.New(fault.Invalid, "its name must be 1 to %d of a-z, A-Z, 0-9, '-', '_' and '.'", maxNameBytes)
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "machine %s", clip(name, maxNameBytes))
		}
		sum := sha256.Sum256(o.Machines[name])
		r.machines[name] = &definition{machine: m, text: o.Machines[name], digest: hex.EncodeToString(sum[:])}
	}
	return r, nil
}

func (r *Runner) compile(text []byte) (*Machine, error) {
	text, err := Substitute(text, r.options.Resources)
	if err != nil {
		return nil, err
	}
	return Parse(text)
}

// Start implements [Engine]. A machine that the runner does not have is [fault.NotFound].
func (r *Runner) Start(ctx context.Context, machine, name string, input json.RawMessage) error {
	if validName(machine) && r.machines[machine] == nil {
		return fault.New(fault.NotFound, "start execution: there is no machine %q", clip(machine, maxNameBytes))
	}
	return r.Client.Start(ctx, machine, name, input)
}

// Run executes workflows until ctx ends: first those that were running when an earlier runner
// ended, then new ones. What is at work when ctx ends is canceled and goes on with the next Run.
// Run is called once. Of several runners on one table the one whose Run began last works; the Run of
// the others ends with [fault.FailedPrecondition].
func (r *Runner) Run(ctx context.Context) error {
	if err := r.takeHold(ctx); err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(ctx)
	defer r.running.Wait()
	defer cancel(context.Canceled)
	if err := r.sweep(work); err != nil {
		return err
	}
	sweeps, polls := time.NewTicker(sweepEvery), newPolls(r.options.Poll)
	defer sweeps.Stop()
	defer polls.stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.lost:
			return err
		case partition := <-r.hub.wake:
			r.launch(work, partition)
		case <-r.hub.freed:
			if r.hub.takeMore() {
				err = r.sweepRunning(work)
			}
		case <-sweeps.C:
			err = r.sweep(work)
		case <-polls.C:
			var found bool
			found, err = r.poll(work)
			polls.next(found)
		}
		if errors.Is(err, errSuperseded) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			r.logger.WarnContext(ctx, "workflow runner could not read its table", "error", err)
		}
	}
}

// takeHold makes this the runner of the table, and stores the definitions for later ones.
func (r *Runner) takeHold(ctx context.Context) error {
	for name, d := range r.machines {
		err := r.table.Write(ctx, table.Write{If: table.Any, Item: table.Item{Key: definitionKey(d.digest), Value: d.text}})
		if err != nil {
			return fault.Wrap(fault.CodeOf(err), err, "store definition %s", name)
		}
	}
	for {
		found, err := r.table.Get(ctx, holdKey)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		// The revision of an absent item is 0, which is also the condition for it.
		err = r.table.Write(ctx, table.Write{Item: table.Item{Key: holdKey}, If: table.Condition(found.Revision)})
		if err == nil {
			r.hub.taken(found.Revision + 1)
			return nil
		}
		if !errors.Is(err, fault.Conflict) {
			return err
		}
	}
}

func (r *Runner) hold() table.Write { return r.hub.hold() }
func (r *Runner) epoch() int64      { return r.hub.epoch() }

func definitionKey(digest string) table.Key {
	return table.Key{Partition: "definitions", Sort: digest}
}

// sweep finds the executions that are to be executed or cleared away, whether or not somebody told,
// and a runner that took over while this one had nothing to write.
func (r *Runner) sweep(ctx context.Context) error {
	found, err := r.table.Get(ctx, holdKey)
	if err != nil {
		return err
	}
	if found.Revision != r.epoch() {
		return errSuperseded
	}
	err = r.each(ctx, table.Query{Index: index, Partition: indexEnded}, func(item table.Item) bool {
		r.launch(ctx, item.Key.Partition)
		return true
	})
	if err != nil {
		return err
	}
	return r.sweepRunning(ctx)
}

func (r *Runner) sweepRunning(ctx context.Context) error {
	return r.each(ctx, table.Query{Index: index, Partition: indexRunning}, func(item table.Item) bool {
		return r.launch(ctx, item.Key.Partition)
	})
}

// each reads keys until fn has enough.
func (r *Runner) each(ctx context.Context, q table.Query, fn func(table.Item) bool) error {
	q.KeysOnly = true
	for {
		page, err := r.table.Query(ctx, q)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if !fn(item) {
				return nil
			}
		}
		if q.PageToken = page.NextPageToken; q.PageToken == "" {
			return nil
		}
	}
}

// launch gives an execution a place, false if there is none left.
func (r *Runner) launch(ctx context.Context, partition string) bool {
	ctx, cancel := context.WithCancelCause(ctx)
	taken, known := r.hub.place(partition, cancel, r.options.MaxExecutions)
	if !taken {
		cancel(nil)
		return known
	}
	r.running.Go(func() {
		defer cancel(nil)
		defer r.hub.leave(partition)
		err := r.execute(ctx, partition)
		switch {
		case errors.Is(err, errSuperseded):
			select {
			case r.lost <- err:
			default:
			}
		case err != nil && ctx.Err() == nil:
			// The next sweep tries again.
			r.logger.ErrorContext(ctx, "workflow execution interrupted", "execution", partition, "error", err)
		}
	})
	return true
}

// poll takes over what clients in other processes did.
func (r *Runner) poll(ctx context.Context) (found bool, err error) {
	page, err := r.table.Query(ctx, table.Query{Partition: eventsPartition, Limit: table.MaxWriteItems - 1, KeysOnly: true})
	if err != nil || len(page.Items) == 0 {
		return false, err
	}
	// First the deletion: only the runner that holds the table may take an event away. If it is
	// interrupted behind it, the next sweep or start finds the same in the index and the records.
	writes := []table.Write{r.hold()}
	for _, item := range page.Items {
		writes = append(writes, table.Write{Delete: true, Item: table.Item{Key: item.Key}, If: table.Any})
	}
	err = r.table.Write(ctx, writes...)
	if errors.Is(err, fault.Conflict) {
		return false, errSuperseded
	}
	for _, item := range page.Items {
		r.hub.handle(item.Key.Sort)
	}
	return true, err
}

// polls is a timer that goes off ever less often while there is nothing.
type polls struct {
	C       <-chan time.Time
	timer   *time.Timer
	pause   time.Duration
	longest time.Duration
}

func newPolls(longest time.Duration) *polls {
	if longest < 0 {
		return &polls{}
	}
	p := &polls{timer: time.NewTimer(0), longest: longest}
	p.C = p.timer.C
	return p
}

func (p *polls) next(found bool) {
	p.pause = min(2*p.pause, p.longest)
	if found || p.pause == 0 {
		p.pause = min(shortestPoll, p.longest)
	}
	p.timer.Reset(p.pause)
}

func (p *polls) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
