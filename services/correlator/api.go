package correlator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/filter"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

const (
	// defaultAcceptance and maxAcceptance bound how long a risk is lived with before it is looked at again.
	defaultAcceptance = 90 * 24 * time.Hour
	maxAcceptance     = 366 * 24 * time.Hour
	// evaluatePage is how many assets one step of a workflow evaluates: well within its time-out.
	evaluatePage = 50
)

var findingFields = filter.Fields[*correlatorv1.Finding]{
	"severity":    filter.Enum("SEVERITY_", modelv1.Severity_value, func(f *correlatorv1.Finding) int32 { return int32(f.GetSeverity()) }),
	"state":       filter.Enum("STATE_", correlatorv1.Finding_State_value, func(f *correlatorv1.Finding) int32 { return int32(f.GetState()) }),
	"check":       filter.Text((*correlatorv1.Finding).GetCheck),
	"asset":       filter.Text((*correlatorv1.Finding).GetAsset),
	"asset_value": filter.Text((*correlatorv1.Finding).GetAssetValue),
	"location":    filter.Text((*correlatorv1.Finding).GetLocation),
	"risk":        filter.Text((*correlatorv1.Finding).GetRisk),
	"assessment":  filter.Text((*correlatorv1.Finding).GetAssessment),
}

var riskFields = filter.Fields[*correlatorv1.Risk]{
	"severity":    filter.Enum("SEVERITY_", modelv1.Severity_value, func(r *correlatorv1.Risk) int32 { return int32(r.GetSeverity()) }),
	"state":       filter.Enum("STATE_", correlatorv1.Risk_State_value, func(r *correlatorv1.Risk) int32 { return int32(r.GetState()) }),
	"asset":       filter.Text((*correlatorv1.Risk).GetAsset),
	"asset_value": filter.Text((*correlatorv1.Risk).GetAssetValue),
	"group":       filter.Text((*correlatorv1.Risk).GetGroup),
	"score":       filter.Number((*correlatorv1.Risk).GetScore),
}

// order is an order that an index answers.
type order struct {
	index      string
	descending bool
}

var findingOrders = map[string]order{
	"": {indexFindings, true}, "severity desc": {indexFindings, true}, "severity": {indexFindings, false},
	"last_seen desc": {indexFindingsSeen, true}, "last_seen": {indexFindingsSeen, false},
}

var riskOrders = map[string]order{
	"": {indexRisks, true}, "score desc": {indexRisks, true}, "score": {indexRisks, false},
	"due_time": {indexRisksDue, false}, "due_time desc": {indexRisksDue, true},
}

func orderOf(orders map[string]order, text string) (order, error) {
	o, ok := orders[strings.Join(strings.Fields(text), " ")]
	if !ok {
		var known []string
		for k := range orders {
			if k != "" {
				known = append(known, k)
			}
		}
		return o, fault.WithField(fault.New(fault.Invalid, "order_by %q is not known", text), "order_by", "use "+strings.Join(slices.Sorted(slices.Values(known)), ", "))
	}
	return o, nil
}

// listed reads one page of an index, decoded and filtered.
func listed[M proto.Message](ctx context.Context, s *Service, tenant string, o order, size int32, token string, fresh func() M, match func(M) bool) ([]M, string, error) {
	limit := int(size)
	if limit == 0 {
		limit = 50
	}
	page, err := s.table.Query(ctx, table.Query{Index: o.index, Partition: "T#" + tenant, Descending: o.descending, Limit: limit, PageToken: token})
	if err != nil {
		return nil, "", err
	}
	var out []M
	for _, item := range page.Items {
		m, err := protoitem.Decode(item, fresh())
		if err != nil {
			return nil, "", err
		}
		if match(m) {
			out = append(out, m)
		}
	}
	return out, page.NextPageToken, nil
}

// ListFindings lists findings, worst first unless asked otherwise.
func (s *Service) ListFindings(ctx context.Context, req *correlatorv1.ListFindingsRequest) (*correlatorv1.ListFindingsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	match, err := filter.Parse(findingFields, req.GetFilter())
	if err != nil {
		return nil, err
	}
	o, err := orderOf(findingOrders, req.GetOrderBy())
	if err != nil {
		return nil, err
	}
	list, next, err := listed(ctx, s, tenant, o, req.GetPageSize(), req.GetPageToken(), func() *correlatorv1.Finding { return &correlatorv1.Finding{} }, match)
	return &correlatorv1.ListFindingsResponse{Findings: list, NextPageToken: next}, err
}

