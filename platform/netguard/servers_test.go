package netguard_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// sentinel is the independent witness: plain listeners that count what connects to them. It knows
// nothing of the package under test.
type sentinel struct {
	port  uint16
	count atomic.Int64
}

// newSentinel listens on the same port of all given addresses, tcp and udp.
func newSentinel(t *testing.T, port uint16, addrs ...string) *sentinel {
	t.Helper()
	for range 50 {
		s := &sentinel{port: port}
		open, err := s.listen(t, addrs)
		if err == nil {
			return s
		}
		for _, c := range open {
			c.Close()
		}
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("sentinel: %v", err)
		}
	}
	t.Fatal("sentinel: no port is free on all addresses")
	return nil
}

func (s *sentinel) listen(t *testing.T, addrs []string) (open []interface{ Close() error }, err error) {
	var running sync.WaitGroup
	for _, addr := range addrs {
		l, err := net.Listen("tcp", net.JoinHostPort(addr, fmt.Sprint(s.port)))
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			continue // a machine without IPv6 loopback cannot be reached there either
		}
		if err != nil {
			return open, err
		}
		open = append(open, l)
		s.port = uint16(l.Addr().(*net.TCPAddr).Port)
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			return open, err
		}
		open = append(open, p)
		running.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				s.count.Add(1)
				c.Close()
			}
		})
		running.Go(func() {
			for {
				if _, _, err := p.ReadFrom(make([]byte, 1)); err != nil {
					return
				}
				s.count.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range open {
			c.Close()
		}
		running.Wait()
	})
	return open, nil
}

// zone answers the questions of a DNS server: n counts the questions of that name and type from 1.
type zone func(name string, kind uint16, n int) (rcode int, records []dns.RR)

// nameServer is a real DNS server on loopback, UDP and TCP on one port.
type nameServer struct {
	addr string

	mu    sync.Mutex
	asked map[string]int
}

func newNameServer(t *testing.T, z zone) *nameServer {
	return startNameServer(t, func(s *nameServer) dns.Handler {
		return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			reply := new(dns.Msg).SetReply(q)
			reply.Rcode, reply.Answer = z(q.Question[0].Name, q.Question[0].Qtype, s.note(q))
			if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
				reply.Truncate(int(q.IsEdns0().UDPSize()))
			}
			_ = w.WriteMsg(reply)
		})
	})
}

func startNameServer(t *testing.T, handler func(*nameServer) dns.Handler) *nameServer {
	t.Helper()
	for range 50 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &nameServer{addr: packets.LocalAddr().String(), asked: map[string]int{}}
		listener, err := net.Listen("tcp", s.addr)
		if err != nil {
			packets.Close()
			continue
		}
		for _, server := range []*dns.Server{
			{PacketConn: packets, Handler: handler(s)},
			{Listener: listener, Handler: handler(s)},
		} {
			started := make(chan struct{})
			server.NotifyStartedFunc = func() { close(started) }
			go server.ActivateAndServe()
			<-started
			t.Cleanup(func() { server.Shutdown() })
		}
		return s
	}
	t.Fatal("name server: no port is free for both udp and tcp")
	return nil
}

func (s *nameServer) note(q *dns.Msg) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fmt.Sprint(q.Question[0].Name, q.Question[0].Qtype)
	s.asked[key]++
	return s.asked[key]
}

// questions is how often name was asked for with that type.
func (s *nameServer) questions(name string, kind uint16) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[fmt.Sprint(name, kind)]
}

// records makes a zone from lines of a zone file; what is not in it does not exist.
func records(t *testing.T, lines ...string) zone {
	t.Helper()
	all := map[string][]dns.RR{}
	for _, line := range lines {
		rr := record(t, line)
		all[rr.Header().Name] = append(all[rr.Header().Name], rr)
	}
	return func(name string, kind uint16, _ int) (int, []dns.RR) {
		known, ok := all[dns.CanonicalName(name)]
		if !ok {
			return dns.RcodeNameError, nil
		}
		var out []dns.RR
		for _, rr := range known {
			if rr.Header().Rrtype == kind || rr.Header().Rrtype == dns.TypeCNAME {
				out = append(out, rr)
			}
		}
		return dns.RcodeSuccess, out
	}
}

func addrPort(t *testing.T, a net.Addr) netip.AddrPort {
	t.Helper()
	out, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// onlyLoopback keeps the client without guard on this machine.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err == nil && !target.Addr().Unmap().IsLoopback() && !target.Addr().Unmap().IsUnspecified() {
		return syscall.EHOSTUNREACH
	}
	return err
}
