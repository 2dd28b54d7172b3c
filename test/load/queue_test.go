package load

import (
	"container/heap"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/queuetest"
)

// Limits of an SQS FIFO queue:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html and
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagegroupid-property.html
const (
	maxInFlight     = 120_000
	maxSearched     = 120_000
	maxReceive      = 10
	maxReceiveCount = 10
)

// fifo is an SQS FIFO queue in memory that counts the calls which SQS would bill. Its rules are SQS's: order within a group and
// nothing of a group with a message in flight, visibility, at most ten messages a receive, at most 120,000 in flight, and only the
// first 120,000 are searched. Between groups SQS promises no order; here they take turns, as the suite wants of all drivers.
// TestQueue holds it to that suite.
type fifo struct {
	mu      sync.Mutex
	groups  map[string]*group
	ready   []*group // groups with a visible head, in the order of their turns
	due     due      // when something becomes visible
	seen    map[[2]string]time.Time
	pending map[string]*entry // by receipt
	parked  []*entry
	dead    []*entry // what SQS itself would move to a dead-letter queue
	changed chan struct{}
	seq     int
	live    int
	most    int // live at once
	bill    *bill
	faults  *faults
	client  client
	scan    bool
	// began is called when a message is handed out for the first time.
	began func(m queue.Message)
}

type group struct {
	name   string
	queue  []*entry // in order; a prefix of it may be in flight
	flight int      // how many of the front are out
	until  time.Time
	ready  bool
}

type entry struct {
	m              queue.Message
	seq            int
	group          *group
	receipt        string
	until          time.Time
	failures, lost int
	receives       int
	err, trace     string
	parkedAt       time.Time
	parkSeq        int
}

// wakeup is the end of a visibility, or of a group's pause.
type wakeup struct {
	at    time.Time
	entry *entry
	// receipt is that of the delivery; an answered one has another.
	receipt string
	group   *group
}

type due []wakeup

func (d due) Len() int           { return len(d) }
func (d due) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d due) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *due) Push(x any) {
	w, _ := x.(wakeup)
	*d = append(*d, w)
}

func (d *due) Pop() any {
	w := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return w
}

func newFIFO(b *bill, f *faults) *fifo {
	return &fifo{
		groups: map[string]*group{}, seen: map[[2]string]time.Time{}, pending: map[string]*entry{},
		changed: make(chan struct{}), bill: b, faults: f, client: newClient(b, f),
	}
}

// handle is one opened handle on a queue.
type handle struct {
	*fifo
	done chan struct{}
	once sync.Once
}

func (q *fifo) open() *handle { return &handle{fifo: q, done: make(chan struct{})} }

func (h *handle) usable(ctx context.Context) error {
	select {
	case <-h.done:
		return queue.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "use queue")
	}
	return nil
}

// wake is called with the lock held.
func (q *fifo) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Send implements [queue.Driver].
func (h *handle) Send(ctx context.Context, messages []queue.Message) error {
	if err := h.usable(ctx); err != nil {
		return err
	}
	if err := h.client.call(ctx); err != nil {
		return err
	}
	h.bill.queue.Add(1)
	h.bill.sent.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, m := range messages {
		id := [2]string{m.Group, m.DedupID}
		if at, ok := h.seen[id]; ok && m.DedupID != "" && now.Sub(at) < queue.DedupWindow {
			continue
		}
		h.seen[id] = now
		h.put(m, now)
		h.faults.again(h, m)
	}
	h.wake()
	return nil
}

func (q *fifo) put(m queue.Message, now time.Time) {
	m.Body, m.Attributes = slices.Clone(m.Body), maps.Clone(m.Attributes)
	q.seq++
	m.ID, m.SentAt = strconv.Itoa(q.seq), now.UTC().Truncate(time.Millisecond)
	q.push(&entry{m: m, seq: q.seq})
}

// shorten ends the visibility of a delivery early.
func (q *fifo) shorten(receipt string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.pending[receipt]; e != nil {
		e.until = time.Now().Add(d)
		heap.Push(&q.due, wakeup{at: e.until, entry: e, receipt: receipt})
		q.wake()
	}
}

func (q *fifo) push(e *entry) {
	g := q.groups[e.m.Group]
	if g == nil {
		g = &group{name: e.m.Group}
		q.groups[e.m.Group] = g
	}
	e.group = g
	g.queue = append(g.queue, e)
	q.live++
	q.most = max(q.most, q.live)
	q.offer(g)
}

