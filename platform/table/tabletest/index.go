package tabletest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

var indexCases = []testCase{
	{"sparse", testIndexSparse},
	{"moves with the item", testIndexMoves},
	{"several items at one place", testIndexSamePlace},
	{"bounds are those of the place", testIndexBounds},
	{"items come whole", testIndexWhole},
	{"many indexes of one item", testIndexMany},
}

func testIndexSparse(t *testing.T, h Harness) {
	tab := open(t, h)
	write(t, tab, put(key("p", "out"), "v"), putIn(key("p", "in"), "i", key("P", "1")),
		putIn(key("p", "other"), "j", key("P", "1")), putIn(key("p", "elsewhere"), "i", key("Q", "1")))
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P"}, "in")
	wantSorts(t, tab, table.Query{Index: "j", Partition: "P"}, "other")
	wantSorts(t, tab, table.Query{Index: "i", Partition: "Q"}, "elsewhere")
	wantSorts(t, tab, table.Query{Index: "i", Partition: "p"})
	wantSorts(t, tab, table.Query{Index: "never-used", Partition: "P"})
}

func testIndexMoves(t *testing.T, h Harness) {
	tab := open(t, h)
	k := key("p", "item")
	in := func(place table.Key) { write(t, tab, putIn(k, "i", place)) }
	in(key("P", "1"))
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P", Before: "2"}, "item")
	in(key("P", "1")) // a put that does not move it
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P"}, "item")
	in(key("P", "3"))
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P", Before: "2"})
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P", After: "2"}, "item")
	in(key("Q", "3"))
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P"})
	wantSorts(t, tab, table.Query{Index: "i", Partition: "Q"}, "item")
	write(t, tab, putIn(k, "j", key("Q", "3")))
	wantSorts(t, tab, table.Query{Index: "i", Partition: "Q"})
	wantSorts(t, tab, table.Query{Index: "j", Partition: "Q"}, "item")
	write(t, tab, put(k, "out of all"))
	wantSorts(t, tab, table.Query{Index: "j", Partition: "Q"})
	in(key("P", "1"))
	write(t, tab, table.Write{Delete: true, Item: table.Item{Key: k}, If: table.Any})
	wantSorts(t, tab, table.Query{Index: "i", Partition: "P"})
}

func testIndexSamePlace(t *testing.T, h Harness) {
	tab := open(t, h)
	const n = 20
	want := map[table.Key]bool{}
	for i := range n {
		k := key(fmt.Sprintf("p%d", i%3), fmt.Sprintf("s%02d", i))
		want[k] = true
		write(t, tab, putIn(k, "i", key("P", "same")))
	}
	write(t, tab, putIn(key("p", "before"), "i", key("P", "a")), putIn(key("p", "behind"), "i", key("P", "z")))
	for _, descending := range []bool{false, true} {
		for _, limit := range []int{1, 3, n, n + 2} {
			q := table.Query{Index: "i", Partition: "P", Limit: limit, Descending: descending}
			eventually(t, true, func() string {
				if got := len(all(t, tab, q)); got != n+2 {
					return fmt.Sprintf("limit %d: %d items", limit, got)
				}
				return ""
			})
			items := all(t, tab, q)
			if descending {
				slices.Reverse(items)
			}
			if items[0].Key.Sort != "before" || items[n+1].Key.Sort != "behind" {
				t.Errorf("limit %d: order is %q", limit, sorts(items))
			}
			seen := map[table.Key]bool{}
			for _, item := range items[1 : n+1] {
				seen[item.Key] = true
			}
			if d := diff(want, seen); d != "" {
				t.Errorf("limit %d (-want +got):\n%s", limit, d)
			}
		}
	}
}

func testIndexBounds(t *testing.T, h Harness) {
	tab := open(t, h)
	// The order of the items is the reverse of that of their places.
	for i, s := range oddSorts {
		write(t, tab, putIn(key("p", fmt.Sprintf("%02d", len(oddSorts)-i)), "i", key("P", s)))
	}
	of := func(places ...string) []string {
		var out []string
		for _, p := range places {
			out = append(out, fmt.Sprintf("%02d", len(oddSorts)-slices.Index(oddSorts, p)))
		}
		return out
	}
	for _, limit := range []int{0, 1} {
		q := table.Query{Index: "i", Partition: "P", Limit: limit}
		wantSorts(t, tab, q, of(oddSorts...)...)
		q.Prefix = "a/"
		wantSorts(t, tab, q, of("a/", "a/1", "a/2")...)
		q.After = "a/"
		wantSorts(t, tab, q, of("a/1", "a/2")...)
		q.Before = "a/2"
		wantSorts(t, tab, q, of("a/1")...)
		q.Prefix, q.After, q.Before, q.Descending = "", "B", "aa", true
		wantSorts(t, tab, q, of("a0", "a/2", "a/1", "a/", "a", "_")...)
		q.After, q.Before = "\uFFFF", ""
		wantSorts(t, tab, q, of("\U0010FFFF\U0010FFFF", "\U0010FFFF", "\U00010000")...)
		q.After, q.Before = "", "\u0001"
		wantSorts(t, tab, q, of("")...)
	}
}

func testIndexWhole(t *testing.T, h Harness) {
	tab := open(t, h)
	want := table.Item{Key: key("p", "s"), Value: []byte("value"), Revision: 2,
		Expires: time.Now().Add(time.Hour).Truncate(time.Millisecond),
		Indexes: map[string]table.Key{"i": key("P", "1"), "j": key("Q", "2")}}
	write(t, tab, put(want.Key, "older"))
	write(t, tab, table.Write{Item: want, If: 1})
	eventually(t, true, func() string {
		return diff([]table.Item{want}, all(t, tab, table.Query{Index: "j", Partition: "Q"}))
	})
}

func testIndexMany(t *testing.T, h Harness) {
	tab := open(t, h)
	item := table.Item{Key: key("p", "s"), Indexes: map[string]table.Key{}}
	for i := range table.MaxIndexes {
		item.Indexes[fmt.Sprintf("index%d", i)] = key("P", "1")
	}
	write(t, tab, table.Write{Item: item})
	// Half of them move and half of them go.
	for i := range table.MaxIndexes {
		name := fmt.Sprintf("index%d", i)
		if i%2 == 0 {
			item.Indexes[name] = key("P", "2")
		} else {
			delete(item.Indexes, name)
		}
	}
	write(t, tab, table.Write{Item: item, If: 1})
	for i := range table.MaxIndexes {
		q := table.Query{Index: fmt.Sprintf("index%d", i), Partition: "P"}
		var want []string
		if i%2 == 0 {
			q.After, want = "1", []string{"s"}
		}
		wantSorts(t, tab, q, want...)
	}
}
