package test

import (
	"slices"
	"testing"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/lab"
)

// TestLabTruth: an assessment of the lab finds what is in it, all of it and nothing else, and covers everything.
func TestLabTruth(t *testing.T) {
	l := StartLab(t, "127.60.1.0/24", lab.Options{})
	out := InProcess(t, Options{Resolver: l.Resolver()}).Assess(t, l.Targets(), l.Ports())
	want := []string{}
	for _, f := range l.Truth() {
		want = append(want, line(f.Check, f.Asset, f.Location))
	}
	slices.Sort(want)
	got := open(out.Report)
	if d := Difference(want, got); d != "" {
		t.Errorf("the findings differ from the truth (- missing, + not in the truth):\n%s", d)
	}
	checkComplete(t, out.Report)
}

// checkComplete fails for every job that did not cover its target.
func checkComplete(t *testing.T, doc *reporterv1.ReportDocument) {
	t.Helper()
	if a := doc.GetAssessment(); a.GetState() != schedulerv1.Assessment_STATE_SUCCEEDED {
		t.Errorf("the assessment ended as %s: %s", a.GetState(), a.GetReason())
	}
	for _, c := range doc.GetCoverage() {
		if c.GetOutcome() != modelv1.Outcome_OUTCOME_COMPLETE {
			t.Errorf("%s of %s:%d is %s: %s", c.GetScanType(), c.GetTarget().GetValue(), c.GetTarget().GetPort(), c.GetOutcome(), c.GetReason())
		}
	}
}

// open are the open findings of a report, each as one line, sorted.
func open(doc *reporterv1.ReportDocument) []string {
	var out []string
	for _, f := range doc.GetFindings() {
		if f.GetState() == correlatorv1.Finding_STATE_OPEN {
			out = append(out, line(f.GetCheck(), f.GetAssetValue(), f.GetLocation()))
		}
	}
	slices.Sort(out)
	return out
}

func line(check, asset, location string) string { return check + "  " + asset + "  " + location }
