package gateway

import (
	"context"
	"sync"
	"time"
)

const (
	// keptFor is how long what was read counts as it was read: a revoked key or a suspended tenant stops working within it. It is
	// promised to be at most 60 seconds.
	keptFor = 30 * time.Second
	// maxKept bounds a cache; when it is full it starts anew, which costs one read for each entry in use.
	maxKept = 10000
)

// cache keeps what was read for a short time, what does not exist too, so that guessing costs no reads twice. Errors are not kept.
type cache[V any] struct {
	read func(ctx context.Context, name string) (V, error)

	mu   sync.RWMutex
	kept map[string]entry[V]
}

type entry[V any] struct {
	value V
	until time.Time
}

func newCache[V any](read func(ctx context.Context, name string) (V, error)) *cache[V] {
	return &cache[V]{read: read, kept: map[string]entry[V]{}}
}

func (c *cache[V]) get(ctx context.Context, name string, now time.Time) (V, error) {
	c.mu.RLock()
	e, ok := c.kept[name]
	c.mu.RUnlock()
	if ok && !now.After(e.until) {
		return e.value, nil
	}
	v, err := c.read(ctx, name)
	if err == nil {
		c.keep(name, entry[V]{v, now.Add(keptFor)})
	}
	return v, err
}

func (c *cache[V]) keep(name string, e entry[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxKept {
		clear(c.kept)
	}
	c.kept[name] = e
}

func (c *cache[V]) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, name)
}
