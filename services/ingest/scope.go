package ingest

import (
	"context"
	"errors"
	"slices"
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

// What one decision reads at most. More is an error, never a silent cut.
const (
	maxSeeds      = 10000
	maxExclusions = 10000
	// maxGlobal bounds the stops and do-not-scan entries of all tenants together.
	maxGlobal = 10000
)

// CheckScope tells for each target whether what is to be done to it may be done.
func (s *Service) CheckScope(ctx context.Context, req *ingestv1.CheckScopeRequest) (*ingestv1.CheckScopeResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(req.GetScanTypes()); n != 0 && n != len(req.GetTargets()) {
		return nil, fault.WithField(fault.New(fault.Invalid, "%d scan types for %d targets; name one for each, or none", n, len(req.GetTargets())), "scan_types", "one for each target")
	}
	sc, recent, err := s.recentScope(ctx, tenant)
	if err != nil {
		return nil, err
	}
	found, err := s.foundBelow(ctx, tenant, req.GetTargets())
	if err != nil {
		return nil, err
	}
	res, err := s.decideAll(ctx, tenant, sc, req, found)
	if err != nil {
		return nil, err
	}
	if recent && slices.ContainsFunc(res.GetDecisions(), func(d *ingestv1.ScopeDecision) bool { return !d.GetAllowed() }) {
		if sc, err = s.freshScope(ctx, tenant); err != nil {
			return nil, err
		}
		if res, err = s.decideAll(ctx, tenant, sc, req, found); err != nil {
			return nil, err
		}
	}
	if req.GetWithDenied() {
		res.Denied = sc.denied()
	}
	return res, nil
}

// decideAll decides over every target of a request, after looking at proofs again where it asks for that.
func (s *Service) decideAll(ctx context.Context, tenant string, sc *scope, req *ingestv1.CheckScopeRequest, found []*modelv1.Asset) (*ingestv1.CheckScopeResponse, error) {
	var err error
	if req.GetRecheck() {
		if sc, err = s.confirm(ctx, tenant, sc, req.GetTargets(), found); err != nil {
			return nil, err
		}
	}
	res := &ingestv1.CheckScopeResponse{}
	for i, t := range req.GetTargets() {
		scanType := modelv1.ScanType_SCAN_TYPE_UNSPECIFIED
		if len(req.GetScanTypes()) > 0 {
			scanType = req.GetScanTypes()[i]
		}
		d := sc.decide(t, needed(scanType, req.GetProfile()), found)
		if d.GetAllowed() && scanType == modelv1.ScanType_SCAN_TYPE_CLOUD {
			if d.Cloud, err = s.cloudAccess(ctx, tenant, sc, t); err != nil {
				return nil, err
			}
		}
		res.Decisions = append(res.Decisions, d)
	}
	return res, nil
}

// denied are the addresses and ranges among what must not be touched.
func (sc *scope) denied() []string {
	var out []string
	for _, m := range []*matcher{sc.banned, sc.stopped, sc.excluded} {
		for _, n := range m.nets {
			out = append(out, n.prefix.String())
		}
	}
	return out
}

func (s *Service) loadScope(ctx context.Context, tenant string) (*scope, error) {
	sc := &scope{now: time.Now()}
	banned, err := s.doNotScan.values()
	if err != nil {
		return nil, err
	}
	sc.banned = newMatcher(banned)
	if err := s.loadGlobal(ctx, tenant, sc); err != nil {
		return nil, err
	}
	sc.seeds, err = loadAll[modelv1.Asset](ctx, s, table.Query{Index: indexSeeds, Partition: tenantKey(tenant)}, maxSeeds)
	if err != nil {
		return nil, err
	}
	own, err := loadAll[ingestv1.Stop](ctx, s, table.Query{Partition: stopPartition(tenant)}, maxGlobal)
	if err != nil {
		return nil, err
	}
	sc.stops = append(sc.stops, own...)
	exclusions, err := loadAll[ingestv1.Exclusion](ctx, s, table.Query{Partition: exclusionPartition(tenant)}, maxExclusions)
	if err != nil {
		return nil, err
	}
	for _, e := range exclusions {
		sc.exclusions = append(sc.exclusions, e.GetValue())
	}
	sc.index()
	return sc, nil
}

// index makes what is looked up quickly.
func (sc *scope) index() {
	sc.excluded, sc.stopped, sc.owned = newMatcher(sc.exclusions), newMatcher(nil), newMatcher(nil)
	for i, stop := range sc.stops {
		if stop.GetTarget() != "" {
			sc.stopped.add(stop.GetTarget(), i)
		}
	}
	for i, seed := range sc.seeds {
		sc.owned.add(seed.GetValue(), i)
	}
}

// loadGlobal reads what operators forbade: the entries of the do-not-scan list, and the stops that concern a tenant.
func (s *Service) loadGlobal(ctx context.Context, tenant string, sc *scope) error {
	items, err := s.globalItems(ctx)
	if err != nil {
		return err
	}
	for _, item := range items {
		if isEntry(item.Key) {
			e, err := protoitem.Decode(item, &ingestv1.DoNotScanEntry{})
			if err != nil {
				return err
			}
			sc.banned.add(e.GetValue(), 0)
			continue
		}
		stop, err := protoitem.Decode(item, &ingestv1.Stop{})
		if err != nil {
			return err
		}
		if concerns(stop, tenant) {
			sc.stops = append(sc.stops, stop)
		}
	}
	return nil
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

// message is a pointer to a message of type T.
type message[T any] interface {
	*T
	proto.Message
}

// loadAll reads and decodes all items of a query, up to a limit.
func loadAll[T any, M message[T]](ctx context.Context, s *Service, q table.Query, limit int) ([]M, error) {
	items, err := s.queryAll(ctx, q, limit)
	if err != nil {
		return nil, err
	}
	return decodeAll[T, M](items)
}

func decodeAll[T any, M message[T]](items []table.Item) ([]M, error) {
	out := make([]M, 0, len(items))
	for _, item := range items {
		m, err := protoitem.Decode(item, M(new(T)))
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// putOnce stores what is not there yet, and returns what is there then: the same wish again is the same object.
func putOnce[T any, M message[T]](ctx context.Context, t *table.Table, key table.Key, m M) (M, error) {
	item, err := protoitem.New(key, m)
	if err != nil {
		return nil, err
	}
	if err := t.Write(ctx, table.Write{Item: item}); !isConflict(err) {
		return m, err
	}
	old, err := t.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return protoitem.Decode(old, M(new(T)))
}

// foundBelow are the stored assets of all that targets touch.
func (s *Service) foundBelow(ctx context.Context, tenant string, targets []*modelv1.Target) ([]*modelv1.Asset, error) {
	var keys []table.Key
	seen := map[table.Key]bool{}
	for _, t := range targets {
		for _, n := range names(t) {
			if key := assetKey(tenant, assetid.Name(int32(n.kind), n.value)); !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	var out []*modelv1.Asset
	for len(keys) > 0 {
		chunk := keys[:min(len(keys), table.MaxGetItems)]
		items, err := s.table.GetAll(ctx, chunk)
		if err != nil && !errors.Is(err, fault.NotFound) {
			return nil, err
		}
		assets, err := decodeAll[modelv1.Asset](items)
		if err != nil {
			return nil, err
		}
		out, keys = append(out, assets...), keys[len(chunk):]
	}
	return out, nil
}
