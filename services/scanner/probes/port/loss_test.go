package port

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// dropping is a host at the engine's dial: it answers so many connects a second and drops the rest, as a firewall with a limit
// does. A dropped connect is sent again after a second, as the kernel does.
type dropping struct {
	rate     float64 // 0: drops nothing
	open     []uint16
	filtered func(port uint16) bool
	dies     time.Time // from then on everything is dropped

	mu      sync.Mutex
	tokens  float64
	filled  time.Time
	dialled []time.Time
}

func (d *dropping) passes() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if !d.dies.IsZero() && now.After(d.dies) {
		return false
	}
	if d.rate == 0 {
		return true
	}
	if d.filled.IsZero() {
		d.filled, d.tokens = now, 10
	}
	d.tokens = min(d.tokens+now.Sub(d.filled).Seconds()*d.rate, 10)
	d.filled = now
	if d.tokens < 1 {
		return false
	}
	d.tokens--
	return true
}

func (d *dropping) dial(ctx context.Context, _, address string) (net.Conn, error) {
	d.mu.Lock()
	d.dialled = append(d.dialled, time.Now())
	d.mu.Unlock()
	port := netip.MustParseAddrPort(address).Port()
	for wait := 20 * time.Millisecond; ; wait = time.Second {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, os.ErrDeadlineExceeded
		}
		if d.filtered != nil && d.filtered(port) || !d.passes() {
			continue
		}
		if slices.Contains(d.open, port) {
			one, other := net.Pipe()
			_ = other.Close()
			return farConn{one}, nil
		}
		return nil, syscall.ECONNREFUSED
	}
}

// farConn is a connection to somewhere else.
type farConn struct{ net.Conn }

func (farConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000} }
func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 77), Port: 80} }

// scanDropping scans ports of the host d through the engine, in the bubble's time. The address is one that the guard permits;
// nothing is sent to it.
func scanDropping(ctx context.Context, d *dropping, o Options, ports []uint16) HostResult {
	o.Guard = private()
	o = o.withDefaults()
	addr := netip.MustParseAddr("127.0.6.6")
	l := &lane{addr: addr, guard: o.Guard, ports: ports, pass: 1, pace: newPace(o, false)}
	driver := dialer{guardDial: d.dial, sockets: make(chan struct{}, MaxInFlight), lane: l, heard: make(chan dialed), wakes: make(chan struct{}, 1)}
	driver.run(ctx)
	r := HostResult{Addr: addr}
	r.merge(l)
	r.Unscanned = len(ports) - len(r.Open) - r.Closed - r.Filtered - r.Denied
	return r
}

// A host that drops beyond a rate is asked more slowly until it answers, and all its open ports are found; what a filter keeps
// from answering is told from what was lost.
func TestScanBacksOffFromAHostThatDrops(t *testing.T) {
	ports := make([]uint16, 1000)
	for i := range ports {
		ports[i] = uint16(i + 1)
	}
	open := []uint16{3, 77, 140, 222, 333, 404, 512, 600, 601, 602, 750, 800, 801, 850, 900, 930, 950, 980, 999, 1000}
	filter := func(port uint16) bool { return port%3 == 1 && !slices.Contains(open, port) }
	behind := len(slices.DeleteFunc(slices.Clone(ports), func(port uint16) bool { return !filter(port) }))
	tests := []struct {
		name     string
		host     *dropping
		filtered int
		lossy    bool
		slower   bool
	}{
		{"drops nothing", &dropping{}, 0, false, false},
		{"drops above 200 a second", &dropping{rate: 200}, 0, false, true},
		{"drops above 60 a second", &dropping{rate: 60}, 0, false, true},
		{"filters a third", &dropping{filtered: filter}, behind, false, false},
		{"filters a third and drops", &dropping{filtered: filter, rate: 150}, behind, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.host
			d.open = open
			var r HostResult
			var took time.Duration
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				r = scanDropping(t.Context(), d, Options{}, ports)
				took = time.Since(started)
			})
			slices.Sort(r.Open)
			t.Logf("%d connects in %v, %d slowdowns, filtered %d, lossy %v", len(d.dialled), took, r.Slowdowns, r.Filtered, r.Lossy)
			if !slices.Equal(r.Open, open) {
				t.Errorf("open %v, want %v", r.Open, open)
			}
			if r.Filtered != tt.filtered || r.Lossy != tt.lossy || r.Unscanned != 0 || (r.Slowdowns > 0) != tt.slower {
				t.Errorf("filtered %d lossy %v unscanned %d slowdowns %d", r.Filtered, r.Lossy, r.Unscanned, r.Slowdowns)
			}
			if !tt.slower && took > 12*time.Second {
				t.Errorf("%v for a host that drops nothing", took)
			}
		})
	}
}