// ListRisks lists risks, worst first unless asked otherwise.
func (s *Service) ListRisks(ctx context.Context, req *correlatorv1.ListRisksRequest) (*correlatorv1.ListRisksResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	match, err := filter.Parse(riskFields, req.GetFilter())
	if err != nil {
		return nil, err
	}
	o, err := orderOf(riskOrders, req.GetOrderBy())
	if err != nil {
		return nil, err
	}
	list, next, err := listed(ctx, s, tenant, o, req.GetPageSize(), req.GetPageToken(), func() *correlatorv1.Risk { return &correlatorv1.Risk{} }, match)
	return &correlatorv1.ListRisksResponse{Risks: list, NextPageToken: next}, err
}

// load reads one item by name; what belongs to another tenant is as absent as what never existed.
func load[M proto.Message](ctx context.Context, s *Service, key table.Key, name string, into M) (M, int64, error) {
	item, err := s.table.Get(ctx, key)
	if errors.Is(err, fault.NotFound) {
		return into, 0, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return into, 0, err
	}
	into, err = protoitem.Decode(item, into)
	return into, item.Revision, err
}

// GetFinding returns one finding.
func (s *Service) GetFinding(ctx context.Context, req *correlatorv1.GetFindingRequest) (*correlatorv1.Finding, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	f, _, err := load(ctx, s, findingKey(tenant, req.GetName()), req.GetName(), &correlatorv1.Finding{})
	return f, err
}

// GetRisk returns one risk with its findings.
func (s *Service) GetRisk(ctx context.Context, req *correlatorv1.GetRiskRequest) (*correlatorv1.GetRiskResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	r, _, err := load(ctx, s, riskKey(tenant, req.GetName()), req.GetName(), &correlatorv1.Risk{})
	if err != nil {
		return nil, err
	}
	k, err := s.loadKnown(ctx, tenant, assetOf(req.GetName()))
	if err != nil {
		return nil, err
	}
	res := &correlatorv1.GetRiskResponse{Risk: r}
	for _, name := range r.GetFindings() {
		if f := k.findings[name]; f != nil {
			res.Findings = append(res.Findings, f)
		}
	}
	return res, nil
}

// AcceptFinding records an acceptance with its end.
func (s *Service) AcceptFinding(ctx context.Context, req *correlatorv1.AcceptFindingRequest) (*correlatorv1.Finding, error) {
	now := time.Now()
	end := now.Add(defaultAcceptance)
	if req.GetExpireTime() != nil {
		end = req.GetExpireTime().AsTime()
	}
	if !end.After(now) || end.After(now.Add(maxAcceptance)) {
		return nil, fault.WithField(fault.New(fault.Invalid, "expire_time must lie within a year from now"), "expire_time", "choose a time within a year from now")
	}
	return s.triage(ctx, req.GetName(), correlatorv1.Finding_STATE_ACCEPTED, req.GetReason(), timestamppb.New(end))
}

// MarkFalsePositive records that a finding is not true.
func (s *Service) MarkFalsePositive(ctx context.Context, req *correlatorv1.MarkFalsePositiveRequest) (*correlatorv1.Finding, error) {
	return s.triage(ctx, req.GetName(), correlatorv1.Finding_STATE_FALSE_POSITIVE, req.GetReason(), nil)
}

// ReopenFinding takes a triage back.
func (s *Service) ReopenFinding(ctx context.Context, req *correlatorv1.ReopenFindingRequest) (*correlatorv1.Finding, error) {
	return s.triage(ctx, req.GetName(), correlatorv1.Finding_STATE_OPEN, req.GetReason(), nil)
}

