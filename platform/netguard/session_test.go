package netguard_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Within one session the first answer stays, for all goroutines.
func TestSessionPins(t *testing.T) {
	addr, accepted, forbidden := target(t)
	server := flipFlop(t)
	guard := netguard.New(netguard.Options{Resolver: server.addr, AllowExact: []netip.AddrPort{addr}})
	session := guard.NewSession()
	address := net.JoinHostPort("Flip.Test.", strconv.Itoa(int(addr.Port())))
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 25 {
				c, err := session.DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				greeted(t, c)
			}
		})
	}
	done.Wait()
	if n := server.questions("flip.test.", dns.TypeA); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
	got, err := session.LookupNetIP(t.Context(), "flip.test")
	if err != nil || len(got) != 1 || got[0] != addr.Addr() {
		t.Errorf("lookup after pinning: %v %v", got, err)
	}
	if pinned, err := session.Addr(t.Context(), "FLIP.test"); err != nil || pinned != addr.Addr() {
		t.Errorf("address: %v %v", pinned, err)
	}
	if accepted.Load() != 200 || forbidden.count.Load() != 0 {
		t.Errorf("%d accepted, %d forbidden", accepted.Load(), forbidden.count.Load())
	}
}

// An answer that was forbidden stays forbidden for the session: asking until it suits is over.
func TestSessionPinsRefusals(t *testing.T) {
	addr, accepted, forbidden := target(t)
	server := flipFlop(t)
	guard := netguard.New(netguard.Options{Resolver: server.addr, AllowExact: []netip.AddrPort{addr}})
	address := net.JoinHostPort("flip.test", strconv.Itoa(int(addr.Port())))
	if _, err := guard.LookupNetIP(t.Context(), "flip.test"); err != nil {
		t.Fatal(err) // question 1; the session's own is question 2
	}
	session := guard.NewSession()
	for range 3 {
		var refusal *netguard.RefusedError
		_, err := session.DialContext(t.Context(), "tcp", address)
		if !errors.As(err, &refusal) || refusal.Rule != "loopback" || refusal.Target != "flip.test" {
			t.Errorf("dial: %v, want a refusal of loopback for flip.test", err)
		}
	}
	if accepted.Load()+forbidden.count.Load() != 0 || server.questions("flip.test.", dns.TypeA) != 2 {
		t.Errorf("%d accepted, %d forbidden, %d questions", accepted.Load(), forbidden.count.Load(),
			server.questions("flip.test.", dns.TypeA))
	}
}

// A resolver that fails is asked again; a name that does not exist is not.
func TestSessionKeepsDefiniteAnswersOnly(t *testing.T) {
	good := records(t, "late.test. 0 IN A 8.8.8.8")
	server := newNameServer(t, func(name string, kind uint16, n int) (int, []dns.RR) {
		if name == "late.test." && n == 1 {
			return dns.RcodeServerFailure, nil
		}
		return good(name, kind, n)
	})
	session := guardAt(server).NewSession()
	if _, err := session.Addr(t.Context(), "late.test"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("first: %v, want unavailable", err)
	}
	if addr, err := session.Addr(t.Context(), "late.test"); err != nil || addr != netip.MustParseAddr("8.8.8.8") {
		t.Errorf("second: %v %v", addr, err)
	}
	for range 2 {
		if _, err := session.Addr(t.Context(), "none.test"); !errors.Is(err, fault.NotFound) {
			t.Errorf("none: %v", err)
		}
	}
	if n := server.questions("none.test.", dns.TypeA); n != 1 {
		t.Errorf("%d questions for a name that does not exist", n)
	}
}

