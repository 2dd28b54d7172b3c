package scanner

import (
	"context"
	"sync"
	"time"
)

// patience is how much longer than its budget a scan may take in all where it waits for permits: many hosts of one network share a
// rate, and a scan that gave up for its own politeness would be in vain.
const patience = 10 * time.Minute

// stopwatch measures for how long at least one of several waits.
type stopwatch struct {
	mu      sync.Mutex
	waiting int
	since   time.Time
	total   time.Duration
}

// wait begins a wait; the function that it returns ends it.
func (w *stopwatch) wait() (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting++; w.waiting == 1 {
		w.since = time.Now()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting--; w.waiting == 0 {
			w.total += time.Since(w.since)
		}
	}
}

// waited is how long so far.
func (w *stopwatch) waited() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting > 0 {
		return w.total + time.Since(w.since)
	}
	return w.total
}

// bounded ends after d and as much longer as w has waited by then, at most patience. A scan that hangs for another reason ends in
// time.
func bounded(ctx context.Context, d time.Duration, w *stopwatch) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		for given := time.Duration(0); ; {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			more := min(w.waited(), patience) - given
			if more <= 0 {
				cancel(context.DeadlineExceeded)
				return
			}
			given += more
			timer.Reset(more)
		}
	}()
	return ctx, func() { cancel(nil) }
}
