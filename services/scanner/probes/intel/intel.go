// Package intel is the scan type intel: what third parties know about a name or a public address, with whose word it is and when
// they looked.
//
// It sends nothing to the target. It asks Shodan and VirusTotal with the tenant's own keys, and InternetDB where the operator
// permits it, all within their quotas. What they saw is never proof: ports and host names become leads that our own scans look
// at, vulnerabilities are theirs to conclude. A source that could not be asked is named in the result, and its older facts stay.
package intel

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// Bounds of the facts of one provider, and of the leads of one scan.
const (
	maxItems = 200
	maxText  = 256
	maxLeads = 200
)

// Probe is the scan type intel. It is safe for concurrent use.
type Probe struct{}

// New makes the probe.
func New() *Probe { return &Probe{} }

// ScanType is intel.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_INTEL }

// Version names this revision of the facts.
func (*Probe) Version() string { return "intel/1" }

// Scan asks all sources at once and waits for them within the job's budget.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	subject := strings.ToLower(strings.TrimSuffix(job.GetTarget().GetValue(), "."))
	if subject == "" {
		return nil, errors.New("scan intel: the target has no value")
	}
	ctx, cancel := context.WithTimeout(ctx, probes.Budget(job, probes.DefaultBudget))
	defer cancel()
	s := &scan{env: env, job: job, subject: subject, now: time.Now()}
	var all together.Group
	for _, ask := range s.sources() {
		all.Go(func() { ask(ctx) })
	}
	all.Wait()
	return s.result(), nil
}

// scan is one run. Sources fill it in from their goroutines.
type scan struct {
	env     probes.Env
	job     *modelv1.ScanJob
	subject string
	now     time.Time

	mu       sync.Mutex
	facts    []found
	leads    []*modelv1.Lead
	asked    int
	unasked  []*modelv1.SourceReport
	troubled []*modelv1.SourceReport
}

// sources are the questions that suit the target: for an address those about addresses, for a name those about domains, and the
// one that costs a credit only for the domain itself.
func (s *scan) sources() []func(context.Context) {
	addr, err := netip.ParseAddr(s.subject)
	if err == nil {
		addr = addr.Unmap()
		return []func(context.Context){
			func(ctx context.Context) { ask(ctx, s, providers.HostQuestion(addr), s.host) },
			func(ctx context.Context) { ask(ctx, s, providers.InternetDBQuestion(addr), s.host) },
			func(ctx context.Context) { ask(ctx, s, providers.VirusTotalAddressQuestion(addr), s.verdict) },
		}
	}
	out := []func(context.Context){
		func(ctx context.Context) { ask(ctx, s, providers.VirusTotalDomainQuestion(s.subject), s.verdict) },
	}
	if providers.Registrable(s.subject) {
		out = append(out, s.registered)
	}
	if s.job.GetTarget().GetKind() == modelv1.AssetKind_ASSET_KIND_DOMAIN {
		out = append(out, func(ctx context.Context) { ask(ctx, s, providers.ShodanDomainQuestion(s.subject), s.names) })
	}
	return out
}

// ask asks one source and files what it says.
func ask[T any](ctx context.Context, s *scan, q providers.Question[*T], file func(*modelv1.IntelFact, *T)) {
	answer, err := providers.Ask(ctx, s.env.Providers, q)
	report := answer.Report
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case providers.Unasked(err):
		s.unasked = append(s.unasked, report)
		return
	case err != nil:
		s.asked++
		s.troubled = append(s.troubled, report)
		return
	}
	s.asked++
	fact := &modelv1.IntelFact{Provider: q.Provider.Name, Subject: s.subject, Report: report}
	if answer.Value != nil { // nil: the provider knows nothing of it
		report.Results = 1
		file(fact, answer.Value)
	}
	s.facts = append(s.facts, found{fact, answer.Evidence})
}

// registered asks the registry of the domain, which IANA names.
func (s *scan) registered(ctx context.Context) {
	known, err := providers.Ask(ctx, s.env.Providers, providers.RegistriesQuestion())
	registry := known.Value.For(s.subject)
	if err == nil && registry != "" {
		ask(ctx, s, providers.RegistrationQuestion(registry, s.subject), s.registration)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case providers.Unasked(err):
		s.unasked = append(s.unasked, known.Report)
	case err != nil:
		s.asked++
		s.troubled = append(s.troubled, known.Report)
	default:
		known.Report.State, known.Report.Problem = modelv1.SourceReport_STATE_UNAVAILABLE, "the registry of this domain has no such service"
		s.unasked = append(s.unasked, known.Report)
	}
}

// found is one fact with the answer it was read from.
type found struct {
	fact     *modelv1.IntelFact
	evidence *modelv1.Evidence
}
