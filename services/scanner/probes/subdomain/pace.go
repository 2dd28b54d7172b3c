package subdomain

import (
	"context"
	"sync"
	"time"
)

// Figures of the pace. The questions of all scans of a process go to one resolver, the operator's, whose other users must not
// notice them: datagrams that find its buffer full are lost, theirs too.
const (
	// inFlight is how many questions are under way at a time, of all scans together.
	inFlight = 64
	// shortestGap is between two questions where all are answered: 800 a second, half of what Google Public DNS takes from one
	// address (https://developers.google.com/speed/public-dns/docs/isp).
	shortestGap = time.Second / 800
	// longestGap is between two where many are lost.
	longestGap = 10 * time.Millisecond
)

// pace holds back questions. The zero value is not ready: see newPace.
type pace struct {
	slots chan struct{}

	mu   sync.Mutex
	next time.Time
	gap  time.Duration
}

func newPace() *pace { return &pace{slots: make(chan struct{}, inFlight), gap: shortestGap} }

// enter waits for a slot and a turn; the caller gives the slot back with leave.
func (p *pace) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	at := p.next
	p.next = at.Add(p.gap)
	p.mu.Unlock()
	if wait := time.Until(at); wait > time.Millisecond { // a timer is not finer
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			<-p.slots
			return ctx.Err()
		}
	}
	return nil
}

// leave gives the slot back. A question that was lost slows all down by a quarter, and sixty that were answered make good for it.
func (p *pace) leave(answered bool) {
	<-p.slots
	p.mu.Lock()
	defer p.mu.Unlock()
	if answered {
		p.gap = max(p.gap-p.gap/256, shortestGap)
	} else {
		p.gap = min(p.gap+p.gap/4, longestGap)
	}
}
