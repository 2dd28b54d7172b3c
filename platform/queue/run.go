package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Run hands messages to h, as many groups at once as Options.Concurrency says, until ctx ends.
// Then it drains: it takes nothing more, gives back what was not begun, and waits for the running
// handlers, whose contexts end DrainTimeout later. A handler that ignores its context holds Run up.
// Run returns nil after draining, and [ErrClosed] if the driver was closed under it. Errors of the
// driver are logged and tried again.
func (q *Queue) Run(ctx context.Context, h Handler) error {
	if h == nil {
		return fault.New(fault.Invalid, "run queue %s: there is no handler", q.name)
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	c := &consumer{
		queue:    q,
		handler:  h,
		mayBegin: func() bool { return ctx.Err() == nil },
		work:     work,
		slots:    make(chan struct{}, q.concurrency),
		settler:  newSettler(work, q),
	}
	err := c.receive(ctx)
	if ctx.Err() != nil {
		defer time.AfterFunc(DrainTimeout, func() { cancel(errDraining) }).Stop()
	} else {
		cancel(err) // the driver is gone: nothing that runs could be answered
	}
	c.lanes.Wait()
	c.settler.close()
	return err
}

// consumer is one Run, or one Handle.
type consumer struct {
	queue    *Queue
	handler  Handler
	mayBegin func() bool     // whether another message may be begun
	work     context.Context // ends when what runs has to end too
	slots    chan struct{}   // one token per lane that runs
	lanes    sync.WaitGroup
	settler  *settler
	batch    *batch // of Handle; nil in Run
}

// receive takes messages for as many lanes as are free. It returns nil when the consumer stops.
func (c *consumer) receive(ctx context.Context) error {
	failures := 0
	for {
		free := c.reserve(ctx)
		if free == 0 {
			return nil
		}
		deliveries, err := c.queue.driver.Receive(ctx, free, c.queue.visibility)
		received := time.Now()
		lanes := byGroup(deliveries)
		for range free - len(lanes) {
			<-c.slots
		}
		for _, lane := range lanes {
			c.lanes.Add(1)
			go c.run(lane, received) //nolint:contextcheck // what was begun goes on when receiving has ended
		}
		switch {
		case err == nil || ctx.Err() != nil:
			failures = 0
		case errors.Is(err, ErrClosed):
			return err
		default:
			failures++
			c.queue.log.ErrorContext(ctx, "receive failed", "queue", c.queue.name, "error", err)
			c.pause(ctx, failures)
		}
	}
}

// reserve waits until at least one lane is free and takes all free ones, also those that are about
// to be: see settler.collect. It returns 0 when the consumer stops.
func (c *consumer) reserve(ctx context.Context) (free int) {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	free = 1
	for turns := 0; turns <= 2; {
		select {
		case c.slots <- struct{}{}:
			free++
		default:
			turns++
			runtime.Gosched()
		}
	}
	return free
}

// pause waits after a failed receive: 0.1 s doubling to 5 s, half of it random.
func (c *consumer) pause(ctx context.Context, failures int) {
	d := min(100*time.Millisecond<<min(failures-1, 6), 5*time.Second)
	timer := time.NewTimer(d/2 + rand.N(d/2)) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// byGroup splits deliveries into lanes, which keep their order and run beside each other.
func byGroup(deliveries []Delivery) [][]Delivery {
	var lanes [][]Delivery
	position := make(map[string]int, len(deliveries))
	for _, d := range deliveries {
		at, ok := position[d.Message.Group]
		if !ok {
			at = len(lanes)
			position[d.Message.Group] = at
			lanes = append(lanes, nil)
		}
		lanes[at] = append(lanes[at], d)
	}
	return lanes
}

// run handles the deliveries of one group in order, each after the one before it is settled. At
// the first that is not done with, the others go back: they come after it again.
func (c *consumer) run(lane []Delivery, received time.Time) {
	defer c.lanes.Done()
	defer func() { <-c.slots }()
	ctx, cancel := context.WithCancelCause(c.work)
	defer cancel(nil)
	held := hold(c, lane, received, cancel)
	defer held.release()
	for i := range lane {
		if !c.mayBegin() {
			c.giveBack(held, lane[i:])
			return
		}
		began := time.Now()
		spanned, span := c.queue.telemetry.startProcess(ctx, lane[i], c.batch.spanned())
		v := c.process(spanned, &lane[i], i == 0)
		v.settlement.Receipt = lane[i].Receipt
		answered := c.settler.settle(c.batch.bound(held.answer(lane[i].Receipt)), v.settlement)
		if answered {
			c.batch.settled(v.settlement)
		}
		c.queue.telemetry.processed(spanned, v.settlement.Action, time.Since(began))
		if !answered {
			c.queue.log.WarnContext(spanned, "message was not answered in time, it comes again", "queue", c.queue.name,
				"message", lane[i].Message.ID, "group", lane[i].Message.Group, "answer", v.settlement.Action.String())
		}
		endSpan(span, v.cause)
		if answered && v.settlement.Action == Ack && v.blob != "" {
			c.queue.forget(spanned, lane[i].Message, v.blob)
		}
		if !answered || v.settlement.Action == Retry || v.settlement.Action == Return {
			c.giveBack(held, lane[i+1:])
			return
		}
	}
}

// giveBack returns deliveries that were not begun.
func (c *consumer) giveBack(held *lease, rest []Delivery) {
	if len(rest) == 0 {
		return
	}
	settlements := make([]Settlement, len(rest))
	for i, d := range rest {
		settlements[i] = Settlement{Receipt: d.Receipt, Action: Return}
	}
	c.settler.settle(c.batch.bound(held.expiry()), settlements...)
}

// verdict is what became of one delivery.
type verdict struct {
	settlement Settlement
	cause      error  // why it failed; nil if it did not
	blob       string // the blob of its body, if it has one
}

// process runs the handler and decides. first says that nothing of its lane was handled before it.
func (c *consumer) process(ctx context.Context, d *Delivery, first bool) verdict {
	m := &d.Message
	key, err := c.queue.restore(ctx, m)
	switch {
	case d.Damaged != nil:
		err = Permanent(d.Damaged)
	case d.Lost >= MaxLost:
		err = Permanent(fmt.Errorf("%d deliveries ended without an answer: the handler may be ending the process or never return", d.Lost))
	case m.Attempt > MaxAttempts:
		// All attempts are used up, only OnParked has not agreed yet.
		err = Permanent(errors.New(d.LastError))
	case err != nil:
		err = unreadable(err, c.queue.backoff(MaxAttempts-1)) // its longest pause between attempts
	default:
		err = c.call(ctx, *m)
	}
	v := c.decide(ctx, *d, first, err)
	v.blob = key
	return v
}

// unreadable decides for a body that could not be fetched: what is gone stays gone, and a bucket
// that is down is not the message's fault.
func unreadable(err error, pause time.Duration) error {
	switch fault.CodeOf(err) {
	case fault.NotFound, fault.DataLoss, fault.Invalid:
		return Permanent(err)
	default:
		return Later(pause, err)
	}
}

// call runs the handler and turns a panic into an error. The stack goes to the log only.
func (c *consumer) call(ctx context.Context, m Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.queue.log.ErrorContext(ctx, "handler panicked", "queue", c.queue.name, "message", m.ID,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "handler panicked: %v", p)
		}
	}()
	return c.handler(ctx, m)
}

