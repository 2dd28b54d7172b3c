package workflow

import (
	"context"
	"strings"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// holdKey is the item whose revision says which runner works on the table: the one that wrote it
// last. It is checked in every write of a runner.
var holdKey = table.Key{Partition: "runner", Sort: "hold"}

// eventsPartition holds what clients in other processes did and the runner has not seen yet.
const eventsPartition = "events"

// Kinds of events. Each happens at most once to its subject, so its key needs nothing else.
const (
	eventStart = "start"
	eventStop  = "stop"
	eventDone  = "done"
)

func event(kind, subject string) table.Write {
	return table.Write{If: table.Any, Item: table.Item{
		Key: table.Key{Partition: eventsPartition, Sort: kind + "/" + subject},
	}}
}

// signal wakes a task that waits for its token. Without a record it has to read that.
type signal struct{ record *record }

// hub is what a runner and the client in its process share.
type hub struct {
	mu       sync.Mutex
	revision int64 // of the hold
	waiters  map[table.Key]chan *signal
	active   map[string]context.CancelCauseFunc // executions at work, by partition
	more     bool                               // there may be executions that found no place
	wake     chan string                        // partitions that were started
	freed    chan struct{}                      // a place became free
}

// startsBuffer is how many starts wait for the runner's loop before it has to look in the index.
const startsBuffer = 1024

func newHub() *hub {
	return &hub{
		waiters: map[table.Key]chan *signal{}, active: map[string]context.CancelCauseFunc{},
		wake: make(chan string, startsBuffer), freed: make(chan struct{}, 1),
	}
}

// hold is the write that fails if another runner took over.
func (h *hub) hold() table.Write {
	return table.Write{Check: true, Item: table.Item{Key: holdKey}, If: table.Condition(h.epoch())}
}

func (h *hub) epoch() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.revision
}

func (h *hub) taken(revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revision = revision
}

func (h *hub) listen(step table.Key) <-chan *signal {
	c := make(chan *signal, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiters[step] = c
	return c
}

func (h *hub) unlisten(step table.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiters, step)
}

func (h *hub) listens(step table.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiters[step] != nil
}

// signal wakes the waiter, if there is one. A waiter that was woken already will look by itself.
func (h *hub) signal(step table.Key, s *signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case h.waiters[step] <- s:
	default:
	}
}

// started tells the runner of a new execution.
func (h *hub) started(partition string) {
	select {
	case h.wake <- partition:
	default:
		h.crowded()
	}
}

// crowded makes the runner look in the index as soon as there is a place.
func (h *hub) crowded() {
	h.mu.Lock()
	h.more = true
	h.mu.Unlock()
	h.notify()
}

func (h *hub) notify() {
	select {
	case h.freed <- struct{}{}:
	default:
	}
}

// stop ends an execution that is at work.
func (h *hub) stop(partition string) {
	h.mu.Lock()
	cancel := h.active[partition]
	h.mu.Unlock()
	if cancel != nil {
		cancel(errEnded)
		return
	}
	h.started(partition) // nothing to cancel, but to clear away
}

// place takes one of at most limit places for an execution. known: it has one.
func (h *hub) place(partition string, cancel context.CancelCauseFunc, limit int) (taken, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.active[partition] != nil:
		return false, true
	case len(h.active) >= limit:
		h.more = true
		return false, false
	}
	h.active[partition] = cancel
	return true, false
}

func (h *hub) leave(partition string) {
	h.mu.Lock()
	delete(h.active, partition)
	h.mu.Unlock()
	h.notify()
}

// takeMore says whether executions may wait for a place, and forgets it.
func (h *hub) takeMore() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	more := h.more
	h.more = false
	return more
}

// handle does what an event asks for.
func (h *hub) handle(sort string) {
	kind, subject, _ := strings.Cut(sort, "/")
	switch kind {
	case eventStart:
		h.started(subject)
	case eventStop:
		h.stop(subject)
	case eventDone:
		parts := strings.SplitN(subject, "/", 3)
		if len(parts) == 3 {
			h.signal(stepKey(parts[0]+"/"+parts[1], parts[2]), &signal{})
		}
	}
}
