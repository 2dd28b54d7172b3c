package port

import (
	"context"
	"sync"
	"time"
)

// withBudget returns a context that ends when the scan has worked for that long. What it waits for permits does not count: many
// scans share the rate of a network, and one that gave up for its own politeness would be in vain. The scanner bounds the whole.
func (s *scan) withBudget(ctx context.Context, budget time.Duration) (context.Context, context.CancelFunc) {
	permit := s.env.Permit
	if permit == nil {
		return context.WithTimeout(ctx, budget)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	waits := &waits{}
	s.env.Permit = func(ctx context.Context, host string, cost int) error {
		waits.enter()
		defer waits.leave()
		return permit(ctx, host, cost)
	}
	var mu sync.Mutex
	var timer *time.Timer
	extended := time.Duration(0)
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(budget, func() {
		mu.Lock()
		defer mu.Unlock()
		if waited := waits.total(); waited-extended > time.Millisecond {
			timer.Reset(waited - extended)
			extended = waited
			return
		}
		cancel(context.DeadlineExceeded)
	})
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

// waits measures how long somebody waited, in all; several at a time count once.
type waits struct {
	mu    sync.Mutex
	n     int
	since time.Time
	sum   time.Duration
}

func (w *waits) enter() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n++; w.n == 1 {
		w.since = time.Now()
	}
}

func (w *waits) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 {
		w.sum += time.Since(w.since)
	}
}

func (w *waits) total() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n > 0 {
		return w.sum + time.Since(w.since)
	}
	return w.sum
}
