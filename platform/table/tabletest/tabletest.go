// Package tabletest is the conformance suite of package table: every promise on [table.Driver] and
// [table.Table] has a case here, and every driver passes all of them. A driver's test is two lines:
//
//	func TestConformance(t *testing.T) {
//		tabletest.Run(t, func(t *testing.T) tabletest.Harness { return newHarness(t) })
//	}
package tabletest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Harness is one empty store of the driver under test. It cleans up after itself with t.Cleanup.
type Harness interface {
	// Driver opens the table of that name. Tables of different names share nothing.
	Driver(t *testing.T, name string) table.Driver
	// Reopen ends the process that holds the store, as far as the store can tell, and starts
	// another. Drivers that were opened before are not used again.
	Reopen(t *testing.T)
}

// indexLag is how long the suite waits for an index to show a write.
const indexLag = 10 * time.Second

type testCase struct {
	name string
	run  func(t *testing.T, h Harness)
}

// Run runs every case on a store of its own.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	groups := map[string][]testCase{
		"Get": getCases, "Write": writeCases, "Limits": limitCases, "Query": queryCases,
		"Index": indexCases, "Expiry": expiryCases, "Concurrency": concurrencyCases,
		"Durability": durabilityCases, "Model": modelCases,
	}
	for group, cases := range groups {
		t.Run(group, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) { c.run(t, newHarness(t)) })
			}
		})
	}
}

// tableName is the one that cases use unless they need two.
const tableName = "things"

func open(t *testing.T, h Harness) *table.Table {
	t.Helper()
	return table.New(h.Driver(t, tableName), table.Options{Name: tableName})
}

func key(partition, sort string) table.Key { return table.Key{Partition: partition, Sort: sort} }

// put is an unconditional put.
func put(k table.Key, value string) table.Write {
	return table.Write{Item: table.Item{Key: k, Value: []byte(value)}, If: table.Any}
}

// putIn is an unconditional put of an item in one index.
func putIn(k table.Key, index string, place table.Key) table.Write {
	return table.Write{Item: table.Item{Key: k, Indexes: map[string]table.Key{index: place}}, If: table.Any}
}

func write(t *testing.T, tab *table.Table, writes ...table.Write) {
	t.Helper()
	if err := tab.Write(context.Background(), writes...); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func get(t *testing.T, tab *table.Table, k table.Key) table.Item {
	t.Helper()
	item, err := tab.Get(context.Background(), k)
	if err != nil {
		t.Fatalf("get %q: %v", k, err)
	}
	return item
}

// wantAbsent fails unless the item is not found.
func wantAbsent(t *testing.T, tab *table.Table, k table.Key) {
	t.Helper()
	if item, err := tab.Get(context.Background(), k); !errors.Is(err, fault.NotFound) {
		t.Fatalf("get %q: got %v, %v, want not found", k, item, err)
	}
}

// wantFault fails unless err has the code, by the sentinel and by CodeOf, and names the table.
func wantFault(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if !errors.Is(err, code) || fault.CodeOf(err) != code {
		t.Fatalf("error is %v (%v), want %v", err, fault.CodeOf(err), code)
	}
	if !strings.Contains(err.Error(), "table "+tableName) {
		t.Errorf("error %q does not name the table", err)
	}
}

// wantConflict fails unless err says that the write at that position conflicted.
func wantConflict(t *testing.T, err error, position int) {
	t.Helper()
	wantFault(t, err, fault.Conflict)
	var conflict *table.ConflictError
	if !errors.As(err, &conflict) || conflict.Position != position {
		t.Fatalf("error is %v, want a conflict at position %d", err, position)
	}
}

// all reads every page of a query, and checks each against the limits of a page.
func all(t *testing.T, tab *table.Table, q table.Query) []table.Item {
	t.Helper()
	items, err := pages(tab, q)
	if err != nil {
		t.Fatalf("query %+v: %v", q, err)
	}
	return items
}

func pages(tab *table.Table, q table.Query) ([]table.Item, error) {
	var items []table.Item
	seen := make(map[string]bool)
	for {
		page, err := tab.Query(context.Background(), q)
		if err != nil {
			return nil, err
		}
		limit, size := q.Limit, 0
		if limit == 0 {
			limit = table.MaxPageItems
		}
		for _, i := range page.Items {
			size += i.Size()
		}
		if len(page.Items) > limit || size > table.MaxPageBytes {
			return nil, errors.New("page is over its limit")
		}
		items = append(items, page.Items...)
		if page.NextPageToken == "" {
			return items, nil
		}
		if seen[page.NextPageToken] {
			return nil, errors.New("page token came twice")
		}
		seen[page.NextPageToken] = true
		q.PageToken = page.NextPageToken
	}
}

// sorts are the sort keys of the items.
func sorts(items []table.Item) []string {
	out := make([]string, 0, len(items))
	for _, i := range items {
		out = append(out, i.Key.Sort)
	}
	return out
}

// wantSorts fails unless the query finds items with exactly these sort keys, in this order. What is
// asked of an index may come late.
func wantSorts(t *testing.T, tab *table.Table, q table.Query, want ...string) {
	t.Helper()
	eventually(t, q.Index != "", func() string {
		items, err := pages(tab, q)
		if err != nil {
			t.Fatalf("query %+v: %v", q, err)
		}
		return cmp.Diff(want, sorts(items), cmpopts.EquateEmpty())
	})
}

// eventually fails unless check returns "": at once, or for what may lag before indexLag is over.
func eventually(t *testing.T, mayLag bool, check func() string) {
	t.Helper()
	deadline := time.Now().Add(indexLag)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if !mayLag || time.Now().After(deadline) {
			t.Fatal(problem)
		}
	}
}

// diff compares items as the contract does: empty is nil, and times are instants.
func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }))
}

// clone copies an item so that nothing is shared.
func clone(i table.Item) table.Item {
	i.Value = bytes.Clone(i.Value)
	i.Indexes = maps.Clone(i.Indexes)
	return i
}
