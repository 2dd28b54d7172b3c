package correlator

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const (
	// reportedFact is the name under which conditions read findings of other tools.
	reportedFact = "reported"
	// maxReportedKeys bounds the vulnerabilities for which one asset is found again when knowledge about them changes.
	maxReportedKeys = 400
)

// report is one open finding of another tool.
type report struct {
	*modelv1.Observation

	set *modelv1.ObservationSet
}

// weakness is what reports say about one thing: reports that name the same CVE, or one finding of one tool at one place.
type weakness struct {
	identity string
	reports  []report
	// fact is that of the worst report, with the worst severity; it is verified if any of them is.
	fact *modelv1.ReportedFact
	// matches are what intel knows of its CVEs, worst first.
	matches []*correlatorv1.VulnerabilityMatch
}

// reportsIn are the open findings of other tools.
func reportsIn(sets []*modelv1.ObservationSet) []report {
	var out []report
	for _, set := range sets {
		for _, o := range set.GetObservations() {
			if o.GetReported() != nil && !o.GetReported().GetClosed() {
				out = append(out, report{o, set})
			}
		}
	}
	return out
}

// corroborating are the reports that say the same as a match at its place. A report that names no port is about the asset as a whole.
func (v *evaluation) corroborating(m *correlatorv1.VulnerabilityMatch) []report {
	var out []report
	for _, r := range v.reports {
		here := r.GetLocation() == m.GetLocation() || !atPort(r.GetLocation())
		// What was tested and is of no urgency by its class stays a finding with the tool's severity: that class is information.
		if here && slices.Contains(r.GetReported().GetCve(), m.GetCve()) && (m.GetClass() != classOther || !r.GetReported().GetVerified()) {
			out = append(out, r)
		}
	}
	return out
}

// corroborate raises the confidence in a match that other tools report too.
func (v *evaluation) corroborate(m *correlatorv1.VulnerabilityMatch) {
	for _, r := range v.corroborating(m) {
		m.ReportedBy = append(m.ReportedBy, r.GetReported().GetTool())
	}
	if m.ReportedBy = sorted(m.GetReportedBy()); len(m.GetReportedBy()) > 0 && m.GetConfidence() < confidenceReported {
		m.Confidence = confidenceReported
		m.Reason += "; reported by " + strings.Join(m.GetReportedBy(), ", ") + " too"
	}
}

// fold makes reports evidence of a finding that says the same; they are no findings of their own then.
func (v *evaluation) fold(f *correlatorv1.Finding, reports []report) {
	for _, r := range reports {
		v.folded[r.Observation] = true
		e := evidence(r.Observation)
		known := slices.ContainsFunc(f.GetEvidence(), func(old *correlatorv1.FindingEvidence) bool {
			return old.GetObservation() == e.GetObservation() && old.GetScanType() == e.GetScanType()
		})
		if !known && len(f.GetEvidence()) < maxEvidence {
			f.Evidence = append(f.Evidence, e)
		}
	}
}

// foldTested makes reports evidence of what our own scans tested: the same test of the same engine, or the same vulnerability at the
// same place.
func (v *evaluation) foldTested() {
	same := map[string][]*correlatorv1.Finding{}
	for _, set := range v.Sets {
		for _, o := range set.GetObservations() {
			f := o.GetVulnerability()
			if f == nil {
				continue
			}
			for _, k := range v.Catalogue.byFact["vulnerability"] {
				held := v.held[findingName(v.Asset.GetName(), k.ID, o.GetLocation()+distinct(o))]
				if held == nil || k.custom {
					continue
				}
				for _, what := range append([]string{f.GetEngine() + " " + f.GetRule()}, f.GetCve()...) {
					same[place(o.GetLocation(), what)] = append(same[place(o.GetLocation(), what)], held)
				}
			}
		}
	}
	for _, f := range v.held {
		if k := v.Catalogue.byID[f.GetCheck()]; k != nil {
			for _, cve := range k.CVE {
				same[place(f.GetLocation(), cve)] = append(same[place(f.GetLocation(), cve)], f)
			}
		}
	}
	for _, r := range v.reports {
		if v.folded[r.Observation] {
			continue
		}
		f := r.GetReported()
		for _, what := range append([]string{f.GetTool() + " " + f.GetRule()}, f.GetCve()...) {
			if into := same[place(r.GetLocation(), what)]; len(into) > 0 {
				v.fold(slices.MinFunc(into, compareFindings), []report{r})
				break
			}
		}
	}
}

