package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// maxConflicts bounds how often a read-decide-write is tried again.
const maxConflicts = 8

// CreateAssessment accepts an assessment: check, check scope, decide, store, start. Once stored it will run: if this process
// ends before it started the workflow, a tick does.
func (s *Service) CreateAssessment(ctx context.Context, req *schedulerv1.CreateAssessmentRequest) (*schedulerv1.Assessment, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	return s.accept(ctx, tenant, who.Subject, "", req)
}

func (s *Service) accept(ctx context.Context, tenant, subject, plan string, req *schedulerv1.CreateAssessmentRequest) (*schedulerv1.Assessment, error) {
	if req.GetRequestId() != "" {
		if a, err := s.accepted(ctx, tenant, req); a != nil || err != nil {
			return a, err
		}
	}
	seeds, err := resolve(req.GetTargets(), req.GetPorts())
	if err != nil {
		return nil, err
	}
	a := newAssessment(req, seeds, subject, plan, time.Now())
	available, err := s.available(ctx)
	if err != nil {
		return nil, err
	}
	if a.RunTypes, err = runTypes(a.GetProfile(), a.GetScanTypes(), available); err != nil {
		return nil, err
	}
	if err := s.checkSeeds(ctx, seeds, a.GetProfile(), a.GetRunTypes()); err != nil {
		return nil, err
	}
	a.TraceId = trace.SpanContextFromContext(ctx).TraceID().String()
	if err := s.storeNew(ctx, tenant, a, req); err != nil {
		if isConflict(err) && req.GetRequestId() != "" {
			return s.accepted(ctx, tenant, req)
		}
		return nil, err
	}
	return s.start(ctx, tenant, a)
}

// accepted is the assessment that an earlier request of the same id made, if there is one.
func (s *Service) accepted(ctx context.Context, tenant string, req *schedulerv1.CreateAssessmentRequest) (*schedulerv1.Assessment, error) {
	item, err := s.table.Get(ctx, requestKey(tenant, req.GetRequestId()))
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hash, name, _ := strings.Cut(string(item.Value), " ")
	if hash != requestHash(req) {
		return nil, fault.WithField(fault.New(fault.AlreadyExists, "request_id %q was used for another assessment", req.GetRequestId()), "request_id", "use a new one")
	}
	a, _, err := s.load(ctx, tenant, name)
	return a, err
}

func requestHash(req *schedulerv1.CreateAssessmentRequest) string {
	raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req) // a valid request encodes
	return jobID("request", string(raw))
}

func newAssessment(req *schedulerv1.CreateAssessmentRequest, seeds []*schedulerv1.Seed, subject, plan string, now time.Time) *schedulerv1.Assessment {
	a := &schedulerv1.Assessment{
		Name: "assessments/" + newID(now), Plan: plan, Profile: req.GetProfile(), ScanTypes: req.GetScanTypes(), Ports: req.GetPorts(),
		State: schedulerv1.Assessment_STATE_ACCEPTED, CreateTime: timestamppb.New(now), CreatedBy: subject, ResolvedSeeds: seeds,
		Progress: &schedulerv1.Progress{},
	}
	if a.GetProfile() == modelv1.Profile_PROFILE_UNSPECIFIED {
		a.Profile = modelv1.Profile_PROFILE_STANDARD
	}
	for _, seed := range seeds {
		a.Seeds = append(a.Seeds, seedText(seed))
	}
	return a
}

func seedText(s *schedulerv1.Seed) string {
	if s.GetUrl() != "" {
		return s.GetUrl()
	}
	if s.GetPorts() == "" || strings.Contains(s.GetPorts(), ",") {
		return s.GetValue()
	}
	return net.JoinHostPort(s.GetValue(), s.GetPorts())
}

func (s *Service) storeNew(ctx context.Context, tenant string, a *schedulerv1.Assessment, req *schedulerv1.CreateAssessmentRequest) error {
	item, err := assessmentItem(tenant, a)
	if err != nil {
		return err
	}
	writes := []table.Write{{Item: item}}
	if req.GetRequestId() != "" {
		writes = append(writes, table.Write{Item: table.Item{
			Key: requestKey(tenant, req.GetRequestId()), Value: []byte(requestHash(req) + " " + a.GetName()), Expires: time.Now().Add(idempotencyLife),
		}})
	}
	return s.table.Write(ctx, writes...)
}

// start starts the workflow and marks the assessment as running. Both may be done again: the workflow is named by the
// assessment's id, and a second start is the same run.
func (s *Service) start(ctx context.Context, tenant string, a *schedulerv1.Assessment) (*schedulerv1.Assessment, error) {
	seeds := make([]int, len(a.GetResolvedSeeds()))
	for i := range seeds {
		seeds[i] = i
	}
	input, err := json.Marshal(map[string]any{"tenant": tenant, "assessment": a.GetName(), "seeds": seeds})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encode workflow input")
	}
	if err := s.workflow.Start(ctx, machine, resource.ID(a.GetName()), input); err != nil {
		return nil, err
	}
	return s.update(ctx, tenant, a.GetName(), func(a *schedulerv1.Assessment) bool {
		if a.GetState() != schedulerv1.Assessment_STATE_ACCEPTED {
			return false
		}
		a.State, a.StartTime = schedulerv1.Assessment_STATE_RUNNING, timestamppb.Now()
		return true
	})
}

