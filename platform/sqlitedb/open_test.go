package sqlitedb_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// wantClear fails unless err has the code, is one line that names the file and says what to do, and
// shows neither to a caller of a service.
func wantClear(t *testing.T, err error, code fault.Code, path, advice string) {
	t.Helper()
	var f *fault.Error
	if !errors.Is(err, code) || !errors.As(err, &f) {
		t.Fatalf("got %v, want %v", err, code)
	}
	text := err.Error()
	if !strings.Contains(text, path) || !strings.Contains(text, advice) || strings.Contains(text, "\n") {
		t.Errorf("not clear: %q", text)
	}
	if strings.Contains(f.Public(), path) {
		t.Errorf("shows the path: %q", f.Public())
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	made := func(name string, change func(*sqlitedb.Options)) string {
		o := options(filepath.Join(dir, name))
		change(&o)
		db, err := sqlitedb.Open(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return o.Path
	}
	healthy := made("healthy.db", func(*sqlitedb.Options) {})
	bytesOf, err := os.ReadFile(healthy)
	if err != nil {
		t.Fatal(err)
	}
	header := append([]byte("SQLite format 4\x00"), bytesOf[16:]...)
	page := append([]byte{}, bytesOf...)
	clear(page[100:4096])

	// As another program leaves a file of its own: without the write-ahead log.
	foreign, err := os.ReadFile(made("foreign.db", func(o *sqlitedb.Options) { o.ApplicationID++ }))
	if err != nil {
		t.Fatal(err)
	}
	foreign[18], foreign[19] = 1, 1 // https://www.sqlite.org/fileformat.html#file_format_version_numbers

	for _, c := range []struct {
		name, path string
		code       fault.Code
		advice     string
	}{
		{"text file", file("text.db", []byte(strings.Repeat("no database\n", 1000))), fault.DataLoss, "restore"},
		{"short file", file("short.db", []byte("x")), fault.DataLoss, "restore"},
		{"damaged header", file("header.db", header), fault.DataLoss, "restore"},
		{"damaged first page", file("page.db", page), fault.DataLoss, "restore"},
		{"another program's file", file("foreign.db", foreign), fault.FailedPrecondition, "choose another path"},
		{"a newer version's file", made("newer.db", func(o *sqlitedb.Options) {
			o.Schema = append(o.Schema, "CREATE TABLE m (id INTEGER PRIMARY KEY)")
		}), fault.FailedPrecondition, "update"},
		{"below a file", filepath.Join(healthy, "a.db"), fault.FailedPrecondition, "folder"},
		{"a folder", dir, fault.FailedPrecondition, "folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := os.ReadFile(c.path)
			_, err := sqlitedb.Open(context.Background(), options(c.path))
			wantClear(t, err, c.code, c.path, c.advice)
			if after, _ := os.ReadFile(c.path); string(before) != string(after) {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := sqlitedb.Open(context.Background(), sqlitedb.Options{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("empty path: %v", err)
	}
}

func TestSchemaGrows(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "a.db"))
	db := open(t, o)
	if err := db.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "a") }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.Schema = append(o.Schema, "ALTER TABLE n ADD COLUMN more TEXT; UPDATE n SET more = v || v", "CREATE TABLE m (id INTEGER)")
	for range 2 { // the second time there is nothing to do
		db := open(t, o)
		err := db.Read(context.Background(), func(c *sqlitedb.Conn) error {
			return c.Query("SELECT more FROM n LEFT JOIN m ON m.id = n.id", func(r *sqlitedb.Row) error {
				if r.Text(0) != "aa" {
					t.Errorf("got %q", r.Text(0))
				}
				return nil
			})
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	o.Schema = append(o.Schema, "CREATE TABLE x (id INTEGER); NONSENSE")
	if _, err := sqlitedb.Open(context.Background(), o); !errors.Is(err, fault.Internal) {
		t.Fatalf("bad schema: %v", err)
	}
	o.Schema[3] = "CREATE TABLE x (id INTEGER)" // nothing of the failed step is left
	open(t, o)
}

func TestLockOfAnotherHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(filepath.Join(t.TempDir(), "a.db"))
		one := open(t, o)
		o.LockTimeout = time.Second
		other := open(t, o)
		release := hold(one)
		err := other.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "a") })
		wantClear(t, err, fault.Unavailable, o.Path, "another process")
		_, err = sqlitedb.Open(context.Background(), o)
		wantClear(t, err, fault.Unavailable, o.Path, "another process")
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if _, err = sqlitedb.Open(ctx, o); fault.CodeOf(err) != fault.DeadlineExceeded {
			t.Errorf("open with a deadline: %v", err)
		}
		release()
		if err := other.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "b") }); err != nil {
			t.Error(err)
		}
		if got := values(t, one); got != "b" {
			t.Errorf("stored: %q", got)
		}
	})
}

func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(filepath.Join(t.TempDir(), "a.db"))
		o.MaxBytes = 256 << 10
		db := open(t, o)
		ctx := context.Background()
		blob := func(v string, size int) func(c *sqlitedb.Conn) error {
			return func(c *sqlitedb.Conn) error {
				_, err := c.Exec("INSERT INTO n (v, b) VALUES (?, ?)", v, make([]byte, size))
				return err
			}
		}
		// A large one among small ones that wait with it: only the large one fails.
		release := hold(db)
		answers := make(chan error, 3)
		for i, size := range []int{10, 1 << 20, 10} {
			go func() { answers <- db.Write(ctx, blob(string(rune('a'+i)), size)) }()
			synctest.Wait()
		}
		release()
		var failed []error
		for range 3 {
			if err := <-answers; err != nil {
				failed = append(failed, err)
			}
		}
		if len(failed) != 1 {
			t.Fatalf("failed: %v", failed)
		}
		wantClear(t, failed[0], fault.ResourceExhausted, o.Path, "free space")
		if got := values(t, db); got != "a c" {
			t.Errorf("stored: %q", got)
		}
		if err := db.Write(ctx, blob("b", 1<<20)); !errors.Is(err, fault.ResourceExhausted) {
			t.Errorf("still full: %v", err)
		}
		if err := db.SetMaxBytes(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(ctx, blob("b", 1<<20)); err != nil {
			t.Errorf("after the quota was lifted: %v", err)
		}
		if err := db.Check(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestCheckFindsDamage(t *testing.T) {
	o := options(filepath.Join(t.TempDir(), "a.db"))
	db := open(t, o)
	for i := range 200 {
		err := db.Write(context.Background(), func(c *sqlitedb.Conn) error {
			return insert(c, strings.Repeat(string(rune('A'+i)), 100))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.Check(context.Background()), db.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	clear(content[len(content)-4096:])
	if err := os.WriteFile(o.Path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db = open(t, o)
	wantClear(t, db.Check(context.Background()), fault.DataLoss, o.Path, "backup")
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	db := open(t, options(filepath.Join(dir, "a ?#%41 ü.db")))
	if err := db.Write(context.Background(), func(c *sqlitedb.Conn) error { return insert(c, "a") }); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("found %v, %v, want file, log and index", entries, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(e.Name(), "a ?#%41 ü.db") {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}
