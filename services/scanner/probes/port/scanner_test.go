package port

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engines are what every test of the scanner runs over: the system's own, and the portable one that other systems use.
var engines = map[string]func(*Scanner) engine{
	"system":   func(s *Scanner) engine { return s.connectAll },
	"portable": func(s *Scanner) engine { return s.dialAll },
}

func overEngines(t *testing.T, test func(t *testing.T, scan scanFunc)) {
	for name := range engines {
		t.Run(name, func(t *testing.T) { test(t, scanOver(name)) })
	}
}

func scanOver(name string) scanFunc {
	return func(ctx context.Context, o Options, addrs []netip.Addr, ports []uint16) ([]HostResult, error) {
		scanner := NewScanner()
		return scanner.scanWith(ctx, o, addrs, ports, engines[name](scanner))
	}
}

type scanFunc func(ctx context.Context, o Options, addrs []netip.Addr, ports []uint16) ([]HostResult, error)

func private() *netguard.Guard { return netguard.New(netguard.Options{AllowPrivate: true}) }

// listen opens a port that accepts and closes; it returns the port and a count of connections.
func listen(t testing.TB, address string) (uint16, *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	accepted := new(atomic.Int64)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = listener.Close(); group.Wait() })
	return listener.Addr().(*net.TCPAddr).AddrPort().Port(), accepted
}

// around lists n ports around those that must be in the list.
func around(must []uint16, n int) []uint16 {
	set := portlist.Of(must...)
	ports := slices.Clone(must)
	for port := uint16(2000); len(ports) < n; port++ {
		if !set.Contains(port) {
			ports = append(ports, port)
		}
	}
	return ports
}

func TestScanFindsOpenPorts(t *testing.T) {
	addresses := []string{"127.0.0.1", "127.0.7.9"}
	if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = probe.Close()
		addresses = append(addresses, "::1")
	} else {
		t.Logf("without IPv6: %v", err)
	}
	overEngines(t, func(t *testing.T, scan scanFunc) {
		var addrs []netip.Addr
		var must []uint16
		want := make(map[netip.Addr][]uint16)
		for _, address := range addresses {
			addr := netip.MustParseAddr(address)
			addrs = append(addrs, addr)
			for range 3 {
				port, _ := listen(t, netip.AddrPortFrom(addr, 0).String())
				want[addr] = append(want[addr], port)
				must = append(must, port)
			}
		}
		slices.Sort(must)
		must = slices.Compact(must)
		ports := around(must, 600)
		results, err := scan(t.Context(), Options{Guard: private(), InFlight: 32}, addrs, ports)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Addr != addrs[i] {
				t.Fatalf("result %d is of %s, want %s", i, r.Addr, addrs[i])
			}
			for _, port := range want[r.Addr] {
				if !slices.Contains(r.Open, port) {
					t.Errorf("%s: port %d was missed", r.Addr, port)
				}
			}
			if r.Err != nil || len(r.Open)+r.Closed != len(ports) || r.Filtered+r.Denied+r.Unscanned != 0 || !slices.IsSorted(r.Open) {
				t.Errorf("%+v, want all of %d ports open or closed", r, len(ports))
			}
		}
	})
}

// Sockets whose source port is among the scanned ports connect to themselves on this machine.
func TestScanDoesNotMeetItself(t *testing.T) {
	listening, _ := listen(t, "127.0.0.1:0")
	// The dialer's source ports are the kernel's choice: it meets itself in one of some 28,000 connects, and is slow.
	for name, last := range map[string]int{"system": 60999, "portable": 36000} {
		t.Run(name, func(t *testing.T) {
			ports := []uint16{listening}
			for port := 32768; port <= last; port++ {
				if port != int(listening) {
					ports = append(ports, uint16(port))
				}
			}
			// Ports of other processes come and go; a scan that meets itself does so every time.
			for range 5 {
				results, err := scanOver(name)(t.Context(), Options{Guard: private()}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, ports)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(results[0].Open, listening) {
					t.Errorf("port %d was missed", listening)
				}
				if len(notOpen(results[0])) == 0 {
					return
				}
			}
			t.Error("each of five scans saw open ports where nobody listens")
		})
	}
}

// notOpen are the ports of a result that take no connection now.
func notOpen(r HostResult) (ports []uint16) {
	for _, port := range r.Open {
		conn, err := net.Dial("tcp", netip.AddrPortFrom(r.Addr, port).String())
		if err != nil {
			ports = append(ports, port)
			continue
		}
		_ = conn.Close()
	}
	return ports
}

// The dialer connects twice to an open port of this machine, as the first may have been another socket of its own.
func TestDialerAsksTwiceOnThisMachine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	guard := private()
	d := dialer{
		guardDial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := guard.DialContext(ctx, network, address)
			_ = listener.Close()
			return conn, err
		},
		sockets: make(chan struct{}, 1),
		lane:    &lane{addr: netip.MustParseAddr("127.0.0.1")},
	}
	d.sockets <- struct{}{}
	if got := d.dial(t.Context(), port, time.Second); got.err == nil {
		t.Error("a port that was open once counts as open")
	}
}

