package correlator

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// maxEvidence bounds the observations that one finding names.
const maxEvidence = 20

// Input is all that the findings and risks of one asset follow from.
type Input struct {
	Asset *modelv1.Asset
	// Sets are the present observations with their coverage.
	Sets []*modelv1.ObservationSet
	// Before are the findings as they are stored; their triage and history go on.
	Before    []*correlatorv1.Finding
	Catalogue *Catalogue
	Now       time.Time
}

// Output is what is to be stored.
type Output struct {
	Findings []*correlatorv1.Finding
	Risks    []*correlatorv1.Risk
}

// Evaluate is the whole correlation of one asset: observations x coverage x checks x context -> findings -> risks. It is a
// pure function and counts no events, so a repeated, late or reordered message cannot make it wrong.
func Evaluate(in Input) (Output, error) {
	held, err := hold(in)
	if err != nil {
		return Output{}, err
	}
	before := map[string]*correlatorv1.Finding{}
	for _, f := range in.Before {
		before[f.GetName()] = f
	}
	var out Output
	for name, f := range held {
		out.Findings = append(out.Findings, continued(f, before[name], in.Now))
	}
	for name, f := range before {
		if held[name] == nil {
			out.Findings = append(out.Findings, closed(f, in))
		}
	}
	slices.SortFunc(out.Findings, compareFindings)
	out.Risks = risks(in, out.Findings)
	return out, nil
}

// compareFindings orders findings worst first, then by name.
func compareFindings(a, b *correlatorv1.Finding) int {
	return cmp.Or(cmp.Compare(b.GetSeverity(), a.GetSeverity()), strings.Compare(a.GetCheck(), b.GetCheck()), strings.Compare(a.GetName(), b.GetName()))
}

// hold runs every check over every fact and returns what holds, one finding for each check and location.
func hold(in Input) (map[string]*correlatorv1.Finding, error) {
	held := map[string]*correlatorv1.Finding{}
	for _, set := range in.Sets {
		for _, o := range set.GetObservations() {
			s := newScene(o, in.Asset, in.Now)
			for _, k := range in.Catalogue.byFact[s.name] {
				ok, err := k.holds(s)
				if err != nil {
					return nil, err
				}
				if !ok {
					continue
				}
				f := finding(in, k, set, o)
				if first := held[f.GetName()]; first != nil {
					addEvidence(first, f)
					continue
				}
				f.Summary = k.summarise(s)
				held[f.GetName()] = f
			}
		}
	}
	return held, nil
}

func finding(in Input, k *check, set *modelv1.ObservationSet, o *modelv1.Observation) *correlatorv1.Finding {
	return &correlatorv1.Finding{
		Name:  findingName(in.Asset.GetName(), k.ID, o.GetLocation()),
		Check: k.ID, CheckVersion: k.Version, Title: k.Title, Severity: k.severity,
		Asset: in.Asset.GetName(), AssetValue: in.Asset.GetValue(), AssetKind: in.Asset.GetKind(), Location: o.GetLocation(),
		State: correlatorv1.Finding_STATE_OPEN, Inferred: k.Inferred, Remediation: k.Remediation, References: k.References, Cwe: k.CWE,
		FirstSeen: o.GetFirstSeen(), LastSeen: o.GetLastSeen(), TraceId: o.GetTraceId(), Assessment: set.GetAssessment(),
		Risk:     riskName(in.Asset.GetName(), k.Group),
		Evidence: []*correlatorv1.FindingEvidence{evidence(o)},
		// A set whose newest scan did not get far enough shows the last known state.
		NotRetested: set.GetScannedAt().AsTime().After(o.GetLastSeen().AsTime()),
	}
}

func evidence(o *modelv1.Observation) *correlatorv1.FindingEvidence {
	return &correlatorv1.FindingEvidence{
		Observation: o.GetKey(), ScanType: o.GetScanType(), Seen: o.GetLastSeen(), Excerpt: o.GetEvidence().GetExcerpt(),
		Blob: o.GetEvidence().GetBlob(), Source: o.GetSource(),
	}
}

func addEvidence(to, more *correlatorv1.Finding) {
	if len(to.Evidence) < maxEvidence {
		to.Evidence = append(to.Evidence, more.GetEvidence()...)
	}
	if more.GetFirstSeen().AsTime().Before(to.GetFirstSeen().AsTime()) {
		to.FirstSeen = more.GetFirstSeen()
	}
	if more.GetLastSeen().AsTime().After(to.GetLastSeen().AsTime()) {
		to.LastSeen, to.TraceId = more.GetLastSeen(), more.GetTraceId()
	}
}

