package subdomain

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// All scans together keep the pace, have a bounded number under way, and slow down when questions are lost.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(inFlight)
		var under, most, done atomic.Int64
		ask := func(n int, took time.Duration, answered bool) time.Duration {
			started := time.Now()
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					if p.enter(context.Background()) != nil {
						return
					}
					most.Store(max(most.Load(), under.Add(1)))
					time.Sleep(took)
					under.Add(-1)
					p.leave(answered)
					done.Add(1)
				})
			}
			all.Wait()
			return time.Since(started)
		}
		if took := ask(1600, time.Millisecond, true); took < 1990*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("1,600 questions took %v, want 2 s", took)
		}
		ask(500, time.Second, true)
		if most.Load() > inFlight {
			t.Errorf("%d under way", most.Load())
		}
		ask(100, 2*time.Second, false)
		if took := ask(100, time.Millisecond, true); took < 800*time.Millisecond {
			t.Errorf("after losses 100 questions took %v, want nearly a second", took)
		}
		ask(3000, time.Millisecond, true)
		if took := ask(800, time.Millisecond, true); took > 1100*time.Millisecond {
			t.Errorf("recovered, 800 questions took %v", took)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		// One question may slip in before the end is noticed, two may not.
		if first, second := p.enter(ctx), p.enter(ctx); first == nil && second == nil {
			t.Error("entered after the end")
		}
	})
}

// A resolver that takes more is asked more, one domain is not, and a domain whose servers keep silent slows itself down alone.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newPace(inFlight)
		all.allow(4 * defaultRate)
		ask := func(turn turns, n int, took time.Duration, answered bool) time.Duration {
			started := time.Now()
			var asking sync.WaitGroup
			for range n {
				asking.Go(func() {
					if turn.enter(t.Context()) == nil {
						time.Sleep(took)
						turn.leave(answered)
					}
				})
			}
			asking.Wait()
			return time.Since(started)
		}
		scan := func() turns { return turns{own: newPace(inFlightOfOne), all: all} }
		if took := ask(scan(), 800, time.Millisecond, true); took < 990*time.Millisecond {
			t.Errorf("800 questions about one domain took %v, want a second", took)
		}
		var four sync.WaitGroup
		started := time.Now()
		for range 4 {
			four.Go(func() { ask(scan(), 800, time.Millisecond, true) })
		}
		four.Wait()
		if took := time.Since(started); took < 990*time.Millisecond || took > 1100*time.Millisecond {
			t.Errorf("800 questions about each of four domains took %v, want a second", took)
		}
		var both sync.WaitGroup
		both.Go(func() { ask(scan(), 200, 2*time.Second, false) })
		synctest.Wait()
		if took := ask(scan(), 8000, time.Millisecond, true); took > 11*time.Second {
			t.Errorf("beside a domain that keeps silent 8,000 questions took %v, want 10 s", took)
		}
		both.Wait()
	})
}

// Losses of a domain that is in trouble are no answers either: where the resolver itself is at fault they do not speed it up again.
func TestTroubleSaysNothing(t *testing.T) {
	all := newPace(inFlight)
	turn := turns{own: newPace(inFlightOfOne), all: all}
	lose := func() {
		turn.own.slots <- struct{}{}
		all.slots <- struct{}{}
		turn.leave(false)
	}
	for turn.own.gap <= troubledGap*turn.own.shortest {
		lose()
	}
	slowed := all.gap
	for range 1000 {
		lose()
	}
	if slowed <= all.shortest || all.gap != slowed {
		t.Errorf("a gap of %v became %v", slowed, all.gap)
	}
}
