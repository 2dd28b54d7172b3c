package scheduler

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	// waveSize is how many jobs of one seed are under way at a time: the queue holds a short window, the rest waits here.
	// 64 jobs of 2 KiB stay well below the 256 KiB of a workflow state (docs.aws.amazon.com/step-functions, service quotas).
	waveSize = 64
	// recordBatch is how many records are asked for at a time: the limit of GetJobRecords.
	recordBatch = 100
)

// NextWave tells which jobs below one seed are worth doing now. It is a function of what is stored, so asking again is safe.
func (s *Service) NextWave(ctx context.Context, req *schedulerv1.NextWaveRequest) (*schedulerv1.NextWaveResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	a, _, err := s.load(ctx, tenant, req.GetAssessment())
	if err != nil {
		return nil, err
	}
	if int(req.GetSeed()) >= len(a.GetResolvedSeeds()) {
		return nil, fault.New(fault.Invalid, "%s has no seed %d", a.GetName(), req.GetSeed())
	}
	if ended(a.GetState()) {
		return &schedulerv1.NextWaveResponse{Done: true}, nil
	}
	ctx = s.self(ctx, tenant)
	jobs, records, err := s.frontier(ctx, tenant, a, a.GetResolvedSeeds()[req.GetSeed()])
	if err != nil {
		return nil, err
	}
	pending := slices.DeleteFunc(jobs, func(j *modelv1.ScanJob) bool { return records[j.GetId()] != nil })
	if len(pending) == 0 {
		return &schedulerv1.NextWaveResponse{Done: true}, nil
	}
	mine, err := s.claim(ctx, tenant, a, req.GetSeed(), pending[:min(len(pending), waveSize)])
	if err != nil {
		return nil, err
	}
	allowed, err := s.inScope(ctx, mine)
	if err != nil {
		return nil, err
	}
	if len(mine) > 0 && len(allowed) == 0 {
		// Nothing to send, but what was refused is recorded now: ask again.
		return &schedulerv1.NextWaveResponse{Waiting: true}, nil
	}
	res := &schedulerv1.NextWaveResponse{Waiting: len(mine) == 0}
	for _, j := range allowed {
		res.Jobs = append(res.Jobs, &schedulerv1.WaveJob{Job: j, Queue: queues[j.GetScanType()], Group: lane(tenant, j.GetId())})
	}
	return res, nil
}

// frontier grows the jobs of a seed until no record adds any, and then once more with the places seen before.
func (s *Service) frontier(ctx context.Context, tenant string, a *schedulerv1.Assessment, seed *schedulerv1.Seed) ([]*modelv1.ScanJob, map[string]*modelv1.JobRecord, error) {
	records, asked := map[string]*modelv1.JobRecord{}, map[string]bool{}
	var before []location
	for {
		jobs := grow(tenant, a, seed, records, before)
		var unknown []string
		done := true
		for _, j := range jobs {
			if !asked[j.GetId()] {
				unknown = append(unknown, j.GetId())
				asked[j.GetId()] = true
			}
			done = done && records[j.GetId()] != nil
		}
		if len(unknown) > 0 {
			if err := s.fetchRecords(ctx, a.GetName(), unknown, records); err != nil {
				return nil, nil, err
			}
			continue
		}
		if !done || before != nil {
			return jobs, records, nil
		}
		var err error
		if before, err = s.before(ctx, a, jobs); err != nil {
			return nil, nil, err
		}
		if len(before) == 0 {
			return jobs, records, nil
		}
	}
}

func (s *Service) fetchRecords(ctx context.Context, assessment string, jobs []string, into map[string]*modelv1.JobRecord) error {
	for chunk := range slices.Chunk(jobs, recordBatch) {
		res, err := s.ingest.GetJobRecords(ctx, &ingestv1.GetJobRecordsRequest{Assessment: assessment, Jobs: chunk})
		if err != nil {
			return err
		}
		for _, r := range res.GetRecords() {
			into[r.GetCoverage().GetJob()] = r
		}
	}
	return nil
}

