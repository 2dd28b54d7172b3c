package service

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// prober looks at one port.
type prober struct {
	env       probes.Env
	connect   func(ctx context.Context, network, address string) (net.Conn, error) // of one session: one address for all
	reach     string                                                               // address, or name, to connect to
	host      string                                                               // name to present; empty for a plain address
	port      uint16
	transport modelv1.Transport
	courtesy  *probes.Courtesy // nil in tests that have no host to be polite to
	patience  patience
	thorough  bool // also asks for protocols that are not usual on the port, and for more of those that answer
}

// dial connects, in clear text.
func (p *prober) dial(ctx context.Context) (net.Conn, error) { return p.dialPort(ctx, p.port) }

// dialPort connects to a port of the same host: the scan's own, or one that the service named.
func (p *prober) dialPort(ctx context.Context, port uint16) (net.Conn, error) {
	if err := p.env.TakePermits(ctx, p.reach, 1); err != nil {
		return nil, fmt.Errorf("take permits for %s: %w", p.reach, err)
	}
	dialing, cancel := context.WithTimeout(ctx, p.patience.dial)
	defer cancel()
	conn, err := p.connect(dialing, "tcp", net.JoinHostPort(p.reach, strconv.Itoa(int(port))))
	if err != nil && p.courtesy != nil {
		// Only connections that break off before a word was said: services hang up on strange words, and that asks for nothing.
		p.courtesy.Failed(ctx, err)
	}
	return conn, err
}

// dialTLS connects and shakes hands. spoke says whether the service answered with TLS, though the handshake may have failed.
func (p *prober) dialTLS(ctx context.Context) (conn net.Conn, spoke bool, err error) {
	plain, err := p.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	peek := &firstBytes{Conn: plain}
	client := tls.Client(peek, p.tlsConfig())
	shaking, cancel := context.WithTimeout(ctx, p.patience.step)
	defer cancel()
	if err := client.HandshakeContext(shaking); err != nil {
		_ = plain.Close()
		return nil, peek.isTLS(), fmt.Errorf("shake hands: %w", err)
	}
	return client, true, nil
}

// tlsConfig accepts what it can: what is wrong with the certificate, version or cipher is for the TLS scan to say.
func (p *prober) tlsConfig() *tls.Config {
	var suites []uint16
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		suites = append(suites, suite.ID)
	}
	return &tls.Config{
		ServerName:         p.host,
		InsecureSkipVerify: true, //nolint:gosec // G402: nothing is trusted here, and nothing secret is sent.
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       suites,
	}
}

// firstBytes remembers how the first answer begins.
type firstBytes struct {
	net.Conn
	mu   sync.Mutex
	head []byte
}

func (f *firstBytes) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.head) < 3 && n > 0 {
		f.head = append(f.head, b[:min(n, 3-len(f.head))]...)
	}
	return n, err
}

// isTLS says whether the answer begins like a TLS record: handshake or alert, version 3.x (RFC 8446 section 5.1).
func (f *firstBytes) isTLS() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.head) >= 3 && (f.head[0] == 0x16 || f.head[0] == 0x15) && f.head[1] == 3 && f.head[2] <= 4
}

// found is what one exchange, or all of them, learned.
type found struct {
	fact      *modelv1.ServiceFact // nil: nothing
	weak      bool                 // keeps looking: something better may be found
	hint      string               // name of a protocol that the answer sounded like
	web       bool                 // spoken over HTTP
	raw       []byte
	truncated bool
	shut      bool  // the service hung up at once, without a word
	err       error // why the connection was not made
}

// talk is one exchange: a connection, and the means to make another like it.
type talk struct {
	*line
	prober *prober
	secure bool     // inside TLS
	hint   string   // see found
	weak   bool     // see found
	web    bool     // see found
	extra  [][]byte // what further connections received
}

// another makes a further connection of the same kind. The caller closes it with done.
func (t *talk) another() (*talk, error) {
	l, err := t.prober.open(t.ctx, t.secure)
	if err != nil {
		return nil, err
	}
	return &talk{line: l, prober: t.prober, secure: t.secure}, nil
}

// done closes a further connection and keeps what it received as evidence.
func (t *talk) done(other *talk) {
	other.close()
	t.extra = append(t.extra, other.raw)
}

// open connects, in clear text or with TLS.
func (p *prober) open(ctx context.Context, secure bool) (*line, error) {
	var conn net.Conn
	var err error
	if secure {
		conn, _, err = p.dialTLS(ctx)
	} else {
		conn, err = p.dial(ctx)
	}
	if err != nil {
		return nil, err
	}
	return newLine(ctx, conn, p.patience), nil
}

// found sums the exchange up.
func (t *talk) found(fact *modelv1.ServiceFact) found {
	f := found{fact: fact, weak: t.weak, hint: t.hint, web: t.web, raw: t.raw, truncated: t.truncated}
	for _, more := range t.extra {
		if len(f.raw)+len(more) > probes.MaxBannerBytes {
			f.truncated = true
			break
		}
		f.raw = slices.Concat(f.raw, more)
	}
	if t.crawls {
		if f.fact == nil {
			f.fact = named("unknown")
		}
		f.fact.Tarpit = true
	}
	if fact := f.fact; fact != nil && fact.GetBanner() == "" {
		fact.Banner = probes.SafeText(f.raw, maxBanner)
	}
	return f
}

func named(name string) *modelv1.ServiceFact { return &modelv1.ServiceFact{Name: name} }
