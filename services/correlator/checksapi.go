package correlator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// ListChecks lists the catalogue as the tenant has it: the shipped checks and its own, those that are switched off included.
func (s *Service) ListChecks(ctx context.Context, _ *correlatorv1.ListChecksRequest) (*correlatorv1.ListChecksResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.catalogue()
	if err != nil {
		return nil, err
	}
	own, state, err := s.ownChecks(ctx, tenant)
	if err != nil {
		return nil, err
	}
	res := &correlatorv1.ListChecksResponse{}
	for _, k := range c.checks {
		p := k.proto()
		p.Disabled = slices.Contains(state.Disabled, k.ID)
		res.Checks = append(res.Checks, p)
	}
	for _, p := range own {
		p.Holds, p.NotHolds = nil, nil // GetCheck has them
		res.Checks = append(res.Checks, p)
	}
	return res, nil
}

// ownChecks are the tenant's own checks as they are shown, and what it switched off.
func (s *Service) ownChecks(ctx context.Context, tenant string) ([]*correlatorv1.Check, tenantState, error) {
	var state tenantState
	revision, err := s.loadState(ctx, tenantStateKey(tenant), &state)
	if err != nil || revision == 0 {
		return nil, state, err
	}
	own, err := s.loadChecks(ctx, tenant)
	if err != nil {
		return nil, state, err
	}
	for _, p := range own {
		p.Disabled = slices.Contains(state.Disabled, p.GetId())
		item, err := s.table.Get(ctx, problemKey(tenant, p.GetId()))
		if errors.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, state, err
		}
		if p.Problem, err = protoitem.Decode(item, &correlatorv1.CheckProblem{}); err != nil {
			return nil, state, err
		}
	}
	return own, state, nil
}

func problemKey(tenant, id string) table.Key {
	return table.Key{Partition: checksPartition(tenant), Sort: prefixProblem + id}
}

// GetCheck returns one check with its examples.
func (s *Service) GetCheck(ctx context.Context, req *correlatorv1.GetCheckRequest) (*correlatorv1.Check, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	return s.checkNamed(ctx, tenant, req.GetName())
}

func (s *Service) checkNamed(ctx context.Context, tenant, name string) (*correlatorv1.Check, error) {
	c, err := s.catalogue()
	if err != nil {
		return nil, err
	}
	own, state, err := s.ownChecks(ctx, tenant)
	if err != nil {
		return nil, err
	}
	id := strings.TrimPrefix(name, "checks/")
	if k := c.byID[id]; k != nil {
		p := k.proto()
		p.Disabled = slices.Contains(state.Disabled, id)
		p.Holds, p.NotHolds, err = k.examples()
		return p, err
	}
	for _, p := range own {
		if p.GetId() == id {
			return p, nil
		}
	}
	return nil, fault.New(fault.NotFound, "%s does not exist", name)
}

// examples are a shipped check's examples as the contract shows them; those about intel are left out, as they are no facts.
func (k *check) examples() (holds, not []*correlatorv1.CheckExample, err error) {
	convert := func(list []example) (out []*correlatorv1.CheckExample, err error) {
		for _, e := range list {
			if e.Fact == nil {
				continue
			}
			p := &correlatorv1.CheckExample{}
			if p.Fact, err = toStruct(e.Fact); err == nil && e.Asset != nil {
				p.Asset, err = toStruct(e.Asset)
			}
			for _, o := range e.Others {
				other, errOf := toStruct(o)
				p.Others, err = append(p.Others, other), cmp.Or(err, errOf)
			}
			if err != nil {
				return nil, err
			}
			now := exampleTime
			if at, err := time.Parse(time.RFC3339, e.Now); err == nil {
				now = at
			}
			p.Now = timestamppb.New(now)
			out = append(out, p)
		}
		return out, nil
	}
	if holds, err = convert(k.Examples.Holds); err == nil {
		not, err = convert(k.Examples.Not)
	}
	return holds, not, err
}

// toStruct goes over JSON, because YAML gives numbers and lists of types that Struct does not take.
func toStruct(m map[string]any) (*structpb.Struct, error) {
	raw, err := json.Marshal(m)
	out := &structpb.Struct{}
	if err == nil {
		err = out.UnmarshalJSON(raw)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "show example")
	}
	return out, nil
}

