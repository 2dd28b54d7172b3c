package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var nextNetwork atomic.Int32

// ownNetwork returns a network that no other test of this package uses: one of 127.200.0.0/16.
func ownNetwork(t *testing.T) netip.Prefix {
	t.Helper()
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 200, byte(nextNetwork.Add(1)), 0}), 24)
}

// startLab starts a lab on a network of its own, closed with the test.
func startLab(t *testing.T, o Options) *Lab {
	t.Helper()
	if !o.Network.IsValid() {
		o.Network = ownNetwork(t)
	}
	l, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// at returns where the server with the given number and port is.
func (l *Lab) at(number, port int) string {
	return hostPort(l.plan.address(number).String(), l.plan.port(port))
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestEveryPortIsOpenAfterStartAndFreeAfterClose(t *testing.T) {
	l := startLab(t, Options{Hostile: true})
	var all []string
	for _, h := range l.plan.hosts {
		for _, s := range h.servers {
			if s.udpOnly {
				continue
			}
			all = append(all, l.at(h.number, s.port))
			_ = dial(t, all[len(all)-1]).Close()
		}
	}
	if len(all) < 80 {
		t.Errorf("%d servers, want the whole table", len(all))
	}
	l.Close()
	l.Close()
	for _, address := range all {
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			t.Errorf("after Close: %v", err)
			continue
		}
		_ = listener.Close()
	}
}

func TestLabEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Start(ctx, Options{Network: ownNetwork(t), Clean: true})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, l.at(42, 2222))
	if _, err := conn.Write([]byte("SSH-2.0-test\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server goes on after the context's end")
	}
	l.Close()
}

func TestCloseWaitsForEverything(t *testing.T) {
	l, err := Start(t.Context(), Options{Network: ownNetwork(t), Hostile: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range l.plan.hosts {
		for _, s := range h.servers {
			if s.udpOnly {
				continue
			}
			if _, err := io.WriteString(dial(t, l.at(h.number, s.port)), "GET / HTTP/1.1\r\nHost: lab.test\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.Close()
	// goleak waits a while for goroutines to end. Close leaves none to wait for, but for those on their last instructions.
	var left []string
	for range 100 {
		if left = serverStacks(); len(left) == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("after Close:\n%s", strings.Join(left, "\n"))
}

// serverStacks returns the goroutines that belong to a server.
func serverStacks() []string {
	var found []string
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		for _, server := range []string{"lab.(*running)", "lab.serveOne", "net/http.(*conn)", "miekg/dns.(*Server)"} {
			if strings.Contains(stack, server) {
				found = append(found, stack)
				break
			}
		}
	}
	return found
}

func TestLabsSideBySide(t *testing.T) {
	a, b := startLab(t, Options{Clean: true}), startLab(t, Options{Clean: true})
	if a.Ports() != b.Ports() || a.Resolver() == b.Resolver() {
		t.Errorf("ports %q and %q, resolvers %q and %q: want the same ports on other addresses", a.Ports(), b.Ports(), a.Resolver(), b.Resolver())
	}
	_ = dial(t, a.Resolver()).Close()
	_ = dial(t, b.Resolver()).Close()
}

func TestBusyPortIsNamedAndNothingStaysOpen(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			network := ownNetwork(t)
			p := plan{network: network}
			busy := hostPort(p.address(54).String(), portDNS)
			var closer interface{ Close() error }
			var err error
			if transport == "tcp" {
				closer, err = net.Listen("tcp4", busy)
			} else {
				closer, err = net.ListenPacket("udp4", busy)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = closer.Close() }()

			_, err = Start(t.Context(), Options{Network: network})
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), busy+"/"+transport) || !strings.Contains(err.Error(), "port offset") {
				t.Errorf("error %v: want one that names %s/%s and says what to do", err, busy, transport)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %v", err)
			}
			first, err := net.Listen("tcp4", hostPort(p.address(numberDNS).String(), portDNS))
			if err != nil {
				t.Fatalf("after a failed start: %v", err)
			}
			_ = first.Close()
		})
	}
}

func TestNetworksAreLoopbackOnly(t *testing.T) {
	for _, tt := range []struct{ network, want string }{
		{"192.168.0.0/24", "where nobody else can reach it"},
		{"0.0.0.0/0", "where nobody else can reach it"},
		{"126.0.0.0/7", "where nobody else can reach it"},
		{"128.0.0.0/24", "where nobody else can reach it"},
		{"::1/128", "where nobody else can reach it"},
		{"127.0.0.0/25", "too small"},
	} {
		_, err := Start(t.Context(), Options{Network: netip.MustParsePrefix(tt.network)})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("network %s: error %v, want %q", tt.network, err, tt.want)
		}
	}
}