// holdReported makes the findings of what other tools reported and nothing of our own says.
func (v *evaluation) holdReported() error {
	v.foldTested()
	byIdentity := map[string]*weakness{}
	var order []string
	for _, r := range v.reports {
		if v.folded[r.Observation] {
			continue
		}
		id := identityOf(r.Observation)
		if byIdentity[id] == nil {
			byIdentity[id] = &weakness{identity: id}
			order = append(order, id)
		}
		byIdentity[id].reports = append(byIdentity[id].reports, r)
	}
	for _, id := range order {
		w := byIdentity[id]
		if err := v.describeWeakness(w); err != nil {
			return err
		}
		for _, k := range v.Catalogue.byFact[reportedFact] {
			if k.custom {
				continue
			}
			s := w.scene(v)
			ok, err := v.judge(k, s, w.reports[0].GetLocation())
			if err != nil {
				return err
			}
			if ok {
				f := v.reportedFinding(k, w)
				f.Summary = k.summarise(s)
				v.held[f.GetName()] = f
			}
		}
	}
	return nil
}

// identityOf tells reports apart: by their first CVE, under which several tools report one thing, or by tool, its own id and place.
func identityOf(o *modelv1.Observation) string {
	if all := o.GetReported().GetCve(); len(all) > 0 {
		return slices.MinFunc(all, compareCVE)
	}
	return o.GetLocation() + distinct(o)
}

// compareCVE orders CVE ids by year and number.
func compareCVE(a, b string) int {
	number := func(id string) (year, n int) {
		parts := strings.Split(id, "-")
		if len(parts) == 3 {
			year, _ = strconv.Atoi(parts[1])
			n, _ = strconv.Atoi(parts[2])
		}
		return year, n
	}
	ya, na := number(a)
	yb, nb := number(b)
	return cmp.Or(cmp.Compare(ya, yb), cmp.Compare(na, nb), strings.Compare(a, b))
}

// describeWeakness fills in what the reports say together and what intel knows of it.
func (v *evaluation) describeWeakness(w *weakness) error {
	slices.SortFunc(w.reports, func(a, b report) int {
		x, y := a.GetReported(), b.GetReported()
		return cmp.Or(cmp.Compare(y.GetSeverity(), x.GetSeverity()), strings.Compare(x.GetTool(), y.GetTool()), strings.Compare(a.GetLocation(), b.GetLocation()),
			strings.Compare(a.GetKey(), b.GetKey()))
	})
	w.fact = proto.CloneOf(w.reports[0].GetReported())
	var ids, tools []string
	first := w.reports[0].GetFirstSeen()
	for _, r := range w.reports {
		f := r.GetReported()
		w.fact.Verified = w.fact.GetVerified() || f.GetVerified()
		ids, tools = append(ids, f.GetCve()...), append(tools, f.GetTool())
		if r.GetFirstSeen().AsTime().Before(first.AsTime()) {
			first = r.GetFirstSeen()
		}
	}
	for _, id := range sorted(ids) {
		m, err := v.reportedMatch(w, id, sorted(tools), first)
		if err != nil {
			return err
		}
		w.matches = append(w.matches, m)
	}
	slices.SortFunc(w.matches, compareMatches)
	return nil
}

