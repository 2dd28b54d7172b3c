package dns

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Bounds of the arithmetic that a zone can make us do (KeyTrap, CVE-2023-50387: many keys of one tag, times many signatures).
const (
	maxKeys       = 16
	maxSignatures = 8
	maxDigests    = 16
	// maxKeyBits is the longest RSA key that is computed with; RFC 3110 section 2 allows 4096.
	maxKeyBits = 4096
	// maxZonesAbove bounds the walk towards the root.
	maxZonesAbove = 6
)

//go:embed root-anchors.txt
var anchorsFile string

// rootAnchors are the DS records of the root's keys, see root-anchors.txt.
var rootAnchors = sync.OnceValue(func() []*mdns.DS {
	var out []*mdns.DS
	for line := range strings.Lines(anchorsFile) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, ";") {
			continue
		}
		if rr, err := mdns.NewRR(line); err == nil {
			if ds, ok := rr.(*mdns.DS); ok {
				out = append(out, ds)
			}
		}
	}
	return out
})

// link is what is known about the signatures of one zone.
type link struct {
	fact *modelv1.Dnssec
	keys []*mdns.DNSKEY
	err  error // a question without answer
}

// dnssec checks the zone's own link of the chain, the links above it, and how absence is proven.
func (s *scan) dnssec(ctx context.Context) {
	own := s.linkOf(ctx, s.name)
	if own.err != nil {
		s.requireAtApex("DNSSEC", own.err)
		return
	}
	s.fact.DnssecSigned = len(own.fact.GetKeys()) > 0 || len(own.fact.GetDs()) > 0
	if own.fact.GetState() == modelv1.Dnssec_STATE_SECURE {
		s.chainAbove(ctx, own.fact)
	}
	if len(own.fact.GetKeys()) > 0 {
		s.denial(ctx, own.fact)
	}
	s.fact.Dnssec = own.fact
}

// chainAbove follows the links above the zone to the root.
func (s *scan) chainAbove(ctx context.Context, out *modelv1.Dnssec) {
	name := s.name
	for range maxZonesAbove {
		_, parent, _ := strings.Cut(name, ".")
		if parent != "" {
			got, err := s.resolver.find(ctx, parent, mdns.TypeSOA)
			if err != nil {
				out.ChainEnds = parent
				return
			}
			if got.void() {
				parent = got.zone
			}
		}
		above := s.linkOf(ctx, parent)
		if above.err != nil || above.fact.GetState() != modelv1.Dnssec_STATE_SECURE {
			out.ChainEnds = safe(mdns.Fqdn(parent))
			return
		}
		if parent == "" {
			out.Anchored = true
			return
		}
		name = parent
	}
	out.ChainEnds = safe(name)
}

// linkOf checks one zone, once a scan.
func (s *scan) linkOf(ctx context.Context, zone string) *link {
	s.mu.Lock()
	once := s.links[zone]
	if once == nil {
		once = sync.OnceValue(func() *link { return s.checkLink(ctx, zone) })
		if s.links == nil {
			s.links = map[string]func() *link{}
		}
		s.links[zone] = once
	}
	s.mu.Unlock()
	return once()
}

// checkLink asks for the keys of a zone, their digests above it and its SOA, and checks how they fit.
func (s *scan) checkLink(ctx context.Context, zone string) *link {
	out := &link{fact: &modelv1.Dnssec{}}
	digests := s.probe.anchors()
	if zone != "" {
		reply, err := s.resolver.askSigned(ctx, zone, mdns.TypeDS)
		if err != nil {
			out.err = err
			return out
		}
		digests = ofType[*mdns.DS](reply.Answer, zone)
	}
	keysReply, err := s.signedAnswer(ctx, zone, mdns.TypeDNSKEY)
	if err != nil {
		out.err = err
		return out
	}
	out.keys = ofType[*mdns.DNSKEY](keysReply.Answer, zone)
	digests, out.keys = digests[:min(len(digests), maxDigests)], out.keys[:min(len(out.keys), maxKeys)]
	out.describe(digests)
	if len(digests) == 0 {
		out.fact.State = modelv1.Dnssec_STATE_INSECURE
		return out
	}
	soaReply, err := s.signedAnswer(ctx, zone, mdns.TypeSOA)
	if err != nil {
		out.err = err
		return out
	}
	out.judge(zone, digests, keysReply, soaReply, time.Now())
	return out
}

// signedAnswer asks the resolver, and the zone's own server where the resolver leaves out signatures: some do.
func (s *scan) signedAnswer(ctx context.Context, zone string, kind uint16) (*mdns.Msg, error) {
	reply, err := s.resolver.askSigned(ctx, zone, kind)
	if err != nil || len(ofType[*mdns.RRSIG](reply.Answer, zone)) > 0 || len(reply.Answer) == 0 || s.passive || zone != s.name {
		return reply, err
	}
	key := questionKey{Question: mdns.Question{Name: mdns.CanonicalName(zone), Qtype: kind, Qclass: mdns.ClassINET}, signatures: true}
	if direct, err := s.askZone(ctx, zone, key, true); err == nil && direct != nil && direct.Authoritative {
		return direct, nil
	}
	return reply, nil
}

