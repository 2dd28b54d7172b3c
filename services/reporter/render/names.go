package render

import (
	"strings"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// severityName also names classes of the page, so it is a word also for a severity of a newer contract.
func severityName(s modelv1.Severity) string {
	if _, known := modelv1.Severity_name[int32(s)]; !known {
		s = modelv1.Severity_SEVERITY_UNSPECIFIED
	}
	return strings.ToLower(strings.TrimPrefix(s.String(), "SEVERITY_"))
}

func scanTypeName(t modelv1.ScanType) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "SCAN_TYPE_"))
}

func outcomeName(o modelv1.Outcome) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(o.String(), "OUTCOME_")), "_", " ")
}

// stateName is a finding's state for people. What was not reached is never called fixed.
func stateName(f *correlatorv1.Finding) string {
	s := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(f.GetState().String(), "STATE_")), "_", " ")
	if f.GetNotRetested() {
		s += ", not re-tested"
	}
	return s
}

func confidence(f *correlatorv1.Finding) string {
	if f.GetInferred() {
		return "inferred"
	}
	return "verified"
}
