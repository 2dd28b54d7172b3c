package port

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

const (
	// quickTimeout is the wait for an answer in the quick profile: one SYN and the second one a second later.
	quickTimeout = 1200 * time.Millisecond
	// maxLeads bounds the open ports that one scan reports and suggests to look at; a host with more is collapsed anyway.
	maxLeads = 1000
)

// Probe is the port scan type.
type Probe struct {
	scanner  *Scanner
	controls func() []uint16 // ports that nobody uses
}

// New returns the probe.
func New() *Probe { return &Probe{scanner: NewScanner(), controls: randomPorts} }

// ScanType is PORT.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_PORT }

// Version names the probe.
func (*Probe) Version() string { return "port/1" }

// scan is one job under way.
type scan struct {
	probe *Probe
	env   probes.Env
	job   *modelv1.ScanJob
	addr  netip.Addr
	ports portlist.Set
	o     Options
}

// Scan looks at the ports of the job's address. It gives one PortsFact, a lead to each open port, and
//
//   - complete: every port was asked, and some port answered. Filtered ports count as asked.
//   - partial: time ran out, single ports are not permitted, or no port answered at all, which may as well be a dead line.
//   - failed: no address, no route, or a list of ports that does not parse.
//   - not permitted: the guard refuses the address, or the profile is passive.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_PASSIVE {
		return outcome(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "the passive profile sends nothing to a target"), nil
	}
	addr, err := targetAddr(job.GetTarget())
	if err != nil {
		return outcome(modelv1.Outcome_OUTCOME_FAILED, err.Error()), nil
	}
	ports, err := wantedPorts(job.GetOptions())
	if err != nil {
		return outcome(modelv1.Outcome_OUTCOME_FAILED, err.Error()), nil
	}
	s := &scan{probe: p, env: env, job: job, addr: addr, ports: ports}
	s.o = Options{Guard: env.Guard, Permit: env.Permit}
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_QUICK {
		s.o.Timeout = quickTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, probes.Budget(job, defaultBudget(ports.Len())))
	defer cancel()
	return s.run(ctx)
}

// defaultBudget is three times what the ports take at the highest rate, and time for slow answers.
func defaultBudget(ports int) time.Duration {
	return max(probes.DefaultBudget, 10*time.Second+3*time.Duration(ports)*time.Second/DefaultRate)
}

// targetAddr is the address to scan: the one the job names, else the asset itself.
func targetAddr(target *modelv1.Target) (netip.Addr, error) {
	text := target.GetAddress()
	if text == "" {
		text = target.GetValue()
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read target: %q is not an address", probes.SafeString(text, 64))
	}
	return addr.Unmap(), nil
}

// wantedPorts is what the job names, else what its profile means.
func wantedPorts(options *modelv1.ScanOptions) (portlist.Set, error) {
	if options.GetPorts() != "" {
		return portlist.Parse(options.GetPorts())
	}
	switch options.GetProfile() {
	case modelv1.Profile_PROFILE_QUICK:
		return portlist.Top100(), nil
	case modelv1.Profile_PROFILE_DEEP:
		return portlist.All(), nil
	default:
		return portlist.Top1000(), nil
	}
}

func outcome(o modelv1.Outcome, reason string) *probes.Result {
	return &probes.Result{Outcome: o, Reason: reason}
}

func (s *scan) run(ctx context.Context) (*probes.Result, error) {
	host, everywhere, err := s.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("scan ports of %s: %w", s.addr, err)
	}
	if everywhere {
		return s.collapse(ctx, s.ports.ByLikelihood())
	}
	if tooManyOpen(host) {
		return s.collapse(ctx, portlist.Of(host.Open...).ByLikelihood())
	}
	result := judge(host, s.ports.Len(), ctx.Err())
	if !host.Answered() {
		return result, nil
	}
	fact := &modelv1.PortsFact{
		Address:   s.addr.String(),
		Transport: modelv1.Transport_TRANSPORT_TCP,
		Open:      widen(host.Open),
		Scanned:   uint32(len(host.Open) + host.Closed + host.Filtered),
		Ports:     s.ports.String(),
		Closed:    uint32(host.Closed),
		Filtered:  uint32(host.Filtered),
	}
	return s.report(ctx, result, fact)
}

