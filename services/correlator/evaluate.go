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
	// Intel is the vulnerability knowledge; nil: there is none, and what depends on it is not evaluated.
	Intel Intel
	Now   time.Time
}

// Output is what is to be stored.
type Output struct {
	Findings []*correlatorv1.Finding
	Risks    []*correlatorv1.Risk
	// Keys are what the evaluation depends on beside the facts: products as in intel, and the kinds of facts ("fact:http").
	Keys []string
	// Problems of the tenant's own checks, by id of the check.
	Problems map[string]*correlatorv1.CheckProblem
}

// Evaluate is the whole correlation of one asset: observations x coverage x checks x context -> findings -> risks. It is a
// pure function and counts no events, so a repeated, late or reordered message cannot make it wrong.
func Evaluate(in Input) (Output, error) {
	v, err := newEvaluation(in)
	if err != nil {
		return Output{}, err
	}
	if err := v.hold(); err != nil {
		return Output{}, err
	}
	held := v.held
	before := map[string]*correlatorv1.Finding{}
	for _, f := range in.Before {
		before[f.GetName()] = f
	}
	out := Output{Keys: v.keys(), Problems: v.problems}
	for name, f := range held {
		out.Findings = append(out.Findings, continued(f, before[name], in.Now))
	}
	for name, f := range before {
		if held[name] == nil && !in.Catalogue.switchedOff(f.GetCheck()) {
			out.Findings = append(out.Findings, v.closed(f))
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

// evaluation is the work on one asset.
type evaluation struct {
	Input

	names *productNames
	// held are the findings that hold, by name.
	held map[string]*correlatorv1.Finding
	// products are what the facts tell of; judged says of which of them intel could say whether they are affected, by place.
	products []*observed
	judged   map[string]bool
	problems map[string]*correlatorv1.CheckProblem
	// others is what conditions may join a fact with.
	others *others
	// reports are open findings of other tools, folded those that became evidence of something of our own, overruled when the last report
	// of a service at a location was contradicted.
	reports   []report
	folded    map[*modelv1.Observation]bool
	overruled map[string]*timestamppb.Timestamp
	// statements are the complete looks at the ports.
	statements []statement
	// spent is what the tenant's own checks cost so far.
	spent uint64
}

func newEvaluation(in Input) (*evaluation, error) {
	names, err := products()
	if err != nil {
		return nil, err
	}
	var overruled map[string]*timestamppb.Timestamp
	if in.Sets, overruled = effective(in.Sets); overruled == nil {
		overruled = map[string]*timestamppb.Timestamp{}
	}
	v := &evaluation{
		reports: reportsIn(in.Sets), folded: map[*modelv1.Observation]bool{}, overruled: overruled,
		Input: in, names: names, held: map[string]*correlatorv1.Finding{}, judged: map[string]bool{}, problems: map[string]*correlatorv1.CheckProblem{},
		products: observedProducts(names, in.Sets), others: &others{sets: in.Sets}, statements: statementsIn(in.Sets),
	}
	v.addHearsay()
	return v, nil
}

// hold runs every check over every fact and keeps what holds, one finding for each check and location.
func (v *evaluation) hold() error {
	for _, set := range v.Sets {
		for _, o := range set.GetObservations() {
			if err := v.holdOn(set, o); err != nil {
				return err
			}
		}
	}
	if err := v.holdVulnerabilities(); err != nil {
		return err
	}
	return v.holdReported()
}

// holdOn runs the checks over one fact.
func (v *evaluation) holdOn(set *modelv1.ObservationSet, o *modelv1.Observation) error {
	s := newScene(o, v.Asset, v.Now, v.others)
	for _, k := range v.Catalogue.byFact[s.name] {
		if s.name == reportedFact && !k.custom {
			continue // several reports may say one thing: holdReported
		}
		ok, err := v.judge(k, s, o.GetLocation())
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		f := finding(v.Input, k, set, o)
		if first := v.held[f.GetName()]; first != nil {
			addEvidence(first, f)
			continue
		}
		v.joinEvidence(f, o, k.joined())
		f.Summary = k.summarise(s)
		v.held[f.GetName()] = f
	}
	return nil
}

// judge evaluates one check on one fact. A failure of a check of the tenant's own is reported on the check and stops nothing else; a
// check that failed has said nothing, so it closes nothing either.
func (v *evaluation) judge(k *check, s scene, location string) (bool, error) {
	if !k.custom {
		return k.holds(s)
	}
	ok, err := v.holdsWithin(k, s)
	if err == nil {
		return ok, nil
	}
	if v.problems[k.ID] == nil {
		v.problems[k.ID] = &correlatorv1.CheckProblem{
			Message: cut(err.Error(), maxSummary), Asset: v.Asset.GetName(), Location: location, Time: timestamppb.New(v.Now),
		}
	}
	return false, nil
}

func finding(in Input, k *check, set *modelv1.ObservationSet, o *modelv1.Observation) *correlatorv1.Finding {
	return &correlatorv1.Finding{
		Name:  findingName(in.Asset.GetName(), k.ID, o.GetLocation()+distinct(o)),
		Check: k.ID, CheckVersion: k.Version, Title: k.Title, Severity: k.severity,
		Asset: in.Asset.GetName(), AssetValue: in.Asset.GetValue(), AssetKind: in.Asset.GetKind(), Location: o.GetLocation(),
		State: correlatorv1.Finding_STATE_OPEN, Inferred: k.Inferred, Remediation: k.Remediation, References: k.References, Cwe: k.CWE,
		FirstSeen: o.GetFirstSeen(), LastSeen: o.GetLastSeen(), TraceId: o.GetTraceId(), Assessment: set.GetAssessment(),
		Risk:     riskName(in.Asset.GetName(), k.Group),
		Evidence: []*correlatorv1.FindingEvidence{evidence(o)},
		// A set whose newest scan did not get far enough shows the last known state.
		NotRetested: !isImport(set) && set.GetScannedAt().AsTime().After(o.GetLastSeen().AsTime()),
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
		if f.GetDueTime() == nil && f.GetProduct() == "" {
			f.DueTime = due(f.GetSeverity(), f.GetFirstSeen().AsTime())
		}
		return f
	}
	if before.GetFirstSeen().AsTime().Before(f.GetFirstSeen().AsTime()) {
		f.FirstSeen = before.GetFirstSeen()
	}
	f.Triage, f.ReopenCount = before.GetTriage(), before.GetReopenCount()
	if len(f.GetMatches()) > 0 {
		continueVulnerable(f, before)
	}
	if f.GetDueRule() != "" || f.GetProduct() != "" {
		// The rule's own due time stands.
	} else if f.DueTime = before.GetDueTime(); before.GetSeverity() != f.GetSeverity() || f.DueTime == nil {
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
func (v *evaluation) closed(before *correlatorv1.Finding) *correlatorv1.Finding {
	f := proto.CloneOf(before)
	if f.GetState() == correlatorv1.Finding_STATE_RESOLVED {
		return f
	}
	if at := v.retested(f); at != nil {
		f.State, f.ResolvedTime, f.NotRetested = correlatorv1.Finding_STATE_RESOLVED, at, false
		return f
	}
	f.NotRetested = true
	if e := f.GetTriage().GetExpireTime(); f.GetState() == correlatorv1.Finding_STATE_ACCEPTED && !e.AsTime().After(v.Now) {
		f.State = correlatorv1.Finding_STATE_OPEN
	}
	return f
}

// retested is the time of the complete coverage that did not show a finding any more, or nil. A check that left the
// catalogue is evaluated no more and closes nothing. A name that does not exist any more has no ports.
func (v *evaluation) retested(f *correlatorv1.Finding) *timestamppb.Timestamp {
	k := v.Catalogue.byID[f.GetCheck()]
	if k == nil || v.problems[k.ID] != nil {
		return nil
	}
	if k.Fact == matchFact {
		return v.mended(f)
	}
	if k.Fact == reportedFact {
		return v.takenBack(f)
	}
	if at := v.overruled[f.GetLocation()]; onlyReported(f) && at.AsTime().After(f.GetLastSeen().AsTime()) {
		return at
	}
	if joined := k.joined(); len(joined) > 0 {
		return v.retestedJoin(f, k, joined)
	}
	for _, set := range v.Sets {
		same := set.GetScanType() == facts[k.Fact].scanType && set.GetLocation() == f.GetLocation()
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
