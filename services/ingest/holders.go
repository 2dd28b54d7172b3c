package ingest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// holderAge is how long an inventory speaks for an account: as long as a proof of ownership does.
const holderAge = 30 * 24 * time.Hour

// looksAtATime is how many places are looked up side by side.
const looksAtATime = 16

// FindHolders tells which connected accounts hold addresses and names.
func (s *Service) FindHolders(ctx context.Context, req *ingestv1.FindHoldersRequest) (*ingestv1.FindHoldersResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	res := &ingestv1.FindHoldersResponse{Accounts: make([]string, len(req.GetPlaces()))}
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(looksAtATime)
	for i, place := range req.GetPlaces() {
		group.Go(together.Safely(func() error {
			facts, err := s.cloudFacts(looking, tenant, place)
			res.Accounts[i] = holder(facts, place, req.GetExceptAccount(), time.Now())
			return err
		}))
	}
	return res, group.Wait()
}

// cloudFacts are what inventories say of an address or a name.
func (s *Service) cloudFacts(ctx context.Context, tenant, place string) ([]*modelv1.Observation, error) {
	t, err := target.Parse(place)
	if err != nil {
		return nil, nil //nolint:nilerr // nobody holds what is neither
	}
	prefix := prefixSet + modelv1.ScanType_SCAN_TYPE_CLOUD.String() + "#"
	items, err := s.queryAll(ctx, table.Query{Partition: assetPartition(tenant, assetid.Name(int32(t.Kind), t.Value)), Prefix: prefix}, maxSets)
	if err != nil {
		return nil, err
	}
	var facts []*modelv1.Observation
	for _, item := range items {
		set, err := protoitem.Decode(item, &modelv1.ObservationSet{})
		if err != nil {
			return nil, err
		}
		facts = append(facts, present(set)...)
	}
	return facts, nil
}

// holder is the account that holds a place, of several the first by name; "" if none does.
func holder(facts []*modelv1.Observation, place, except string, now time.Time) string {
	var accounts []string
	for _, o := range facts {
		f := o.GetCloud()
		account := f.GetProvider() + ":" + f.GetAccount()
		if account != except && o.GetLastSeen().AsTime().After(now.Add(-holderAge)) && reachedBy(f, place) {
			accounts = append(accounts, account)
		}
	}
	if len(accounts) == 0 {
		return ""
	}
	return slices.Min(accounts)
}

// reachedBy says whether a place is among the addresses and names of a resource.
func reachedBy(f *modelv1.CloudFact, place string) bool {
	if addr, err := netip.ParseAddr(place); err == nil {
		return slices.ContainsFunc(f.GetAddresses(), func(text string) bool {
			a, err := netip.ParseAddr(text)
			return err == nil && a.Unmap() == addr.Unmap()
		})
	}
	return slices.ContainsFunc(f.GetHostnames(), func(name string) bool {
		return strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(place, "."))
	})
}
