package gateway

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// preface is how an HTTP/2 connection without TLS begins (RFC 9113, section 3.4); no HTTP/1.1 request begins so.
const preface = "PRI * HTTP/2.0"

// sniffTimeout bounds the wait for a connection's first bytes.
const sniffTimeout = 10 * time.Second

// splitter hands the connections of one listener to two: HTTP/2 and all others.
type splitter struct {
	listener     net.Listener
	http1, http2 *branch
}

func newSplitter(l net.Listener) *splitter {
	return &splitter{listener: l, http1: newBranch(l.Addr()), http2: newBranch(l.Addr())}
}

// run accepts until ctx ends.
func (s *splitter) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	defer s.http1.Close() //nolint:errcheck // never fails
	defer s.http2.Close() //nolint:errcheck // never fails
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { // out of file descriptors, say
				time.Sleep(10 * time.Millisecond)
				continue
			}
			return err
		}
		go s.sort(conn)
	}
}

func (s *splitter) sort(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(sniffTimeout))
	p := &peeked{Conn: conn, r: bufio.NewReader(conn)}
	to := s.http1
	for n := 1; n <= len(preface); n++ {
		head, err := p.r.Peek(n)
		if err != nil {
			_ = conn.Close()
			return
		}
		if !strings.HasPrefix(preface, string(head)) {
			break
		}
		if n == len(preface) {
			to = s.http2
		}
	}
	_ = conn.SetReadDeadline(time.Time{})
	to.give(p)
}

// peeked is a connection whose first bytes were looked at.
type peeked struct {
	net.Conn

	r *bufio.Reader
}

// Read reads the bytes that were looked at first. When they are used up the connection is read directly.
func (p *peeked) Read(b []byte) (int, error) {
	if p.r != nil {
		if p.r.Buffered() > 0 {
			return p.r.Read(b)
		}
		p.r = nil
	}
	return p.Conn.Read(b)
}

// branch is a listener that is given its connections.
type branch struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newBranch(addr net.Addr) *branch {
	return &branch{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (b *branch) give(c net.Conn) {
	select {
	case b.conns <- c:
	case <-b.done:
		_ = c.Close()
	}
}

// Accept waits for the next connection.
func (b *branch) Accept() (net.Conn, error) {
	select {
	case c := <-b.conns:
		return c, nil
	case <-b.done:
		return nil, net.ErrClosed
	}
}

// Close ends the branch.
func (b *branch) Close() error {
	b.once.Do(func() { close(b.done) })
	return nil
}

// Addr is the address of the listener behind.
func (b *branch) Addr() net.Addr { return b.addr }
