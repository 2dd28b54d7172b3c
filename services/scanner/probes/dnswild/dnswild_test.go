package dnswild

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// zone is a small DNS with wildcards: it answers by the closest encloser that exists (RFC 4592 section 3.3.1).
type zone map[string]Answer

func (z zone) lookup(_ context.Context, name string) (Answer, error) {
	if a, ok := z[name]; ok {
		return a, nil
	}
	for _, rest, ok := strings.Cut(name, "."); ok; _, rest, ok = strings.Cut(rest, ".") {
		if a, wild := z["*."+rest]; wild {
			return a, nil
		}
		if z.exists(rest) {
			break
		}
	}
	return Answer{}, nil
}

func (z zone) exists(name string) bool {
	for other := range z {
		if other == name || strings.HasSuffix(other, "."+name) {
			return true
		}
	}
	return false
}

func TestLevels(t *testing.T) {
	z := zone{
		"*.a.test":          {Addresses: addrs("192.0.2.1")},
		"www.a.test":        {Addresses: addrs("192.0.2.2")},
		"same.a.test":       {Addresses: addrs("192.0.2.1")},
		"api.dev.a.test":    {Addresses: addrs("192.0.2.3")},
		"*.apps.dev.a.test": {Aliases: []string{"edge.cdn.test"}, Addresses: addrs("198.51.100.1")},
		"x.apps.dev.a.test": {Aliases: []string{"edge.cdn.test"}, Addresses: addrs("198.51.100.9")},
		"y.apps.dev.a.test": {Aliases: []string{"own.cdn.test"}, Addresses: addrs("198.51.100.1")},
		"z.apps.dev.a.test": {Addresses: addrs("203.0.113.1")},
	}
	p := New(z.lookup, Options{})
	for name, want := range map[string]bool{
		"www.a.test": false, "same.a.test": true, "nobody.a.test": true,
		// dev.a.test exists, so the wildcard above does not reach below it.
		"api.dev.a.test": false, "nobody.dev.a.test": false,
		// nothing.a.test does not exist, so the wildcard of a.test answers for everything below.
		"deep.nothing.a.test": true,
		"x.apps.dev.a.test":   true, "y.apps.dev.a.test": false, "z.apps.dev.a.test": false, "q.apps.dev.a.test": true,
		"test": false,
	} {
		a, _ := z.lookup(t.Context(), name)
		got, err := p.Covers(t.Context(), name, a)
		if err != nil || got != want {
			t.Errorf("%s: %t, %v; want %t", name, got, err, want)
		}
	}
	if got, want := p.Wildcards(), []string{"*.a.test", "*.apps.dev.a.test", "*.nothing.a.test"}; !slices.Equal(got, want) {
		t.Errorf("wildcards %v, want %v", got, want)
	}
}

func TestVaryingWildcards(t *testing.T) {
	pool := func(_ context.Context, _ string) (Answer, error) {
		return Answer{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(rand.IntN(250))})}}, nil
	}
	p := New(pool, Options{})
	for addr, want := range map[string]bool{"192.0.2.251": true, "192.0.3.1": false} {
		if got, err := p.Covers(t.Context(), "www.a.test", Answer{Addresses: addrs(addr)}); err != nil || got != want {
			t.Errorf("%s: %t, %v; want %t", addr, got, err, want)
		}
	}
	named := func(_ context.Context, name string) (Answer, error) {
		label, _, _ := strings.Cut(name, ".")
		return Answer{Aliases: []string{label + ".eu.cdn.test"}}, nil
	}
	p = New(named, Options{})
	for alias, want := range map[string]bool{"www.eu.cdn.test": true, "WWW.eu.cdn.test.": true, "www.us.cdn.test": false} {
		if got, err := p.Covers(t.Context(), "www.a.test", Answer{Aliases: []string{alias}}); err != nil || got != want {
			t.Errorf("%s: %t, %v; want %t", alias, got, err, want)
		}
	}
}

// Some resolvers answer now and then for names that do not exist: that is no wildcard.
func TestSingleLies(t *testing.T) {
	var n atomic.Int32
	p := New(func(context.Context, string) (Answer, error) {
		if n.Add(1)%3 == 0 {
			return Answer{Addresses: addrs("192.0.2.1")}, nil
		}
		return Answer{}, nil
	}, Options{})
	if got, err := p.Level(t.Context(), "a.test"); err != nil || got.Wildcard() || got.Resolved != 3 || got.Asked != DefaultProbes {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUnansweredIsNoAnswer(t *testing.T) {
	down := errors.New("down")
	failing := true
	p := New(func(context.Context, string) (Answer, error) {
		if failing {
			return Answer{}, down
		}
		return Answer{Addresses: addrs("192.0.2.1")}, nil
	}, Options{})
	if _, err := p.Covers(t.Context(), "www.a.test", Answer{Addresses: addrs("192.0.2.1")}); !errors.Is(err, ErrUnanswered) || !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
	failing = false // and it is asked again
	if got, err := p.Covers(t.Context(), "www.a.test", Answer{Addresses: addrs("192.0.2.1")}); err != nil || !got {
		t.Errorf("%t, %v", got, err)
	}
}

func TestAskedOnceAndBounded(t *testing.T) {
	var asked atomic.Int32
	p := New(func(context.Context, string) (Answer, error) {
		asked.Add(1)
		return Answer{}, nil
	}, Options{MaxLevels: 2})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { _, _ = p.Level(t.Context(), "A.test.") })
	}
	all.Wait()
	if asked.Load() != DefaultProbes {
		t.Errorf("%d questions for one level", asked.Load())
	}
	_, _ = p.Level(t.Context(), "b.test")
	if _, err := p.Level(t.Context(), "c.test"); !errors.Is(err, ErrTooManyLevels) {
		t.Errorf("a third level: %v", err)
	}
}

// A name that resolves exactly as the wildcard does is never told from it, and one with an address of its own always is.
func TestCoversIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		octet := rapid.IntRange(1, 254)
		wild := netip.AddrFrom4([4]byte{192, 0, 2, byte(octet.Draw(t, "wild"))})
		own := netip.AddrFrom4([4]byte{198, 51, 100, byte(octet.Draw(t, "own"))})
		labels := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,6}`), 1, 5).Draw(t, "labels")
		level := strings.Join(labels, ".") + ".test"
		z := zone{"*." + level: {Addresses: []netip.Addr{wild}}, "own." + level: {Addresses: []netip.Addr{own}}}
		p := New(z.lookup, Options{Probes: 4})
		for name, want := range map[string]bool{"own." + level: false, "other." + level: true} {
			a, _ := z.lookup(context.Background(), name)
			if got, err := p.Covers(context.Background(), name, a); err != nil || got != want {
				t.Fatalf("%s: %t, %v; want %t", name, got, err, want)
			}
		}
	})
}

// FuzzExplains: names and aliases come from strangers.
func FuzzExplains(f *testing.F) {
	f.Add("www.a.test", "www.cdn.test")
	f.Add("", "...")
	f.Fuzz(func(t *testing.T, name, alias string) {
		p := Profile{Asked: 2, Resolved: 2, Aliases: []string{template(name, alias)}}
		if !p.Explains(name, Answer{Aliases: []string{alias}}) {
			t.Errorf("%q to %q does not explain itself", name, alias)
		}
	})
}
