package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/together"
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
	// registry says of domains whether they can be registered, and silent of zones why their own servers did not answer.
	registry map[string]bool
	silent   map[string]error
	// missed says what could not be learned, empty if nothing.
	missed string
	// unanswered says that not even the addresses could be asked for.
	unanswered bool
	// withoutFact says that a question was not answered whose missing answer the fact would turn into an accusation; incomplete
	// says the same of the apex of a zone, of which more is expected.
	withoutFact, incomplete bool
	// chain is where the name's aliases lead.
	chain found
	// links are the zones whose signatures were checked.
	links map[string]func() *link
	// names are those of the zone that it told itself, with how.
	names map[string]string
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
	all := together.Limit(limit)
	for _, task := range tasks {
		all.Go(task)
	}
	all.Wait()
}

// perResolver is how many questions the resolver gets at once, perHost how many connections one name server.
const (
	perResolver = 8
	perHost     = 4
)

// run asks in the order of what matters most, so that a scan that runs out of time has that.
func (s *scan) run(ctx context.Context) {
	s.fact = &modelv1.DnsFact{Name: s.name}
	parallel(perResolver,
		func() { s.addresses(ctx) },
		func() { s.apex(ctx) },
		func() { s.records(ctx, mdns.TypeMX, s.exchangers) },
		func() { s.records(ctx, mdns.TypeTXT, s.texts) },
		func() { s.caa(ctx) },
	)
	if s.unanswered {
		return
	}
	mailDomain := s.fact.GetApex() && s.job.GetTarget().GetKind() == modelv1.AssetKind_ASSET_KIND_DOMAIN
	tasks := []func(){func() { s.alias(ctx, s.name, s.chain, false) }, func() { s.bindings(ctx) }}
	if s.fact.GetApex() {
		tasks = append(tasks, func() { s.nameServers(ctx) }, func() { s.wildcard(ctx) }, func() { s.deadExchangers(ctx) }, func() { s.dnssec(ctx) })
	}
	if mailDomain {
		tasks = append(tasks, func() { s.mailFacts(ctx) })
	}
	parallel(perResolver, tasks...)
	// Many questions of which each alone says little: they come last.
	tasks = []func(){func() { s.pointers(ctx) }, func() { s.reverse(ctx) }}
	if mailDomain {
		tasks = append(tasks, func() { s.services(ctx) })
	}
	if s.mail != nil {
		tasks = append(tasks, func() { s.mail.Dkim = s.dkimKeys(ctx) }, func() { s.pinned(ctx) })
	}
	parallel(perResolver, tasks...)
}

// maxUnanswered is how many questions of one list may stay without answer before the rest of the list is left out: who does not
// answer these does not answer the others.
const maxUnanswered = 4

// patience counts the questions of a list that were not answered.
type patience struct{ left atomic.Int32 }

// lost counts one more, and over says that it is enough.
func (p *patience) lost()      { p.left.Add(1) }
func (p *patience) over() bool { return p.left.Load() >= maxUnanswered }

// deadExchangers finds mail exchangers whose names do not exist.
func (s *scan) deadExchangers(ctx context.Context) {
	var hosts []string
	for _, mx := range s.fact.GetMx() {
		hosts = append(hosts, mx.GetHost())
	}
	s.otherTargets(ctx, "MX", hosts)
}

// learned keeps names of the zone that it told itself, for leads.
func (s *scan) learned(names []string, relation string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if len(s.names) >= maxLeads || name == s.name || !plausible(name) || strings.HasPrefix(name, "_") || strings.Contains(name, "._") {
			continue
		}
		if s.names == nil {
			s.names = map[string]string{}
		}
		s.names[name] = relation
	}
}

// apex asks whether the name is the top of a zone: it then owns a SOA record.
func (s *scan) apex(ctx context.Context) {
	got, err := s.resolver.find(ctx, s.name, mdns.TypeSOA)
	if err != nil {
		s.require("SOA", err)
		return
	}
	s.zone = got.zone
	if len(got.chain) > 0 {
		s.zone = s.zoneAbove(ctx) // the answer tells of the zone in which the aliases end
		return
	}
	if got.void() {
		return
	}
	soa, ok := got.records[0].(*mdns.SOA)
	if !ok {
		return
	}
	s.zone, s.fact.Apex = s.name, true
	s.fact.Soa = safe(fmt.Sprintf("%s %s %d", plain(soa.Ns), plain(soa.Mbox), soa.Serial))
	s.fact.SoaRecord = &modelv1.Soa{
		Primary: safe(plain(soa.Ns)), Mailbox: safe(plain(soa.Mbox)), Serial: soa.Serial,
		Refresh: soa.Refresh, Retry: soa.Retry, Expire: soa.Expire, Minimum: soa.Minttl,
	}
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

// zoneAbove is the zone that holds a name which is an alias, "" if that was not answered.
func (s *scan) zoneAbove(ctx context.Context) string {
	for _, parent, ok := strings.Cut(s.name, "."); ok; _, parent, ok = strings.Cut(parent, ".") {
		got, err := s.resolver.find(ctx, parent, mdns.TypeSOA)
		switch {
		case err != nil:
			s.miss("SOA", err)
			return ""
		case len(got.chain) > 0:
			continue
		case got.void():
			return got.zone
		default:
			return parent
		}
	}
	return ""
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

func safe(text string) string { return probes.SafeString(text, 255) }

func safeNames(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, safe(name))
	}
	return out
}
