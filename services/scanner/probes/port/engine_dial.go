package port

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/together"
)

// wsaConnRefused is how Windows says ECONNREFUSED (WSAECONNREFUSED, winsock error codes); package syscall does not map it.
const wsaConnRefused = syscall.Errno(10061)

// dialAll is the engine for systems without epoll: one goroutine for each connect in flight, over the guard's dialer. It
// sees the same, at some two fifths of the speed.
func (s *Scanner) dialAll(ctx context.Context, o Options, lanes []*lane) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sockets := make(chan struct{}, o.InFlight)
	group := together.Limit(min(o.InFlight, 64))
	for _, l := range lanes {
		group.Go(func() {
			d := dialer{guardDial: o.Guard.DialContext, sockets: sockets, lane: l, heard: make(chan dialed), wakes: make(chan struct{}, 1)}
			d.run(ctx)
		})
	}
	group.Wait()
	return nil
}

// dialer drives one lane.
type dialer struct {
	guardDial func(ctx context.Context, network, address string) (net.Conn, error)
	sockets   chan struct{}
	lane      *lane
	heard     chan dialed
	wakes     chan struct{}
	asks      together.Group
}

// dialed is how the connect to one port went.
type dialed struct {
	port uint16
	took time.Duration
	err  error
}

func (d *dialer) run(ctx context.Context) {
	l := d.lane
	defer d.asks.Wait()
	timer := time.NewTimer(maxDialSleep)
	defer timer.Stop()
	for ctx.Err() == nil && !l.finished() {
		d.start(ctx)
		timer.Reset(max(l.pace.wait(), time.Millisecond))
		select {
		case got := <-d.heard:
			d.settle(got)
		case <-d.wakes:
		case <-d.pause(timer):
		case <-ctx.Done():
		}
	}
	for l.inFlight > 0 { // their contexts have ended
		<-d.heard
		l.inFlight--
	}
}

// maxDialSleep is only the timer's first setting.
const maxDialSleep = time.Second

// pause ends by the timer, except where only an answer can bring the lane on.
func (d *dialer) pause(timer *time.Timer) <-chan time.Time {
	l := d.lane
	if l.inFlight > 0 && (l.remaining() == 0 || l.inFlight >= int(l.pace.window)) {
		return nil
	}
	return timer.C
}

func (d *dialer) start(ctx context.Context) {
	l := d.lane
	count := min(l.pace.allowed(time.Now(), l.inFlight), l.remaining())
	if count == 0 {
		return
	}
	granted, err := l.permits.available(ctx, l.remaining(), &d.asks, func() {
		select {
		case d.wakes <- struct{}{}:
		default:
		}
	})
	if err != nil {
		l.fail(fmt.Errorf("take permits: %w", err))
		return
	}
	started := 0
	for started < min(count, granted) && d.startOne(ctx) {
		started++
	}
	l.permits.spend(started)
	l.pace.started(started)
}

// startOne starts the next port, where a socket is to be had.
func (d *dialer) startOne(ctx context.Context) bool {
	select {
	case d.sockets <- struct{}{}:
	default:
		return false // others of this scan have them; asked again soon
	}
	port, ok := d.lane.take()
	if !ok {
		<-d.sockets
		return false
	}
	d.lane.inFlight++
	timeout := d.lane.pace.timeout
	go func() { d.heard <- d.dial(ctx, port, timeout) }()
	return true
}

// dial connects once, and on this machine once more: an open port here may be one of our own sockets (see settle in the
// Linux engine), and will not be so twice.
func (d *dialer) dial(ctx context.Context, port uint16, timeout time.Duration) dialed {
	defer func() { <-d.sockets }()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	started := time.Now()
	address := net.JoinHostPort(d.lane.addr.String(), strconv.Itoa(int(port)))
	local, remote, err := d.connect(ctx, address)
	took := time.Since(started)
	if err == nil && local.Addr() == remote.Addr() || err == nil && remote.Addr().IsLoopback() {
		if local == remote {
			err = syscall.ECONNREFUSED
		} else if local, remote, err = d.connect(ctx, address); err == nil && local == remote {
			err = syscall.ECONNREFUSED
		}
	}
	return dialed{port: port, took: took, err: err}
}

func (d *dialer) connect(ctx context.Context, address string) (local, remote netip.AddrPort, err error) {
	conn, err := d.guardDial(ctx, "tcp", address)
	if err != nil {
		return local, remote, err
	}
	local, remote = addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // a reset leaves no TIME_WAIT
	}
	return local, remote, conn.Close()
}

func addrPort(addr net.Addr) netip.AddrPort {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		at := tcp.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return netip.AddrPort{}
}

func (d *dialer) settle(got dialed) {
	l := d.lane
	l.inFlight--
	switch {
	case got.err == nil:
		l.reply(got.port, true, got.took)
	case errors.Is(got.err, syscall.ECONNREFUSED), errors.Is(got.err, syscall.ECONNRESET), errors.Is(got.err, wsaConnRefused):
		l.reply(got.port, false, got.took)
	case errors.Is(got.err, syscall.ENETUNREACH), errors.Is(got.err, syscall.EAFNOSUPPORT):
		l.fail(fmt.Errorf("connect to %s: %w", l.addr, got.err))
	case errors.Is(got.err, syscall.EADDRNOTAVAIL), errors.Is(got.err, syscall.EADDRINUSE), errors.Is(got.err, syscall.EMFILE):
		if !l.giveBack(got.port) {
			l.fail(fmt.Errorf("connect to %s: %w", l.addr, got.err))
		}
	default:
		l.silence(got.port)
	}
}
