package tls

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxHandshakeBytes bounds what is read of a connection that crypto/tls leads: the chain, and tickets behind it. Whoever sends
// key updates or tickets without end meets this bound, crypto/tls's own, or the deadline.
const maxHandshakeBytes = 256 << 10

// shake is a handshake to be completed with crypto/tls.
type shake struct {
	protocols []string
	newest    uint16
	suites    []uint16 // nil for all that crypto/tls has
	cache     stdtls.ClientSessionCache
	// after is called when the handshake is complete, with the bytes read so far recorded.
	after func(*stdtls.Conn, *shaken)
}

// shaken is what came of it.
type shaken struct {
	state    *stdtls.ConnectionState
	conn     *recorder
	secrets  secrets
	wanted   bool // the server asked for a certificate
	required bool // and refused the connection without one
}

// recorder keeps what is read of a connection, and bounds it.
type recorder struct {
	net.Conn
	read, written []byte
}

// Write writes, and keeps the first hello.
func (r *recorder) Write(b []byte) (int, error) {
	if len(r.written) == 0 {
		r.written = bytes.Clone(b)
	}
	return r.Conn.Write(b)
}

// Read reads, and fails with errCut behind maxHandshakeBytes.
func (r *recorder) Read(b []byte) (int, error) {
	if len(r.read) >= maxHandshakeBytes {
		return 0, errCut
	}
	n, err := r.Conn.Read(b)
	r.read = append(r.read, b[:n]...)
	return n, err
}

// secrets takes the lines of a key log (https://www.ietf.org/archive/id/draft-ietf-tls-keylogfile-05.html): label to secret.
// They are keys of the probe's own connection.
type secrets map[string][]byte

// Write takes one line.
func (s secrets) Write(line []byte) (int, error) {
	if fields := strings.Fields(string(line)); len(fields) == 3 {
		if secret, err := hex.DecodeString(fields[2]); err == nil {
			s[fields[0]] = secret
		}
	}
	return len(line), nil
}

// tickets is a session cache that keeps the last session.
type tickets struct {
	mu   sync.Mutex
	last *stdtls.ClientSessionState
}

// Get returns the session kept.
func (t *tickets) Get(string) (*stdtls.ClientSessionState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.last != nil
}

// Put keeps a session; nil takes it back.
func (t *tickets) Put(_ string, session *stdtls.ClientSessionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = session
}

// handshake completes a handshake on a new connection. The state is returned as soon as it is known, also where the handshake
// then fails, as it does with a server that wants a client certificate.
func (e *endpoint) handshake(ctx context.Context, s shake) (*shaken, error) {
	out := &shaken{secrets: make(secrets)}
	err := e.converse(ctx, func(raw net.Conn) error {
		out.conn = &recorder{Conn: raw}
		conn := stdtls.Client(out.conn, s.config(e.name, out))
		err := conn.HandshakeContext(ctx)
		if err == nil && s.after != nil {
			s.after(conn, out)
		}
		out.required = out.required || (out.wanted && refusedByPeer(err))
		return err
	})
	if out.state == nil && err == nil {
		err = errNotTLS
	}
	if out.state == nil {
		return nil, err
	}
	return out, nil
}

func (s shake) config(name string, out *shaken) *stdtls.Config {
	config := &stdtls.Config{
		InsecureSkipVerify: true, //nolint:gosec // the aim is to see bad certificates; they are judged afterwards
		MinVersion:         stdtls.VersionTLS10,
		MaxVersion:         s.newest,
		ServerName:         name,
		NextProtos:         s.protocols,
		CipherSuites:       s.suites,
		KeyLogWriter:       out.secrets,
		ClientSessionCache: s.cache,
		VerifyConnection: func(state stdtls.ConnectionState) error {
			out.state = &state
			return nil
		},
		GetClientCertificate: func(*stdtls.CertificateRequestInfo) (*stdtls.Certificate, error) {
			out.wanted = true
			return &stdtls.Certificate{}, nil
		},
	}
	if config.CipherSuites == nil {
		config.CipherSuites = everyStandardSuite()
	}
	return config
}

