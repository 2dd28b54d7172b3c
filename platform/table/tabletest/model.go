package tabletest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

var modelCases = []testCase{
	{"random calls answer as a map does", testModel},
}

// model is what a table is, as a map. Expired items are not in it.
type model map[table.Key]table.Item

// testModel compares a driver with the model over random sequences of calls. Every sequence has a
// table of its own in the one store, which also shows that tables do not touch each other.
func testModel(t *testing.T, h Harness) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprintf("model %d", n)
		tab := table.New(h.Driver(t, name), table.Options{Name: name})
		m := model{}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) { m.write(rt, tab) },
			"get":   func(rt *rapid.T) { m.get(rt, tab) },
			"all":   func(rt *rapid.T) { m.getAll(rt, tab) },
			"query": func(rt *rapid.T) { m.query(rt, tab) },
		})
	})
}

// Few keys, so that calls meet; texts that are prefixes of each other and end at the edges of UTF-8.
func genText() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"", "a", "a/", "a/b", "a0", "b", "é", "\uD7FF", "\uE000", "\U0010FFFF", "z"})
}

func genKey() *rapid.Generator[table.Key] {
	return rapid.Custom(func(rt *rapid.T) table.Key {
		return key(rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "partition"), genText().Draw(rt, "sort"))
	})
}

func genIndex() *rapid.Generator[string] { return rapid.SampledFrom([]string{"i", "j"}) }

func (m model) genWrite() *rapid.Generator[table.Write] {
	return rapid.Custom(func(rt *rapid.T) table.Write {
		w := table.Write{Item: table.Item{Key: genKey().Draw(rt, "key")}}
		// Half the time a condition that holds.
		w.If = table.Condition(m[w.Item.Key].Revision)
		if rapid.Bool().Draw(rt, "other condition") {
			w.If = table.Condition(rapid.Int64Range(-1, 4).Draw(rt, "condition"))
		}
		switch rapid.IntRange(0, 5).Draw(rt, "kind") {
		case 0:
			w.Delete = true
			return w
		case 1:
			w.Check = w.If != table.Any
			w.Delete = !w.Check
			return w
		}
		w.Item.Value = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "value")
		w.Item.Indexes = rapid.MapOfN(genIndex(), genKey(), 0, 2).Draw(rt, "indexes")
		switch rapid.IntRange(0, 5).Draw(rt, "expiry") {
		case 0:
			w.Item.Expires = time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		case 1:
			w.Item.Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
		}
		return w
	})
}

func (m model) write(rt *rapid.T, tab *table.Table) {
	writes := rapid.SliceOfNDistinct(m.genWrite(), 1, 5, func(w table.Write) table.Key { return w.Item.Key }).Draw(rt, "writes")
	var failing []int
	for i, w := range writes {
		if w.If != table.Any && int64(w.If) != m[w.Item.Key].Revision {
			failing = append(failing, i)
		}
	}
	err := tab.Write(context.Background(), writes...)
	if len(failing) > 0 {
		var conflict *table.ConflictError
		if !errors.As(err, &conflict) || !slices.Contains(failing, conflict.Position) {
			rt.Fatalf("write: %v, want a conflict at one of %v", err, failing)
		}
		return
	}
	if err != nil {
		rt.Fatalf("write: %v", err)
	}
	for _, w := range writes {
		m.apply(tab, w)
	}
}

func (m model) apply(tab *table.Table, w table.Write) {
	k := w.Item.Key
	switch {
	case w.Check:
		return
	case w.Delete:
		delete(m, k)
		return
	}
	item := clone(w.Item)
	item.Revision = m[k].Revision + 1
	if w.If == table.Any && m[k].Revision == 0 {
		// Over an expired item the count may go on: take what the store says.
		if got, err := tab.Get(context.Background(), k); err == nil && got.Revision > 0 {
			item.Revision = got.Revision
		}
	}
	m[k] = item
	if !item.Expires.IsZero() && item.Expires.Before(time.Now()) {
		delete(m, k)
	}
}

func (m model) get(rt *rapid.T, tab *table.Table) {
	k := genKey().Draw(rt, "key")
	got, err := tab.Get(context.Background(), k)
	want, there := m[k]
	if !there {
		if !errors.Is(err, fault.NotFound) {
			rt.Fatalf("get %q: %v, %v, want not found", k, got, err)
		}
		return
	}
	if d := diff(want, got); err != nil || d != "" {
		rt.Fatalf("get %q: %v (-want +got):\n%s", k, err, d)
	}
}

func (m model) getAll(rt *rapid.T, tab *table.Table) {
	keys := rapid.SliceOfNDistinct(genKey(), 1, 8, rapid.ID).Draw(rt, "keys")
	var want []table.Item
	for _, k := range keys {
		if item, there := m[k]; there {
			want = append(want, item)
		}
	}
	got, err := tab.GetAll(context.Background(), keys)
	if d := diff(want, got); err != nil || d != "" {
		rt.Fatalf("get all %q: %v (-want +got):\n%s", keys, err, d)
	}
}

func (m model) query(rt *rapid.T, tab *table.Table) {
	q := table.Query{
		Partition:  rapid.SampledFrom([]string{"p", "q"}).Draw(rt, "partition"),
		Prefix:     genText().Draw(rt, "prefix"),
		Descending: rapid.Bool().Draw(rt, "descending"),
		KeysOnly:   rapid.Bool().Draw(rt, "keys only"),
		Limit:      rapid.IntRange(0, 4).Draw(rt, "limit"),
	}
	if rapid.Bool().Draw(rt, "of an index") {
		q.Index = genIndex().Draw(rt, "index")
	}
	if rapid.Bool().Draw(rt, "bounded") {
		q.After, q.Before = genText().Draw(rt, "after"), genText().Draw(rt, "before")
	}
	want := m.find(q)
	problem := func() string {
		got, err := pages(tab, q)
		if err != nil {
			return err.Error()
		}
		if q.Index != "" {
			// Items of one place may come in any order.
			slices.SortStableFunc(got, func(a, b table.Item) int { return order(q, a, b) })
		}
		return diff(want, got)
	}
	deadline := time.Now().Add(indexLag)
	for p := problem(); p != ""; p = problem() {
		if q.Index == "" || time.Now().After(deadline) {
			rt.Fatalf("query %+v (-want +got):\n%s", q, p)
		}
	}
}

// find answers a query from the map.
func (m model) find(q table.Query) []table.Item {
	var found []table.Item
	for item := range maps.Values(m) {
		place, there := item.Key, true
		if q.Index != "" {
			place, there = item.Indexes[q.Index]
		}
		if !there || place.Partition != q.Partition || !strings.HasPrefix(place.Sort, q.Prefix) ||
			(q.After != "" && place.Sort <= q.After) || (q.Before != "" && place.Sort >= q.Before) {
			continue
		}
		item = clone(item)
		if q.KeysOnly {
			item.Value = nil
		}
		found = append(found, item)
	}
	slices.SortFunc(found, func(a, b table.Item) int { return order(q, a, b) })
	return found
}

// order is that of the query, and for items of one place that of their keys.
func order(q table.Query, a, b table.Item) int {
	place := func(i table.Item) string {
		if q.Index != "" {
			return i.Indexes[q.Index].Sort
		}
		return i.Key.Sort
	}
	c := cmp.Compare(place(a), place(b))
	if q.Descending {
		c = -c
	}
	return cmp.Or(c, cmp.Compare(a.Key.Partition, b.Key.Partition), cmp.Compare(a.Key.Sort, b.Key.Sort))
}
