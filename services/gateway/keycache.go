package gateway

import (
	"context"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// credential is a key as the edge judges it.
type credential struct {
	hash      [32]byte
	principal authn.Principal
	// expires is the end of the key; zero: never.
	expires time.Time
}

// keyCache judges API keys. A key that does not exist is a nil credential.
type keyCache struct{ *cache[*credential] }

func newKeyCache(read func(ctx context.Context, keyID string) (*credential, error)) *keyCache {
	return &keyCache{newCache(read)}
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
	k, err := c.get(ctx, keyID, now)
	if err != nil {
		return authn.Principal{}, err
	}
	if k == nil || !authn.VerifySecret(k.hash, secret) || !k.expires.IsZero() && now.After(k.expires) {
		return authn.Principal{}, errKey()
	}
	return k.principal, nil
}
