package rest

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// maxSpans bounds the ranges that are laid together; a network security group has at most 1,000 rules.
const maxSpans = 20_000

// Space is a set of IPv4 addresses, made of ranges as the providers write them. The zero value is empty.
type Space struct{ spans [][2]uint32 }

// Add puts in "192.0.2.0/24", "192.0.2.1", or everything for "*", "any" and "::/0" (who admits all of IPv6 admits the internet). Other
// text is passed over.
func (s *Space) Add(text string) {
	text = strings.TrimSpace(text)
	switch strings.ToLower(text) {
	case "*", "any", "internet", "::/0", "0/0":
		s.add(0, ^uint32(0))
		return
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		s.AddRange(addr, addr)
		return
	}
	if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() {
		first := number(p.Masked().Addr())
		s.add(first, first|uint32(uint64(1)<<(32-p.Bits())-1))
	}
}

// AddRange puts in the addresses from first to last.
func (s *Space) AddRange(first, last netip.Addr) {
	if first.Is4() && last.Is4() && first.Compare(last) <= 0 {
		s.add(number(first), number(last))
	}
}

func number(addr netip.Addr) uint32 {
	raw := addr.As4()
	return binary.BigEndian.Uint32(raw[:])
}

func (s *Space) add(first, last uint32) {
	if len(s.spans) < maxSpans {
		s.spans = append(s.spans, [2]uint32{first, last})
	}
}

// First and last address of the internet that machines may have: 1.0.0.0 to 223.255.255.255 (RFC 6890, RFC 1112 section 4).
const firstUnicast, lastUnicast = 0x01000000, 0xDFFFFFFF

// World says whether the whole internet is in it, in one range or in many side by side.
func (s *Space) World() bool {
	slices.SortFunc(s.spans, func(a, b [2]uint32) int { return cmp.Compare(a[0], b[0]) })
	next := uint64(firstUnicast)
	for _, span := range s.spans {
		if uint64(span[0]) > next {
			return false
		}
		next = max(next, uint64(span[1])+1)
	}
	return next > lastUnicast
}

// World says whether these ranges admit the whole internet.
func World(ranges []string) bool {
	var s Space
	for _, r := range ranges {
		s.Add(r)
	}
	return s.World()
}
