package sqlitetable_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// TestDamagedExpiry makes items look expired: that must show as damage, and nobody may delete them.
func TestDamagedExpiry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	key := table.Key{Partition: "p", Sort: "s"}
	expires := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	content := stored(t, path, []table.Item{
		{Key: key, Expires: expires, Indexes: map[string]table.Key{"i": key}},
		{Key: table.Key{Partition: "p", Sort: "t"}, Expires: expires},
	})
	// The expiry has six bytes in a record (https://www.sqlite.org/fileformat.html#record_format); the
	// upper two are zeroed wherever it stands, in both rows and in the index over it.
	stamp := binary.BigEndian.AppendUint64(nil, uint64(expires.UnixMilli()))[2:]
	if bytes.Count(content, stamp) != 4 {
		t.Fatalf("expiry is in the file %d times", bytes.Count(content, stamp))
	}
	content = bytes.ReplaceAll(content, stamp, append([]byte{0, 0}, stamp[2:]...))
	rewrite(t, path, content)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // the clock of a test begins in the year 2000
		db := openDB(t, sqlitetable.Options{Path: path})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if rows, places := sqlitetable.Rows(t, db); rows != 2 || places != 1 {
			t.Errorf("%d rows and %d places are left", rows, places)
		}
		ctx, tab := context.Background(), things(db)
		for _, k := range []table.Key{key, {Partition: "p", Sort: "t"}} {
			_, err := tab.Get(ctx, k)
			for name, err := range map[string]error{
				"get":           err,
				"put if absent": tab.Write(ctx, table.Write{Item: table.Item{Key: k}}),
				"put":           tab.Write(ctx, table.Write{Item: table.Item{Key: k}, If: table.Any}),
			} {
				if !errors.Is(err, fault.DataLoss) {
					t.Errorf("%s %q: %v", name, k, err)
				}
			}
		}
		for _, index := range []string{"", "i"} {
			if _, err := tab.Query(ctx, table.Query{Partition: "p", Index: index}); !errors.Is(err, fault.DataLoss) {
				t.Errorf("query of %q: %v", index, err)
			}
		}
	})
}

// TestManyExpired has more expired items than a page passes over: pages may be empty, the query ends.
func TestManyExpired(t *testing.T) {
	db := openDB(t, sqlitetable.Options{Path: filepath.Join(t.TempDir(), "tables.db")})
	ctx, tab := context.Background(), things(db)
	var writes []table.Write
	for i := range 2500 {
		k := table.Key{Partition: "p", Sort: fmt.Sprintf("%04d", i)}
		item := table.Item{Key: k, Indexes: map[string]table.Key{"i": k}}
		if i != 1700 && i != 2499 {
			item.Expires = time.Now().Add(-time.Minute)
		}
		if writes = append(writes, table.Write{Item: item}); len(writes) == table.MaxWriteItems {
			if err := tab.Write(ctx, writes...); err != nil {
				t.Fatal(err)
			}
			writes = nil
		}
	}
	for _, q := range []table.Query{
		{Partition: "p"}, {Partition: "p", Descending: true}, {Partition: "p", Index: "i"},
		{Partition: "p", Index: "i", Descending: true, Limit: 1},
	} {
		found, empty := 0, 0
		for more := true; more; more = q.PageToken != "" {
			page, err := tab.Query(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Items) == 0 {
				empty++
			}
			found += len(page.Items)
			q.PageToken = page.NextPageToken
		}
		if found != 2 || empty == 0 {
			t.Errorf("%+v: found %d items, %d pages were empty", q, found, empty)
		}
	}
}

// TestSweep moves the clock: items expire at their millisecond, and the space comes back.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t, sqlitetable.Options{Path: filepath.Join(t.TempDir(), "tables.db")})
		ctx, tab := context.Background(), things(db)
		at := time.Now().Add(time.Hour)
		const n = 250
		for i := range n {
			k := table.Key{Partition: "p", Sort: fmt.Sprintf("%03d", i)}
			item := table.Item{Key: k, Indexes: map[string]table.Key{"i": k}, Expires: at}
			if i%5 == 0 {
				item.Expires = at.Add(24 * time.Hour)
			}
			if err := tab.Write(ctx, table.Write{Item: item}); err != nil {
				t.Fatal(err)
			}
		}
		count := func(want int) {
			t.Helper()
			for _, index := range []string{"", "i"} {
				page, err := tab.Query(ctx, table.Query{Partition: "p", Index: index})
				if err != nil || len(page.Items) != want {
					t.Errorf("at %v: %d items in %q, %v, want %d", time.Now(), len(page.Items), index, err, want)
				}
			}
		}
		time.Sleep(time.Until(at) - time.Millisecond)
		count(n)
		time.Sleep(time.Millisecond)
		count(n / 5)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		count(n / 5)
		if rows, places := sqlitetable.Rows(t, db); rows != n/5 || places != n/5 {
			t.Errorf("%d rows and %d places lie in the file, want %d", rows, places, n/5)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		count(0)
		if rows, places := sqlitetable.Rows(t, db); rows != 0 || places != 0 {
			t.Errorf("%d rows and %d places lie in the file", rows, places)
		}
	})
}
