package dns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxDangling bounds the dangling facts of one scan.
const maxDangling = 50

// proofs in words.
const (
	proofAbsent     = "NXDOMAIN"
	proofRegistry   = "NXDOMAIN, and the registry's own name servers have no delegation for "
	proofAtProvider = "NXDOMAIN, also from the name servers of "
)

// dangles notes a record whose target does not exist, and finds out whether the target's domain can be registered.
func (s *scan) dangles(ctx context.Context, d *modelv1.DanglingFact) {
	if d.GetName() == "" {
		d.Name = s.name
	}
	if d.GetProof() == "" {
		d.Proof = proofAbsent
	}
	// Whatever lies below one of the tenant's own zones cannot be registered by others.
	if !d.GetUnclaimed() && !d.GetConfirmed() && !under(d.GetTarget(), s.zoneOrName()) {
		if domain := s.registrable(ctx, d.GetTarget()); domain != "" {
			d.Registrable, d.RegistrableDomain, d.Proof = true, safe(domain), proofRegistry+domain
		}
	}
	d.Target, d.Proof = safe(d.GetTarget()), probes.SafeString(d.GetProof(), 256)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dangling) < maxDangling {
		s.dangling = append(s.dangling, d)
	}
}

func (s *scan) zoneOrName() string {
	if s.zone != "" {
		return s.zone
	}
	return s.name
}

// registrable returns the domain that target lies in if two that know say that it is not registered: the resolver, and the
// registry's own name servers. A domain whose delegation the registry withholds looks the same, so this is as much as the DNS
// can say. Names below a provider's suffix (the private part of the public suffix list) are not the registry's.
func (s *scan) registrable(ctx context.Context, target string) string {
	domain, err := publicsuffix.EffectiveTLDPlusOne(target)
	if err != nil || s.passive {
		return ""
	}
	suffix, managed := publicsuffix.PublicSuffix(domain)
	if !managed && strings.Contains(suffix, ".") {
		return ""
	}
	s.mu.Lock()
	open, known := s.registry[domain]
	s.mu.Unlock()
	if !known {
		if open, err = s.unregistered(ctx, domain, suffix, managed); err != nil {
			s.miss("registry of "+suffix, err) // without its answer nothing that was said before is taken back
			return ""
		}
		s.mu.Lock()
		s.registry[domain] = open
		s.mu.Unlock()
	}
	if !open {
		return ""
	}
	return domain
}

// unregistered asks the two that know.
func (s *scan) unregistered(ctx context.Context, domain, suffix string, managed bool) (bool, error) {
	got, err := s.resolver.find(ctx, domain, mdns.TypeSOA)
	if answered := rcodeError(0); errors.As(err, &answered) {
		return false, nil // it exists and is broken
	}
	if err != nil || got.rcode != mdns.RcodeNameError {
		return false, err
	}
	return s.absentAt(ctx, domain, suffix, managed)
}

// absentAt asks the name servers of a zone themselves, and not a resolver's memory, whether a name does not exist there.
// Servers of a suffix that is nobody's (managed is false) are asked only on addresses that are nobody's either: a laboratory's.
func (s *scan) absentAt(ctx context.Context, name, zone string, managed bool) (bool, error) {
	key := questionKey{Question: mdns.Question{Name: mdns.CanonicalName(name), Qtype: mdns.TypeA, Qclass: mdns.ClassINET}}
	reply, err := s.askZone(ctx, zone, key, managed)
	if err != nil || reply == nil {
		return false, err
	}
	return reply.Authoritative && reply.Rcode == mdns.RcodeNameError, nil
}

// maxZoneServers is how many name servers of a zone above are tried for one question.
const maxZoneServers = 3

// askZone asks the first of a zone's name servers that answers, without recursion; nil if none may be asked. A datagram may get lost, so
// all are asked again before they count as silent, and then no more in this scan.
func (s *scan) askZone(ctx context.Context, zone string, key questionKey, managed bool) (*mdns.Msg, error) {
	s.mu.Lock()
	silent := s.silent[zone]
	s.mu.Unlock()
	if silent != nil {
		return nil, silent
	}
	servers, err := s.zoneServers(ctx, zone, managed)
	for range tries {
		for _, addr := range servers {
			reply, askErr := s.exchange(ctx, "udp", addr, key, false)
			if askErr == nil {
				return reply, nil
			}
			if refusal := (*netguard.RefusedError)(nil); !errors.As(askErr, &refusal) {
				err = askErr
			}
		}
	}
	if err != nil && ctx.Err() == nil {
		s.mu.Lock()
		s.silent[zone] = err
		s.mu.Unlock()
	}
	return nil, err
}

