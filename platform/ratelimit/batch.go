package ratelimit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// request is one Take under way. The holder of the turn writes decision and err and then closes done.
type request struct {
	ctx      context.Context //nolint:containedctx // its end is what the batch listens for
	demands  []demand
	decision Decision
	err      error
	done     chan struct{}
}

func newRequest(ctx context.Context, buckets []Bucket) (*request, error) {
	if len(buckets) > MaxBuckets {
		return nil, fault.New(fault.Invalid, "take permits: %d buckets, at most %d are allowed", len(buckets), MaxBuckets)
	}
	r := &request{ctx: ctx, demands: make([]demand, len(buckets)), done: make(chan struct{})}
	for i, b := range buckets {
		d, err := b.demand()
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "take permits: bucket %d", i)
		}
		for j, earlier := range r.demands[:i] {
			if earlier.key == d.key {
				return nil, fault.New(fault.Invalid, "take permits: buckets %d and %d are the same", j, i)
			}
		}
		r.demands[i] = d
	}
	return r, nil
}

// decide says whether all demands can be met. It changes nothing.
func (r *request) decide(cells map[string]cell, now int64) Decision {
	out := Decision{OK: true}
	for _, d := range r.demands {
		if _, wait := cells[d.key].take(d, now); wait > 0 {
			out.OK = false
			if time.Duration(wait) > out.RetryAfter {
				out.RetryAfter, out.Bucket = time.Duration(wait), d.key
			}
		}
	}
	return out
}

// nextBatch takes from the front of the line as many requests as one write can hold.
func (l *Limiter) nextBatch() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := map[string]bool{}
	n := 0
	for ; n < len(l.waiting); n++ {
		fresh := 0
		for _, d := range l.waiting[n].demands {
			if !keys[d.key] {
				fresh++
			}
		}
		if len(keys)+fresh > min(table.MaxWriteItems, table.MaxGetItems) {
			break
		}
		for _, d := range l.waiting[n].demands {
			keys[d.key] = true
		}
	}
	batch := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	if len(l.waiting) == 0 {
		l.waiting = nil // the array behind goes with the batch
	}
	return batch
}

// serve answers a batch. The table is talked to for as long as one of its callers waits for it.
func (l *Limiter) serve(batch []*request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), writeTimeout)
	defer cancel()
	waiting := new(atomic.Int64)
	waiting.Store(int64(len(batch)))
	for _, r := range batch {
		stop := context.AfterFunc(r.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		})
		defer stop() //nolint:revive // each of a batch, bounded by its size
	}
	err := l.settle(ctx, batch)
	if errors.Is(err, fault.DataLoss) && len(batch) > 1 {
		// One damaged item must not bar the buckets of others that happened to wait beside it.
		for _, r := range batch {
			r.answer(l.settle(ctx, []*request{r}))
		}
		return
	}
	for _, r := range batch {
		r.answer(err)
	}
}

// answer lets the caller go on. A refusal stands though the batch failed: it needed no write.
func (r *request) answer(err error) {
	refused := !r.decision.OK && r.decision.RetryAfter > 0
	if err != nil && r.err == nil && !refused {
		r.decision, r.err = Decision{}, fault.Wrap(fault.Unavailable, err, "take permits")
	}
	close(r.done)
}

// settle decides the batch and writes what it takes. An error means that nothing of it is certain.
func (l *Limiter) settle(ctx context.Context, batch []*request) error {
	again := false
	for attempt := range maxAttempts {
		if attempt > 0 {
			if err := pause(ctx, jitter(min(firstPause<<attempt, lastPause))); err != nil {
				return err
			}
		}
		cells, err := l.load(ctx, batch, again)
		if err != nil {
			return err
		}
		changed := decideAll(batch, cells, time.Now().UnixNano())
		if len(changed) == 0 {
			return nil
		}
		err = l.table.Write(ctx, writesOf(changed)...)
		if err == nil {
			l.remember(changed)
			return nil
		}
		if !errors.Is(err, fault.Conflict) {
			l.forget(changed)
			return err
		}
		again = true
	}
	return errors.New("other processes kept coming first")
}

// decideAll decides the requests in their order, each on what the ones before left, and gives the
// buckets that changed.
func decideAll(batch []*request, cells map[string]cell, now int64) map[string]cell {
	changed := map[string]cell{}
	for _, r := range batch {
		r.decision, r.err = Decision{}, r.checkClock(cells, now)
		if r.ctx.Err() != nil {
			r.err = ended(r.ctx.Err()) // whoever is gone takes nothing
		}
		if r.err != nil {
			continue
		}
		r.decision = r.decide(cells, now)
		if !r.decision.OK {
			continue
		}
		for _, d := range r.demands {
			cells[d.key], _ = cells[d.key].take(d, now)
			changed[d.key] = cells[d.key]
		}
	}
	return changed
}

func (r *request) checkClock(cells map[string]cell, now int64) error {
	for _, d := range r.demands {
		if behind := cells[d.key].behind(now); behind > MaxSkew {
			return fault.New(fault.Unavailable,
				"take permits: this clock is %v behind another worker's, at most %v is allowed", behind, MaxSkew)
		}
	}
	return nil
}

// load gives the state of the batch's buckets: what is remembered and still current, the rest from
// the table; all from the table if what was remembered proved old.
func (l *Limiter) load(ctx context.Context, batch []*request, again bool) (map[string]cell, error) {
	cells := map[string]cell{}
	var missing []table.Key
	now := time.Now().UnixNano()
	l.mu.Lock()
	for _, r := range batch {
		for _, d := range r.demands {
			if _, have := cells[d.key]; have {
				continue
			}
			c, known := l.cells[d.key]
			cells[d.key] = c
			if again || !known || !c.current(now) {
				cells[d.key] = cell{}
				missing = append(missing, table.Key{Partition: d.key, Sort: sortKey})
			}
		}
	}
	l.mu.Unlock()
	items, err := l.table.GetAll(ctx, missing)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		c, err := decode(item)
		if err != nil {
			return nil, err
		}
		cells[item.Key.Partition] = c
	}
	read := map[string]cell{}
	for _, k := range missing {
		read[k.Partition] = cells[k.Partition]
	}
	l.keep(read)
	return cells, nil
}

func writesOf(changed map[string]cell) []table.Write {
	writes := make([]table.Write, 0, len(changed))
	for key, c := range changed {
		writes = append(writes, table.Write{
			Item: table.Item{
				Key:     table.Key{Partition: key, Sort: sortKey},
				Value:   c.encode(),
				Expires: time.Unix(0, c.full()).Add(Retention),
			},
			If: table.Condition(c.revision), // 0 is table.Absent
		})
	}
	return writes
}

// remember notes what was written; the store counts revisions on by one.
func (l *Limiter) remember(changed map[string]cell) {
	for key, c := range changed {
		c.revision++
		changed[key] = c
	}
	l.keep(changed)
}

// keep notes states. When the memory is full a tenth of it is dropped, by chance: the map's order.
func (l *Limiter) keep(cells map[string]cell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.cells)+len(cells) > maxRemembered {
		dropped := 0
		for key := range l.cells {
			delete(l.cells, key)
			if dropped++; dropped >= maxRemembered/10 {
				break
			}
		}
	}
	for key, c := range cells {
		l.cells[key] = c
	}
}

// forget drops what is no longer certain.
func (l *Limiter) forget(cells map[string]cell) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range cells {
		delete(l.cells, key)
	}
}