func (s *Service) load(ctx context.Context, tenant, name string) (*schedulerv1.Assessment, int64, error) {
	item, err := s.table.Get(ctx, assessmentKey(tenant, name))
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return nil, 0, err
	}
	a, err := protoitem.Decode(item, &schedulerv1.Assessment{})
	return a, item.Revision, err
}

// update changes an assessment by a decision that says whether there is anything to write.
func (s *Service) update(ctx context.Context, tenant, name string, decide func(*schedulerv1.Assessment) bool) (*schedulerv1.Assessment, error) {
	for range maxConflicts {
		a, revision, err := s.load(ctx, tenant, name)
		if err != nil || !decide(a) {
			return a, err
		}
		item, err := assessmentItem(tenant, a)
		if err != nil {
			return nil, err
		}
		err = s.table.Write(ctx, table.Write{Item: item, If: table.Condition(revision)})
		if !isConflict(err) {
			return a, err
		}
	}
	return nil, fault.New(fault.Conflict, "%s changed %d times meanwhile", name, maxConflicts)
}

// GetAssessment returns one assessment with its progress.
func (s *Service) GetAssessment(ctx context.Context, req *schedulerv1.GetAssessmentRequest) (*schedulerv1.Assessment, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, _, err := s.load(ctx, tenant, req.GetName())
	if err != nil || ended(a.GetState()) {
		return a, err
	}
	a.Progress, err = s.progress(ctx, tenant, a)
	return a, err
}

// ListAssessments lists assessments, newest first: their ids sort by time.
func (s *Service) ListAssessments(ctx context.Context, req *schedulerv1.ListAssessmentsRequest) (*schedulerv1.ListAssessmentsResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{
		Partition: assessmentKey(tenant, "").Partition, Descending: true, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListAssessmentsResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		a, err := protoitem.Decode(item, &schedulerv1.Assessment{})
		if err != nil {
			return nil, err
		}
		res.Assessments = append(res.Assessments, a)
	}
	return res, nil
}

// CancelAssessment ends an assessment. The state is stored first: what runs on finds it and stops by itself.
func (s *Service) CancelAssessment(ctx context.Context, req *schedulerv1.CancelAssessmentRequest) (*schedulerv1.Assessment, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	current, _, err := s.load(ctx, tenant, req.GetName())
	if err != nil {
		return nil, err
	}
	progress, err := s.progress(s.self(ctx, tenant), tenant, current)
	if err != nil {
		return nil, err
	}
	a, err := s.update(ctx, tenant, req.GetName(), func(a *schedulerv1.Assessment) bool {
		if ended(a.GetState()) {
			return false
		}
		a.State, a.Reason, a.EndTime = schedulerv1.Assessment_STATE_CANCELLED, "cancelled by "+who.Subject, timestamppb.Now()
		a.Closed, a.Progress = true, progress
		return true
	})
	if err != nil || a.GetState() != schedulerv1.Assessment_STATE_CANCELLED {
		return a, err
	}
	err = s.workflow.Stop(ctx, machine, resource.ID(a.GetName()), "RiskProfiler.Cancelled", a.GetReason())
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.FailedPrecondition) {
		err = nil
	}
	return a, err
}

// FinishAssessment stores how the workflow ended. It is called when all is scanned and correlated, and again when the report
// is made; with an error and no scan it is the end.
func (s *Service) FinishAssessment(ctx context.Context, req *schedulerv1.FinishAssessmentRequest) (*schedulerv1.FinishAssessmentResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	current, _, err := s.load(ctx, tenant, req.GetAssessment())
	if err != nil {
		return nil, err
	}
	progress, err := s.progress(s.self(ctx, tenant), tenant, current)
	if err != nil {
		return nil, err
	}
	_, err = s.update(ctx, tenant, req.GetAssessment(), func(a *schedulerv1.Assessment) bool {
		return finish(a, req, progress, time.Now())
	})
	return &schedulerv1.FinishAssessmentResponse{}, err
}

// finish decides the end of an assessment.
func finish(a *schedulerv1.Assessment, req *schedulerv1.FinishAssessmentRequest, p *schedulerv1.Progress, now time.Time) bool {
	if a.GetState() == schedulerv1.Assessment_STATE_CANCELLED || a.GetClosed() {
		return false
	}
	a.Closed = !req.GetScanned()
	if req.GetReport() != "" {
		a.Report = req.GetReport()
	}
	if ended(a.GetState()) {
		if req.GetError() != "" && a.GetReport() == "" {
			a.State, a.Reason = schedulerv1.Assessment_STATE_FAILED, failure(req)
		}
		return true
	}
	a.EndTime, a.Progress = timestamppb.New(now), p
	switch {
	case req.GetError() != "":
		a.State, a.Reason = schedulerv1.Assessment_STATE_FAILED, failure(req)
	case p.GetJobsFailed() > 0:
		a.State = schedulerv1.Assessment_STATE_INCOMPLETE
		a.Reason = fmt.Sprintf("%d of %d scan jobs did not cover all of their target; the coverage says which", p.GetJobsFailed(), p.GetJobsDone())
	default:
		a.State = schedulerv1.Assessment_STATE_SUCCEEDED
	}
	return true
}

func failure(req *schedulerv1.FinishAssessmentRequest) string {
	return clip(strings.TrimSuffix(req.GetError()+": "+req.GetCause(), ": "), 1024)
}
