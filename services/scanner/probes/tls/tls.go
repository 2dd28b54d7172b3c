// Package tls is the scan type TLS: what one endpoint offers in protocol versions, cipher suites, certificates and extensions.
//
// It opens a bounded number of connections (9 to a modern server, at most maxHandshakes) and completes a handshake on
// two of them only. Versions and suites are told from the ServerHello, which every version sends in the clear: the probe
// writes its own ClientHello, reads that one answer and leaves. So it can offer what no library implements any more (SSLv3,
// export, anonymous and NULL suites), computes no keys for a hostile peer, and needs no old cryptography in the binary.
// Suites are not tried one by one: the probe offers every suite of the classes it has not seen accepted yet, until the server
// refuses. Only the deep profile lists each suite.
//
// It refuses to judge: it verifies nothing to collect, and says trust and name match as facts. Certificates are read by
// crypto/x509; one which that refuses is read in outline.
package tls

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Options tune the probe. The zero value is right for production.
type Options struct {
	// ExtraRoots are trusted beside the system's roots, such as an organisation's own authority.
	ExtraRoots []*x509.Certificate
}

// limits are the bounds of one scan; tests make them shorter.
type limits struct {
	dial, quickDial, handshake time.Duration
}

// parallel is how many connections one endpoint gets at once.
const parallel = 4

// maxHandshakes bounds the connections of one scan. The deep profile needs one for each accepted suite and version.
const maxHandshakes = 200

// Probe is the scan type TLS. It is safe for concurrent use.
type Probe struct {
	limits limits
	// roots is loaded with the first scan: reading a hundred files has no place in a cold start.
	roots func() *x509.CertPool
}

// New makes the probe. It opens and reads nothing.
func New(o Options) *Probe {
	return &Probe{
		limits: limits{dial: probes.DialTimeout, quickDial: probes.QuickDialTimeout, handshake: probes.HandshakeTimeout},
		roots:  sync.OnceValue(func() *x509.CertPool { return trustStore(o.ExtraRoots) }),
	}
}

// ScanType is TLS.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_TLS }

// Version names this revision of the facts.
func (*Probe) Version() string { return "tls/1" }

// Scan looks at one endpoint: the port of the job's target, asked for by the target's host name or plainly by its address. A
// target whose service is smtp, imap, pop3 or ftp without TLS is upgraded with STARTTLS first.
//
// Nothing listening, and a peer that does not speak TLS, are complete scans without observation. A peer that does not answer,
// or refuses every hello, is a failed or partial one.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	target := job.GetTarget()
	if target.GetPort() == 0 || target.GetPort() > 65535 || (target.GetHost() == "" && target.GetAddress() == "") {
		return nil, errors.New("scan tls: the target has no port, or neither host nor address")
	}
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_PASSIVE {
		return incomplete(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "passive profile: no packet is sent to the target"), nil
	}
	ctx, cancel := context.WithTimeout(ctx, probes.Budget(job, probes.DefaultBudget))
	defer cancel()
	end, err := newEndpoint(env, job, p.limits)
	if err != nil {
		return unreachable(err), nil
	}
	first, err := end.greet(ctx)
	if err != nil {
		return unreachable(err), nil
	}
	seen := end.survey(ctx, first, job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_DEEP)
	return p.report(ctx, env, job, end, seen)
}

// report writes the fact and stores the chain as its evidence.
func (p *Probe) report(
	ctx context.Context, env probes.Env, job *modelv1.ScanJob, end *endpoint, seen *survey,
) (*probes.Result, error) {
	result := &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE}
	fact := seen.fact()
	fact.Address, fact.Port = end.remote(), job.GetTarget().GetPort()
	fact.ServerName, fact.Starttls = end.name, end.protocol
	problem := p.certificates(fact, seen, end)
	if problem == "" {
		problem = seen.missed
	}
	if problem != "" {
		result.Outcome, result.Reason = modelv1.Outcome_OUTCOME_PARTIAL, problem
	}
	// The scan's time may be over; what it found is stored all the same.
	evidence, err := env.Evidence(context.WithoutCancel(ctx), "tls", seen.evidence(), false)
	if err != nil {
		return nil, fmt.Errorf("store tls evidence: %w", err)
	}
	if evidence != nil {
		evidence.Excerpt = excerpt(fact)
	}
	observation := probes.NewObservation(job, probes.Location(job.GetTarget()), "tls")
	observation.Evidence = evidence
	observation.Fact = &modelv1.Observation_Tls{Tls: fact}
	result.Observations = []*modelv1.Observation{observation}
	return result, nil
}

// certificates writes the chain into the fact. It returns what kept it from being read and judged.
func (p *Probe) certificates(fact *modelv1.TlsFact, seen *survey, end *endpoint) string {
	var chain []certificate
	for i, der := range seen.chain {
		c, err := readCertificate(der)
		if err != nil {
			return fmt.Sprintf("certificate %d of the chain: %v", i+1, err)
		}
		chain = append(chain, c)
		fact.Chain = append(fact.Chain, c.fact())
	}
	if len(chain) == 0 {
		if seen.anonymous() {
			return ""
		}
		return "the server's certificate could not be collected"
	}
	fact.SctCount = uint32(seen.scts + chain[0].embeddedSCTs())
	fact.NameMatches = chain[0].matches(end.asked())
	roots := p.roots()
	if roots == nil {
		return "this machine has no trusted roots to judge the chain by"
	}
	fact.Trusted, fact.TrustError = judge(chain, roots, time.Now())
	return ""
}
