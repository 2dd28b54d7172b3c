package sqlitequeue

import (
	"context"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// How often other processes' changes are looked for while a consumer waits: quickly after a change,
// less and less often while nothing happens. A process that says that it is alone looks just in case.
const (
	pollFast      = 25 * time.Millisecond
	pollSlow      = 100 * time.Millisecond
	pollExclusive = 5 * time.Second
)

// unknown stands for the due time of the first hidden lane while a receive is looking.
const unknown = -1

// waker tells the waiting receives of one queue that there may be something.
type waker struct {
	mu     sync.Mutex
	signal chan struct{} // closed at the next change
	next   int64         // when the first hidden lane is due that the last look saw; 0: none

	receiving int // guarded by the DB's lock
}

func newWaker() *waker { return &waker{signal: make(chan struct{})} }

// enter and leave surround a receive. Polling goes on as long as there is one.
func (db *DB) enter(w *waker) {
	db.mu.Lock()
	defer db.mu.Unlock()
	w.receiving++
	select {
	case db.wanted <- struct{}{}:
	default: // it is awake, or about to be
	}
}

func (db *DB) leave(w *waker) {
	db.mu.Lock()
	defer db.mu.Unlock()
	w.receiving--
}

// listen returns a channel that is closed at the next change. Listen first, then look, then say
// what was expected: a change in between is not missed.
func (w *waker) listen() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = unknown
	return w.signal
}

func (w *waker) expect(next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = next
}

// wake tells all that listen.
func (w *waker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.signal)
	w.signal = make(chan struct{})
}

func (w *waker) expected() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// poll looks for changes until the file is closed. Most of what it sees was done by this process,
// whose consumers were woken already, so it wakes only where there is something to get. While
// nobody receives it sleeps.
func (db *DB) poll() {
	pause := pollFast
	timer := time.NewTimer(pause)
	defer timer.Stop()
	last := int64(-1)
	for {
		if !db.receiving() {
			select {
			case <-db.wanted:
				continue
			case <-db.closing:
				return
			}
		}
		select {
		case <-timer.C:
		case <-db.closing:
			return
		}
		pause = min(pause*3/2, db.pollSlow)
		// First the version, then who waits: one who comes in between looks for himself and sees
		// that version. An error is no one's to handle here: the next receive meets it too.
		if version, err := db.sql.DataVersion(); err == nil && version != last {
			pause = pollFast
			if db.look() {
				last = version
			}
		}
		timer.Reset(pause)
	}
}

func (db *DB) receiving() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, w := range db.wakers {
		if w.receiving > 0 {
			return true
		}
	}
	return false
}

// look wakes those for whom there is something. It has to look again if the first receive on a
// queue is still on its way: who it is and what it saw is not known yet.
func (db *DB) look() (complete bool) {
	complete = true
	for id, w := range db.waiting() {
		if id == 0 {
			complete = false
			continue
		}
		expected := w.expected()
		some, next, err := db.pending(id)
		if err != nil || some || next != expected {
			w.wake()
		}
	}
	return complete
}

// waiting is the queues in which something is waited for; those of unknown id are one under 0.
func (db *DB) waiting() map[int64]*waker {
	db.mu.Lock()
	defer db.mu.Unlock()
	waiting := make(map[int64]*waker, len(db.wakers))
	for name, w := range db.wakers {
		if w.receiving > 0 {
			waiting[db.ids[name].id] = w
		}
	}
	return waiting
}

// pending says whether a queue has a ready lane, and when the next hidden one is due.
func (db *DB) pending(id int64) (some bool, next int64, err error) {
	err = db.sql.Read(context.Background(), func(c *sqlitedb.Conn) error {
		err := c.Query(`SELECT 1 FROM lane WHERE queue = ? AND state = 0 LIMIT 1`, func(*sqlitedb.Row) error {
			some = true
			return nil
		}, id)
		if err != nil || some {
			return err
		}
		next, err = nextDue(c, id)
		return err
	})
	return some, next, err
}

// nextDue is when the first hidden lane is due, 0 if there is none.
func nextDue(c *sqlitedb.Conn, id int64) (next int64, err error) {
	err = c.Query(`SELECT coalesce(min(until), 0) FROM lane WHERE queue = ? AND state <> 0`, func(r *sqlitedb.Row) error {
		next = r.Int(0)
		return nil
	}, id)
	return next, err
}
