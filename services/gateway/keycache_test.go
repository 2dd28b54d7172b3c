package gateway

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// shelf is a store of keys that counts its reads.
type shelf struct {
	keys  map[string]*credential
	reads int
	err   error
}

func (s *shelf) read(_ context.Context, keyID string) (*credential, error) {
	s.reads++
	return s.keys[keyID], s.err
}

// shelved makes a key that lies on the shelf and returns its text and id.
func shelved(t *testing.T, s *shelf, expires time.Time) (text, keyID string) {
	t.Helper()
	k, err := authn.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s.keys[k.ID] = &credential{hash: authn.HashSecret(k.Secret), principal: authn.Principal{Tenant: "acme", Subject: "key:" + k.ID}, expires: expires}
	return k.Text(), k.ID
}

func TestKeyCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{keys: map[string]*credential{}}
		cache := newKeyCache(s.read)
		text, keyID := shelved(t, s, time.Now().Add(time.Hour))
		works := func(want bool) {
			t.Helper()
			p, err := cache.authenticate(t.Context(), text)
			if want && (err != nil || p.Tenant != "acme") || !want && !errors.Is(err, fault.Unauthenticated) {
				t.Fatalf("%+v, %v; want the key to work: %v", p, err, want)
			}
		}
		works(true)
		works(true)
		if s.reads != 1 {
			t.Errorf("%d reads for two uses", s.reads)
		}
		delete(s.keys, keyID) // revoked elsewhere
		works(true)
		time.Sleep(keptFor + time.Second)
		works(false)
		works(false)
		if s.reads != 2 {
			t.Errorf("%d reads: what does not exist is not kept", s.reads)
		}
	})
}

func TestKeyCacheForgets(t *testing.T) {
	s := &shelf{keys: map[string]*credential{}}
	cache := newKeyCache(s.read)
	text, keyID := shelved(t, s, time.Time{})
	if _, err := cache.authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	delete(s.keys, keyID)
	cache.forget(keyID)
	if _, err := cache.authenticate(t.Context(), text); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("a key that was revoked here works: %v", err)
	}
}

func TestKeysThatDoNotWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{keys: map[string]*credential{}}
		cache := newKeyCache(s.read)
		good, _ := shelved(t, s, time.Time{})
		other, _ := shelved(t, s, time.Time{})
		ended, _ := shelved(t, s, time.Now().Add(time.Minute))
		time.Sleep(2 * time.Minute)
		mixed := good[:len(good)-20] + other[len(other)-20:] // the visible part of one, the end of the other
		for _, text := range []string{"", "rp_", "x", mixed, ended, good + "x"} {
			_, err := cache.authenticate(t.Context(), text)
			if !errors.Is(err, fault.Unauthenticated) || err.Error() != errKey().Error() {
				t.Errorf("%q: %v, want the one answer", text, err)
			}
		}
		s.err = fault.New(fault.Unavailable, "down")
		fresh := newKeyCache(s.read)
		if _, err := fresh.authenticate(t.Context(), good); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a table that is down reads as %v: it must not read as a wrong key", err)
		}
	})
}

func TestKeyCacheIsBounded(t *testing.T) {
	cache := newKeyCache((&shelf{}).read)
	for n := range maxKept + 10 {
		cache.keep(strconv.Itoa(n), entry[*credential]{})
	}
	if len(cache.kept) > maxKept {
		t.Errorf("%d keys are kept", len(cache.kept))
	}
}
