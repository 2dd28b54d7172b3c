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
)

// Bounds of what is asked of a zone's name servers.
const (
	// maxServers is how many name servers of a zone are asked; the root has 13.
	maxServers = 16
	// maxServerAddresses is how many addresses of each.
	maxServerAddresses = 4
	// foreignName is asked for to see whether a server answers for everybody: it is nobody's customer (RFC 2606 section 3).
	foreignName = "example.com."
)

// errPassive says that the profile sends no packet to the target.
var errPassive = errors.New("passive profile: the name servers were not asked")

// States of a name server, short.
const (
	stateAuthoritative = modelv1.NameServer_STATE_AUTHORITATIVE
	stateLame          = modelv1.NameServer_STATE_LAME
	stateSilent        = modelv1.NameServer_STATE_SILENT
	stateMissing       = modelv1.NameServer_STATE_MISSING
	stateUnknown       = modelv1.NameServer_STATE_UNKNOWN
)

// nameServer is one name server of the zone: the fact, and what the scan needs besides.
type nameServer struct {
	*modelv1.NameServer
	refuses bool  // answers, and knows nothing of the zone
	why     error // why it could not be asked
	names   []string
}

// nameServers asks each name server of the zone whether it knows the zone, for all of it, and for what is none of its business.
func (s *scan) nameServers(ctx context.Context) {
	delegated := s.delegation(ctx)
	servers := s.serverList(delegated)
	var tasks []func()
	for _, server := range servers {
		tasks = append(tasks, func() { s.nameServer(ctx, server) })
	}
	parallel(perHost, tasks...)
	// A server that is silent is lame only if another one could be reached from here: else it may be us.
	reachable := slices.ContainsFunc(servers, func(n *nameServer) bool {
		return n.GetState() == stateAuthoritative || n.GetState() == stateLame
	})
	for _, server := range servers {
		s.noteServer(ctx, server, reachable)
	}
	s.fact.NsNetworks = networks(servers)
	if len(delegated) > 0 {
		for _, server := range servers {
			if server.GetInZone() != server.GetInParent() {
				s.fact.NsMismatch = append(s.fact.NsMismatch, server.GetName())
			}
		}
	}
	s.lostZone(ctx, servers)
}

// serverList are the servers that the zone names and those that the zone above does, sorted.
func (s *scan) serverList(delegated []string) []*nameServer {
	names := slices.Concat(s.fact.GetNs(), delegated)
	slices.Sort(names)
	names = slices.Compact(names)
	var out []*nameServer
	for _, name := range names[:min(len(names), maxServers)] {
		out = append(out, &nameServer{NameServer: &modelv1.NameServer{
			Name: name, State: stateUnknown, InZone: slices.Contains(s.fact.GetNs(), name), InParent: slices.Contains(delegated, name),
		}})
	}
	return out
}

// noteServer writes down what one server turned out to be.
func (s *scan) noteServer(ctx context.Context, server *nameServer, reachable bool) {
	name := server.GetName()
	switch {
	case server.GetState() == stateMissing:
		s.dangles(ctx, &modelv1.DanglingFact{Record: "NS", Target: name})
	case server.GetState() == stateLame, server.GetState() == stateSilent && reachable:
		s.fact.LameNs = append(s.fact.LameNs, name)
	case server.GetState() != stateAuthoritative:
		s.miss("name server "+name, server.why)
	}
	if server.GetZoneTransfer() {
		s.fact.ZoneTransferNs = append(s.fact.ZoneTransferNs, name)
	}
	if server.GetRecursion() {
		s.fact.OpenRecursionNs = append(s.fact.OpenRecursionNs, name)
	}
	if server.GetAlias() {
		s.fact.NsAlias = append(s.fact.NsAlias, name)
	}
	s.fact.NameServers = append(s.fact.NameServers, server.NameServer)
	s.learned(server.names, "zone transfer")
}

// lostZone looks for a DNS host that the zone is delegated to and that knows nothing of it: whoever makes the zone there answers
// for it. It is confirmed only if all servers of the host say so, and nobody else has the zone either.
func (s *scan) lostZone(ctx context.Context, servers []*nameServer) {
	hosts := map[string]provider{}
	lost := map[string]int{}
	serves := false
	for _, server := range servers {
		serves = serves || server.GetState() == stateAuthoritative
		if p := nsProviderOf(s.probe.providers(), server.GetName()); p.Name != "" {
			hosts[server.GetName()] = p
			if server.refuses {
				lost[p.Name]++
			}
		}
	}
	done := map[string]bool{}
	for _, server := range servers {
		p, ok := hosts[server.GetName()]
		if !ok || lost[p.Name] == 0 || done[p.Name] {
			continue
		}
		all := 0
		for _, other := range hosts {
			if other.Name == p.Name {
				all++
			}
		}
		if lost[p.Name] < all {
			continue
		}
		done[p.Name] = true
		s.dangles(ctx, &modelv1.DanglingFact{
			Record: "NS", Target: server.GetName(), Provider: p.Name, ProviderStatus: p.State, Unclaimed: true,
			Proof: p.Name + " is named as the zone's DNS host and answers that it does not have the zone", Confirmed: !serves && p.State == stateVulnerable,
		})
	}
}

