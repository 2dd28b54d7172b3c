package ratelimit

import (
	"context"
	"fmt"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// exact is a token bucket in exact fractions, written from the definition of one: it holds at most
// burst tokens, gains one each interval, continuously, and gives what it has.
type exact struct {
	tokens, burst *big.Rat
	interval      int64
	at            int64
}

func newExact(b Bucket, now int64) *exact {
	d, err := b.demand()
	if err != nil {
		panic(err)
	}
	full := big.NewRat(int64(b.Burst), 1)
	return &exact{tokens: new(big.Rat).Set(full), burst: full, interval: d.span / int64(b.Burst), at: now}
}

// missing is how long the bucket needs until it holds cost tokens, in whole nanoseconds.
func (e *exact) missing(cost, now int64) time.Duration {
	e.tokens.Add(e.tokens, big.NewRat(now-e.at, e.interval))
	if e.at = now; e.tokens.Cmp(e.burst) > 0 {
		e.tokens.Set(e.burst)
	}
	lack := new(big.Rat).Sub(big.NewRat(cost, 1), e.tokens)
	lack.Mul(lack, big.NewRat(e.interval, 1))
	if lack.Sign() <= 0 {
		return 0
	}
	up := new(big.Int).Add(lack.Num(), new(big.Int).Sub(lack.Denom(), big.NewInt(1)))
	return time.Duration(up.Div(up, lack.Denom()).Int64())
}

// step is one thing that happens in a scenario: time passes, then one process takes some of the
// buckets; a cost of 0 leaves the bucket out.
type step struct {
	sleep   time.Duration
	process int
	costs   []int
}

func drawBuckets(t *rapid.T) []Bucket {
	buckets := make([]Bucket, rapid.IntRange(1, 4).Draw(t, "buckets"))
	for i := range buckets {
		buckets[i] = Bucket{
			Key:   fmt.Sprint("bucket", i),
			Rate:  rapid.SampledFrom([]float64{1, 3, 7.5, 100, 1e6, 1.0 / 15, 500.0 / 86400}).Draw(t, "rate"),
			Burst: rapid.IntRange(1, 40).Draw(t, "burst"),
		}
	}
	return buckets
}

func drawSteps(t *rapid.T, buckets []Bucket) []step {
	units := []time.Duration{0, 1, time.Microsecond, time.Millisecond, time.Second, time.Minute}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		s := step{
			sleep:   rapid.SampledFrom(units).Draw(t, "unit") * time.Duration(rapid.IntRange(1, 90).Draw(t, "times")),
			process: rapid.IntRange(0, 2).Draw(t, "process"),
		}
		for _, b := range buckets {
			s.costs = append(s.costs, rapid.IntRange(0, b.Burst).Draw(t, "cost"))
		}
		return s
	}), 1, 60).Draw(t, "steps")
}

// The limiter gives exactly what token buckets in exact arithmetic give, over several processes,
// several buckets at once and any passing of time, and names the exact time to wait.
func TestEqualsExactSimulation(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		buckets := drawBuckets(r)
		steps := drawSteps(r, buckets)
		var wrong string // rapid's t must not be used inside the bubble
		synctest.Test(t, func(t *testing.T) { wrong = simulate(t, buckets, steps) })
		if wrong != "" {
			r.Fatal(wrong)
		}
	})
}

// simulate runs the scenario against the models and says what differs.
func simulate(t *testing.T, buckets []Bucket, steps []step) string {
	s := newStore(t)
	processes := []*Limiter{s.limiter(), s.limiter(), s.limiter()}
	models := make([]*exact, len(buckets))
	for i, b := range buckets {
		models[i] = newExact(b, time.Now().UnixNano())
	}
	for n, step := range steps {
		time.Sleep(step.sleep)
		var wanted []Bucket
		for i, b := range buckets {
			if b.Cost = step.costs[i]; b.Cost > 0 {
				wanted = append(wanted, b)
			}
		}
		d, err := processes[step.process].Take(context.Background(), wanted)
		if err != nil {
			return err.Error()
		}
		// The models decide after the limiter, whose pauses after a lost race take fake time.
		longest := time.Duration(0)
		for i, model := range models {
			longest = max(longest, model.missing(int64(step.costs[i]), time.Now().UnixNano()))
		}
		// A process that refuses from memory may name a shorter wait: others took since.
		shorter := d.RetryAfter > 0 && d.RetryAfter < longest
		if d.OK != (longest == 0) || d.RetryAfter != longest && !shorter {
			return fmt.Sprintf("step %d, take %+v: %+v, want a wait of %v", n, wanted, d, longest)
		}
		for i := range buckets {
			if d.OK {
				models[i].tokens.Sub(models[i].tokens, big.NewRat(int64(step.costs[i]), 1))
			}
		}
	}
	return ""
}
