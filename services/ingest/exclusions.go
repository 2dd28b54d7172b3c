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
	defer s.scopeChanged(tenant)
	return putOnce(ctx, s.table, table.Key{Partition: exclusionPartition(tenant), Sort: resource.ID(e.GetName())}, e)
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
	res.Exclusions, err = decodeAll[ingestv1.Exclusion](page.Items)
	return res, err
}

// DeleteExclusion takes an exclusion back.
func (s *Service) DeleteExclusion(ctx context.Context, req *ingestv1.DeleteExclusionRequest) (*emptypb.Empty, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	return s.deleteNamed(ctx, table.Key{Partition: exclusionPartition(tenant), Sort: resource.ID(req.GetName())}, req.GetName())
}
