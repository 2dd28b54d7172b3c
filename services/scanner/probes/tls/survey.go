package tls

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// depth is how far a survey goes.
type depth int

const (
	// quick tells versions, classes of suites and the certificate.
	quick depth = iota
	// standard lists every suite, the groups, the sessions and how the server behaves.
	standard
	// deep also lists signature algorithms and tries what takes many connections.
	deep
)

func depthOf(profile modelv1.Profile) depth {
	switch profile {
	case modelv1.Profile_PROFILE_QUICK:
		return quick
	case modelv1.Profile_PROFILE_DEEP:
		return deep
	}
	return standard
}

// survey collects what a server offers. The fields behind mu are written by several connections at once.
type survey struct {
	end   *endpoint
	depth depth

	mu       sync.Mutex
	versions map[uint16]bool
	// suites by version in the order seen; listed says that they are all.
	suites map[uint16][]uint16
	listed map[uint16]bool
	// ordered says that the server's order decides.
	ordered map[uint16]bool
	ssl2    *answer2
	classes class

	alpn        []string
	chain       [][]byte
	chainLength int
	staple      []byte
	scts        [][]byte
	exchange    *modelv1.TlsKeyExchange
	session     *modelv1.TlsSession
	behaviour   *modelv1.TlsBehaviour
	jarm        string
	// missed says what could not be seen, empty if nothing.
	missed string
}

func newSurvey(end *endpoint, d depth) *survey {
	return &survey{
		end: end, depth: d, versions: make(map[uint16]bool), suites: make(map[uint16][]uint16), listed: make(map[uint16]bool),
		ordered: make(map[uint16]bool), exchange: &modelv1.TlsKeyExchange{}, session: &modelv1.TlsSession{}, behaviour: &modelv1.TlsBehaviour{},
	}
}