// everyStandardSuite lists the suites below TLS 1.3 that crypto/tls has, weak ones included.
func everyStandardSuite() []uint16 {
	var out []uint16
	for _, list := range [][]*stdtls.CipherSuite{stdtls.CipherSuites(), stdtls.InsecureCipherSuites()} {
		for _, s := range list {
			out = append(out, s.ID)
		}
	}
	return out
}

// refusedByPeer says that the peer ended the connection with an alert.
func refusedByPeer(err error) bool {
	var alert stdtls.AlertError
	var operation *net.OpError
	return errors.As(err, &alert) || (errors.As(err, &operation) && operation.Op == "remote error")
}

// rawChain is the chain of a handshake as sent, within the bounds of the probe.
func rawChain(certificates []*x509.Certificate) [][]byte {
	var out [][]byte
	for _, c := range certificates {
		if len(out) < maxChain && len(c.Raw) <= maxCertificate {
			out = append(out, c.Raw)
		}
	}
	return out
}

// Protocols offered for ALPN (IANA registry TLS ALPN Protocol IDs); quickly those of the web only. acme-tls/1 is left out: who
// has it in hand speaks nothing else.
var (
	webProtocols = []string{"h2", "http/1.1"}
	allProtocols = []string{
		"h2", "http/1.1", "http/1.0", "http/0.9", "spdy/3.1", "imap", "pop3", "ftp", "managesieve", "nntp", "xmpp-client", "xmpp-server",
		"postgresql", "mqtt", "dot", "sip/2", "irc", "stun.turn", "tds/8.0",
	}
)

// maxProtocols bounds the handshakes for ALPN.
const maxProtocols = 6

// details completes handshakes for what TLS 1.3 says under encryption: the chain, stapling, SCTs, the ALPN protocols and the
// tickets.
func (s *survey) details(ctx context.Context) {
	offered := webProtocols
	if s.depth != quick {
		offered = allProtocols
	}
	if s.end.protocol != "" {
		offered = nil // no ALPN behind STARTTLS
	}
	cache := &tickets{}
	for i := range maxProtocols {
		attempt := shake{protocols: offered, cache: cache}
		if i == 0 {
			attempt.after = s.drain
		}
		got, err := s.end.handshake(ctx, attempt)
		if err != nil && i == 0 && len(offered) > 0 {
			// RFC 7301 section 3.2: a server may refuse a client that names none of its protocols.
			attempt.protocols = nil
			offered = nil
			got, err = s.end.handshake(ctx, attempt)
		}
		if err != nil || got == nil {
			return // the chain may still come from the clear text of an older version
		}
		s.noteState(got)
		at := slices.Index(offered, got.state.NegotiatedProtocol)
		if at < 0 || len(offered) == 1 || s.depth == quick && i == 1 {
			s.resumeOnce(ctx, cache, i)
			return
		}
		offered = slices.Delete(slices.Clone(offered), at, at+1)
	}
}

// resumeOnce makes one more handshake, where none was made yet that could have taken up a session of TLS 1.3.
func (s *survey) resumeOnce(ctx context.Context, cache *tickets, made int) {
	if _, kept := cache.Get(""); !kept || made > 0 || s.depth == quick {
		return
	}
	if got, err := s.end.handshake(ctx, shake{cache: cache}); err == nil {
		s.noteState(got)
	}
}

// drain waits for the tickets of TLS 1.3 and reads them. They come with the server's end of the handshake, and the probe's
// close_notify makes most servers close at once.
func (s *survey) drain(conn *stdtls.Conn, got *shaken) {
	if conn.ConnectionState().Version != stdtls.VersionTLS13 || s.depth == quick {
		return
	}
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(s.end.settle))
	discard := make([]byte, 1<<10)
	for {
		if _, err := conn.Read(discard); err != nil {
			got.required = got.wanted && refusedByPeer(err)
			break
		}
	}
	found := tickets13(got.conn.read, got.secrets["SERVER_TRAFFIC_SECRET_0"], conn.ConnectionState().CipherSuite)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range found {
		s.session.Tickets++
		s.session.PskSeconds = max(s.session.GetPskSeconds(), t.seconds)
		s.session.EarlyDataBytes = max(s.session.GetEarlyDataBytes(), t.earlyData)
	}
}

