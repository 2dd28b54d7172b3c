// Package sqlitequeue is the queue driver for one machine: many queues in one SQLite file, used by
// one process or several.
//
// What Send took survives kill -9 and power loss. Deliveries that a process did not answer before
// it died come again when their visibility ends, or at once when it starts again with
// [Options.ReleaseOnOpen]. Groups take turns: one that was served goes behind all that wait.
//
// Consumers in this process are woken when there is something; those in other processes notice
// within 100 ms, by asking SQLite for its data version, which touches no disk. A process that has
// the file to itself can say so with [Options.Exclusive].
//
// It hands out one message of a group at a time and never packs several into one receive.
package sqlitequeue

import (
	"context"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// Options configure a file of queues.
type Options struct {
	// Path is the database file. It is made if it does not exist.
	Path string
	// Consumer names this process among those that use the file at the same time, such as
	// "scanner-2". It must be the same after a restart and no other live process may have it. A
	// process that has the file to itself needs none.
	Consumer string
	// ReleaseOnOpen makes what an earlier process of the same Consumer had in flight visible at
	// once. Nobody else with that name may be running.
	ReleaseOnOpen bool
	// Exclusive says that no other process uses the file, so nobody has to look out for its changes
	// (ten short looks a second while somebody receives). Should there be one nevertheless, what it
	// sends is noticed after up to 5 s and nothing else suffers.
	Exclusive bool
	// MaxBytes is a quota for the file. 0: none. Send beyond it is [fault.ResourceExhausted].
	MaxBytes int64
}

// DB is an open file of queues.
type DB struct {
	sql      *sqlitedb.DB
	consumer string
	pollSlow time.Duration

	closing   chan struct{}
	closeOnce sync.Once
	polling   sync.WaitGroup
	wanted    chan struct{} // tells the polling goroutine that somebody receives

	mu     sync.Mutex
	ids    map[string]queueID
	wakers map[string]*waker // of the queues somebody asked for
}

// queueID is what the file knows a queue by.
type queueID struct {
	id   int64
	salt string
}

// Open opens the file. See sqlitedb for its errors.
func Open(ctx context.Context, o Options) (*DB, error) {
	sql, err := sqlitedb.Open(ctx, sqlitedb.Options{
		Path: o.Path, ApplicationID: applicationID, Schema: schema, MaxBytes: o.MaxBytes, Readers: 2,
	})
	if err != nil {
		return nil, err
	}
	db := &DB{
		sql:      sql,
		consumer: o.Consumer,
		pollSlow: pollSlow,
		closing:  make(chan struct{}),
		wanted:   make(chan struct{}, 1),
		ids:      map[string]queueID{},
		wakers:   map[string]*waker{},
	}
	if o.Exclusive {
		db.pollSlow = pollExclusive
	}
	if o.ReleaseOnOpen {
		if err := db.release(ctx); err != nil {
			_ = sql.Close() // the error before it says more
			return nil, err
		}
	}
	db.polling.Go(db.poll)
	return db, nil
}

// release makes visible what this consumer had in flight when it died. It counts as lost, because
// it may be why. Those lanes come first: they had their turn.
func (db *DB) release(ctx context.Context) error {
	return db.sql.Write(ctx, func(c *sqlitedb.Conn) error {
		_, err := c.Exec(`UPDATE lane SET state = 0, turn = 0, lost = lost + 1 WHERE state = 2 AND consumer = ?`, db.consumer)
		return err
	})
}

// Queue is the queue with the given name. It comes into being when something is sent to it.
func (db *DB) Queue(name string) queue.Driver {
	db.mu.Lock()
	defer db.mu.Unlock()
	w := db.wakers[name]
	if w == nil {
		w = newWaker()
		db.wakers[name] = w
	}
	return &driver{db: db, name: name, waker: w, closed: make(chan struct{})}
}

// Close ends waiting calls of all queues and closes the file.
func (db *DB) Close() error {
	db.closeOnce.Do(func() { close(db.closing) })
	db.polling.Wait()
	return db.sql.Close()
}

// driver is one queue.
type driver struct {
	db        *DB
	name      string
	waker     *waker
	closed    chan struct{}
	closeOnce sync.Once
}

var _ queue.Driver = (*driver)(nil)

// Close implements [queue.Driver].
func (d *driver) Close() error {
	d.closeOnce.Do(func() { close(d.closed) })
	return nil
}

// open returns queue.ErrClosed after Close of the queue or the file.
func (d *driver) open() error {
	select {
	case <-d.closed:
		return queue.ErrClosed
	case <-d.db.closing:
		return queue.ErrClosed
	default:
		return nil
	}
}

// write runs fn in a transaction with the queue's row in place.
func (d *driver) write(ctx context.Context, fn func(c *sqlitedb.Conn, q queueID) error) error {
	if err := d.open(); err != nil {
		return err
	}
	q, known := d.known()
	err := d.db.sql.Write(ctx, func(c *sqlitedb.Conn) error {
		if !known {
			var err error
			if q, err = enter(c, d.name); err != nil {
				return err
			}
		}
		return fn(c, q)
	})
	if err != nil {
		return d.failed(err)
	}
	if !known {
		d.keep(q)
	}
	return nil
}

// failed says that the queue is closed where the file only says that it is.
func (d *driver) failed(err error) error {
	if d.open() != nil && fault.CodeOf(err) == fault.Unavailable {
		return queue.ErrClosed
	}
	return err
}

func (d *driver) known() (queueID, bool) {
	d.db.mu.Lock()
	defer d.db.mu.Unlock()
	q, ok := d.db.ids[d.name]
	return q, ok
}

func (d *driver) keep(q queueID) {
	d.db.mu.Lock()
	defer d.db.mu.Unlock()
	d.db.ids[d.name] = q
}

// enter finds the queue's row or makes it.
func enter(c *sqlitedb.Conn, name string) (queueID, error) {
	q, found, err := find(c, name)
	if err != nil || found {
		return q, err
	}
	if _, err := c.Exec(`INSERT INTO queue (name, salt) VALUES (?, ?)`, name, newSalt()); err != nil {
		return queueID{}, err
	}
	q, _, err = find(c, name)
	return q, err
}

func find(c *sqlitedb.Conn, name string) (q queueID, found bool, err error) {
	err = c.Query(`SELECT id, salt FROM queue WHERE name = ?`, func(r *sqlitedb.Row) error {
		q, found = queueID{id: r.Int(0), salt: r.Text(1)}, true
		return nil
	}, name)
	return q, found, err
}

// lastTurn is the place of the last ready lane. Who comes next gets a higher one.
func lastTurn(c *sqlitedb.Conn, q queueID) (turn int64, err error) {
	err = c.Query(`SELECT coalesce(max(turn), 0) FROM lane WHERE queue = ? AND state = 0`, func(r *sqlitedb.Row) error {
		turn = r.Int(0)
		return nil
	}, q.id)
	return turn, err
}

// millis is a time as it is stored.
func millis(t time.Time) int64 { return t.UnixMilli() }

// after is the stored time that lies d after now, rounded up: never too early.
func after(now time.Time, d time.Duration) int64 {
	return now.Add(d + time.Millisecond - 1).UnixMilli()
}
