package ingest

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/filter"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// CreateAsset adds a seed.
func (s *Service) CreateAsset(ctx context.Context, req *ingestv1.CreateAssetRequest) (*modelv1.Asset, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	return s.addSeed(ctx, tenant, req.GetAsset())
}

// addSeed stores a seed, or makes an asset that was discovered before a seed.
func (s *Service) addSeed(ctx context.Context, tenant string, wish *modelv1.Asset) (*modelv1.Asset, error) {
	t, err := target.Parse(wish.GetValue())
	if err != nil {
		return nil, fault.WithField(err, "asset.value", err.Error())
	}
	kind := modelv1.AssetKind(t.Kind)
	if k := wish.GetKind(); k != modelv1.AssetKind_ASSET_KIND_UNSPECIFIED && k != kind {
		return nil, fault.WithField(fault.New(fault.Invalid, "asset %s is of kind %s, not %s", t.Value, kind, k), "asset.kind", "leave it out, it follows from the value")
	}
	name := assetid.Name(int32(kind), t.Value)
	for range maxConflicts {
		a := &modelv1.Asset{
			Name: name, Kind: kind, Value: t.Value, FirstSeen: timestamppb.Now(), LastSeen: timestamppb.Now(),
			Ownership: &modelv1.Ownership{State: modelv1.Ownership_STATE_UNVERIFIED},
		}
		item, err := s.table.Get(ctx, assetKey(tenant, name))
		switch {
		case err == nil:
			if a, err = protoitem.Decode(item, a); err != nil {
				return nil, err
			}
			if a.GetSeed() {
				return withEtag(a, item.Revision), nil
			}
		case !errors.Is(err, fault.NotFound):
			return nil, err
		}
		a.Seed, a.Path = true, nil
		if wish.GetCriticality() != 0 {
			a.Criticality = wish.GetCriticality()
		}
		if len(wish.GetLabels()) > 0 {
			a.Labels = wish.GetLabels()
		}
		err = s.putAsset(ctx, tenant, a, item.Revision)
		if !isConflict(err) {
			return withEtag(a, item.Revision+1), err
		}
	}
	return nil, fault.New(fault.Conflict, "create asset %s: it changed %d times meanwhile", t.Value, maxConflicts)
}

func (s *Service) putAsset(ctx context.Context, tenant string, a *modelv1.Asset, revision int64) error {
	a = proto.CloneOf(a)
	a.Etag = ""
	item, err := assetItem(tenant, a)
	if err != nil {
		return err
	}
	defer s.scopeChanged(tenant)
	return s.table.Write(ctx, table.Write{Item: item, If: table.Condition(revision)})
}

func withEtag(a *modelv1.Asset, revision int64) *modelv1.Asset {
	a.Etag = strconv.FormatInt(revision, 10)
	a.Ownership = asOf(a.GetOwnership(), time.Now())
	return a
}

// loadAsset reads an asset; what belongs to another tenant is as absent as what never existed.
func (s *Service) loadAsset(ctx context.Context, tenant, name string) (*modelv1.Asset, int64, error) {
	item, err := s.table.Get(ctx, assetKey(tenant, name))
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return nil, 0, err
	}
	a, err := protoitem.Decode(item, &modelv1.Asset{})
	if err != nil {
		return nil, 0, err
	}
	return withEtag(a, item.Revision), item.Revision, nil
}

// GetAsset returns one asset.
func (s *Service) GetAsset(ctx context.Context, req *ingestv1.GetAssetRequest) (*modelv1.Asset, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, _, err := s.loadAsset(ctx, tenant, req.GetName())
	return a, err
}

// assetFields are what a filter over assets may name.
var assetFields = filter.Fields[*modelv1.Asset]{
	"kind":        filter.Enum("ASSET_KIND_", modelv1.AssetKind_value, func(a *modelv1.Asset) int32 { return int32(a.GetKind()) }),
	"value":       filter.Text(func(a *modelv1.Asset) string { return a.GetValue() }),
	"seed":        filter.Bool(func(a *modelv1.Asset) bool { return a.GetSeed() }),
	"criticality": filter.Number(func(a *modelv1.Asset) float64 { return float64(a.GetCriticality()) }),
}

