package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// keyLife is how long a key that was read counts as it was read: a revoked key stops working within it. It is promised
	// to be at most 60 seconds.
	keyLife = 30 * time.Second
	// maxKeys bounds the cache; when it is full it starts anew, which costs one read for each key in use.
	maxKeys = 10000
)

// credential is a key as the edge judges it.
type credential struct {
	hash      [32]byte
	principal authn.Principal
	// expires is the end of the key; zero: never.
	expires time.Time
}

type cached struct {
	credential *credential // nil: no such key
	until      time.Time
}

// keyCache keeps keys that were read. What does not exist is kept too, so that guessing costs no reads of the table twice.
type keyCache struct {
	read func(ctx context.Context, keyID string) (*credential, error)

	mu   sync.RWMutex
	keys map[string]cached
}

func newKeyCache(read func(ctx context.Context, keyID string) (*credential, error)) *keyCache {
	return &keyCache{read: read, keys: map[string]cached{}}
}

func (c *keyCache) forget(keyID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, keyID)
}

// errKey is the one answer to every key that does not work: what is wrong with it would only help who guesses.
func errKey() error { return fault.New(fault.Unauthenticated, "invalid API key") }

// authenticate is the principal that a key's text stands for.
func (c *keyCache) authenticate(ctx context.Context, text string) (authn.Principal, error) {
	keyID, secret, err := authn.ParseKey(text)
	if err != nil {
		return authn.Principal{}, errKey()
	}
	now := time.Now()
	c.mu.RLock()
	k, ok := c.keys[keyID]
	c.mu.RUnlock()
	if !ok || now.After(k.until) {
		if k.credential, err = c.read(ctx, keyID); err != nil {
			return authn.Principal{}, err
		}
		k.until = now.Add(keyLife)
		c.keep(keyID, k)
	}
	if k.credential == nil || !authn.VerifySecret(k.credential.hash, secret) || !k.credential.expires.IsZero() && now.After(k.credential.expires) {
		return authn.Principal{}, errKey()
	}
	return k.credential.principal, nil
}

func (c *keyCache) keep(keyID string, k cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) >= maxKeys {
		clear(c.keys)
	}
	c.keys[keyID] = k
}
