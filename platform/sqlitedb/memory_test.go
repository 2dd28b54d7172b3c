package sqlitedb

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"
)

// TestIdleWriterGivesItsCacheBack measures what SQLite itself counts as cache.
func TestIdleWriterGivesItsCacheBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := Open(context.Background(), Options{
			Path: filepath.Join(t.TempDir(), "a.db"), ApplicationID: 1, Schema: []string{"CREATE TABLE n (b BLOB)"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		used := func(c *Conn) int {
			status, ok := c.raw.(sqlite.DBStatus)
			if !ok {
				t.Fatal("the library has no status")
			}
			n, _, err := status.Status(sqlite.DBStatusCacheUsed, false)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		var conn *Conn
		before := 0
		err = db.Write(context.Background(), func(c *Conn) error {
			conn = c
			defer func() { before = used(c) }()
			for range 1000 {
				if _, err := c.Exec("INSERT INTO n VALUES (?)", make([]byte, 3000)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if before < 1<<20 || before > 2*writerCacheKiB<<10 {
			t.Errorf("after much work the cache has %d bytes", before)
		}
		time.Sleep(idleTime)
		synctest.Wait() // the writer stands still again: its connection may be asked
		if n := used(conn); n > 128<<10 {
			t.Errorf("after a pause the cache has %d bytes", n)
		}
		if err := db.Write(context.Background(), func(c *Conn) error {
			_, err := c.Exec("DELETE FROM n")
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// TestBrokenConnectionsAreReplaced marks connections as an error of the disk does.
func TestBrokenConnectionsAreReplaced(t *testing.T) {
	db, err := Open(context.Background(), Options{
		Path: filepath.Join(t.TempDir(), "a.db"), ApplicationID: 1, Schema: []string{"CREATE TABLE n (b BLOB)"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, call := range map[string]func(func(*Conn) error) error{
		"writer": func(fn func(*Conn) error) error { return db.Write(context.Background(), fn) },
		"reader": func(fn func(*Conn) error) error { return db.Read(context.Background(), fn) },
	} {
		var used []*Conn
		for range 3 {
			_ = call(func(c *Conn) error {
				used = append(used, c)
				if len(used) == 2 {
					c.broken, c.spoilt = true, true
				}
				return nil
			})
		}
		if used[0] != used[1] || used[1] == used[2] {
			t.Errorf("%s: connections are %p", name, used)
		}
	}
}
