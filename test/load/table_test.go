package load

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/tabletest"
)

// items is a table in memory that counts what DynamoDB would bill. TestTable holds it to the suite of all tables.
type items struct {
	mu      sync.Mutex
	rows    map[string]*rows // by partition
	indexes map[[2]string]*entries
	bill    *bill
	client  client
}

// rows is one partition: its items, and their sort keys in order.
type rows struct {
	sorted []string
	byKey  map[string]table.Item
}

// entries is one partition of an index.
type entries struct{ sorted []place }

// place is where an item stands in an index.
type place struct {
	sort string
	key  table.Key
}

func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.sort, b.sort), cmp.Compare(a.key.Partition, b.key.Partition), cmp.Compare(a.key.Sort, b.key.Sort))
}

func newItems(b *bill, f *faults) *items {
	return &items{rows: map[string]*rows{}, indexes: map[[2]string]*entries{}, bill: b, client: newClient(b, f)}
}

// usable is the error of a call that cannot be made.
func (t *items) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "use table")
	}
	return t.client.call(ctx)
}

func (t *items) live(k table.Key) (table.Item, bool) {
	p := t.rows[k.Partition]
	if p == nil {
		return table.Item{}, false
	}
	item, ok := p.byKey[k.Sort]
	return item, ok && (item.Expires.IsZero() || item.Expires.After(time.Now()))
}

func clone(i table.Item) table.Item {
	i.Value, i.Indexes = slices.Clone(i.Value), maps.Clone(i.Indexes)
	return i
}

// Get implements [table.Driver].
func (t *items) Get(ctx context.Context, k table.Key) (table.Item, error) {
	if err := t.usable(ctx); err != nil {
		return table.Item{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	item, ok := t.live(k)
	t.bill.read(item.Size(), 1)
	if !ok {
		return table.Item{}, fault.New(fault.NotFound, "no item")
	}
	return clone(item), nil
}

// GetAll implements [table.Driver].
func (t *items) GetAll(ctx context.Context, keys []table.Key) ([]table.Item, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []table.Item
	t.bill.table.Add(1)
	for _, k := range keys {
		item, ok := t.live(k)
		t.bill.units(item.Size())
		if ok {
			out = append(out, clone(item))
		}
	}
	return out, nil
}

// Query implements [table.Driver].
func (t *items) Query(ctx context.Context, r table.Range) (table.RangeResult, error) {
	if err := t.usable(ctx); err != nil {
		return table.RangeResult{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var out table.RangeResult
	size := 0
	t.each(r, func(p place) bool {
		item, ok := t.live(p.key)
		if !ok {
			return true
		}
		item = clone(item)
		if r.KeysOnly {
			item.Value = nil
		}
		if len(out.Items) == r.Limit || len(out.Items) > 0 && size+item.Size() > table.MaxPageBytes {
			last := out.Items[len(out.Items)-1]
			out.Last = &table.Position{Place: last.Key, Key: last.Key}
			if r.Index != "" {
				out.Last.Place = last.Indexes[r.Index]
			}
			return false
		}
		size += item.Size()
		out.Items = append(out.Items, item)
		return true
	})
	t.bill.read(size, 1)
	return out, nil
}

// each goes over a range in its order until fn is false.
func (t *items) each(r table.Range, fn func(place) bool) {
	n, at := 0, func(int) place { return place{} }
	if r.Index == "" {
		if p := t.rows[r.Partition]; p != nil {
			n, at = len(p.sorted), func(i int) place {
				return place{p.sorted[i], table.Key{Partition: r.Partition, Sort: p.sorted[i]}}
			}
		}
	} else if e := t.indexes[[2]string{r.Index, r.Partition}]; e != nil {
		n, at = len(e.sorted), func(i int) place { return e.sorted[i] }
	}
	low := sort.Search(n, func(i int) bool { return at(i).sort >= r.From })
	high := n
	if r.Until != "" {
		high = sort.Search(n, func(i int) bool { return at(i).sort >= r.Until })
	}
	if r.Start != nil {
		start := place{r.Start.Place.Sort, r.Start.Key}
		if r.Descending {
			high = min(high, sort.Search(n, func(i int) bool { return at(i).compare(start) >= 0 }))
		} else {
			low = max(low, sort.Search(n, func(i int) bool { return at(i).compare(start) > 0 }))
		}
	}
	for i := range max(0, high-low) {
		p := at(low + i)
		if r.Descending {
			p = at(high - 1 - i)
		}
		if !fn(p) {
			return
		}
	}
}

// Write implements [table.Driver].
func (t *items) Write(ctx context.Context, writes []table.Write) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range writes {
		item, ok := t.live(w.Item.Key)
		if !ok {
			item.Revision = 0
		}
		if w.If != table.Any && int64(w.If) != item.Revision {
			t.bill.write(writes)
			return &table.ConflictError{Position: i}
		}
	}
	for _, w := range writes {
		if !w.Check {
			t.apply(w)
		}
	}
	t.bill.write(writes)
	return nil
}

func (t *items) apply(w table.Write) {
	k := w.Item.Key
	before, live := t.live(k)
	p := t.rows[k.Partition]
	if p == nil {
		p = &rows{byKey: map[string]table.Item{}}
		t.rows[k.Partition] = p
	}
	old, there := p.byKey[k.Sort]
	for name, at := range old.Indexes {
		e := t.indexes[[2]string{name, at.Partition}]
		if i, ok := slices.BinarySearchFunc(e.sorted, place{at.Sort, k}, place.compare); ok {
			e.sorted = slices.Delete(e.sorted, i, i+1)
		}
	}
	i, _ := slices.BinarySearch(p.sorted, k.Sort)
	if w.Delete {
		if there {
			p.sorted = slices.Delete(p.sorted, i, i+1)
			delete(p.byKey, k.Sort)
		}
		return
	}
	item := clone(w.Item)
	if !item.Expires.IsZero() {
		item.Expires = item.Expires.Truncate(time.Millisecond).UTC()
	}
	item.Revision = 1
	if live {
		item.Revision = before.Revision + 1
	}
	if !there {
		p.sorted = slices.Insert(p.sorted, i, k.Sort)
	}
	p.byKey[k.Sort] = item
	for name, at := range item.Indexes {
		id := [2]string{name, at.Partition}
		if t.indexes[id] == nil {
			t.indexes[id] = &entries{}
		}
		e := t.indexes[id]
		i, _ := slices.BinarySearchFunc(e.sorted, place{at.Sort, k}, place.compare)
		e.sorted = slices.Insert(e.sorted, i, place{at.Sort, k})
	}
}

// Close implements [table.Driver].
func (t *items) Close() error { return nil }

type tableHarness map[string]*items

func (h tableHarness) Driver(_ *testing.T, name string) table.Driver {
	if h[name] == nil {
		h[name] = newItems(&bill{}, nil)
	}
	return h[name]
}

func (h tableHarness) Reopen(*testing.T) {}

// TestTable holds the simulated table to the suite of all tables.
func TestTable(t *testing.T) {
	tabletest.Run(t, func(*testing.T) tabletest.Harness { return tableHarness{} })
}