// zoneServers are one address each of a zone's name servers that may be asked. The error is that of the last one whose address is not
// known, where others were not found.
func (s *scan) zoneServers(ctx context.Context, zone string, managed bool) (out []netip.Addr, err error) {
	servers, err := s.resolver.find(ctx, zone, mdns.TypeNS)
	if err != nil {
		return nil, err
	}
	for _, rr := range servers.records[:min(len(servers.records), maxZoneServers)] {
		ns, ok := rr.(*mdns.NS)
		if !ok {
			continue
		}
		list, _, resolveErr := s.resolver.addresses(ctx, ns.Ns)
		if resolveErr != nil {
			err = resolveErr
			continue
		}
		list = slices.DeleteFunc(list, func(addr netip.Addr) bool { return !managed && !addr.IsLoopback() && !addr.IsPrivate() })
		if len(list) > 0 {
			out = append(out, list[0])
		}
	}
	if len(out) > 0 {
		err = nil
	}
	return out, err
}

// alias looks at where a name's aliases lead. A target that does not exist dangles; it is confirmed as open to a takeover only
// where the target is a known provider's, the provider itself says that nobody has it, and both say so twice.
func (s *scan) alias(ctx context.Context, from string, got found, wildcard bool) {
	if len(got.chain) == 0 {
		return
	}
	end := got.chain[len(got.chain)-1]
	p, target := providerOf(s.probe.providers(), got.chain)
	missing := got.rcode == mdns.RcodeNameError
	fact := &modelv1.DanglingFact{Name: safe(from), Record: "CNAME", Target: end, Provider: p.Name, ProviderStatus: p.State, Wildcard: wildcard}
	switch {
	case missing && p.NXDomain && target == end && !s.passive:
		confirmed, err := s.absentTwice(ctx, end)
		if err != nil {
			s.miss("provider "+p.Name, err)
		}
		if confirmed {
			fact.Proof, fact.Unclaimed, fact.Confirmed = proofAtProvider+p.Name, true, p.State == stateVulnerable
		}
		s.dangles(ctx, fact)
	case missing:
		s.dangles(ctx, fact)
	case len(p.Text) > 0 && p.State != stateNot && !s.passive:
		proof, certain, err := s.unclaimedTwice(ctx, p, s.pageHost(from, wildcard))
		if err != nil {
			s.miss("provider "+p.Name, err)
		}
		if proof != "" {
			fact.Target, fact.Proof, fact.Unclaimed, fact.Confirmed = target, proof, true, certain && p.State == stateVulnerable
			s.dangles(ctx, fact)
		}
	}
}

// absentTwice asks the provider's own name servers, and after a while the resolver and them again.
func (s *scan) absentTwice(ctx context.Context, name string) (bool, error) {
	got, err := s.resolver.find(ctx, name, mdns.TypeA)
	if err != nil || got.zone == "" {
		return false, err
	}
	suffix, managed := publicsuffix.PublicSuffix(name)
	managed = managed || strings.Contains(suffix, ".")
	if absent, err := s.absentAt(ctx, name, got.zone, managed); err != nil || !absent {
		return false, err
	}
	if err := s.pause(ctx); err != nil {
		return false, err
	}
	reply, err := s.resolver.again(ctx, name, mdns.TypeA)
	if err != nil || reply.Rcode != mdns.RcodeNameError {
		return false, err
	}
	return s.absentAt(ctx, name, got.zone, managed)
}

// otherTargets looks for records other than aliases whose targets do not exist.
func (s *scan) otherTargets(ctx context.Context, record string, hosts []string) {
	for _, target := range hosts {
		if _, err := netip.ParseAddr(target); err == nil || !plausible(target) {
			continue // an address stands where a name has to, or the root: "not here"
		}
		_, rcode, err := s.resolver.addresses(ctx, target)
		switch {
		case errors.Is(err, errChain):
		case err != nil:
			s.miss(record+" target "+target, err)
		case rcode == mdns.RcodeNameError:
			s.dangles(ctx, &modelv1.DanglingFact{Record: record, Target: target})
		}
	}
}

// registrableOnly notes the targets whose domain can be registered, and no others: for records where a name that merely does not
// exist harms nobody. It returns them.
func (s *scan) registrableOnly(ctx context.Context, record string, hosts []string) []string {
	var out []string
	for _, target := range hosts {
		if !plausible(target) || under(target, s.zoneOrName()) || s.registrable(ctx, target) == "" {
			continue
		}
		s.dangles(ctx, &modelv1.DanglingFact{Record: record, Target: target})
		out = append(out, target)
	}
	return out
}
