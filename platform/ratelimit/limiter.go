// Package ratelimit keeps rates across all workers: per provider key, per target host, per tenant
// and for everything, several of them at once and all or none.
//
// The algorithm is GCRA (ITU-T I.371 annex A, as in Boulder's ratelimits): a bucket is one number,
// the time at which it is full again. A [Limiter.Take] is one conditional write of all its buckets
// to the table, whose revisions the limiter remembers; calls that wait at the same time share the
// write. Only if another process wrote in between are the buckets read again.
//
// What holds: in any window of w seconds a bucket gives at most burst + rate*(w+s) permits, over all
// processes, where s is how far their clocks are apart. A refused call costs no permit and usually
// no read. If the table fails, an item is damaged, or this clock is more than [MaxSkew] behind
// another's, nothing is given: the limiter fails closed, with [fault.Unavailable]. Permits whose
// write was cancelled half-way may be lost, and are never given twice.
//
// A clock that runs ahead cannot be told from an idle bucket: it can take one burst too many, and
// then the others are refused as being behind until they catch up. The same goes for a damaged item:
// it bars its bucket until it expires, at most [Retention] after the bucket was full again.
//
// It refuses to queue: nobody's turn is kept, and a call for much may wait long behind calls for
// little ([Limiter.Wait] asks again and again). It does not give permits back. [Limiter.Hold] shuts a
// bucket for a time, for all workers, where the one behind it asks to be left alone.
package ratelimit

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Constants of the limiter.
const (
	// MaxBuckets is how many buckets one call may name.
	MaxBuckets = 16
	// MaxSkew is how far the clocks of two workers may be apart. NTP on a cloud host keeps within
	// milliseconds; 2 s also covers a host that has just started.
	MaxSkew = 2 * time.Second
	// Retention is how long an item outlives the time at which its bucket is full again, so that
	// no clock within reason finds it gone too early.
	Retention = 10 * time.Minute

	// writeTimeout bounds one round trip to the table with its retries. Nobody waits for a permit
	// that comes after the work's own deadline.
	writeTimeout = 5 * time.Second
	// maxAttempts bounds the writes of one batch when other processes keep coming first.
	maxAttempts = 10
	// firstPause and lastPause bound the random pause after such a lost race; it doubles in between.
	firstPause, lastPause = time.Millisecond, 64 * time.Millisecond
	// maxRemembered bounds the buckets whose state is remembered, about 100 bytes each.
	maxRemembered = 10_000
	// sortKey is the sort key of every bucket's only item.
	sortKey = "gcra"
)

// Options make a [Limiter].
type Options struct {
	// Table holds the buckets: one item each, under the bucket's key as partition.
	Table *table.Table
}

// Decision is the answer to a [Limiter.Take].
type Decision struct {
	// OK says that all buckets were taken. If not, none was.
	OK bool
	// RetryAfter is when the same call could succeed if nobody else took anything; 0 if OK.
	RetryAfter time.Duration
	// Bucket is the key of the bucket that needs longest; "" if OK.
	Bucket string
}

// Limiter takes permits. It is safe for many goroutines, runs none of its own and needs no closing.
// One per process and table is best: its callers share writes.
type Limiter struct {
	table *table.Table

	// turn is held by the one caller that talks to the table, for itself and all that wait.
	turn chan struct{}

	mu      sync.Mutex
	waiting []*request
	cells   map[string]cell // what is known of the buckets; old knowledge is corrected by conflicts
}

// New makes a limiter over a table.
func New(o Options) *Limiter {
	return &Limiter{table: o.Table, turn: make(chan struct{}, 1), cells: make(map[string]cell)}
}

// Take takes the cost of every bucket, or nothing at all.
//
// Errors: [fault.Invalid] for a bucket that makes no sense or is named twice; [fault.Unavailable]
// if the table failed, other processes kept coming first, or this clock is more than [MaxSkew]
// behind; the context's. With an error nothing may be done: the decision is not OK.
func (l *Limiter) Take(ctx context.Context, buckets []Bucket) (Decision, error) {
	r, err := newRequest(ctx, buckets)
	if err != nil {
		return Decision{}, err
	}
	if err := ctx.Err(); err != nil {
		return Decision{}, ended(err)
	}
	if len(r.demands) == 0 {
		return Decision{OK: true}, nil
	}
	if refusal, known := l.knownRefusal(r); known {
		return refusal, nil
	}
	l.enqueue(r)
	for {
		// The one whose turn it is serves everybody who waits, in the order of arrival.
		select {
		case <-r.done:
			return r.decision, r.err
		case <-ctx.Done():
			l.abandon(r)
			return Decision{}, ended(ctx.Err())
		case l.turn <- struct{}{}:
			if batch := l.nextBatch(); len(batch) > 0 {
				l.serve(batch) //nolint:contextcheck // a batch serves many callers, each with its own context
			}
			<-l.turn
		}
	}
}

// Wait takes the buckets as soon as they can be taken. If that is certain to be after the context's
// deadline it returns at once with [fault.ResourceExhausted] and the delay ([fault.RetryDelay]).
// Other errors are those of [Limiter.Take].
func (l *Limiter) Wait(ctx context.Context, buckets []Bucket) error {
	for {
		decision, err := l.Take(ctx, buckets)
		if err != nil || decision.OK {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Now().Add(decision.RetryAfter).After(deadline) {
			return fault.RetryAfter(fault.New(fault.ResourceExhausted, "rate limit: the next permit comes after the deadline"), decision.RetryAfter)
		}
		// The little extra keeps processes that wait for the same permit from coming as one.
		if err := pause(ctx, decision.RetryAfter+jitter(decision.RetryAfter/8)); err != nil {
			return ended(err)
		}
	}
}

// knownRefusal refuses from memory, without the table: a bucket's time only ever moves on, so what
// was too much then is too much until that time has come.
func (l *Limiter) knownRefusal(r *request) (Decision, bool) {
	now := time.Now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.checkClock(l.cells, now) != nil {
		return Decision{}, false // perhaps not any more: whoever has the turn looks again
	}
	decision := r.decide(l.cells, now)
	return decision, !decision.OK
}

func (l *Limiter) enqueue(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, r)
}

// abandon takes back a request that nobody has begun to serve.
func (l *Limiter) abandon(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiting {
		if w == r {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
}

// pause sleeps unless the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// jitter is a random part of d.
func jitter(d time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(d) + 1)) //nolint:gosec // spreads load, hides nothing
}

func ended(err error) error {
	return fault.Wrap(fault.CodeOf(err), err, "take permits")
}
