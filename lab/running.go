package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// starter serves on sockets that are already bound, and returns at once. What it starts ends with ctx and counts in the
// lab's group.
type starter func(ctx context.Context, r *running, h host, s sockets) error

// sockets of one server.
type sockets struct {
	tcp net.Listener
	// udp is nil unless the server asked for it.
	udp net.PacketConn
}

func (s sockets) close() {
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
	if s.udp != nil {
		_ = s.udp.Close()
	}
}

// running is a lab in operation.
type running struct {
	plan       *plan
	log        *slog.Logger
	authority  *authority
	trespasses register

	cancel context.CancelFunc
	group  sync.WaitGroup
	mu     sync.Mutex
	closer []func()
}

// startServers binds everything first and serves only then, so that a busy port leaves no trace.
func startServers(ctx context.Context, p *plan, logger *slog.Logger) (*running, error) {
	ca, err := newAuthority(time.Now())
	if err != nil {
		return nil, err
	}
	// A lab outlives the call that starts it; start ties it to the end of ctx again.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{plan: p, log: logger, authority: ca, cancel: cancel}
	var bound []sockets
	for _, h := range p.hosts {
		for _, s := range h.servers {
			sock, err := bind(ctx, netip.AddrPortFrom(p.address(h.number), uint16(p.port(s.port))), s)
			if err != nil {
				r.close()
				return nil, err
			}
			bound = append(bound, sock)
			r.onClose(sock.close)
		}
	}
	for _, h := range p.hosts {
		for _, s := range h.servers {
			if err := s.run(inner, r, h, bound[0]); err != nil {
				r.close()
				return nil, fmt.Errorf("serve %s: %w", s.note, err)
			}
			bound = bound[1:]
		}
	}
	return r, nil
}

// onClose keeps f for close.
func (r *running) onClose(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closer = append(r.closer, f)
}

// close ends everything, last opened first, and waits.
func (r *running) close() {
	r.cancel()
	r.mu.Lock()
	closer := slices.Clone(r.closer)
	r.mu.Unlock()
	for _, f := range slices.Backward(closer) {
		f()
	}
	r.group.Wait()
}

// bind opens the port for TCP, UDP or both.
func bind(ctx context.Context, at netip.AddrPort, wanted server) (sockets, error) {
	var config net.ListenConfig
	var s sockets
	var err error
	if !wanted.udpOnly {
		if s.tcp, err = config.Listen(ctx, "tcp4", at.String()); err != nil {
			return sockets{}, bindError(at, "tcp", err)
		}
	}
	if wanted.udp || wanted.udpOnly {
		if s.udp, err = config.ListenPacket(ctx, "udp4", at.String()); err != nil {
			s.close()
			return sockets{}, bindError(at, "udp", err)
		}
	}
	return s, nil
}

// bindError says which address and port could not be had and what to do about it.
func bindError(at netip.AddrPort, transport string, err error) error {
	what := fmt.Sprintf("listen on %v/%s", at, transport)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: another program holds this port: end it, or start the lab with a port offset: %w", what, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: this machine has no such address (macOS: sudo ifconfig lo0 alias %v): %w", what, at.Addr(), syscall.EADDRNOTAVAIL)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// maxConnections bounds what one server holds at a time; who comes then is turned away. It keeps the memory of the servers
// that talk without end in bounds, whatever a scanner does.
const maxConnections = 512

// acceptPause follows an Accept that failed for want of descriptors.
const acceptPause = 10 * time.Millisecond

// admission is a listener that admits maxConnections at a time, each for connectionLife.
type admission struct {
	net.Listener
	slots chan struct{}
}

func admit(l net.Listener) *admission {
	return &admission{Listener: l, slots: make(chan struct{}, maxConnections)}
}

// Accept returns the next connection that finds a free slot.
func (a *admission) Accept() (net.Conn, error) {
	for {
		conn, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case a.slots <- struct{}{}:
			return &admitted{Conn: conn, release: sync.OnceFunc(func() { <-a.slots })}, nil
		default:
			_ = conn.Close()
		}
	}
}

// admitted gives its slot back when it closes.
type admitted struct {
	net.Conn
	release func()
}

// Close closes the connection and frees its slot.
func (a *admitted) Close() error {
	a.release()
	return a.Conn.Close()
}

// CloseWrite tells the peer that nothing more comes.
func (a *admitted) CloseWrite() error {
	half, ok := a.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// talk is what a server does with one connection. It returns when the talk is over; the connection is closed after it, and
// before it when ctx ends.
type talk func(ctx context.Context, conn net.Conn)

// stream serves t on every connection.
func stream(t talk) starter {
	return func(ctx context.Context, r *running, _ host, s sockets) error {
		r.stream(ctx, s.tcp, t)
		return nil
	}
}

func (r *running) stream(ctx context.Context, l net.Listener, t talk) {
	door := admit(l)
	r.group.Go(func() {
		for {
			conn, err := door.Accept()
			if err != nil {
				if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				pause(ctx, acceptPause)
				continue
			}
			r.group.Go(func() { serveOne(ctx, conn, t) })
		}
	})
}

func serveOne(ctx context.Context, conn net.Conn, t talk) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	_ = conn.SetDeadline(time.Now().Add(connectionLife))
	t(ctx, conn)
	// A socket closed on bytes that nobody read resets the connection, and the client may lose what was said last (RFC 1122,
	// section 4.2.2.13). So the end is announced first, and what still comes is read for a while.
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = conn.SetDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, conn, lingerBytes)
	}
}

// Bounds of what a server reads after its last word.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// pause waits for d, and less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
