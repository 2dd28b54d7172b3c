// Package sqlitedb is the shell around one SQLite file that the embedded drivers share: opening and
// checking it, a writer with group commit, a few readers, and errors as fault codes that say in one
// line which file it is and what to do.
//
// What it promises: [DB.Write] returns nil only after the change was synced to disk (WAL journal,
// synchronous=FULL, https://www.sqlite.org/pragma.html#pragma_synchronous); all that wait at the same
// time share one sync. Several processes may use one file. It refuses to know any table: schema and
// statements belong to the driver above, which sees no type of the SQL library.
package sqlitedb

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Defaults of [Options], and fixed limits.
const (
	// DefaultReaders is the number of reading connections. They are opened when first needed.
	DefaultReaders = 4
	// DefaultLockTimeout is how long a write waits for another process to finish its own.
	DefaultLockTimeout = 10 * time.Second

	// maxGroup and maxGroupTime bound what is committed together, so that neither the first waits
	// long for the last nor the journal grows without end.
	maxGroup     = 256
	maxGroupTime = 20 * time.Millisecond

	// Page caches, in KiB: each connection has its own, and the whole platform is to stay small. The
	// writer's is given back once there was nothing to write for idleTime.
	writerCacheKiB = 16384
	readerCacheKiB = 1024
	idleTime       = 10 * time.Second
	// The journal is copied back into the file when it has this many pages of 4 KiB. SQLite's
	// default of 1000 copies pages that are written again and again four times as often. Should it
	// have grown beyond journalLimit, because of a long read, it is cut back afterwards.
	checkpointPages = 4000
	journalLimit    = 32 << 20
)

// Options say which file and what it is.
type Options struct {
	// Path of the database file. It is created, readable by the owner only, and so is its folder.
	Path string
	// ApplicationID is written into a new file and must be found in an old one, so that a file is
	// not taken for another driver's (https://www.sqlite.org/pragma.html#pragma_application_id).
	ApplicationID int32
	// Schema holds the SQL that brings the file from version i to i+1; the last one's is the
	// version that this program knows. Entries are only ever appended.
	Schema []string
	// MaxBytes is a quota for the file, rounded down to pages and not counting the journal beside
	// it (usually below 17 MiB). Writes beyond it are [fault.ResourceExhausted]. 0: SQLite's limit.
	MaxBytes int64
	// Readers bounds concurrent reads. 0: DefaultReaders.
	Readers int
	// LockTimeout bounds the wait for other processes. 0: DefaultLockTimeout.
	LockTimeout time.Duration
}

// DB is an open file. It is safe for concurrent use.
type DB struct {
	options Options
	ctx     context.Context // see Conn

	ops     chan *op
	closing chan struct{} // closed by Close: take nothing new
	stopped chan struct{} // closed by the writer: nothing runs any more

	closeOnce sync.Once
	closeErr  error

	slots chan struct{} // one token for each read that is running

	mu    sync.Mutex
	idle  []*Conn // readers, last used first
	watch *Conn   // see DataVersion
}

// Open opens or creates the file, brings its schema up to date and starts the writer. The caller
// closes it. Errors are [fault.FailedPrecondition] (folder or file cannot be written, another
// program's file, a newer version's file), [fault.DataLoss] (no database, damaged),
// [fault.ResourceExhausted] and [fault.Unavailable].
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Readers <= 0 {
		o.Readers = DefaultReaders
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	path, err := prepareFile(o.Path)
	if err != nil {
		return nil, err
	}
	o.Path = path
	db := &DB{
		options: o,
		ctx:     context.WithoutCancel(ctx),
		ops:     make(chan *op, maxGroup),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		slots:   make(chan struct{}, o.Readers),
	}
	conn, err := db.openWriter(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx, conn); err != nil {
		_ = conn.close() // err says more
		return nil, err
	}
	go (&writer{db: db, conn: conn}).run()
	return db, nil
}

// Path is the absolute path of the file.
func (db *DB) Path() string { return db.options.Path }

// Close lets running reads and the waiting writes finish, refuses new ones and closes the file. A
// second call returns what the first did.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		close(db.closing)
		for range db.options.Readers {
			db.slots <- struct{}{} // each read that runs gives its slot back
		}
		<-db.stopped
		db.mu.Lock()
		defer db.mu.Unlock()
		for _, c := range db.idle {
			db.closeErr = errors.Join(db.closeErr, c.close())
		}
		db.idle = nil
		if db.watch != nil {
			db.closeErr = errors.Join(db.closeErr, db.watch.close())
			db.watch = nil
		}
	})
	return db.closeErr
}

// Read runs fn with a reading connection. Each statement sees all writes that were acknowledged
// before it began, but two statements may see different states: see [DB.Snapshot].
func (db *DB) Read(ctx context.Context, fn func(*Conn) error) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "read database")
	}
	select {
	case <-db.closing:
		return errClosed()
	default:
	}
	select {
	case db.slots <- struct{}{}:
	case <-ctx.Done():
		return fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "wait for a reader")
	case <-db.closing:
		return errClosed()
	}
	defer func() { <-db.slots }()
	c, err := db.takeReader()
	if err != nil {
		return err
	}
	defer db.returnReader(c)
	return fn(c)
}

// Snapshot is Read with all statements of fn seeing one and the same state.
func (db *DB) Snapshot(ctx context.Context, fn func(*Conn) error) error {
	return db.Read(ctx, func(c *Conn) error {
		if _, err := c.Exec("BEGIN"); err != nil {
			return err
		}
		err := fn(c)
		if _, e := c.Exec("ROLLBACK"); e != nil {
			c.broken = true // never give out a connection that is still inside
		}
		return err
	})
}

// DataVersion is a number that changes when anybody, in this process or another, has changed the
// file. Asking costs a few microseconds and no disk access, so it can be polled
// (https://www.sqlite.org/pragma.html#pragma_data_version).
func (db *DB) DataVersion() (int64, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	select {
	case <-db.closing:
		return 0, errClosed()
	default:
	}
	if db.watch == nil {
		c, err := db.openReader()
		if err != nil {
			return 0, err
		}
		db.watch = c
	}
	version, err := db.watch.number("PRAGMA data_version")
	if db.watch.broken {
		_ = db.watch.close() // err says more
		db.watch = nil
	}
	return version, err
}

// Check reads the whole file and reports damage as [fault.DataLoss]. It takes about a second per
// 100 MB and blocks nobody (https://www.sqlite.org/pragma.html#pragma_integrity_check).
func (db *DB) Check(ctx context.Context) error {
	return db.Read(ctx, func(c *Conn) error {
		return c.Query("PRAGMA integrity_check(1)", func(r *Row) error {
			if text := r.Text(0); text != "ok" {
				return damaged(db.options.Path, text)
			}
			return nil
		})
	})
}

// SetMaxBytes changes the quota of [Options]; 0 lifts it. It is never set below the present size.
func (db *DB) SetMaxBytes(ctx context.Context, n int64) error {
	return db.Write(ctx, func(c *Conn) error { return c.setMaxBytes(n) })
}

func (db *DB) takeReader() (*Conn, error) {
	db.mu.Lock()
	if n := len(db.idle); n > 0 {
		c := db.idle[n-1]
		db.idle = db.idle[:n-1]
		db.mu.Unlock()
		return c, nil
	}
	db.mu.Unlock()
	return db.openReader()
}

func (db *DB) returnReader(c *Conn) {
	if c.broken {
		_ = c.close() // whoever used it got the error
		return
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.idle = append(db.idle, c)
}

func errClosed() error { return fault.New(fault.Unavailable, "database is closed") }
