package sqlitetable_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// TestTamper changes each column of a row, and wants whoever reads it to notice, or at least Check
// where a row or a place is not found any more.
func TestTamper(t *testing.T) {
	for name, c := range map[string]struct {
		statement                      string
		get, put, change, query, index bool // who notices
	}{
		"table of item":      {statement: "UPDATE items SET tbl = 'others'", index: true},
		"partition of item":  {statement: "UPDATE items SET pk = 'q'", index: true},
		"sort of item":       {statement: "UPDATE items SET sk = 't'", query: true, index: true},
		"revision":           {statement: "UPDATE items SET rev = 2", get: true, put: true, change: true, query: true, index: true},
		"complement":         {statement: "UPDATE items SET ver = -3", get: true, put: true, change: true, query: true, index: true},
		"expiry":             {statement: "UPDATE items SET exp = 9999999999999", get: true, put: true, change: true, query: true, index: true},
		"expiry in past":     {statement: "UPDATE items SET exp = 1", get: true, put: true, change: true, query: true, index: true},
		"checksum":           {statement: "UPDATE items SET crc = crc + 1", get: true, put: true, change: true, query: true, index: true},
		"indexes":            {statement: "UPDATE items SET ix = x'01'", get: true, put: true, change: true, query: true, index: true},
		"no indexes":         {statement: "UPDATE items SET ix = NULL", get: true, put: true, change: true, query: true, index: true},
		"value":              {statement: "UPDATE items SET val = x'00'", get: true, query: true, index: true},
		"table of place":     {statement: "UPDATE places SET tbl = 'others'"},
		"index of place":     {statement: "UPDATE places SET idx = 'j'"},
		"partition of place": {statement: "UPDATE places SET ipk = 'Q'"},
		"sort of place":      {statement: "UPDATE places SET isk = 'T'", index: true},
		"item of place":      {statement: "UPDATE places SET sk = 't'", index: true},
		"place gone":         {statement: "DELETE FROM places"},
		"place too much":     {statement: "INSERT INTO places VALUES ('things', 'j', 'P', 'S', 'p', 's')"},
		"item gone":          {statement: "DELETE FROM items", index: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, key := context.Background(), table.Key{Partition: "p", Sort: "s"}
			db := openDB(t, sqlitetable.Options{Path: filepath.Join(t.TempDir(), "tables.db")})
			tab := things(db)
			write := table.Write{If: table.Any, Item: table.Item{Key: key, Value: []byte("value"),
				Indexes: map[string]table.Key{"i": {Partition: "P", Sort: "S"}}}}
			if err := tab.Write(ctx, write); err != nil {
				t.Fatal(err)
			}
			if err := db.Check(ctx); err != nil {
				t.Fatal(err)
			}
			sqlitetable.Tamper(t, db, c.statement)
			_, get := tab.Get(ctx, key)
			_, query := tab.Query(ctx, table.Query{Partition: "p"})
			_, index := tab.Query(ctx, table.Query{Partition: "P", Index: "i"})
			noticed := func(who string, err error, want bool) {
				if errors.Is(err, fault.DataLoss) != want {
					t.Errorf("%s: %v, want data loss: %v", who, err, want)
				}
				if want && who != "check" && !strings.Contains(err.Error(), `item {"p" "`) {
					t.Errorf("%s: %v names no item", who, err)
				}
			}
			noticed("get", get, c.get)
			noticed("query", query, c.query)
			noticed("index", index, c.index)
			noticed("check", db.Check(ctx), true)
			change := write
			change.If = 5
			noticed("put if revision", tab.Write(ctx, change), c.change)
			noticed("put", tab.Write(ctx, write), c.put)
		})
	}
}

// TestNothingBelowTheEmptyKey goes on behind the smallest key that there is.
func TestNothingBelowTheEmptyKey(t *testing.T) {
	db := openDB(t, sqlitetable.Options{Path: filepath.Join(t.TempDir(), "tables.db")})
	for _, s := range []string{"", "s"} {
		err := things(db).Write(context.Background(), table.Write{Item: table.Item{Key: table.Key{Partition: "p", Sort: s}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	empty := table.Key{Partition: "p"}
	got, err := db.Table("things").Query(context.Background(), table.Range{
		Partition: "p", Descending: true, Limit: 5, Start: &table.Position{Place: empty, Key: empty},
	})
	if err != nil || len(got.Items) != 0 || got.Last != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}