// ListAssets lists assets by id.
func (s *Service) ListAssets(ctx context.Context, req *ingestv1.ListAssetsRequest) (*ingestv1.ListAssetsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	match, err := filter.Parse(assetFields, req.GetFilter())
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{
		Index: indexAssets, Partition: tenantKey(tenant), Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListAssetsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		a, err := protoitem.Decode(item, &modelv1.Asset{})
		if err != nil {
			return nil, err
		}
		if match(a) {
			res.Assets = append(res.Assets, withEtag(a, item.Revision))
		}
	}
	return res, nil
}

// UpdateAsset changes criticality and labels.
func (s *Service) UpdateAsset(ctx context.Context, req *ingestv1.UpdateAssetRequest) (*modelv1.Asset, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, revision, err := s.loadAsset(ctx, tenant, req.GetAsset().GetName())
	if err != nil {
		return nil, err
	}
	if e := req.GetAsset().GetEtag(); e != "" && e != a.GetEtag() {
		return nil, fault.New(fault.Conflict, "%s changed since it was read; read it again", a.GetName())
	}
	paths := req.GetUpdateMask().GetPaths()
	if len(paths) == 0 {
		paths = []string{"criticality", "labels"}
	}
	for _, p := range paths {
		switch p {
		case "criticality":
			a.Criticality = req.GetAsset().GetCriticality()
		case "labels":
			a.Labels = req.GetAsset().GetLabels()
		default:
			return nil, fault.WithField(fault.New(fault.Invalid, "update_mask names %q; criticality and labels can be changed", p), "update_mask", "use criticality, labels")
		}
	}
	if err := s.putAsset(ctx, tenant, a, revision); err != nil {
		if isConflict(err) {
			return nil, fault.New(fault.Conflict, "%s changed meanwhile; read it again", a.GetName())
		}
		return nil, err
	}
	return withEtag(a, revision+1), nil
}

// DeleteAsset forgets an asset and all that is known about it, the asset itself last: a crash in between leaves an asset
// that can be deleted again.
func (s *Service) DeleteAsset(ctx context.Context, req *ingestv1.DeleteAssetRequest) (*emptypb.Empty, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.loadAsset(ctx, tenant, req.GetName()); err != nil {
		return nil, err
	}
	defer s.scopeChanged(tenant)
	last := table.Write{Delete: true, If: table.Any, Item: table.Item{Key: assetKey(tenant, req.GetName())}}
	for token := ""; ; {
		page, err := s.table.Query(ctx, table.Query{Partition: assetPartition(tenant, req.GetName()), KeysOnly: true, Limit: table.MaxWriteItems, PageToken: token})
		if err != nil {
			return nil, err
		}
		var writes []table.Write
		for _, item := range page.Items {
			if item.Key != last.Item.Key {
				writes = append(writes, table.Write{Delete: true, If: table.Any, Item: table.Item{Key: item.Key}})
			}
		}
		if err := s.table.Write(ctx, writes...); err != nil {
			return nil, err
		}
		if token = page.NextPageToken; token == "" {
			return &emptypb.Empty{}, s.table.Write(ctx, last)
		}
	}
}

// BatchImportAssets adds many seeds.
func (s *Service) BatchImportAssets(ctx context.Context, req *ingestv1.BatchImportAssetsRequest) (*ingestv1.BatchImportAssetsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	res := &ingestv1.BatchImportAssetsResponse{}
	for i, text := range req.GetTargets() {
		a, err := s.addSeed(ctx, tenant, &modelv1.Asset{Value: text})
		switch {
		case errors.Is(err, fault.Invalid):
			res.Problems = append(res.Problems, &ingestv1.ImportProblem{Position: uint32(i), Target: text, Problem: err.Error()})
		case err != nil:
			return nil, err
		default:
			res.Assets = append(res.Assets, a)
		}
	}
	return res, nil
}
