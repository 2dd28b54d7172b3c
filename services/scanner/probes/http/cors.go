package http

import (
	"context"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// foreignHost is a host that no application has a reason to trust (RFC 2606 reserves the name).
const foreignHost = "riskprofiler-cors-check.example"

// foreignOrigin is the origin of the first CORS request.
const foreignOrigin = "https://" + foreignHost

// foreign asks with the Origin of another site, and, unless that is allowed, with origins that careless comparisons take for the
// application's own (https://portswigger.net/research/exploiting-cors-misconfigurations-for-bitcoins-and-bounties).
func (s *site) foreign(ctx context.Context, v *visit, found *findings) {
	allowed, credentials, ok := s.origins(ctx, v, found, foreignOrigin)
	if !ok {
		return
	}
	fact := &modelv1.CorsFact{AllowOrigin: probes.SafeString(allowed, 256), ReflectsOrigin: allowed == foreignOrigin, AllowsCredentials: credentials}
	if !fact.GetReflectsOrigin() && allowed != "*" {
		for _, o := range lookalikes(s.host) {
			if allowed, credentials, ok := s.origins(ctx, v, found, o.GetOrigin()); ok && allowed == o.GetOrigin() {
				o.Credentials = credentials
				fact.Trusts = append(fact.Trusts, o)
			}
		}
	}
	found.mu.Lock()
	defer found.mu.Unlock()
	if found.askedCORS = true; fact.GetAllowOrigin() != "" || len(fact.GetTrusts()) > 0 {
		found.cors = fact
	}
}

// origins asks the page with an Origin and reads who may read the answer.
func (s *site) origins(ctx context.Context, v *visit, found *findings, origin string) (allowed string, credentials, ok bool) {
	answer := s.get(ctx, found, ask{url: v.own.url, header: map[string]string{"Origin": origin}, limit: 1})
	if answer == nil {
		return "", false, false
	}
	allowed = strings.TrimSpace(answer.header.Get("Access-Control-Allow-Origin"))
	return allowed, allowed != "" && answer.header.Get("Access-Control-Allow-Credentials") == "true", true
}

// lookalikes are origins that only look like those of host. An address has no domain to imitate.
func lookalikes(host string) []*modelv1.CorsTrust {
	out := []*modelv1.CorsTrust{{Kind: "null", Origin: "null"}}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return out
	}
	host = strings.ToLower(host)
	domain := host
	if registrable, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		domain = registrable
	}
	return append(
		out,
		&modelv1.CorsTrust{Kind: "suffix", Origin: "https://" + host + "." + foreignHost},
		&modelv1.CorsTrust{Kind: "prefix", Origin: "https://riskprofiler-cors-check" + domain},
	)
}
