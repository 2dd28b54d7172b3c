package tabletest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

var limitCases = []testCase{
	{"keys", testKeyLimits},
	{"items", testItemLimits},
	{"writes", testWriteLimits},
	{"GetAll", testGetAllLimits},
	{"queries", testQueryLimits},
}

func testKeyLimits(t *testing.T, h Harness) {
	tab := open(t, h)
	good := []table.Key{
		key(strings.Repeat("p", table.MaxPartitionKeyBytes), strings.Repeat("s", table.MaxSortKeyBytes)),
		key(strings.Repeat("ü", table.MaxPartitionKeyBytes/2), strings.Repeat("\U0010FFFF", table.MaxSortKeyBytes/4)),
		key("p", ""), key("p", " "), key("\u0001", "\uFFFD"),
	}
	bad := []table.Key{
		{}, key("", "s"),
		key(strings.Repeat("p", table.MaxPartitionKeyBytes+1), "s"),
		key("p", strings.Repeat("s", table.MaxSortKeyBytes+1)),
		key("p\x00", "s"), key("p", "\x00"), key("p\xff", "s"), key("p", "s\xc3"), key("p", "\xed\xa0\x80"),
	}
	ctx := context.Background()
	for _, k := range good {
		write(t, tab, put(k, "v"), putIn(key("in", k.Sort), "i", k))
		if got := get(t, tab, k); got.Key != k {
			t.Errorf("got key %q, want %q", got.Key, k)
		}
		wantSorts(t, tab, table.Query{Partition: k.Partition, Prefix: k.Sort}, k.Sort)
		wantSorts(t, tab, table.Query{Index: "i", Partition: k.Partition, Prefix: k.Sort}, k.Sort)
	}
	for _, k := range bad {
		_, err := tab.Get(ctx, k)
		wantFault(t, err, fault.Invalid)
		_, err = tab.GetAll(ctx, []table.Key{key("p", "s"), k})
		wantFault(t, err, fault.Invalid)
		wantFault(t, tab.Write(ctx, put(key("p", "s"), "v"), put(k, "v")), fault.Invalid)
		wantFault(t, tab.Write(ctx, putIn(key("p", "s"), "i", k)), fault.Invalid)
		wantFault(t, tab.Write(ctx, table.Write{Delete: true, Item: table.Item{Key: k}, If: table.Any}), fault.Invalid)
	}
	wantAbsent(t, tab, key("p", "s"))
}

// sized is a put of an item of exactly that size.
func sized(k table.Key, size int) table.Write {
	w := put(k, "")
	w.Item.Indexes = map[string]table.Key{"i": key("some", "place")}
	w.Item.Value = bytes.Repeat([]byte{0xA5}, size-w.Item.Size())
	return w
}

func testItemLimits(t *testing.T, h Harness) {
	tab := open(t, h)
	ctx := context.Background()
	full := sized(key("p", "full"), table.MaxItemBytes)
	write(t, tab, full)
	if got := get(t, tab, full.Item.Key); !bytes.Equal(got.Value, full.Item.Value) {
		t.Errorf("got %d bytes, want %d", len(got.Value), len(full.Item.Value))
	}
	wantFault(t, tab.Write(ctx, sized(key("p", "x"), table.MaxItemBytes+1)), fault.Invalid)

	indexes := func(n int) table.Write {
		w := put(key("p", fmt.Sprintf("in %d", n)), "")
		w.Item.Indexes = map[string]table.Key{}
		for i := range n {
			w.Item.Indexes[fmt.Sprintf("index-%d", i)] = key("p", "s")
		}
		return w
	}
	write(t, tab, indexes(table.MaxIndexes))
	wantSorts(t, tab, table.Query{Index: fmt.Sprintf("index-%d", table.MaxIndexes-1), Partition: "p"},
		fmt.Sprintf("in %d", table.MaxIndexes))
	wantFault(t, tab.Write(ctx, indexes(table.MaxIndexes+1)), fault.Invalid)

	long := strings.Repeat("n", table.MaxIndexNameBytes)
	write(t, tab, putIn(key("p", "named"), long, key("p", "s")))
	wantSorts(t, tab, table.Query{Index: long, Partition: "p"}, "named")
	for _, name := range []string{"", long + "n", "a b", "a/b", "ü", "a\x00"} {
		wantFault(t, tab.Write(ctx, putIn(key("p", "x"), name, key("p", "s"))), fault.Invalid)
	}
	early := put(key("p", "x"), "")
	early.Item.Expires = time.UnixMilli(-1)
	wantFault(t, tab.Write(ctx, early), fault.Invalid)
	wantAbsent(t, tab, key("p", "x"))
}