// ofType are the records of one type that belong to a name.
func ofType[T mdns.RR](records []mdns.RR, name string) []T {
	var out []T
	for _, rr := range records {
		if one, ok := rr.(T); ok && plain(rr.Header().Name) == name {
			out = append(out, one)
		}
	}
	return out
}

// describe writes the keys and digests into the fact.
func (l *link) describe(digests []*mdns.DS) {
	for _, key := range l.keys {
		l.fact.Keys = append(l.fact.Keys, &modelv1.DnssecKey{
			Tag: uint32(key.KeyTag()), Algorithm: algorithmName(key.Algorithm), Bits: uint32(keyBits(key)),
			EntryPoint: key.Flags&mdns.SEP != 0, Revoked: key.Flags&mdns.REVOKE != 0,
		})
		if name := algorithmName(key.Algorithm); !slices.Contains(l.fact.GetAlgorithms(), name) {
			l.fact.Algorithms = append(l.fact.Algorithms, name)
		}
	}
	slices.Sort(l.fact.GetAlgorithms())
	slices.SortFunc(l.fact.GetKeys(), func(a, b *modelv1.DnssecKey) int { return int(a.GetTag()) - int(b.GetTag()) })
	for _, ds := range digests {
		l.fact.Ds = append(l.fact.Ds, &modelv1.DnssecDs{
			Tag: uint32(ds.KeyTag), Algorithm: algorithmName(ds.Algorithm), Digest: digestName(ds.DigestType),
			Matches: slices.ContainsFunc(l.keys, func(key *mdns.DNSKEY) bool { return fits(ds, key) }),
		})
	}
	slices.SortFunc(l.fact.GetDs(), func(a, b *modelv1.DnssecDs) int {
		return strings.Compare(fmt.Sprint(a.GetTag(), a.GetDigest()), fmt.Sprint(b.GetTag(), b.GetDigest()))
	})
}

// fits says whether a DS record is of a key (RFC 4034 section 5.1.4).
func fits(ds *mdns.DS, key *mdns.DNSKEY) bool {
	if ds.Algorithm != key.Algorithm || ds.KeyTag != key.KeyTag() || keyBits(key) > maxKeyBits {
		return false
	}
	made := key.ToDS(ds.DigestType)
	return made != nil && strings.EqualFold(made.Digest, ds.Digest)
}

// judge decides what the link is worth.
func (l *link) judge(zone string, digests []*mdns.DS, keysReply, soaReply *mdns.Msg, now time.Time) {
	bogus := func(problem string) {
		l.fact.State, l.fact.Problem = modelv1.Dnssec_STATE_BOGUS, safe(problem)
	}
	var entry []*mdns.DNSKEY
	for _, key := range l.keys {
		if slices.ContainsFunc(digests, func(ds *mdns.DS) bool { return fits(ds, key) }) {
			entry = append(entry, key)
		}
	}
	known := slices.ContainsFunc(digests, func(ds *mdns.DS) bool {
		return computable(&mdns.DNSKEY{Algorithm: ds.Algorithm, Protocol: 3, Flags: mdns.ZONE})
	})
	switch {
	case !known:
		l.fact.State = modelv1.Dnssec_STATE_INSECURE // algorithms that nobody knows count as no signature (RFC 4035 section 5.2)
		return
	case len(l.keys) == 0:
		bogus("the zone above has a DS record, and the zone has no key")
		return
	case len(entry) == 0:
		bogus("no key of the zone fits a DS record of the zone above")
		return
	}
	set := asSet(ofType[*mdns.DNSKEY](keysReply.Answer, zone))
	keysUntil, err := verifySet(zone, set, ofType[*mdns.RRSIG](keysReply.Answer, zone), entry, now)
	if err != nil {
		bogus("the keys: " + err.Error())
	}
	soa := asSet(ofType[*mdns.SOA](soaReply.Answer, zone))
	soaUntil, err := verifySet(zone, soa, ofType[*mdns.RRSIG](soaReply.Answer, zone), l.keys, now)
	if err != nil && l.fact.GetState() != modelv1.Dnssec_STATE_BOGUS {
		bogus("the start of authority: " + err.Error())
	}
	first := keysUntil
	if first == nil || soaUntil != nil && later(first, soaUntil) {
		first = soaUntil
	}
	if first != nil {
		l.fact.SignatureExpires = timestamppb.New(timeOf(first.Expiration, now))
		l.fact.SignatureSeconds = first.Expiration - first.Inception
		l.fact.SignatureSecondsLeft = int64(timeOf(first.Expiration, now).Sub(now) / time.Second)
	}
	if l.fact.GetState() == modelv1.Dnssec_STATE_UNSPECIFIED {
		l.fact.State = modelv1.Dnssec_STATE_SECURE
	}
}
