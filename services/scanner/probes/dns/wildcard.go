package dns

import (
	"context"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
)

// maxLevels is how many levels of a zone are looked at: its own, and those in which its records name hosts.
const maxLevels = 3

// profiler asks for random names through the scan's resolver.
func (s *scan) profiler() *dnswild.Profiler {
	return dnswild.New(func(ctx context.Context, name string) (dnswild.Answer, error) {
		got, err := s.resolver.find(ctx, name, mdns.TypeA)
		if err != nil {
			return dnswild.Answer{}, err
		}
		if got.void() && len(got.chain) == 0 && got.rcode == mdns.RcodeSuccess { // a wildcard may have IPv6 only
			if got, err = s.resolver.find(ctx, name, mdns.TypeAAAA); err != nil {
				return dnswild.Answer{}, err
			}
		}
		return dnswild.Answer{Aliases: got.chain, Addresses: addrs(got.records)}, nil
	}, dnswild.Options{Parallel: perHost})
}

// wildcard profiles the levels of the zone: which of them answer for names that nobody made, and whether that leads to something
// that others can claim.
func (s *scan) wildcard(ctx context.Context) {
	profiler := s.profiler()
	for _, level := range s.levels() {
		profile, err := profiler.Level(ctx, level)
		if err != nil {
			s.miss("random names", err)
			continue
		}
		if !profile.Wildcard() {
			continue
		}
		out := &modelv1.WildcardLevel{
			Name: safe("*." + level), Asked: uint32(profile.Asked), Resolved: uint32(profile.Resolved), Aliases: safeNames(profile.Aliases),
		}
		for _, addr := range profile.Addresses {
			out.Addresses = append(out.Addresses, addr.String())
		}
		s.fact.Wildcards = append(s.fact.Wildcards, out)
		// A wildcard whose aliases lead nowhere makes no name that resolves.
		if len(profile.Addresses) > 0 {
			s.fact.Wildcard = s.fact.GetWildcard() || level == s.name
		}
		if len(profile.Aliases) > 0 {
			s.wildcardAlias(ctx, level)
		}
	}
}

// wildcardAlias follows the wildcard's own alias: a question for the asterisk itself is answered with the record (RFC 4592
// section 2.2).
func (s *scan) wildcardAlias(ctx context.Context, level string) {
	name := "*." + level
	got, err := s.resolver.find(ctx, name, mdns.TypeA)
	if err != nil {
		s.miss("wildcard "+name, err)
		return
	}
	s.alias(ctx, name, got, true)
}

// levels are the zone's own and those in which its records name hosts.
func (s *scan) levels() []string {
	out := []string{s.name}
	names := slices.Clone(s.fact.GetNs())
	for _, mx := range s.fact.GetMx() {
		names = append(names, mx.GetHost())
	}
	slices.Sort(names)
	for _, name := range names {
		_, parent, ok := strings.Cut(name, ".")
		if ok && parent != s.name && under(parent, s.name) && plausible(parent) && !slices.Contains(out, parent) && len(out) < maxLevels {
			out = append(out, parent)
		}
	}
	return out
}