func testWriteLimits(t *testing.T, h Harness) {
	tab := open(t, h)
	ctx := context.Background()
	var many []table.Write
	for i := range table.MaxWriteItems + 1 {
		many = append(many, put(key("many", fmt.Sprintf("%03d", i)), "v"))
	}
	wantFault(t, tab.Write(ctx, many...), fault.Invalid)
	wantSorts(t, tab, table.Query{Partition: "many"})
	write(t, tab, many[:table.MaxWriteItems]...)
	if got := len(all(t, tab, table.Query{Partition: "many"})); got != table.MaxWriteItems {
		t.Errorf("%d items are there", got)
	}

	var large []table.Write
	const each = table.MaxWriteBytes / 16
	for i := range 16 {
		large = append(large, sized(key("large", fmt.Sprintf("%03d", i)), each))
	}
	over := append([]table.Write{sized(key("large", "000"), each+1)}, large[1:]...)
	wantFault(t, tab.Write(ctx, over...), fault.Invalid)
	wantSorts(t, tab, table.Query{Partition: "large"})
	write(t, tab, large...)
	if got := len(all(t, tab, table.Query{Partition: "large"})); got != 16 {
		t.Errorf("%d items are there", got)
	}

	k := table.Item{Key: key("p", "s")}
	for name, writes := range map[string][]table.Write{
		"same key twice":    {put(k.Key, "a"), put(key("p", "t"), "b"), put(k.Key, "c")},
		"put and delete":    {put(k.Key, "a"), {Delete: true, Item: k, If: table.Any}},
		"delete and check":  {{Delete: true, Check: true, Item: k}},
		"check of any":      {{Check: true, Item: k, If: table.Any}},
		"no such condition": {{Item: k, If: -2}},
	} {
		t.Run(name, func(t *testing.T) { wantFault(t, tab.Write(ctx, writes...), fault.Invalid) })
	}
	wantAbsent(t, tab, k.Key)
}

func testGetAllLimits(t *testing.T, h Harness) {
	tab := open(t, h)
	ctx := context.Background()
	var keys []table.Key
	for i := range table.MaxGetItems + 1 {
		keys = append(keys, key("p", fmt.Sprint(i)))
	}
	if _, err := tab.GetAll(ctx, keys[:table.MaxGetItems]); err != nil {
		t.Error(err)
	}
	_, err := tab.GetAll(ctx, keys)
	wantFault(t, err, fault.Invalid)
	_, err = tab.GetAll(ctx, []table.Key{keys[0], keys[1], keys[0]})
	wantFault(t, err, fault.Invalid)
}

func testQueryLimits(t *testing.T, h Harness) {
	tab := open(t, h)
	ctx := context.Background()
	longest := strings.Repeat("s", table.MaxSortKeyBytes)
	for name, q := range map[string]table.Query{
		"no partition":      {},
		"long partition":    {Partition: strings.Repeat("p", table.MaxPartitionKeyBytes+1)},
		"long prefix":       {Partition: "p", Prefix: longest + "s"},
		"long after":        {Partition: "p", After: longest + "s"},
		"long before":       {Partition: "p", Before: longest + "s"},
		"bad prefix":        {Partition: "p", Prefix: "\xff"},
		"bad after":         {Partition: "p", After: "\x00"},
		"bad before":        {Partition: "p", Before: "a\x00"},
		"bad index name":    {Partition: "p", Index: "no such name"},
		"limit below zero":  {Partition: "p", Limit: -1},
		"limit too large":   {Partition: "p", Limit: table.MaxPageItems + 1},
		"page token":        {Partition: "p", PageToken: "nonsense"},
		"endless token":     {Partition: "p", PageToken: strings.Repeat("A", 1<<20)},
		"token no base64":   {Partition: "p", PageToken: "a token!"},
		"token of one byte": {Partition: "p", PageToken: "AQ"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tab.Query(ctx, q)
			wantFault(t, err, fault.Invalid)
		})
	}
	for name, q := range map[string]table.Query{
		"largest limit": {Partition: "p", Limit: table.MaxPageItems},
		"longest texts": {Partition: strings.Repeat("p", table.MaxPartitionKeyBytes),
			Prefix: longest, After: longest, Before: longest + ""},
	} {
		t.Run(name, func(t *testing.T) {
			if page, err := tab.Query(ctx, q); err != nil || len(page.Items) != 0 || page.NextPageToken != "" {
				t.Errorf("got %+v, %v", page, err)
			}
		})
	}
}
