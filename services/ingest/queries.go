package ingest

import (
	"context"
	"errors"
	"strings"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// maxSets bounds the sets of one asset that are loaded at once.
const maxSets = 2000

// ListObservations lists the present facts about one asset, a page of sets at a time.
func (s *Service) ListObservations(ctx context.Context, req *ingestv1.ListObservationsRequest) (*ingestv1.ListObservationsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.loadAsset(ctx, tenant, req.GetAsset()); err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{
		Partition: assetPartition(tenant, req.GetAsset()), Prefix: prefixSet, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListObservationsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		set, err := protoitem.Decode(item, &modelv1.ObservationSet{})
		if err != nil {
			return nil, err
		}
		res.Observations = append(res.Observations, present(set)...)
	}
	return res, nil
}

// GetAssetState returns all that is known about an asset. The asset's item sorts before its sets, so the version that is
// returned is never newer than the sets: who stores it beside a result evaluates again rather than too seldom.
func (s *Service) GetAssetState(ctx context.Context, req *ingestv1.GetAssetStateRequest) (*ingestv1.GetAssetStateResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	items, err := s.queryAll(ctx, table.Query{Partition: assetPartition(tenant, req.GetName())}, maxSets)
	if err != nil {
		return nil, err
	}
	res := &ingestv1.GetAssetStateResponse{}
	for _, item := range items {
		switch {
		case item.Key.Sort == sortAsset:
			a, err := protoitem.Decode(item, &modelv1.Asset{})
			if err != nil {
				return nil, err
			}
			res.Asset, res.Version = withEtag(a, item.Revision), item.Revision
		case strings.HasPrefix(item.Key.Sort, prefixSet):
			set, err := protoitem.Decode(item, &modelv1.ObservationSet{})
			if err != nil {
				return nil, err
			}
			set.Observations = present(set)
			res.Sets = append(res.Sets, set)
		}
	}
	if res.GetAsset() == nil {
		return nil, fault.New(fault.NotFound, "%s does not exist", req.GetName())
	}
	return res, nil
}

// GetJobRecords returns what is kept of finished jobs.
func (s *Service) GetJobRecords(ctx context.Context, req *ingestv1.GetJobRecordsRequest) (*ingestv1.GetJobRecordsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]table.Key, 0, len(req.GetJobs()))
	for _, job := range req.GetJobs() {
		keys = append(keys, jobKey(tenant, req.GetAssessment(), job))
	}
	items, err := s.table.GetAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	res := &ingestv1.GetJobRecordsResponse{}
	for _, item := range items {
		r, err := protoitem.Decode(item, &modelv1.JobRecord{})
		if err != nil {
			return nil, err
		}
		res.Records = append(res.Records, r)
	}
	return res, nil
}

// ListCoverage lists what an assessment reached in the order in which it became known. The token of the last page goes on
// from there, so a caller can follow a running assessment.
func (s *Service) ListCoverage(ctx context.Context, req *ingestv1.ListCoverageRequest) (*ingestv1.ListCoverageResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	partition := reachPartition(tenant, req.GetAssessment())
	after := req.GetPageToken()
	page, err := s.table.Query(ctx, table.Query{Index: indexCoverage, Partition: partition, After: after, Limit: resource.PageSize(req.GetPageSize())})
	if err != nil {
		if errors.Is(err, fault.Invalid) {
			return nil, fault.WithField(err, "page_token", "use the token of the page before")
		}
		return nil, err
	}
	res := &ingestv1.ListCoverageResponse{NextPageToken: after, AtEnd: page.NextPageToken == ""}
	for _, item := range page.Items {
		r, err := protoitem.Decode(item, &modelv1.JobRecord{})
		if err != nil {
			return nil, err
		}
		res.Coverage = append(res.Coverage, r.GetCoverage())
		res.NextPageToken = item.Indexes[indexCoverage].Sort
	}
	return res, nil
}

// ListAssessmentAssets lists the assets that one assessment reached.
func (s *Service) ListAssessmentAssets(ctx context.Context, req *ingestv1.ListAssessmentAssetsRequest) (*ingestv1.ListAssessmentAssetsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{
		Partition: reachPartition(tenant, req.GetAssessment()), Prefix: prefixReach, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListAssessmentAssetsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		res.Assets = append(res.Assets, string(item.Value))
	}
	return res, nil
}
