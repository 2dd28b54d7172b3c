package authn

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// KeyStore keeps the services' keys.
type KeyStore interface {
	// Signer makes the signer of a service of this process. A key that does not exist is created,
	// once: of several processes that start together all get the same one.
	Signer(ctx context.Context, service string) (*Signer, error)
	// Keys are the published keys of all services.
	Keys() Keys
}

// FileKeys keeps keys in a directory: see [LoadKeys] and [OpenKeyRing]. The key of a service is
// read when its signer is made.
type FileKeys string

// Signer loads the service's key and makes its signer.
func (dir FileKeys) Signer(_ context.Context, service string) (*Signer, error) {
	key, err := LoadKeys(string(dir), service)
	if err != nil {
		return nil, err
	}
	return NewSigner(SignerOptions{Service: service, Key: key})
}

// Keys is the ring of the directory.
func (dir FileKeys) Keys() Keys { return OpenKeyRing(string(dir)) }

const (
	privatePrefix = "private/"
	publicPrefix  = "public/"

	// keyTimeout bounds what waits for a key: a call has 20 s and a service may need two keys for it.
	keyTimeout = 5 * time.Second
	// maxKeyServices bounds how many names of services a ring remembers; there are six.
	maxKeyServices = 64
	// publishTries is how often a service tries to publish its key against others of its own kind.
	publishTries = 5
)

// BucketKeys keeps keys in a bucket: "private/<service>", which only that service may read, and
// "public/<service>", which all may read and only that service may write. Nothing is read before it
// is needed, and what was read is kept.
//
// To change a key, delete its private object: instances that start from then on create a new one
// and publish it in front of the old one, whose tokens stay good until the last old instance ends.
type BucketKeys struct {
	bucket blob.Bucket

	mu       sync.Mutex
	services map[string]*publishedKeys
}

// publishedKeys is what was read of one service.
type publishedKeys struct {
	mu   sync.Mutex
	keys []ed25519.PublicKey
	read time.Time
}

// NewBucketKeys makes a store over a bucket. It reads nothing.
func NewBucketKeys(b blob.Bucket) *BucketKeys {
	return &BucketKeys{bucket: b, services: map[string]*publishedKeys{}}
}

// Signer makes a signer that loads the key with its first token.
func (b *BucketKeys) Signer(_ context.Context, service string) (*Signer, error) {
	return NewSigner(SignerOptions{Service: service, Load: func(ctx context.Context) (ed25519.PrivateKey, error) {
		ctx, cancel := context.WithTimeout(ctx, keyTimeout)
		defer cancel()
		return b.load(ctx, service)
	}})
}

// Keys are the published keys, each read when the first token of its service comes.
func (b *BucketKeys) Keys() Keys { return b }

// load gives the private key and sees to it that its public key is published.
func (b *BucketKeys) load(ctx context.Context, service string) (ed25519.PrivateKey, error) {
	name := privatePrefix + service
	data, err := b.bucket.Get(ctx, name)
	if errors.Is(err, fault.NotFound) {
		data, err = b.create(ctx, name)
	}
	if err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "load key of %s", service)
	}
	key, err := parsePrivate(data)
	if err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "load key of %s from %s", service, name)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fault.New(fault.FailedPrecondition, "load key of %s from %s: no Ed25519 key", service, name)
	}
	if err := b.publish(ctx, service, public); err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "publish key of %s", service)
	}
	return key, nil
}

// create stores a new key. Losing the race against another instance is no error: its key is as good.
func (b *BucketKeys) create(ctx context.Context, name string) ([]byte, error) {
	text, err := newPrivate()
	if err != nil {
		return nil, err
	}
	err = b.bucket.Put(ctx, name, text)
	if errors.Is(err, fault.AlreadyExists) {
		return b.bucket.Get(ctx, name)
	}
	return text, err
}

