package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// lease keeps the messages of one lane hidden from others while they are worked on.
type lease struct {
	consumer *consumer
	cancel   context.CancelCauseFunc
	limit    time.Time // the service lets no delivery last longer

	mu       sync.Mutex
	receipts map[string]bool
	until    time.Time
	timer    *time.Timer
	released bool
}

// hold starts to extend the lane's receipts at half of their time. When they cannot be kept, it
// ends the handler's context: somebody else may have the message.
func hold(c *consumer, lane []Delivery, received time.Time, cancel context.CancelCauseFunc) *lease {
	l := &lease{
		consumer: c,
		cancel:   cancel,
		limit:    received.Add(MaxVisibility),
		receipts: make(map[string]bool, len(lane)),
		until:    received.Add(c.queue.visibility),
	}
	for _, d := range lane {
		l.receipts[d.Receipt] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(time.Until(l.until)/2, l.extend)
	return l
}

// answer ends the extending of one receipt, whose settlement is on its way, and says when it ends.
func (l *lease) answer(receipt string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.receipts, receipt)
	return l.until
}

// expiry ends the extending of all receipts and says when they end.
func (l *lease) expiry() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.receipts)
	return l.until
}

// release ends the extending.
func (l *lease) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
	l.timer.Stop()
}

// extend asks for another visibility from now on. It runs on its timer's goroutine.
func (l *lease) extend() {
	l.mu.Lock()
	receipts, until := slices.Sorted(maps.Keys(l.receipts)), l.until
	l.mu.Unlock()
	if len(receipts) == 0 {
		return // all are answered
	}
	q := l.consumer.queue
	now := time.Now()
	next := now.Add(q.visibility)
	if next.After(l.limit) {
		next = l.limit
	}
	if !now.Before(until) || !next.After(until) {
		l.lost()
		return
	}
	settlements := make([]Settlement, len(receipts))
	for i, receipt := range receipts {
		settlements[i] = Settlement{Receipt: receipt, Action: Extend, After: next.Sub(now)}
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(l.consumer.work), until)
	defer cancel()
	expired, err := q.driver.Settle(ctx, settlements)
	switch {
	case errors.Is(err, ErrClosed):
		l.lost()
	case err != nil:
		q.log.ErrorContext(ctx, "extending failed", "queue", q.name, "messages", len(receipts), "error", err)
		l.again(until)
	case l.anyHeld(receipts, expired):
		l.lost()
	default:
		l.again(next)
	}
}

// anyHeld says whether a receipt that expired is one that is still worked on: one that was
// answered while the call ran has expired rightly.
func (l *lease) anyHeld(receipts []string, expired []int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range expired {
		if l.receipts[receipts[at]] {
			return true
		}
	}
	return false
}

// again sets the timer to the middle of what is left, and in the end to its end.
func (l *lease) again(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
	if l.released {
		return
	}
	left := max(time.Until(until), 0)
	if left > 2*time.Millisecond {
		left /= 2
	}
	l.timer.Reset(left)
}

// lost ends the handler.
func (l *lease) lost() {
	l.consumer.queue.log.Error("message could not be held", "queue", l.consumer.queue.name)
	l.cancel(errExpired)
}
