package queuetest

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// Memory is a driver that keeps its messages in memory. It is for tests, and it is the suite's
// second opinion: like SQS it packs several messages of one group into one receive.
type Memory struct {
	mu     sync.Mutex
	queues map[string]*store
}

// NewMemory makes an empty set of queues.
func NewMemory() *Memory { return &Memory{queues: map[string]*store{}} }

// Queue is a handle on the queue with the given name.
func (m *Memory) Queue(name string) queue.Driver {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.queues[name] == nil {
		m.queues[name] = &store{changed: make(chan struct{}), seen: map[[2]string]time.Time{}}
	}
	return &memory{store: m.queues[name], closed: make(chan struct{})}
}

// item is a stored message.
type item struct {
	message     queue.Message
	seq         int
	until       time.Time // hidden until then
	receipt     string    // of the delivery that is not answered
	failures    int
	lost        int
	err, trace  string
	parked      time.Time
	isParked    bool
	wasReturned bool // hidden by an answer, not by a delivery
}

type store struct {
	mu       sync.Mutex
	items    []*item // in order of sending
	groups   []string
	seen     map[[2]string]time.Time
	changed  chan struct{}
	sequence int
}

type memory struct {
	*store
	closed    chan struct{}
	closeOnce sync.Once
}

func (d *memory) open(ctx context.Context) error {
	select {
	case <-d.closed:
		return queue.ErrClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "use memory queue")
	}
	return nil
}

// wake must be called with the lock held.
func (s *store) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Send implements [queue.Driver].
func (d *memory) Send(ctx context.Context, messages []queue.Message) error {
	if err := d.open(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, m := range messages {
		id := [2]string{m.Group, m.DedupID}
		if at, ok := d.seen[id]; ok && m.DedupID != "" && now.Sub(at) < queue.DedupWindow {
			continue
		}
		d.seen[id] = now
		m.Body, m.Attributes = slices.Clone(m.Body), maps.Clone(m.Attributes)
		d.push(m, now)
	}
	d.wake()
	return nil
}

func (s *store) push(m queue.Message, now time.Time) {
	s.sequence++
	m.ID, m.SentAt = strconv.Itoa(s.sequence), now.UTC().Truncate(time.Millisecond)
	s.items = append(s.items, &item{message: m, seq: s.sequence})
	if !slices.Contains(s.groups, m.Group) {
		s.groups = append(s.groups, m.Group)
	}
}

// Receive implements [queue.Driver].
func (d *memory) Receive(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	for {
		if err := d.open(ctx); err != nil {
			return nil, err
		}
		deliveries, changed, next := d.take(limit, visibility)
		if len(deliveries) > 0 {
			return deliveries, nil
		}
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		case <-d.closed:
		}
		timer.Stop()
	}
}

// take hands out from each free group in turn, several of one if others leave room.
func (s *store) take(limit int, visibility time.Duration) ([]queue.Delivery, <-chan struct{}, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var found []queue.Delivery
	next := time.Hour
	for range s.groups {
		group := s.groups[0]
		s.groups = append(s.groups[1:], group) // its turn is over
		waiting := s.waiting(group)
		if i := slices.IndexFunc(waiting, func(i *item) bool { return i.until.After(now) }); i >= 0 {
			next = min(next, waiting[i].until.Sub(now))
			continue
		}
		for _, one := range waiting[:min(len(waiting), 3, limit-len(found))] {
			found = append(found, s.deliver(one, now.Add(visibility)))
		}
		if len(found) == limit {
			break
		}
	}
	return found, s.changed, next
}

func (s *store) waiting(group string) []*item {
	var waiting []*item
	for _, i := range s.items {
		if i.message.Group == group && !i.isParked {
			waiting = append(waiting, i)
		}
	}
	return waiting
}

