package tabletest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

var queryCases = []testCase{
	{"order is that of the bytes", testQueryOrder},
	{"prefix, after and before", testQueryBounds},
	{"pages hold what they may and all of it", testQueryPages},
	{"pages stay below their size", testQueryPageBytes},
	{"a page holds at most the largest limit", testQueryPageItems},
	{"a token belongs to its query", testQueryTokens},
	{"writes between pages", testQueryWritesBetween},
	{"keys only", testQueryKeysOnly},
	{"consistent at once", testQueryConsistent},
}

// oddSorts are sort keys whose order by bytes is not that of any language, in that order.
var oddSorts = []string{"", "\u0001", " ", "%", "'", "10", "2", "A", "B", "_", "a", "a/", "a/1", "a/2", "a0", "aa",
	"b", "b\u007f", "b\u0080", "z", "é", "\uD7FF", "\uE000", "\uFFFF", "\U00010000", "\U0010FFFF", "\U0010FFFF\U0010FFFF"}

func fill(t *testing.T, tab *table.Table, partition string, sorts []string) {
	t.Helper()
	shuffled := slices.Clone(sorts)
	slices.Reverse(shuffled)
	for chunk := range slices.Chunk(shuffled, table.MaxWriteItems) {
		var writes []table.Write
		for _, s := range chunk {
			writes = append(writes, put(key(partition, s), s))
		}
		write(t, tab, writes...)
	}
}

func testQueryOrder(t *testing.T, h Harness) {
	tab := open(t, h)
	fill(t, tab, "p", oddSorts)
	fill(t, tab, "p2", []string{"x"})
	fill(t, tab, "o", []string{"x"})
	wantSorts(t, tab, table.Query{Partition: "p"}, oddSorts...)
	down := slices.Clone(oddSorts)
	slices.Reverse(down)
	wantSorts(t, tab, table.Query{Partition: "p", Descending: true}, down...)
	wantSorts(t, tab, table.Query{Partition: "none"})
}

func testQueryBounds(t *testing.T, h Harness) {
	tab := open(t, h)
	fill(t, tab, "p", oddSorts)
	bounds := append([]string{"a/15", "ab", "c", "\U0010FFFE"}, oddSorts...)
	for _, prefix := range []string{"", "a", "a/", "b", "\uD7FF", "\U0010FFFF", "\U0010FFFF\U0010FFFF", "nothing"} {
		for _, after := range bounds {
			for _, before := range bounds[:len(bounds)/2] {
				q := table.Query{Partition: "p", Prefix: prefix, After: after, Before: before}
				var want []string
				for _, s := range oddSorts {
					if strings.HasPrefix(s, prefix) && (after == "" || s > after) && (before == "" || s < before) {
						want = append(want, s)
					}
				}
				wantSorts(t, tab, q, want...)
				q.Descending = true
				slices.Reverse(want)
				wantSorts(t, tab, q, want...)
			}
		}
	}
}

func testQueryPages(t *testing.T, h Harness) {
	tab := open(t, h)
	fill(t, tab, "p", oddSorts)
	for _, limit := range []int{1, 2, 3, len(oddSorts) - 1, len(oddSorts), len(oddSorts) + 1} {
		for _, descending := range []bool{false, true} {
			want := slices.Clone(oddSorts)
			if descending {
				slices.Reverse(want)
			}
			wantSorts(t, tab, table.Query{Partition: "p", Limit: limit, Descending: descending}, want...)
		}
	}
	wantSorts(t, tab, table.Query{Partition: "p", Limit: 1, Prefix: "a", After: "a", Before: "aa"},
		"a/", "a/1", "a/2", "a0")
	wantSorts(t, tab, table.Query{Partition: "p", Limit: 1, Prefix: "a", After: "a", Before: "aa", Descending: true},
		"a0", "a/2", "a/1", "a/")
}

func testQueryPageBytes(t *testing.T, h Harness) {
	tab := open(t, h)
	var want []string
	for i := range 12 {
		s := fmt.Sprintf("%02d", i)
		want = append(want, s)
		// 1 MiB holds two of the largest items, and four of these.
		size := table.MaxItemBytes
		if i%2 == 0 {
			size = table.MaxPageBytes / 4
		}
		write(t, tab, sized(key("p", s), size))
	}
	wantSorts(t, tab, table.Query{Partition: "p"}, want...)
	wantSorts(t, tab, table.Query{Index: "i", Partition: "some"}, want...)
	slices.Reverse(want)
	wantSorts(t, tab, table.Query{Partition: "p", Descending: true}, want...)
}

