package netguard_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// target is a server that the guard may reach at 127.0.0.1 by AllowExact, and a sentinel at
// 127.0.0.2 and ::1 on the same port, which it may not.
func target(t *testing.T) (addr netip.AddrPort, accepted *atomic.Int64, forbidden *sentinel) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			_, _ = c.Write([]byte{1})
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	addr = addrPort(t, l.Addr())
	return addr, accepted, newSentinel(t, addr.Port(), "127.0.0.2", "::1")
}

// greeted reads the target's byte, so that accepted has been counted, and closes without the
// port staying in TIME_WAIT.
func greeted(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 1 {
		t.Errorf("no greeting: %v", err)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}

// flipFlop answers with 127.0.0.1 and 127.0.0.2 in turn, TTL 0, and with both in turned order.
func flipFlop(t *testing.T) *nameServer {
	a := func(name, addr string) dns.RR {
		return &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP(addr)}
	}
	return newNameServer(t, func(name string, kind uint16, n int) (int, []dns.RR) {
		addrs := []string{"127.0.0.1", "127.0.0.2"}
		if n%2 == 0 {
			slices.Reverse(addrs)
		}
		switch {
		case kind != dns.TypeA:
			return dns.RcodeSuccess, nil
		case name == "both.test.":
			return dns.RcodeSuccess, []dns.RR{a(name, addrs[0]), a(name, addrs[1])}
		default:
			return dns.RcodeSuccess, []dns.RR{a(name, addrs[0])}
		}
	})
}

// The name server changes its mind at every question. Ten thousand lookups later not one
// connection has reached the address that is forbidden, by the count of a listener of its own.
func TestDNSRebinding(t *testing.T) {
	const lookups, workers = 10_000, 8
	addr, accepted, forbidden := target(t)
	server := flipFlop(t)
	guard := netguard.New(netguard.Options{Resolver: server.addr, AllowExact: []netip.AddrPort{addr}})
	address := net.JoinHostPort("flip.test", strconv.Itoa(int(addr.Port())))
	var connected, refused, other atomic.Int64
	var workersDone sync.WaitGroup
	for range workers {
		workersDone.Go(func() {
			for range lookups / workers {
				c, err := guard.DialContext(t.Context(), "tcp", address)
				switch {
				case err == nil:
					connected.Add(1)
					greeted(t, c)
				case errors.Is(err, fault.PermissionDenied):
					refused.Add(1)
				default:
					other.Add(1)
					t.Errorf("dial: %v", err)
				}
			}
		})
	}
	workersDone.Wait()
	if n := forbidden.count.Load(); n != 0 {
		t.Errorf("%d connections reached the forbidden address", n)
	}
	// More may be accepted: other tests of this machine scan its ports.
	if connected.Load() != lookups/2 || refused.Load() != lookups/2 || accepted.Load() < lookups/2 {
		t.Errorf("%d connected, %d accepted, %d refused, want half of %d each",
			connected.Load(), accepted.Load(), refused.Load(), lookups)
	}
	if n := server.questions("flip.test.", dns.TypeA); n != lookups {
		t.Errorf("%d questions for %d dials, want one each: nothing may be kept", n, lookups)
	}
	// The witness can see: without the guard, the same address is counted.
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.2", strconv.Itoa(int(addr.Port()))))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Read(make([]byte, 1)) // until it was accepted and closed
	c.Close()
	if n := forbidden.count.Load(); n != 1 {
		t.Errorf("the sentinel counts %d of 1 connection", n)
	}
}

// Of an answer with a permitted and a forbidden address the permitted one is used, in any order.
func TestMixedAnswer(t *testing.T) {
	addr, accepted, forbidden := target(t)
	guard := netguard.New(netguard.Options{Resolver: flipFlop(t).addr, AllowExact: []netip.AddrPort{addr}})
	address := net.JoinHostPort("both.test", strconv.Itoa(int(addr.Port())))
	for range 10 {
		c, err := guard.DialContext(t.Context(), "tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		greeted(t, c)
	}
	if accepted.Load() != 10 || forbidden.count.Load() != 0 {
		t.Errorf("%d accepted, %d forbidden", accepted.Load(), forbidden.count.Load())
	}
}
