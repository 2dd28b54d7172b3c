package tls

import (
	"context"
	stdtls "crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// survey collects what a server offers. The fields behind mu are written by several connections at once.
type survey struct {
	end *endpoint

	mu       sync.Mutex
	versions map[uint16]bool
	suites   []uint16 // in the order seen
	classes  class
	alpn     []string
	chain    [][]byte
	stapled  bool
	scts     int
	// missed says what could not be seen, empty if nothing.
	missed string
}

// greet finds a hello that the server answers with a ServerHello: the newest first, then what old servers need, of which some
// hang up on anything they do not know instead of choosing an older version.
func (e *endpoint) greet(ctx context.Context) (answer, error) {
	var alert alertError
	var failure, refusal error
	for _, version := range []uint16{versionTLS13, versionTLS12, versionTLS10, versionSSL3} {
		offered := oldSuites()
		if version == versionTLS13 {
			offered = append(suites13(), offered...)
		}
		got, err := e.ask(ctx, hello{version: version, suites: offered}, true)
		switch {
		case err == nil:
			return got, nil
		case errors.As(err, &alert):
			refusal = fmt.Errorf("%w: %w", errRefused, err)
		case closed(err):
			failure = err
		default: // nothing listens, it is not TLS, or it does not answer: an older version changes nothing
			return answer{}, err
		}
	}
	if refusal != nil {
		return answer{}, refusal
	}
	return answer{}, failure
}

// survey asks for everything the first answer left open, parallel connections at a time.
func (e *endpoint) survey(ctx context.Context, first answer, deep bool) *survey {
	s := &survey{end: e, versions: make(map[uint16]bool)}
	s.note(first)
	var tasks []func(context.Context)
	for _, version := range []uint16{versionTLS11, versionTLS10, versionSSL3} {
		if version != first.version {
			tasks = append(tasks, func(ctx context.Context) { s.try(ctx, version, oldSuites()) })
		}
	}
	tasks = append(tasks, func(ctx context.Context) { s.below13(ctx, first) }, s.details)
	run(ctx, tasks)
	s.legacy(ctx)
	if deep {
		s.everySuite(ctx)
	}
	return s
}

// run runs the tasks, at most parallel at a time, and waits for them. A panic in one of them goes on in the caller, where the
// scanner catches it.
func run(ctx context.Context, tasks []func(context.Context)) {
	var all sync.WaitGroup
	var once sync.Once
	var caught any
	slots := make(chan struct{}, parallel)
	for _, task := range tasks {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			defer func() {
				if v := recover(); v != nil {
					once.Do(func() { caught = v })
				}
			}()
			task(ctx)
		})
	}
	all.Wait()
	if caught != nil {
		panic(caught)
	}
}

// try offers one version, with suites, and notes what the server makes of it. It says whether the server chose that version.
// Silence is tried twice: a lost packet is no refusal.
func (s *survey) try(ctx context.Context, version uint16, offered []uint16) (answer, bool) {
	if len(offered) == 0 {
		return answer{}, false
	}
	var err error
	for range 2 {
		var got answer
		got, err = s.end.ask(ctx, hello{version: version, suites: offered}, !s.hasChain())
		if err == nil {
			s.note(got)
			return got, got.version == version
		}
		if alert := (alertError{}); errors.As(err, &alert) || closed(err) || errors.Is(err, errNotTLS) {
			return answer{}, false
		}
		if ctx.Err() != nil {
			break
		}
	}
	s.miss(versionName(version), err)
	return answer{}, false
}

// below13 offers TLS 1.2 and finds out which classes of suites the server accepts in the newest version below TLS 1.3.
func (s *survey) below13(ctx context.Context, first answer) {
	if first.version < versionTLS13 {
		s.eliminate(ctx, first.version, ^class(0))
		return
	}
	if got, ok := s.try(ctx, versionTLS12, oldSuites()); ok {
		s.eliminate(ctx, got.version, ^class(0))
	}
}

// legacy finds out about the classes that a server may keep for its oldest version.
func (s *survey) legacy(ctx context.Context) {
	var spoken []uint16
	for _, v := range versions {
		if s.versions[v.number] && v.number < versionTLS13 {
			spoken = append(spoken, v.number)
		}
	}
	if len(spoken) > 1 {
		s.eliminate(ctx, spoken[0], legacyClasses)
	}
}

// eliminate offers, in one version, all suites of the wanted classes that have not been accepted yet, until the server refuses
// or every class is known. Each answer settles at least one class, so it takes at most one hello for each and one more.
func (s *survey) eliminate(ctx context.Context, version uint16, wanted class) {
	for range len(classNames) + 2 {
		s.mu.Lock()
		open := wanted &^ s.classes
		s.mu.Unlock()
		offered := suitesWith(open)
		if len(offered) == 0 {
			return
		}
		got, ok := s.try(ctx, version, offered)
		if chosen, known := suiteOf(got.suite); !ok || !known || chosen.classes()&open == 0 {
			return
		}
	}
}

