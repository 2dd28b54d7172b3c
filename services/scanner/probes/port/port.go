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
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/ranges"
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
	controls func() []uint16               // ports that nobody uses
	udp      func() []udpProtocol          // what is asked over UDP
	owner    func(netip.Addr) ranges.Owner // whose an address is
}

// New returns the probe.
func New() *Probe {
	return &Probe{scanner: NewScanner(), controls: randomPorts, udp: udpProtocols, owner: ranges.Of}
}

// ScanType is PORT.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_PORT }

// Version names the probe.
func (*Probe) Version() string { return "port/2" }

// scan is one job under way.
type scan struct {
	probe *Probe
	env   probes.Env
	job   *modelv1.ScanJob
	addr  netip.Addr
	owner ranges.Owner
	ports portlist.Set
	// listed says that the job names its ports: nothing else is asked.
	listed bool
	// note is what the coverage says of a complete scan.
	note string
	o    Options
}

// frontPorts are what is asked of an address of a content delivery network or a firewall: it is not the target's, and shows its
// own ports.
var frontPorts = []uint16{80, 443}

// Scan looks at the ports of the job's address, over TCP and the few services worth it over UDP. It gives one PortsFact for each,
// a lead to each open port, and
//
//   - complete: every port was asked, and some port answered. Filtered ports count as asked. At a content delivery network only
//     80 and 443 are asked unless the job lists ports or the profile is deep; the reason then says so.
//   - partial: time ran out, single ports are not permitted, the host dropped what it would have answered, or no port answered
//     at all, which may as well be a dead line.
//   - failed: no address, no route, or a list of ports that does not parse.
//   - not permitted: the guard refuses the address, or the profile is passive.
//
// What the scan waits for permits does not count as its time.
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
	s := &scan{probe: p, env: env, job: job, addr: addr, ports: ports, listed: job.GetOptions().GetPorts() != "", owner: p.owner(addr)}
	if s.owner.Fronted() && !s.listed && job.GetOptions().GetProfile() != modelv1.Profile_PROFILE_DEEP {
		s.ports, s.listed = portlist.Of(frontPorts...), true
		s.note = fmt.Sprintf("the address is of %s, which answers for the target: only ports 80 and 443 were asked", s.owner.Front())
	}
	ctx, cancel := s.withBudget(ctx, probes.Budget(job, defaultBudget(ports.Len())))
	defer cancel()
	s.o = Options{Guard: env.Guard, Permit: s.env.Permit}
	if env.Batch != nil {
		s.o.PermitBatch = env.Batch(addr.String())
	}
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_QUICK {
		s.o.Timeout = quickTimeout
	}
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
	var overUDP *udpResult
	var beside together.Group
	beside.Go(func() { overUDP = s.lookUDP(ctx) })
	result, err := s.runTCP(ctx)
	beside.Wait()
	if err != nil {
		return nil, err
	}
	return s.addUDP(ctx, result, overUDP)
}

func (s *scan) runTCP(ctx context.Context) (*probes.Result, error) {
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
	result := s.judge(host, ctx.Err())
	if !host.Answered() {
		return result, nil
	}
	fact := s.fact(modelv1.Transport_TRANSPORT_TCP)
	fact.Open, fact.Closed, fact.Filtered = widen(host.Open), uint32(host.Closed), uint32(host.Filtered)
	fact.Scanned, fact.Slowdowns = uint32(len(host.Open)+host.Closed+host.Filtered), uint32(host.Slowdowns)
	return result, s.report(ctx, result, fact, evidenceText(fact))
}

// fact is a fact about the address without what was found.
func (s *scan) fact(transport modelv1.Transport) *modelv1.PortsFact {
	fact := &modelv1.PortsFact{
		Address: s.addr.String(), Transport: transport, Ports: s.ports.String(), Cdn: s.owner.CDN, Waf: s.owner.WAF, Cloud: s.owner.Cloud,
	}
	if s.owner != (ranges.Owner{}) {
		fact.RangesDate = ranges.Date()
	}
	return fact
}

// addUDP adds what was seen over UDP. Where nothing was seen, and nothing over TCP either, there is nothing to say.
func (s *scan) addUDP(ctx context.Context, result *probes.Result, r *udpResult) (*probes.Result, error) {
	fact := s.udpFact(r)
	if r.err != nil && result.Outcome == modelv1.Outcome_OUTCOME_COMPLETE {
		result.Outcome = modelv1.Outcome_OUTCOME_PARTIAL
		result.Reason = fmt.Sprintf("stopped after %d of %d ports over UDP: %v", fact.GetScanned(), len(r.asked), probes.SafeString(r.err.Error(), 200))
	}
	seen := len(fact.GetOpen()) > 0 || fact.GetClosed() > 0
	if fact.GetScanned() == 0 || !seen && len(result.Observations) == 0 {
		return result, nil
	}
	return result, s.report(ctx, result, fact, udpEvidence(fact))
}

// look scans the ports, and beside them some that nobody uses: where those are open, it stops.
func (s *scan) look(ctx context.Context) (host *HostResult, everywhere bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var controlled errgroup.Group
	if s.ports.Len() >= fewPorts {
		controlled.Go(together.Safely(func() error {
			var err error
			if everywhere, err = s.answersEverywhere(ctx); everywhere {
				cancel()
			}
			return err
		}))
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
func (s *scan) judge(host *HostResult, ended error) *probes.Result {
	var refused *netguard.RefusedError
	wanted := s.ports.Len()
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
	case host.Lossy && host.Filtered > 0:
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf(
			"the host drops connections that it answers at other times, though the scan was slowed down: %d silent ports may be filtered or lost", host.Filtered))
	default:
		return outcome(modelv1.Outcome_OUTCOME_COMPLETE, s.note)
	}
}

// report puts the fact with its evidence and the leads into the result.
func (s *scan) report(ctx context.Context, result *probes.Result, fact *modelv1.PortsFact, text []byte) error {
	key := "ports/tcp"
	if fact.GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		key = "ports/udp"
	}
	observation := probes.NewObservation(s.job, "", key)
	observation.Fact = &modelv1.Observation_Ports{Ports: fact}
	// The budget is for the target; storing what was seen has time of its own.
	evidence, err := s.env.Evidence(context.WithoutCancel(ctx), "ports", text, false)
	if err != nil {
		return fmt.Errorf("store evidence of ports of %s: %w", s.addr, err)
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
				Transport: fact.GetTransport(),
			},
			ScanTypes: []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_SERVICE},
			Relation:  "open port",
		})
	}
	return nil
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
	if fact.GetSlowdowns() > 0 {
		fmt.Fprintf(&text, "\nslowed down %d times for a host that dropped", fact.GetSlowdowns())
	}
	if fact.GetRangesDate() != "" {
		fmt.Fprintf(&text, "\nby ranges of %s: cdn %q, waf %q, cloud %q", fact.GetRangesDate(), fact.GetCdn(), fact.GetWaf(), fact.GetCloud())
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
