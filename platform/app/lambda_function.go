package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// The aliases of a function. IAM says who may use which, so the alias says who sent an event: peers and the API may use live, the
// state machine workflow, and event source mappings and schedules events. So a peer that was taken over cannot hand a function
// messages that were in no queue.
const (
	LiveAlias     = "live"
	WorkflowAlias = "workflow"
	EventsAlias   = "events"
)

// kindsThrough are the events that an alias lets through. Through a version, or none of them, everything comes but what only a state
// machine may send: nobody but an operator may invoke a function so.
var kindsThrough = map[string][]eventKind{
	LiveAlias: {callEvent, httpEvent}, WorkflowAlias: {callEvent}, EventsAlias: {batchEvent, scheduleEvent},
}

// function is a process as Lambda sees it: it answers events.
type function struct {
	host     *Host
	log      *slog.Logger
	stopping atomic.Bool

	mu      sync.Mutex
	running int
	idle    chan struct{} // made by drain, closed when nothing runs any more
}

func newFunction(h *Host) *function {
	return &function{host: h, log: h.telemetry.Logger}
}

// Invoke answers one event. An error becomes a function error whose type is the name under which a state machine retries it.
func (f *function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	f.enter()
	defer f.leave()
	answer, err := f.serve(ctx, payload)
	f.host.telemetry.Flush(ctx) // before the process is frozen; bounded, and never worth failing for
	if err != nil {
		return nil, functionError(err)
	}
	return answer, nil
}

// eventKind is what an event is.
type eventKind int

const (
	noEvent eventKind = iota
	callEvent
	batchEvent
	scheduleEvent
	httpEvent
)

// kindOf tells the kinds of events apart by their top-level fields, whose case counts. What looks like two kinds is noEvent.
func kindOf(payload []byte) (eventKind, map[string]json.RawMessage) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(payload, &fields) != nil {
		return noEvent, nil
	}
	var request struct {
		HTTP json.RawMessage `json:"http"`
	}
	found := noEvent
	for kind, is := range map[eventKind]bool{
		callEvent:     fields["method"] != nil,
		batchEvent:    fields["Records"] != nil,
		scheduleEvent: fields["schedule"] != nil,
		// An authorizer's event has a type, and else the form of a request.
		httpEvent: string(fields["version"]) == `"2.0"` && fields["type"] == nil &&
			json.Unmarshal(fields["requestContext"], &request) == nil && request.HTTP != nil,
	} {
		switch {
		case is && found != noEvent:
			return noEvent, nil
		case is:
			found = kind
		}
	}
	return found, fields
}

// serve answers an event of whatever kind.
func (f *function) serve(ctx context.Context, payload []byte) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.log.ErrorContext(ctx, "invocation panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer, err = nil, fault.New(fault.Internal, "the function panicked")
		}
	}()
	b := newBudget(ctx)
	ctx, cancel := context.WithDeadline(ctx, b.workUntil)
	defer cancel()
	kind, fields := kindOf(payload)
	through := qualifier(ctx)
	if kinds, ok := kindsThrough[through]; ok && !slices.Contains(kinds, kind) {
		kind = noEvent
	}
	switch kind {
	case callEvent:
		return f.call(ctx, payload, through == WorkflowAlias)
	case batchEvent:
		return f.batch(ctx, fields["Records"], b)
	case scheduleEvent:
		return []byte("{}"), f.schedule(ctx, fields["schedule"], scheduledAt(fields))
	case httpEvent:
		return f.serveHTTP(ctx, payload)
	default:
		return nil, fault.New(fault.Invalid, "the event is none of: a call, an SQS batch, a schedule, an HTTP API 2.0 request; or none that may come through the alias %q", through)
	}
}

// schedule does what a schedule asks for. The event may say when it was due: {"schedule":"tick","time":"2026-01-02T03:04:05Z"}.
func (f *function) schedule(ctx context.Context, raw json.RawMessage, due time.Time) error {
	var name string
	if json.Unmarshal(raw, &name) != nil {
		return fault.New(fault.Invalid, "the event's schedule is no text")
	}
	for _, s := range f.host.specs {
		if work := f.host.services[s.Name].Schedules[name]; work != nil {
			return f.tick(ctx, s.Name, name, due, work)
		}
	}
	return fault.New(fault.Invalid, "no service here has the schedule %q", name)
}

func (f *function) tick(ctx context.Context, service, name string, due time.Time, work func(context.Context) error) (err error) {
	ctx, end := f.begin(ctx, telemetry.Invocation{Trigger: telemetry.TriggerTimer, Name: "schedule " + name, XRay: traceHeader(ctx)})
	defer func() { end(err) }()
	f.host.late(ctx, name, due)
	if err = work(ctx); err != nil {
		f.log.WarnContext(ctx, "schedule failed", "service", service, "schedule", name, "error", err)
	}
	return err
}

// begin starts the span of the invocation; what it returns ends it.
func (f *function) begin(ctx context.Context, in telemetry.Invocation) (context.Context, func(error)) {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		in.ID, in.Resource = lc.AwsRequestID, lc.InvokedFunctionArn
	}
	return f.host.telemetry.Invoke(ctx, in)
}

// traceHeader is the invocation's trace header. The runtime client puts it into the context under this key, and into the
// environment (_X_AMZN_TRACE_ID) only where one invocation runs at a time.
func traceHeader(ctx context.Context) string {
	header, _ := ctx.Value("x-amzn-trace-id").(string)
	return header
}

// qualifier is the alias or version through which the function was invoked: the eighth part of
// arn:aws:lambda:region:account:function:name:qualifier.
func qualifier(ctx context.Context) string {
	const place = 7
	lc, ok := lambdacontext.FromContext(ctx)
	if !ok {
		return ""
	}
	if parts := strings.Split(lc.InvokedFunctionArn, ":"); len(parts) == place+1 {
		return parts[place]
	}
	return ""
}

// functionError is err as Lambda reports it, in the words that may be shown.
func functionError(err error) error {
	var made messages.InvokeResponse_Error
	if errors.As(err, &made) {
		return made
	}
	return messages.InvokeResponse_Error{Type: workflow.ErrorName(err), Message: fault.From(err).Public()}
}

// budget is how the time of one invocation is spent.
type budget struct {
	takeUntil time.Time // then nothing more is begun
	workUntil time.Time // then what runs has to end
	answerBy  time.Time // then queues have been told
}

// newBudget divides the time to ctx's deadline: nothing is begun after 80 % of it, and a twentieth of it, but 0.3 to 2 s, is
// kept for answering. Without a deadline there are 15 minutes, Lambda's longest
// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
func newBudget(ctx context.Context) budget {
	const longest, least, most = 15 * time.Minute, 300 * time.Millisecond, 2 * time.Second
	now := time.Now()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = now.Add(longest)
	}
	left := max(deadline.Sub(now), 0)
	margin := min(max(left/20, least), most, left/2)
	return budget{
		takeUntil: now.Add(left * 8 / 10),
		workUntil: deadline.Add(-margin),
		answerBy:  deadline.Add(-min(telemetry.FlushTimeout+least/6, margin*3/4)),
	}
}

func (f *function) enter() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running++
}

func (f *function) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running--; f.running == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// drain ends the taking of work and waits d for what runs.
func (f *function) drain(d time.Duration) {
	f.stopping.Store(true)
	f.mu.Lock()
	if f.running == 0 {
		f.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	f.idle = idle
	f.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(d):
	}
}
