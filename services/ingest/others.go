package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

const (
	// othersAtATime is how many other assets are loaded together.
	othersAtATime = 10
	// othersParallel is how many such groups are stored at a time: a function has half a minute for an account with thousands.
	othersParallel = 4
	// maxOthers bounds the other assets of one result: those of an inventory, each under a few names.
	maxOthers = 20_000
)

// other is what a result says about an asset that is not its target: a part of it, as if that asset had been scanned.
type other struct {
	asset  string
	kind   modelv1.AssetKind
	value  string
	sets   []*modelv1.ObservationSet
	result *modelv1.ScanCompleted
}

// split takes what is about other assets out of a result.
func split(r *modelv1.ScanCompleted, asset string) (own *modelv1.ScanCompleted, others []*other) {
	if len(r.GetReached()) == 0 {
		return r, nil
	}
	own = proto.CloneOf(r)
	own.Observations, own.Reached = nil, nil
	byName := map[string]*other{}
	for _, to := range r.GetReached()[:min(len(r.GetReached()), maxOthers)] {
		name := assetid.Name(int32(to.GetKind()), to.GetValue())
		if name == asset || byName[name] != nil || to.GetValue() == "" {
			continue
		}
		o := &other{asset: name, kind: to.GetKind(), value: to.GetValue()}
		o.result = &modelv1.ScanCompleted{Job: r.GetJob(), Outcome: to.GetOutcome(), StartedAt: r.GetStartedAt(), CompletedAt: r.GetCompletedAt()}
		byName[name] = o
		others = append(others, o)
	}
	for _, fact := range r.GetObservations() {
		if o := byName[fact.GetAsset()]; o != nil {
			o.result.Observations = append(o.result.Observations, fact)
			continue
		}
		own.Observations = append(own.Observations, fact)
	}
	for _, o := range others {
		o.sets = slices.DeleteFunc(setsOf(o.result, o.asset, ""), func(s *modelv1.ObservationSet) bool { return len(s.GetObservations()) == 0 })
	}
	return own, slices.DeleteFunc(others, func(o *other) bool { return len(o.sets) == 0 })
}

// takeOthers stores what a result says about other assets and announces each of them, before the result itself is stored: its record
// says that all is.
func (s *Service) takeOthers(ctx context.Context, r *modelv1.ScanCompleted, asset string, others []*other) error {
	unseen, err := s.unseenOthers(ctx, r, asset, others)
	if err != nil {
		return err
	}
	all := slices.Concat(others, unseen)
	if len(all) == 0 {
		return nil
	}
	from, err := s.inventoryAsset(ctx, r, asset)
	if err != nil {
		return err
	}
	ownership, err := s.inherited(ctx, &modelv1.ScanCompleted{Job: r.GetJob(), StartedAt: r.GetStartedAt(), Leads: []*modelv1.Lead{{}}}, from)
	if err != nil {
		return err
	}
	group, storing := errgroup.WithContext(ctx)
	group.SetLimit(othersParallel)
	for chunk := range slices.Chunk(all, othersAtATime) {
		group.Go(together.Safely(func() error { return s.storeOthers(storing, r, from, ownership, chunk) }))
	}
	if err := group.Wait(); err != nil {
		return err
	}
	gone := slices.DeleteFunc(unseen, func(o *other) bool { return o.sets[0].GetOutcome() != modelv1.Outcome_OUTCOME_COMPLETE })
	return s.forgetOthers(ctx, r.GetJob().GetTenant(), asset, gone)
}

// inventoryAsset is the asset that was scanned.
func (s *Service) inventoryAsset(ctx context.Context, r *modelv1.ScanCompleted, asset string) (*modelv1.Asset, error) {
	item, err := s.table.Get(ctx, assetKey(r.GetJob().GetTenant(), asset))
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	return touchedAsset(r, asset, item)
}

// unseenOthers are facts that an earlier inventory told of and this one does not. Where it read all they are gone; elsewhere they
// were not tested again.
func (s *Service) unseenOthers(ctx context.Context, r *modelv1.ScanCompleted, asset string, others []*other) ([]*other, error) {
	if r.GetJob().GetScanType() != modelv1.ScanType_SCAN_TYPE_CLOUD {
		return nil, nil
	}
	there := map[string]bool{}
	for _, o := range others {
		for _, set := range o.sets {
			there[o.asset+"\n"+set.GetLocation()] = true
		}
	}
	var unseen []*other
	query := table.Query{Partition: assetPartition(r.GetJob().GetTenant(), asset), Prefix: prefixHeld, Limit: table.MaxPageItems}
	for {
		page, err := s.table.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			held, err := protoitem.Decode(item, &ingestv1.HeldFact{})
			if err != nil {
				return nil, err
			}
			if o := unseenOther(r, held); !there[o.asset+"\n"+held.GetLocation()] {
				unseen = append(unseen, o)
			}
		}
		if query.PageToken = page.NextPageToken; query.PageToken == "" {
			return unseen, nil
		}
	}
}