// publish puts key first into the service's public object. An object is written once, so one that
// names another key is replaced by deleting it; verifiers that look at that moment look again.
func (b *BucketKeys) publish(ctx context.Context, service string, key ed25519.PublicKey) error {
	for range publishTries {
		before, err := b.public(ctx, service)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(before, func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
			return nil
		}
		text, err := published(key, before)
		if err != nil {
			return err
		}
		if len(before) > 0 {
			if err := b.bucket.Delete(ctx, publicPrefix+service); err != nil {
				return err
			}
		}
		if err := b.bucket.Put(ctx, publicPrefix+service, text); err == nil || !errors.Is(err, fault.AlreadyExists) {
			return err
		}
	}
	return fault.New(fault.Conflict, "other instances keep publishing another key; was the private key changed while they ran?")
}

// public reads a service's public object; one that is not there has no keys.
func (b *BucketKeys) public(ctx context.Context, service string) ([]ed25519.PublicKey, error) {
	data, err := b.bucket.Get(ctx, publicPrefix+service)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parsePublic(publicPrefix+service, data)
}

// Find is [BucketKeys.Lookup] for who has no context.
func (b *BucketKeys) Find(kid string) (ed25519.PublicKey, string, bool) {
	key, service, err := b.Lookup(context.Background(), kid)
	return key, service, err == nil && key != nil
}

// Lookup finds the key for a key id: nil if there is none, an error if the bucket cannot be asked.
// The id's first part names the service whose object is read, at most once a second.
func (b *BucketKeys) Lookup(ctx context.Context, kid string) (ed25519.PublicKey, string, error) {
	service, _, _ := strings.Cut(kid, ".")
	entry := b.entry(service)
	if entry == nil {
		return nil, "", nil
	}
	entry.mu.Lock()
	defer entry.mu.Unlock()
	if key := byID(entry.keys, service, kid); key != nil {
		return key, service, nil
	}
	if time.Since(entry.read) < rereadEvery {
		return nil, "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	keys, err := b.public(ctx, service)
	if err != nil && !errors.Is(err, fault.FailedPrecondition) {
		return nil, "", fault.Wrap(fault.Unavailable, err, "read public key of %s", service)
	}
	entry.read = time.Now()
	if len(keys) > 0 { // what was good stays good while an object is being replaced
		entry.keys = keys
	}
	return byID(entry.keys, service, kid), service, nil
}

// entry is what is known of a service, nil if the name cannot be one or there are too many.
func (b *BucketKeys) entry(service string) *publishedKeys {
	if !validService(service) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.services[service]
	if e == nil && len(b.services) < maxKeyServices {
		e = &publishedKeys{}
		b.services[service] = e
	}
	return e
}

func byID(keys []ed25519.PublicKey, service, kid string) ed25519.PublicKey {
	for _, k := range keys {
		if KeyID(service, k) == kid {
			return k
		}
	}
	return nil
}

// JoinKeys looks a key id up in each of keys, in order.
func JoinKeys(keys ...Keys) Keys { return joinedKeys(keys) }

type joinedKeys []Keys

// Find is [joinedKeys.Lookup] for who has no context.
func (j joinedKeys) Find(kid string) (ed25519.PublicKey, string, bool) {
	key, service, err := j.Lookup(context.Background(), kid)
	return key, service, err == nil && key != nil
}

// Lookup asks one after the other.
func (j joinedKeys) Lookup(ctx context.Context, kid string) (ed25519.PublicKey, string, error) {
	for _, k := range j {
		if key, service, err := find(ctx, k, kid); key != nil || err != nil {
			return key, service, err
		}
	}
	return nil, "", nil
}

// find looks a key id up: nil if there is none. Only keys that are far away can fail.
func find(ctx context.Context, keys Keys, kid string) (ed25519.PublicKey, string, error) {
	if far, ok := keys.(interface {
		Lookup(ctx context.Context, kid string) (ed25519.PublicKey, string, error)
	}); ok {
		return far.Lookup(ctx, kid)
	}
	key, service, ok := keys.Find(kid)
	if !ok {
		return nil, "", nil
	}
	return key, service, nil
}