func (s *store) deliver(i *item, until time.Time) queue.Delivery {
	if i.receipt != "" {
		i.lost++
	}
	s.sequence++
	i.receipt, i.until, i.wasReturned = strconv.Itoa(s.sequence), until, false
	m := i.message
	m.Attempt = i.failures + 1
	m.Body, m.Attributes = slices.Clone(m.Body), maps.Clone(m.Attributes)
	return queue.Delivery{Message: m, Receipt: i.receipt, Lost: i.lost, LastError: i.err, LastTraceID: i.trace}
}

// Settle implements [queue.Driver].
func (d *memory) Settle(ctx context.Context, settlements []queue.Settlement) ([]int, error) {
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var expired []int
	now := time.Now()
	for at, s := range settlements {
		position := slices.IndexFunc(d.items, func(i *item) bool {
			return i.receipt != "" && i.receipt == s.Receipt && i.until.After(now)
		})
		if position < 0 {
			expired = append(expired, at)
			continue
		}
		d.apply(position, s, now)
	}
	d.wake()
	return expired, nil
}

func (s *store) apply(position int, settlement queue.Settlement, now time.Time) {
	i := s.items[position]
	switch settlement.Action {
	case queue.Ack:
		s.items = slices.Delete(s.items, position, position+1)
	case queue.Extend:
		i.until = now.Add(settlement.After)
	case queue.Return:
		i.receipt, i.until, i.wasReturned = "", now.Add(settlement.After), true
	case queue.Retry, queue.Park:
		i.receipt, i.until, i.wasReturned = "", now.Add(settlement.After), true
		i.failures++
		i.err, i.trace = settlement.Error, settlement.TraceID
		if settlement.Action == queue.Park {
			i.isParked, i.parked = true, now
		}
	}
}

// Inspect implements [queue.Driver].
func (d *memory) Inspect(ctx context.Context, r queue.Inspect) (queue.Inspection, error) {
	if err := d.open(ctx); err != nil {
		return queue.Inspection{}, err
	}
	text, err := base64.RawURLEncoding.DecodeString(r.PageToken)
	last := 0
	if err == nil && len(text) > 0 {
		last, err = strconv.Atoi(string(text))
	}
	if err != nil {
		return queue.Inspection{}, fault.New(fault.Invalid, "list parked messages: bad page token")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Limit == 0 {
		return queue.Inspection{Depth: d.depth(time.Now())}, nil
	}
	var found queue.Inspection
	for _, i := range d.items {
		if !i.isParked || i.seq <= last {
			continue
		}
		if len(found.Parked) == r.Limit {
			found.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(last)))
			break
		}
		last = i.seq
		m := i.message
		m.Attempt = i.failures
		found.Parked = append(found.Parked, queue.ParkedMessage{Message: m, Error: i.err, TraceID: i.trace, ParkedAt: i.parked})
	}
	return found, nil
}

func (s *store) depth(now time.Time) queue.Depth {
	var d queue.Depth
	for _, i := range s.items {
		switch {
		case i.isParked:
			d.Parked++
			continue
		case i.until.After(now) && i.wasReturned:
			d.Delayed++
		case i.until.After(now):
			d.InFlight++
		default:
			d.Visible++
		}
		if d.OldestSentAt.IsZero() {
			d.OldestSentAt = i.message.SentAt
		}
	}
	return d
}

// Redrive implements [queue.Driver].
func (d *memory) Redrive(ctx context.Context, ids []string) (int, error) {
	if err := d.open(ctx); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var again []*item
	d.items = slices.DeleteFunc(d.items, func(i *item) bool {
		if !i.isParked || len(ids) > 0 && !slices.Contains(ids, i.message.ID) {
			return false
		}
		again = append(again, i)
		return true
	})
	for _, i := range again {
		d.push(i.message, time.Now())
	}
	d.wake()
	return len(again), nil
}

// Close implements [queue.Driver].
func (d *memory) Close() error {
	d.closeOnce.Do(func() { close(d.closed) })
	return nil
}
