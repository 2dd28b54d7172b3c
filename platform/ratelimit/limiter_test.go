package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// 50 workers want all they can get at 100 a second: in ten minutes they get 60,000, and never more
// than burst and rate in any second. The same for a minute with the workers in five processes, which
// know of each other only by the table.
func TestFiftyWorkers(t *testing.T) {
	t.Run("one process", func(t *testing.T) { fiftyWorkers(t, 1, longRun) })
	t.Run("five processes", func(t *testing.T) { fiftyWorkers(t, 5, longRun/10) })
}

func fiftyWorkers(t *testing.T, processes int, length time.Duration) {
	const workers, rate, burst = 50, 100, 10
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		bucket := []Bucket{{Key: "provider", Rate: rate, Burst: burst}}
		ctx, cancel := context.WithTimeout(context.Background(), length)
		defer cancel()
		var mu sync.Mutex
		var admitted []int64
		var done sync.WaitGroup
		for range processes {
			limiter := s.limiter()
			for range workers / processes {
				done.Go(func() {
					for limiter.Wait(ctx, bucket) == nil {
						mu.Lock()
						admitted = append(admitted, time.Now().UnixNano())
						mu.Unlock()
					}
				})
			}
		}
		done.Wait()
		slices.Sort(admitted)
		want := rate * length.Seconds()
		if n := float64(len(admitted)); math.Abs(n-want) > want/100 {
			t.Errorf("admitted %v, want %v +-1 %%", n, want)
		}
		most := mostInOneSecond(admitted)
		if most > burst+rate {
			t.Errorf("%d in one second, want at most %d", most, burst+rate)
		}
		t.Logf("admitted %d, at most %d in 1 s, %d writes of which %d lost a race, %d reads",
			len(admitted), most, s.counted.writes.Load(), s.counted.conflicts.Load(), s.counted.reads.Load())
	})
}

func mostInOneSecond(times []int64) int {
	most, first := 0, 0
	for i, at := range times {
		for at-times[first] >= int64(time.Second) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// At one instant, however many ask in however many processes, exactly the burst is given.
func TestBurstIsExactAcrossProcesses(t *testing.T) {
	const burst = 100
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		var given atomic.Int64
		var done sync.WaitGroup
		for range 5 {
			limiter := s.limiter()
			for range 8 {
				done.Go(func() {
					for range 10 {
						for {
							d, err := limiter.Take(context.Background(), []Bucket{{Key: "a", Rate: 1e-3, Burst: burst}})
							if errors.Is(err, fault.Unavailable) {
								continue // others came first too often: nothing was given
							}
							if err != nil {
								t.Error(err)
							}
							if d.OK {
								given.Add(1)
							}
							break
						}
					}
				})
			}
		}
		done.Wait()
		if given.Load() != burst {
			t.Errorf("%d given, want %d", given.Load(), burst)
		}
	})
}

// All buckets are held at once, or none loses anything.
func TestAllOrNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		l := s.limiter()
		host := Bucket{Key: "host", Rate: 1, Burst: 2}
		tenant := Bucket{Key: "tenant", Rate: 10, Burst: 5, Cost: 3}
		global := Bucket{Key: "global", Rate: 100, Burst: 100}
		if d := take(t, l, host, tenant, global); !d.OK {
			t.Fatalf("first: %+v", d)
		}
		// tenant has 2 of the 3 permits left: one interval of 100 ms is missing.
		want := Decision{RetryAfter: 100 * time.Millisecond, Bucket: "tenant"}
		for range 3 {
			if diff := cmp.Diff(want, take(t, l, host, tenant, global)); diff != "" {
				t.Errorf("second: %s", diff)
			}
		}
		// Nothing was lost by asking: host has 1 and global 99.
		if d := take(t, l, Bucket{Key: "host", Rate: 1, Burst: 2}, Bucket{Key: "global", Rate: 100, Burst: 100, Cost: 99}); !d.OK {
			t.Errorf("host and global: %+v", d)
		}
		// Of two that refuse, the longer wait counts.
		want = Decision{RetryAfter: time.Second, Bucket: "host"}
		if diff := cmp.Diff(want, take(t, l, tenant, host)); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Second)
		if d := take(t, l, host, tenant, global); !d.OK {
			t.Errorf("after the time it named: %+v", d)
		}
	})
}

