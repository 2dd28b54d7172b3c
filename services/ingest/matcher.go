package ingest

import (
	"net/netip"
	"strings"
)

// matcher finds those of many bases at or below which a value lies: a name below a name, an address or range in a range. It costs
// the labels of the name, or one comparison for each range.
type matcher struct {
	names map[string][]int
	nets  []network
}

type network struct {
	prefix netip.Prefix
	at     int
}

func newMatcher(bases []string) *matcher {
	m := &matcher{names: make(map[string][]int, len(bases))}
	for i, b := range bases {
		m.add(b, i)
	}
	return m
}

func (m *matcher) add(base string, at int) {
	if p, err := prefix(base); err == nil {
		m.nets = append(m.nets, network{p.Masked(), at})
		return
	}
	m.names[base] = append(m.names[base], at)
}

// over are the positions of the bases that a value lies in.
func (m *matcher) over(value string) []int {
	var out []int
	if inner, err := prefix(value); err == nil {
		for _, n := range m.nets {
			if n.prefix.Bits() <= inner.Bits() && n.prefix.Contains(inner.Addr()) {
				out = append(out, n.at)
			}
		}
		return out
	}
	for name, more := value, true; more; _, name, more = strings.Cut(name, ".") {
		out = append(out, m.names[name]...)
	}
	return out
}

// below says whether value is base or lies below it.
func below(value, base string) bool { return len(newMatcher([]string{base}).over(value)) > 0 }

func prefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}