func TestPortOffset(t *testing.T) {
	l := startLab(t, Options{Clean: true, PortOffset: 3000})
	if want := "5222,5525,8300,11080,11443"; l.Ports() != want {
		t.Errorf("ports %q, want %q", l.Ports(), want)
	}
	if !strings.HasSuffix(l.Resolver(), ":8300") {
		t.Errorf("resolver %q, want port 8300", l.Resolver())
	}
	for _, f := range l.Truth() {
		if f.Location != "" && !slices.ContainsFunc(strings.Split(l.Ports(), ","), func(p string) bool { return strings.HasSuffix(f.Location, ":"+p+"/tcp") }) {
			t.Errorf("finding at %q, which is not in %q", f.Location, l.Ports())
		}
	}
	for _, offset := range []int{-2000, 60000} {
		if _, err := Start(t.Context(), Options{PortOffset: offset}); err == nil || !strings.Contains(err.Error(), "port offset") {
			t.Errorf("offset %d: error %v", offset, err)
		}
	}
}

func TestPortsNeedNoPrivilege(t *testing.T) {
	for _, h := range hostsFor(Options{Hostile: true}) {
		for _, s := range h.servers {
			// Above 32767 lie the ports that Linux gives to outgoing connections.
			if s.port <= minPort || s.port > 32767 {
				t.Errorf("%s: port %d", s.note, s.port)
			}
		}
	}
}

func TestTablesAreConsistent(t *testing.T) {
	o := Options{Hostile: true}
	numbers, names, zones := map[int]bool{}, map[string]bool{}, map[string]bool{}
	for _, z := range zonesFor(o) {
		if zones[z.name] || z.note == "" {
			t.Errorf("zone %q: twice, or without a note", z.name)
		}
		zones[z.name] = true
	}
	for _, h := range hostsFor(o) {
		if h.number != 0 && numbers[h.number] || h.name != "" && names[h.name] {
			t.Errorf("host %d %q: twice", h.number, h.name)
		}
		numbers[h.number], names[h.name] = true, true
		inZone := h.name == ""
		for _, parent, more := strings.Cut(h.name, "."); more; _, parent, more = strings.Cut(parent, ".") {
			inZone = inZone || zones[parent]
		}
		if !inZone {
			t.Errorf("host %q: in no zone", h.name)
		}
		ports := map[int]bool{}
		for _, s := range h.servers {
			if ports[s.port] || s.note == "" || s.run == nil {
				t.Errorf("host %d port %d: twice, without a note, or without a server", h.number, s.port)
			}
			ports[s.port] = true
		}
	}
}

func TestTargets(t *testing.T) {
	l := startLab(t, Options{Hostile: true})
	targets := l.Targets()
	for _, want := range []string{"acme.test", "www.acme.test", "login.acme.test", "http://login.acme.test:8080/", l.plan.address(60).String(), l.at(69, 6380)} {
		if !slices.Contains(targets, want) {
			t.Errorf("targets lack %q", want)
		}
	}
	for _, unwanted := range []string{"mail.acme.test", "ns-retired-7.exemplary.test", l.plan.address(numberSentinel).String(), l.plan.address(55).String()} {
		if slices.Contains(targets, unwanted) {
			t.Errorf("targets hold %q", unwanted)
		}
	}
	sorted := slices.Sorted(slices.Values(targets))
	if len(slices.Compact(sorted)) != len(targets) {
		t.Error("a target comes twice")
	}
}

func TestFarm(t *testing.T) {
	const n = 300
	third := byte(nextNetwork.Add(2)) &^ 1
	l, err := StartFarm(t.Context(), n, Options{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 201, third, 0}), 23)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(l.Targets()) != n || l.Resolver() != "" || l.Ports() != "2222,2525,8080" {
		t.Errorf("%d targets, resolver %q, ports %q", len(l.Targets()), l.Resolver(), l.Ports())
	}
	for _, target := range l.Targets() {
		_ = dial(t, net.JoinHostPort(target, "8080")).Close()
	}
	if want := 2*n + n/2; len(l.Truth()) != want {
		t.Errorf("%d findings, want %d", len(l.Truth()), want)
	}
	if _, err := StartFarm(t.Context(), 0, Options{}); err == nil {
		t.Error("a farm of nothing started")
	}
	if _, err := StartFarm(t.Context(), n, Options{}); err == nil || !strings.Contains(err.Error(), "room for 254 addresses") {
		t.Errorf("a farm too large for its network: error %v", err)
	}
}

// BenchmarkStart shows what a lab costs a test.
func BenchmarkStart(b *testing.B) {
	network := netip.MustParsePrefix("127.202.0.0/24")
	for b.Loop() {
		l, err := Start(b.Context(), Options{Network: network, Hostile: true})
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
}
