package main

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Random prefixes: every address has the provider of the narrowest prefix that holds it, and ranges neither overlap nor touch
// one of the same provider.
func TestFlatten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var spans []span
		var prefixes []netip.Prefix
		var owners []string
		for range r.IntN(12) {
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(256))}), 24+r.IntN(9)).Masked()
			name := string(rune('a' + r.IntN(3)))
			prefixes, owners = append(prefixes, prefix), append(owners, name)
			spans = append(spans, span{prefix.Addr(), last(prefix), name})
		}
		flat := flatten(spans)
		for i := range 256 {
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			want := map[string]bool{}
			bits := -1
			for j, p := range prefixes {
				if !p.Contains(addr) || p.Bits() < bits {
					continue
				}
				if p.Bits() > bits {
					clear(want)
				}
				bits = p.Bits()
				want[owners[j]] = true
			}
			got, n := "", 0
			for _, s := range flat {
				if s.first.Compare(addr) <= 0 && addr.Compare(s.last) <= 0 {
					got, n = s.provider, n+1
				}
			}
			if n > 1 || (n == 1) != (len(want) > 0) || n == 1 && !want[got] {
				t.Fatalf("%v: %q of %d ranges, want one of %v\n%v\n%v", addr, got, n, want, spans, flat)
			}
		}
	}
}