// greet finds a hello that the server answers with a ServerHello: the newest first, then what old servers need, of which some
// hang up on anything they do not know instead of choosing an older version, and some on too many suites.
func (e *endpoint) greet(ctx context.Context) (answer, error) {
	var alert alertError
	var failure, refusal error
	common := suitesFor(versionTLS12)[0]
	for _, attempt := range []hello{
		{version: versionTLS13, suites: append(suites13(), common...)}, {version: versionTLS12, suites: oldSuites()},
		{version: versionTLS10, suites: common}, {version: versionSSL3, suites: common},
	} {
		got, err := e.ask(ctx, attempt, true)
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
func (e *endpoint) survey(ctx context.Context, first answer, d depth) *survey {
	s := newSurvey(e, d)
	s.note(first)
	if d == quick {
		s.outline(ctx, first)
	} else {
		s.everything(ctx)
	}
	return s
}

// outline is the survey of the quick profile: which versions, and which classes of suites.
func (s *survey) outline(ctx context.Context, first answer) {
	var tasks []func(context.Context)
	for _, version := range []uint16{versionTLS11, versionTLS10, versionSSL3} {
		if version != first.version {
			tasks = append(tasks, func(ctx context.Context) { s.try(ctx, version, oldSuites()) })
		}
	}
	run(ctx, append(tasks, func(ctx context.Context) { s.below13(ctx, first) }, s.details, s.tryVersion2))
	s.legacy(ctx)
}

// everything is the survey of the other profiles: first what is offered, then what can be asked only by somebody who knows it.
func (s *survey) everything(ctx context.Context) {
	tasks := []func(context.Context){s.details, s.tryVersion2}
	for _, v := range slices.Backward(versions) {
		if v.number >= versionSSL3 {
			tasks = append(tasks, func(ctx context.Context) { s.enumerate(ctx, v.number) })
		}
	}
	run(ctx, tasks)
	run(ctx, s.secondWave())
	s.oddities(ctx) // what could upset the server a little comes last
}

// run runs the tasks, at most parallel at a time, and waits for them. A panic in one of them goes on in the caller, where the
// scanner catches it.
func run(ctx context.Context, tasks []func(context.Context)) {
	all := together.Limit(parallel)
	for _, task := range tasks {
		all.Go(func() { task(ctx) })
	}
	all.Wait()
}

// try offers one version, with suites, and notes what the server makes of it. It says whether the server chose that version.
func (s *survey) try(ctx context.Context, version uint16, offered []uint16) (answer, bool) {
	if len(offered) == 0 {
		return answer{}, false
	}
	got, err := s.ask(ctx, hello{version: version, suites: offered}, !s.hasChain())
	if err != nil {
		return answer{}, false
	}
	return got, got.version == version
}

// ask sends a hello and notes the answer. Silence is tried twice, for a lost packet is no refusal; if it lasts, it is written
// down that the version could not be tested.
func (s *survey) ask(ctx context.Context, h hello, whole bool) (answer, error) {
	var got answer
	var err error
	for range 2 {
		if got, err = s.end.ask(ctx, h, whole); err == nil {
			s.note(got)
			return got, nil
		}
		if alert := (alertError{}); errors.As(err, &alert) || closed(err) || errors.Is(err, errNotTLS) {
			return answer{}, err
		}
		if ctx.Err() != nil {
			break
		}
	}
	s.miss(versionName(h.version), err)
	return answer{}, err
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
	if spoken := s.spoken(); len(spoken) > 1 && spoken[0] < versionTLS12 {
		s.eliminate(ctx, spoken[0], legacyClasses)
	}
}

// spoken lists the versions seen from SSLv3 on, oldest first.
func (s *survey) spoken() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []uint16
	for _, v := range versions {
		if s.versions[v.number] && v.number >= versionSSL3 {
			out = append(out, v.number)
		}
	}
	return out
}

// newestClear is the newest version spoken whose handshake is in the clear, 0 for none.
func (s *survey) newestClear() uint16 {
	for _, v := range slices.Backward(s.spoken()) {
		if v < versionTLS13 {
			return v
		}
	}
	return 0
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

// enumerate lists each suite that the server accepts in a version, by taking away the one it chose last: as many hellos as
// suites, and one or two more.
func (s *survey) enumerate(ctx context.Context, version uint16) {
	var list []uint16
	for _, left := range suitesFor(version) {
		for len(left) > 0 {
			got, ok := s.try(ctx, version, left)
			at := slices.Index(left, got.suite)
			if !ok || at < 0 {
				break
			}
			list = append(list, got.suite)
			left = slices.Delete(left, at, at+1)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(list) > 0 {
		s.suites[version], s.listed[version] = list, ctx.Err() == nil
	}
}

// tryVersion2 asks for SSLv2, whose one answer says all.
func (s *survey) tryVersion2(ctx context.Context) {
	got, err := s.end.ask2(ctx)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[versionSSL2], s.ssl2 = true, &got
	if len(s.chain) == 0 && len(got.certificate) > 0 {
		s.chain, s.chainLength = [][]byte{got.certificate}, 1
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
	s.noteSuite(got.version, got.suite)
	if len(s.chain) == 0 {
		s.chain, s.chainLength = got.chain, got.chainLength
	}
	if len(s.staple) == 0 {
		s.staple = got.staple
	}
	if len(s.scts) == 0 {
		s.scts = got.scts
	}
	if got.version < versionTLS13 {
		s.behaviour.SecureRenegotiation = yesNo(got.renegotiation)
		if got.version > versionSSL3 && s.behaviour.ExtendedMasterSecret != wordYes {
			s.behaviour.ExtendedMasterSecret = yesNo(got.extendedMaster)
		}
	}
	if got.wantsCertificate && s.behaviour.ClientCertificate == "" {
		s.behaviour.ClientCertificate = certificateWanted
	}
	s.noteExchange(got)
}

func (s *survey) noteSuite(version, id uint16) {
	if chosen, known := suiteOf(id); known && !slices.Contains(s.suites[version], id) {
		s.suites[version] = append(s.suites[version], id)
		s.classes |= chosen.classes()
	}
}

// noteExchange keeps the weakest of the keys seen. An anonymous exchange does not count: it protects against nobody who could
// be in the middle, and OpenSSL takes shorter primes for it.
func (s *survey) noteExchange(got answer) {
	chosen, _ := suiteOf(got.suite)
	if chosen.classes()&classAnon != 0 {
		return
	}
	export := chosen.classes()&classExport != 0
	if p := got.exchange.prime; p != nil {
		bits := uint32(p.BitLen())
		switch {
		case export && (s.exchange.GetDhExportBits() == 0 || bits < s.exchange.GetDhExportBits()):
			s.exchange.DhExportBits = bits
		case !export && (s.exchange.GetDhBits() == 0 || bits < s.exchange.GetDhBits()):
			s.exchange.DhBits, s.exchange.DhPrime = bits, primeName(p)
		}
	}
	if export && got.exchange.rsaBits > 0 {
		s.exchange.RsaExportBits = uint32(got.exchange.rsaBits)
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
	count := 0
	for _, list := range s.suites {
		for _, id := range list {
			chosen, _ := suiteOf(id)
			switch chosen.keyExchange() {
			case "psk", "dhe-psk", "ecdhe-psk", "srp", "krb5":
			default:
				if chosen.classes()&classAnon == 0 {
					return false
				}
			}
			count++
		}
	}
	return count > 0
}

// fact writes down all but the certificates.
func (s *survey) fact() *modelv1.TlsFact {
	out := &modelv1.TlsFact{
		Alpn: s.alpn, OcspStapled: len(s.staple) > 0, KeyExchange: s.exchange, Session: s.session, Behaviour: s.behaviour,
		ChainLength: uint32(s.chainLength), Jarm: s.jarm, Connections: uint32(s.end.opened.Load()),
	}
	classes := s.classes
	names := make(map[string]bool)
	for _, v := range versions {
		if !s.versions[v.number] {
			continue
		}
		out.Versions = append(out.Versions, v.name)
		protocol := &modelv1.TlsProtocol{Version: v.name, ServerOrder: s.ordered[v.number], Complete: s.listed[v.number]}
		if v.number == versionSSL2 {
			var weak class
			protocol, weak = s.ssl2.fact()
			classes |= weak
		}
		for _, id := range s.suites[v.number] {
			chosen, _ := suiteOf(id)
			protocol.Ciphers = append(protocol.Ciphers, chosen.fact())
		}
		for _, c := range protocol.GetCiphers() {
			names[c.GetName()] = true
		}
		out.Protocols = append(out.Protocols, protocol)
	}
	for _, known := range registry().all { // in the order of the registry
		if names[known.name] {
			out.Ciphers = append(out.Ciphers, known.name)
		}
	}
	for _, known := range ssl2Suites {
		if names[known.name] {
			out.Ciphers = append(out.Ciphers, known.name)
		}
	}
	out.CipherClasses, out.ForwardSecrecy = classes.names(), s.classes&classForwardSecret != 0
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

// leaf is the server's certificate, nil if it was not seen or cannot be read.
func (s *survey) leaf() *x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.chain) == 0 {
		return nil
	}
	parsed, err := x509.ParseCertificate(s.chain[0])
	if err != nil {
		return nil
	}
	return parsed
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

// Words of TlsBehaviour.
const (
	wordYes             = "yes"
	wordNo              = "no"
	certificateWanted   = "wanted"
	certificateRequired = "required"
)

func yesNo(yes bool) string {
	if yes {
		return wordYes
	}
	return wordNo
}