func (s *survey) noteState(got *shaken) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := got.state
	s.versions[state.Version] = true
	s.noteSuite(state.Version, state.CipherSuite)
	if chain := rawChain(state.PeerCertificates); len(chain) > 0 && !state.DidResume {
		s.chain, s.chainLength = chain, len(state.PeerCertificates)
	}
	if raw := state.OCSPResponse; len(raw) > 0 && len(raw) <= maxStaple {
		s.staple = raw
	}
	if list := state.SignedCertificateTimestamps; len(list) > 0 {
		s.scts = list[:min(len(list), maxSCTs)]
	}
	if p := state.NegotiatedProtocol; p != "" && !slices.Contains(s.alpn, p) {
		s.alpn = append(s.alpn, probes.SafeString(p, 32))
	}
	if state.DidResume && state.Version == stdtls.VersionTLS13 {
		s.session.PskResumed = true
	}
	switch {
	case got.required:
		s.behaviour.ClientCertificate = certificateRequired
	case got.wanted && s.behaviour.GetClientCertificate() == "":
		s.behaviour.ClientCertificate = certificateWanted
	}
}

// sessionsClear finds out how sessions below TLS 1.3 can be taken up again, and whether a client may renegotiate.
func (s *survey) sessionsClear(ctx context.Context) {
	version := s.newestClear()
	if version < versionTLS10 {
		return
	}
	suites := s.accepted(version, func(c suite) bool { return slices.Contains(everyStandardSuite(), c.id) })
	if len(suites) == 0 {
		return
	}
	if sealed := s.accepted(version, func(c suite) bool { return slices.Contains(suites, c.id) && canSeal(version, c.id) }); len(sealed) > 0 {
		suites = sealed
	}
	cache := &tickets{}
	first, err := s.end.handshake(ctx, shake{newest: version, suites: suites, cache: cache, after: s.renegotiate})
	if err != nil {
		return
	}
	s.noteState(first)
	s.takeUpTicket(ctx, cache, first, version)
	s.takeUpID(ctx, version, suites)
}

// takeUpTicket shows the ticket to the server, with a session id of one byte: who takes the ticket sends that byte back. A server
// with CVE-2016-9244 sends 31 bytes of its memory more, which are counted and not kept.
func (s *survey) takeUpTicket(ctx context.Context, cache *tickets, first *shaken, version uint16) {
	session, _ := cache.Get("")
	if session == nil {
		return
	}
	ticket, _, err := session.ResumptionState()
	if err != nil || len(ticket) == 0 {
		return
	}
	id := []byte{0x5a}
	got, err := s.end.ask(ctx, hello{version: version, suites: []uint16{first.state.CipherSuite}, sessionID: id, ticket: ticket}, false)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.TicketSeconds = ticketSeconds(first.conn.read)
	s.session.TicketResumed = bytes.Equal(got.sessionID, id)
	s.behaviour.SessionIdOverread = yesNo(len(got.sessionID) > len(id) && got.sessionID[0] == id[0] && first.state.Version < versionTLS13)
}

// takeUpID shows the id of a session to the server: who still has the session sends it back.
func (s *survey) takeUpID(ctx context.Context, version uint16, suites []uint16) {
	first, err := s.end.handshake(ctx, shake{newest: version, suites: suites})
	if err != nil {
		return
	}
	said, err := readAnswer(bytes.NewReader(first.conn.read), false)
	if err != nil || len(said.sessionID) == 0 {
		return
	}
	got, err := s.end.ask(ctx, hello{version: version, suites: []uint16{first.state.CipherSuite}, sessionID: said.sessionID}, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.IdResumed = err == nil && bytes.Equal(got.sessionID, said.sessionID)
}
