package sqlitedb

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The states of an op. Whoever moves it away from waiting decides what becomes of it.
const (
	waiting int32 = iota
	taken
	abandoned
)

// op is one call of Write.
type op struct {
	fn    func(*Conn) error
	state atomic.Int32
	err   error      // fn's answer, valid once the group is committed
	done  chan error // buffered: the writer never waits for a caller
}

// Write runs fn inside a transaction and returns nil when its changes are on disk. Calls that wait
// at the same time are committed together, yet each fails or succeeds for itself: an error of fn
// is returned, and fn has then changed nothing.
//
// fn runs in the writer's goroutine, one at a time. It must be quick, must not use the DB, and must
// set rather than add to what it returns through variables: it is run again on its own if it, or
// another one of its group, failed after it had changed something. So an fn best tests before it
// changes.
//
// After [fault.Cancelled] and [fault.DeadlineExceeded] fn was not run. After [fault.Unavailable]
// it is not known whether the change is there, in the rare case that the disk failed at the end.
func (db *DB) Write(ctx context.Context, fn func(*Conn) error) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "write database")
	}
	o := &op{fn: fn, done: make(chan error, 1)}
	select {
	case <-db.closing:
		return errClosed()
	default:
	}
	select {
	case db.ops <- o:
	case <-ctx.Done():
		return fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "wait for the writer")
	case <-db.closing:
		return errClosed()
	}
	var gone error
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		gone = fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "wait for the writer")
	case <-db.stopped:
		gone = errClosed()
	}
	if o.state.CompareAndSwap(waiting, abandoned) {
		return gone
	}
	return <-o.done // already taken: the answer comes with the commit
}

// writer is the only one in this process that changes the file.
type writer struct {
	db   *DB
	conn *Conn // nil after a failure, until the next write
}

func (w *writer) run() {
	defer close(w.db.stopped)
	defer func() { w.db.closeErr = w.drop() }()
	idle := time.NewTimer(idleTime)
	defer idle.Stop()
	for {
		select {
		case o := <-w.db.ops:
			w.group(o)
			idle.Reset(idleTime)
		case <-idle.C:
			w.shrink()
		case <-w.db.closing:
			for {
				select {
				case o := <-w.db.ops:
					w.group(o)
				default:
					return
				}
			}
		}
	}
}

// shrink gives the page cache back: the next write reads again what it needs.
func (w *writer) shrink() {
	if w.conn == nil {
		return
	}
	if _, err := w.conn.Exec("PRAGMA shrink_memory"); err != nil {
		_ = w.drop() // nobody waits for this error; the next write meets it if it stays
	}
}

// drop closes the connection; the next write opens another.
func (w *writer) drop() error {
	if w.conn == nil {
		return nil
	}
	c := w.conn
	w.conn = nil
	return c.close()
}

// group commits o and all that wait behind it, and answers them.
func (w *writer) group(o *op) {
	group := w.take(nil, o)
	if len(group) == 0 {
		return
	}
	if err := w.begin(); err != nil {
		answer(w.fill(group), err)
		return
	}
	group, spoilt := w.apply(group)
	if !spoilt {
		answer(group, w.commit())
		return
	}
	w.rollback()
	if len(group) == 1 {
		answer(group, nil)
		return
	}
	// One of them spoilt it for the others.
	for i := range group {
		w.single(group[i : i+1])
	}
}

// single commits one op on its own.
func (w *writer) single(group []*op) {
	if err := w.begin(); err != nil {
		answer(group, err)
		return
	}
	if w.applyOne(group[0]) {
		w.rollback()
		answer(group, nil)
		return
	}
	answer(group, w.commit())
}

// take adds o to the group unless its caller has gone.
func (w *writer) take(group []*op, o *op) []*op {
	if o.state.CompareAndSwap(waiting, taken) {
		return append(group, o)
	}
	return group
}

// fill adds all that wait right now: they share the group's fate when it cannot even begin.
func (w *writer) fill(group []*op) []*op {
	for len(group) < maxGroup {
		select {
		case o := <-w.db.ops:
			group = w.take(group, o)
		default:
			return group
		}
	}
	return group
}

// apply runs the group and whatever arrives meanwhile, until one of them has spoilt the transaction.
func (w *writer) apply(group []*op) (_ []*op, spoilt bool) {
	end := time.Now().Add(maxGroupTime)
	for i := 0; ; i++ {
		if i == len(group) {
			if group = w.next(group, end); i == len(group) {
				return group, false
			}
		}
		if w.applyOne(group[i]) {
			return group, true
		}
	}
}

// next adds one op to the group, if one waits and there is room and time. A sync costs far more
// than a turn of the scheduler, so callers that were just answered get the chance to come again.
func (w *writer) next(group []*op, end time.Time) []*op {
	if len(group) >= maxGroup || !time.Now().Before(end) {
		return group
	}
	for turn := range 2 {
		if turn > 0 {
			runtime.Gosched()
		}
		for {
			select {
			case o := <-w.db.ops:
				before := len(group)
				if group = w.take(group, o); len(group) > before {
					return group
				}
				continue
			default:
			}
			break
		}
	}
	return group
}

// applyOne runs one op and says whether the transaction is spoilt.
func (w *writer) applyOne(o *op) (spoilt bool) {
	w.conn.changed, w.conn.spoilt = false, false
	o.err = o.fn(w.conn)
	if w.conn.spoilt && o.err == nil {
		o.err = fault.New(fault.Internal, "failure of a statement was ignored")
	}
	return o.err != nil && (w.conn.changed || w.conn.spoilt)
}

// begin takes the file's write lock, waiting for other processes. SQLite's own waiting sleeps up to
// 100 ms at a time and would starve beside a busy process, so the wait is here and short.
func (w *writer) begin() error {
	deadline := time.Now().Add(w.db.options.LockTimeout)
	for {
		err := w.tryBegin()
		if !isBusy(err) || !time.Now().Before(deadline) {
			return err
		}
		time.Sleep(200*time.Microsecond + rand.N(time.Millisecond)) //nolint:gosec // a pause is no secret
	}
}

func (w *writer) tryBegin() error {
	if w.conn == nil {
		c, err := w.db.openWriter(w.db.ctx)
		if err != nil {
			return err
		}
		w.conn = c
	}
	_, err := w.conn.Exec("BEGIN IMMEDIATE")
	if err != nil && !isBusy(err) {
		_ = w.drop() // err says more than the failure to close after it
	}
	return err
}

// commit makes the transaction durable. Where the disk is full it fails for all of the group, and
// nothing of it is there; after another failure it may be there or not.
func (w *writer) commit() error {
	_, err := w.conn.Exec("COMMIT")
	if err != nil {
		w.rollback()
	}
	return err
}

// rollback ends the transaction, also where SQLite has ended it already by itself
// (https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction).
func (w *writer) rollback() {
	broken := w.conn.broken
	_, err := w.conn.Exec("ROLLBACK")
	if broken || (err != nil && !isNoTransaction(err)) {
		_ = w.drop() // the caller gets the error that led here
	}
}

// answer tells everybody of the group: the commit's error, or each its own.
func answer(group []*op, commit error) {
	for _, o := range group {
		if commit != nil {
			o.done <- commit
			continue
		}
		o.done <- o.err
	}
}
