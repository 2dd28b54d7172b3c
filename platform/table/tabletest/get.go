package tabletest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

var getCases = []testCase{
	{"absent item is not found", testGetAbsent},
	{"item comes back whole", testGetWhole},
	{"nothing is shared with the caller", testGetShares},
	{"GetAll keeps the order and leaves out", testGetAll},
	{"tables and partitions are apart", testGetApart},
	{"an ended context is told", testContext},
	{"errors do not show keys to callers", testErrorsHideKeys},
}

func testGetAbsent(t *testing.T, h Harness) {
	tab := open(t, h)
	_, err := tab.Get(context.Background(), key("p", "s"))
	wantFault(t, err, fault.NotFound)
	write(t, tab, put(key("p", "s"), "x"))
	wantAbsent(t, tab, key("p", "S"))
	wantAbsent(t, tab, key("p", ""))
	wantAbsent(t, tab, key("p", "s "))
	wantAbsent(t, tab, key("ps", ""))
}

func testGetWhole(t *testing.T, h Harness) {
	tab := open(t, h)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	items := []table.Item{
		{Key: key("p", "full"), Value: every, Expires: time.Now().Add(time.Hour).Truncate(time.Millisecond),
			Indexes: map[string]table.Key{"due": key("shard", "2026"), "By-Name.v_1": key("ü", "")}},
		{Key: key("p", ""), Value: []byte("empty sort key")},
		{Key: key("p", "nil")},
		{Key: key("p", "empty"), Value: []byte{}},
		{Key: key("p/ü\u2028'\"\\%_", "\U0010FFFF\u0001"), Value: []byte("odd key")},
	}
	for _, want := range items {
		write(t, tab, table.Write{Item: want})
		want.Revision = 1
		if d := diff(want, get(t, tab, want.Key)); d != "" {
			t.Errorf("item %q (-want +got):\n%s", want.Key, d)
		}
	}
}

func testGetShares(t *testing.T, h Harness) {
	tab := open(t, h)
	given := table.Item{Key: key("p", "s"), Value: []byte("value"), Indexes: map[string]table.Key{"i": key("a", "b")}}
	want := clone(given)
	want.Revision = 1
	write(t, tab, table.Write{Item: given})
	given.Value[0] = 'X'
	given.Indexes["i"] = key("c", "d")
	for range 2 {
		got := get(t, tab, want.Key)
		if d := diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		got.Value[0] = 'Y'
		got.Indexes["i"] = key("e", "f")
	}
}

func testGetAll(t *testing.T, h Harness) {
	tab := open(t, h)
	var keys []table.Key
	for i := range table.MaxGetItems {
		k := key(fmt.Sprintf("p%d", i%7), fmt.Sprintf("s%d", i))
		keys = append(keys, k)
		if i%3 != 0 {
			write(t, tab, put(k, k.Sort))
		}
	}
	items, err := tab.GetAll(context.Background(), keys)
	if err != nil {
		t.Fatal(err)
	}
	var want []table.Item
	for i, k := range keys {
		if i%3 != 0 {
			want = append(want, table.Item{Key: k, Value: []byte(k.Sort), Revision: 1})
		}
	}
	if d := diff(want, items); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if items, err := tab.GetAll(context.Background(), nil); err != nil || len(items) != 0 {
		t.Errorf("no keys: got %v, %v", items, err)
	}
}

func testGetApart(t *testing.T, h Harness) {
	one, other := open(t, h), table.New(h.Driver(t, "other"), table.Options{Name: "other"})
	write(t, one, put(key("p", "s"), "one"))
	wantAbsent(t, other, key("p", "s"))
	write(t, other, put(key("p", "s"), "other"), put(key("q", "s"), "q"))
	if got := get(t, one, key("p", "s")); string(got.Value) != "one" || got.Revision != 1 {
		t.Errorf("got %q at revision %d", got.Value, got.Revision)
	}
	wantSorts(t, one, table.Query{Partition: "q"})
	wantSorts(t, other, table.Query{Partition: "p"}, "s")
}

func testContext(t *testing.T, h Harness) {
	tab := open(t, h)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, code := range map[context.Context]fault.Code{gone: fault.Cancelled, late: fault.DeadlineExceeded} {
		_, err := tab.Get(ctx, key("p", "s"))
		wantFault(t, err, code)
		_, err = tab.GetAll(ctx, []table.Key{key("p", "s")})
		wantFault(t, err, code)
		_, err = tab.Query(ctx, table.Query{Partition: "p"})
		wantFault(t, err, code)
		wantFault(t, tab.Write(ctx, put(key("p", "s"), "x")), code)
	}
	wantAbsent(t, tab, key("p", "s"))
}

func testErrorsHideKeys(t *testing.T, h Harness) {
	tab := open(t, h)
	const secret = "tenant-4711"
	_, notFound := tab.Get(context.Background(), key(secret, secret))
	conflict := tab.Write(context.Background(), table.Write{Item: table.Item{Key: key(secret, secret)}, If: 3})
	_, invalid := tab.Query(context.Background(), table.Query{Partition: secret, PageToken: secret})
	for _, err := range []error{notFound, conflict, invalid} {
		var f *fault.Error
		if !errors.As(err, &f) {
			t.Fatalf("%v is no fault", err)
		}
		if strings.Contains(f.Public(), secret) {
			t.Errorf("%q shows the key", f.Public())
		}
	}
}
