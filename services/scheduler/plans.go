package scheduler

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"
	_ "time/tzdata" // neither an image from scratch nor every version of Lambda's has time zones

	"github.com/adhocore/gronx"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// CreatePlan adds a recurring assessment.
func (s *Service) CreatePlan(ctx context.Context, req *schedulerv1.CreatePlanRequest) (*schedulerv1.Plan, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	p := proto.CloneOf(req.GetPlan())
	now := time.Now()
	p.Name, p.CreateTime, p.CreatedBy = "plans/"+newID(now), timestamppb.New(now), who.Subject
	p.LastRunTime, p.LastAssessment, p.Etag = nil, "", ""
	for _, c := range p.GetCadence() {
		c.LastRunTime = nil
	}
	p.LastProblem = ""
	if err := s.checkPlan(ctx, p, now); err != nil {
		return nil, err
	}
	item, err := planItem(tenant, p)
	if err != nil {
		return nil, err
	}
	if err := s.table.Write(ctx, table.Write{Item: item}); err != nil {
		return nil, err
	}
	p.Etag = "1"
	return p, nil
}

// checkPlan checks what the contract cannot say, and computes the next run. A plan over what may not be scanned is refused when
// it is made, and not every night.
func (s *Service) checkPlan(ctx context.Context, p *schedulerv1.Plan, now time.Time) error {
	seeds, err := resolve(p.GetSeeds(), p.GetPorts())
	if err != nil {
		return err
	}
	next, err := nextRun(p, now)
	if err != nil {
		return err
	}
	available, err := s.available(ctx)
	if err != nil {
		return err
	}
	profile := cmp.Or(p.GetProfile(), modelv1.Profile_PROFILE_STANDARD)
	types, err := runTypes(profile, p.GetScanTypes(), available)
	if err != nil {
		return err
	}
	if !p.GetPaused() { // one that does not run can always be changed, and made to stop
		if err := s.checkSeeds(ctx, seeds, profile, types); err != nil {
			return err
		}
	}
	p.NextRunTime = timestamppb.New(next)
	return nil
}

// nextRun is when a plan falls due after a moment: by its cron expression in its time zone, and as much later as [spread] says.
func nextRun(p *schedulerv1.Plan, after time.Time) (time.Time, error) {
	zone, err := time.LoadLocation(p.GetTimeZone())
	if err != nil || p.GetTimeZone() == "Local" {
		return time.Time{}, fault.WithField(fault.New(fault.Invalid, "time zone %q is not known; use a name such as Europe/Berlin", p.GetTimeZone()), "plan.time_zone", "use an IANA name")
	}
	// A run whose time by the clock has come, and whose own has not, is still the next one.
	for from := after.Add(-maxSpread); ; {
		at, err := gronx.NextTickAfter(p.GetCron(), from.In(zone), false)
		var then time.Time
		if err == nil {
			then, err = gronx.NextTickAfter(p.GetCron(), at, false)
		}
		if err != nil {
			text := "cron expression " + strconv.Quote(p.GetCron()) + " is not valid; five fields are minute, hour, day of month, month, day of week, such as 0 3 * * *"
			return time.Time{}, fault.WithField(fault.New(fault.Invalid, "%s", text), "plan.cron", text)
		}
		if due := at.Add(spread(p.GetName(), then.Sub(at))); due.After(after) {
			return due, nil
		}
		from = at
	}
}

func (s *Service) loadPlan(ctx context.Context, tenant, name string) (*schedulerv1.Plan, int64, error) {
	item, err := s.table.Get(ctx, planKey(tenant, name))
	if errors.Is(err, fault.NotFound) {
		return nil, 0, fault.New(fault.NotFound, "%s does not exist", name)
	}
	if err != nil {
		return nil, 0, err
	}
	p, err := protoitem.Decode(item, &schedulerv1.Plan{})
	p.Etag = strconv.FormatInt(item.Revision, 10)
	return p, item.Revision, err
}

// GetPlan returns one plan.
func (s *Service) GetPlan(ctx context.Context, req *schedulerv1.GetPlanRequest) (*schedulerv1.Plan, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	p, _, err := s.loadPlan(ctx, tenant, req.GetName())
	return p, err
}

