package probes

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A scan has its budget and, beyond it, the time that it waited for permits, but not more than Patience.
func TestWithPatience(t *testing.T) {
	const budget = time.Minute
	for _, c := range []struct {
		name         string
		waits, every time.Duration // it waits for so long, once in every
		want         time.Duration
	}{
		{"hangs", 0, time.Hour, budget},
		{"waits once", 10 * time.Second, time.Hour, budget + 10*time.Second},
		{"waits half of the time", time.Second, 2 * time.Second, 2 * budget},
		{"waits all the time", time.Hour, time.Hour, budget + Patience},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := &Waits{}
				ctx, cancel := WithPatience(t.Context(), budget, w)
				defer cancel()
				go func() {
					for ctx.Err() == nil {
						one, other := w.Begin(), w.Begin() // at a time: counted once
						sleep(ctx, c.waits)
						one()
						other()
						sleep(ctx, c.every-c.waits)
					}
				}()
				<-ctx.Done()
				if took := time.Since(began); took < c.want-2*time.Second || took > c.want+2*time.Second {
					t.Errorf("ended after %s, want %s", took, c.want)
				}
				if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
					t.Errorf("cause %v", context.Cause(ctx))
				}
			})
		})
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
