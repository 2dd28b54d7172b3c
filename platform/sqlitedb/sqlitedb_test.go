package sqlitedb_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const appID = 0x74657374

func options(path string) sqlitedb.Options {
	return sqlitedb.Options{Path: path, ApplicationID: appID, Schema: []string{
		"CREATE TABLE n (id INTEGER PRIMARY KEY, v TEXT NOT NULL UNIQUE, b BLOB)",
	}}
}

func open(t testing.TB, o sqlitedb.Options) *sqlitedb.DB {
	t.Helper()
	db, err := sqlitedb.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func openNew(t testing.TB) *sqlitedb.DB {
	t.Helper()
	return open(t, options(filepath.Join(t.TempDir(), "a.db")))
}

func insert(c *sqlitedb.Conn, v string) error {
	_, err := c.Exec("INSERT INTO n (v) VALUES (?)", v)
	return err
}

// values are all that is stored, in order.
func values(t testing.TB, db *sqlitedb.DB) string {
	t.Helper()
	var out []string
	err := db.Read(context.Background(), func(c *sqlitedb.Conn) error {
		return c.Query("SELECT v FROM n ORDER BY v", func(r *sqlitedb.Row) error {
			out = append(out, r.Text(0))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

// hold keeps the writer busy, so that the calls that follow are committed as one group.
func hold(db *sqlitedb.DB) (release func()) {
	entered, free, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Write(context.Background(), func(*sqlitedb.Conn) error {
			select {
			case <-free:
			default:
				close(entered)
				<-free
			}
			return nil
		})
	}()
	<-entered
	return func() { close(free); <-done }
}

func TestEachOfAGroupFailsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openNew(t)
		own := errors.New("changed my mind")
		ops := []func(*sqlitedb.Conn) error{
			func(c *sqlitedb.Conn) error { return insert(c, "a") },
			func(*sqlitedb.Conn) error { return own },                                // without a change
			func(c *sqlitedb.Conn) error { return errors.Join(insert(c, "b"), own) }, // after a change
			func(c *sqlitedb.Conn) error { return insert(c, "a") },                   // the database refuses it
			func(c *sqlitedb.Conn) error { return insert(c, "c") },
		}
		release := hold(db)
		errs := make([]error, len(ops))
		var wg sync.WaitGroup
		for i, op := range ops {
			wg.Go(func() { errs[i] = db.Write(context.Background(), op) })
			synctest.Wait() // in this order
		}
		release()
		wg.Wait()
		if errs[0] != nil || errs[4] != nil {
			t.Errorf("good ones failed: %v, %v", errs[0], errs[4])
		}
		if !errors.Is(errs[1], own) || !errors.Is(errs[2], own) || !errors.Is(errs[3], fault.AlreadyExists) {
			t.Errorf("bad ones: %v, %v, %v", errs[1], errs[2], errs[3])
		}
		if got := values(t, db); got != "a c" {
			t.Errorf("stored: %q", got)
		}
	})
}

func TestWaitingWritesShareOneCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openNew(t)
		version, err := db.DataVersion()
		if err != nil {
			t.Fatal(err)
		}
		release := hold(db)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := db.Write(context.Background(), func(c *sqlitedb.Conn) error {
					return insert(c, fmt.Sprint(i))
				}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		release()
		wg.Wait()
		after, err := db.DataVersion()
		if err != nil || after != version+1 {
			t.Errorf("data version went from %d to %d, %v; one commit is one step", version, after, err)
		}
	})
}

func TestAcknowledgedIsSynchronous(t *testing.T) {
	db := openNew(t)
	for pragma, want := range map[string]int64{"synchronous": 2, "fullfsync": 1, "checkpoint_fullfsync": 1} {
		err := db.Write(context.Background(), func(c *sqlitedb.Conn) error {
			return c.Query("PRAGMA "+pragma, func(r *sqlitedb.Row) error {
				if got := r.Int(0); got != want {
					t.Errorf("%s is %d, want %d", pragma, got, want)
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteGivesUpBeforeItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openNew(t)
		release := hold(db)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := db.Write(ctx, func(c *sqlitedb.Conn) error { return insert(c, "late") })
		if fault.CodeOf(err) != fault.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		release()
		// One more, which comes behind the one that was given up.
		if err := db.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "next") }); err != nil {
			t.Error(err)
		}
		if got := values(t, db); got != "next" {
			t.Errorf("stored: %q", got)
		}
	})
}

func TestWriteAnswersTrulyOnceItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openNew(t)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		err := db.Write(ctx, func(c *sqlitedb.Conn) error {
			cancel()
			time.Sleep(time.Second) // the caller sees the end of its context
			return insert(c, "a")
		})
		if got := values(t, db); err != nil || got != "a" {
			t.Errorf("got %v, stored %q", err, got)
		}
	})
}

func TestCloseWaitsForReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openNew(t)
		entered, free, read := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			read <- db.Read(context.Background(), func(c *sqlitedb.Conn) error {
				close(entered)
				<-free
				return c.Query("SELECT count(*) FROM n", func(*sqlitedb.Row) error { return nil })
			})
		}()
		<-entered
		closed := make(chan error, 1)
		go func() { closed <- db.Close() }()
		synctest.Wait()
		select {
		case err := <-closed:
			t.Errorf("closed under a running read: %v", err)
		default:
		}
		close(free)
		if err := errors.Join(<-read, <-closed); err != nil {
			t.Error(err)
		}
	})
}

func TestReadersWaitForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(filepath.Join(t.TempDir(), "a.db"))
		o.Readers = 2
		db := open(t, o)
		free := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				_ = db.Read(context.Background(), func(*sqlitedb.Conn) error { <-free; return nil })
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := db.Read(ctx, func(*sqlitedb.Conn) error { return nil })
		if fault.CodeOf(err) != fault.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		close(free)
		wg.Wait()
		if err := db.Read(context.Background(), func(*sqlitedb.Conn) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseFinishesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		db := open(t, options(path))
		release := hold(db)
		written, closed := make(chan error, 1), make(chan error, 1)
		go func() {
			written <- db.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "a") })
		}()
		synctest.Wait()
		go func() { closed <- db.Close() }()
		synctest.Wait()
		if err := db.Write(context.Background(), func(*sqlitedb.Conn) error { return nil }); !errors.Is(err, fault.Unavailable) {
			t.Errorf("write while closing: %v", err)
		}
		release()
		if err := errors.Join(<-written, <-closed); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"read":  db.Read(context.Background(), func(*sqlitedb.Conn) error { return nil }),
			"write": db.Write(context.Background(), func(*sqlitedb.Conn) error { return nil }),
		} {
			if !errors.Is(err, fault.Unavailable) {
				t.Errorf("%s after close: %v", name, err)
			}
		}
		if _, err := db.DataVersion(); !errors.Is(err, fault.Unavailable) {
			t.Errorf("data version after close: %v", err)
		}
		if got := values(t, open(t, options(path))); got != "a" {
			t.Errorf("stored: %q", got)
		}
	})
}

func TestSnapshotSeesOneState(t *testing.T) {
	db := openNew(t)
	count := func(c *sqlitedb.Conn) (n int64, err error) {
		err = c.Query("SELECT count(*) FROM n", func(r *sqlitedb.Row) error { n = r.Int(0); return nil })
		return n, err
	}
	err := db.Snapshot(context.Background(), func(c *sqlitedb.Conn) error {
		before, err := count(c)
		if err != nil {
			return err
		}
		if err := db.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "a") }); err != nil {
			return err
		}
		after, err := count(c)
		if before != after {
			t.Errorf("snapshot changed from %d to %d", before, after)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := values(t, db); got != "a" {
		t.Errorf("stored: %q", got)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	db := openNew(t)
	err := db.Read(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "a") })
	if err == nil {
		t.Error("a reader wrote")
	}
	if got := values(t, db); got != "" {
		t.Errorf("stored: %q", got)
	}
}

func TestColumnsOfAnotherTypeAreDamage(t *testing.T) {
	db := openNew(t)
	for name, read := range map[string]func(*sqlitedb.Row){
		"integer": func(r *sqlitedb.Row) { r.Int(1) },
		"text":    func(r *sqlitedb.Row) { r.Text(0) },
		"blob":    func(r *sqlitedb.Row) { r.Bytes(1) },
		"null":    func(r *sqlitedb.Row) { r.Text(2) },
	} {
		err := db.Read(context.Background(), func(c *sqlitedb.Conn) error {
			return c.Query("SELECT 1, 'text', NULL", func(r *sqlitedb.Row) error { read(r); return nil })
		})
		if !errors.Is(err, fault.DataLoss) || !strings.Contains(err.Error(), db.Path()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := db.Read(context.Background(), func(c *sqlitedb.Conn) error {
		return c.Query("SELECT ?, ?, ?, ?", func(r *sqlitedb.Row) error {
			if r.Int(0) != 7 || r.Text(1) != "a\x00ü" || string(r.Bytes(2)) != "\x00\xff" || r.Bytes(3) != nil || !r.Null(3) {
				t.Errorf("got %d, %q, %q, %v", r.Int(0), r.Text(1), r.Bytes(2), r.Bytes(3))
			}
			return nil
		}, 7, "a\x00ü", []byte("\x00\xff"), nil)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMistakesOfTheDriverAreInternal(t *testing.T) {
	db := openNew(t)
	for name, fn := range map[string]func(c *sqlitedb.Conn) error{
		"no SQL":        func(c *sqlitedb.Conn) error { _, err := c.Exec("NONSENSE"); return err },
		"argument type": func(c *sqlitedb.Conn) error { _, err := c.Exec("SELECT ?", 1.5); return err },
		"nested statement": func(c *sqlitedb.Conn) error {
			return c.Query("SELECT 1", func(*sqlitedb.Row) error {
				return c.Query("SELECT 1", func(*sqlitedb.Row) error { return nil })
			})
		},
	} {
		if err := db.Read(context.Background(), fn); !errors.Is(err, fault.Internal) {
			t.Errorf("%s: %v", name, err)
		}
		if err := db.Write(context.Background(), fn); !errors.Is(err, fault.Internal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := db.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "a") }); err != nil {
		t.Error(err)
	}
}
