package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Probe is the service scan type.
type Probe struct {
	patience func(quick bool) patience
}

// New returns the probe.
func New() *Probe { return &Probe{patience: patienceOf} }

// ScanType is SERVICE.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_SERVICE }

// Version names the probe.
func (*Probe) Version() string { return "service/2" }

// Scan looks at the one TCP or UDP port of the job. It gives one ServiceFact, and leads for the scan types that can look further:
//
//   - complete: the port was spoken to, also where what speaks there could not be told; or it refuses connections, and
//     there is no service. Over UDP also where nothing answered three times: such a port has no service that shows itself.
//   - partial: the port did not answer in time, or time ran out before the service could be told.
//   - failed: the job names no port or no address, there is no route, or a mistake of the probe's own.
//   - not permitted: the guard refuses the address, or the profile is passive.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	target, options := job.GetTarget(), job.GetOptions()
	switch {
	case options.GetProfile() == modelv1.Profile_PROFILE_PASSIVE:
		return outcome(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "the passive profile sends nothing to a target"), nil
	case target.GetPort() == 0:
		return outcome(modelv1.Outcome_OUTCOME_FAILED, "the job names no port"), nil
	case reachOf(target) == "":
		return outcome(modelv1.Outcome_OUTCOME_FAILED, "the job names no address"), nil
	}
	quick := options.GetProfile() == modelv1.Profile_PROFILE_QUICK
	prober := &prober{
		env:       env,
		connect:   env.Guard.NewSession().DialContext,
		reach:     reachOf(target),
		host:      nameOf(target),
		port:      uint16(target.GetPort()),
		transport: modelv1.Transport_TRANSPORT_TCP,
		courtesy:  env.Courtesy(reachOf(target)),
		patience:  p.patience(quick),
		thorough:  !quick,
	}
	ctx, cancel := context.WithTimeout(ctx, min(probes.Budget(job, prober.patience.budget), prober.patience.budget))
	defer cancel()
	if target.GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		prober.transport = modelv1.Transport_TRANSPORT_UDP
		return prober.scanUDP(ctx, job)
	}
	return prober.scan(ctx, job)
}

// reachOf is what to connect to: the address if there is one.
func reachOf(target *modelv1.Target) string {
	for _, text := range []string{target.GetAddress(), target.GetHost(), target.GetValue()} {
		if text != "" {
			return text
		}
	}
	return ""
}

// nameOf is the name to present in TLS and HTTP; a plain address has none.
func nameOf(target *modelv1.Target) string {
	for _, text := range []string{target.GetHost(), reachOf(target)} {
		if _, err := netip.ParseAddr(text); text != "" && err != nil {
			return text
		}
	}
	return ""
}

func outcome(o modelv1.Outcome, reason string) *probes.Result {
	return &probes.Result{Outcome: o, Reason: reason}
}

func (p *prober) scan(ctx context.Context, job *modelv1.ScanJob) (*probes.Result, error) {
	conn, err := p.dial(ctx)
	if errors.Is(err, syscall.ECONNRESET) { // took the connection and threw it away before we could look
		hangsUp := found{fact: named(unknown), shut: true}
		hangsUp.fact.Address = p.reach
		return p.report(ctx, job, outcome(modelv1.Outcome_OUTCOME_COMPLETE, ""), hangsUp)
	}
	if err != nil {
		return notReached(err), nil
	}
	address := p.reach
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		address = remote.AddrPort().Addr().Unmap().String()
	}
	seen, err := p.survey(ctx, false, conn)
	if mistake := (*mistakeError)(nil); errors.As(err, &mistake) {
		return outcome(modelv1.Outcome_OUTCOME_FAILED, probes.SafeString(mistake.Error(), 1024)), nil
	}
	result := outcome(modelv1.Outcome_OUTCOME_COMPLETE, "")
	if seen.fact == nil || seen.fact.GetName() == unknown {
		switch {
		case ctx.Err() != nil:
			result = outcome(modelv1.Outcome_OUTCOME_PARTIAL, "time was up before the service could be told")
		case err != nil:
			result = outcome(modelv1.Outcome_OUTCOME_PARTIAL, "not all questions could be asked: "+probes.SafeString(err.Error(), 256))
		}
	}
	if seen.fact == nil {
		seen.fact = named(unknown)
	}
	seen.fact.Address = address
	return p.report(ctx, job, result, seen)
}

