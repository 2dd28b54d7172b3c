package sqlitedb_test

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// asNobody runs fn with the rights of a user who owns nothing, also where the tests run as root,
// whom no mode bits stop. Linux keeps that user per thread; the thread ends with the goroutine.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread()
			if err := syscall.Setfsuid(65534); err != nil {
				t.Error(err)
				return
			}
		}
		fn()
	}()
	<-done
}

func TestOpenWithoutRights(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(dir, "read-only.db")
	if err := open(t, options(readOnly)).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(readOnly, 0o444); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"folder":     filepath.Join(closed, "a.db"),
		"new folder": filepath.Join(closed, "new", "a.db"),
		"file":       readOnly,
	} {
		t.Run(name, func(t *testing.T) {
			asNobody(t, func() {
				_, err := sqlitedb.Open(context.Background(), options(path))
				wantClear(t, err, fault.FailedPrecondition, path, "this user may write")
			})
		})
	}
}

// TestFailingDisk lets the kernel refuse to write, by the process's limit of the size of files:
// SQLite sees an I/O error that is no full disk.
func TestFailingDisk(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "a.db"))
	db := open(t, o)
	ctx := context.Background()
	if err := db.Write(ctx, func(c *sqlitedb.Conn) error { return insert(c, "a") }); err != nil {
		t.Fatal(err)
	}
	large := func(c *sqlitedb.Conn) error {
		_, err := c.Exec("INSERT INTO n (v, b) VALUES ('large', ?)", make([]byte, 4<<20))
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(r syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
			t.Fatal(err)
		}
	}
	limit(syscall.Rlimit{Cur: 1 << 20, Max: old.Max})
	err := db.Write(ctx, large)
	read := values(t, db)
	limit(old)

	wantClear(t, err, fault.Unavailable, o.Path, "kernel log")
	if read != "a" {
		t.Errorf("while the disk failed: stored %q", read)
	}
	if err := db.Write(ctx, large); err != nil {
		t.Errorf("after the disk recovered: %v", err)
	}
	if got := values(t, db); !strings.HasPrefix(got, "a large") {
		t.Errorf("stored: %q", got)
	}
	if err := db.Check(ctx); err != nil {
		t.Error(err)
	}
}