// One conditional write a call, no read while nobody else writes, nothing at all for a refusal,
// and one write for all that wait together.
func TestTraffic(t *testing.T) {
	s := newStore(t)
	l := s.limiter()
	many := []Bucket{{Key: "a", Rate: 1e-3, Burst: 1000}, {Key: "b", Rate: 1e-3, Burst: 1000}, {Key: "c", Rate: 1e-3, Burst: 1000}}
	for range 10 {
		take(t, l, many...)
	}
	if r, w, n := s.counted.reads.Load(), s.counted.writes.Load(), s.counted.items.Load(); r != 1 || w != 10 || n != 30 {
		t.Errorf("%d reads, %d writes, %d items, want 1, 10, 30", r, w, n)
	}
	take(t, l, Bucket{Key: "d", Rate: 1e-3, Burst: 1})
	before := s.counted.reads.Load() + s.counted.writes.Load()
	for range 100 {
		if d := take(t, l, many[0], Bucket{Key: "d", Rate: 1e-3, Burst: 1}); d.OK {
			t.Fatal("taken")
		}
	}
	if n := s.counted.reads.Load() + s.counted.writes.Load(); n != before {
		t.Errorf("%d calls to the table for 100 refusals, want 0", n-before)
	}
	// Whoever holds the turn serves the whole line. Here the test holds it until 64 stand in line.
	// A refusal from memory needs no turn.
	l.turn <- struct{}{}
	if d := take(t, l, Bucket{Key: "d", Rate: 1e-3, Burst: 1}); d.OK {
		t.Error("taken")
	}
	var done sync.WaitGroup
	for range 64 {
		done.Go(func() {
			if !take(t, l, many...).OK {
				t.Error("refused")
			}
		})
	}
	l.awaitLine(64)
	writes := s.counted.writes.Load()
	<-l.turn
	done.Wait()
	if n := s.counted.writes.Load() - writes; n != 1 {
		t.Errorf("%d writes for 64 that waited together, want 1", n)
	}
}

