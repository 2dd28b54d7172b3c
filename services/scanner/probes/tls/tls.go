// Package tls is the scan type TLS: what one endpoint offers in protocol versions, cipher suites, certificates and extensions.
//
// Versions, suites, groups and most behaviour are told from what servers say in the clear before any key is agreed on: the probe
// writes its own ClientHello, reads the answer and leaves. So it can offer what no library implements any more (SSLv2, SSLv3,
// export, anonymous and NULL suites, every group), computes nothing for a hostile peer, and needs no old cryptography in the
// binary; that is why it has an engine of its own and not a forked TLS library. Only the chain of TLS 1.3, ALPN, tickets and
// renegotiation need complete handshakes, which crypto/tls makes.
//
// Suites and groups are listed by elimination: everything is offered, and what the server chose is taken away until it
// refuses. A scan opens at most maxHandshakes connections and says how many it opened. The quick profile tells the classes of
// suites only, with about a dozen.
//
// It refuses to judge: it verifies nothing to collect, and says trust and name match as facts. Certificates are read by
// crypto/x509; one which that refuses is read in outline. It asks nothing that ends a server, and keeps no byte of memory that a
// broken one might disclose; what cannot be tested without harm is named in oddities.go and not tested.
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
	// ExtraRoots are trusted beside Mozilla's roots, such as an organisation's own authority.
	ExtraRoots []*x509.Certificate
}

// limits are the bounds of one scan; tests make them shorter.
type limits struct {
	dial, quickDial, handshake time.Duration
	// settle is how long a test waits for an answer that may never come.
	settle time.Duration
}

// parallel is how many connections one endpoint gets at once.
const parallel = 4

// settle is how long a question is given whose answer may well be silence.
const settle = 2 * time.Second

// maxHandshakes bounds the connections of one scan. It needs one for each accepted suite and version, and some 50 more; a server
// that accepts everything OpenSSL ever had takes about 250.
const maxHandshakes = 400

// Probe is the scan type TLS. It is safe for concurrent use.
type Probe struct {
	limits limits
	// roots is loaded with the first scan: reading a hundred certificates has no place in a cold start.
	roots func() stores
}

// New makes the probe. It opens and reads nothing.
func New(o Options) *Probe {
	return &Probe{
		limits: limits{dial: probes.DialTimeout, quickDial: probes.QuickDialTimeout, handshake: probes.HandshakeTimeout, settle: settle},
		roots:  sync.OnceValue(func() stores { return trustStores(o.ExtraRoots) }),
	}
}

// ScanType is TLS.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_TLS }

// Version names this revision of the facts.
func (*Probe) Version() string { return "tls/2" }

// Scan looks at one endpoint: the port of the job's target, asked for by the target's host name or plainly by its address. A
// target whose service is one of upgrades and does not speak TLS is upgraded first.
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
	seen := end.survey(ctx, first, depthOf(job.GetOptions().GetProfile()))
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
	fact.Grade = grade(fact)
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
	v := judge(chain, p.roots(), time.Now())
	fact.Trusted, fact.TrustStore, fact.TrustError = v.store != "", v.store, v.problem
	fact.NameMatches = chain[0].matches(end.asked())
	fact.ChainFaults = chainFaults(chain)
	status(fact, seen, chain[0], v.issuer)
	return ""
}

// status writes down what came along about the leaf: its revocation status, and the promises of logs to publish it.
func status(fact *modelv1.TlsFact, seen *survey, leaf certificate, issuer *x509.Certificate) {
	var stapled [][]byte
	if len(seen.staple) > 0 && leaf.parsed != nil {
		fact.Ocsp, stapled = readStaple(seen.staple, leaf.parsed, issuer)
	}
	for _, from := range []struct {
		source string
		list   [][]byte
	}{{sctCertificate, leaf.embeddedSCTs()}, {sctTLS, seen.scts}, {sctOCSP, stapled}} {
		fact.SctCount += uint32(len(from.list))
		for _, raw := range from.list {
			if sct := readSCT(raw, from.source); sct != nil && len(fact.GetScts()) < maxSCTs {
				fact.Scts = append(fact.Scts, sct)
			}
		}
	}
}
