package scanner

import (
	"context"
	"maps"
	"slices"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// thirdPartySettings are about those that are asked and not scanned.
type thirdPartySettings struct {
	// ProviderURLs replace the URLs of providers: "shodan=https://...,crt.sh=https://...", for a mirror or a proxy.
	ProviderURLs map[string]string `env:"RISKPROFILER_PROVIDER_URLS" envSeparator:"," envKeyValSeparator:"="`
	// ProviderRequests bounds the requests of one assessment to one provider.
	ProviderRequests int `env:"RISKPROFILER_PROVIDER_REQUESTS" envDefault:"1000"`
	// InternetDB permits Shodan's InternetDB, which needs no key and is for non-commercial use only.
	InternetDB bool `env:"RISKPROFILER_INTERNETDB"`
}

// asksThirdParties says whether a scan type needs the tenants' keys: the others' functions may not read them.
func asksThirdParties(t modelv1.ScanType) bool {
	return t == modelv1.ScanType_SCAN_TYPE_SUBDOMAIN || t == modelv1.ScanType_SCAN_TYPE_INTEL || t == modelv1.ScanType_SCAN_TYPE_CLOUD
}

// secretsOf is what a scanner of these scan types may do with secrets.
func secretsOf(list []probes.Probe) app.SecretAccess {
	if slices.ContainsFunc(list, func(p probes.Probe) bool { return asksThirdParties(p.ScanType()) }) {
		return app.ReadsSecrets
	}
	return ""
}

// thirdParties makes the client of third parties; nil where no scan type asks any.
func thirdParties(d app.Deps, c settings, list []probes.Probe, contact string) (*providers.Client, error) {
	if secretsOf(list) == "" {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.Third.ProviderURLs)) {
		if err := providers.CheckBase(name, c.Third.ProviderURLs[name]); err != nil {
			return nil, fault.New(fault.Invalid, "read settings: RISKPROFILER_PROVIDER_URLS: %v", err)
		}
	}
	o := providers.Options{
		Table: d.Table(limitsTable), Secrets: d.SecretReader(), Evidence: d.Bucket(evidenceBucket), Bases: c.Third.ProviderURLs,
		// Where the operator names the address it may be a private one: no target has a say in it.
		Guard:         netguard.New(netguard.Options{AllowPrivate: c.AllowPrivate || len(c.Third.ProviderURLs) > 0, Resolver: c.Resolver}),
		UserAgent:     probes.UserAgent(probes.Env{Contact: contact}),
		PerAssessment: c.Third.ProviderRequests, Logger: d.Logger,
	}
	if !c.Third.InternetDB {
		o.Disabled = append(o.Disabled, providers.InternetDB.Name)
	}
	return providers.New(o), nil
}

// desk is the way to third parties for one job; nil where there is none.
func (s *Service) desk(job *modelv1.ScanJob) *providers.Desk {
	if s.providers == nil {
		return nil
	}
	return s.providers.For(job.GetTenant(), job.GetAssessment(), 0)
}

// credential is the way to what a tenant stored for its clouds; nil where this scanner reads no secrets.
func (s *Service) credential(tenant string) func(context.Context, string) (string, error) {
	if s.providers == nil {
		return nil
	}
	return func(ctx context.Context, cloud string) (string, error) {
		return s.providers.Credential(ctx, tenant, cloud)
	}
}

// ListQuotas shows the caller's tenant what it has used of its keys.
func (s *Service) ListQuotas(ctx context.Context, _ *scannerv1.ListQuotasRequest) (*scannerv1.ListQuotasResponse, error) {
	p, ok := authn.FromContext(ctx)
	if !ok || p.Tenant == "" {
		return nil, fault.New(fault.PermissionDenied, "the caller belongs to no tenant")
	}
	if s.providers == nil {
		return nil, fault.New(fault.Unimplemented, "this scanner asks no third parties")
	}
	quotas, err := s.providers.Quotas(ctx, p.Tenant)
	return &scannerv1.ListQuotasResponse{Quotas: quotas}, err
}
