package dns

import (
	"context"
	"strings"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
)

// maxWalk is how many names of a zone are read by following NSEC: enough to prove that it goes on, and to be of use in a small zone.
const maxWalk = 50

// denial asks for a name that nobody chose and reads how its absence is proven (RFC 4034 section 4, RFC 5155).
func (s *scan) denial(ctx context.Context, out *modelv1.Dnssec) {
	reply, err := s.resolver.askSigned(ctx, dnswild.RandomLabel()+"."+s.name, mdns.TypeA)
	if err != nil {
		s.miss("proof of absence", err)
		return
	}
	for _, rr := range reply.Ns {
		switch proof := rr.(type) {
		case *mdns.NSEC3:
			out.Denial, out.Nsec3Iterations, out.Nsec3Salt = "nsec3", uint32(proof.Iterations), uint32(proof.SaltLength)
			out.Nsec3OptOut = out.GetNsec3OptOut() || proof.Flags&1 != 0
		case *mdns.NSEC:
			if out.GetDenial() == "" {
				out.Denial = "nsec"
			}
		}
	}
	if out.GetDenial() == "nsec" {
		out.Walkable = s.walk(ctx)
	}
}

// walk follows NSEC from the apex and says whether it lists names: it comes to at least one name beside the apex that was not made
// up for the answer (RFC 4470: such proofs name the label right after the one asked for), or it is back at the apex.
func (s *scan) walk(ctx context.Context) bool {
	var names []string
	at := s.name
	for range maxWalk {
		reply, err := s.resolver.askSigned(ctx, at, mdns.TypeNSEC)
		if err != nil {
			break
		}
		proofs := ofType[*mdns.NSEC](reply.Answer, at)
		if len(proofs) == 0 {
			break
		}
		next := plain(proofs[0].NextDomain)
		if next == s.name || !strings.HasSuffix(next, "."+s.name) || strings.Contains(next, `\`) || next == at {
			break
		}
		names = append(names, next)
		at = next
	}
	s.learned(names, "NSEC record")
	return len(names) > 0
}
