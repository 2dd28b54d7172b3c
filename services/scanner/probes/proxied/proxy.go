// Package proxied runs programs that are not trusted against one target: engines that the operator installed, such as a scanner of
// its own or a browser. A program reaches the network through a proxy that connects to the job's target and nowhere else, after the
// guard's judgement and with a permit, and runs without a shell, with limits, in a process group that is killed at the end.
//
// What it cannot do without more rights than it has is to keep a program that ignores its proxy from the network:
// docs/politeness.md says how to.
package proxied

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of the proxy.
const (
	// proxyAtOnce bounds the connections to the target that are open at a time.
	proxyAtOnce = 16
	// tunnelBytes bounds what one connection carries to the engine, requestBytes what one carries to the target.
	tunnelBytes, requestBytes = 16 << 20, 4 << 20
	// tunnelLife bounds one connection: an engine sends one request on each.
	tunnelLife = 60 * time.Second
)

// Place is the target: a host, and the address where it is reached.
type Place struct {
	// Host as it stands in URLs, without brackets.
	Host string
	Port uint16
	// Addr is where it is reached; invalid: wherever Host leads.
	Addr netip.Addr
}

// PermitHost is the host that permits are taken for.
func (p Place) PermitHost() string {
	if p.Addr.IsValid() {
		return p.Addr.String()
	}
	return p.Host
}

// Options of a proxy. The zero value is the strict one.
type Options struct {
	// Open serves without a password, for programs that cannot be told one: for as long as it runs, every user of this machine can
	// reach the target through it, and nothing else.
	Open bool
	// Bytes bounds what all connections together carry to the program; 0: no bound but that of each.
	Bytes int64
}

// Proxy is the engine's way to the network: an HTTP proxy on loopback that connects to the target and nowhere else, after the
// guard's judgement and with a permit. It asks for a password, so
// that nobody else on the machine can use it.
type Proxy struct {
	env     probes.Env
	place   Place
	options Options
	session *netguard.Session
	plain   *http.Transport
	polite  *probes.Courtesy

	listener net.Listener
	server   *http.Server
	password string
	turns    chan struct{}
	met      atomic.Bool  // the target took a connection
	carried  atomic.Int64 // bytes to the program
	refused  atomic.Int64 // connections elsewhere
	ctx      context.Context
	cancel   context.CancelFunc
	tunnels  sync.WaitGroup //nolint:forbidigo // net/http starts what it counts, and keeps panics to itself
}

// Start begins to serve. The context ends every connection.
func Start(ctx context.Context, env probes.Env, at Place, o Options) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the engine's proxy: %w", err)
	}
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	p := &Proxy{
		env: env, place: at, options: o, session: env.Guard.NewSession(), listener: listener, password: hex.EncodeToString(secret),
		turns: make(chan struct{}, proxyAtOnce), polite: env.Courtesy(at.PermitHost()),
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	if at.Addr.IsValid() && at.Host != at.Addr.String() {
		if err := p.session.Pin(at.Host, at.Addr); err != nil {
			_ = listener.Close()
			p.cancel()
			return nil, err
		}
	}
	p.plain = &http.Transport{
		DialContext: p.dial, DisableKeepAlives: true, DisableCompression: true, ResponseHeaderTimeout: tunnelLife,
		MaxResponseHeaderBytes: probes.MaxHeaderBytes,
	}
	p.server = &http.Server{
		Handler: p, ReadHeaderTimeout: probes.FirstByteTimeout, MaxHeaderBytes: 256 << 10, ErrorLog: log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return p.ctx },
	}
	p.tunnels.Go(func() { _ = p.server.Serve(listener) })
	return p, nil
}

// URL is the proxy's address with its password.
func (p *Proxy) URL() string {
	return (&url.URL{Scheme: "http", User: url.UserPassword("engine", p.password), Host: p.listener.Addr().String()}).String()
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Reached says whether the target took a connection.
func (p *Proxy) Reached() bool { return p.met.Load() }

// Close ends all connections and waits for them.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.server.Close()
	p.tunnels.Wait()
	p.plain.CloseIdleConnections()
}

// ServeHTTP is one request of the engine.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.options.Open && !p.knows(r.Header.Get("Proxy-Authorization")) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="engine"`)
		http.Error(w, "the proxy's password is missing", http.StatusProxyAuthRequired)
		return
	}
	if r.Method == http.MethodConnect {
		p.tunnel(w, r)
		return
	}
	p.forward(w, r)
}

func (p *Proxy) knows(header string) bool {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("engine:"+p.password))
	return subtle.ConstantTimeCompare([]byte(header), []byte(want)) == 1
}

// errElsewhere is a connection to another place than the target.
var errElsewhere = errors.New("the engine may reach its target and nothing else")

// permits says whether address is the target: its host or address, at the port that is tested or the usual ones of the web.
func (p *Proxy) permits(address string) error {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return errElsewhere
	}
	port, err := strconv.ParseUint(text, 10, 16)
	same := strings.EqualFold(host, p.place.Host)
	if addr, err := netip.ParseAddr(host); err == nil {
		same = same || addr.Unmap() == p.place.Addr
	}
	if err != nil || !same || uint16(port) != p.place.Port && port != 80 && port != 443 {
		return errElsewhere
	}
	return nil
}

// dial connects to the target after judgement and with a permit, and bounds how long and how many.
func (p *Proxy) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if err := p.permits(address); err != nil {
		p.refused.Add(1)
		return nil, err
	}
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-p.turns })
	err := p.room()
	if err == nil {
		err = p.env.TakePermits(ctx, p.place.PermitHost(), 1)
	}
	var conn net.Conn
	if err == nil {
		dialing, cancel := context.WithTimeout(ctx, probes.DialTimeout)
		conn, err = p.session.DialContext(dialing, "tcp", address)
		cancel()
	}
	if err != nil {
		free()
		return nil, err
	}
	p.met.Store(true)
	_ = conn.SetDeadline(time.Now().Add(tunnelLife))
	return &turnConn{Conn: conn, free: free}, nil
}

// room says that more may be carried.
func (p *Proxy) room() error {
	if p.options.Bytes > 0 && p.carried.Load() > p.options.Bytes {
		return errFull
	}
	return nil
}

// turnConn gives its turn back when it closes.
type turnConn struct {
	net.Conn
	free func()
}

// Close closes the connection.
func (c *turnConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// refuse says why there is no connection: that it is not permitted, or that the target does not answer.
func refuse(w http.ResponseWriter, err error) {
	var refusal *netguard.RefusedError
	if errors.Is(err, errElsewhere) || errors.As(err, &refusal) {
		http.Error(w, "not permitted", http.StatusForbidden)
		return
	}
	http.Error(w, "the target does not answer", http.StatusBadGateway)
}
