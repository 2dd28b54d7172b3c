package vuln

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

// proxy is the engine's way to the network: an HTTP proxy on loopback that connects to the target and nowhere else, after the
// guard's judgement and with a permit. It asks for a password, so that nobody else on the machine can use it.
type proxy struct {
	env     probes.Env
	place   place
	session *netguard.Session
	plain   *http.Transport
	polite  *probes.Courtesy

	listener net.Listener
	server   *http.Server
	password string
	turns    chan struct{}
	met      atomic.Bool  // the target took a connection
	refused  atomic.Int64 // connections elsewhere
	ctx      context.Context
	cancel   context.CancelFunc
	tunnels  sync.WaitGroup
}

// startProxy begins to serve. The context ends every connection.
func startProxy(ctx context.Context, env probes.Env, at place) (*proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the engine's proxy: %w", err)
	}
	secret := make([]byte, 16)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	p := &proxy{
		env: env, place: at, session: env.Guard.NewSession(), listener: listener, password: hex.EncodeToString(secret),
		turns: make(chan struct{}, proxyAtOnce), polite: env.Courtesy(at.permitHost()),
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	if at.addr.IsValid() && at.host != at.addr.String() {
		if err := p.session.Pin(at.host, at.addr); err != nil {
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

// url is the proxy's address with its password.
func (p *proxy) url() string {
	return (&url.URL{Scheme: "http", User: url.UserPassword("engine", p.password), Host: p.listener.Addr().String()}).String()
}

// reached says whether the target took a connection.
func (p *proxy) reached() bool { return p.met.Load() }

// close ends all connections and waits for them.
func (p *proxy) close() {
	p.cancel()
	_ = p.server.Close()
	p.tunnels.Wait()
	p.plain.CloseIdleConnections()
}

// ServeHTTP is one request of the engine.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.knows(r.Header.Get("Proxy-Authorization")) {
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

func (p *proxy) knows(header string) bool {
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("engine:"+p.password))
	return subtle.ConstantTimeCompare([]byte(header), []byte(want)) == 1
}

// errElsewhere is a connection to another place than the target.
var errElsewhere = errors.New("the engine may reach its target and nothing else")

// permits says whether address is the target: its host or address, at the port that is tested or the usual ones of the web.
func (p *proxy) permits(address string) error {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return errElsewhere
	}
	port, err := strconv.ParseUint(text, 10, 16)
	same := strings.EqualFold(host, p.place.host)
	if addr, err := netip.ParseAddr(host); err == nil {
		same = same || addr.Unmap() == p.place.addr
	}
	if err != nil || !same || uint16(port) != p.place.port && port != 80 && port != 443 {
		return errElsewhere
	}
	return nil
}

// dial connects to the target after judgement and with a permit, and bounds how long and how many.
func (p *proxy) dial(ctx context.Context, _, address string) (net.Conn, error) {
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
	err := p.env.TakePermits(ctx, p.place.permitHost(), 1)
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

// tunnel carries bytes between the engine and the target: what is in them is theirs, under TLS.
func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	up, err := p.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		refuse(w, err)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		_ = up.Close()
		http.Error(w, "no tunnel here", http.StatusInternalServerError)
		return
	}
	down, buffered, err := hijacker.Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	p.tunnels.Add(1) // the server does not wait for what was hijacked
	defer p.tunnels.Done()
	stop := context.AfterFunc(r.Context(), func() { _, _ = up.Close(), down.Close() })
	defer stop()
	_ = down.SetDeadline(time.Now().Add(tunnelLife))
	if _, err := down.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_, _ = up.Close(), down.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(up, io.LimitReader(buffered, requestBytes))
		_, _ = up.Close(), down.Close()
	})
	_, err = io.Copy(down, io.LimitReader(up, tunnelBytes))
	_, _ = up.Close(), down.Close()
	both.Wait()
	p.polite.Failed(r.Context(), err)
}

// forward sends one request without TLS and its answer back. Redirects are the engine's business, which comes here again.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request) {
	if r.URL.Scheme != "http" || r.URL.Host == "" {
		http.Error(w, "no address of the web", http.StatusBadRequest)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.Body = http.MaxBytesReader(w, r.Body, requestBytes)
	for _, hop := range []string{"Proxy-Authorization", "Proxy-Connection", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade"} {
		out.Header.Del(hop)
	}
	answer, err := p.plain.RoundTrip(out)
	if err != nil {
		p.polite.Failed(r.Context(), err)
		refuse(w, err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	p.polite.Answered(r.Context(), answer.StatusCode, answer.Header.Get("Retry-After"))
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, err = io.Copy(w, io.LimitReader(answer.Body, tunnelBytes))
	p.polite.Failed(r.Context(), err)
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
