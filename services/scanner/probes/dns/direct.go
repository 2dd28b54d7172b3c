package dns

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	mdns "github.com/miekg/dns"
)

// maxTransfer is how much of a zone transfer is read: enough to prove it and to learn names.
const maxTransfer = 64 << 10

// exchange asks a name server one question through the guard, and by TCP if the answer is cut.
func (s *scan) exchange(ctx context.Context, network string, addr netip.Addr, key questionKey, recurse bool) (*mdns.Msg, error) {
	socket, err := s.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = socket.Close() }()
	reply, err := talk(ctx, socket, key, recurse, s.probe.limits.try)
	switch {
	case err != nil || !reply.Truncated:
		return reply, err
	case network == "udp":
		return s.exchange(ctx, "tcp", addr, key, recurse)
	default:
		return nil, errCut
	}
}

func (s *scan) connect(ctx context.Context, network string, addr netip.Addr) (net.Conn, error) {
	if err := s.env.TakePermits(ctx, addr.String(), 1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.probe.limits.try)
	defer cancel()
	return s.env.Guard.DialContext(ctx, network, net.JoinHostPort(addr.String(), strconv.Itoa(int(s.serverPort(addr)))))
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

// transfers asks for the whole zone (RFC 5936) and says whether it comes: the SOA, and at least one record that is no SOA. The
// names in it come along, as far as they were read.
func (s *scan) transfers(ctx context.Context, addr netip.Addr) (names []string, ok bool) {
	socket, err := s.connect(ctx, "tcp", addr)
	if err != nil {
		return nil, false
	}
	defer func() { _ = socket.Close() }()
	_ = socket.SetDeadline(time.Now().Add(s.probe.limits.try))
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &mdns.Conn{Conn: socket}
	query := new(mdns.Msg).SetAxfr(mdns.CanonicalName(s.name))
	if conn.WriteMsg(query) != nil {
		return nil, false
	}
	began := false
	for size := 0; size < maxTransfer; {
		reply, err := conn.ReadMsg()
		if err != nil || reply.Id != query.Id || reply.Rcode != mdns.RcodeSuccess || len(reply.Answer) == 0 {
			return names, ok
		}
		size += reply.Len()
		for _, rr := range reply.Answer {
			_, soa := rr.(*mdns.SOA)
			if !began && !soa || began && soa {
				return names, ok // no zone, or its end
			}
			if began {
				names, ok = append(names, plain(rr.Header().Name)), true
			}
			began = true
		}
	}
	return names, ok
}
