package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// http2 is the protocol that gRPC negotiates (RFC 9113, section 3.2).
const http2 = "h2"

// Server is how this process takes connections: from services with a certificate of the authorities only.
func (s *Source) Server() *tls.Config {
	c := base()
	// Asked for every connection, so that each sees the files as they are then.
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m, c := s.current(), base()
		c.Certificates = []tls.Certificate{*m.cert}
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = m.roots
		c.VerifyConnection = func(state tls.ConnectionState) error {
			_, err := Services(state.PeerCertificates[0])
			return plain(err)
		}
		return c, nil
	}
	return c
}

// Client is how this process connects to a service: only if the other side's certificate is that service's.
func (s *Source) Client(service string) *tls.Config {
	c := base()
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.current().cert, nil }
	// The standard check compares host names. Here the name is a URI and the address does not matter: VerifyConnection
	// does the same check of the chain and compares the identity.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		err := s.current().isService(state.PeerCertificates, service)
		if err != nil {
			if skipped, ok := s.quiet.speak(time.Now()); ok {
				s.log.Warn("connection given up", "peer", service, "reason", public(err), "not_logged", skipped)
			}
		}
		return plain(err)
	}
	return c
}

// plain keeps a fault's words and drops its code: to whoever calls, a connection that cannot be had is Unavailable.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(public(err))
}

func base() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{http2}, SessionTicketsDisabled: true}
}

// isService checks that a server's chain is good and names the service.
func (m material) isService(chain []*x509.Certificate, service string) error {
	if len(chain) == 0 {
		return fault.New(fault.Unauthenticated, "the server shows no certificate")
	}
	rest := make([][]byte, 0, len(chain))
	for _, c := range chain[1:] {
		rest = append(rest, c.Raw)
	}
	if err := m.verify(chain[0], rest, x509.ExtKeyUsageServerAuth); err != nil {
		return err
	}
	services, err := Services(chain[0])
	if err != nil {
		return err
	}
	if !slices.Contains(services, service) {
		return fault.New(fault.Unauthenticated, "the server is %s and not %s: check RISKPROFILER_PEERS", list(services), URI(service))
	}
	return nil
}

// ClientCredentials are [Source.Client] for gRPC.
func (s *Source) ClientCredentials(service string) credentials.TransportCredentials {
	return credentials.NewTLS(s.Client(service))
}

// ServerCredentials are [Source.Server] for gRPC. Each refused connection is one line in the log, at most one a second.
func (s *Source) ServerCredentials() credentials.TransportCredentials {
	return &serverCredentials{TransportCredentials: credentials.NewTLS(s.Server()), log: s.log, quiet: &s.quiet}
}

type serverCredentials struct {
	credentials.TransportCredentials

	log   *slog.Logger
	quiet *quiet
}

// ServerHandshake takes a connection or says in the log why not.
func (c *serverCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	out, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, io.EOF) { // somebody looked whether the port is open
			level = slog.LevelDebug
		}
		if skipped, ok := c.quiet.speak(time.Now()); ok {
			c.log.Log(context.Background(), level, "connection refused", "remote", conn.RemoteAddr().String(), "reason", refusal(err), "not_logged", skipped)
		}
	}
	return out, info, err
}

// Clone is part of the interface.
func (c *serverCredentials) Clone() credentials.TransportCredentials {
	return &serverCredentials{TransportCredentials: c.TransportCredentials.Clone(), log: c.log, quiet: c.quiet}
}

// Identities are the services that the connection of a served call belongs to. It fails if the call did not come over a
// connection that was proven.
func Identities(ctx context.Context) ([]string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "the caller is not known")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.PeerCertificates) == 0 {
		return nil, fault.New(fault.Unauthenticated, "the caller shows no certificate")
	}
	return Services(info.State.PeerCertificates[0])
}

// refusal is why a handshake failed, as one line.
func refusal(err error) string {
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) && len(bad.UnverifiedCertificates) > 0 {
		return explain(bad.UnverifiedCertificates[0], bad.Err)
	}
	return strings.TrimPrefix(public(err), "tls: ")
}

// explain says what is wrong with a certificate.
func explain(leaf *x509.Certificate, err error) string {
	whose := "the certificate"
	if services, e := Services(leaf); e == nil {
		whose += " of " + list(services)
	}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != leaf:
		return whose + " is of an authority whose own certificate has expired or is not valid yet"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(leaf.NotBefore):
		return whose + " is not valid before " + leaf.NotBefore.UTC().Format(time.RFC3339)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return whose + " expired on " + leaf.NotAfter.UTC().Format(time.RFC3339)
	case errors.As(err, &unknown):
		return whose + " is not of an authority that is believed here"
	}
	return whose + ": " + strings.TrimPrefix(err.Error(), "x509: ")
}

// public are the words of a fault, or those of any other error.
func public(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Public()
	}
	return err.Error()
}

func list(services []string) string {
	var out []string
	for _, s := range services {
		out = append(out, URI(s).String())
	}
	return strings.Join(out, " and ")
}

// quiet lets one line a second through: whoever can connect could fill the log otherwise.
type quiet struct {
	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (q *quiet) speak(now time.Time) (skipped int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.last) < time.Second {
		q.skipped++
		return 0, false
	}
	skipped, q.skipped, q.last = q.skipped, 0, now
	return skipped, true
}
