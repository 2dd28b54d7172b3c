package correlator

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Two weaknesses that an engine proved at one place are two findings, each with its own end; the same one at two paths is one.
func TestResultsOfAnEngineAreFindingsOfTheirOwn(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	result := func(key, rule string) *modelv1.Observation {
		return &modelv1.Observation{
			Key: key, Location: "192.0.2.1:443/tcp", ScanType: modelv1.ScanType_SCAN_TYPE_VULN,
			FirstSeen: timestamppb.New(now), LastSeen: timestamppb.New(now),
			Fact: &modelv1.Observation_Vulnerability{Vulnerability: &modelv1.VulnerabilityFact{
				Engine: "nuclei", Rule: rule, Title: rule, Severity: modelv1.Severity_SEVERITY_HIGH, Verified: true, MatchedAt: "https://192.0.2.1/",
			}},
		}
	}
	set := &modelv1.ObservationSet{
		ScanType: modelv1.ScanType_SCAN_TYPE_VULN, Location: "192.0.2.1:443/tcp", CompleteAt: timestamppb.New(now), ScannedAt: timestamppb.New(now),
		Observations: []*modelv1.Observation{result("a", "CVE-2026-1"), result("b", "CVE-2026-2"), result("c", "CVE-2026-2")},
	}
	out, err := Evaluate(Input{Asset: &modelv1.Asset{Name: "assets/x", Value: "192.0.2.1"}, Sets: []*modelv1.ObservationSet{set}, Catalogue: catalogue(t), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Findings) != 2 {
		t.Errorf("%d findings, want 2: %v", len(out.Findings), out.Findings)
	}
}
