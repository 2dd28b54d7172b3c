package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxValues bounds the records of one type in a fact, and maxLeads the leads of one scan.
const (
	maxValues = 100
	maxLeads  = 100
)

// scan is the state of one scan.
type scan struct {
	probe    *Probe
	env      probes.Env
	job      *modelv1.ScanJob
	resolver *resolver
	name     string
	passive  bool

	fact *modelv1.DnsFact
	// zone is the apex of the zone that holds the name.
	zone string
	mail *modelv1.MailFact

	mu       sync.Mutex
	dangling []*modelv1.DanglingFact
	// missed says what could not be learned, empty if nothing.
	missed string
	// unanswered says that not even the addresses could be asked for.
	unanswered bool
	// withoutFact says that a question was not answered whose missing answer the fact would turn into an accusation; incomplete
	// says the same of the apex of a zone, of which more is expected.
	withoutFact, incomplete bool
}

// miss notes a question without answer.
func (s *scan) miss(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missed == "" {
		s.missed = fmt.Sprintf("%s: %s", what, describe(err))
	}
}

// describe says in a few words why a question was not answered.
func describe(err error) string {
	var slow net.Error
	switch refusal := (*netguard.RefusedError)(nil); {
	case errors.As(err, &refusal):
		// Not the whole text: it names the address, and a tenant could ask for the addresses of internal names.
		return "its address may not be connected to: " + refusal.Rule + "; " + refusal.Remedy
	case errors.Is(err, context.Canceled):
		return "the scan was stopped"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return "no answer in time"
	default:
		return err.Error()
	}
}

// parallel runs tasks at once, at most limit of them, and waits for all. A panic in one of them goes on in the caller, where the
// scanner catches it.
func parallel(limit int, tasks ...func()) {
	var all sync.WaitGroup
	var once sync.Once
	var caught any
	slots := make(chan struct{}, limit)
	for _, task := range tasks {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			defer func() {
				if v := recover(); v != nil {
					once.Do(func() { caught = v })
				}
			}()
			task()
		})
	}
	all.Wait()
	if caught != nil {
		panic(caught)
	}
}

// perResolver is how many questions the resolver gets at once, perHost how many connections one name server.
const (
	perResolver = 8
	perHost     = 4
)

func (s *scan) run(ctx context.Context) {
	s.fact = &modelv1.DnsFact{Name: s.name}
	parallel(perResolver,
		func() { s.addresses(ctx) },
		func() { s.apex(ctx) },
		func() { s.records(ctx, mdns.TypeMX, s.exchangers) },
		func() { s.records(ctx, mdns.TypeTXT, s.texts) },
		func() { s.caa(ctx) },
		func() { s.signed(ctx) },
	)
	if s.unanswered {
		return
	}
	tasks := []func(){func() { s.alias(ctx) }}
	if s.fact.GetApex() {
		tasks = append(tasks, func() { s.nameServers(ctx) }, func() { s.wildcard(ctx) }, func() { s.deadExchangers(ctx) })
		if s.job.GetTarget().GetKind() == modelv1.AssetKind_ASSET_KIND_DOMAIN {
			tasks = append(tasks, func() { s.mailFacts(ctx) })
		}
	}
	parallel(perResolver, tasks...)
}

// addresses asks for A and AAAA, and the chain of aliases to them.
func (s *scan) addresses(ctx context.Context) {
	for _, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
		got, err := s.resolver.find(ctx, s.name, kind)
		if errors.Is(err, errChain) {
			s.require("addresses", err)
			return
		}
		if err != nil {
			s.miss("addresses", err)
			s.mu.Lock()
			s.unanswered = true
			s.mu.Unlock()
			return
		}
		s.fact.Rcode = rcodeName(got.rcode)
		if len(got.chain) > len(s.fact.GetCname()) {
			s.fact.Cname = safeNames(got.chain)
		}
		for _, addr := range addrs(got.records) {
			s.address(kind, addr.Unmap())
		}
	}
}

