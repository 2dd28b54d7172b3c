package correlator

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// The terms of a score. The points are ours, chosen so that severities do not overlap by more than the other terms are worth
// together, and every term is shown with its reason. docs/scoring.md explains them.
const (
	pointsExposed     = 10.0
	pointsConfirmed   = 5.0
	pointsInferred    = -10.0
	pointsDoubtful    = -20.0
	pointsKnown       = 5.0
	pointsRansomware  = 5.0
	pointsEPSS        = 10.0
	pointsBreadth     = 3.0
	maxBreadth        = 10.0
	pointsCriticality = 5.0
	middleCriticality = 3
)

var severityPoints = map[modelv1.Severity]float64{
	modelv1.Severity_SEVERITY_CRITICAL: 70, modelv1.Severity_SEVERITY_HIGH: 50, modelv1.Severity_SEVERITY_MEDIUM: 30,
	modelv1.Severity_SEVERITY_LOW: 12, modelv1.Severity_SEVERITY_INFO: 2,
}

// dueDays are the days until a risk should be dealt with: the steps of 3, 14 and 60 days of CISA BOD 26-04 (10 June 2026)
// for what is publicly exposed; low risks go with the next regular upgrade, which is taken as 180 days.
var dueDays = map[modelv1.Severity]int{
	modelv1.Severity_SEVERITY_CRITICAL: 3, modelv1.Severity_SEVERITY_HIGH: 14, modelv1.Severity_SEVERITY_MEDIUM: 60, modelv1.Severity_SEVERITY_LOW: 180,
}

// due is when a finding of a severity, first seen at a time, should be dealt with; nil for what is only information.
func due(s modelv1.Severity, first time.Time) *timestamppb.Timestamp {
	days, ok := dueDays[s]
	if !ok {
		return nil
	}
	return timestamppb.New(first.Add(time.Duration(days) * 24 * time.Hour))
}

// risks groups findings into decisions. Information alone is no risk: it asks nobody to decide anything.
func risks(in Input, findings []*correlatorv1.Finding) []*correlatorv1.Risk {
	byName := map[string][]*correlatorv1.Finding{}
	for _, f := range findings {
		byName[f.GetRisk()] = append(byName[f.GetRisk()], f)
	}
	var out []*correlatorv1.Risk
	for name, group := range byName {
		if r := risk(in, name, group); r != nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, CompareRisks)
	return out
}

// CompareRisks orders risks worst first; equal scores by asset and name, so that the order is always the same.
func CompareRisks(a, b *correlatorv1.Risk) int {
	return cmp.Or(cmp.Compare(b.GetScore(), a.GetScore()), strings.Compare(a.GetAssetValue(), b.GetAssetValue()), strings.Compare(a.GetName(), b.GetName()))
}

func risk(in Input, name string, findings []*correlatorv1.Finding) *correlatorv1.Risk {
	g := groupOf(in.Catalogue, findings)
	if g == nil {
		return nil
	}
	r := &correlatorv1.Risk{
		Name: name, Group: g.ID, Title: g.titleOf(findings) + " on " + in.Asset.GetValue(), Action: g.actionOf(findings),
		Asset: in.Asset.GetName(), AssetValue: in.Asset.GetValue(), State: correlatorv1.Risk_STATE_RESOLVED,
		FirstSeen: findings[0].GetFirstSeen(), LastSeen: findings[0].GetLastSeen(),
	}
	var open []*correlatorv1.Finding
	triaged := false
	for _, f := range findings {
		r.Findings = append(r.Findings, f.GetName())
		if f.GetFirstSeen().AsTime().Before(r.GetFirstSeen().AsTime()) {
			r.FirstSeen = f.GetFirstSeen()
		}
		if f.GetLastSeen().AsTime().After(r.GetLastSeen().AsTime()) {
			r.LastSeen = f.GetLastSeen()
		}
		switch f.GetState() {
		case correlatorv1.Finding_STATE_OPEN:
			open = append(open, f)
		case correlatorv1.Finding_STATE_ACCEPTED, correlatorv1.Finding_STATE_FALSE_POSITIVE:
			triaged = true
		}
		r.Severity = max(r.GetSeverity(), f.GetSeverity())
	}
	if r.GetSeverity() <= modelv1.Severity_SEVERITY_INFO {
		return nil
	}
	if len(open) == 0 {
		if triaged {
			r.State = correlatorv1.Risk_STATE_ACCEPTED
		}
		return r
	}
	r.State, r.OpenFindings, r.Severity = correlatorv1.Risk_STATE_OPEN, uint32(len(open)), open[0].GetSeverity()
	r.DueTime, r.DueRule = earliestDue(open)
	r.Terms = terms(in.Asset, in.Sets, open)
	for _, t := range r.GetTerms() {
		r.Score += t.GetPoints()
	}
	if r.GetSeverity() <= modelv1.Severity_SEVERITY_INFO {
		return nil
	}
	return r
}

func groupOf(c *Catalogue, findings []*correlatorv1.Finding) *group {
	for _, f := range findings {
		if k := c.byID[f.GetCheck()]; k != nil {
			return c.groups[k.Group]
		}
	}
	return nil
}

func earliestDue(open []*correlatorv1.Finding) (*timestamppb.Timestamp, string) {
	var first *correlatorv1.Finding
	for _, f := range open {
		if f.GetDueTime() != nil && (first == nil || f.GetDueTime().AsTime().Before(first.GetDueTime().AsTime())) {
			first = f
		}
	}
	if first == nil {
		return nil, ""
	}
	if first.GetDueRule() != "" {
		return first.GetDueTime(), first.GetDueRule()
	}
	return first.GetDueTime(), fmt.Sprintf("%s severity: %d days after first seen", severityText(first.GetSeverity()), dueDays[first.GetSeverity()])
}

