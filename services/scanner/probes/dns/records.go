package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// addresses asks for A and AAAA, and the chain of aliases to them.
func (s *scan) addresses(ctx context.Context) {
	for _, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
		got, err := s.resolver.find(ctx, s.name, kind)
		if errors.Is(err, errChain) {
			s.require("addresses", err)
			return
		}
		if err != nil {
			s.miss("addresses", err)
			s.mu.Lock()
			s.unanswered = true
			s.mu.Unlock()
			return
		}
		s.fact.Rcode, s.chain.rcode = rcodeName(got.rcode), got.rcode
		if len(got.chain) > len(s.fact.GetCname()) {
			s.fact.Cname, s.chain.chain = safeNames(got.chain), got.chain
		}
		for _, addr := range addrs(got.records) {
			s.address(kind, addr.Unmap())
		}
	}
}

func (s *scan) address(kind uint16, addr netip.Addr) {
	list := &s.fact.A
	if kind == mdns.TypeAAAA {
		list = &s.fact.Aaaa
	}
	if len(*list) == maxValues {
		return
	}
	*list = append(*list, addr.String())
	slices.Sort(*list)
	if private(addr) {
		s.fact.PrivateAddresses = append(s.fact.PrivateAddresses, addr.String())
		slices.Sort(s.fact.GetPrivateAddresses())
	}
}

// sharedSpace is carrier-grade NAT (RFC 6598), thisNetwork RFC 791's "this host on this network".
var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
)

// private says that an address means another machine to everybody who reads it (RFC 6890).
func private(addr netip.Addr) bool {
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() ||
		sharedSpace.Contains(addr) || thisNetwork.Contains(addr)
}

// records asks for one type at the name itself.
func (s *scan) records(ctx context.Context, kind uint16, take func([]mdns.RR)) {
	got, err := s.resolver.find(ctx, s.name, kind)
	if err != nil {
		s.miss(mdns.TypeToString[kind], err)
		return
	}
	take(got.records[:min(len(got.records), maxValues)])
}

func (s *scan) exchangers(records []mdns.RR) {
	for _, rr := range records {
		if mx, ok := rr.(*mdns.MX); ok {
			host := safe(plain(mx.Mx))
			if mx.Mx == "." {
				host = "." // takes no mail (RFC 7505)
			}
			s.fact.Mx = append(s.fact.Mx, &modelv1.Mx{Preference: uint32(mx.Preference), Host: host})
		}
	}
	slices.SortFunc(s.fact.GetMx(), func(a, b *modelv1.Mx) int {
		if a.GetPreference() != b.GetPreference() {
			return int(a.GetPreference()) - int(b.GetPreference())
		}
		return strings.Compare(a.GetHost(), b.GetHost())
	})
}

func (s *scan) texts(records []mdns.RR) {
	for _, text := range textsOf(records) {
		s.fact.Txt = append(s.fact.Txt, probes.SafeString(text, maxRecord))
	}
	slices.Sort(s.fact.GetTxt())
}

// caa finds the records that apply: the name's own, else those of the nearest name above it (RFC 8659 section 3).
func (s *scan) caa(ctx context.Context) {
	for name := s.name; name != ""; _, name, _ = strings.Cut(name, ".") {
		got, err := s.resolver.find(ctx, name, mdns.TypeCAA)
		if err != nil {
			s.requireAtApex("CAA", err)
			return
		}
		for _, rr := range got.records[:min(len(got.records), maxValues)] {
			if caa, ok := rr.(*mdns.CAA); ok {
				s.fact.Caa = append(s.fact.Caa, &modelv1.Caa{Flags: uint32(caa.Flag), Tag: safe(strings.ToLower(caa.Tag)), Value: safe(unescape(caa.Value))})
			}
		}
		if len(s.fact.GetCaa()) > 0 {
			s.fact.CaaUnknownCritical, s.fact.CaaError = judgeCAA(s.fact.GetCaa())
			return
		}
	}
}