// ListPlans lists the plans of the tenant.
func (s *Service) ListPlans(ctx context.Context, req *schedulerv1.ListPlansRequest) (*schedulerv1.ListPlansResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{Partition: planKey(tenant, "").Partition, Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken()})
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListPlansResponse{NextPageToken: page.NextPageToken}
	for _, item := range page.Items {
		p, err := protoitem.Decode(item, &schedulerv1.Plan{})
		if err != nil {
			return nil, err
		}
		p.Etag = strconv.FormatInt(item.Revision, 10)
		res.Plans = append(res.Plans, p)
	}
	return res, nil
}

// planFields copy one field of an update into a plan.
var planFields = map[string]func(to, from *schedulerv1.Plan){
	"display_name": func(to, from *schedulerv1.Plan) { to.DisplayName = from.GetDisplayName() },
	"cron":         func(to, from *schedulerv1.Plan) { to.Cron = from.GetCron() },
	"time_zone":    func(to, from *schedulerv1.Plan) { to.TimeZone = from.GetTimeZone() },
	"seeds":        func(to, from *schedulerv1.Plan) { to.Seeds = from.GetSeeds() },
	"profile":      func(to, from *schedulerv1.Plan) { to.Profile = from.GetProfile() },
	"scan_types":   func(to, from *schedulerv1.Plan) { to.ScanTypes = from.GetScanTypes() },
	"cadence":      func(to, from *schedulerv1.Plan) { to.Cadence = from.GetCadence() },
	"paused":       func(to, from *schedulerv1.Plan) { to.Paused = from.GetPaused() },
	"ports":        func(to, from *schedulerv1.Plan) { to.Ports = from.GetPorts() },
}

// UpdatePlan changes the fields that the mask names.
func (s *Service) UpdatePlan(ctx context.Context, req *schedulerv1.UpdatePlanRequest) (*schedulerv1.Plan, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	p, revision, err := s.loadPlan(ctx, tenant, req.GetPlan().GetName())
	if err != nil {
		return nil, err
	}
	if e := req.GetPlan().GetEtag(); e != "" && e != p.GetEtag() {
		return nil, fault.New(fault.Conflict, "%s changed since it was read; read it again", p.GetName())
	}
	paths := req.GetUpdateMask().GetPaths()
	if len(paths) == 0 {
		return nil, fault.WithField(fault.New(fault.Invalid, "update_mask is empty"), "update_mask", "name the fields to change")
	}
	for _, path := range paths {
		set := planFields[path]
		if set == nil {
			return nil, fault.WithField(fault.New(fault.Invalid, "update_mask names %q, which cannot be changed", path), "update_mask", "name fields that can be changed")
		}
		set(p, req.GetPlan())
	}
	if err := s.checkPlan(ctx, p, time.Now()); err != nil {
		return nil, err
	}
	p.Etag = ""
	item, err := planItem(tenant, p)
	if err != nil {
		return nil, err
	}
	if err := s.table.Write(ctx, table.Write{Item: item, If: table.Condition(revision)}); err != nil {
		if isConflict(err) {
			return nil, fault.New(fault.Conflict, "%s changed meanwhile; read it again", p.GetName())
		}
		return nil, err
	}
	p.Etag = strconv.FormatInt(revision+1, 10)
	return p, nil
}

// DeletePlan ends a plan.
func (s *Service) DeletePlan(ctx context.Context, req *schedulerv1.DeletePlanRequest) (*emptypb.Empty, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.loadPlan(ctx, tenant, req.GetName()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, s.table.Write(ctx, table.Write{Delete: true, If: table.Any, Item: table.Item{Key: planKey(tenant, req.GetName())}})
}

// dueTypes are the scan types that are worth running now by the plan's cadence, and whether there is any; it marks them as
// run. Empty and true means all of the profile.
func dueTypes(p *schedulerv1.Plan, available typeSet, now time.Time) ([]modelv1.ScanType, bool) {
	slow := map[modelv1.ScanType]bool{}
	for _, c := range p.GetCadence() {
		if c.GetLastRunTime() != nil && now.Before(c.GetLastRunTime().AsTime().Add(c.GetEvery().AsDuration())) {
			slow[c.GetScanType()] = true
		} else {
			c.LastRunTime = timestamppb.New(now)
		}
	}
	if len(slow) == 0 {
		return p.GetScanTypes(), true
	}
	all := slices.Clone(p.GetScanTypes())
	if len(all) == 0 {
		all = slices.DeleteFunc(available.list(), func(t modelv1.ScanType) bool { return !ofProfile(p.GetProfile(), t) })
	}
	all = slices.DeleteFunc(all, func(t modelv1.ScanType) bool { return slow[t] })
	return all, len(all) > 0
}
