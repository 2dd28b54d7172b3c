package sqlitedb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"modernc.org/sqlite"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// smallestFile is the smallest page that SQLite knows, and so the smallest file. A shorter one is left
// only by a crash in the very first write, with a rollback journal that makes it empty again.
const smallestFile = 512

// prepareFile makes folder and file for the owner only; SQLite would make them for everybody that
// the umask lets, and gives the journal the rights of the file. An existing file is not even opened:
// closing it again would drop the locks that this process may already hold on it
// (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", fault.New(fault.Invalid, "database path is empty")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", cannotOpen(path, err)
	}
	dir := filepath.Dir(abs)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", cannotOpen(abs, err)
	}
	switch info, err := os.Stat(abs); {
	case err == nil && !info.Mode().IsRegular():
		return "", cannotOpen(abs, errors.New("is not a file"))
	case err == nil && info.Size() > 0 && info.Size() < smallestFile && !exists(abs+"-journal"):
		// SQLite would take it for empty and write over it.
		return "", fault.Wrap(fault.DataLoss, &failure{path: abs, text: "file is too short", advice: adviceNotADB},
			"storage is damaged")
	case err == nil:
		return abs, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", cannotOpen(abs, err)
	}
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return abs, nil // another process was faster
	}
	if err != nil {
		return "", cannotOpen(abs, err)
	}
	if err := f.Close(); err != nil {
		return "", cannotOpen(abs, err)
	}
	// The names of file and folder are to survive a power cut as their contents do.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := syncDir(d); err != nil {
			return "", cannotOpen(abs, err)
		}
	}
	return abs, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil // a folder above that we may pass but not read: not ours to sync
		}
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil // a file system that has no such thing
	}
	return errors.Join(err, d.Close())
}

func cannotOpen(path string, err error) error {
	return fault.Wrap(fault.FailedPrecondition, &failure{path: path, text: err.Error(), advice: adviceOpen},
		"storage cannot be opened for writing")
}

// connect opens a connection. The options of the address are the library's: double-quoted text is
// never a string, SQL cannot damage the file, and messages belong to their error.
func (db *DB) connect() (*Conn, error) {
	address := url.URL{Scheme: "file", Path: filepath.ToSlash(db.options.Path)}
	connector, err := sqlite.NewConnector(address.String() + "?_dqs=0&_defensive=1&_error_rc=1")
	if err != nil {
		return nil, translate(db.options.Path, err)
	}
	raw, err := connector.Connect(db.ctx)
	if err != nil {
		return nil, translate(db.options.Path, err)
	}
	return &Conn{path: db.options.Path, raw: raw, ctx: db.ctx, statements: make(map[string]*statement)}, nil
}

// openWriter opens the connection that writes. It touches nothing before it has seen that the file
// is one of ours.
func (db *DB) openWriter(ctx context.Context) (*Conn, error) {
	c, err := db.connect()
	if err != nil {
		return nil, err
	}
	err = db.untilFree(ctx, func() error {
		if err := db.recognizeAlone(c); err != nil {
			return err
		}
		return c.setWAL()
	})
	if err == nil {
		// Again until free: another process that opened the file may be recovering its journal (SQLITE_BUSY_RECOVERY).
		err = db.untilFree(ctx, func() error { return db.tuneWriter(c) })
	}
	if err != nil {
		_ = c.close() // err says more
		return nil, err
	}
	c.changed, c.spoilt, c.broken = false, false, false
	return c, nil
}

func (db *DB) tuneWriter(c *Conn) error {
	err := c.script(fmt.Sprintf(`PRAGMA synchronous=FULL;
		PRAGMA fullfsync=1;
		PRAGMA checkpoint_fullfsync=1;
		PRAGMA temp_store=MEMORY;
		PRAGMA cache_size=-%d;
		PRAGMA wal_autocheckpoint=%d;
		PRAGMA journal_size_limit=%d`, writerCacheKiB, checkpointPages, journalLimit))
	if err != nil {
		return err
	}
	return c.setMaxBytes(db.options.MaxBytes)
}