func TestPin(t *testing.T) {
	addr, accepted, _ := target(t)
	server := newNameServer(t, records(t, "a.test. 0 IN A 8.8.8.8"))
	session := netguard.New(netguard.Options{Resolver: server.addr, AllowExact: []netip.AddrPort{addr}}).NewSession()
	if err := session.Pin("A.Test", addr.Addr()); err != nil {
		t.Fatal(err)
	}
	c, err := session.DialContext(t.Context(), "tcp", net.JoinHostPort("a.test", strconv.Itoa(int(addr.Port()))))
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, c)
	if accepted.Load() != 1 || server.questions("a.test.", dns.TypeA) != 0 {
		t.Errorf("%d accepted, %d questions", accepted.Load(), server.questions("a.test.", dns.TypeA))
	}
	if err := session.Pin("a.test.", addr.Addr()); err != nil {
		t.Errorf("the same pin again: %v", err)
	}
	for name, pin := range map[string]struct{ host, addr, rule string }{
		"moved":     {"a.test", "8.8.8.8", netguard.RulePin},
		"forbidden": {"b.test", "10.0.0.1", "private use"},
		"misspelt":  {"0x7f.1", "8.8.8.8", netguard.RuleSpelling},
		"literal":   {"8.8.8.8", "8.8.4.4", netguard.RuleSpelling},
	} {
		var refusal *netguard.RefusedError
		if err := session.Pin(pin.host, netip.MustParseAddr(pin.addr)); !errors.As(err, &refusal) || refusal.Rule != pin.rule {
			t.Errorf("%s: %v, want a refusal by %s", name, err, pin.rule)
		}
	}
}

func TestSessionNamesAreBounded(t *testing.T) {
	session := netguard.New(netguard.Options{}).NewSession()
	for i := range netguard.MaxSessionNames {
		if err := session.Pin("h"+strconv.Itoa(i)+".test", netip.MustParseAddr("8.8.8.8")); err != nil {
			t.Fatal(err)
		}
	}
	if err := session.Pin("more.test", netip.MustParseAddr("8.8.8.8")); !errors.Is(err, fault.PermissionDenied) {
		t.Errorf("one name too many: %v", err)
	}
}

// The control hook alone, on a dialer that is not ours, stops what got past everything else.
func TestControlIsTheLastLine(t *testing.T) {
	sentinel := newSentinel(t, 0, "127.0.0.1", "::1")
	guard := netguard.New(netguard.Options{})
	for _, network := range []string{"tcp", "udp"} {
		for _, ip := range []string{"127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"} {
			dialer := net.Dialer{Control: guard.Control}
			c, err := dialer.Dial(network, net.JoinHostPort(ip, strconv.Itoa(int(sentinel.port))))
			if err == nil {
				_, _ = c.Write([]byte{1})
				c.Close()
			}
			if !errors.Is(err, fault.PermissionDenied) {
				t.Errorf("%s %s: %v, want a refusal", network, ip, err)
			}
		}
	}
	if n := sentinel.count.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
	for _, bad := range []struct{ network, address string }{
		{"unix", "/run/docker.sock"}, {"ip4:icmp", "8.8.8.8"}, {"tcp", "localhost:80"}, {"tcp", "[fe80::1%lo]:80"},
	} {
		if guard.Control(bad.network, bad.address, nil) == nil {
			t.Errorf("%s %s: permitted", bad.network, bad.address)
		}
	}
}

func TestDialNetworks(t *testing.T) {
	addr, accepted, _ := target(t)
	address := addr.String()
	guard := netguard.New(netguard.Options{AllowPrivate: true})
	for network, want := range map[string]fault.Code{
		"tcp": fault.OK, "tcp4": fault.OK, "tcp6": fault.NotFound, "udp": fault.OK, "udp4": fault.OK,
		"unix": fault.PermissionDenied, "unixgram": fault.PermissionDenied, "ip4:icmp": fault.PermissionDenied,
		"": fault.PermissionDenied, "TCP": fault.PermissionDenied,
	} {
		c, err := guard.DialContext(t.Context(), network, address)
		if got := fault.CodeOf(err); got != want {
			t.Errorf("%q: %v, want %v", network, err, want)
		}
		switch {
		case err != nil:
		case network[:3] == "tcp":
			greeted(t, c)
		default:
			c.Close()
		}
	}
	if accepted.Load() != 2 {
		t.Errorf("%d accepted", accepted.Load())
	}
}