// before are the places that earlier assessments saw on the assets of these jobs.
func (s *Service) before(ctx context.Context, a *schedulerv1.Assessment, jobs []*modelv1.ScanJob) ([]location, error) {
	addresses := map[string]string{}
	var targets []*modelv1.Target
	for _, j := range jobs {
		t := j.GetTarget()
		name := assetid.Name(int32(t.GetKind()), t.GetValue())
		if _, seen := addresses[name]; !seen {
			targets = append(targets, t)
		}
		if t.GetAddress() != "" || addresses[name] == "" {
			addresses[name] = t.GetAddress()
		}
	}
	var out []location
	for _, t := range targets {
		name := assetid.Name(int32(t.GetKind()), t.GetValue())
		if addresses[name] == "" {
			continue
		}
		res, err := s.ingest.GetAssetState(ctx, &ingestv1.GetAssetStateRequest{Name: name})
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if res.GetAsset().GetFirstSeen().AsTime().Before(a.GetCreateTime().AsTime()) {
			out = append(out, placesBefore(res.GetAsset(), res.GetSets(), addresses[name])...)
		}
	}
	return out, nil
}

// claim takes jobs for one seed's lane and returns those that are its own. Two seeds may lead to the same place; it is
// looked at once.
func (s *Service) claim(ctx context.Context, tenant string, a *schedulerv1.Assessment, seed uint32, jobs []*modelv1.ScanJob) ([]*modelv1.ScanJob, error) {
	owner := strconv.Itoa(int(seed))
	claims := make([]table.Write, len(jobs))
	for i, j := range jobs {
		claims[i] = table.Write{Item: table.Item{
			Key: table.Key{Partition: claimPartition(tenant, a.GetName()), Sort: j.GetId()}, Value: []byte(owner),
		}}
	}
	// Usually all are new: one write. If not, some are owned, by this seed or another.
	err := s.table.Write(ctx, claims...)
	if err == nil || !isConflict(err) {
		return jobs, err
	}
	owners, err := s.owners(ctx, claims)
	if err != nil {
		return nil, err
	}
	var mine []*modelv1.ScanJob
	for i, j := range jobs {
		if owners[j.GetId()] == "" {
			switch err := s.table.Write(ctx, claims[i]); {
			case isConflict(err):
				continue
			case err != nil:
				return nil, err
			}
			owners[j.GetId()] = owner
		}
		if owners[j.GetId()] == owner {
			mine = append(mine, j)
		}
	}
	return mine, nil
}

func (s *Service) owners(ctx context.Context, claims []table.Write) (map[string]string, error) {
	keys := make([]table.Key, len(claims))
	for i, c := range claims {
		keys[i] = c.Item.Key
	}
	items, err := s.table.GetAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, item := range items {
		out[item.Key.Sort] = string(item.Value)
	}
	return out, nil
}

// inScope returns the jobs whose targets may be touched, and records the others as not permitted.
func (s *Service) inScope(ctx context.Context, jobs []*modelv1.ScanJob) ([]*modelv1.ScanJob, error) {
	if len(jobs) == 0 {
		return nil, nil
	}
	req := &ingestv1.CheckScopeRequest{Profile: jobs[0].GetOptions().GetProfile()} // one assessment has one profile
	for _, j := range jobs {
		req.Targets, req.ScanTypes = append(req.Targets, j.GetTarget()), append(req.ScanTypes, j.GetScanType())
	}
	res, err := s.ingest.CheckScope(ctx, req)
	if err != nil {
		return nil, err
	}
	var allowed []*modelv1.ScanJob
	for i, j := range jobs {
		d := res.GetDecisions()[i]
		if d.GetAllowed() {
			allowed = append(allowed, j)
			continue
		}
		if err := s.recordOutcome(ctx, j, modelv1.Outcome_OUTCOME_NOT_PERMITTED, d.GetReason()); err != nil {
			return nil, err
		}
	}
	return allowed, nil
}

// recordOutcome stores coverage for a job that no scanner answered.
func (s *Service) recordOutcome(ctx context.Context, j *modelv1.ScanJob, o modelv1.Outcome, reason string) error {
	now := timestamppb.New(time.Now())
	_, err := s.ingest.SubmitResult(ctx, &ingestv1.SubmitResultRequest{Result: &modelv1.ScanCompleted{
		Job: j, Outcome: o, Reason: reason, StartedAt: now, CompletedAt: now,
	}})
	return err
}

// RecordJobFailure turns a failed or timed-out step into coverage.
func (s *Service) RecordJobFailure(ctx context.Context, req *schedulerv1.RecordJobFailureRequest) (*schedulerv1.RecordJobFailureResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	reason := "the scan did not end: " + req.GetError()
	if req.GetCause() != "" {
		reason += ": " + req.GetCause()
	}
	req.Job.Tenant = tenant
	if err := s.recordOutcome(s.self(ctx, tenant), req.GetJob(), modelv1.Outcome_OUTCOME_FAILED, clip(reason, 512)); err != nil {
		return nil, err
	}
	return &schedulerv1.RecordJobFailureResponse{}, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