func TestScanSendsNothingToRefusedAddresses(t *testing.T) {
	overEngines(t, func(t *testing.T, scan scanFunc) {
		port, accepted := listen(t, "127.0.0.1:0")
		other, _ := listen(t, "127.0.0.1:0")
		addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("169.254.169.254")}
		results, err := scan(t.Context(), Options{Guard: netguard.New(netguard.Options{})}, addrs, []uint16{port, other})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			var refused *netguard.RefusedError
			if !errors.As(r.Err, &refused) || r.Denied != 2 || len(r.Open) != 0 {
				t.Errorf("%+v, want both ports denied with a refusal", r)
			}
		}
		if n := accepted.Load(); n != 0 {
			t.Errorf("%d connections reached a refused address", n)
		}

		exact := netguard.New(netguard.Options{AllowExact: []netip.AddrPort{netip.AddrPortFrom(addrs[0], other)}})
		results, err = scan(t.Context(), Options{Guard: exact}, addrs[:1], []uint16{port, other})
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; !slices.Equal(r.Open, []uint16{other}) || r.Denied != 1 || accepted.Load() != 0 {
			t.Errorf("%+v, want only the listed port asked; the other saw %d connections", r, accepted.Load())
		}
	})
}

func TestScanStopsWithContext(t *testing.T) {
	overEngines(t, func(t *testing.T, scan scanFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var asked atomic.Int64
		permit := func(ctx context.Context, _ string, cost int) error {
			if asked.Add(int64(cost)) > 3*permitBatch {
				cancel()
				return ctx.Err()
			}
			return nil
		}
		ports := portlist.All().Ports()
		results, err := scan(ctx, Options{Guard: private(), Permit: permit}, []netip.Addr{netip.MustParseAddr("127.0.9.9")}, ports)
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if r.Unscanned < len(ports)-6*permitBatch || len(r.Open)+r.Closed+r.Filtered+r.Unscanned != len(ports) {
			t.Errorf("open %d closed %d filtered %d unscanned %d of %d", len(r.Open), r.Closed, r.Filtered, r.Unscanned, len(ports))
		}
	})
}

func TestScanTakesPermitsBeforeItConnects(t *testing.T) {
	overEngines(t, func(t *testing.T, scan scanFunc) {
		port, accepted := listen(t, "127.0.0.1:0")
		denied := errors.New("the bucket is gone")
		results, err := scan(t.Context(), Options{Guard: private(), Permit: func(context.Context, string, int) error { return denied }},
			[]netip.Addr{netip.MustParseAddr("127.0.0.1")}, []uint16{port})
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; !errors.Is(r.Err, denied) || r.Unscanned != 1 || accepted.Load() != 0 {
			t.Errorf("%+v and %d connections, want none without permits", r, accepted.Load())
		}

		var taken atomic.Int64
		ports := around([]uint16{port}, 3000)
		results, err = scan(t.Context(), Options{Guard: private(), Permit: func(_ context.Context, host string, cost int) error {
			if host != "127.0.0.1" || cost <= 0 || cost > permitBatch {
				t.Errorf("permits for %q: %d", host, cost)
			}
			taken.Add(int64(cost))
			return nil
		}}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, ports)
		if err != nil {
			t.Fatal(err)
		}
		if n := int(taken.Load()); n < len(ports) || n > len(ports)+permitBatch {
			t.Errorf("%d permits taken for %d ports", n, len(ports))
		}
		if r := results[0]; r.Unscanned != 0 || !slices.Contains(r.Open, port) {
			t.Errorf("%+v, want all ports scanned", r)
		}
	})
}

// The counts of a result always add up to what was asked, however few sockets there are.
func TestScanAccountsForEveryPort(t *testing.T) {
	overEngines(t, func(t *testing.T, scan scanFunc) {
		open, _ := listen(t, "127.0.0.1:0")
		rapid.Check(t, func(rt *rapid.T) {
			ports := rapid.SliceOfNDistinct(rapid.Uint16Range(1, portlist.MaxPort), 0, 300, rapid.ID[uint16]).Draw(rt, "ports")
			hosts := rapid.IntRange(1, 5).Draw(rt, "hosts")
			inFlight := rapid.IntRange(1, 40).Draw(rt, "in flight")
			var addrs []netip.Addr
			for i := range hosts {
				addrs = append(addrs, netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}))
			}
			results, err := scan(t.Context(), Options{Guard: private(), InFlight: inFlight}, addrs, ports)
			if err != nil {
				rt.Fatal(err)
			}
			for _, r := range results {
				if len(r.Open)+r.Closed != len(ports) || r.Err != nil {
					rt.Fatalf("%+v of %d ports", r, len(ports))
				}
			}
			if got := slices.Contains(results[0].Open, open); got != slices.Contains(ports, open) {
				rt.Fatalf("port %d: open %v", open, got)
			}
		})
	})
}

func TestScanKeepsNoSocket(t *testing.T) {
	overEngines(t, func(t *testing.T, scan scanFunc) {
		port, _ := listen(t, "127.0.0.1:0")
		before := descriptors(t)
		if _, err := scan(t.Context(), Options{Guard: private()}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, around([]uint16{port}, 500)); err != nil {
			t.Fatal(err)
		}
		if after := descriptors(t); after > before+2 { // the listener may hold a connection
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestOptionsDefaults(t *testing.T) {
	got := Options{}.withDefaults()
	if got.Rate != DefaultRate || got.Timeout != DefaultTimeout || got.InFlight < 128 || got.InFlight > MaxInFlight {
		t.Errorf("%+v", got)
	}
	kept := Options{Rate: 5, Timeout: time.Second, InFlight: 7}.withDefaults()
	if diff := cmp.Diff([]float64{5, 1, 7}, []float64{kept.Rate, kept.Timeout.Seconds(), float64(kept.InFlight)}); diff != "" {
		t.Error(diff)
	}
}
