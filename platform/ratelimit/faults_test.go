package ratelimit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// A clock behind the others gives nothing, and one within the tolerance no more than it may.
func TestClockSkew(t *testing.T) {
	bucket := Bucket{Key: "a", Rate: 1, Burst: 10}
	for ahead, want := range map[time.Duration]bool{
		-10 * time.Minute: true, 0: true, MaxSkew: true,
		MaxSkew + time.Millisecond: false, 10 * time.Minute: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t)
			// Another worker, whose clock is ahead, took 4 permits.
			at := time.Now().Add(ahead).UnixNano()
			s.put(t, "a", cell{at: at, tat: at + int64(4*time.Second)}.encode())
			l := s.limiter()
			d, err := l.Take(context.Background(), []Bucket{bucket})
			if d.OK != want || (err == nil) != want || err != nil && !errors.Is(err, fault.Unavailable) {
				t.Errorf("%v ahead: %+v %v, want OK %v", ahead, d, err, want)
			}
			other := Bucket{Key: "b", Rate: 1, Burst: 1}
			if _, err := l.Take(context.Background(), []Bucket{other, bucket}); (err == nil) != want {
				t.Errorf("%v ahead, two buckets: %v", ahead, err)
			}
			if !take(t, l, Bucket{Key: "b", Rate: 1, Burst: 2}).OK {
				t.Errorf("%v ahead: a bucket that nobody disputes was not given", ahead)
			}
			time.Sleep(10 * time.Minute) // the others' time has come
			if d := take(t, l, bucket); !d.OK {
				t.Errorf("%v ahead, caught up: %+v", ahead, d)
			}
		})
	}
}

// The last writer's time never goes back, whatever clock writes.
func TestClockNeverGoesBack(t *testing.T) {
	now := time.Now().UnixNano()
	c, wait := cell{at: now + int64(time.Second), tat: now}.take(demand{key: "a", cost: 1, span: 1}, now)
	if wait != 0 || c.at != now+int64(time.Second) {
		t.Errorf("at %d after %d, wait %d", c.at, now+int64(time.Second), wait)
	}
}

// A full disk gives nothing, and afterwards what it should.
func TestFailsClosed(t *testing.T) {
	s := newStore(t)
	l := s.limiter()
	bucket := []Bucket{{Key: "a", Rate: 1e-3, Burst: 3}}
	if d := take(t, l, bucket...); !d.OK {
		t.Fatal("refused")
	}
	if err := s.db.SetMaxBytes(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	// The file is full, so a new and large enough item cannot be written.
	wide := make([]Bucket, MaxBuckets)
	for i := range wide {
		key := make([]byte, table.MaxPartitionKeyBytes)
		for j := range key {
			key[j] = byte('a' + i)
		}
		wide[i] = Bucket{Key: string(key), Rate: 1, Burst: 1}
	}
	for range 2 {
		if d, err := l.Take(context.Background(), wide); d.OK || !errors.Is(err, fault.Unavailable) {
			t.Errorf("full disk: %+v %v, want unavailable", d, err)
		}
	}
	if err := s.db.SetMaxBytes(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	if d := take(t, l, wide...); !d.OK {
		t.Errorf("space again: %+v", d)
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, limiter := range []*Limiter{l, s.limiter()} { // one writes, the other reads first
		if d, err := limiter.Take(context.Background(), bucket); d.OK || !errors.Is(err, fault.Unavailable) {
			t.Errorf("no store: %+v %v, want unavailable", d, err)
		}
	}
}

// A damaged item bars its own bucket and not those of others who wait beside it.
func TestDamagedItem(t *testing.T) {
	now := time.Now().UnixNano()
	for name, value := range map[string][]byte{
		"empty": {}, "short": make([]byte, valueBytes-1), "long": make([]byte, valueBytes+1), "no format": make([]byte, valueBytes),
		"far future":      cell{at: now, tat: now + int64(MaxRefill) + 1}.encode(),
		"overflow":        cell{at: now, tat: 1<<63 - 1}.encode(),
		"overflow of at":  cell{at: 1<<63 - 1, tat: -1 << 63}.encode(),
		"negative":        cell{at: -5, tat: -5}.encode(),
		"tat long before": cell{at: now, tat: now - int64(MaxSkew) - 1}.encode(),
	} {
		s := newStore(t)
		s.put(t, "bad", value)
		l := s.limiter()
		l.turn <- struct{}{}
		var done sync.WaitGroup
		for _, key := range []string{"good", "bad", "fine"} {
			done.Go(func() {
				d, err := l.Take(context.Background(), []Bucket{{Key: key, Rate: 1, Burst: 1}})
				if want := key != "bad"; d.OK != want || !want && !errors.Is(err, fault.Unavailable) {
					t.Errorf("%s: %s: %+v %v", name, key, d, err)
				}
			})
		}
		l.awaitLine(3)
		<-l.turn
		done.Wait()
	}
}

// An idle bucket leaves the table, and is full when it comes back.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		l := s.limiter()
		bucket := Bucket{Key: "a", Rate: 1, Burst: 60, Cost: 60}
		key := table.Key{Partition: "a", Sort: sortKey}
		take(t, l, bucket)
		time.Sleep(time.Minute + Retention - time.Millisecond)
		if _, err := s.Get(context.Background(), key); err != nil {
			t.Errorf("just before: %v", err)
		}
		time.Sleep(2 * time.Millisecond)
		if _, err := s.Get(context.Background(), key); !errors.Is(err, fault.NotFound) {
			t.Errorf("just after: %v, want not found", err)
		}
		for _, limiter := range []*Limiter{l, s.limiter()} { // one remembers a revision that is gone
			if d := take(t, limiter, Bucket{Key: "a", Rate: 1, Burst: 60, Cost: 30}); !d.OK {
				t.Errorf("the bucket that came back: %+v", d)
			}
		}
	})
}

// Revisions start again when an item has expired. A process that remembers one of the old ones
// must not take the new item for what it remembers.
func TestRevisionsStartAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		early, late := s.limiter(), s.limiter()
		take(t, early, Bucket{Key: "a", Rate: 1e-3, Burst: 10}) // revision 1
		time.Sleep(time.Hour)
		take(t, late, Bucket{Key: "a", Rate: 1e-3, Burst: 10, Cost: 10}) // revision 1 of another item
		if d := take(t, early, Bucket{Key: "a", Rate: 1e-3, Burst: 10}); d.OK {
			t.Error("an eleventh permit from a bucket of ten")
		}
	})
}
