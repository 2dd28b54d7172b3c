package scanner

import (
	"context"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"sync"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// cloudSettings are about the interfaces of cloud providers.
type cloudSettings struct {
	// URLs are where the interfaces of a provider are reached instead of at their own addresses: "aws=https://...,azure=https://...",
	// for a proxy, a private endpoint or a stand-in.
	URLs map[string]string `env:"RISKPROFILER_CLOUD_URLS" envSeparator:"," envKeyValSeparator:"="`
	// Regions limits the regions that are read, for providers that have regions; empty: all that the account has enabled.
	Regions []string `env:"RISKPROFILER_CLOUD_REGIONS"`
}

// regionForm is that of the names of regions.
var regionForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9-]{1,40}$`) })

// validate says what is wrong, without showing a URL: it may have a password in it.
func (c cloudSettings) validate() error {
	for _, name := range slices.Sorted(maps.Keys(c.URLs)) {
		u, err := url.Parse(c.URLs[name])
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			return fault.New(fault.Invalid, "read settings: RISKPROFILER_CLOUD_URLS: what stands for %q is no http or https URL", name)
		}
	}
	for _, r := range c.Regions {
		if !regionForm().MatchString(r) {
			return fault.New(fault.Invalid, "read settings: RISKPROFILER_CLOUD_REGIONS: %q is no region; an example is eu-west-1,us-east-1", r)
		}
	}
	return nil
}

// guard is the way to the interfaces. Where the operator names their addresses these may be private: no target has a say in it.
func (c cloudSettings) guard(o netguard.Options) *netguard.Guard {
	o.AllowPrivate = o.AllowPrivate || len(c.URLs) > 0
	return netguard.New(o)
}

// entersClouds says whether a scan type goes into the accounts of tenants.
func entersClouds(list []probes.Probe) bool {
	return slices.ContainsFunc(list, func(p probes.Probe) bool { return p.ScanType() == modelv1.ScanType_SCAN_TYPE_CLOUD })
}

// guardOf is the way to the network of one job: the interfaces of a cloud provider are no targets, and what the tenant excludes from
// scans is not about them.
func (s *Service) guardOf(job *modelv1.ScanJob, permitted *netguard.Guard) *netguard.Guard {
	if job.GetScanType() == modelv1.ScanType_SCAN_TYPE_CLOUD {
		return s.cloudGuard
	}
	return permitted
}

// holdersAtATime is how many places one call asks about: the limit of FindHolders.
const holdersAtATime = 100

// holders asks ingest which other accounts of the job's tenant hold addresses and names.
func (s *Service) holders(job *modelv1.ScanJob) func(context.Context, []string) ([]string, error) {
	return func(ctx context.Context, places []string) ([]string, error) {
		out := make([]string, 0, len(places))
		for part := range slices.Chunk(places, holdersAtATime) {
			res, err := s.ingest.FindHolders(ctx, &ingestv1.FindHoldersRequest{Places: part, ExceptAccount: job.GetTarget().GetValue()})
			if err != nil {
				return nil, err
			}
			if len(res.GetAccounts()) != len(part) {
				return nil, fault.New(fault.Internal, "find holders: %d answers for %d places", len(res.GetAccounts()), len(part))
			}
			out = append(out, res.GetAccounts()...)
		}
		return out, nil
	}
}
