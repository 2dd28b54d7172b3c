package authn

import "sync"

// cache is a bounded map that forgets in two generations: when the young one is half the bound it
// becomes the old one, and the old one goes. What is asked for moves back to the young. So what is
// in use stays, at the price of one map look-up, and a flood of strangers costs no more memory
// than the bound.
type cache[V any] struct {
	half int

	mu         sync.RWMutex
	young, old map[string]V
}

func newCache[V any](bound int) *cache[V] {
	return &cache[V]{half: max(bound/2, 1), young: map[string]V{}}
}

func (c *cache[V]) get(key string) (V, bool) {
	c.mu.RLock()
	v, ok := c.young[key]
	old := false
	if !ok {
		v, old = c.old[key]
	}
	c.mu.RUnlock()
	if old {
		c.put(key, v)
	}
	return v, ok || old
}

func (c *cache[V]) put(key string, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[key]; !ok && len(c.young) >= c.half {
		c.young, c.old = make(map[string]V, c.half), c.young
	}
	c.young[key] = v
}

func (c *cache[V]) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.young) + len(c.old)
}

func (c *cache[V]) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, key)
	delete(c.old, key)
}