func TestOnDialHearsEverything(t *testing.T) {
	addr, _, _ := target(t)
	var heard []netguard.Dial
	guard := netguard.New(netguard.Options{
		Resolver:   newNameServer(t, records(t, "in.test. 0 IN A 127.0.0.1", "meta.test. 0 IN A 169.254.169.254")).addr,
		AllowExact: []netip.AddrPort{addr},
		OnDial:     func(_ context.Context, d netguard.Dial) { heard = append(heard, d) },
	})
	port := strconv.Itoa(int(addr.Port()))
	c, err := guard.DialContext(t.Context(), "tcp", "in.test:"+port)
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, c)
	for _, bad := range []string{"meta.test:80", "127.1:80", "none.test:80", "10.0.0.1:80"} {
		if _, err := guard.DialContext(t.Context(), "tcp", bad); err == nil {
			t.Errorf("%s: connected", bad)
		}
	}
	if len(heard) != 5 {
		t.Fatalf("heard %d of 5: %v", len(heard), heard)
	}
	if d := heard[0]; d.Host != "in.test" || d.Addr != addr || d.Err != nil || d.Took <= 0 {
		t.Errorf("connection: %+v", d)
	}
	for i, want := range []fault.Code{fault.PermissionDenied, fault.Invalid, fault.NotFound, fault.PermissionDenied} {
		if d := heard[i+1]; !errors.Is(d.Err, want) || d.Took != 0 {
			t.Errorf("refusal %d: %+v, want %v", i, d, want)
		}
	}
}

// A target that refuses is an answer, not a refusal of ours, and does not unpin the name.
func TestClosedPortIsAnAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := addrPort(t, l.Addr())
	l.Close()
	session := netguard.New(netguard.Options{AllowPrivate: true}).NewSession()
	_, err = session.DialContext(t.Context(), "tcp", net.JoinHostPort("localhost", strconv.Itoa(int(addr.Port()))))
	var refusal *netguard.RefusedError
	if err == nil || errors.As(err, &refusal) {
		t.Errorf("dial: %v, want the target's own refusal", err)
	}
	if got, err := session.LookupNetIP(t.Context(), "localhost"); err != nil || len(got) != 1 {
		t.Errorf("after the attempt: %v %v, want the one pinned address", got, err)
	}
}

// IPv4 is first; an address to which this machine has no way is passed over for the next one. A
// link-local address without a zone is such an address everywhere.
func TestPassesOverAddressesWithoutRoute(t *testing.T) {
	addr, accepted, _ := target(t)
	port := strconv.Itoa(int(addr.Port()))
	c, err := netguard.New(netguard.Options{AllowPrivate: true}).DialContext(t.Context(), "tcp", "localhost:"+port)
	if err != nil {
		t.Fatal(err)
	}
	greeted(t, c)
	if accepted.Load() != 1 {
		t.Error("IPv4 is not first")
	}
	var heard []string
	lost := netip.MustParseAddr("fe80::1")
	guard := netguard.New(netguard.Options{
		Resolver:   newNameServer(t, records(t, "a.test. 0 IN AAAA fe80::1", "a.test. 0 IN AAAA ::1")).addr,
		AllowExact: []netip.AddrPort{netip.AddrPortFrom(lost, addr.Port()), netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())},
		OnDial:     func(_ context.Context, d netguard.Dial) { heard = append(heard, d.Addr.Addr().String()) },
	})
	c, err = guard.DialContext(t.Context(), "tcp", "a.test:"+port)
	if err == nil { // else the machine has no IPv6 loopback either
		c.Close()
	}
	if !slices.Equal(heard, []string{"fe80::1", "::1"}) {
		t.Errorf("tried %v, want both", heard)
	}
}
