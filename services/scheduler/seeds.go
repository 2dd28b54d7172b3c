package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// resolve parses the targets; all that are wrong are named at once.
func resolve(targets []string, ports string) ([]*schedulerv1.Seed, error) {
	var problem error
	violation := func(field, text string) {
		if problem == nil {
			problem = fault.New(fault.Invalid, "%s", text)
		}
		problem = fault.WithField(problem, field, text)
	}
	if ports != "" {
		if _, err := portlist.Parse(ports); err != nil {
			violation("ports", err.Error())
		}
	}
	var seeds []*schedulerv1.Seed
	seen := map[string]bool{}
	for i, text := range targets {
		t, err := target.Parse(text)
		if err != nil {
			violation("targets["+strconv.Itoa(i)+"]", err.Error())
			continue
		}
		seed := &schedulerv1.Seed{Kind: modelv1.AssetKind(t.Kind), Value: t.Value, Url: t.URL}
		if t.Port != 0 {
			seed.Ports = strconv.Itoa(int(t.Port))
		}
		if key := seed.GetValue() + "|" + seed.GetPorts(); !seen[key] {
			seen[key] = true
			seeds = append(seeds, seed)
		}
	}
	return merged(seeds), problem
}

// merged joins seeds of one value: with any without a port the whole value is looked at, else all the ports named.
func merged(in []*schedulerv1.Seed) []*schedulerv1.Seed {
	byValue := map[string]*schedulerv1.Seed{}
	var out []*schedulerv1.Seed
	for _, s := range in {
		first := byValue[s.GetValue()]
		switch {
		case first == nil:
			byValue[s.GetValue()] = s
			out = append(out, s)
		case first.GetPorts() == "" || s.GetPorts() == "":
			first.Ports = ""
		default:
			first.Ports += "," + s.GetPorts()
		}
	}
	return out
}

// checkSeeds asks ingest whether every seed may be scanned with that scan type which does most to it, and whether the proofs of
// its ownership are still there.
func (s *Service) checkSeeds(ctx context.Context, seeds []*schedulerv1.Seed, p modelv1.Profile, types []modelv1.ScanType) error {
	req := &ingestv1.CheckScopeRequest{Profile: p, Recheck: true}
	for _, seed := range seeds {
		t := heaviest(types)
		if seed.GetKind() == modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT {
			t = modelv1.ScanType_SCAN_TYPE_CLOUD
			if !slices.Contains(types, t) {
				return fault.WithField(fault.New(fault.Invalid, "%s is a cloud account and the scan type cloud does not run here; leave it out", seed.GetValue()), "targets", "leave it out")
			}
		}
		req.Targets, req.ScanTypes = append(req.Targets, &modelv1.Target{Kind: seed.GetKind(), Value: seed.GetValue()}), append(req.ScanTypes, t)
	}
	res, err := s.ingest.CheckScope(ctx, req)
	if err != nil {
		return err
	}
	var problem error
	for i, d := range res.GetDecisions() {
		if !d.GetAllowed() {
			if problem == nil {
				problem = fault.New(fault.FailedPrecondition, "%s", d.GetReason())
			}
			problem = fault.WithField(problem, fmt.Sprintf("targets[%d]", i), d.GetReason())
		}
	}
	return problem
}

// heaviest is the scan type among some that needs the highest clearance: one that sends packets before those that do not.
func heaviest(types []modelv1.ScanType) modelv1.ScanType {
	for _, t := range types {
		if !passiveTypes[t] {
			return t
		}
	}
	if slices.Contains(types, modelv1.ScanType_SCAN_TYPE_DNS) || len(types) == 0 {
		return modelv1.ScanType_SCAN_TYPE_DNS
	}
	return types[0]
}