// everySuite lists each suite that the server accepts in each of its versions, by taking away the one it chose last.
func (s *survey) everySuite(ctx context.Context) {
	var tasks []func(context.Context)
	for _, v := range versions {
		if !s.versions[v.number] {
			continue
		}
		left := oldSuites()
		if v.number == versionTLS13 {
			left = suites13()
		}
		tasks = append(tasks, func(ctx context.Context) {
			for {
				got, ok := s.try(ctx, v.number, left)
				at := slices.Index(left, got.suite)
				if !ok || at < 0 {
					return
				}
				left = slices.Delete(left, at, at+1)
			}
		})
	}
	run(ctx, tasks)
}

// details completes handshakes for what TLS 1.3 says under encryption: the chain, stapling, SCTs and the ALPN protocols.
func (s *survey) details(ctx context.Context) {
	offered := []string{"h2", "http/1.1"}
	if s.end.protocol != "" {
		offered = nil // no ALPN behind STARTTLS
	}
	for {
		state, err := s.end.handshake(ctx, offered)
		if err != nil && len(offered) == 2 {
			// RFC 7301 section 3.2: a server may refuse a client that names none of its protocols.
			state, err = s.end.handshake(ctx, nil)
		}
		if err != nil || state == nil {
			return // the chain may still come from the clear text of an older version
		}
		s.noteState(state)
		at := slices.Index(offered, state.NegotiatedProtocol)
		if at < 0 || len(offered) == 1 {
			return
		}
		offered = slices.Delete(slices.Clone(offered), at, at+1)
	}
}

// note takes an answer into the survey.
func (s *survey) note(got answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got.version < versionSSL3 || got.version > versionTLS13 {
		return // no version that we offered
	}
	s.versions[got.version] = true
	s.noteSuite(got.suite)
	if len(s.chain) == 0 {
		s.chain = got.chain
	}
	s.stapled = s.stapled || got.stapled
	s.scts = max(s.scts, got.scts)
}

func (s *survey) noteSuite(id uint16) {
	if chosen, known := suiteOf(id); known && !slices.Contains(s.suites, id) {
		s.suites = append(s.suites, id)
		s.classes |= chosen.classes()
	}
}

func (s *survey) noteState(state *stdtls.ConnectionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[state.Version] = true
	s.noteSuite(state.CipherSuite)
	if chain := rawChain(state.PeerCertificates); len(chain) > 0 {
		s.chain = chain
	}
	s.stapled = s.stapled || len(state.OCSPResponse) > 0
	s.scts = max(s.scts, len(state.SignedCertificateTimestamps))
	if p := state.NegotiatedProtocol; p != "" && !slices.Contains(s.alpn, p) {
		s.alpn = append(s.alpn, probes.SafeString(p, 32))
	}
}

func (s *survey) miss(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missed != "" {
		return
	}
	reason := unreachable(err).Reason
	if reason == "" {
		reason = "the port closed during the scan"
	}
	s.missed = what + " could not be tested: " + reason
}

func (s *survey) hasChain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.chain) > 0
}

// anonymous says that the server only ever chose suites without a certificate.
func (s *survey) anonymous() bool {
	for _, id := range s.suites {
		if chosen, _ := suiteOf(id); chosen.classes()&classAnon == 0 {
			return false
		}
	}
	return len(s.suites) > 0
}

// fact writes down all but the certificates.
func (s *survey) fact() *modelv1.TlsFact {
	out := &modelv1.TlsFact{
		CipherClasses: s.classes.names(), ForwardSecrecy: s.classes&classForwardSecret != 0,
		Alpn: s.alpn, OcspStapled: s.stapled,
	}
	for _, v := range versions {
		if s.versions[v.number] {
			out.Versions = append(out.Versions, v.name)
		}
	}
	slices.Sort(s.suites)
	for _, id := range s.suites {
		chosen, _ := suiteOf(id)
		out.Ciphers = append(out.Ciphers, chosen.name)
	}
	slices.Sort(out.Alpn)
	return out
}

// evidence is the chain as sent, in PEM.
func (s *survey) evidence() []byte {
	var out []byte
	for _, der := range s.chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// excerpt is the evidence in one line for people.
func excerpt(fact *modelv1.TlsFact) string {
	text := fmt.Sprintf("%s; %s", strings.Join(fact.GetVersions(), ", "), strings.Join(fact.GetCiphers(), ", "))
	if len(fact.GetChain()) > 0 {
		leaf := fact.GetChain()[0]
		text += fmt.Sprintf("; certificate %s from %s, valid until %s, SHA-256 %s", leaf.GetSubject(), leaf.GetIssuer(),
			leaf.GetNotAfter().AsTime().Format("2006-01-02"), leaf.GetSha256())
	}
	return probes.SafeString(text, probes.MaxExcerptRunes)
}

func versionName(number uint16) string {
	for _, v := range versions {
		if v.number == number {
			return v.name
		}
	}
	return fmt.Sprintf("version %#04x", number)
}