// reportedMatch is what intel knows about a vulnerability that was reported. Where it knows no score the tool's severity counts.
func (v *evaluation) reportedMatch(w *weakness, id string, tools []string, first *timestamppb.Timestamp) (*correlatorv1.VulnerabilityMatch, error) {
	m := &correlatorv1.VulnerabilityMatch{
		Cve: id, Title: w.fact.GetTitle(), Location: w.location(), ReportedBy: tools, Since: first, Confidence: confidenceVersion,
		Reason: "reported by " + strings.Join(tools, ", "),
	}
	switch {
	case w.fact.GetVerified():
		m.Verified, m.Confidence = true, confidenceVerified
		m.Reason += ", and tested"
	case len(tools) > 1:
		m.Confidence = confidenceReported
	}
	var a *modelv1.Advisory
	if v.Intel != nil {
		var err error
		if a, err = advisoryOf(v.Intel, id); err != nil {
			return nil, err
		}
	}
	if a != nil {
		m.Title, m.Cvss = cmp.Or(a.GetTitle(), m.GetTitle()), bestScore(a.GetCvss())
		m.Kev, m.Epss, m.Ssvc = a.GetKev(), a.GetEpss(), a.GetSsvc()
		exposed, _ := publiclyExposed(v.Asset, v.Sets)
		if err := setDue(m, a, first, exposed); err != nil {
			return nil, err
		}
	}
	if m.Class = classOf(m); m.GetClass() == classOther && m.GetCvss() == nil && w.fact.GetSeverity() >= modelv1.Severity_SEVERITY_HIGH {
		m.Class = classSevere
	}
	return m, nil
}

// location is where all reports are, "" if they are at several places.
func (w *weakness) location() string {
	for _, r := range w.reports {
		if r.GetLocation() != w.reports[0].GetLocation() {
			return ""
		}
	}
	return w.reports[0].GetLocation()
}

// scene is what a condition over reports sees: the fact, and what is known of its worst CVE under `match`.
func (w *weakness) scene(v *evaluation) scene {
	s := newScene(w.reports[0].Observation, v.Asset, v.Now, v.others)
	match := &correlatorv1.VulnerabilityMatch{}
	if len(w.matches) > 0 {
		match = w.matches[0]
	}
	s.fact = w.fact.ProtoReflect()
	s.variables[reportedFact], s.variables[matchFact], s.variables["matches"] = w.fact, match, w.matches
	return s
}

// reportedFinding is the finding of one weakness. Its name does not depend on the check: where the tool or intel changes its mind about
// the severity it stays the same finding.
func (v *evaluation) reportedFinding(k *check, w *weakness) *correlatorv1.Finding {
	f := finding(v.Input, k, w.reports[0].set, w.reports[0].Observation)
	for _, r := range w.reports[1:] {
		addEvidence(f, finding(v.Input, k, r.set, r.Observation))
	}
	f.Name, f.Location, f.Inferred = findingName(v.Asset.GetName(), reportedFact, w.identity), w.location(), !w.fact.GetVerified()
	for i, r := range w.reports {
		if i < len(f.GetEvidence()) && r.GetLocation() != f.GetLocation() {
			f.Evidence[i].Location = r.GetLocation()
		}
	}
	f.Title = w.fact.GetTool() + ": " + strings.TrimPrefix(w.fact.GetTitle(), w.fact.GetTool()+": ")
	f.Remediation = cmp.Or(w.fact.GetRemediation(), k.Remediation)
	if len(w.fact.GetReferences()) > 0 {
		f.References = w.fact.GetReferences()
	}
	if len(w.fact.GetCwe()) > 0 {
		f.Cwe = w.fact.GetCwe()[:min(len(w.fact.GetCwe()), maxCWE)]
	}
	if g := v.Catalogue.groups[k.Group]; g != nil && g.Each == eachRule {
		f.Risk = riskName(v.Asset.GetName(), strings.Join([]string{g.ID, w.fact.GetTool(), w.fact.GetRule()}, "\x00"))
	}
	v.describeMatches(f, w)
	return f
}

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
	intel, err := e.Intel.read()
	if err != nil {
		return false, "", err
	}
	o.Fact = &modelv1.Observation_Reported{Reported: fact}
	c := newCatalogue()
	c.byFact[k.Fact], c.byID[k.ID] = []*check{k}, k
	v, err := newEvaluation(Input{
		Asset: asset, Sets: []*modelv1.ObservationSet{{Location: o.GetLocation(), Observations: []*modelv1.Observation{o}}}, Catalogue: c, Intel: intel, Now: now,
	})
	if err != nil {
		return false, "", err
	}
	if err := v.holdReported(); err != nil {
		return false, "", err
	}
	for _, f := range v.held {
		return true, f.GetSummary(), nil
	}
	return false, "", nil
}
