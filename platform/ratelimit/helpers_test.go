package ratelimit

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counted passes everything on to the real store and counts what passes.
type counted struct {
	table.Driver
	reads, writes, items, conflicts atomic.Int64
}

func (c *counted) GetAll(ctx context.Context, keys []table.Key) ([]table.Item, error) {
	c.reads.Add(1)
	return c.Driver.GetAll(ctx, keys)
}

func (c *counted) Write(ctx context.Context, writes []table.Write) error {
	c.writes.Add(1)
	c.items.Add(int64(len(writes)))
	err := c.Driver.Write(ctx, writes)
	if err != nil {
		c.conflicts.Add(1)
	}
	return err
}

// store is a table in a real file. Limiters over the same store are like processes that share it.
type store struct {
	*table.Table
	counted *counted
	db      *sqlitetable.DB
}

func newStore(t testing.TB) *store {
	t.Helper()
	// Hundreds of thousands of synced writes: where the system has a file system in memory
	// (Linux), the file is there.
	dir, err := os.MkdirTemp("/dev/shm", "ratelimit")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return storeIn(t, dir)
}

func storeIn(t testing.TB, dir string) *store {
	t.Helper()
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: filepath.Join(dir, "rates.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c := &counted{Driver: db.Table("rates")}
	return &store{Table: table.New(c, table.Options{Name: "rates"}), counted: c, db: db}
}

func (s *store) limiter() *Limiter { return New(Options{Table: s.Table}) }

// put stores a bucket's item as another process would.
func (s *store) put(t testing.TB, key string, value []byte) {
	t.Helper()
	item := table.Item{Key: table.Key{Partition: key, Sort: sortKey}, Value: value}
	if err := s.Write(context.Background(), table.Write{Item: item, If: table.Any}); err != nil {
		t.Fatal(err)
	}
}

// take takes and fails the test on an error.
func take(t testing.TB, l *Limiter, buckets ...Bucket) Decision {
	t.Helper()
	d, err := l.Take(context.Background(), buckets)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (l *Limiter) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// awaitLine returns when n callers stand in line; nobody leaves it while the test holds the turn.
func (l *Limiter) awaitLine(n int) {
	for l.length() < n {
		runtime.Gosched()
	}
}
