package sqlitetable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// stored closes a file that holds the items and returns its bytes.
func stored(t *testing.T, path string, items []table.Item) []byte {
	t.Helper()
	db := openDB(t, sqlitetable.Options{Path: path})
	for _, item := range items {
		if err := things(db).Write(context.Background(), table.Write{Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// rewrite replaces the content of a file in place. A file that was truncated is synced by some file
// systems when it is closed, which takes a while a thousand times.
func rewrite(t *testing.T, path string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(content, 0)
	if err := errors.Join(err, f.Truncate(int64(len(content))), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// with opens the file with other content.
func with(t *testing.T, path string, content []byte, fn func(*sqlitetable.DB)) error {
	t.Helper()
	rewrite(t, path, content)
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: path})
	if err != nil {
		return err
	}
	fn(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return nil
}

// TestEveryBitOfAValue flips each bit of a stored value, and wants every way to read it to notice.
func TestEveryBitOfAValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	key := table.Key{Partition: "tenant", Sort: "item"}
	item := table.Item{Key: key, Value: []byte("a value that is found only once in the file"),
		Indexes: map[string]table.Key{"i": key}}
	content := stored(t, path, []table.Item{item})
	at := bytes.Index(content, item.Value)
	if at < 0 || bytes.Count(content, item.Value) != 1 {
		t.Fatal("value is not in the file once")
	}
	for bit := range len(item.Value) * 8 {
		damaged := bytes.Clone(content)
		damaged[at+bit/8] ^= 1 << (bit % 8)
		err := with(t, path, damaged, func(db *sqlitetable.DB) {
			ctx, tab := context.Background(), things(db)
			_, get := tab.Get(ctx, key)
			_, getAll := tab.GetAll(ctx, []table.Key{key})
			_, query := tab.Query(ctx, table.Query{Partition: key.Partition})
			_, index := tab.Query(ctx, table.Query{Partition: key.Partition, Index: "i"})
			for name, err := range map[string]error{
				"get": get, "get all": getAll, "query": query, "index": index, "check": db.Check(ctx),
			} {
				if !errors.Is(err, fault.DataLoss) || !strings.Contains(err.Error(), `{"tenant" "item"}`) {
					t.Errorf("bit %d: %s: %v, want data loss that names the key", bit, name, err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnyBitOfTheFile flips bits anywhere. A read may fail or still be right, but never be wrong; and
// if an item looks absent, then at least Check notices.
func TestAnyBitOfTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	var items []table.Item
	for i := range 60 {
		k := table.Key{Partition: fmt.Sprintf("tenant%d", i%3), Sort: fmt.Sprintf("item%02d", i)}
		item := table.Item{Key: k, Value: bytes.Repeat([]byte(k.Sort), 30)}
		if i%2 == 0 {
			item.Indexes = map[string]table.Key{"i": {Partition: k.Partition, Sort: fmt.Sprintf("place%02d", i)}}
		}
		if i%3 == 0 {
			item.Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
		}
		items = append(items, item)
	}
	content := stored(t, path, items)
	random := rand.New(rand.NewPCG(7, uint64(len(content))))
	noticed := 0
	for range 1000 {
		bit := random.IntN(len(content) * 8)
		damaged := bytes.Clone(content)
		damaged[bit/8] ^= 1 << (bit % 8)
		ok := true
		err := with(t, path, damaged, func(db *sqlitetable.DB) { ok = readAll(t, db, items, bit) })
		if err != nil && fault.CodeOf(err) != fault.DataLoss && fault.CodeOf(err) != fault.FailedPrecondition {
			t.Errorf("bit %d: open: %v", bit, err)
		}
		if err != nil || !ok {
			noticed++
		}
	}
	t.Logf("%d of 1000 flipped bits hit something and were noticed", noticed)
}

// readAll reads every item in every way, and says whether all was well.
func readAll(t *testing.T, db *sqlitetable.DB, items []table.Item, bit int) bool {
	t.Helper()
	ctx, tab := context.Background(), things(db)
	same := func(want, got table.Item) bool {
		return want.Key == got.Key && bytes.Equal(want.Value, got.Value) && got.Revision == 1 &&
			want.Expires.Equal(got.Expires) && fmt.Sprint(want.Indexes) == fmt.Sprint(got.Indexes)
	}
	missing, failed := 0, 0
	for _, want := range items {
		got, err := tab.Get(ctx, want.Key)
		switch {
		case errors.Is(err, fault.NotFound):
			missing++
		case err != nil:
			failed++
		case !same(want, got):
			t.Errorf("bit %d: got %+v, want %+v", bit, got, want)
		}
	}
	found, indexed := 0, 0
	for p := range 3 {
		for index, count := range map[string]*int{"": &found, "i": &indexed} {
			page, err := tab.Query(ctx, table.Query{Partition: fmt.Sprintf("tenant%d", p), Index: index})
			if err != nil {
				failed++
			}
			*count += len(page.Items)
			for _, got := range page.Items {
				if !anyOf(items, func(want table.Item) bool { return same(want, got) }) {
					t.Errorf("bit %d: query returned %+v", bit, got)
				}
			}
		}
	}
	well := missing == 0 && failed == 0 && found == len(items) && indexed == len(items)/2
	checked := db.Check(ctx)
	if !well && checked == nil {
		t.Errorf("bit %d: %d missing, %d failed, %d found, %d in the index, and Check noticed nothing",
			bit, missing, failed, found, indexed)
	}
	if checked != nil && !errors.Is(checked, fault.DataLoss) {
		t.Errorf("bit %d: check: %v", bit, checked)
	}
	return well && checked == nil
}

func anyOf(items []table.Item, ok func(table.Item) bool) bool {
	for _, i := range items {
		if ok(i) {
			return true
		}
	}
	return false
}

func TestOpenRefusesWhatIsNoTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	content := stored(t, path, nil)
	copy(content, "nonsense nonsense")
	err := with(t, path, content, func(*sqlitetable.DB) { t.Error("opened") })
	text := fmt.Sprint(err)
	if !errors.Is(err, fault.DataLoss) || !strings.Contains(text, path) || !strings.Contains(text, "restore") ||
		strings.Contains(text, "\n") {
		t.Errorf("got %v", err)
	}
}

// TestFull fills a file up to its quota. What was acknowledged stays readable, and writes go on once
// there is room, be it by deleting or by a larger quota.
func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	db := openDB(t, sqlitetable.Options{Path: path, MaxBytes: 1 << 20})
	ctx, tab := context.Background(), things(db)
	key := func(i int) table.Key { return table.Key{Partition: "p", Sort: fmt.Sprintf("%04d", i)} }
	put := func(i int) table.Write {
		return table.Write{Item: table.Item{Key: key(i), Value: make([]byte, 20<<10)}}
	}
	n := 0
	var err error
	for ; err == nil; n++ {
		err = tab.Write(ctx, put(n), table.Write{If: table.Any, Item: table.Item{Key: table.Key{Partition: "last"},
			Value: []byte(key(n).Sort)}})
	}
	n-- // that one failed
	if n < 20 || !errors.Is(err, fault.ResourceExhausted) || !strings.Contains(err.Error(), path) ||
		!strings.Contains(err.Error(), "free space") {
		t.Fatalf("after %d items: %v", n, err)
	}
	intact := func(want int) {
		t.Helper()
		page, err := tab.Query(ctx, table.Query{Partition: "p", KeysOnly: true})
		if err != nil || len(page.Items) != want {
			t.Fatalf("found %d items, %v, want %d", len(page.Items), err, want)
		}
		last, err := tab.Get(ctx, table.Key{Partition: "last"})
		if err != nil || string(last.Value) != key(n-1).Sort {
			t.Fatalf("last is %q, %v", last.Value, err)
		}
	}
	intact(n)
	for range 3 {
		if err := tab.Write(ctx, put(n)); !errors.Is(err, fault.ResourceExhausted) {
			t.Fatalf("still full: %v", err)
		}
	}
	for i := range 3 {
		if err := tab.Write(ctx, table.Write{Delete: true, If: 1, Item: table.Item{Key: key(i)}}); err != nil {
			t.Fatalf("delete while full: %v", err)
		}
	}
	if err := tab.Write(ctx, put(0)); err != nil {
		t.Fatalf("after a delete: %v", err)
	}
	intact(n - 2)
	if err := db.SetMaxBytes(ctx, 2<<20); err != nil {
		t.Fatal(err)
	}
	for i := n; i < n+20; i++ {
		if err := tab.Write(ctx, put(i)); err != nil {
			t.Fatalf("with a larger quota: %v", err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, sqlitetable.Options{Path: path})
	tab = things(db)
	intact(n + 18)
	if err := db.Check(ctx); err != nil {
		t.Error(err)
	}
}
