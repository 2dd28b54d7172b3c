package probes

import (
	"context"
	"sync"
	"time"
)

// Patience is how much longer than its budget a scan may take in all where it waits for permits: many hosts of one network share a
// rate, and a scan that gave up for its own politeness would be in vain.
const Patience = 10 * time.Minute

// Waits measures for how long at least one of several waited. The zero value is ready.
type Waits struct {
	mu      sync.Mutex
	waiting int
	since   time.Time
	total   time.Duration
}

// Begin begins a wait; the function that it returns ends it.
func (w *Waits) Begin() (end func()) {
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

// Total is how long so far.
func (w *Waits) Total() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting > 0 {
		return w.total + time.Since(w.since)
	}
	return w.total
}

// leastWait is the shortest wait that prolongs a scan: taking a permit that is there costs microseconds and is no wait.
const leastWait = time.Millisecond

// WithPatience returns a context that ends, with the cause [context.DeadlineExceeded], after d and as much longer as w has waited by
// then, at most Patience. A scan that hangs for another reason ends in time.
func WithPatience(ctx context.Context, d time.Duration, w *Waits) (context.Context, context.CancelFunc) {
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
			more := min(w.Total(), Patience) - given
			if more < leastWait {
				cancel(context.DeadlineExceeded)
				return
			}
			given += more
			timer.Reset(more)
		}
	}()
	return ctx, func() { cancel(nil) }
}
