package subdomain

import (
	"context"
	"sync"
	"time"
)

// Figures of the pace. The questions of all scans of a process go to one resolver, the operator's, whose other users must not
// notice them: datagrams that find its buffer full are lost, theirs too. Those of one scan reach the name servers of one domain.
const (
	// inFlight is how many questions are under way at a time, of all scans together, and inFlightOfOne of one: a domain whose
	// servers keep silent holds no more than half of them.
	inFlight      = 64
	inFlightOfOne = inFlight / 2
	// defaultRate is questions a second where all are answered, half of what Google Public DNS takes from one address
	// (https://developers.google.com/speed/public-dns/docs/isp). It is also that of one domain, whatever the resolver takes.
	defaultRate = 800
	// longestGap is between two where many are lost.
	longestGap = 10 * time.Millisecond
	// troubledGap, as a multiple of the shortest, is that of a scan whose own domain is at fault: losses of it say nothing about
	// the resolver.
	troubledGap = 4
)

// turns is what a question of one scan waits for: the pace of its scan, then that of all.
type turns struct{ own, all *pace }

// enter waits for both; the caller gives them back with leave.
func (t turns) enter(ctx context.Context) error {
	if err := t.own.enter(ctx); err != nil {
		return err
	}
	if err := t.all.enter(ctx); err != nil {
		t.own.release()
		return err
	}
	return nil
}

func (t turns) leave(answered bool) {
	if troubled := t.own.leave(answered); troubled && !answered {
		t.all.release()
		return
	}
	t.all.leave(answered)
}

// pace holds back questions. The zero value is not ready: see newPace.
type pace struct {
	slots chan struct{}

	mu            sync.Mutex
	next          time.Time
	gap, shortest time.Duration
}

func newPace(slots int) *pace {
	p := &pace{slots: make(chan struct{}, slots)}
	p.allow(defaultRate)
	return p
}

// allow sets how many questions a second there may be where all are answered.
func (p *pace) allow(rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if shortest := time.Duration(float64(time.Second) / rate); shortest != p.shortest {
		p.shortest, p.gap = shortest, shortest
	}
}

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

// leave gives the slot back and says whether most of the last questions were lost. One that was lost slows all down by a quarter,
// and sixty that were answered make good for it.
func (p *pace) leave(answered bool) (troubled bool) {
	p.release()
	p.mu.Lock()
	defer p.mu.Unlock()
	troubled = p.gap > troubledGap*p.shortest
	if answered {
		p.gap = max(p.gap-p.gap/256, p.shortest)
	} else {
		p.gap = min(p.gap+p.gap/4, max(longestGap, p.shortest))
	}
	return troubled
}

// release gives the slot back, and nothing is learned.
func (p *pace) release() { <-p.slots }
