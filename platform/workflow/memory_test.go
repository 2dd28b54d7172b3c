package workflow

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// memory is a table driver whose contents outlive the processes of a test.
type memory struct {
	mu     sync.Mutex
	items  map[table.Key]table.Item
	writes int
}

func newMemory() *memory { return &memory{items: map[table.Key]table.Item{}} }

func (m *memory) table() *table.Table { return table.New(m, table.Options{Name: "workflows"}) }

func (m *memory) live(key table.Key) (table.Item, bool) {
	item, ok := m.items[key]
	return item, ok && (item.Expires.IsZero() || item.Expires.After(time.Now()))
}

func (m *memory) Get(_ context.Context, key table.Key) (table.Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	item, ok := m.live(key)
	if !ok {
		return table.Item{}, fault.New(fault.NotFound, "no item")
	}
	return item, nil
}

func (m *memory) GetAll(_ context.Context, keys []table.Key) ([]table.Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []table.Item
	for _, key := range keys {
		if item, ok := m.live(key); ok {
			out = append(out, item)
		}
	}
	return out, nil
}

func (m *memory) Query(_ context.Context, r table.Range) (table.RangeResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []table.Position
	for key := range m.items {
		item, ok := m.live(key)
		place := key
		if r.Index != "" && ok {
			place, ok = item.Indexes[r.Index]
		}
		if ok && place.Partition == r.Partition && place.Sort >= r.From && (r.Until == "" || place.Sort < r.Until) {
			found = append(found, table.Position{Place: place, Key: key})
		}
	}
	order := func(a, b table.Position) int {
		return cmp.Or(strings.Compare(a.Place.Sort, b.Place.Sort), strings.Compare(a.Key.Partition, b.Key.Partition),
			strings.Compare(a.Key.Sort, b.Key.Sort))
	}
	slices.SortFunc(found, order)
	var out table.RangeResult
	for i, p := range found {
		if r.Start != nil && order(p, *r.Start) <= 0 {
			continue
		}
		if len(out.Items) == r.Limit {
			out.Last = &found[i-1]
			break
		}
		item := m.items[p.Key]
		if r.KeysOnly {
			item.Value = nil
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

func (m *memory) Write(_ context.Context, writes []table.Write) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, w := range writes {
		item, _ := m.live(w.Item.Key)
		if w.If != table.Any && item.Revision != int64(w.If) {
			return &table.ConflictError{Position: i}
		}
	}
	for _, w := range writes {
		switch {
		case w.Delete:
			delete(m.items, w.Item.Key)
		case !w.Check:
			item := w.Item
			item.Value = bytes.Clone(item.Value)
			item.Revision = m.items[item.Key].Revision + 1
			m.items[item.Key] = item
		}
	}
	m.writes++
	return nil
}

func (m *memory) Close() error { return nil }

// keys are the keys that begin with the prefix in one of their parts.
func (m *memory) keys(partition, sort string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for key := range m.items {
		if strings.HasPrefix(key.Partition, partition) && strings.HasPrefix(key.Sort, sort) {
			out = append(out, key.Sort)
		}
	}
	slices.Sort(out)
	return out
}

// mortal is a process's view of a table: it dies with the write number dies, which is the first one
// that its process is not told about. If lost, that write did not happen either.
type mortal struct {
	*memory
	mu    sync.Mutex
	dies  int // 0: never
	lost  bool
	dead  bool
	death func()
}

func (m *mortal) Write(ctx context.Context, writes []table.Write) error {
	m.mu.Lock()
	m.dies--
	last := m.dies == 0
	dead := m.dead
	m.dead = m.dead || last
	m.mu.Unlock()
	if last {
		defer m.death()
	}
	if !dead && (!last || !m.lost) {
		if err := m.memory.Write(ctx, writes); err != nil && !last {
			return err
		}
	}
	if dead || last {
		return fault.New(fault.Unavailable, "the process is dead")
	}
	return nil
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}