// A host that shuts the scanner out half-way: its silence is not called a filter.
func TestScanIsNotFooledByAHostThatShutsItOut(t *testing.T) {
	ports := make([]uint16, 2000)
	for i := range ports {
		ports[i] = uint16(i + 1)
	}
	var r HostResult
	synctest.Test(t, func(t *testing.T) {
		d := &dropping{open: []uint16{5, 1500}, dies: time.Now().Add(700 * time.Millisecond)}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		r = scanDropping(ctx, d, Options{}, ports)
	})
	if !r.Lossy && r.Unscanned == 0 || r.Slowdowns == 0 || r.Filtered == 0 {
		t.Errorf("lossy %v, unscanned %d, slowdowns %d, filtered %d", r.Lossy, r.Unscanned, r.Slowdowns, r.Filtered)
	}
	s := &scan{ports: portlist.Of(ports...)}
	r.Unscanned = 0
	if got := s.judge(&r, nil); got.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(got.Reason, "may be filtered or lost") {
		t.Errorf("%v %q", got.Outcome, got.Reason)
	}
}

// The same over real listeners: what passes the limit reaches a real port of this machine.
func TestScanBacksOffOverRealSockets(t *testing.T) {
	first, _ := listen(t, "127.0.6.7:0")
	second, _ := listen(t, "127.0.6.7:0")
	ports := around([]uint16{first, second}, 400)
	guard := private()
	limit := &dropping{rate: 300}
	o := Options{Guard: guard, Rate: 4000, Timeout: 250 * time.Millisecond}.withDefaults()
	addr := netip.MustParseAddr("127.0.6.7")
	l := &lane{addr: addr, guard: guard, ports: ports, pass: 1, pace: newPace(o, false)}
	d := dialer{sockets: make(chan struct{}, 256), lane: l, heard: make(chan dialed), wakes: make(chan struct{}, 1)}
	d.guardDial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !limit.passes() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return guard.DialContext(ctx, network, address)
	}
	d.run(t.Context())
	// On this machine an open port is connected to twice, and both may be dropped; what was found must be right, and what was not
	// found must not be called filtered.
	if wrong := notOpen(HostResult{Addr: addr, Open: l.open}); len(wrong) > 0 {
		t.Errorf("ports %v are not open", wrong)
	}
	if l.pace.slowdowns == 0 {
		t.Error("never slowed down")
	}
	if found := slices.Contains(l.open, first) && slices.Contains(l.open, second); !found && !l.pace.lossy() {
		t.Errorf("open %v, want %d and %d, or a doubt", l.open, first, second)
	}
}

// Permits come in portions that the host's rate bears, and those that lie too long are void.
func TestPermitsComeInSmallPortions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken []int
		p := permits{host: "192.0.2.1", batch: 4, take: func(_ context.Context, _ string, cost int) error {
			taken = append(taken, cost)
			return nil
		}}
		var asks together.Group
		get := func(needed int) int {
			if _, err := p.available(t.Context(), needed, &asks, func() {}); err != nil {
				t.Error(err)
			}
			asks.Wait()
			n, _ := p.available(t.Context(), 0, &asks, func() {})
			return n
		}
		if n := get(1000); n != 4 {
			t.Errorf("%d, want a portion of 4", n)
		}
		p.spend(3)
		if n := get(1000); n != 5 {
			t.Errorf("%d, want the last one and another portion", n)
		}
		time.Sleep(permitLife + time.Millisecond)
		if n := get(1); n != 1 {
			t.Errorf("%d after a pause, want what is needed anew", n)
		}
		if !slices.Equal(taken, []int{4, 4, 1}) {
			t.Errorf("taken %v", taken)
		}
		one := permits{host: "192.0.2.1", batch: 1, take: func(context.Context, string, int) error { return nil }}
		_, _ = one.available(t.Context(), 9, &asks, func() {})
		asks.Wait()
		if n, _ := one.available(t.Context(), 9, &asks, func() {}); n != 1 {
			t.Errorf("%d permits of a host of one a second", n)
		}
		asks.Wait()
	})
}

// Waiting for permits is not the scan's time; work is.
func TestBudgetLeavesOutTheWaitForPermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scan{}
		s.env.Permit = func(ctx context.Context, _ string, _ int) error {
			select {
			case <-time.After(30 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		started := time.Now()
		ctx, cancel := s.withBudget(t.Context(), 20*time.Second)
		defer cancel()
		for range 3 {
			if err := s.env.Permit(ctx, "", 1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		<-ctx.Done()
		if took := time.Since(started); took < 109*time.Second || took > 111*time.Second {
			t.Errorf("the budget of 20 s ended after %v, 90 s of it in wait", took)
		}
		if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.Error(context.Cause(ctx))
		}
	})
}
