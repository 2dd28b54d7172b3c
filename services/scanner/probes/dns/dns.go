// Package dns is the scan type DNS: what the DNS says about one name.
//
// It asks the operator's resolver for the records of the name, and, where the name is the apex of a zone, the zone's own name
// servers whether they have authority, hand the zone to anybody, or answer for everybody; and it checks the zone's signatures
// itself. Of a domain it also reads what it says about mail: SPF by RFC 7208, DMARC by RFC 9989, DKIM keys at common selectors,
// MTA-STS with its policy, TLS reporting, DANE and BIMI. It looks for what points to something that does not exist (aliases, name
// servers, mail exchangers, services, includes), whether that can be registered, and confirms a takeover only by the provider's
// own answer, twice.
//
// It refuses to guess: names of a zone are learned from the zone's own records, not from lists.
//
// A question that was not answered is never an empty answer: NXDOMAIN and an empty NOERROR are facts, a time-out and SERVFAIL
// make the scan partial or failed, and a fact that the missing answer could turn into an accusation (no CAA, no DMARC) is left
// out altogether.
package dns

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Options tune the probe. The zero value is right for production.
type Options struct {
	// Resolver is the recursive DNS server to ask, as address:port. Empty: the guard's, else the first of the system's. The way
	// to it is not judged: it is the operator's, and commonly private.
	Resolver string
	// NameServerPort is where the name servers of zones are asked. 0: port 53, and for one on a loopback address (which only a
	// laboratory has) the resolver's own port.
	NameServerPort uint16
}

// limits are the bounds of one scan; tests make them shorter.
type limits struct {
	// try bounds one question over one transport.
	try time.Duration
	// again is the pause before a proof of a takeover is asked for a second time.
	again time.Duration
	// failure is the pause before a question that the resolver failed at is asked once more.
	failure time.Duration
}

// failureKept is a little more than resolvers keep a failure at the least: one second (RFC 9520 section 3.2). Asked sooner, they answer
// the same without having tried.
const failureKept = 1100 * time.Millisecond

// Probe is the scan type DNS. It is safe for concurrent use.
type Probe struct {
	options   Options
	limits    limits
	providers func() []provider
	// webPorts are where a provider's answer is asked for: http and https.
	webPorts [2]uint16
	// anchors are the DS records of the root's keys.
	anchors func() []*mdns.DS
	// mailPort is where mail exchangers listen.
	mailPort uint16
	// roots are what the certificate of an MTA-STS host is checked against; nil for none, and then it is not judged.
	roots func() *x509.CertPool
}

// New makes the probe. It opens and reads nothing.
func New(o Options) *Probe {
	return &Probe{
		options: o, limits: limits{try: 2 * time.Second, again: 2 * time.Second, failure: failureKept}, providers: loadProviders,
		anchors: rootAnchors, webPorts: [2]uint16{80, 443}, mailPort: 25, roots: sync.OnceValue(systemRoots),
	}
}

// ScanType is DNS.
func (*Probe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_DNS }

// Version names this revision of the facts.
func (*Probe) Version() string { return "dns/2" }

// Scan looks at the job's name. Facts about mail come for an asset of kind domain that is the apex of its zone, and not for
// every host below it.
func (p *Probe) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	name := strings.ToLower(strings.TrimSuffix(job.GetTarget().GetValue(), "."))
	if host := job.GetTarget().GetHost(); host != "" {
		name = strings.ToLower(strings.TrimSuffix(host, "."))
	}
	if _, err := netip.ParseAddr(name); err == nil || !plausible(name) {
		return nil, errors.New("scan dns: the target is no name")
	}
	r, err := newResolver(env, p)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, probes.Budget(job, probes.DefaultBudget))
	defer cancel()
	s := &scan{
		probe: p, env: env, job: job, resolver: r, name: name, passive: job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_PASSIVE,
		registry: map[string]bool{}, silent: map[string]error{},
	}
	s.run(ctx)
	return s.result(context.WithoutCancel(ctx))
}

// plausible says that name can be asked for: labels of 1 to 63 bytes, 253 in all (RFC 1035 section 2.3.4), letters, digits,
// hyphens and underscores.
func plausible(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}

// systemRoots are the machine's certification authorities, nil if it has none.
func systemRoots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil || pool.Equal(x509.NewCertPool()) {
		return nil
	}
	return pool
}
