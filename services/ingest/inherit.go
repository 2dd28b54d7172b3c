package ingest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// refreshed is what a lead changes of an asset that is stored. It takes the ownership of what it was found from last, so that what
// nothing leads to any more is nobody's after a day: see inheritedLife. The time is kept by the hour: many names may lead to one
// address, and most of them change nothing. A lead that comes late may be the first sight of it.
func refreshed(item table.Item, found *modelv1.Asset) ([]table.Write, error) {
	a, err := protoitem.Decode(item, &modelv1.Asset{})
	if err != nil {
		return nil, err
	}
	owned := !a.GetSeed() && laterOwner(a.GetOwnership(), found.GetOwnership())
	earlier := found.GetFirstSeen().AsTime().Before(a.GetFirstSeen().AsTime())
	closer := !a.GetSeed() && sameOwner(a.GetOwnership(), found.GetOwnership()) && comparePaths(found.GetPath(), a.GetPath()) < 0
	if !owned && !earlier && !closer {
		return nil, nil
	}
	if owned {
		a.Ownership = found.GetOwnership()
	}
	if owned || closer {
		a.Path = found.GetPath()
	}
	a.FirstSeen = earliest(a.GetFirstSeen(), found.GetFirstSeen())
	out, err := protoitem.New(item.Key, a)
	if err != nil {
		return nil, err
	}
	out.Indexes = item.Indexes
	return []table.Write{{Item: out, If: table.Condition(item.Revision)}}, nil
}

// laterOwner says whether an inheritance replaces an ownership. Of two of the same hour the name decides, so that results in any
// order end in the same state.
func laterOwner(was, now *modelv1.Ownership) bool {
	switch {
	case now.GetState() != modelv1.Ownership_STATE_INHERITED:
		return false
	case was.GetState() != modelv1.Ownership_STATE_INHERITED:
		return true
	}
	a, b := was.GetVerifiedAt().AsTime(), now.GetVerifiedAt().AsTime()
	return b.After(a) || b.Equal(a) && now.GetInheritedFrom() > was.GetInheritedFrom()
}

// sameOwner says whether two ownerships are one to laterOwner: neither replaces the other.
func sameOwner(a, b *modelv1.Ownership) bool {
	inherited := modelv1.Ownership_STATE_INHERITED
	return (a.GetState() == inherited) == (b.GetState() == inherited) && !laterOwner(a, b) && !laterOwner(b, a)
}

// comparePaths orders the ways by which one asset was found: the shorter first, then by their text. Of several leads to an asset the
// first in this order is kept, whichever came first.
func comparePaths(a, b []*modelv1.Discovery) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), slices.CompareFunc(a, b, func(x, y *modelv1.Discovery) int {
		return cmp.Or(cmp.Compare(x.GetScanType(), y.GetScanType()), strings.Compare(x.GetRelation(), y.GetRelation()), strings.Compare(x.GetFrom(), y.GetFrom()))
	}))
}

// inherited is the ownership of what a result leads to: of the seed that the scanned asset is, was found below, or lies in. That it
// was scanned at all says that it was in scope.
func (s *Service) inherited(ctx context.Context, r *modelv1.ScanCompleted, from *modelv1.Asset) (*modelv1.Ownership, error) {
	none := &modelv1.Ownership{State: modelv1.Ownership_STATE_UNVERIFIED}
	if len(r.GetLeads()) == 0 {
		return none, nil
	}
	seed := ""
	switch from.GetOwnership().GetState() {
	case modelv1.Ownership_STATE_VERIFIED:
		seed = from.GetName()
	case modelv1.Ownership_STATE_INHERITED:
		seed = from.GetOwnership().GetInheritedFrom()
	default:
		sc, err := s.loadScope(ctx, r.GetJob().GetTenant())
		if err != nil {
			return nil, err
		}
		for _, at := range sc.owned.over(from.GetValue()) {
			if c, _ := sc.bySeed(sc.seeds[at], from.GetValue()); c > modelv1.Clearance_CLEARANCE_PASSIVE {
				seed = sc.seeds[at].GetName()
			}
		}
	}
	if seed == "" {
		return none, nil
	}
	o := &modelv1.Ownership{
		State: modelv1.Ownership_STATE_INHERITED, InheritedFrom: seed, VerifiedAt: timestamppb.New(r.GetStartedAt().AsTime().Truncate(time.Hour)),
	}
	if r.GetJob().GetScanType() == modelv1.ScanType_SCAN_TYPE_CLOUD {
		o.Method = methodCloud
	}
	return o, nil
}