// decide turns the handler's result into the answer.
func (c *consumer) decide(ctx context.Context, d Delivery, first bool, err error) verdict {
	q, m := c.queue, d.Message
	if err == nil {
		return verdict{settlement: Settlement{Action: Ack}}
	}
	var later *laterError
	if errors.As(err, &later) {
		q.log.InfoContext(ctx, "message handed back", "queue", q.name, "message", m.ID, "group", m.Group, "after", later.after, "error", err)
		return verdict{settlement: Settlement{Action: Return, After: later.after}}
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, errDraining) || errors.Is(cause, errOutOfTime) && !first {
		// It did not fail, it was stopped. What had a function's time to itself and did not end in it failed.
		return verdict{settlement: Settlement{Action: Return}, cause: err}
	}
	s := Settlement{Action: Retry, After: clampDelay(q.backoff(m.Attempt)), Error: clip(err.Error()), TraceID: traceID(ctx)}
	if m.Attempt > MaxAttempts && d.LastTraceID != "" {
		s.TraceID = d.LastTraceID
	}
	var permanent *permanentError
	if m.Attempt < MaxAttempts && !errors.As(err, &permanent) {
		q.log.WarnContext(ctx, "message failed", "queue", q.name, "message", m.ID, "group", m.Group,
			"attempt", m.Attempt, "again_in", s.After, "error", err)
		return verdict{settlement: s, cause: err}
	}
	if parkErr := c.announce(ctx, m, err); parkErr != nil {
		q.log.ErrorContext(ctx, "message could not be given up yet", "queue", q.name, "message", m.ID, "group", m.Group,
			"again_in", s.After, "error", parkErr, "cause", err)
		return verdict{settlement: s, cause: err}
	}
	s.Action, s.After = Park, 0
	q.log.ErrorContext(ctx, "message parked", "queue", q.name, "message", m.ID, "group", m.Group, "attempt", m.Attempt, "error", err)
	return verdict{settlement: s, cause: err}
}

// announce calls OnParked.
func (c *consumer) announce(ctx context.Context, m Message, cause error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Internal, "OnParked panicked: %v", p)
		}
	}()
	return c.queue.onParked(ctx, m, cause)
}
