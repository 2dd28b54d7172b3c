package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// proofLife is how long a proof of ownership counts; then it has to be given again.
const proofLife = 30 * 24 * time.Hour

// maxSeeds and maxExclusions bound what one decision reads.
const (
	maxSeeds      = 10000
	maxExclusions = 10000
)

// scope is what decides: the tenant's seeds and exclusions, as of one moment.
type scope struct {
	seeds      []*modelv1.Asset
	exclusions []string
	now        time.Time
}

// CheckScope tells for each target whether it may be touched.
func (s *Service) CheckScope(ctx context.Context, req *ingestv1.CheckScopeRequest) (*ingestv1.CheckScopeResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	sc, err := s.loadScope(ctx, tenant)
	if err != nil {
		return nil, err
	}
	res := &ingestv1.CheckScopeResponse{}
	for _, t := range req.GetTargets() {
		found, err := s.foundBelow(ctx, tenant, t)
		if err != nil {
			return nil, err
		}
		reason, ok := sc.decide(t, found)
		res.Decisions = append(res.Decisions, &ingestv1.ScopeDecision{Target: t, Allowed: ok, Reason: reason})
	}
	return res, nil
}

func (s *Service) loadScope(ctx context.Context, tenant string) (*scope, error) {
	sc := &scope{now: time.Now()}
	seeds, err := s.queryAll(ctx, table.Query{Index: indexSeeds, Partition: tenantKey(tenant)}, maxSeeds)
	if err != nil {
		return nil, err
	}
	for _, item := range seeds {
		a, err := protoitem.Decode(item, &modelv1.Asset{})
		if err != nil {
			return nil, err
		}
		sc.seeds = append(sc.seeds, a)
	}
	exclusions, err := s.queryAll(ctx, table.Query{Partition: exclusionPartition(tenant)}, maxExclusions)
	if err != nil {
		return nil, err
	}
	for _, item := range exclusions {
		e, err := protoitem.Decode(item, &ingestv1.Exclusion{})
		if err != nil {
			return nil, err
		}
		sc.exclusions = append(sc.exclusions, e.GetValue())
	}
	return sc, nil
}

// queryAll reads all pages of a query up to limit items; more is an error, never a silent cut.
func (s *Service) queryAll(ctx context.Context, q table.Query, limit int) ([]table.Item, error) {
	var out []table.Item
	for {
		page, err := s.table.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		if out = append(out, page.Items...); len(out) > limit {
			return nil, fault.New(fault.ResourceExhausted, "more than %d items to decide over", limit)
		}
		if q.PageToken = page.NextPageToken; q.PageToken == "" {
			return out, nil
		}
	}
}

// foundBelow is the stored asset of a target's address or name, if it was discovered.
func (s *Service) foundBelow(ctx context.Context, tenant string, t *modelv1.Target) ([]*modelv1.Asset, error) {
	var keys []table.Key
	for _, v := range names(t) {
		keys = append(keys, assetKey(tenant, assetid.Name(int32(v.kind), v.value)))
	}
	items, err := s.table.GetAll(ctx, keys)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	var out []*modelv1.Asset
	for _, item := range items {
		a, err := protoitem.Decode(item, &modelv1.Asset{})
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

type named struct {
	kind  modelv1.AssetKind
	value string
}

// names are all things a target touches: its asset, the host it presents, the address it connects to.
func names(t *modelv1.Target) []named {
	out := []named{{t.GetKind(), t.GetValue()}}
	add := func(n named) {
		for _, o := range out {
			if o == n {
				return
			}
		}
		out = append(out, n)
	}
	if a := t.GetAddress(); a != "" {
		add(named{modelv1.AssetKind_ASSET_KIND_IP, a})
	}
	if h := t.GetHost(); h != "" && h != t.GetValue() {
		add(named{modelv1.AssetKind_ASSET_KIND_HOST, h})
	}
	return out
}

// decide judges one target: everything it touches must be covered by a seed whose ownership is proven now, and nothing of
// it may be excluded. found are stored assets of these names, with the seed they were found below.
func (sc *scope) decide(t *modelv1.Target, found []*modelv1.Asset) (string, bool) {
	reasons := make([]string, 0, 2)
	for _, n := range names(t) {
		if e := sc.excludedBy(n.value); e != "" {
			return fmt.Sprintf("%s is excluded by %s", n.value, e), false
		}
		reason, ok := sc.covered(n, found)
		if !ok {
			return reason, false
		}
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, "; "), true
}

func (sc *scope) covered(n named, found []*modelv1.Asset) (string, bool) {
	problem := fmt.Sprintf("%s lies below no seed of this tenant; add it as an asset and prove ownership", n.value)
	for _, seed := range sc.seeds {
		if !below(n.value, seed.GetValue()) {
			continue
		}
		o := asOf(seed.GetOwnership(), sc.now)
		if o.GetState() == modelv1.Ownership_STATE_VERIFIED {
			return fmt.Sprintf("%s lies in verified seed %s", n.value, seed.GetValue()), true
		}
		problem = fmt.Sprintf("ownership of %s is %s; prove it with a DNS record or a file, or have an operator attest it", seed.GetValue(), stateText(o.GetState()))
	}
	for _, a := range found {
		if a.GetValue() != n.value || a.GetOwnership().GetState() != modelv1.Ownership_STATE_INHERITED {
			continue
		}
		for _, seed := range sc.seeds {
			if seed.GetName() == a.GetOwnership().GetInheritedFrom() && asOf(seed.GetOwnership(), sc.now).GetState() == modelv1.Ownership_STATE_VERIFIED {
				return fmt.Sprintf("%s was found below verified seed %s", n.value, seed.GetValue()), true
			}
		}
	}
	return problem, false
}

func stateText(s modelv1.Ownership_State) string {
	switch s {
	case modelv1.Ownership_STATE_EXPIRED:
		return "proven too long ago"
	case modelv1.Ownership_STATE_VERIFIED:
		return "proven"
	}
	return "not proven"
}

// asOf is ownership as it stands at a moment: a proof counts for 30 days.
func asOf(o *modelv1.Ownership, now time.Time) *modelv1.Ownership {
	if o.GetState() == modelv1.Ownership_STATE_VERIFIED && !o.GetExpiresAt().AsTime().After(now) {
		o = proto.CloneOf(o)
		o.State = modelv1.Ownership_STATE_EXPIRED
	}
	return o
}

func (sc *scope) excludedBy(value string) string {
	for _, e := range sc.exclusions {
		if below(value, e) || overlaps(value, e) {
			return e
		}
	}
	return ""
}

// below says whether value is base or lies below it: a name below a name, an address or range in a range.
func below(value, base string) bool {
	if value == base {
		return true
	}
	if outer, err := prefix(base); err == nil {
		inner, err := prefix(value)
		return err == nil && outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
	}
	if _, err := prefix(value); err == nil {
		return false
	}
	return strings.HasSuffix(value, "."+base)
}

// overlaps says whether a range holds an excluded part: then it is not touched as a whole.
func overlaps(value, excluded string) bool {
	a, errA := prefix(value)
	b, errB := prefix(excluded)
	return errA == nil && errB == nil && a.Overlaps(b)
}

func prefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}