// offer puts a group among the ready if it is, and takes it away if it is empty.
func (q *fifo) offer(g *group) {
	switch {
	case len(g.queue) == 0:
		delete(q.groups, g.name)
	case g.flight == 0 && !g.ready && !g.until.After(time.Now()):
		g.ready = true
		q.ready = append(q.ready, g)
	}
}

// Receive implements [queue.Driver]: one call of SQS when there is something, with long polling of 20 seconds while there is not.
func (h *handle) Receive(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	if err := h.client.call(ctx); err != nil {
		return nil, err
	}
	poll := time.NewTimer(20 * time.Second)
	defer poll.Stop()
	for {
		if err := h.usable(ctx); err != nil {
			return nil, err
		}
		h.mu.Lock()
		out, next := h.take(min(limit, maxReceive), visibility)
		changed := h.changed
		h.mu.Unlock()
		if len(out) > 0 {
			h.bill.queue.Add(1)
			h.bill.receives.Add(1)
			h.bill.invocations.Add(1) // the event source mapping hands a batch to a function
			if h.scan {
				h.bill.scans.Add(int64(len(out))) // each job has a function's time
			}
			if out = h.faults.deliver(h.fifo, out); len(out) > 0 {
				return out, nil
			}
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-timer.C:
		case <-poll.C:
			h.bill.queue.Add(1)
			h.bill.empty.Add(1)
			poll.Reset(20 * time.Second)
		case <-ctx.Done():
		case <-h.done:
		}
		timer.Stop()
	}
}

// take hands out the heads of the groups that wait longest. A receive of SQS may have several messages of one group; one each is
// the same order with less waiting behind a slow one.
func (q *fifo) take(limit int, visibility time.Duration) ([]queue.Delivery, time.Duration) {
	now := time.Now()
	q.expire(now)
	var out []queue.Delivery
	for len(out) < limit && len(q.ready) > 0 && len(q.pending) < maxInFlight {
		g := q.ready[0]
		if q.live > maxSearched && q.before(g.queue[0].seq) >= maxSearched {
			break
		}
		q.ready = q.ready[1:]
		g.ready = false
		e := g.queue[0]
		e.receives++
		if e.receives > maxReceiveCount+1 && e.lost >= maxReceiveCount {
			q.dead = append(q.dead, e)
		}
		q.seq++
		e.receipt, e.until = strconv.Itoa(q.seq), now.Add(visibility)
		g.flight = 1
		q.pending[e.receipt] = e
		heap.Push(&q.due, wakeup{at: e.until, entry: e, receipt: e.receipt})
		if q.began != nil && e.receives == 1 {
			q.began(e.m)
		}
		m := e.m
		m.Attempt = e.failures + 1
		m.Body, m.Attributes = slices.Clone(m.Body), maps.Clone(m.Attributes)
		out = append(out, queue.Delivery{Message: m, Receipt: e.receipt, Lost: e.lost, LastError: e.err, LastTraceID: e.trace})
	}
	return out, q.next(now)
}

// before is how many messages stand before one in the queue.
func (q *fifo) before(seq int) (n int) {
	for _, g := range q.groups {
		for _, e := range g.queue {
			if e.seq < seq {
				n++
			}
		}
	}
	return n
}

// expire makes visible what was not answered in time, and groups whose pause is over.
func (q *fifo) expire(now time.Time) {
	for len(q.due) > 0 && !q.due[0].at.After(now) {
		w, _ := heap.Pop(&q.due).(wakeup)
		if w.group != nil {
			if q.groups[w.group.name] == w.group {
				q.offer(w.group)
			}
			continue
		}
		e := w.entry
		switch {
		case e.receipt != w.receipt:
		case e.until.After(now):
			heap.Push(&q.due, wakeup{at: e.until, entry: e, receipt: w.receipt}) // it was extended
		default:
			delete(q.pending, e.receipt)
			e.lost++
			e.group.flight, e.receipt = 0, ""
			q.offer(e.group)
		}
	}
}

// next is when something may become visible.
func (q *fifo) next(now time.Time) time.Duration {
	if len(q.due) == 0 {
		return time.Hour
	}
	return max(0, q.due[0].at.Sub(now))
}

