package sqlitetable_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

const (
	benchTenants    = 100
	benchPerTenant  = 200
	benchValueBytes = 512
)

func benchKey() table.Key {
	return table.Key{
		Partition: fmt.Sprintf("tenant-%03d", rand.IntN(benchTenants)),
		Sort:      fmt.Sprintf("job-%06d", rand.IntN(benchPerTenant)),
	}
}

// BenchmarkUpsert compares durable single-row upserts over 20,000 keys: a bare loop over
// database/sql, the table from 32 callers, and the table in writes of 50 items. One operation is
// one row in all three; rows/s is what to compare.
func BenchmarkUpsert(b *testing.B) {
	b.Run("floor", benchFloor)
	b.Run("table", func(b *testing.B) { benchTable(b, 1, 32) })
	b.Run("tableBatch", func(b *testing.B) { benchTable(b, 50, 1) })
}

func benchFloor(b *testing.B) {
	path := filepath.Join(b.TempDir(), "floor.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE rows (pk TEXT, sk TEXT, val BLOB, PRIMARY KEY (pk, sk)) WITHOUT ROWID"); err != nil {
		b.Fatal(err)
	}
	upsert, err := db.Prepare("INSERT INTO rows VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET val = excluded.val")
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, benchValueBytes)
	b.ResetTimer()
	for done := 0; done < b.N; {
		tx, err := db.Begin()
		if err != nil {
			b.Fatal(err)
		}
		s := tx.Stmt(upsert) //nolint:sqlclosecheck // the commit closes it
		for i := 0; i < 100 && done < b.N; i++ {
			k := benchKey()
			if _, err := s.Exec(k.Partition, k.Sort, value); err != nil {
				b.Fatal(err)
			}
			done++
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func benchTable(b *testing.B, batch, callers int) {
	tab := table.New(openDB(b, sqlitetable.Options{Path: filepath.Join(b.TempDir(), "table.db")}).Table("jobs"),
		table.Options{Name: "jobs"})
	value := make([]byte, benchValueBytes)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				start := int(next.Add(int64(batch))) - batch
				if start >= b.N {
					return
				}
				n := min(batch, b.N-start)
				writes := make([]table.Write, 0, n)
				seen := make(map[table.Key]bool, n)
				for len(writes) < n {
					k := benchKey()
					if !seen[k] {
						seen[k] = true
						writes = append(writes, table.Write{Item: table.Item{Key: k, Value: value}, If: table.Any})
					}
				}
				if err := tab.Write(context.Background(), writes...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkGet compares reads of one of 20,000 items, from as many callers as there are processors.
func BenchmarkGet(b *testing.B) {
	path := filepath.Join(b.TempDir(), "table.db")
	tab := table.New(openDB(b, sqlitetable.Options{Path: path}).Table("jobs"), table.Options{Name: "jobs"})
	for t := range benchTenants {
		for from := 0; from < benchPerTenant; from += table.MaxWriteItems {
			var writes []table.Write
			for i := range table.MaxWriteItems {
				writes = append(writes, table.Write{If: table.Any, Item: table.Item{
					Key: table.Key{
						Partition: fmt.Sprintf("tenant-%03d", t),
						Sort:      fmt.Sprintf("job-%06d", from+i),
					},
					Value: make([]byte, benchValueBytes),
				}})
			}
			if err := tab.Write(context.Background(), writes...); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("floor", func(b *testing.B) {
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		get, err := db.Prepare("SELECT rev, val FROM items WHERE tbl = 'jobs' AND pk = ? AND sk = ?")
		if err != nil {
			b.Fatal(err)
		}
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				k := benchKey()
				var rev int64
				var value []byte
				if err := get.QueryRow(k.Partition, k.Sort).Scan(&rev, &value); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("table", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := tab.Get(context.Background(), benchKey()); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
