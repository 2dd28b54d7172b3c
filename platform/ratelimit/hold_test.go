package ratelimit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// A hold by one process stops all of them, also one that remembers a full bucket, until its time and not longer; then there
// is no burst.
func TestHoldStopsEveryProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		b := Bucket{Key: "host", Rate: 10, Burst: 5}
		one, other := s.limiter(), s.limiter()
		take(t, one, b)
		take(t, other, b) // both remember the bucket now
		until := time.Now().Add(30 * time.Second)
		if err := one.Hold(context.Background(), b, until); err != nil {
			t.Fatal(err)
		}
		for name, l := range map[string]*Limiter{"who held": one, "another": other, "a new one": s.limiter()} {
			// Pauses after lost races take time of the bubble.
			if d := take(t, l, b); d.OK || d.RetryAfter != time.Until(until) {
				t.Errorf("%s: %+v, want a wait of %v", name, d, time.Until(until))
			}
		}
		time.Sleep(time.Until(until) - time.Millisecond)
		if d := take(t, other, b); d.OK {
			t.Error("a permit before the time")
		}
		time.Sleep(time.Until(until))
		if d := take(t, other, b); !d.OK {
			t.Errorf("none at the time: %+v", d)
		}
		if d := take(t, one, b); d.OK || d.RetryAfter < 90*time.Millisecond {
			t.Errorf("a burst after the hold: %+v", d)
		}
	})
}

func TestHoldOnlyEverLengthens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		l := s.limiter()
		b := Bucket{Key: "host", Rate: 1, Burst: 1}
		for _, seconds := range []int{20, 5, -5, 0} {
			if err := l.Hold(context.Background(), b, time.Now().Add(time.Duration(seconds)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		if d := take(t, l, b); d.RetryAfter != 20*time.Second {
			t.Errorf("%+v, want the longest hold", d)
		}
		if err := l.Hold(context.Background(), b, time.Now().Add(MaxHold+time.Second)); !errors.Is(err, fault.Invalid) {
			t.Errorf("a hold of more than %v: %v", MaxHold, err)
		}
		if err := l.Hold(context.Background(), Bucket{Key: "host"}, time.Now().Add(time.Second)); !errors.Is(err, fault.Invalid) {
			t.Errorf("a bucket without rate: %v", err)
		}
		if err := s.limiter().Hold(context.Background(), Bucket{Key: "new", Rate: 100, Burst: 7}, time.Now().Add(-time.Hour)); err != nil {
			t.Errorf("a time that has passed: %v", err)
		}
	})
}

// Holds and takes of many processes at once: nothing is given between a hold and its end.
func TestHoldAmongTakes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := Bucket{Key: "host", Rate: rapid.SampledFrom([]float64{0.5, 3, 20}).Draw(r, "rate"), Burst: rapid.IntRange(1, 10).Draw(r, "burst")}
		length := time.Duration(rapid.IntRange(1, 5_000).Draw(r, "ms")) * time.Millisecond
		var early, after int
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t)
			var mu sync.Mutex
			var begun, end time.Time
			ctx, cancel := context.WithTimeout(context.Background(), length+5*time.Second)
			defer cancel()
			var done sync.WaitGroup
			for range 4 {
				l := s.limiter()
				done.Go(func() {
					for l.Wait(ctx, []Bucket{b}) == nil {
						mu.Lock()
						if now := time.Now(); !begun.IsZero() && now.After(begun) && now.Before(end) {
							early++
						} else if now.After(end) && !end.IsZero() {
							after++
						}
						mu.Unlock()
					}
				})
			}
			time.Sleep(time.Second)
			until := time.Now().Add(length)
			if err := s.limiter().Hold(ctx, b, until); err != nil {
				t.Error(err)
			}
			mu.Lock()
			begun, end = time.Now(), until
			mu.Unlock()
			done.Wait()
		})
		if early > 0 || after == 0 {
			r.Fatalf("%d permits during the hold of %v, %d after it", early, length, after)
		}
	})
}
