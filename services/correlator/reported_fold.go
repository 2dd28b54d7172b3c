package correlator

import (
	"slices"
	"strings"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
)

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
