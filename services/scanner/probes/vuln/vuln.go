// Package vuln tests web applications for known weaknesses with an engine that the operator installed: nuclei, a program of its
// own with templates of its own, of which this package knows the command line and the JSON lines that it writes.
//
// The engine is not trusted. It runs without a shell, with a fixed command line, an empty environment, a home of its own that is
// deleted, limits on memory, processor time, files and output, in a process group that is killed at the end. It is told to reach
// the network through a proxy of this package, which lets it connect to the job's target alone, judges every address with the
// guard and takes a permit for every connection and every request that it can see.
//
// It refuses: templates of other protocols than HTTP, because those go around the proxy; tests that may disturb, unless the
// target's authorisation is intrusive; to report anything that is not at the target; and to say that nothing was found where the
// engine is not there or did not end by itself. What it cannot do without more rights than it has is to keep a program that
// ignores its proxy from the network: docs/politeness.md says how to.
package vuln

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/proxied"
)

// defaultBudget bounds a scan that names no budget: a few hundred templates at the default rate.
const defaultBudget = 5 * time.Minute

// Probe is the vuln scan type.
type Probe struct{ limits limits }

// New returns the probe.
func New() *Probe { return &Probe{limits: defaultLimits} }

// ScanType is VULN.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_VULN }

// Version names the probe.
func (*Probe) Version() string { return "vuln/1" }

// place is what is tested: one web application.
type place struct {
	url  string
	host string // as it stands in URLs, without brackets
	port uint16
	addr netip.Addr // where it is reached; invalid: wherever host leads
}

// way is the place as the engine's proxy knows it.
func (p place) way() proxied.Place { return proxied.Place{Host: p.host, Port: p.port, Addr: p.addr} }

// Scan runs the engine against the job's web application and gives a VulnerabilityFact for each of its results.
//
//   - complete: the engine ended by itself, reached the target, and every line it wrote was understood.
//   - partial: time ran out, a bound was reached, or the engine failed after it had found something.
//   - failed: the engine failed, the target did not answer, or the job names no web application.
//   - source unavailable: the engine or its templates are not installed.
//   - not permitted: the profile is passive, or the guard refuses the target's address.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_PASSIVE {
		return outcome(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "the passive profile sends nothing to a target"), nil
	}
	if reason := missing(env.Nuclei); reason != "" {
		return outcome(modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, reason), nil
	}
	at, err := placeOf(job.GetTarget())
	if err != nil {
		return outcome(modelv1.Outcome_OUTCOME_FAILED, probes.SafeString(err.Error(), 256)), nil
	}
	if at.addr.IsValid() {
		if err := env.Guard.JudgeAddrPort(netip.AddrPortFrom(at.addr, at.port)); err != nil {
			return outcome(modelv1.Outcome_OUTCOME_NOT_PERMITTED, probes.SafeString(err.Error(), 256)), nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, probes.Budget(job, defaultBudget))
	defer cancel()
	way, err := proxied.Start(ctx, env, at.way(), proxied.Options{})
	if err != nil {
		return nil, err
	}
	defer way.Close()
	dir, err := os.MkdirTemp("", "riskprofiler-vuln-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the engine: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := newCommand(env, job, at, way.URL(), dir)
	if err != nil {
		return nil, err
	}
	out := &output{limits: p.limits, place: at}
	ended := run(ctx, p.limits, c, out)
	return p.result(ctx, env, job, out, judge(out, ended, way.Reached(), ctx.Err()))
}

// missing says what is not installed; empty: nothing.
func missing(e probes.EngineFiles) string {
	if e.Program == "" {
		return "nuclei is not installed: RISKPROFILER_NUCLEI names no program"
	}
	if info, err := os.Stat(e.Program); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "nuclei is not installed: RISKPROFILER_NUCLEI names no program that can be run"
	}
	if info, err := os.Stat(e.Templates); e.Templates == "" || err != nil || !info.IsDir() {
		return "nuclei has no templates: RISKPROFILER_NUCLEI_TEMPLATES names no folder"
	}
	return ""
}

// placeOf is the web application that a target names.
func placeOf(t *modelv1.Target) (place, error) {
	if t.GetPort() == 0 || t.GetPort() > 65535 || t.GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		return place{}, fmt.Errorf("read target: it names no web application")
	}
	at := place{host: cmp.Or(t.GetHost(), t.GetAddress()), port: uint16(t.GetPort())}
	if text := t.GetAddress(); text != "" {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return place{}, fmt.Errorf("read target: %q is no address", probes.SafeString(text, 64))
		}
		at.addr = addr.Unmap()
	}
	scheme := "http"
	if t.GetTls() {
		scheme = "https"
	}
	address := &url.URL{Scheme: scheme, Host: net.JoinHostPort(at.host, strconv.Itoa(int(at.port))), Path: "/"}
	if at.host == "" {
		return place{}, fmt.Errorf("read target: it names no host")
	}
	at.url = address.String()
	return at, nil
}

// judge says how far the engine got.
func judge(out *output, ended error, reached bool, late error) *probes.Result {
	found := len(out.events) > 0
	switch {
	case out.full != "":
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, out.full)
	case late != nil:
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf("time was up while nuclei was at work, after %d results", len(out.events)))
	case ended != nil && found:
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, probes.SafeString("nuclei failed after it had found something: "+ended.Error(), 300))
	case ended != nil:
		return outcome(modelv1.Outcome_OUTCOME_FAILED, probes.SafeString("nuclei failed: "+ended.Error(), 300))
	case !reached:
		return outcome(modelv1.Outcome_OUTCOME_FAILED, "nuclei reached the target not once")
	case out.bad > 0:
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf("%d lines of nuclei were no results of this target", out.bad))
	default:
		return outcome(modelv1.Outcome_OUTCOME_COMPLETE, "")
	}
}

func outcome(o modelv1.Outcome, reason string) *probes.Result {
	return &probes.Result{Outcome: o, Reason: reason}
}