// tried makes a check of what the tenant wrote, compiles it within its bounds and runs its examples.
func tried(p *correlatorv1.Check, shipped *Catalogue, now time.Time) (*check, []string, error) {
	k, err := customCheck(p, shipped)
	if err != nil {
		return nil, nil, err
	}
	if _, err := k.compiled(); err != nil {
		return nil, nil, err
	}
	if len(p.GetHolds()) == 0 || len(p.GetNotHolds()) == 0 {
		return nil, nil, wrong("holds", "give at least one example that holds and one in not_holds that does not: they show what the check means")
	}
	var summaries []string
	for i, e := range p.GetHolds() {
		held, summary, err := k.try(exampleOf(e, now))
		if err != nil {
			return nil, nil, wrong("holds", "example %d: %s", i+1, oneLine(err.Error()))
		}
		if !held {
			return nil, nil, wrong("holds", "the check does not hold on example %d", i+1)
		}
		summaries = append(summaries, summary)
	}
	for i, e := range p.GetNotHolds() {
		held, _, err := k.try(exampleOf(e, now))
		if err != nil {
			return nil, nil, wrong("not_holds", "example %d: %s", i+1, oneLine(err.Error()))
		}
		if held {
			return nil, nil, wrong("not_holds", "the check holds on example %d", i+1)
		}
	}
	return k, summaries, nil
}

func exampleOf(p *correlatorv1.CheckExample, now time.Time) example {
	if p.GetNow() != nil {
		now = p.GetNow().AsTime()
	}
	e := example{Fact: p.GetFact().AsMap(), Now: now.UTC().Format(time.RFC3339)}
	if p.GetAsset() != nil {
		e.Asset = p.GetAsset().AsMap()
	}
	for _, o := range p.GetOthers() {
		e.Others = append(e.Others, o.AsMap())
	}
	return e
}

// TestCheck does all that CreateCheck does before it stores.
func (s *Service) TestCheck(ctx context.Context, req *correlatorv1.TestCheckRequest) (*correlatorv1.TestCheckResponse, error) {
	if _, _, err := authn.Tenant(ctx); err != nil {
		return nil, err
	}
	c, err := s.catalogue()
	if err != nil {
		return nil, err
	}
	k, summaries, err := tried(req.GetCheck(), c, time.Now())
	if err != nil {
		return nil, err
	}
	cost, err := estimate(k.Condition)
	return &correlatorv1.TestCheckResponse{EstimatedCost: cost, MaxCost: maxEstimate, Summaries: summaries}, err
}

// CreateCheck adds a check of the tenant's own.
func (s *Service) CreateCheck(ctx context.Context, req *correlatorv1.CreateCheckRequest) (*correlatorv1.Check, error) {
	return s.putCheck(ctx, req.GetCheck(), func(known []*correlatorv1.Check, p *correlatorv1.Check) error {
		if len(known) >= MaxCustomChecks {
			return fault.New(fault.ResourceExhausted, "the tenant has %d checks of its own, the most is %d; delete one", len(known), MaxCustomChecks)
		}
		if find(known, p.GetId()) != nil {
			return fault.New(fault.AlreadyExists, "%s exists; update it", p.GetName())
		}
		p.Version, p.CreateTime = 1, p.GetUpdateTime()
		return nil
	})
}

// UpdateCheck replaces a check of the tenant's own.
func (s *Service) UpdateCheck(ctx context.Context, req *correlatorv1.UpdateCheckRequest) (*correlatorv1.Check, error) {
	return s.putCheck(ctx, req.GetCheck(), func(known []*correlatorv1.Check, p *correlatorv1.Check) error {
		before := find(known, p.GetId())
		if before == nil {
			return fault.New(fault.NotFound, "%s does not exist", p.GetName())
		}
		p.Version, p.CreateTime = before.GetVersion()+1, before.GetCreateTime()
		return nil
	})
}

func find(list []*correlatorv1.Check, id string) *correlatorv1.Check {
	for _, p := range list {
		if p.GetId() == id {
			return p
		}
	}
	return nil
}

// putCheck tries a check, stores it with a change of the tenant's state, and evaluates what it reads.
func (s *Service) putCheck(ctx context.Context, given *correlatorv1.Check, decide func(known []*correlatorv1.Check, p *correlatorv1.Check) error) (*correlatorv1.Check, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.catalogue()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	k, _, err := tried(given, c, now)
	if err != nil {
		return nil, err
	}
	p := proto.CloneOf(given)
	p.Id, p.Name, p.Custom, p.Disabled, p.Problem = k.ID, checkName(k.ID), true, false, nil
	p.Group, p.UpdateTime = k.Group, timestamppb.New(now)
	err = s.changeChecks(ctx, tenant, func(known []*correlatorv1.Check, _ *tenantState) ([]table.Write, error) {
		if err := decide(known, p); err != nil {
			return nil, err
		}
		item, err := protoitem.New(checkKey(tenant, p.GetId()), p)
		return []table.Write{{Item: item, If: table.Any}, {Delete: true, If: table.Any, Item: table.Item{Key: problemKey(tenant, p.GetId())}}}, err
	})
	if err != nil {
		return nil, err
	}
	return p, s.checkChanged(ctx, tenant, k)
}

