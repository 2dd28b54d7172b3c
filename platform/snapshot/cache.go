package snapshot

import (
	"container/list"
	"sync"
)

// cacheBytes is what a reader keeps of unpacked blocks: entries that are asked for together (the advisories of one product)
// are often in one block.
const cacheBytes = 8 << 20

type place struct {
	section *sectionReader
	block   int
}

type cached struct {
	place

	entries []byte
}

// cache keeps the blocks that were used last.
type cache struct {
	mu    sync.Mutex
	bytes int
	order list.List
	at    map[place]*list.Element
}

func (c *cache) get(p place) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.at[p]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	entry, ok := e.Value.(*cached)
	if !ok {
		return nil, false
	}
	return entry.entries, true
}

func (c *cache) put(p place, entries []byte) {
	if len(entries) > cacheBytes/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[place]*list.Element{}
	}
	if c.at[p] != nil {
		return
	}
	c.at[p] = c.order.PushFront(&cached{place: p, entries: entries})
	c.bytes += len(entries)
	for c.bytes > cacheBytes {
		last := c.order.Back()
		old, ok := c.order.Remove(last).(*cached)
		if !ok {
			return
		}
		delete(c.at, old.place)
		c.bytes -= len(old.entries)
	}
}
