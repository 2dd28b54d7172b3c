package subdomain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dnswild"
)

const (
	// tries is how often a question is sent before it counts as unanswered; a datagram may get lost.
	tries = 2
	// udpSize is what we offer to take in one datagram: the value of DNS flag day 2020, which no path fragments.
	udpSize = 1232
	// maxRecords bounds the records of one answer that are looked at.
	maxRecords = 64
	// resolvConf is where the system names its resolvers.
	resolvConf = "/etc/resolv.conf"
	// ownPort is how many questions go over one socket before it gets a new port: an answer that somebody forges has to guess it.
	ownPort = 100
)

var errStranger = errors.New("the answer is not to our question")

// resolver asks the operator's recursive resolver, over a few sockets with one question each under way. The way to it is not
// judged: it is the operator's, and commonly private. Whatever it answers, nothing is connected to.
type resolver struct {
	server netip.AddrPort
	try    time.Duration
	turns  turns
	idle   chan *socket
}

type socket struct {
	conn *mdns.Conn
	used int
}

func newResolver(env probes.Env, try time.Duration, all *pace) (*resolver, error) {
	address := env.Guard.Resolver()
	if address == "" {
		config, err := mdns.ClientConfigFromFile(resolvConf)
		if err != nil || len(config.Servers) == 0 {
			return nil, errors.New("scan subdomain: no DNS server is configured")
		}
		address = net.JoinHostPort(config.Servers[0], config.Port)
	}
	server, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("scan subdomain: read resolver: %w", err)
	}
	all.allow(cmp.Or(env.ResolverRate, defaultRate))
	return &resolver{server: server, try: try, turns: turns{own: newPace(inFlightOfOne), all: all}, idle: make(chan *socket, 2*inFlight)}, nil
}

func (r *resolver) close() {
	for {
		select {
		case s := <-r.idle:
			_ = s.conn.Close()
		default:
			return
		}
	}
}

// lookup asks for the addresses of a name: see dnswild.Lookup.
func (r *resolver) lookup(ctx context.Context, name string) (dnswild.Answer, error) {
	answer, _, err := r.find(ctx, name)
	return answer, err
}

// find asks for the addresses of a name: IPv4, and IPv6 where there is none. A name that does not exist is an empty answer, and so
// is one that exists without an address, which exists tells apart (RFC 8020): something may be below it.
func (r *resolver) find(ctx context.Context, name string) (out dnswild.Answer, exists bool, err error) {
	for _, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
		reply, err := r.ask(ctx, name, kind)
		if err != nil {
			return dnswild.Answer{}, false, err
		}
		read(reply, name, &out)
		if len(out.Addresses) > 0 || reply.Rcode == mdns.RcodeNameError {
			return out, out.Resolves(), nil
		}
	}
	return out, true, nil
}

// read follows the aliases of an answer from name on and takes the addresses at their end.
func read(reply *mdns.Msg, name string, into *dnswild.Answer) {
	at := mdns.CanonicalName(name)
	into.Aliases = into.Aliases[:0]
	records := reply.Answer[:min(len(reply.Answer), maxRecords)]
	for range maxRecords { // a circle ends here
		i := slices.IndexFunc(records, func(rr mdns.RR) bool {
			alias, ok := rr.(*mdns.CNAME)
			return ok && mdns.CanonicalName(alias.Hdr.Name) == at
		})
		if i < 0 || len(into.Aliases) == 8 {
			break
		}
		at = mdns.CanonicalName(records[i].(*mdns.CNAME).Target) //nolint:errcheck,forcetypeassert // found by its type
		into.Aliases = append(into.Aliases, strings.TrimSuffix(at, "."))
	}
	for _, rr := range records {
		if mdns.CanonicalName(rr.Header().Name) != at {
			continue
		}
		switch a := rr.(type) {
		case *mdns.A:
			if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
				into.Addresses = append(into.Addresses, addr)
			}
		case *mdns.AAAA:
			if addr, ok := netip.AddrFromSlice(a.AAAA.To16()); ok {
				into.Addresses = append(into.Addresses, addr)
			}
		}
	}
}

// ask sends one question, again if nothing or SERVFAIL comes. A cut answer is enough: what fits tells whether there is one.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) (*mdns.Msg, error) {
	var err error
	for range tries {
		if err := r.turns.enter(ctx); err != nil {
			return nil, err
		}
		var reply *mdns.Msg
		reply, err = r.exchange(ctx, name, kind)
		r.turns.leave(err == nil || ctx.Err() != nil)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			continue
		case reply.Rcode == mdns.RcodeSuccess, reply.Rcode == mdns.RcodeNameError:
			return reply, nil
		}
		err = errors.New("the resolver answers " + mdns.RcodeToString[reply.Rcode])
	}
	return nil, err
}

func (r *resolver) exchange(ctx context.Context, name string, kind uint16) (*mdns.Msg, error) {
	s, err := r.socket(ctx)
	if err != nil {
		return nil, err
	}
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), kind)
	m.SetEdns0(udpSize, false)
	client := &mdns.Client{Net: "udp", Timeout: r.try, UDPSize: udpSize}
	reply, _, err := client.ExchangeWithConnContext(ctx, m, s.conn)
	if err == nil && (len(reply.Question) != 1 || reply.Question[0].Qtype != kind || mdns.CanonicalName(reply.Question[0].Name) != mdns.CanonicalName(name)) {
		err = errStranger
	}
	if err != nil {
		_ = s.conn.Close() // an answer that comes late must not be taken for one to the next question
		return nil, err
	}
	r.release(s)
	return reply, nil
}

func (r *resolver) socket(ctx context.Context) (*socket, error) {
	select {
	case s := <-r.idle:
		return s, nil
	default:
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", r.server.String())
	if err != nil {
		return nil, err
	}
	return &socket{conn: &mdns.Conn{Conn: conn, UDPSize: udpSize}}, nil
}

func (r *resolver) release(s *socket) {
	if s.used++; s.used < ownPort {
		select {
		case r.idle <- s:
			return
		default:
		}
	}
	_ = s.conn.Close()
}