// changeChecks writes a change of the tenant's checks together with its state, whose revision tells every evaluation of it.
func (s *Service) changeChecks(ctx context.Context, tenant string, change func(known []*correlatorv1.Check, state *tenantState) ([]table.Write, error)) error {
	for range maxConflicts {
		var state tenantState
		revision, err := s.loadState(ctx, tenantStateKey(tenant), &state)
		if err != nil {
			return err
		}
		known, err := s.loadChecks(ctx, tenant)
		if err != nil {
			return err
		}
		writes, err := change(known, &state)
		if err != nil {
			return err
		}
		value, err := json.Marshal(state)
		if err != nil {
			return fault.Wrap(fault.Internal, err, "encode state of checks")
		}
		mark := table.Write{Item: table.Item{Key: tenantStateKey(tenant), Value: value}, If: table.Condition(revision)}
		if err := s.table.Write(ctx, append(writes, mark)...); !errors.Is(err, fault.Conflict) {
			return err
		}
	}
	return fault.New(fault.Conflict, "the tenant's checks changed %d times meanwhile", maxConflicts)
}

// checkChanged evaluates again what a check reads.
func (s *Service) checkChanged(ctx context.Context, tenant string, k *check) error {
	now := time.Now()
	err := s.sendStep(ctx, &correlatorv1.Reevaluation{
		Tenant: tenant, Keys: k.reads(), Reason: "check " + k.ID + " " + now.UTC().Format(time.RFC3339Nano), Since: timestamppb.New(now),
	})
	if err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "%s is stored, but assets could not be queued to be evaluated again; call Reevaluate", checkName(k.ID))
	}
	return nil
}

// DeleteCheck removes a check of the tenant's own; its findings go with the evaluation that follows.
func (s *Service) DeleteCheck(ctx context.Context, req *correlatorv1.DeleteCheckRequest) (*emptypb.Empty, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	id := strings.TrimPrefix(req.GetName(), "checks/")
	var gone *check
	err = s.changeChecks(ctx, tenant, func(known []*correlatorv1.Check, state *tenantState) ([]table.Write, error) {
		p := find(known, id)
		if p == nil {
			return nil, fault.New(fault.NotFound, "%s does not exist", req.GetName())
		}
		gone = &check{ID: id, Fact: p.GetFact()}
		state.Disabled = slices.DeleteFunc(state.Disabled, func(d string) bool { return d == id })
		return []table.Write{
			{Delete: true, If: table.Any, Item: table.Item{Key: checkKey(tenant, id)}}, {Delete: true, If: table.Any, Item: table.Item{Key: problemKey(tenant, id)}},
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, s.checkChanged(ctx, tenant, gone)
}

// DisableCheck switches a check off for the tenant.
func (s *Service) DisableCheck(ctx context.Context, req *correlatorv1.DisableCheckRequest) (*correlatorv1.Check, error) {
	return s.switchCheck(ctx, req.GetName(), true)
}

// EnableCheck switches a check on again.
func (s *Service) EnableCheck(ctx context.Context, req *correlatorv1.EnableCheckRequest) (*correlatorv1.Check, error) {
	return s.switchCheck(ctx, req.GetName(), false)
}

func (s *Service) switchCheck(ctx context.Context, name string, off bool) (*correlatorv1.Check, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.checkNamed(ctx, tenant, name)
	if err != nil || p.GetDisabled() == off {
		return p, err
	}
	err = s.changeChecks(ctx, tenant, func(_ []*correlatorv1.Check, state *tenantState) ([]table.Write, error) {
		state.Disabled = slices.DeleteFunc(state.Disabled, func(d string) bool { return d == p.GetId() })
		if off {
			state.Disabled = append(state.Disabled, p.GetId())
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	p.Disabled = off
	return p, s.checkChanged(ctx, tenant, &check{ID: p.GetId(), Fact: p.GetFact()})
}