func (s *scan) address(kind uint16, addr netip.Addr) {
	list := &s.fact.A
	if kind == mdns.TypeAAAA {
		list = &s.fact.Aaaa
	}
	if len(*list) == maxValues {
		return
	}
	*list = append(*list, addr.String())
	slices.Sort(*list)
	if private(addr) {
		s.fact.PrivateAddresses = append(s.fact.PrivateAddresses, addr.String())
		slices.Sort(s.fact.GetPrivateAddresses())
	}
}

// sharedSpace is carrier-grade NAT (RFC 6598), thisNetwork RFC 791's "this host on this network".
var (
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
)

// private says that an address means another machine to everybody who reads it (RFC 6890).
func private(addr netip.Addr) bool {
	return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() ||
		sharedSpace.Contains(addr) || thisNetwork.Contains(addr)
}

// apex asks whether the name is the top of a zone: it then owns a SOA record.
func (s *scan) apex(ctx context.Context) {
	got, err := s.resolver.find(ctx, s.name, mdns.TypeSOA)
	if err != nil {
		s.require("SOA", err)
		return
	}
	s.zone = got.zone
	if len(got.chain) > 0 || got.void() {
		return
	}
	soa, ok := got.records[0].(*mdns.SOA)
	if !ok {
		return
	}
	s.zone, s.fact.Apex = s.name, true
	s.fact.Soa = safe(fmt.Sprintf("%s %s %d", plain(soa.Ns), plain(soa.Mbox), soa.Serial))
	servers, err := s.resolver.find(ctx, s.name, mdns.TypeNS)
	if err != nil {
		s.require("NS", err)
		return
	}
	for _, rr := range servers.records {
		if ns, ok := rr.(*mdns.NS); ok && len(s.fact.GetNs()) < maxValues {
			s.fact.Ns = append(s.fact.Ns, safe(plain(ns.Ns)))
		}
	}
	slices.Sort(s.fact.GetNs())
	s.fact.Ns = slices.Compact(s.fact.GetNs())
}

// require notes a question without answer that the fact cannot do without.
func (s *scan) require(what string, err error) {
	s.miss(what, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.withoutFact = true
}

// requireAtApex notes a question without answer that the fact about the apex of a zone cannot do without.
func (s *scan) requireAtApex(what string, err error) {
	s.miss(what, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incomplete = true
}

// records asks for one type at the name itself.
func (s *scan) records(ctx context.Context, kind uint16, take func([]mdns.RR)) {
	got, err := s.resolver.find(ctx, s.name, kind)
	if err != nil {
		s.miss(mdns.TypeToString[kind], err)
		return
	}
	take(got.records[:min(len(got.records), maxValues)])
}

func (s *scan) exchangers(records []mdns.RR) {
	for _, rr := range records {
		if mx, ok := rr.(*mdns.MX); ok {
			host := safe(plain(mx.Mx))
			if mx.Mx == "." {
				host = "." // takes no mail (RFC 7505)
			}
			s.fact.Mx = append(s.fact.Mx, &modelv1.Mx{Preference: uint32(mx.Preference), Host: host})
		}
	}
	slices.SortFunc(s.fact.GetMx(), func(a, b *modelv1.Mx) int {
		if a.GetPreference() != b.GetPreference() {
			return int(a.GetPreference()) - int(b.GetPreference())
		}
		return strings.Compare(a.GetHost(), b.GetHost())
	})
}

func (s *scan) texts(records []mdns.RR) {
	for _, text := range textsOf(records) {
		s.fact.Txt = append(s.fact.Txt, probes.SafeString(text, maxRecord))
	}
	slices.Sort(s.fact.GetTxt())
}

// caa finds the records that apply: the name's own, else those of the nearest name above it (RFC 8659 section 3).
func (s *scan) caa(ctx context.Context) {
	for name := s.name; name != ""; _, name, _ = strings.Cut(name, ".") {
		got, err := s.resolver.find(ctx, name, mdns.TypeCAA)
		if err != nil {
			s.requireAtApex("CAA", err)
			return
		}
		for _, rr := range got.records[:min(len(got.records), maxValues)] {
			if caa, ok := rr.(*mdns.CAA); ok {
				s.fact.Caa = append(s.fact.Caa, &modelv1.Caa{Flags: uint32(caa.Flag), Tag: safe(strings.ToLower(caa.Tag)), Value: safe(unescape(caa.Value))})
			}
		}
		if len(s.fact.GetCaa()) > 0 {
			return
		}
	}
}

// signed asks whether the zone is signed: a DS record above it, or a key at its top.
func (s *scan) signed(ctx context.Context) {
	for _, kind := range []uint16{mdns.TypeDNSKEY, mdns.TypeDS} {
		got, err := s.resolver.find(ctx, s.name, kind)
		if err != nil {
			s.requireAtApex(mdns.TypeToString[kind], err)
			return
		}
		if !got.void() && len(got.chain) == 0 {
			s.fact.DnssecSigned = true
			return
		}
	}
}

func safe(text string) string { return probes.SafeString(text, 255) }

func safeNames(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, safe(name))
	}
	return out
}