// continued joins what holds now with what was known: id, first sight, triage and due date stay.
func continued(f, before *correlatorv1.Finding, now time.Time) *correlatorv1.Finding {
	if before == nil {
		f.DueTime = due(f.GetSeverity(), f.GetFirstSeen().AsTime())
		return f
	}
	if before.GetFirstSeen().AsTime().Before(f.GetFirstSeen().AsTime()) {
		f.FirstSeen = before.GetFirstSeen()
	}
	f.Triage, f.ReopenCount = before.GetTriage(), before.GetReopenCount()
	f.DueTime = before.GetDueTime()
	if before.GetSeverity() != f.GetSeverity() || f.DueTime == nil {
		f.DueTime = due(f.GetSeverity(), f.GetFirstSeen().AsTime())
	}
	switch before.GetState() {
	case correlatorv1.Finding_STATE_RESOLVED:
		f.ReopenCount++
		f.State = triaged(f, now)
	case correlatorv1.Finding_STATE_ACCEPTED, correlatorv1.Finding_STATE_FALSE_POSITIVE:
		f.State = before.GetState()
		if accepted := before.GetTriage().GetExpireTime(); before.GetState() == correlatorv1.Finding_STATE_ACCEPTED && !accepted.AsTime().After(now) {
			f.State = correlatorv1.Finding_STATE_OPEN
		}
	}
	return f
}

// triaged is the state of a finding that came back: an acceptance that still runs holds again, else it is open.
func triaged(f *correlatorv1.Finding, now time.Time) correlatorv1.Finding_State {
	if e := f.GetTriage().GetExpireTime(); e != nil && e.AsTime().After(now) {
		return correlatorv1.Finding_STATE_ACCEPTED
	}
	return correlatorv1.Finding_STATE_OPEN
}

// closed is a finding that does not hold now. It is resolved only if its check was evaluated on complete coverage that is
// newer than its last sight; otherwise it is not re-tested, never fixed.
func closed(before *correlatorv1.Finding, in Input) *correlatorv1.Finding {
	f := proto.CloneOf(before)
	if f.GetState() == correlatorv1.Finding_STATE_RESOLVED {
		return f
	}
	if at := retested(f, in); at != nil {
		f.State, f.ResolvedTime, f.NotRetested = correlatorv1.Finding_STATE_RESOLVED, at, false
		return f
	}
	f.NotRetested = true
	if e := f.GetTriage().GetExpireTime(); f.GetState() == correlatorv1.Finding_STATE_ACCEPTED && !e.AsTime().After(in.Now) {
		f.State = correlatorv1.Finding_STATE_OPEN
	}
	return f
}

// retested is the time of the complete coverage that did not show a finding any more, or nil. A check that left the
// catalogue is evaluated no more and closes nothing. A name that does not exist any more has no ports.
func retested(f *correlatorv1.Finding, in Input) *timestamppb.Timestamp {
	i := slices.IndexFunc(in.Catalogue.checks, func(k *check) bool { return k.ID == f.GetCheck() })
	if i < 0 {
		return nil
	}
	for _, set := range in.Sets {
		same := set.GetScanType() == facts[in.Catalogue.checks[i].Fact].scanType && set.GetLocation() == f.GetLocation()
		if (same || gone(set)) && set.GetCompleteAt().AsTime().After(f.GetLastSeen().AsTime()) {
			return set.GetCompleteAt()
		}
	}
	return nil
}

func gone(set *modelv1.ObservationSet) bool {
	return slices.ContainsFunc(set.GetObservations(), func(o *modelv1.Observation) bool { return o.GetDns().GetRcode() == "NXDOMAIN" })
}

// findingName is the stable fingerprint of check, asset and location. It begins with the asset's id, so that a finding is
// found by its name.
func findingName(asset, check, location string) string {
	return "findings/" + strings.TrimPrefix(asset, "assets/") + "-" + hash(check + "\x00" + location)[:16]
}

func riskName(asset, group string) string {
	return "risks/" + strings.TrimPrefix(asset, "assets/") + "-" + hash(group)[:16]
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
