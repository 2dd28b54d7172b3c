package ingest

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

const (
	// freshFor is how long a look at a proof counts at the start of a scan.
	freshFor = 24 * time.Hour
	// checkBefore is how long before its time is over a proof is looked at by itself: time for three days of outage.
	checkBefore = 3 * 24 * time.Hour
	// checkAgain is how soon a proof is looked at again after nobody answered.
	checkAgain = 6 * time.Hour
	// noteAfter is how old a look has to be for the next one to be worth an entry in the record: what is scanned daily makes one a
	// week.
	noteAfter = 7 * 24 * time.Hour
	// looks is how many proofs are looked at at a time.
	looks = 16
	// recheckEvery is how often what fell due is looked for, and recheckPage how much of one shard is taken at once.
	recheckEvery = 15 * time.Minute
	recheckPage  = 100
	// rechecker is who looks again by itself, in the record.
	rechecker = "service:ingest"
)

// settle changes an asset's ownership by what a look at a proof saw, and returns what the record says of it; nil where there is
// nothing to say.
//
// A proof that is there counts for 30 days from now. One that is gone ends the ownership that rests on it at once. One that could
// not be looked at changes nothing before its time is over.
func settle(a *modelv1.Asset, p *ingestv1.Proof, seen sight, subject string, now time.Time) *ingestv1.Authorization {
	o := asOf(a.GetOwnership(), now)
	mine := o.GetProof() == p.GetName()
	counts := o.GetState() == modelv1.Ownership_STATE_VERIFIED
	switch {
	case seen.state == proofThere:
		return confirmed(a, o, p, subject, now)
	case !mine || !counts && o.GetNextCheck() == nil: // it rests on another proof, or was withdrawn before
		return nil
	case counts && seen.state == proofUnknown:
		a.Ownership.NextCheck = timestamppb.New(now.Add(checkAgain))
		return nil
	}
	entry := &ingestv1.Authorization{
		Event: ingestv1.Authorization_EVENT_WITHDRAWN, Method: o.GetMethod(), Clearance: modelv1.Clearance_CLEARANCE_PASSIVE, Subject: subject,
		Reference: clip(seen.why, maxProblem), ExpireTime: timestamppb.New(now), Proof: p.GetName(),
	}
	a.Ownership = &modelv1.Ownership{
		State: modelv1.Ownership_STATE_EXPIRED, Method: o.GetMethod(), Subject: o.GetSubject(), VerifiedAt: o.GetVerifiedAt(),
		ExpiresAt: timestamppb.New(now), Reason: clip(seen.why, maxProblem), CheckedAt: o.GetCheckedAt(), Proof: p.GetName(),
	}
	return entry
}

// confirmed is what follows from a proof that is there.
func confirmed(a *modelv1.Asset, was *modelv1.Ownership, p *ingestv1.Proof, subject string, now time.Time) *ingestv1.Authorization {
	again := was.GetState() == modelv1.Ownership_STATE_VERIFIED && was.GetProof() == p.GetName()
	next := &modelv1.Ownership{
		State: modelv1.Ownership_STATE_VERIFIED, Method: methodText(p.GetMethod()), Subject: subject, VerifiedAt: timestamppb.New(now), CheckedAt: timestamppb.New(now),
		ExpiresAt: timestamppb.New(now.Add(proofLife)), NextCheck: timestamppb.New(now.Add(proofLife - checkBefore)), Proof: p.GetName(),
		Clearance: modelv1.Clearance_CLEARANCE_STANDARD,
	}
	if again {
		next.Subject, next.Clearance = was.GetSubject(), clearanceOf(was)
	}
	a.Ownership = next
	entry := granted(next, next.GetMethod(), subject, p.GetLocation())
	if again {
		entry.Event = ingestv1.Authorization_EVENT_CONFIRMED
		if now.Sub(was.GetCheckedAt().AsTime()) < noteAfter {
			return nil
		}
	}
	return entry
}

