package reporter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// page is how much of a list is asked for at a time.
	page = 500
	// maxAssets bounds the assets of one report; beyond it the report says that it is cut.
	maxAssets = 20000
)

// gather collects the document of an assessment: what it covered, the assets it reached, and what is known and follows about
// exactly these assets.
func (s *Service) gather(ctx context.Context, assessment string) (*reporterv1.ReportDocument, error) {
	a, err := s.scheduler.GetAssessment(ctx, &schedulerv1.GetAssessmentRequest{Name: assessment})
	if err != nil {
		return nil, err
	}
	doc := &reporterv1.ReportDocument{Assessment: a}
	if doc.Coverage, err = s.coverage(ctx, assessment); err != nil {
		return nil, err
	}
	names, err := s.assets(ctx, assessment)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := s.gatherAsset(ctx, doc, n); err != nil {
			return nil, err
		}
	}
	sortDocument(doc)
	return doc, nil
}

func (s *Service) coverage(ctx context.Context, assessment string) ([]*modelv1.Coverage, error) {
	var out []*modelv1.Coverage
	for token := ""; ; {
		res, err := s.ingest.ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: assessment, PageSize: page, PageToken: token})
		if err != nil {
			return nil, err
		}
		out = append(out, res.GetCoverage()...)
		if token = res.GetNextPageToken(); res.GetAtEnd() {
			return out, nil
		}
	}
}

func (s *Service) assets(ctx context.Context, assessment string) ([]string, error) {
	var out []string
	for token := ""; ; {
		res, err := s.ingest.ListAssessmentAssets(ctx, &ingestv1.ListAssessmentAssetsRequest{Assessment: assessment, PageSize: page, PageToken: token})
		if err != nil {
			return nil, err
		}
		if out = append(out, res.GetAssets()...); len(out) > maxAssets {
			return nil, fault.New(fault.ResourceExhausted, "make report: the assessment reached more than %d assets; split it", maxAssets)
		}
		if token = res.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

func (s *Service) gatherAsset(ctx context.Context, doc *reporterv1.ReportDocument, asset string) error {
	state, err := s.ingest.GetAssetState(ctx, &ingestv1.GetAssetStateRequest{Name: asset})
	if errors.Is(err, fault.NotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	doc.Assets = append(doc.Assets, state.GetAsset())
	for _, set := range state.GetSets() {
		doc.Observations = append(doc.Observations, set.GetObservations()...)
	}
	res, err := s.correlator.GetAssetFindings(ctx, &correlatorv1.GetAssetFindingsRequest{Asset: asset})
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	doc.Findings = append(doc.Findings, res.GetFindings()...)
	doc.Risks = append(doc.Risks, res.GetRisks()...)
	return nil
}

// sortDocument gives everything one order, so that equal assessments have equal documents.
func sortDocument(doc *reporterv1.ReportDocument) {
	slices.SortFunc(doc.Coverage, func(a, b *modelv1.Coverage) int {
		return cmp.Or(cmp.Compare(a.GetScanType(), b.GetScanType()), strings.Compare(a.GetTarget().GetValue(), b.GetTarget().GetValue()),
			cmp.Compare(a.GetTarget().GetPort(), b.GetTarget().GetPort()), strings.Compare(a.GetJob(), b.GetJob()))
	})
	slices.SortFunc(doc.Assets, func(a, b *modelv1.Asset) int {
		return cmp.Or(cmp.Compare(a.GetKind(), b.GetKind()), strings.Compare(a.GetValue(), b.GetValue()))
	})
	slices.SortFunc(doc.Observations, func(a, b *modelv1.Observation) int {
		return cmp.Or(strings.Compare(a.GetAssetValue(), b.GetAssetValue()), cmp.Compare(a.GetScanType(), b.GetScanType()),
			strings.Compare(a.GetLocation(), b.GetLocation()), strings.Compare(a.GetKey(), b.GetKey()))
	})
	slices.SortFunc(doc.Findings, func(a, b *correlatorv1.Finding) int {
		return cmp.Or(cmp.Compare(b.GetSeverity(), a.GetSeverity()), strings.Compare(a.GetCheck(), b.GetCheck()),
			strings.Compare(a.GetAssetValue(), b.GetAssetValue()), strings.Compare(a.GetLocation(), b.GetLocation()))
	})
	slices.SortFunc(doc.Risks, func(a, b *correlatorv1.Risk) int {
		return cmp.Or(cmp.Compare(b.GetScore(), a.GetScore()), strings.Compare(a.GetAssetValue(), b.GetAssetValue()), strings.Compare(a.GetName(), b.GetName()))
	})
}

// summarise is the report's summary of a document.
func summarise(doc *reporterv1.ReportDocument) *reporterv1.Report {
	id := doc.GetAssessment().GetName()[strings.LastIndexByte(doc.GetAssessment().GetName(), '/')+1:]
	r := &reporterv1.Report{
		Name: "reports/" + id, Assessment: doc.GetAssessment().GetName(), CreateTime: doc.GetAssessment().GetEndTime(),
		Risks: map[string]uint32{}, Assets: uint32(len(doc.GetAssets())), Complete: doc.GetAssessment().GetState() == schedulerv1.Assessment_STATE_SUCCEEDED,
	}
	for _, k := range doc.GetRisks() {
		if k.GetState() == correlatorv1.Risk_STATE_OPEN {
			r.Risks[strings.ToLower(strings.TrimPrefix(k.GetSeverity().String(), "SEVERITY_"))]++
		}
	}
	for _, f := range doc.GetFindings() {
		if f.GetState() == correlatorv1.Finding_STATE_OPEN {
			r.OpenFindings++
		}
	}
	return r
}