// look scans the ports, and beside them some that nobody uses: where those are open, it stops.
func (s *scan) look(ctx context.Context) (host *HostResult, everywhere bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var controlled errgroup.Group
	if s.ports.Len() >= fewPorts {
		controlled.Go(func() error {
			var err error
			if everywhere, err = s.answersEverywhere(ctx); everywhere {
				cancel()
			}
			return err
		})
	}
	found, err := s.probe.scanner.Scan(ctx, s.o, []netip.Addr{s.addr}, s.ports.ByLikelihood())
	if controlErr := controlled.Wait(); err == nil {
		err = controlErr
	}
	if err != nil {
		return nil, false, err
	}
	return &found[0], everywhere, nil
}

// judge says how far the scan of one host got.
func judge(host *HostResult, wanted int, ended error) *probes.Result {
	var refused *netguard.RefusedError
	asked := wanted - host.Unscanned - host.Denied
	switch {
	case host.Denied == wanted && errors.As(host.Err, &refused):
		return outcome(modelv1.Outcome_OUTCOME_NOT_PERMITTED, probes.SafeString(host.Err.Error(), 256))
	case host.Denied == wanted:
		return outcome(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "the guard permits none of the ports")
	case host.Err != nil && ended == nil && !host.Answered():
		return outcome(modelv1.Outcome_OUTCOME_FAILED, probes.SafeString(host.Err.Error(), 256))
	case host.Unscanned > 0 && ended != nil:
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf("time was up after %d of %d ports", asked, wanted))
	case host.Unscanned > 0:
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf("stopped after %d of %d ports: %v", asked, wanted, host.Err))
	case !host.Answered():
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf("none of %d ports answered: the host is down, or a filter drops everything", asked))
	case host.Denied > 0:
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf("%d of %d ports are not permitted", host.Denied, wanted))
	default:
		return outcome(modelv1.Outcome_OUTCOME_COMPLETE, "")
	}
}

// report puts the fact with its evidence and the leads into the result.
func (s *scan) report(ctx context.Context, result *probes.Result, fact *modelv1.PortsFact) (*probes.Result, error) {
	observation := probes.NewObservation(s.job, "", "ports/tcp")
	observation.Fact = &modelv1.Observation_Ports{Ports: fact}
	// The budget is for the target; storing what was seen has time of its own.
	evidence, err := s.env.Evidence(context.WithoutCancel(ctx), "ports", evidenceText(fact), false)
	if err != nil {
		return nil, fmt.Errorf("store evidence of ports of %s: %w", s.addr, err)
	}
	observation.Evidence = evidence
	result.Observations = append(result.Observations, observation)
	for _, port := range fact.GetOpen() {
		result.Leads = append(result.Leads, &modelv1.Lead{
			Target: &modelv1.Target{
				Kind:      modelv1.AssetKind_ASSET_KIND_IP,
				Value:     s.addr.String(),
				Address:   s.addr.String(),
				Port:      port,
				Transport: modelv1.Transport_TRANSPORT_TCP,
			},
			ScanTypes: []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_SERVICE},
			Relation:  "open port",
		})
	}
	return result, nil
}

// evidenceText writes down what was seen, as a scan has no raw bytes: it depends on nothing else, so that the same result is
// the same evidence.
func evidenceText(fact *modelv1.PortsFact) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "connect scan of %s tcp %s\nscanned %d, closed %d, filtered %d", fact.GetAddress(), fact.GetPorts(),
		fact.GetScanned(), fact.GetClosed(), fact.GetFiltered())
	if fact.GetAllOpen() {
		text.WriteString(", takes a connection on every port: open are those that spoke")
	}
	text.WriteString("\nopen")
	for _, port := range fact.GetOpen() {
		text.WriteString(" " + strconv.Itoa(int(port)))
	}
	text.WriteString("\n")
	return []byte(text.String())
}

func widen(ports []uint16) []uint32 {
	wide := make([]uint32, len(ports))
	for i, port := range ports {
		wide[i] = uint32(port)
	}
	return wide
}