// confirm looks again at the proofs that targets rest on and that were last seen too long ago, and returns the scope after that.
func (s *Service) confirm(ctx context.Context, tenant string, sc *scope, targets []*modelv1.Target, found []*modelv1.Asset) (*scope, error) {
	stale := sc.stale(targets, found)
	if len(stale) == 0 {
		return sc, nil
	}
	problems := make([]string, len(stale))
	errs := make([]error, len(stale))
	running := together.Limit(looks)
	for i, seed := range stale {
		running.Go(func() { problems[i], errs[i] = s.again(ctx, tenant, seed, sc) })
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	after, err := s.loadScope(ctx, tenant)
	if err != nil {
		return nil, err
	}
	after.unconfirmed = map[string]string{}
	for i, seed := range stale {
		if problems[i] != "" {
			after.unconfirmed[seed.GetName()] = problems[i]
		}
	}
	return after, nil
}

// stale are the seeds that targets rest on whose proof was last seen more than a day ago, or is no longer good.
func (sc *scope) stale(targets []*modelv1.Target, found []*modelv1.Asset) []*modelv1.Asset {
	byName := map[string]*modelv1.Asset{}
	for _, seed := range sc.seeds {
		byName[seed.GetName()] = seed
	}
	seen := map[string]bool{}
	var out []*modelv1.Asset
	add := func(seed *modelv1.Asset) {
		o := asOf(seed.GetOwnership(), sc.now)
		fresh := o.GetState() == modelv1.Ownership_STATE_VERIFIED && sc.now.Sub(o.GetCheckedAt().AsTime()) < freshFor
		if seed != nil && o.GetProof() != "" && !fresh && !seen[seed.GetName()] {
			seen[seed.GetName()] = true
			out = append(out, seed)
		}
	}
	for _, t := range targets {
		for _, n := range names(t) {
			for _, at := range sc.owned.over(n.value) {
				add(sc.seeds[at])
			}
		}
	}
	for _, a := range found {
		add(byName[a.GetOwnership().GetInheritedFrom()])
	}
	return out
}

// again looks at the proof of one seed. The text says why it could not be looked at.
func (s *Service) again(ctx context.Context, tenant string, seed *modelv1.Asset, sc *scope) (string, error) {
	for range maxConflicts {
		p, err := s.verify(ctx, tenant, rechecker, seed.GetName(), seed.GetOwnership().GetProof(), sc)
		switch {
		case isConflict(err):
			continue
		case errors.Is(err, fault.NotFound), errors.Is(err, fault.FailedPrecondition):
			// The asset or its proof was deleted meanwhile, or it is stopped: the scope says so.
			return "", nil
		case err != nil:
			return "", err
		case p.GetVerified():
			return "", nil
		}
		return p.GetProblem(), nil
	}
	return "", fault.New(fault.Conflict, "look again at the proof of %s: it changed %d times meanwhile", seed.GetValue(), maxConflicts)
}

// recheck looks at the proofs that fell due. Several clocks may call it.
func (s *Service) recheck(ctx context.Context) error {
	var errs []error
	for n := range recheckShards {
		page, err := s.table.Query(ctx, table.Query{
			Index: indexRecheck, Partition: "RECHECK#" + strconv.Itoa(n), Before: resource.SortableTime(time.Now()) + "~", Limit: recheckPage,
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, item := range page.Items {
			errs = append(errs, s.recheckOne(ctx, item))
		}
	}
	return errors.Join(errs...)
}

func (s *Service) recheckOne(ctx context.Context, item table.Item) error {
	parts := strings.Split(item.Indexes[indexRecheck].Sort, "#")
	if len(parts) != 3 {
		return nil
	}
	tenant := parts[1]
	seeds, err := decodeAll[modelv1.Asset]([]table.Item{item})
	if err != nil {
		return err
	}
	ctx = s.self(ctx, tenant)
	sc, err := s.loadScope(ctx, tenant)
	if err != nil {
		return err
	}
	problem, err := s.again(ctx, tenant, seeds[0], sc)
	if problem != "" {
		s.log.WarnContext(ctx, "a proof of ownership was not confirmed", slog.String("asset", seeds[0].GetName()), slog.String("problem", problem))
	}
	return err
}