func severityText(s modelv1.Severity) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SEVERITY_"))
}

// terms explain a score; open is sorted worst first. Their sum is from 0 to 100.
func terms(a *modelv1.Asset, sets []*modelv1.ObservationSet, open []*correlatorv1.Finding) []*correlatorv1.ScoreTerm {
	worst := open[0]
	out := []*correlatorv1.ScoreTerm{{
		Name: "severity", Points: severityPoints[worst.GetSeverity()], Reason: fmt.Sprintf("worst finding: %s (%s)", worst.GetTitle(), severityText(worst.GetSeverity())),
	}}
	add := func(name string, points float64, reason string) {
		if points != 0 {
			out = append(out, &correlatorv1.ScoreTerm{Name: name, Points: points, Reason: reason})
		}
	}
	if exposed, why := publiclyExposed(a, sets); exposed {
		add("exposure", pointsExposed, why)
	}
	if confirmed(worst) {
		add("confirmation", pointsConfirmed, "the cloud's own rules and a scan from outside say the same")
	}
	if points, why := exploitation(worst); points != 0 {
		add("exploitation", points, why)
	}
	if points, why := doubt(worst); points != 0 {
		add("confidence", points, why)
	}
	breadth := math.Min(maxBreadth, math.Round(pointsBreadth*math.Log2(float64(len(open)))*10)/10)
	add("breadth", breadth, fmt.Sprintf("%d open findings", len(open)))
	criticality := int(a.GetCriticality())
	if criticality == 0 {
		criticality = middleCriticality
	}
	add("criticality", pointsCriticality*float64(criticality-middleCriticality), fmt.Sprintf("criticality of the asset is %d of 5", criticality))
	sum := 0.0
	for _, t := range out {
		sum += t.GetPoints()
	}
	add("bounds", math.Min(100, math.Max(0, sum))-sum, "a score is from 0 to 100")
	return out
}

// exploitation is what is known about attackers: evidence where there is some, else probability, never both multiplied.
func exploitation(f *correlatorv1.Finding) (float64, string) {
	var likely *correlatorv1.VulnerabilityMatch
	for _, m := range f.GetMatches() {
		if k := m.GetKev(); k != nil {
			since := k.GetDateAdded().AsTime().Format(time.DateOnly)
			if k.GetRansomware() {
				return pointsKnown + pointsRansomware, fmt.Sprintf("%s is exploited, also by ransomware (in KEV since %s)", m.GetCve(), since)
			}
			return pointsKnown, fmt.Sprintf("%s is exploited (in KEV since %s)", m.GetCve(), since)
		}
		if m.GetEpss().GetProbability() > likely.GetEpss().GetProbability() {
			likely = m
		}
	}
	if likely == nil {
		return 0, ""
	}
	e := likely.GetEpss()
	return math.Round(pointsEPSS*e.GetProbability()*10) / 10, fmt.Sprintf("%s is exploited within 30 days with a probability of %.2g (EPSS %s of %s)",
		likely.GetCve(), e.GetProbability(), e.GetModel(), e.GetDate().AsTime().Format(time.DateOnly))
}

// doubt is what is taken off for what was concluded and not proven.
func doubt(f *correlatorv1.Finding) (float64, string) {
	if !f.GetInferred() {
		return 0, ""
	}
	if m := f.GetMatches(); len(m) > 0 {
		if m[0].GetConfidence() <= confidenceDoubt {
			return pointsDoubtful, m[0].GetReason()
		}
		return pointsInferred, m[0].GetReason()
	}
	if e := f.GetEvidence(); len(e) > 0 && e[0].GetScanType() == modelv1.ScanType_SCAN_TYPE_CLOUD {
		return pointsInferred, "concluded from the cloud's settings, not seen from outside"
	}
	if onlyReported(f) {
		return pointsInferred, "another tool reports it and did not prove it"
	}
	return pointsInferred, "concluded from a version, not proven"
}

// confirmed says whether a finding was seen from both sides: in the cloud's own settings and by a scan from outside.
func confirmed(f *correlatorv1.Finding) bool {
	inside, outside := false, false
	for _, e := range f.GetEvidence() {
		switch e.GetScanType() {
		case modelv1.ScanType_SCAN_TYPE_CLOUD:
			inside = true
		case modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_SERVICE:
			outside = true
		}
	}
	return inside && outside && !f.GetInferred()
}

// publiclyExposed says whether anybody can reach the asset: what was looked at from outside and is no private address is. Of an account
// and a resource of a cloud its provider says so.
func publiclyExposed(a *modelv1.Asset, sets []*modelv1.ObservationSet) (bool, string) {
	switch a.GetKind() {
	case modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE:
		public := slices.ContainsFunc(sets, func(s *modelv1.ObservationSet) bool {
			return slices.ContainsFunc(s.GetObservations(), func(o *modelv1.Observation) bool { return o.GetCloud().GetPublic() })
		})
		return public, "public by the settings of the cloud"
	case modelv1.AssetKind_ASSET_KIND_IP:
		addr, err := netip.ParseAddr(a.GetValue())
		if err != nil || addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() {
			return false, ""
		}
		return true, "reachable at a public address"
	}
	return true, "reachable by a public name"
}