// Settle implements [queue.Driver].
func (h *handle) Settle(ctx context.Context, settlements []queue.Settlement) ([]int, error) {
	if err := h.usable(ctx); err != nil {
		return nil, err
	}
	if err := h.client.call(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var expired []int
	deletes, changes := 0, 0
	for i, s := range settlements {
		e := h.pending[s.Receipt]
		if e == nil || !e.until.After(now) {
			expired = append(expired, i)
			continue
		}
		if s.Action == queue.Ack || s.Action == queue.Park {
			deletes++
		} else {
			changes++
		}
		h.settle(e, s, now)
	}
	h.bill.deletes.Add(int64((deletes + 9) / 10))
	h.bill.changes.Add(int64((changes + 9) / 10))
	h.bill.queue.Add(int64((deletes+9)/10 + (changes+9)/10))
	h.wake()
	return expired, nil
}

func (q *fifo) settle(e *entry, s queue.Settlement, now time.Time) {
	g := e.group
	if s.Action == queue.Extend {
		e.until = now.Add(s.After)
		return
	}
	delete(q.pending, e.receipt)
	e.receipt, g.flight = "", 0
	switch s.Action {
	case queue.Ack, queue.Park:
		g.queue = slices.Delete(g.queue, 0, 1)
		q.live--
		if s.Action == queue.Park {
			e.failures++
			e.err, e.trace, e.parkedAt = s.Error, s.TraceID, now.UTC().Truncate(time.Millisecond)
			q.seq++
			e.parkSeq = q.seq
			q.parked = append(q.parked, e)
		}
	case queue.Retry:
		e.failures++
		e.err, e.trace = s.Error, s.TraceID
		q.pause(g, now.Add(s.After))
	case queue.Return:
		q.pause(g, now.Add(s.After))
	}
	q.offer(g)
}

func (q *fifo) pause(g *group, until time.Time) {
	g.until = until
	heap.Push(&q.due, wakeup{at: until, group: g})
}

// Inspect implements [queue.Driver].
func (h *handle) Inspect(ctx context.Context, r queue.Inspect) (queue.Inspection, error) {
	if err := h.usable(ctx); err != nil {
		return queue.Inspection{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var out queue.Inspection
	if r.Limit > 0 {
		return h.page(r)
	}
	now := time.Now()
	h.expire(now)
	d := &out.Depth
	d.Parked = len(h.parked)
	for _, g := range h.groups {
		for i, e := range g.queue {
			if d.OldestSentAt.IsZero() || e.m.SentAt.Before(d.OldestSentAt) {
				d.OldestSentAt = e.m.SentAt
			}
			switch {
			case i < g.flight:
				d.InFlight++
			case i == 0 && g.until.After(now):
				d.Delayed++
			default:
				d.Visible++
			}
		}
	}
	return out, nil
}

func (q *fifo) page(r queue.Inspect) (queue.Inspection, error) {
	var out queue.Inspection
	from := 0
	if r.PageToken != "" {
		var err error
		if from, err = strconv.Atoi(r.PageToken); err != nil {
			return out, fault.New(fault.Invalid, "page token is not of this queue")
		}
	}
	for _, e := range q.parked {
		if e.parkSeq <= from {
			continue
		}
		if len(out.Parked) == r.Limit {
			out.NextPageToken = strconv.Itoa(from)
			break
		}
		m := e.m
		m.Attempt = e.failures
		out.Parked = append(out.Parked, queue.ParkedMessage{Message: m, Error: e.err, TraceID: e.trace, ParkedAt: e.parkedAt})
		from = e.parkSeq
	}
	return out, nil
}

// Redrive implements [queue.Driver].
func (h *handle) Redrive(ctx context.Context, ids []string) (int, error) {
	if err := h.usable(ctx); err != nil {
		return 0, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	h.parked = slices.DeleteFunc(h.parked, func(e *entry) bool {
		if len(ids) > 0 && !slices.Contains(ids, e.m.ID) {
			return false
		}
		n++
		h.seq++
		h.push(&entry{m: e.m, seq: h.seq})
		return true
	})
	h.wake()
	return n, nil
}

// Close implements [queue.Driver].
func (h *handle) Close() error { h.once.Do(func() { close(h.done) }); return nil }

// TestQueue holds the simulated queue to the suite of all queues.
func TestQueue(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queuetest.Harness {
		all := map[string]*fifo{}
		var mu sync.Mutex
		return queuetest.Harness{Queue: func(name string) queue.Driver {
			mu.Lock()
			defer mu.Unlock()
			if all[name] == nil {
				all[name] = newFIFO(&bill{}, nil)
			}
			return all[name].open()
		}}
	})
}