// result writes down what the scan learned.
func (s *scan) result(ctx context.Context) (*probes.Result, error) {
	out := &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE, Reason: probes.SafeString(s.missed, 512)}
	switch {
	case s.unanswered:
		out.Outcome = modelv1.Outcome_OUTCOME_FAILED
		return out, nil
	case s.missed != "":
		out.Outcome = modelv1.Outcome_OUTCOME_PARTIAL
	}
	raw := s.resolver.evidence()
	evidence, err := s.env.Evidence(ctx, "dns", raw, len(raw) > maxLog)
	if err != nil {
		return nil, fmt.Errorf("store dns evidence: %w", err)
	}
	add := func(key string) *modelv1.Observation {
		o := probes.NewObservation(s.job, "", key)
		o.Evidence = evidence
		out.Observations = append(out.Observations, o)
		return o
	}
	if !s.withoutFact && (!s.incomplete || !s.fact.GetApex()) {
		add("dns").Fact = &modelv1.Observation_Dns{Dns: s.fact}
	}
	if s.mail != nil {
		add("mail").Fact = &modelv1.Observation_Mail{Mail: s.mail}
	}
	slices.SortFunc(s.dangling, func(a, b *modelv1.DanglingFact) int {
		return strings.Compare(a.GetRecord()+a.GetTarget(), b.GetRecord()+b.GetTarget())
	})
	for _, d := range s.dangling {
		add("dangling:" + d.GetRecord() + ":" + d.GetTarget()).Fact = &modelv1.Observation_Dangling{Dangling: d}
	}
	out.Leads = s.leads()
	return out, nil
}

// leads are the name's addresses, and the hosts of its own zone that its records name.
func (s *scan) leads() []*modelv1.Lead {
	var out []*modelv1.Lead
	add := func(target *modelv1.Target, next modelv1.ScanType, relation string) {
		same := func(l *modelv1.Lead) bool { return l.GetTarget().GetValue() == target.GetValue() }
		if len(out) < maxLeads && !slices.ContainsFunc(out, same) {
			out = append(out, &modelv1.Lead{Target: target, ScanTypes: []modelv1.ScanType{next}, Relation: relation})
		}
	}
	address := func(values []string, relation string) {
		for _, value := range values {
			add(&modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: value, Address: value}, modelv1.ScanType_SCAN_TYPE_PORT, relation)
		}
	}
	host := func(name, relation string) {
		if name != s.name && plausible(name) && s.zone != "" && strings.HasSuffix(name, "."+s.zone) {
			add(&modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: name, Host: name}, modelv1.ScanType_SCAN_TYPE_DNS, relation)
		}
	}
	address(s.fact.GetA(), "A record")
	address(s.fact.GetAaaa(), "AAAA record")
	for _, name := range s.fact.GetCname() {
		host(name, "CNAME record")
	}
	for _, name := range s.fact.GetNs() {
		host(name, "NS record")
	}
	for _, mx := range s.fact.GetMx() {
		host(mx.GetHost(), "MX record")
	}
	return out
}
