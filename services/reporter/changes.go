package reporter

import (
	"slices"
	"strings"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
)

// difference tells what changed between two reports. A difference between runs of unequal coverage is never called a change:
// findings are compared only where both runs covered the same scan type on the same target completely.
func difference(before, after *reporterv1.ReportDocument) *reporterv1.Changes {
	if before == nil {
		return &reporterv1.Changes{Reason: "there is no earlier report of the same targets"}
	}
	c := &reporterv1.Changes{Since: before.GetAssessment().GetName()}
	covered := both(before.GetCoverage(), after.GetCoverage())
	old := states(before)
	skipped := 0
	for _, f := range after.GetFindings() {
		was, known := old[f.GetName()]
		if !covered[placeOf(f)] {
			skipped++
			continue
		}
		switch now := f.GetState(); {
		case now == correlatorv1.Finding_STATE_OPEN && !known:
			c.Opened = append(c.Opened, f.GetName())
		case now == correlatorv1.Finding_STATE_OPEN && was == correlatorv1.Finding_STATE_RESOLVED:
			c.Reopened = append(c.Reopened, f.GetName())
		case now == correlatorv1.Finding_STATE_RESOLVED && known && was != correlatorv1.Finding_STATE_RESOLVED:
			c.Resolved = append(c.Resolved, f.GetName())
		}
	}
	if skipped > 0 {
		c.Reason = "what only one of the two runs covered completely is not compared"
	}
	for _, list := range [][]string{c.Opened, c.Reopened, c.Resolved} {
		slices.Sort(list)
	}
	return c
}

func states(doc *reporterv1.ReportDocument) map[string]correlatorv1.Finding_State {
	out := map[string]correlatorv1.Finding_State{}
	for _, f := range doc.GetFindings() {
		out[f.GetName()] = f.GetState()
	}
	return out
}

// place is a scan type on an asset: coverage and findings are compared by it.
type place struct {
	scanType modelv1.ScanType
	asset    string
}

func placeOf(f *correlatorv1.Finding) place {
	p := place{asset: f.GetAssetValue()}
	if len(f.GetEvidence()) > 0 {
		p.scanType = f.GetEvidence()[0].GetScanType()
	}
	return p
}

// both are the places that two runs covered completely.
func both(a, b []*modelv1.Coverage) map[place]bool {
	x, y := complete(a), complete(b)
	out := map[place]bool{}
	for p, ok := range x {
		out[p] = ok && y[p]
	}
	return out
}

func complete(list []*modelv1.Coverage) map[place]bool {
	out := map[place]bool{}
	for _, c := range list {
		p := place{c.GetScanType(), c.GetTarget().GetValue()}
		known, seen := out[p]
		out[p] = c.GetOutcome() == modelv1.Outcome_OUTCOME_COMPLETE && (known || !seen)
	}
	return out
}

// seriesOf identifies the assessments that a report is compared with: those of the same targets.
func seriesOf(seeds []string) string { return strings.Join(slices.Sorted(slices.Values(seeds)), " ") }
