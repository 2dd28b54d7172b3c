package correlator

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// describeMatches fills in what intel knows, and when it asks for the mending.
func (v *evaluation) describeMatches(f *correlatorv1.Finding, w *weakness) {
	if len(w.matches) == 0 {
		return
	}
	f.Matches, f.MatchCount = w.matches[:min(len(w.matches), maxMatches)], uint32(len(w.matches))
	for i, m := range w.matches {
		if record := recordOf(m.GetCve()); i < shownRecords && !slices.Contains(f.GetReferences(), record) {
			f.References = append(slices.Clip(f.GetReferences()), record)
		}
	}
	if v.Intel == nil {
		return
	}
	f.IntelVersion = v.Intel.Version()
	var due *correlatorv1.VulnerabilityMatch
	for _, m := range w.matches {
		if m.GetDueRule() != "" && (due == nil || dueOf(m).Before(dueOf(due))) {
			due = m
		}
	}
	if due != nil && f.GetSeverity() > modelv1.Severity_SEVERITY_INFO {
		f.DueTime, f.DueRule = timestamppb.New(dueOf(due)), fmt.Sprintf("%s, %s", due.GetCve(), due.GetDueRule())
	}
}

// takenBack is when a tool was seen to say nothing any more of what it had reported, or nil: every observation that proved the finding is
// still known, and now closed, or evidence of something else. That a tool is silent proves nothing: most reports are of a part. A name
// that does not exist any more has no ports.
func (v *evaluation) takenBack(f *correlatorv1.Finding) *timestamppb.Timestamp {
	at := f.GetLastSeen()
	for _, set := range v.Sets {
		if gone(set) && atPort(f.GetLocation()) && set.GetCompleteAt().AsTime().After(at.AsTime()) {
			return set.GetCompleteAt()
		}
	}
	for _, e := range f.GetEvidence() {
		o := v.observation(e, cmp.Or(e.GetLocation(), f.GetLocation()))
		if o == nil {
			return nil
		}
		at = later(at, o.GetLastSeen())
	}
	return at
}

// observation is the one that a piece of evidence at a place names, as it is now; nil if it is not known any more.
func (v *evaluation) observation(e *correlatorv1.FindingEvidence, location string) *modelv1.Observation {
	for _, set := range v.Sets {
		if set.GetScanType() != e.GetScanType() || set.GetLocation() != location {
			continue
		}
		for _, o := range set.GetObservations() {
			if o.GetKey() == e.GetObservation() {
				return o
			}
		}
	}
	return nil
}

// reportedKeys are the CVEs of reports, under which an asset is found again when knowledge about them changes: the newest ones if they are
// too many.
func (v *evaluation) reportedKeys() []string {
	var out []string
	for _, r := range v.reports {
		out = append(out, r.GetReported().GetCve()...)
	}
	slices.SortFunc(out, compareCVE)
	out = slices.DeleteFunc(slices.Compact(out), func(id string) bool { return !safeKey(id) })
	return out[max(0, len(out)-maxReportedKeys):]
}

// onlyReported says whether nothing but reports of other tools proves a finding.
func onlyReported(f *correlatorv1.Finding) bool {
	return len(f.GetEvidence()) > 0 && !slices.ContainsFunc(f.GetEvidence(), func(e *correlatorv1.FindingEvidence) bool {
		return e.GetScanType() != modelv1.ScanType_SCAN_TYPE_IMPORT
	})
}

// titleOf is what the decision is about: for each rule of a tool what the tool calls it.
func (g *group) titleOf(findings []*correlatorv1.Finding) string {
	if g.Each == eachRule {
		return findings[0].GetTitle()
	}
	return g.Title
}

// actionOf is what to do, in the tool's words where the decision is about its rule.
func (g *group) actionOf(findings []*correlatorv1.Finding) string {
	if g.Each == eachRule {
		return cmp.Or(findings[0].GetRemediation(), g.Action)
	}
	return g.Action
}

// tryReported judges a check over reports of other tools on an example.
func (k *check) tryReported(e example, asset *modelv1.Asset, o *modelv1.Observation, now time.Time) (bool, string, error) {
	fact := &modelv1.ReportedFact{}
	if err := fromJSON(e.Fact, fact); err != nil {
		return false, "", err
	}
	o.Fact = &modelv1.Observation_Reported{Reported: fact}
	return k.tryOn(e, asset, o, now, (*evaluation).holdReported)
}
