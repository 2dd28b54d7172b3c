package dns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of what is asked of a zone's name servers.
const (
	// maxServers is how many name servers of a zone are asked; the root has 13.
	maxServers = 16
	// maxServerAddresses is how many addresses of each.
	maxServerAddresses = 4
	// wildcardProbes is how many random names below the apex are asked for.
	wildcardProbes = 10
	// maxTransfer is how much of a zone transfer is read: enough to prove it.
	maxTransfer = 64 << 10
)

// errPassive says that the profile sends no packet to the target.
var errPassive = errors.New("passive profile: the name servers were not asked")

// verdict is what one name server turned out to be.
type verdict int

const (
	silent    verdict = iota // did not answer
	authority                // answers with authority
	lame                     // answers without
	dead                     // its name does not exist
	unknown                  // could not be asked
)

// nameServer is one name server of the zone.
type nameServer struct {
	name    string
	verdict verdict
	hands   bool // hands out the zone
	why     error
}

// nameServers asks each name server of the zone whether it knows the zone, and for all of it.
func (s *scan) nameServers(ctx context.Context) {
	names := s.fact.GetNs()
	servers := make([]nameServer, min(len(names), maxServers))
	var tasks []func()
	for i := range servers {
		tasks = append(tasks, func() { servers[i] = s.nameServer(ctx, names[i]) })
	}
	parallel(perHost, tasks...)
	// A server that is silent is lame only if another one could be reached from here: else it may be us.
	reachable := slices.ContainsFunc(servers, func(n nameServer) bool { return n.verdict == authority || n.verdict == lame })
	for _, server := range servers {
		switch {
		case server.verdict == dead:
			s.dangles("NS", server.name, "", "NXDOMAIN", false)
		case server.verdict == lame, server.verdict == silent && reachable:
			s.fact.LameNs = append(s.fact.LameNs, server.name)
		case server.verdict != authority:
			s.miss("name server "+server.name, server.why)
		}
		if server.hands {
			s.fact.ZoneTransferNs = append(s.fact.ZoneTransferNs, server.name)
		}
	}
}

// nameServer asks one name server at each of its addresses until one has authority.
func (s *scan) nameServer(ctx context.Context, name string) nameServer {
	out := nameServer{name: name, verdict: unknown}
	list, rcode, err := s.resolver.addresses(ctx, name)
	switch {
	case err != nil:
		out.why = err
		return out
	case rcode == mdns.RcodeNameError:
		out.verdict = dead
		return out
	case s.passive:
		out.why = errPassive
		return out
	case len(list) == 0:
		out.verdict = lame // a name without address serves nothing
		return out
	}
	for _, addr := range list[:min(len(list), maxServerAddresses)] {
		got, err := s.ofServer(ctx, addr)
		if got == unknown || got == silent {
			out.why = err
		}
		if out.verdict == unknown || got == authority || (got == lame && out.verdict == silent) {
			out.verdict = got
		}
		if got == authority {
			out.hands = s.transfers(ctx, addr)
			return out
		}
	}
	return out
}

// ofServer asks one address for the zone's SOA, without recursion: by UDP, twice, then by TCP.
func (s *scan) ofServer(ctx context.Context, addr netip.Addr) (verdict, error) {
	key := mdns.Question{Name: mdns.CanonicalName(s.name), Qtype: mdns.TypeSOA, Qclass: mdns.ClassINET}
	var err error
	for _, network := range []string{"udp", "udp", "tcp"} {
		var reply *mdns.Msg
		reply, err = s.exchange(ctx, network, addr, key)
		if err == nil {
			if reply.Authoritative && slices.ContainsFunc(reply.Answer, func(rr mdns.RR) bool { return rr.Header().Rrtype == mdns.TypeSOA }) {
				return authority, nil
			}
			return lame, nil
		}
		if refusal := (*netguard.RefusedError)(nil); errors.As(err, &refusal) {
			return unknown, err
		}
		if ctx.Err() != nil {
			return unknown, err
		}
	}
	return silent, err
}

// exchange asks a name server one question through the guard.
func (s *scan) exchange(ctx context.Context, network string, addr netip.Addr, key mdns.Question) (*mdns.Msg, error) {
	conn, err := s.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	client := &mdns.Client{Net: network, Timeout: s.probe.limits.try, UDPSize: udpSize}
	reply, _, err := client.ExchangeWithConnContext(ctx, newQuery(key, false), conn)
	if err == nil && !answers(reply, key) {
		return nil, errStranger
	}
	return reply, err
}

func (s *scan) connect(ctx context.Context, network string, addr netip.Addr) (*mdns.Conn, error) {
	if err := s.env.TakePermits(ctx, addr.String(), 1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.probe.limits.try)
	defer cancel()
	conn, err := s.env.Guard.DialContext(ctx, network, net.JoinHostPort(addr.String(), strconv.Itoa(int(s.serverPort(addr)))))
	if err != nil {
		return nil, err
	}
	return &mdns.Conn{Conn: conn, UDPSize: udpSize}, nil
}

