package correlator

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

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