// A line with more buckets than one write may hold is served in several.
func TestLongLine(t *testing.T) {
	s := newStore(t)
	l := s.limiter()
	l.turn <- struct{}{}
	var done sync.WaitGroup
	for i := range 150 {
		done.Go(func() {
			if !take(t, l, Bucket{Key: fmt.Sprint("own", i), Rate: 1, Burst: 1}, Bucket{Key: "all", Rate: 1, Burst: 150}).OK {
				t.Error("refused")
			}
		})
	}
	l.awaitLine(150)
	<-l.turn
	done.Wait()
	if w, n := s.counted.writes.Load(), s.counted.items.Load(); w != 2 || n != 152 {
		t.Errorf("%d writes, %d items, want 2 and 152", w, n)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newStore(t).limiter()
		bucket := []Bucket{{Key: "a", Rate: 2, Burst: 1}}
		start := time.Now()
		for range 5 {
			if err := l.Wait(context.Background(), bucket); err != nil {
				t.Fatal(err)
			}
		}
		// Four waits of 500 ms with up to an eighth of spread each.
		if took := time.Since(start); took < 2*time.Second || took > 2250*time.Millisecond {
			t.Errorf("5 permits at 2 a second took %v of fake time", took)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		before := time.Now()
		err := l.Wait(ctx, bucket)
		delay, has := fault.RetryDelay(err)
		if !errors.Is(err, fault.ResourceExhausted) || !has || delay <= 0 || delay > 500*time.Millisecond || !time.Now().Equal(before) {
			t.Errorf("deadline before the permit: %v, delay %v after %v, want at once", err, delay, time.Since(before))
		}
		gone, leave := context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, leave)
		if err := l.Wait(gone, bucket); !errors.Is(err, fault.Cancelled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestCancelledTakes(t *testing.T) {
	s := newStore(t)
	l := s.limiter()
	bucket := []Bucket{{Key: "a", Rate: 1e-3, Burst: 1}}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if d, err := l.Take(gone, bucket); d.OK || !errors.Is(err, fault.Cancelled) {
		t.Errorf("%+v %v", d, err)
	}
	// Gone while in line: nothing is taken for it.
	l.turn <- struct{}{}
	waiting, leave := context.WithCancel(context.Background())
	result := make(chan error)
	go func() {
		_, err := l.Take(waiting, bucket)
		result <- err
	}()
	l.awaitLine(1)
	leave()
	if err := <-result; !errors.Is(err, fault.Cancelled) || l.length() != 0 {
		t.Errorf("in line: %v, %d still in line", err, l.length())
	}
	<-l.turn
	// Gone after its batch began: nothing either.
	leaving, leave := context.WithCancel(context.Background())
	first, err := newRequest(leaving, bucket)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newRequest(context.Background(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	l.serve([]*request{first, second})
	if first.decision.OK || !errors.Is(first.err, fault.Cancelled) || !second.decision.OK {
		t.Errorf("the one that left: %+v %v; the one that stayed: %+v", first.decision, first.err, second.decision)
	}
}

func TestInvalidBuckets(t *testing.T) {
	l := newStore(t).limiter()
	good := Bucket{Key: "a", Rate: 1, Burst: 1}
	var seventeen []Bucket
	for i := range MaxBuckets + 1 {
		seventeen = append(seventeen, Bucket{Key: fmt.Sprint(i), Rate: 1, Burst: 1})
	}
	for name, buckets := range map[string][]Bucket{
		"no key":         {{Rate: 1, Burst: 1}},
		"long key":       {{Key: strings.Repeat("a", table.MaxPartitionKeyBytes+1), Rate: 1, Burst: 1}},
		"key no text":    {{Key: "\xff", Rate: 1, Burst: 1}},
		"key with NUL":   {{Key: "a\x00b", Rate: 1, Burst: 1}},
		"no rate":        {{Key: "a", Burst: 1}},
		"negative rate":  {{Key: "a", Rate: -1, Burst: 1}},
		"NaN":            {{Key: "a", Rate: math.NaN(), Burst: 1}},
		"infinite":       {{Key: "a", Rate: math.Inf(1), Burst: 1}},
		"too fast":       {{Key: "a", Rate: MaxRate * 1.01, Burst: 1}},
		"too slow":       {{Key: "a", Rate: 1e-9, Burst: 1}},
		"denormal":       {{Key: "a", Rate: 5e-324, Burst: 1}},
		"refill too far": {{Key: "a", Rate: 1, Burst: math.MaxInt}},
		"no burst":       {{Key: "a", Rate: 1}},
		"over burst":     {{Key: "a", Rate: 1, Burst: 1, Cost: 2}},
		"negative cost":  {{Key: "a", Rate: 1, Burst: 1, Cost: -1}},
		"same twice":     {good, {Key: "b", Rate: 1, Burst: 1}, good},
		"too many":       seventeen,
	} {
		if d, err := l.Take(context.Background(), buckets); d.OK || !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %+v %v, want invalid", name, d, err)
		}
	}
	if d := take(t, l); !d.OK {
		t.Errorf("no bucket, no limit: %+v", d)
	}
	if d := take(t, l, seventeen[:MaxBuckets]...); !d.OK {
		t.Errorf("as many as allowed: %+v", d)
	}
	if d := take(t, l, Bucket{Key: strings.Repeat("a", table.MaxPartitionKeyBytes), Rate: MaxRate, Burst: 1}); !d.OK {
		t.Errorf("at the limits: %+v", d)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l := newStore(t).limiter()
	for i := range 3 * maxRemembered {
		l.keep(map[string]cell{fmt.Sprint(i): {revision: 1}})
	}
	if len(l.cells) > maxRemembered {
		t.Errorf("%d buckets remembered, at most %d are allowed", len(l.cells), maxRemembered)
	}
}
