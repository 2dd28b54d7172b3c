// Package http is the scan type HTTP: what one web application answers to a few harmless requests.
//
// It asks for one path (the root if the job names none), follows redirects inside the same host, and reads the answer as
// facts: headers, cookies, forms, mixed content, scripts of other sites, technologies, default pages, products, debug pages. From the
// standard profile on it also asks for the favicon, with foreign Origins, with TRACE and OPTIONS, for security.txt, and for paths that
// should not answer: files, consoles, logins (data/exposures.json). Each of those is confirmed by the content of the answer and against
// what the application says to a path beside it that cannot exist, so that a catch-all page is never taken for an exposed file. How many
// requests that are at most is said in paths.go and in docs/politeness.md. Where the operator installed a browser it takes a screenshot.
//
// It refuses to change, send or log in to anything, and to keep a secret that it finds: the evidence of an exposed file is masked.
//
// The facts are about the job's own origin (scheme, host and port). Where it redirects to another one of the same host, as
// port 80 does to port 443, the chain is followed and recorded, but headers and body of the other origin are left to the job
// that scans it: else each of its faults would be found twice.
//
// A quick scan ends as partial: it did not look at paths, so what an earlier scan found there is not gone.
//
// Everything a target sends is bounded: header block 64 KiB and 200 headers, body 2 MiB, one layer of compression at a ratio
// of 100:1, 5 redirects, 64 bytes a second. HTTP/2 is spoken only to a server that refuses HTTP/1.1.
package http

import (
	"context"
	"errors"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// parallel is how many requests one application gets at once.
const parallel = 4

// maxRedirects is the longest chain that is followed.
const maxRedirects = 5

// Options tune the probe. The zero value is right for production.
type Options struct {
	// UserAgent names the scanner. Empty: [probes.UserAgent], which names the operator's contact.
	UserAgent string
}

// limits are the bounds of one scan; tests make them shorter.
type limits struct {
	dial, quickDial, handshake, firstByte, slowAfter time.Duration
	body                                             int64
}

// Probe is the scan type HTTP. It is safe for concurrent use.
type Probe struct {
	options Options
	limits  limits
	// browsers are the places of those that run at a time.
	browsers chan struct{}
}

// New makes the probe. It opens and reads nothing.
func New(o Options) *Probe {
	return &Probe{options: o, browsers: make(chan struct{}, browsers), limits: limits{
		dial: probes.DialTimeout, quickDial: probes.QuickDialTimeout, handshake: probes.HandshakeTimeout,
		firstByte: probes.FirstByteTimeout, slowAfter: probes.SlowAfter, body: probes.MaxBodyBytes,
	}}
}

// ScanType is HTTP.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_HTTP }

// Version names this revision of the facts.
func (*Probe) Version() string { return "http/2" }

// Scan looks at the web application at the job's target. The target's tls flag is a hint: a port that turns out to speak the
// other of http and https is scanned as what it is.
//
// Nothing listening, and a peer that does not speak HTTP, are complete scans without observation.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	target := job.GetTarget()
	if target.GetPort() == 0 || target.GetPort() > 65535 || (target.GetHost() == "" && target.GetAddress() == "") {
		return nil, errors.New("scan http: the target has no port, or neither host nor address")
	}
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_PASSIVE {
		return incomplete(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "passive profile: no packet is sent to the target"), nil
	}
	ctx, cancel := withBudget(ctx, &env, probes.Budget(job, probes.DefaultBudget))
	defer cancel()
	s, err := newSite(env, job, p)
	if err != nil {
		return unreachable(err), nil
	}
	defer s.close()
	first, err := s.enter(ctx, target)
	if err != nil {
		return s.unreachable(err), nil
	}
	visit := s.follow(ctx, first)
	found := &findings{}
	switch job.GetOptions().GetProfile() {
	case modelv1.Profile_PROFILE_QUICK:
		s.lookQuickly(ctx, visit, found)
	case modelv1.Profile_PROFILE_DEEP:
		s.lookAround(ctx, visit, found, places(true, target.GetHost()))
	default:
		s.lookAround(ctx, visit, found, places(false, target.GetHost()))
	}
	if job.GetOptions().GetProfile() != modelv1.Profile_PROFILE_QUICK {
		if err := s.shoot(ctx, p, visit, found); err != nil {
			return nil, err
		}
	}
	return p.report(context.WithoutCancel(ctx), env, job, s, visit, found)
}

// withBudget returns a context that ends when the scan has worked for that long. What it waits for permits does not count: see
// [probes.WithPatience].
func withBudget(ctx context.Context, env *probes.Env, budget time.Duration) (context.Context, context.CancelFunc) {
	permit := env.Permit
	if permit == nil {
		return context.WithTimeout(ctx, budget)
	}
	waits := &probes.Waits{}
	env.Permit = func(ctx context.Context, host string, cost int) error {
		end := waits.Begin()
		defer end()
		return permit(ctx, host, cost)
	}
	return probes.WithPatience(ctx, budget, waits)
}
