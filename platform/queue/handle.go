package queue

import (
	"context"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Batch is deliveries that a platform received and hands to a function, which has to answer soon.
type Batch struct {
	// Deliveries came from the queue's driver, each group in its order.
	Deliveries []Delivery
	// MayBegin says whether another message may be begun. What is not begun goes back and has lost
	// nothing. nil: always.
	MayBegin func() bool
	// WorkUntil is when the handlers' contexts end. Zero: with ctx.
	WorkUntil time.Time
	// AnswerBy is when giving answers to the driver ends. Zero: when the receipts do.
	AnswerBy time.Time
}

// Handle hands one batch to h, as [Queue.Run] does with what it receives: all groups beside each
// other (the size of the batch bounds them), each in order up to the first message that is not done
// with; attempts, Later, Permanent, parking, spilled bodies, spans and the extending of receipts
// are the same. Every answer is given to the driver, an acknowledgement too, so what was done is
// done whatever becomes of the function.
//
// It returns the positions of the deliveries that are still in the queue: failed, handed back, not
// begun, or answered in vain. A handler that was ended by WorkUntil has failed if its message was
// the first of its group in the batch, for it will not get more time than that; any other comes
// again uncounted, and first. A handler that ignores its context holds Handle up.
func (q *Queue) Handle(ctx context.Context, b Batch, h Handler) (remaining []int, err error) {
	if h == nil {
		return nil, fault.New(fault.Invalid, "handle batch of queue %s: there is no handler", q.name)
	}
	ctx, span := q.telemetry.startBatch(ctx, len(b.Deliveries))
	defer span.End()
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !b.WorkUntil.IsZero() {
		defer time.AfterFunc(time.Until(b.WorkUntil), func() { cancel(errOutOfTime) }).Stop()
	}
	lanes := byGroup(b.Deliveries)
	c := &consumer{
		queue: q, handler: h, mayBegin: b.MayBegin, work: work,
		slots: make(chan struct{}, len(lanes)), settler: newSettler(work, q),
		batch: &batch{
			answerBy: b.AnswerBy, done: make(map[string]bool, len(b.Deliveries)),
			below: len(b.Deliveries) <= maxBatchLinks && span.SpanContext().IsValid(),
		},
	}
	if c.mayBegin == nil {
		c.mayBegin = func() bool { return work.Err() == nil }
	}
	received := time.Now()
	for _, lane := range lanes {
		c.slots <- struct{}{}
		c.lanes.Add(1)
		go c.run(lane, received) //nolint:contextcheck // its context is work
	}
	c.lanes.Wait()
	c.settler.close()
	for i, d := range b.Deliveries {
		if !c.batch.done[d.Receipt] {
			remaining = append(remaining, i)
		}
	}
	return remaining, nil
}

// batch is what one Handle knows beside what a Run knows. A nil batch is that of a Run.
type batch struct {
	answerBy time.Time
	below    bool // the messages' spans are below the batch's

	mu   sync.Mutex
	done map[string]bool // receipts of messages that left the queue
}

// spanned reports whether the spans of messages are below that of their batch.
func (b *batch) spanned() bool { return b != nil && b.below }

// bound is until, or when answers have to be given if that is earlier.
func (b *batch) bound(until time.Time) time.Time {
	if b != nil && !b.answerBy.IsZero() && b.answerBy.Before(until) {
		return b.answerBy
	}
	return until
}

// settled notes an answer that took effect.
func (b *batch) settled(s Settlement) {
	if b == nil || s.Action != Ack && s.Action != Park {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done[s.Receipt] = true
}