func testQueryPageItems(t *testing.T, h Harness) {
	tab := open(t, h)
	var want []string
	for i := range table.MaxPageItems + 1 {
		want = append(want, fmt.Sprintf("%04d", i))
	}
	fill(t, tab, "p", want)
	for _, limit := range []int{0, table.MaxPageItems} {
		wantSorts(t, tab, table.Query{Partition: "p", Limit: limit}, want...)
	}
}

func testQueryTokens(t *testing.T, h Harness) {
	tab := open(t, h)
	fill(t, tab, "p", oddSorts)
	q := table.Query{Partition: "p", Prefix: "a", After: "A", Before: "b", Limit: 2}
	page, err := tab.Query(context.Background(), q)
	if err != nil || page.NextPageToken == "" {
		t.Fatalf("got %+v, %v", page, err)
	}
	token := page.NextPageToken
	other := func(change func(*table.Query)) table.Query {
		changed := q
		changed.PageToken = token
		change(&changed)
		return changed
	}
	for name, wrong := range map[string]table.Query{
		"partition":  other(func(q *table.Query) { q.Partition = "p2" }),
		"index":      other(func(q *table.Query) { q.Index = "i" }),
		"prefix":     other(func(q *table.Query) { q.Prefix = "" }),
		"after":      other(func(q *table.Query) { q.After = "B" }),
		"before":     other(func(q *table.Query) { q.Before = "" }),
		"descending": other(func(q *table.Query) { q.Descending = true }),
		"cut":        other(func(q *table.Query) { q.PageToken = token[:len(token)-2] }),
		"longer":     other(func(q *table.Query) { q.PageToken = token + "AA" }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tab.Query(context.Background(), wrong)
			wantFault(t, err, fault.Invalid)
		})
	}
	foreign := table.New(h.Driver(t, "other"), table.Options{Name: "other"})
	if _, err := foreign.Query(context.Background(), other(func(*table.Query) {})); fault.CodeOf(err) != fault.Invalid {
		t.Errorf("token of another table: %v", err)
	}
	more := all(t, tab, other(func(q *table.Query) { q.Limit, q.KeysOnly = 1, true }))
	if got := append(sorts(page.Items), sorts(more)...); !slices.Equal(got, []string{"a", "a/", "a/1", "a/2", "a0", "aa"}) {
		t.Errorf("with another limit and keys only: %q", got)
	}
}

func testQueryWritesBetween(t *testing.T, h Harness) {
	for _, descending := range []bool{false, true} {
		for _, index := range []string{"", "i"} {
			tab := open(t, h)
			p := fmt.Sprint(descending, index)
			in := func(s string) table.Write { return putIn(key(p, s), "i", key(p, s)) }
			write(t, tab, in("b"), in("d"), in("f"), in("h"))
			q := table.Query{Partition: p, Index: index, Limit: 2, Descending: descending}
			wantSorts(t, tab, table.Query{Partition: p, Index: index}, "b", "d", "f", "h")
			page, err := tab.Query(context.Background(), q)
			if err != nil || len(page.Items) != 2 {
				t.Fatalf("got %+v, %v", page, err)
			}
			// The last one seen goes, and others come on both sides of where it was.
			gone := page.Items[1].Key
			write(t, tab, table.Write{Delete: true, Item: table.Item{Key: gone}, If: table.Any}, in("a"), in("i"))
			q.PageToken = page.NextPageToken
			got := slices.DeleteFunc(sorts(all(t, tab, q)), func(s string) bool { return s == "a" || s == "i" })
			want := []string{"f", "h"}
			if descending {
				want = []string{"d", "b"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("descending %v, index %q: second page has %q, want %q", descending, index, got, want)
			}
		}
	}
}

func testQueryKeysOnly(t *testing.T, h Harness) {
	tab := open(t, h)
	w := sized(key("p", "s"), 1000)
	write(t, tab, w)
	want := w.Item
	want.Value, want.Revision = nil, 1
	for _, q := range []table.Query{{Partition: "p", KeysOnly: true}, {Index: "i", Partition: "some", KeysOnly: true}} {
		wantSorts(t, tab, q, "s")
		if d := diff([]table.Item{want}, all(t, tab, q)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func testQueryConsistent(t *testing.T, h Harness) {
	tab := open(t, h)
	for i := range 50 {
		k := key("p", fmt.Sprintf("%03d", i))
		write(t, tab, put(k, "v"))
		if got := all(t, tab, table.Query{Partition: "p"}); len(got) != i+1 {
			t.Fatalf("query sees %d of %d items", len(got), i+1)
		}
		if got := get(t, tab, k); got.Revision != 1 {
			t.Fatalf("get sees revision %d", got.Revision)
		}
	}
}