// unseenOther is a set without facts: where absence means something it ends what was known at its place, elsewhere it only tells of the
// attempt.
func unseenOther(r *modelv1.ScanCompleted, held *ingestv1.HeldFact) *other {
	name := assetid.Name(int32(held.GetKind()), held.GetValue())
	set := &modelv1.ObservationSet{
		Asset: name, ScanType: held.GetScanType(), Location: held.GetLocation(), ScannedAt: r.GetStartedAt(), Outcome: r.GetOutcome(),
		Assessment: r.GetJob().GetAssessment(),
	}
	switch {
	case ended(r, held):
		set.Outcome, set.CompleteAt = modelv1.Outcome_OUTCOME_COMPLETE, r.GetStartedAt()
	case r.GetOutcome() == modelv1.Outcome_OUTCOME_COMPLETE:
		set.Outcome = modelv1.Outcome_OUTCOME_PARTIAL // whole as it was wanted, but not here
	}
	return &other{asset: name, kind: held.GetKind(), value: held.GetValue(), sets: []*modelv1.ObservationSet{set}}
}

// ended says whether what an earlier inventory told of is no more there, if this one does not tell of it.
func ended(r *modelv1.ScanCompleted, held *ingestv1.HeldFact) bool {
	switch {
	case len(r.GetReached()) > maxOthers:
		return false // it told of more than is taken
	case r.GetOutcome() == modelv1.Outcome_OUTCOME_COMPLETE:
	case r.GetOutcome() == modelv1.Outcome_OUTCOME_PARTIAL && len(r.GetUnread()) > 0:
	default:
		return false
	}
	return !slices.ContainsFunc(r.GetUnread(), func(u *modelv1.Unread) bool { return mayHold(u, held) })
}

// mayHold says whether a resource may be in a part that was not read. One whose type is not known may be in any.
func mayHold(u *modelv1.Unread, held *ingestv1.HeldFact) bool {
	switch {
	case held.GetType() == "" || u.GetType() == "" && u.GetRegion() == "":
		return true
	case !strings.HasPrefix(held.GetType(), u.GetType()):
		return false
	case u.GetRegion() == "" || u.GetRegion() == held.GetRegion():
		return true
	}
	// A resource without a region is read wherever its type is, and not with the rest of a region.
	return held.GetRegion() == "" && u.GetType() != ""
}

// storeOthers stores some other assets and announces them.
func (s *Service) storeOthers(ctx context.Context, r *modelv1.ScanCompleted, from *modelv1.Asset, ownership *modelv1.Ownership, chunk []*other) error {
	for _, o := range joinOthers(chunk) {
		if err := s.storeOther(ctx, r, from, ownership, o); err != nil {
			return err
		}
	}
	messages := make([]queue.Message, 0, len(chunk))
	tenant := r.GetJob().GetTenant()
	for _, o := range chunk {
		body, err := proto.Marshal(&modelv1.AssetChanged{Tenant: tenant, Asset: o.asset, Assessment: r.GetJob().GetAssessment()})
		if err != nil {
			return fault.Wrap(fault.Internal, err, "encode change")
		}
		messages = append(messages, queue.Message{Group: tenant + "#" + resource.ID(o.asset), DedupID: r.GetJob().GetId() + "-" + resource.ID(o.asset), Body: body})
	}
	return s.changes.Send(ctx, messages...)
}

// joinOthers makes one of several that are about one asset.
func joinOthers(chunk []*other) []*other {
	byName := map[string]*other{}
	var out []*other
	for _, o := range chunk {
		if first := byName[o.asset]; first != nil {
			first.sets = append(first.sets, o.sets...)
			continue
		}
		byName[o.asset] = &other{asset: o.asset, kind: o.kind, value: o.value, sets: slices.Clone(o.sets)}
		out = append(out, byName[o.asset])
	}
	return out
}

// storeOther stores one, in pieces that fit into one write. Doing it again changes nothing.
func (s *Service) storeOther(ctx context.Context, r *modelv1.ScanCompleted, from *modelv1.Asset, ownership *modelv1.Ownership, o *other) error {
	for sets := range slices.Chunk(o.sets, maxSetsPerWrite) {
		stored := false
		for range maxConflicts {
			err := s.storeOtherOnce(ctx, r, from, ownership, &other{asset: o.asset, kind: o.kind, value: o.value, sets: sets})
			if stored = err == nil; stored {
				break
			}
			if !isConflict(err) {
				return err
			}
		}
		if !stored {
			return fault.New(fault.Conflict, "store result: an asset of the inventory changed %d times meanwhile", maxConflicts)
		}
	}
	return nil
}

