package ingest

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// CreateExclusion takes something out of scope. The same exclusion again is the same object.
func (s *Service) CreateExclusion(ctx context.Context, req *ingestv1.CreateExclusionRequest) (*ingestv1.Exclusion, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	t, err := target.Parse(req.GetExclusion().GetValue())
	if err == nil && (t.Port != 0 || t.URL != "") {
		err = fault.New(fault.Invalid, "exclude %s: a whole name, address or range is excluded, leave the port and path out", t.Value)
	}
	if err != nil {
		return nil, fault.WithField(err, "exclusion.value", err.Error())
	}
	e := &ingestv1.Exclusion{
		Name: "exclusions/" + resource.ID(assetid.Name(int32(t.Kind), t.Value)), Value: t.Value, Reason: req.GetExclusion().GetReason(),
		CreateTime: timestamppb.Now(), CreatedBy: who.Subject,
	}
	item, err := protoitem.New(table.Key{Partition: exclusionPartition(tenant), Sort: resource.ID(e.GetName())}, e)
	if err != nil {
		return nil, err
	}
	defer s.scopeChanged(tenant)
	err = s.table.Write(ctx, table.Write{Item: item})
	if !isConflict(err) {
		return e, err
	}
	old, err := s.table.Get(ctx, item.Key)
	if err != nil {
		return nil, err
	}
	return protoitem.Decode(old, &ingestv1.Exclusion{})
}

// ListExclusions lists what is out of scope.
func (s *Service) ListExclusions(ctx context.Context, req *ingestv1.ListExclusionsRequest) (*ingestv1.ListExclusionsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{Partition: exclusionPartition(tenant), Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken()})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListExclusionsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		e, err := protoitem.Decode(item, &ingestv1.Exclusion{})
		if err != nil {
			return nil, err
		}
		res.Exclusions = append(res.Exclusions, e)
	}
	return res, nil
}

// DeleteExclusion takes an exclusion back.
func (s *Service) DeleteExclusion(ctx context.Context, req *ingestv1.DeleteExclusionRequest) (*emptypb.Empty, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	return s.deleteNamed(ctx, table.Key{Partition: exclusionPartition(tenant), Sort: resource.ID(req.GetName())}, req.GetName())
}