func (db *DB) openReader() (*Conn, error) {
	c, err := db.connect()
	if err != nil {
		return nil, err
	}
	err = db.untilFree(db.ctx, func() error {
		return c.script(fmt.Sprintf(`PRAGMA busy_timeout=%d;
			PRAGMA query_only=1;
			PRAGMA temp_store=MEMORY;
			PRAGMA cache_size=-%d`, db.options.LockTimeout.Milliseconds(), readerCacheKiB))
	})
	if err != nil {
		_ = c.close() // err says more
		return nil, err
	}
	return c, nil
}

// recognizeAlone is recognize in a transaction of its own: between two of its questions another process
// may make the file's schema, and the answers would then tell of a file that never was.
func (db *DB) recognizeAlone(c *Conn) error {
	if _, err := c.Exec("BEGIN"); err != nil {
		return err
	}
	if err := db.recognize(c); err != nil {
		_, _ = c.Exec("ROLLBACK") // it has only read; err says more
		return err
	}
	_, err := c.Exec("COMMIT")
	return err
}

// recognize refuses a file that is not ours, or that a newer program has written. An empty one is
// ours. It is called within a transaction.
func (db *DB) recognize(c *Conn) error {
	id, err := c.number("PRAGMA application_id")
	if err != nil {
		return err
	}
	version, err := c.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	objects, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	if id == 0 && version == 0 && objects == 0 {
		return nil
	}
	if id != int64(db.options.ApplicationID) {
		text := fmt.Sprintf("it has application id %#x, expected %#x", id, db.options.ApplicationID)
		return fault.Wrap(fault.FailedPrecondition, &failure{
			path: c.path, text: text, advice: "it was written by another program: choose another path",
		}, "storage belongs to another program")
	}
	if known := len(db.options.Schema); version > int64(known) {
		text := fmt.Sprintf("it has schema version %d, this program knows %d", version, known)
		return fault.Wrap(fault.FailedPrecondition, &failure{
			path: c.path, text: text, advice: "it was written by a newer version of the program: update this one",
		}, "storage is newer than this program")
	}
	return nil
}

// migrate brings the schema up to date in one transaction. It takes the write lock even if there is
// nothing to do, so that a file that cannot be written is found now and not at the first write.
func (db *DB) migrate(ctx context.Context, c *Conn) error {
	err := db.untilFree(ctx, func() error {
		_, err := c.Exec("BEGIN IMMEDIATE")
		return err
	})
	if err != nil {
		return err
	}
	if err := db.applySchema(c); err != nil {
		_, _ = c.Exec("ROLLBACK") // the connection is closed next
		return err
	}
	_, err = c.Exec("COMMIT")
	return err
}

func (db *DB) applySchema(c *Conn) error {
	// Again, now under the lock: another process may have come first.
	if err := db.recognize(c); err != nil {
		return err
	}
	version, err := c.number("PRAGMA user_version")
	if err != nil || version == int64(len(db.options.Schema)) {
		return err
	}
	for _, step := range db.options.Schema[version:] {
		if err := c.script(step); err != nil {
			return err
		}
	}
	return c.script(fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d",
		db.options.ApplicationID, len(db.options.Schema)))
}

// untilFree repeats what another process's lock prevents. Some of it SQLite does not wait for by
// itself, such as the change to WAL.
func (db *DB) untilFree(ctx context.Context, try func() error) error {
	deadline := time.Now().Add(db.options.LockTimeout)
	for {
		err := try()
		if !isBusy(err) || !time.Now().Before(deadline) {
			return err
		}
		pause := time.NewTimer(time.Millisecond + rand.N(5*time.Millisecond)) //nolint:gosec // a pause is no secret
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "open database")
		}
	}
}