func (s *Service) storeOtherOnce(ctx context.Context, r *modelv1.ScanCompleted, from *modelv1.Asset, ownership *modelv1.Ownership, o *other) error {
	tenant := r.GetJob().GetTenant()
	old, err := s.loadForMerge(ctx, tenant, o.asset, o.sets)
	if err != nil {
		return err
	}
	writes, err := setWrites(tenant, slices.Clone(o.sets), old)
	if err != nil {
		return err
	}
	a, err := otherAsset(r, from, ownership, o, old[assetKey(tenant, o.asset)])
	if err != nil {
		return err
	}
	item, err := assetItem(tenant, a)
	if err != nil {
		return err
	}
	writes = append(writes, table.Write{Item: item, If: old.revision(item.Key)})
	for _, set := range o.sets {
		if len(set.GetObservations()) == 0 {
			continue
		}
		kind, region := heldIn(set)
		held, err := protoitem.New(heldKey(tenant, from.GetName(), o.asset, set.GetLocation()), &ingestv1.HeldFact{
			Kind: o.kind, Value: o.value, Location: set.GetLocation(), ScanType: set.GetScanType(), Type: kind, Region: region,
		})
		if err != nil {
			return err
		}
		writes = append(writes, table.Write{Item: held, If: table.Any})
	}
	if id := r.GetJob().GetAssessment(); id != "" {
		reach := table.Item{Key: table.Key{Partition: reachPartition(tenant, id), Sort: prefixReach + resource.ID(o.asset)}, Value: []byte(o.asset)}
		writes = append(writes, table.Write{Item: reach, If: table.Any})
	}
	return s.table.Write(ctx, writes...)
}

// heldIn is the type and region of the resource that a set is about; both empty where it is about several.
func heldIn(set *modelv1.ObservationSet) (kind, region string) {
	for i, o := range set.GetObservations() {
		f := o.GetCloud()
		if i > 0 && (f.GetType() != kind || f.GetRegion() != region) {
			return "", ""
		}
		kind, region = f.GetType(), f.GetRegion()
	}
	return kind, region
}

// otherAsset is an asset of an inventory after the scan: as it was, or new and found from what was scanned.
func otherAsset(r *modelv1.ScanCompleted, from *modelv1.Asset, ownership *modelv1.Ownership, o *other, item table.Item) (*modelv1.Asset, error) {
	a := &modelv1.Asset{
		Name: o.asset, Kind: o.kind, Value: o.value, FirstSeen: r.GetStartedAt(), Ownership: ownership,
		Path: append(slices.Clone(from.GetPath()), &modelv1.Discovery{From: from.GetValue(), ScanType: r.GetJob().GetScanType(), Relation: "inventory"}),
	}
	if item.Revision > 0 {
		known, err := protoitem.Decode(item, &modelv1.Asset{})
		if err != nil {
			return nil, err
		}
		if !known.GetSeed() && laterOwner(known.GetOwnership(), ownership) {
			known.Ownership, known.Path = ownership, a.GetPath()
		}
		a = known
	}
	a.FirstSeen = earliest(a.GetFirstSeen(), r.GetStartedAt())
	if slices.ContainsFunc(o.sets, func(s *modelv1.ObservationSet) bool { return len(s.GetObservations()) > 0 }) {
		a.LastSeen = latest(a.GetLastSeen(), r.GetStartedAt())
	}
	return a, nil
}

// forgetOthers forgets what is gone, once that is stored.
func (s *Service) forgetOthers(ctx context.Context, tenant, asset string, gone []*other) error {
	var writes []table.Write
	for _, o := range gone {
		for _, set := range o.sets {
			writes = append(writes, table.Write{Delete: true, If: table.Any, Item: table.Item{Key: heldKey(tenant, asset, o.asset, set.GetLocation())}})
		}
	}
	for chunk := range slices.Chunk(writes, table.MaxWriteItems) {
		if err := s.table.Write(ctx, chunk...); err != nil {
			return err
		}
	}
	return nil
}

// heldKey is under the asset that was scanned; a location may be longer than a key.
func heldKey(tenant, asset, about, location string) table.Key {
	sum := sha256.Sum256([]byte(location))
	return table.Key{Partition: assetPartition(tenant, asset), Sort: strings.Join([]string{prefixHeld + resource.ID(about), hex.EncodeToString(sum[:8])}, "#")}
}