// networks are the networks that the servers' addresses lie in; private ones mean nothing.
func networks(servers []*nameServer) []string {
	var out []string
	for _, server := range servers {
		for _, text := range server.GetAddresses() {
			addr, err := netip.ParseAddr(text)
			if err != nil || private(addr) {
				continue
			}
			bits := 24
			if addr.Is6() {
				bits = 48
			}
			prefix, _ := addr.Prefix(bits)
			out = append(out, prefix.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// nameServer asks one name server at each of its addresses until one has authority.
func (s *scan) nameServer(ctx context.Context, server *nameServer) {
	list, rcode, err := s.resolver.addresses(ctx, server.GetName())
	for _, addr := range list[:min(len(list), maxServerAddresses)] {
		server.Addresses = append(server.Addresses, addr.String())
	}
	switch {
	case err != nil:
		server.why = err
		return
	case rcode == mdns.RcodeNameError:
		server.State = stateMissing
		return
	case s.passive:
		server.why = errPassive
		return
	case len(list) == 0:
		server.State = stateLame // a name without address serves nothing
		return
	}
	if got, err := s.resolver.find(ctx, server.GetName(), mdns.TypeA); err == nil {
		server.Alias = len(got.chain) > 0
	}
	for _, addr := range list[:min(len(list), maxServerAddresses)] {
		got, serial, err := s.ofServer(ctx, addr)
		if got == stateUnknown || got == stateSilent {
			server.why = err
		}
		if server.GetState() == stateUnknown || got == stateAuthoritative || (got == stateLame && server.GetState() == stateSilent) {
			server.State = got
		}
		if got == stateLame {
			server.refuses = true
		}
		if got == stateAuthoritative {
			server.Serial, server.refuses = serial, false
			server.names, server.ZoneTransfer = s.transfers(ctx, addr)
		}
		if got == stateAuthoritative || got == stateLame {
			server.Recursion = s.recurses(ctx, addr)
		}
		if got == stateAuthoritative {
			return
		}
	}
}

// ofServer asks one address for the zone's SOA, without recursion: by UDP, twice, then by TCP.
func (s *scan) ofServer(ctx context.Context, addr netip.Addr) (modelv1.NameServer_State, uint32, error) {
	key := questionKey{Question: mdns.Question{Name: mdns.CanonicalName(s.name), Qtype: mdns.TypeSOA, Qclass: mdns.ClassINET}}
	var err error
	for _, network := range []string{"udp", "udp", "tcp"} {
		var reply *mdns.Msg
		reply, err = s.exchange(ctx, network, addr, key, false)
		if err == nil {
			for _, rr := range reply.Answer {
				if soa, ok := rr.(*mdns.SOA); ok && reply.Authoritative {
					return stateAuthoritative, soa.Serial, nil
				}
			}
			return stateLame, 0, nil
		}
		if refusal := (*netguard.RefusedError)(nil); errors.As(err, &refusal) {
			return stateUnknown, 0, err
		}
		if ctx.Err() != nil {
			return stateUnknown, 0, err
		}
	}
	return stateSilent, 0, err
}

// recurses says whether a server finds out other people's names for us (RFC 5358): it says so, and has an answer that is not its
// own.
func (s *scan) recurses(ctx context.Context, addr netip.Addr) bool {
	key := questionKey{Question: mdns.Question{Name: foreignName, Qtype: mdns.TypeA, Qclass: mdns.ClassINET}}
	reply, err := s.exchange(ctx, "udp", addr, key, true)
	return err == nil && reply.RecursionAvailable && !reply.Authoritative && reply.Rcode == mdns.RcodeSuccess &&
		slices.ContainsFunc(reply.Answer, func(rr mdns.RR) bool { return rr.Header().Rrtype == mdns.TypeA })
}

// delegation asks the zone above which name servers the zone has: those are the ones that resolvers follow. It is nil where the
// zone above could not be asked, or where its server also has the zone itself and answers from that.
func (s *scan) delegation(ctx context.Context) []string {
	_, parent, ok := strings.Cut(s.name, ".")
	if !ok || s.passive {
		return nil
	}
	got, err := s.resolver.find(ctx, parent, mdns.TypeSOA)
	if err != nil {
		return nil
	}
	zone := parent
	if got.void() {
		zone = got.zone
	}
	if zone == "" || !under(s.name, zone) {
		return nil
	}
	_, managed := publicsuffix.PublicSuffix(s.name)
	key := questionKey{Question: mdns.Question{Name: mdns.CanonicalName(s.name), Qtype: mdns.TypeNS, Qclass: mdns.ClassINET}}
	reply, err := s.askZone(ctx, zone, key, managed || strings.Contains(zone, "."))
	if err != nil || reply == nil || reply.Authoritative || reply.Rcode != mdns.RcodeSuccess {
		return nil
	}
	var out []string
	for _, rr := range reply.Ns {
		if ns, ok := rr.(*mdns.NS); ok && mdns.CanonicalName(ns.Hdr.Name) == key.Name && len(out) < maxServers {
			out = append(out, safe(plain(ns.Ns)))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
