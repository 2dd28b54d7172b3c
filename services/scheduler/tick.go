package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

const (
	// acceptGrace is how long an accepted assessment may wait for its own process to start it.
	acceptGrace = 5 * time.Second
	// tickPage bounds what one tick takes of one shard; the next tick takes the rest.
	tickPage = 200
	// maxProblem bounds Plan.last_problem.
	maxProblem = 512
)

// Tick starts what fell due and what was accepted but not started, and ends what has no workflow any more. Several clocks
// may call it: every step is a conditional write.
func (s *Service) Tick(ctx context.Context, _ *schedulerv1.TickRequest) (*schedulerv1.TickResponse, error) {
	res := &schedulerv1.TickResponse{}
	var errs []error
	now := time.Now()
	for n := range shards {
		started, err := s.tickPlans(ctx, "DUE#"+strconv.Itoa(n), now)
		res.Started += started
		errs = append(errs, err)
		recovered, err := s.tickOpen(ctx, "OPEN#"+strconv.Itoa(n), now)
		res.Recovered += recovered
		errs = append(errs, err)
	}
	return res, errors.Join(errs...)
}

func (s *Service) tickPlans(ctx context.Context, partition string, now time.Time) (started uint32, err error) {
	page, err := s.table.Query(ctx, table.Query{Index: indexDue, Partition: partition, Before: resource.SortableTime(now) + "~", Limit: tickPage})
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, item := range page.Items {
		ok, err := s.runPlan(ctx, tenantInIndex(item.Indexes[indexDue].Sort), item, now)
		if ok {
			started++
		}
		errs = append(errs, err)
	}
	return started, errors.Join(errs...)
}

// runPlan starts a plan that fell due. The assessment's request id is the plan and its due time: if this ends half-way, the
// next tick finds the plan due still, and the same assessment. A plan that cannot start now (a seed lost its proof) waits for
// its next time.
func (s *Service) runPlan(ctx context.Context, tenant string, item table.Item, now time.Time) (bool, error) {
	p, err := protoitem.Decode(item, &schedulerv1.Plan{})
	if err != nil || tenant == "" || p.GetPaused() || p.GetNextRunTime().AsTime().After(now) {
		return false, err
	}
	at := p.GetNextRunTime().AsTime()
	available, err := s.available(s.self(ctx, tenant))
	if err != nil {
		return false, err
	}
	types, due := dueTypes(p, available, now)
	next, err := nextRun(p, now)
	if err != nil {
		return false, err
	}
	started := false
	if due {
		a, err := s.accept(s.self(ctx, tenant), tenant, p.GetName(), p.GetName(), &schedulerv1.CreateAssessmentRequest{
			Targets: p.GetSeeds(), Profile: p.GetProfile(), ScanTypes: types, Ports: p.GetPorts(), RequestId: p.GetName() + "@" + resource.SortableTime(at),
		})
		switch {
		case err == nil:
			p.LastRunTime, p.LastAssessment, p.LastProblem, started = timestamppb.New(now), a.GetName(), "", true
		case errors.Is(err, fault.FailedPrecondition) || errors.Is(err, fault.Invalid):
			s.log.WarnContext(ctx, "plan cannot start", slog.String("plan", p.GetName()), slog.Any("error", err))
			p.LastProblem = clip(err.Error(), maxProblem)
		default:
			return false, err
		}
	}
	p.NextRunTime = timestamppb.New(next)
	updated, err := planItem(tenant, p)
	if err != nil {
		return started, err
	}
	err = s.table.Write(ctx, table.Write{Item: updated, If: table.Condition(item.Revision)})
	if isConflict(err) {
		return started, nil // another clock, or a change of the plan: the next tick looks again
	}
	return started, err
}

func (s *Service) tickOpen(ctx context.Context, partition string, now time.Time) (recovered uint32, err error) {
	page, err := s.table.Query(ctx, table.Query{Index: indexOpen, Partition: partition, Limit: tickPage})
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, item := range page.Items {
		a, err := protoitem.Decode(item, &schedulerv1.Assessment{})
		tenant := tenantInIndex(item.Indexes[indexOpen].Sort)
		if err != nil || tenant == "" || now.Sub(a.GetCreateTime().AsTime()) < acceptGrace {
			errs = append(errs, err)
			continue
		}
		ok, err := s.recover(s.self(ctx, tenant), tenant, a)
		if ok {
			recovered++
		}
		errs = append(errs, err)
	}
	return recovered, errors.Join(errs...)
}

// recover starts an assessment that was accepted and not started, and closes one whose workflow ended without saying so.
func (s *Service) recover(ctx context.Context, tenant string, a *schedulerv1.Assessment) (bool, error) {
	e, err := s.workflow.Describe(ctx, machine, resource.ID(a.GetName()))
	switch {
	case errors.Is(err, fault.NotFound) || err == nil && a.GetState() == schedulerv1.Assessment_STATE_ACCEPTED:
		_, err := s.start(ctx, tenant, a)
		return err == nil, err
	case err != nil || e.Status == workflow.Running:
		return false, err
	}
	_, err = s.FinishAssessment(ctx, &schedulerv1.FinishAssessmentRequest{Assessment: a.GetName(), Error: "workflow " + string(e.Status), Cause: e.Error + " " + e.Cause})
	return err == nil, err
}