// serverPort is where a name server listens. On loopback it is a laboratory's, which may not use port 53.
func (s *scan) serverPort(addr netip.Addr) uint16 {
	switch {
	case s.probe.options.NameServerPort != 0:
		return s.probe.options.NameServerPort
	case addr.IsLoopback():
		return s.resolver.server.Port()
	default:
		return 53
	}
}

// transfers asks for the whole zone (RFC 5936) and says whether it comes: the SOA, and at least one record that is no SOA.
func (s *scan) transfers(ctx context.Context, addr netip.Addr) bool {
	conn, err := s.connect(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(s.probe.limits.try))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	query := new(mdns.Msg).SetAxfr(mdns.CanonicalName(s.name))
	if conn.WriteMsg(query) != nil {
		return false
	}
	began := false
	for size := 0; size < maxTransfer; {
		reply, err := conn.ReadMsg()
		if err != nil || reply.Id != query.Id || reply.Rcode != mdns.RcodeSuccess || len(reply.Answer) == 0 {
			return false
		}
		size += reply.Len()
		for _, rr := range reply.Answer {
			_, soa := rr.(*mdns.SOA)
			switch {
			case !began && !soa:
				return false
			case !soa:
				return true
			case began:
				return false // the closing SOA, with nothing before it
			}
			began = true
		}
	}
	return false
}

// wildcard asks for random names below the apex. Most of them have to resolve: some resolvers lie about single names.
func (s *scan) wildcard(ctx context.Context) {
	var mu sync.Mutex
	there, asked := 0, 0
	var tasks []func()
	for range wildcardProbes {
		tasks = append(tasks, func() {
			got, err := s.resolver.find(ctx, randomLabel()+"."+s.name, mdns.TypeA)
			if err != nil {
				s.miss("random names", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			asked++
			if got.rcode == mdns.RcodeSuccess && (!got.void() || len(got.chain) > 0) {
				there++
			}
		})
	}
	parallel(perHost, tasks...)
	s.fact.Wildcard = asked > 0 && there > asked/2
}

// randomLabel is a label that nobody chose: 96 bits.
func randomLabel() string {
	var raw [12]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return "rp-" + hex.EncodeToString(raw[:])
}

// deadExchangers finds mail exchangers whose names do not exist.
func (s *scan) deadExchangers(ctx context.Context) {
	for _, mx := range s.fact.GetMx() {
		if mx.GetHost() == "." {
			continue
		}
		_, rcode, err := s.resolver.addresses(ctx, mx.GetHost())
		switch {
		case err != nil:
			s.miss("mail exchanger "+mx.GetHost(), err)
		case rcode == mdns.RcodeNameError:
			s.dangles("MX", mx.GetHost(), "", "NXDOMAIN", false)
		}
	}
}

// mailFacts reads what the domain says about mail. The fact is left out if a question was not answered, for each of its parts
// can be missing.
func (s *scan) mailFacts(ctx context.Context) {
	mail := &modelv1.MailFact{Domain: s.name}
	failed := false
	fail := func(what string, err error) {
		s.miss(what, err)
		failed = true
	}
	exchangers, err := s.resolver.find(ctx, s.name, mdns.TypeMX)
	if err != nil {
		fail("MX", err)
	}
	for _, rr := range exchangers.records {
		if mx, ok := rr.(*mdns.MX); ok && mx.Mx == "." {
			mail.NullMx = len(exchangers.records) == 1 // RFC 7505 section 3: alone
		} else if ok {
			mail.HasMx = true
		}
	}
	texts, err := s.resolver.texts(ctx, s.name)
	if err != nil {
		fail("TXT", err)
	}
	if mail.Spf, err = spfFact(ctx, s.resolver, s.name, texts); err != nil {
		s.miss("SPF", err) // the counts are lower bounds then, and accuse nobody falsely
	}
	if mail.Dmarc, err = dmarcFact(ctx, s.resolver, s.name); err != nil {
		fail("DMARC", err)
	}
	if mail.MtaSts, err = s.oneRecord(ctx, "_mta-sts."+s.name, "v=STSv1"); err != nil {
		fail("MTA-STS", err)
	}
	if mail.TlsRpt, err = s.oneRecord(ctx, "_smtp._tls."+s.name, "v=TLSRPTv1"); err != nil {
		fail("TLS-RPT", err)
	}
	if !failed {
		s.mail = mail
	}
}

// oneRecord says whether name has exactly one TXT record of a version (RFC 8461 section 3.1, RFC 8460 section 3).
func (s *scan) oneRecord(ctx context.Context, name, version string) (bool, error) {
	texts, err := s.resolver.texts(ctx, name)
	if err != nil {
		return false, err
	}
	count := 0
	for _, text := range texts {
		first, rest, ok := strings.Cut(text, ";")
		if strings.TrimSpace(first) == version && ok && strings.Contains(rest, "=") {
			count++
		}
	}
	return count == 1, nil
}

// dangles notes a record whose target does not exist.
func (s *scan) dangles(record, target, provider, proof string, confirmed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dangling = append(s.dangling, &modelv1.DanglingFact{
		Name: s.name, Record: record, Target: safe(target), Provider: provider, Proof: probes.SafeString(proof, 256), Confirmed: confirmed,
	})
}
