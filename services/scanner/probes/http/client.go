package http

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// site is one host and port for the length of one scan, with its connections.
type site struct {
	env       probes.Env
	limits    limits
	agent     string
	session   *netguard.Session
	host      string // name or address, as it stands in URLs without brackets
	port      uint32
	dialTime  time.Duration
	transport *nethttp.Transport
	// polite is who listens to how the machine takes the requests, from the first answer on.
	polite atomic.Pointer[probes.Courtesy]

	// slow is set once a connection sent less than the minimum rate.
	slow atomic.Bool
	// spoke holds the first bytes of the newest connection.
	mu      sync.Mutex
	spoke   []byte
	address string
	http2   bool
}

func newSite(env probes.Env, job *modelv1.ScanJob, p *Probe) (*site, error) {
	target := job.GetTarget()
	s := &site{
		env: env, limits: p.limits, agent: cmp.Or(p.options.UserAgent, probes.UserAgent(env)), session: env.Guard.NewSession(),
		host: target.GetHost(), port: target.GetPort(), dialTime: p.limits.dial,
	}
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_QUICK {
		s.dialTime = p.limits.quickDial
	}
	if s.host == "" {
		s.host = target.GetAddress()
	}
	if address := target.GetAddress(); address != "" && address != s.host {
		addr, err := netip.ParseAddr(address)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "read target address")
		}
		if err := s.session.Pin(s.host, addr); err != nil {
			return nil, err
		}
	}
	s.useHTTP(false)
	return s, nil
}

// useHTTP makes the transport, for HTTP/1.1 or for HTTP/2 alone.
func (s *site) useHTTP(two bool) {
	s.close()
	t := s.env.Guard.HTTPTransport(s.session)
	t.DialContext = s.dial
	t.DisableKeepAlives = false
	t.MaxConnsPerHost, t.MaxIdleConnsPerHost = parallel, parallel
	// The first byte has its own time in watched, and who sends it may take a little longer for the rest of the header.
	t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = s.limits.handshake, s.limits.firstByte+s.limits.slowAfter
	t.MaxResponseHeaderBytes = probes.MaxHeaderBytes
	// Before the minimum rate is asked of a connection that has nothing to send.
	t.IdleConnTimeout = s.limits.slowAfter / 2
	t.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // the application behind a bad certificate is looked at all the same
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       everySuite(),
	}
	protocols := new(nethttp.Protocols)
	protocols.SetHTTP1(!two)
	protocols.SetHTTP2(two)
	protocols.SetUnencryptedHTTP2(two)
	t.Protocols = protocols
	s.transport = t
	s.mu.Lock()
	s.http2 = two
	s.mu.Unlock()
}

func everySuite() []uint16 {
	var out []uint16
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, suite := range list {
			out = append(out, suite.ID)
		}
	}
	return out
}

func (s *site) close() {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
}

// dial connects through the session and watches what comes.
func (s *site) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.dialTime)
	defer cancel()
	conn, err := s.session.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.spoke = nil
	if remote, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		s.address = remote.Addr().Unmap().String()
	}
	s.mu.Unlock()
	return &watched{Conn: conn, site: s, since: time.Now()}, nil
}

// watched is a connection that must keep the minimum rate, and whose first bytes are remembered: they tell what is spoken
// where the protocol fails.
type watched struct {
	net.Conn
	site *site

	mu       sync.Mutex
	since    time.Time // the last time we sent something
	received int64
	heard    int
}

// maxSpoke is how many first bytes of a connection are kept: enough for a TLS record, a status line, an HTTP/2 frame.
const maxSpoke = 16

// errSlow says that the peer sends slower than the minimum rate to hold the scanner.
var errSlow = errors.New("tarpit: the server sends less than 64 bytes a second")

// Write starts a new request, whose answer has its time from now on.
func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.since, w.received = time.Now(), 0
	w.limit()
	w.mu.Unlock()
	return w.Conn.Write(b)
}

// limit sets the time by which the next byte has to come: the first one soon, the others so that the rate is kept. The lock is
// held.
func (w *watched) limit() {
	allowed := w.site.limits.firstByte
	if w.received > 0 {
		allowed = w.site.limits.slowAfter + time.Duration(w.received)*time.Second/probes.MinimumRate
	}
	_ = w.Conn.SetReadDeadline(w.since.Add(allowed))
}

// Read reads what comes in time.
func (w *watched) Read(b []byte) (int, error) {
	w.mu.Lock()
	w.limit()
	w.mu.Unlock()
	n, err := w.Conn.Read(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.received += int64(n)
	if w.heard < maxSpoke && n > 0 {
		w.heard += n
		w.site.hear(b[:n])
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() && w.received > 0 {
		w.site.slow.Store(true)
		return n, errSlow
	}
	return n, err
}

func (s *site) hear(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoke = append(s.spoke, b[:min(len(b), maxSpoke-min(len(s.spoke), maxSpoke))]...)
}

// remote is the address that answered.
func (s *site) remote() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address
}

func (s *site) firstBytes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.spoke)
}

// origin is the URL of the site's root in one scheme, with the port left out where it is the scheme's own.
func (s *site) origin(scheme string) *url.URL {
	host := s.host
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	if s.port != map[string]uint32{"http": 80, "https": 443}[scheme] {
		host = net.JoinHostPort(s.host, strconv.FormatUint(uint64(s.port), 10))
	}
	return &url.URL{Scheme: scheme, Host: host, Path: "/"}
}

// errNotHTTP says that the peer answers, but not in HTTP.
var errNotHTTP = errors.New("the answer is not HTTP")

// unreachable turns an error before the first answer into a result, by what the connection said.
func (s *site) unreachable(err error) *probes.Result {
	if s.slow.Load() {
		err = errSlow
	}
	return unreachable(err)
}

func unreachable(err error) *probes.Result {
	switch refusal := (*netguard.RefusedError)(nil); {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errNotHTTP), errors.Is(err, fault.NotFound):
		return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE}
	case errors.Is(err, errSlow):
		return incomplete(modelv1.Outcome_OUTCOME_FAILED, errSlow.Error())
	case errors.As(err, &refusal):
		// Not the whole text: it names the address, and a tenant could ask for the addresses of internal names.
		return incomplete(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "the address may not be connected to: "+refusal.Rule+"; "+refusal.Remedy)
	case errors.Is(err, fault.PermissionDenied), errors.Is(err, fault.Invalid):
		return incomplete(modelv1.Outcome_OUTCOME_NOT_PERMITTED, err.Error())
	case timedOut(err):
		return incomplete(modelv1.Outcome_OUTCOME_FAILED, "no answer in time")
	case closed(err):
		return incomplete(modelv1.Outcome_OUTCOME_FAILED, "the server closes the connection without an answer")
	default:
		return incomplete(modelv1.Outcome_OUTCOME_FAILED, err.Error())
	}
}

func incomplete(outcome modelv1.Outcome, reason string) *probes.Result {
	return &probes.Result{Outcome: outcome, Reason: probes.SafeString(reason, 512)}
}

// closed says that the peer ended the connection instead of answering. net/http has an error of its own, which it does not
// export, for a connection that ends while the request is being written.
func closed(err error) bool {
	if err == nil {
		return false
	}
	return strings.Contains(err.Error(), "server closed idle connection") || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func timedOut(err error) bool {
	var slow net.Error
	return errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &slow) && slow.Timeout())
}