// triage stores a person's decision and computes the asset's risks again from it, in one evaluation.
func (s *Service) triage(ctx context.Context, findingName string, state correlatorv1.Finding_State, reason string, end *timestamppb.Timestamp) (*correlatorv1.Finding, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	for range maxConflicts {
		k, err := s.loadKnown(ctx, tenant, assetOf(findingName))
		if err != nil {
			return nil, err
		}
		f := k.findings[findingName]
		if f == nil {
			return nil, fault.New(fault.NotFound, "%s does not exist", findingName)
		}
		if f.GetState() == correlatorv1.Finding_STATE_RESOLVED {
			return nil, fault.New(fault.FailedPrecondition, "%s is resolved; there is nothing to decide", findingName)
		}
		f.State = state
		f.Triage = &correlatorv1.Triage{Subject: who.Subject, Reason: reason, Time: timestamppb.Now(), ExpireTime: end}
		item, err := findingItem(tenant, f)
		if err != nil {
			return nil, err
		}
		// The mark changes with it: an evaluation that began before starts again and keeps the decision.
		err = s.table.Write(ctx, table.Write{Item: item, If: table.Any}, markWrite(tenant, assetOf(findingName), k.mark.stale(), k.revision))
		if errors.Is(err, fault.Conflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := s.evaluate(s.self(ctx, tenant), tenant, f.GetAsset(), true); err != nil && !errors.Is(err, fault.NotFound) {
			return nil, err
		}
		return s.GetFinding(ctx, &correlatorv1.GetFindingRequest{Name: findingName})
	}
	return nil, fault.New(fault.Conflict, "%s changed %d times meanwhile", findingName, maxConflicts)
}

// Reevaluate runs the checks over stored facts.
func (s *Service) Reevaluate(ctx context.Context, req *correlatorv1.ReevaluateRequest) (*correlatorv1.ReevaluateResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	ctx = s.self(ctx, tenant)
	res := &correlatorv1.ReevaluateResponse{}
	assets := req.GetAssets()
	if len(assets) == 0 {
		page, err := s.ingest.ListAssets(ctx, &ingestv1.ListAssetsRequest{PageSize: evaluatePage, PageToken: req.GetPageToken()})
		if err != nil {
			return nil, err
		}
		for _, a := range page.GetAssets() {
			assets = append(assets, a.GetName())
		}
		res.NextPageToken = page.GetNextPageToken()
	}
	for _, asset := range assets {
		changed, err := s.evaluate(ctx, tenant, asset, true)
		if err != nil {
			return nil, err
		}
		res.Assets++
		if changed {
			res.Changed++
		}
	}
	return res, nil
}

// EvaluateAssessment evaluates one page of what an assessment reached, so that the report that follows sees all of it.
func (s *Service) EvaluateAssessment(ctx context.Context, req *correlatorv1.EvaluateAssessmentRequest) (*correlatorv1.EvaluateAssessmentResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	ctx = s.self(ctx, tenant)
	page, err := s.ingest.ListAssessmentAssets(ctx, &ingestv1.ListAssessmentAssetsRequest{Assessment: req.GetAssessment(), PageSize: evaluatePage, PageToken: req.GetPageToken()})
	if err != nil {
		return nil, err
	}
	for _, asset := range page.GetAssets() {
		if _, err := s.evaluate(ctx, tenant, asset, false); err != nil && !errors.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	return &correlatorv1.EvaluateAssessmentResponse{
		Assets: uint32(len(page.GetAssets())), NextPageToken: page.GetNextPageToken(), Done: page.GetNextPageToken() == "",
	}, nil
}

// GetAssetFindings returns all that follows from one asset. One that was never evaluated is as absent as one that does not
// exist.
func (s *Service) GetAssetFindings(ctx context.Context, req *correlatorv1.GetAssetFindingsRequest) (*correlatorv1.GetAssetFindingsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	k, err := s.loadKnown(ctx, tenant, resource.ID(req.GetAsset()))
	if err != nil {
		return nil, err
	}
	if k.revision == 0 {
		return nil, fault.New(fault.NotFound, "%s does not exist", req.GetAsset())
	}
	res := &correlatorv1.GetAssetFindingsResponse{}
	for _, f := range k.findings {
		res.Findings = append(res.Findings, f)
	}
	slices.SortFunc(res.Findings, compareFindings)
	for _, r := range k.risks {
		res.Risks = append(res.Risks, r)
	}
	slices.SortFunc(res.Risks, CompareRisks)
	return res, nil
}
