package authn

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// counted is a bucket that counts what it is asked and can be down.
type counted struct {
	blob.Bucket

	gets atomic.Int64
	down atomic.Bool
}

func (c *counted) Get(ctx context.Context, key string) ([]byte, error) {
	c.gets.Add(1)
	if c.down.Load() {
		return nil, fault.New(fault.Unavailable, "the bucket is down")
	}
	return c.Bucket.Get(ctx, key)
}

func keysBucket(t *testing.T) *counted {
	t.Helper()
	b, err := fileblob.Open(t.Context(), fileblob.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return &counted{Bucket: b}
}

var ann = Principal{Tenant: "t1", Subject: "user:ann", Roles: []string{RoleAnalyst}}

func mintFrom(t *testing.T, store KeyStore, service string) string {
	t.Helper()
	s, err := store.Signer(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Mint(t.Context(), ann)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func verifies(t *testing.T, store KeyStore, token string) error {
	t.Helper()
	_, err := NewVerifier(VerifierOptions{Keys: store.Keys()}).Verify(t.Context(), token)
	return err
}

func TestKeyStores(t *testing.T) {
	for name, open := range map[string]func(*testing.T) func() KeyStore{
		"files": func(t *testing.T) func() KeyStore {
			dir := t.TempDir()
			return func() KeyStore { return FileKeys(dir) }
		},
		"bucket": func(t *testing.T) func() KeyStore {
			b := keysBucket(t)
			return func() KeyStore { return NewBucketKeys(b) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			first, second := mintFrom(t, store(), "ingest"), mintFrom(t, store(), "gateway")
			for _, token := range []string{first, second, mintFrom(t, store(), "ingest")} {
				if err := verifies(t, store(), token); err != nil {
					t.Errorf("verify: %v", err)
				}
			}
			if err := verifies(t, open(t)(), first); !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("another store said %v to the token", err)
			}
			if _, err := store().Signer(t.Context(), "../x"); !errors.Is(err, fault.Invalid) {
				t.Errorf("signer of ../x: %v, want Invalid", err)
			}
		})
	}
}

func TestBucketKeysReadNothingBeforeTheyAreNeeded(t *testing.T) {
	b := keysBucket(t)
	store := NewBucketKeys(b)
	s, err := store.Signer(t.Context(), "ingest")
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(VerifierOptions{Keys: store.Keys()})
	if n := b.gets.Load(); n != 0 {
		t.Fatalf("%d reads before the first token", n)
	}
	for range 3 {
		token, err := s.Mint(t.Context(), ann)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	before := b.gets.Load()
	if _, err := s.Mint(t.Context(), Principal{Tenant: "t2", Subject: "user:bob"}); err != nil {
		t.Fatal(err)
	}
	if n := b.gets.Load(); n != before {
		t.Errorf("%d reads for a key that was read already", n-before)
	}
}

// Of many instances that start at once all have the same key, and it is the one that is published.
func TestBucketKeysAreCreatedOnce(t *testing.T) {
	b := keysBucket(t)
	const instances = 16
	keys := make([]ed25519.PrivateKey, instances)
	var wg sync.WaitGroup
	for i := range instances {
		wg.Go(func() {
			var err error
			if keys[i], err = NewBucketKeys(b).load(t.Context(), "ingest"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys[1:] {
		if !k.Equal(keys[0]) {
			t.Fatal("two instances have different keys")
		}
	}
	all, err := NewBucketKeys(b).public(t.Context(), "ingest")
	if err != nil || len(all) != 1 || !all[0].Equal(keys[0].Public()) {
		t.Errorf("published %v, %v", all, err)
	}
}

func TestBucketKeyChange(t *testing.T) {
	b := keysBucket(t)
	old := mintFrom(t, NewBucketKeys(b), "ingest")
	if err := b.Delete(t.Context(), "private/ingest"); err != nil {
		t.Fatal(err)
	}
	young := mintFrom(t, NewBucketKeys(b), "ingest")
	for _, token := range []string{old, young} {
		if err := verifies(t, NewBucketKeys(b), token); err != nil {
			t.Errorf("after the change: %v", err)
		}
	}
}

func TestBucketDown(t *testing.T) {
	b := keysBucket(t)
	store := NewBucketKeys(b)
	token := mintFrom(t, store, "ingest")
	b.down.Store(true)
	if err := verifies(t, NewBucketKeys(b), token); !errors.Is(err, fault.Unavailable) {
		t.Errorf("verify: %v, want Unavailable: the token is good", err)
	}
	s, err := NewBucketKeys(b).Signer(t.Context(), "ingest")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mint(t.Context(), ann); !errors.Is(err, fault.Unavailable) {
		t.Errorf("mint: %v, want Unavailable", err)
	}
	b.down.Store(false)
	if _, err := s.Mint(t.Context(), ann); err != nil {
		t.Errorf("mint when the bucket is back: %v", err)
	}
}

// Made-up key ids cost few reads and no memory.
func TestBucketKeysBoundStrangers(t *testing.T) {
	b := keysBucket(t)
	store := NewBucketKeys(b)
	token := mintFrom(t, store, "ingest")
	before := b.gets.Load()
	for i := range 10_000 {
		for _, kid := range []string{"ingest.0", "s" + strings.Repeat("x", i%62) + ".0", "../private/ingest", "", "."} {
			if key, _, err := store.Lookup(t.Context(), kid); key != nil || err != nil {
				t.Fatalf("%q gave %v, %v", kid, key, err)
			}
		}
	}
	if n := b.gets.Load() - before; n > 10*maxKeyServices {
		t.Errorf("%d reads", n)
	}
	if len(store.services) > maxKeyServices {
		t.Errorf("%d services are remembered", len(store.services))
	}
	if err := verifies(t, store, token); err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

func TestJoinKeys(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := keysBucket(t)
	store := NewBucketKeys(b)
	far := mintFrom(t, store, "ingest")
	local, err := NewSigner(SignerOptions{Service: "workflow", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	near, err := local.Mint(t.Context(), ForService("workflow", "t1"))
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(VerifierOptions{Keys: JoinKeys(StaticKeys{"workflow": {public}}, store.Keys())})
	for _, token := range []string{far, near} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
	if err := verifies(t, store, near); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a verifier without the local key said %v", err)
	}
}
