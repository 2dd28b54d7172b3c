package providers

import (
	"net/http"
	"slices"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
)

// Provider is one third party: how it is reached, and what it allows where a tenant's plan does not say otherwise.
type Provider struct {
	// Name in reports, settings and secrets.
	Name string
	// base is the URL before the path of a question.
	base string
	// authenticate puts the key into a request; nil: the provider takes none.
	authenticate func(r *http.Request, key string)
	// limits of the smallest plan, or of courtesy.
	limits Limits
	// fresh is how long an answer is not asked for again.
	fresh time.Duration
	// timeout bounds one request with its answer.
	timeout time.Duration
	// maxBody bounds the bytes of one answer.
	maxBody int
}

// Limits are what a provider allows a key; 0 is no limit.
type Limits struct {
	// Requests in any Window.
	Requests int
	Window   time.Duration
	// Day and Month are requests of a calendar period in UTC, Credits units of account of a month.
	Day, Month, Credits int
}

// Keyed says that the provider wants a key of the tenant's.
func (p *Provider) Keyed() bool { return p.authenticate != nil }

func header(name, before string) func(*http.Request, string) {
	return func(r *http.Request, key string) { r.Header.Set(name, before+key) }
}

func parameter(name string) func(*http.Request, string) {
	return func(r *http.Request, key string) {
		query := r.URL.Query()
		query.Set(name, key)
		r.URL.RawQuery = query.Encode()
	}
}

// The providers.
var (
	// CrtSh is Sectigo's search over the logs of Certificate Transparency (https://crt.sh). It publishes no limit for its web
	// interface; five a minute is ours, for a service that is free and often slow.
	CrtSh = &Provider{
		Name: "crt.sh", base: "https://crt.sh", limits: Limits{Requests: 5, Window: time.Minute},
		fresh: 12 * time.Hour, timeout: 45 * time.Second, maxBody: 16 << 20,
	}
	// CertSpotter is SSLMate's search over the same logs (https://sslmate.com/help/reference/ct_search_api_v1). The free plan
	// allows 10 full-domain questions an hour (https://sslmate.com/ct_search_api/).
	CertSpotter = &Provider{
		Name: "certspotter", base: "https://api.certspotter.com/v1", authenticate: header("Authorization", "Bearer "),
		limits: Limits{Requests: 10, Window: time.Hour}, fresh: 12 * time.Hour, timeout: 30 * time.Second, maxBody: 8 << 20,
	}
	// Shodan is the search engine (https://developer.shodan.io/api): one request a second on all plans; looking at an address
	// costs nothing, a question about a domain one query credit, of which the membership has 100 a month
	// (https://help.shodan.io/the-basics/credit-types-explained).
	Shodan = &Provider{
		Name: "shodan", base: "https://api.shodan.io", authenticate: parameter("key"),
		limits: Limits{Requests: 1, Window: time.Second, Credits: 100}, fresh: 24 * time.Hour, timeout: 20 * time.Second, maxBody: 8 << 20,
	}
	// InternetDB is Shodan's free summary of an address (https://internetdb.shodan.io): no key, renewed weekly, for
	// non-commercial use, and so off unless the operator says that it is permitted. One a second is ours.
	InternetDB = &Provider{
		Name: "internetdb", base: "https://internetdb.shodan.io", limits: Limits{Requests: 1, Window: time.Second},
		fresh: 7 * 24 * time.Hour, timeout: 10 * time.Second, maxBody: 1 << 20,
	}
	// VirusTotal is version 3 of its API (https://docs.virustotal.com/reference/overview). The public API allows 4 requests a
	// minute and 500 a day, and must not be used in commercial products: a tenant whose plan is another says so with the key
	// (https://docs.virustotal.com/reference/public-vs-premium-api).
	VirusTotal = &Provider{
		Name: "virustotal", base: "https://www.virustotal.com/api/v3", authenticate: header("X-Apikey", ""),
		limits: Limits{Requests: 4, Window: time.Minute, Day: 500}, fresh: 24 * time.Hour, timeout: 20 * time.Second, maxBody: 4 << 20,
	}
	// RDAP are the registries of domains, found by IANA's list (https://data.iana.org/rdap/dns.json, RFC 9224), which asks to be kept as long
	// as its headers say: a day. Each registry has a ledger of its own. They publish no limits but refuse who asks often; one a
	// second is ours.
	RDAP = &Provider{
		Name: "rdap", base: "https://data.iana.org/rdap", limits: Limits{Requests: 1, Window: time.Second},
		fresh: 24 * time.Hour, timeout: 15 * time.Second, maxBody: 2 << 20,
	}
	// SecurityTrails is version 1 of its API (https://docs.securitytrails.com/reference/list-subdomains-old-1). The free plan
	// has 50 requests a month; one a second is ours.
	SecurityTrails = &Provider{
		Name: "securitytrails", base: "https://api.securitytrails.com/v1", authenticate: header("Apikey", ""),
		limits: Limits{Requests: 1, Window: time.Second, Month: 50}, fresh: 24 * time.Hour, timeout: 20 * time.Second, maxBody: 4 << 20,
	}
)

// All are the providers, one line each.
func All() []*Provider {
	return []*Provider{CertSpotter, CrtSh, InternetDB, RDAP, SecurityTrails, Shodan, VirusTotal}
}

// Named is a provider by its name, nil if there is none.
func Named(name string) *Provider {
	i := slices.IndexFunc(All(), func(p *Provider) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return All()[i]
}

// maxWindow bounds the requests of a sliding window: each is a number in the ledger. A plan that allows more in a minute is used
// up to here.
const maxWindow = 1000

// limitsWith are the provider's limits with what the tenant's plan says instead.
func (p *Provider) limitsWith(plan *modelv1.ProviderLimits) *scannerv1.QuotaLimits {
	out := &scannerv1.QuotaLimits{
		WindowRequests: uint32(p.limits.Requests), WindowSeconds: uint32(p.limits.Window / time.Second), RequestsPerDay: uint32(p.limits.Day),
		RequestsPerMonth: uint32(p.limits.Month), CreditsPerMonth: uint32(p.limits.Credits),
	}
	if n := plan.GetRequestsPerMinute(); n > 0 {
		out.WindowRequests, out.WindowSeconds = n, 60
	}
	out.WindowRequests = min(out.GetWindowRequests(), maxWindow)
	for _, set := range []struct {
		into *uint32
		to   uint32
	}{
		{&out.RequestsPerDay, plan.GetRequestsPerDay()}, {&out.RequestsPerMonth, plan.GetRequestsPerMonth()}, {&out.CreditsPerMonth, plan.GetCreditsPerMonth()},
	} {
		if set.to > 0 {
			*set.into = set.to
		}
	}
	return out
}