// notReached says what a failed connect means.
func notReached(err error) *probes.Result {
	reason := probes.SafeString(err.Error(), 256)
	var refused *netguard.RefusedError
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		return outcome(modelv1.Outcome_OUTCOME_NOT_PERMITTED, reason)
	case errors.Is(err, syscall.ECONNREFUSED):
		return outcome(modelv1.Outcome_OUTCOME_COMPLETE, "")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, syscall.EHOSTUNREACH):
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, reason)
	default:
		return outcome(modelv1.Outcome_OUTCOME_FAILED, reason)
	}
}

// report makes the observation and the leads.
func (p *prober) report(ctx context.Context, job *modelv1.ScanJob, result *probes.Result, seen found) (*probes.Result, error) {
	fact := seen.fact
	if seen.shut && fact.GetName() == unknown {
		detail(fact, "tcp", "hangs up at once")
	}
	fact.Port, fact.Transport = uint32(p.port), p.transport
	// The budget is for the target; storing what was seen has time of its own.
	evidence, err := p.env.Evidence(context.WithoutCancel(ctx), "banner", seen.raw, seen.truncated)
	if err != nil {
		return nil, fmt.Errorf("store evidence of %s: %w", p.reach, err)
	}
	observation := probes.NewObservation(job, probes.LocationOf(fact.GetAddress(), fact.GetPort(), fact.GetTransport()), "service")
	observation.Fact = &modelv1.Observation_Service{Service: fact}
	observation.Evidence = evidence
	result.Observations = append(result.Observations, observation)
	if lead := p.lead(job.GetTarget(), seen); lead != nil {
		result.Leads = append(result.Leads, lead)
	}
	return result, nil
}

// lead says which scan types can look further: TLS where it is spoken, offered, or may be inside of HTTP, and HTTP where that is
// spoken, also where TLS did not tell what is inside on a port of the web.
func (p *prober) lead(target *modelv1.Target, seen found) *modelv1.Lead {
	fact := seen.fact
	if p.transport == modelv1.Transport_TRANSPORT_UDP {
		return nil // what looks further speaks over TCP
	}
	var types []modelv1.ScanType
	if fact.GetTls() || fact.GetStarttls() && hasStartTLS[fact.GetName()] || p.mayUpgrade(seen) {
		types = append(types, modelv1.ScanType_SCAN_TYPE_TLS)
	}
	web := seen.web || fact.GetTls() && fact.GetName() == unknown && speaksWeb(p.port)
	if web {
		types = append(types, modelv1.ScanType_SCAN_TYPE_HTTP)
	}
	if len(types) == 0 {
		return nil
	}
	return &modelv1.Lead{
		Target: &modelv1.Target{
			Kind:      target.GetKind(),
			Value:     target.GetValue(),
			Host:      target.GetHost(),
			Address:   fact.GetAddress(),
			Port:      uint32(p.port),
			Transport: modelv1.Transport_TRANSPORT_TCP,
			Service:   fact.GetName(),
			Tls:       fact.GetTls(),
		},
		ScanTypes: types,
		Relation:  "service " + fact.GetName(),
	}
}

// hasStartTLS are the protocols whose upgrade the TLS scan knows.
var hasStartTLS = map[string]bool{
	"smtp": true, "imap": true, "pop3": true, "ftp": true, "ldap": true, "xmpp": true, "postgresql": true, "mysql": true, "nntp": true, "sieve": true,
}

// mayUpgrade says whether HTTP in clear text may be turned into TLS from within (RFC 2817). Few servers announce it, so each is asked,
// by the one request that the TLS scan sends before it leaves; a quick scan does without.
func (p *prober) mayUpgrade(seen found) bool {
	name := seen.fact.GetName()
	return p.thorough && seen.web && !seen.fact.GetTls() && (name == "http" || name == "ipp")
}
