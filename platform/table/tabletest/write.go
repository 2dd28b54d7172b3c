package tabletest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

var writeCases = []testCase{
	{"conditions", testConditions},
	{"revisions count puts", testRevisions},
	{"all writes or none", testAllOrNothing},
	{"a write mixes puts, deletes and checks", testMixed},
	{"a put replaces the whole item", testReplace},
	{"no writes are no error", testNoWrites},
}

// The states that an item can be in before a conditional write.
type state struct {
	name     string
	prepare  []table.Write
	revision int64 // 0: absent
}

func states(k table.Key) []state {
	expired := table.Write{If: table.Any, Item: table.Item{
		Key: k, Value: []byte("expired"), Expires: time.Now().Add(-time.Hour)}}
	return []state{
		{"absent", nil, 0},
		{"deleted", []table.Write{put(k, "a"), {Delete: true, Item: table.Item{Key: k}, If: table.Any}}, 0},
		{"expired", []table.Write{expired}, 0},
		{"expired later", []table.Write{put(k, "a"), put(k, "b"), expired}, 0},
		{"revision 1", []table.Write{put(k, "a")}, 1},
		{"revision 3", []table.Write{put(k, "a"), put(k, "b"), put(k, "c")}, 3},
	}
}

func testConditions(t *testing.T, h Harness) {
	tab := open(t, h)
	n := 0
	for _, op := range []string{"put", "delete", "check"} {
		for _, condition := range []table.Condition{table.Any, table.Absent, 1, 2, 3, 4} {
			if op == "check" && condition == table.Any {
				continue // invalid, see the limits
			}
			for i := range states(table.Key{}) {
				n++
				k := key("p", fmt.Sprint(n))
				s := states(k)[i]
				t.Run(fmt.Sprintf("%s if %d on %s", op, condition, s.name), func(t *testing.T) {
					testCondition(t, tab, op, condition, k, s)
				})
			}
		}
	}
}

func testCondition(t *testing.T, tab *table.Table, op string, condition table.Condition, k table.Key, s state) {
	for _, w := range s.prepare {
		write(t, tab, w)
	}
	w := table.Write{If: condition, Item: table.Item{Key: k, Value: []byte("new"), Revision: 77}}
	w.Delete, w.Check = op == "delete", op == "check"
	err := tab.Write(context.Background(), w)

	holds := condition == table.Any || int64(condition) == s.revision
	if !holds {
		wantConflict(t, err, 0)
	} else if err != nil {
		t.Fatal(err)
	}
	switch {
	case holds && op == "put":
		got := get(t, tab, k)
		if string(got.Value) != "new" || !got.Expires.IsZero() {
			t.Errorf("got %+v", got)
		}
		// A put with Any over an expired item may count on or start again.
		free := condition == table.Any && s.revision == 0
		if got.Revision != s.revision+1 && (!free || got.Revision < 1) {
			t.Errorf("revision is %d, want %d", got.Revision, s.revision+1)
		}
	case holds && op == "delete", s.revision == 0:
		wantAbsent(t, tab, k)
	default:
		if got := get(t, tab, k); got.Revision != s.revision || string(got.Value) == "new" {
			t.Errorf("item was changed: %+v", got)
		}
	}
}

func testRevisions(t *testing.T, h Harness) {
	tab := open(t, h)
	k := key("p", "s")
	for i := range int64(5) {
		write(t, tab, table.Write{Item: table.Item{Key: k}, If: table.Condition(i)})
		if got := get(t, tab, k).Revision; got != i+1 {
			t.Fatalf("revision is %d, want %d", got, i+1)
		}
	}
	write(t, tab, put(k, ""))
	if got := get(t, tab, k).Revision; got != 6 {
		t.Fatalf("revision is %d, want 6", got)
	}
}

// testAllOrNothing lets the condition fail at each position of a write, and looks for anything of
// the others.
func testAllOrNothing(t *testing.T, h Harness) {
	tab := open(t, h)
	const n = 5
	for bad := range n {
		p := fmt.Sprintf("p%d", bad)
		old := table.Write{If: table.Any, Item: table.Item{Key: key(p, "old"), Value: []byte("old"),
			Indexes: map[string]table.Key{"i": key(p, "old")}}}
		write(t, tab, old)
		writes := []table.Write{
			{Delete: true, If: 1, Item: table.Item{Key: key(p, "old")}},
		}
		for i := range n - 1 {
			k := key(p, fmt.Sprintf("new%d", i))
			writes = append(writes, table.Write{Item: table.Item{Key: k, Indexes: map[string]table.Key{"i": k}}})
		}
		writes[bad].If = 9
		wantConflict(t, tab.Write(context.Background(), writes...), bad)
		wantSorts(t, tab, table.Query{Partition: p}, "old")
		wantSorts(t, tab, table.Query{Index: "i", Partition: p}, "old")
		// And the very same writes go through once the condition is right.
		writes[bad].If = 0
		if bad == 0 {
			writes[bad].If = 1
		}
		write(t, tab, writes...)
		wantSorts(t, tab, table.Query{Index: "i", Partition: p}, "new0", "new1", "new2", "new3")
	}
	two := []table.Write{{If: 5, Item: table.Item{Key: key("q", "a")}}, {If: 5, Item: table.Item{Key: key("q", "b")}}}
	var conflict *table.ConflictError
	if err := tab.Write(context.Background(), two...); !errors.As(err, &conflict) ||
		(conflict.Position != 0 && conflict.Position != 1) {
		t.Errorf("two conflicts: %v", err)
	}
}

func testMixed(t *testing.T, h Harness) {
	tab := open(t, h)
	write(t, tab, put(key("p", "a"), "a"), put(key("p", "b"), "b"), put(key("p", "c"), "c"))
	write(t, tab,
		table.Write{Check: true, If: 1, Item: table.Item{Key: key("p", "a")}},
		table.Write{Delete: true, If: 1, Item: table.Item{Key: key("p", "b")}},
		table.Write{If: 1, Item: table.Item{Key: key("p", "c"), Value: []byte("C")}},
		table.Write{If: table.Absent, Item: table.Item{Key: key("q", "d"), Value: []byte("d")}},
		table.Write{Check: true, If: table.Absent, Item: table.Item{Key: key("p", "e")}},
		table.Write{Delete: true, If: table.Any, Item: table.Item{Key: key("p", "f")}},
	)
	want := []table.Item{
		{Key: key("p", "a"), Value: []byte("a"), Revision: 1},
		{Key: key("p", "c"), Value: []byte("C"), Revision: 2},
	}
	if d := diff(want, all(t, tab, table.Query{Partition: "p"})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := get(t, tab, key("q", "d")); got.Revision != 1 {
		t.Errorf("revision is %d", got.Revision)
	}
}

func testReplace(t *testing.T, h Harness) {
	tab := open(t, h)
	k := key("p", "s")
	write(t, tab, table.Write{Item: table.Item{Key: k, Value: []byte("long value"), Expires: time.Now().Add(time.Hour),
		Indexes: map[string]table.Key{"i": key("a", "b")}}})
	write(t, tab, put(k, "v"))
	want := table.Item{Key: k, Value: []byte("v"), Revision: 2}
	if d := diff(want, get(t, tab, k)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func testNoWrites(t *testing.T, h Harness) {
	if err := open(t, h).Write(context.Background()); err != nil {
		t.Error(err)
	}
}
