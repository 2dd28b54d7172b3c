package port

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// deaf opens a port whose queue of connections is full: the kernel drops every further SYN, as a filter would.
func deaf(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	for { // until one does not get through any more
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), 200*time.Millisecond)
		if err != nil {
			break
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

func TestScanTellsSilenceFromRefusal(t *testing.T) {
	port := deaf(t)
	overEngines(t, func(t *testing.T, scan scanFunc) {
		open, _ := listen(t, "127.0.0.1:0")
		results, err := scan(t.Context(), Options{Guard: private(), Timeout: 150 * time.Millisecond},
			[]netip.Addr{netip.MustParseAddr("127.0.0.1")}, around([]uint16{port, open}, 100))
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; r.Filtered != 1 || slices.Contains(r.Open, port) || !slices.Contains(r.Open, open) || len(r.Open)+r.Closed != 99 {
			t.Errorf("%+v, want the deaf port filtered", r)
		}
	})
}

// A port that is silent at first and answers later is found, because silent ports are asked again.
func TestScanAsksSilentPortsAgain(t *testing.T) {
	port := deaf(t)
	l := newLanes(Options{Guard: private(), Timeout: time.Second}, 0, netip.MustParseAddr("127.0.0.1"), []uint16{port, 1})[0]
	for range 2 {
		if _, ok := l.take(); !ok {
			t.Fatal("no port")
		}
	}
	l.reply(1, false, time.Millisecond)
	l.silence(port)
	if l.finished() {
		t.Fatal("finished with a silent port of a host that answers")
	}
	if again, ok := l.take(); !ok || again != port {
		t.Fatalf("asked %d again, want %d", again, port)
	}
	l.reply(port, true, time.Millisecond)
	if !l.finished() || !slices.Equal(l.open, []uint16{port}) {
		t.Errorf("open %v, finished %v", l.open, l.finished())
	}
}

// A slot that is made to connect to its own source port gets a connection, and is told from a service.
func TestSlotMeetsItself(t *testing.T) {
	var from sources
	s := &slot{fd: -1}
	if err := s.open(&from); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.lane, s.port = &lane{addr: netip.MustParseAddr("127.0.0.1")}, s.source
	s.aim(s.lane.addr, s.port)
	errno := s.connect()
	for errno == unix.EINPROGRESS || errno == unix.EALREADY {
		errno = s.connect()
	}
	if errno != 0 {
		t.Fatalf("a socket does not connect to itself here: %v", errno)
	}
	if !s.meetsItself(&from) {
		t.Error("a socket that met itself counts as a service")
	}
	s.lane.addr = netip.MustParseAddr("192.0.2.1")
	if s.meetsItself(&from) {
		t.Error("another machine's port counts as ours")
	}
	from.release(false, s.source)
	s.lane.addr = netip.MustParseAddr("127.0.0.1")
	if s.meetsItself(&from) {
		t.Error("a port that is not ours counts as ours")
	}
}

// The whole scan with all source ports among the scanned ports: each socket comes to its own.
func TestScanThroughItsOwnSourcePorts(t *testing.T) {
	scanner := NewScanner()
	scanner.sources.first, scanner.sources.last = 45000, 45031
	scanner.sources.at = 45000
	var ports []uint16
	for port := uint16(45000); port <= 45031; port++ {
		ports = append(ports, port)
	}
	unsure := 0 // scans with a port that another process may have listened on
	for range 50 {
		results, err := scanner.Scan(t.Context(), Options{Guard: private(), InFlight: 4}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, ports)
		if err != nil {
			t.Fatal(err)
		}
		if len(notOpen(results[0])) > 0 {
			unsure++
		}
		if r := results[0]; len(r.Open)+r.Closed != len(ports) {
			t.Fatalf("%+v", r)
		}
	}
	if unsure > 3 {
		t.Errorf("%d of 50 scans saw open ports where nobody listens", unsure)
	}
	if scanner.sources.bound != [2][1024]uint64{} {
		t.Error("source ports are still noted after the scan")
	}
}

func TestSettleErrors(t *testing.T) {
	tests := []struct {
		errno                   syscall.Errno
		open, closed, silent, n int
		failed                  bool
	}{
		{errno: unix.ECONNREFUSED, closed: 1},
		{errno: unix.ECONNRESET, closed: 1},
		{errno: unix.EHOSTUNREACH, silent: 1},
		{errno: unix.ETIMEDOUT, silent: 1},
		{errno: unix.EPERM, silent: 1},
		{errno: unix.EADDRNOTAVAIL, n: 1},
		{errno: unix.ENETUNREACH, failed: true},
	}
	for _, tt := range tests {
		w := &worker{sources: new(sources), limit: 1}
		l := newLanes(Options{Guard: private(), Timeout: time.Second}.withDefaults(), 0, netip.MustParseAddr("192.0.2.1"), []uint16{7})[0]
		port, _ := l.pop()
		s := &slot{fd: -1, lane: l, port: port, since: time.Now()}
		w.settle(s, tt.errno)
		if len(l.open) != tt.open || l.closed != tt.closed || len(l.silent) != tt.silent || l.remaining() != tt.n || (l.err != nil) != tt.failed {
			t.Errorf("%v: open %v closed %d silent %v remaining %d err %v", tt.errno, l.open, l.closed, l.silent, l.remaining(), l.err)
		}
		if len(w.idle[0]) != 1 || s.lane != nil {
			t.Errorf("%v: the slot was lost", tt.errno)
		}
	}
}

// The way of hosts on the network, over real sockets: paced, waited for with epoll, with round trips.
func TestScanWaitsForAnswers(t *testing.T) {
	addr := netip.MustParseAddr("127.0.0.1")
	silent := deaf(t)
	open, _ := listen(t, "127.0.0.1:0")
	ports := around([]uint16{silent, open}, 2000)
	o := Options{Guard: private(), Rate: 50_000, Timeout: 300 * time.Millisecond, InFlight: 64}.withDefaults()
	l := &lane{addr: addr, guard: o.Guard, ports: ports, pass: 1, pace: newPace(o, false)}
	if err := NewScanner().connectAll(t.Context(), o, []*lane{l}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(l.open, open) || len(l.silent) != 1 || l.silent[0] != silent || len(l.open)+l.closed != len(ports)-1 {
		t.Errorf("open %v, closed %d, silent %v of %d", l.open, l.closed, l.silent, len(ports))
	}
	if l.pace.srtt == 0 {
		t.Error("no round trip was measured")
	}
}

// The budget ends a scan whose target does not answer, and a host without any answer is not called scanned.
func TestProbeOfSilentHosts(t *testing.T) {
	port := deaf(t)
	job := portJob("127.0.0.1", port)
	job.Options.Budget = durationpb.New(50 * time.Millisecond)
	result, err := New().Scan(t.Context(), probes.Env{Guard: private()}, job)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "time was up after 0 of 1 ports") {
		t.Errorf("%v %q", result.Outcome, result.Reason)
	}
	job.Options.Budget, job.Options.Profile = nil, modelv1.Profile_PROFILE_QUICK
	result, err = New().Scan(t.Context(), probes.Env{Guard: private()}, job)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "none of 1 ports answered") || len(result.Observations) != 0 {
		t.Errorf("%v %q with %d observations", result.Outcome, result.Reason, len(result.Observations))
	}
}
