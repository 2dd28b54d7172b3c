package render

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The parts of SARIF 2.1.0 that are written (OASIS, errata 01).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool              sarifTool         `json:"tool"`
		AutomationDetails sarifID           `json:"automationDetails"`
		Invocations       []sarifInvocation `json:"invocations"`
		Results           []sarifResult     `json:"results"`
	}
	sarifID struct {
		ID string `json:"id"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool   `json:"executionSuccessful"`
		StartTimeUTC        string `json:"startTimeUtc,omitempty"`
		EndTimeUTC          string `json:"endTimeUtc,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifRule struct {
		ID               string         `json:"id"`
		ShortDescription sarifText      `json:"shortDescription"`
		Help             sarifText      `json:"help"`
		HelpURI          string         `json:"helpUri,omitempty"`
		Properties       map[string]any `json:"properties"`
	}
	sarifResult struct {
		RuleID              string             `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Level               string             `json:"level"`
		Message             sarifText          `json:"message"`
		Locations           []sarifLocation    `json:"locations"`
		PartialFingerprints map[string]string  `json:"partialFingerprints"`
		BaselineState       string             `json:"baselineState,omitempty"`
		Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
		Properties          map[string]any     `json:"properties"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifLogical struct {
		Name               string `json:"name"`
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
)

// securitySeverity are the scores by which code scanning tools sort, in the middle of their bands (GitHub: critical above
// 9.0, high above 7.0, medium above 4.0).
var securitySeverity = map[modelv1.Severity]string{
	modelv1.Severity_SEVERITY_CRITICAL: "9.5", modelv1.Severity_SEVERITY_HIGH: "8.0", modelv1.Severity_SEVERITY_MEDIUM: "5.5",
	modelv1.Severity_SEVERITY_LOW: "2.5", modelv1.Severity_SEVERITY_INFO: "0.0",
}

// SARIF lists the findings that are not resolved as results of SARIF 2.1.0.
func SARIF(doc *reporterv1.ReportDocument) ([]byte, error) {
	run := sarifRun{
		Tool:              sarifTool{sarifDriver{Name: "RiskProfiler", InformationURI: "https://riskprofiler.example", Rules: []sarifRule{}}},
		AutomationDetails: sarifID{doc.GetAssessment().GetName()},
		Invocations: []sarifInvocation{{
			ExecutionSuccessful: doc.GetReport().GetComplete(),
			StartTimeUTC:        timeText(doc.GetAssessment().GetStartTime()), EndTimeUTC: timeText(doc.GetAssessment().GetEndTime()),
		}},
		Results: []sarifResult{},
	}
	index := map[string]int{}
	for _, f := range doc.GetFindings() {
		if f.GetState() == correlatorv1.Finding_STATE_RESOLVED {
			continue
		}
		if _, known := index[f.GetCheck()]; !known {
			index[f.GetCheck()] = len(run.Tool.Driver.Rules)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(f))
		}
		run.Results = append(run.Results, sarifResultOf(doc, f, index[f.GetCheck()]))
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", "  ")
	log := sarifLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
	if err := e.Encode(log); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encode SARIF")
	}
	return out.Bytes(), nil
}

func sarifRuleOf(f *correlatorv1.Finding) sarifRule {
	r := sarifRule{
		ID: f.GetCheck(), ShortDescription: sarifText{f.GetTitle()}, Help: sarifText{f.GetRemediation()},
		Properties: map[string]any{"security-severity": securitySeverity[f.GetSeverity()], "tags": append([]string{"security"}, f.GetCwe()...)},
	}
	if len(f.GetReferences()) > 0 {
		r.HelpURI = f.GetReferences()[0]
	}
	return r
}

func sarifResultOf(doc *reporterv1.ReportDocument, f *correlatorv1.Finding, rule int) sarifResult {
	r := sarifResult{
		RuleID: f.GetCheck(), RuleIndex: rule, Level: sarifLevel(f.GetSeverity()), Message: sarifText{singleLine(f.GetSummary())},
		PartialFingerprints: map[string]string{"riskprofiler/v1": f.GetName()},
		BaselineState:       baseline(doc.GetReport().GetChanges(), f),
		Properties: map[string]any{
			"asset": f.GetAssetValue(), "location": f.GetLocation(), "confidence": confidence(f), "notRetested": f.GetNotRetested(), "traceId": f.GetTraceId(),
		},
	}
	name := f.GetLocation()
	if name == "" {
		name = f.GetAssetValue()
	}
	r.Locations = []sarifLocation{{
		Physical: sarifPhysical{sarifArtifact{url.PathEscape(singleLine(f.GetAssetValue()))}},
		Logical:  []sarifLogical{{Name: f.GetAssetValue(), FullyQualifiedName: name, Kind: "resource"}},
	}}
	if f.GetState() != correlatorv1.Finding_STATE_OPEN {
		r.Suppressions = []sarifSuppression{{Kind: "external", Justification: f.GetTriage().GetReason()}}
	}
	return r
}

func sarifLevel(s modelv1.Severity) string {
	switch {
	case s >= modelv1.Severity_SEVERITY_HIGH:
		return "error"
	case s == modelv1.Severity_SEVERITY_MEDIUM:
		return "warning"
	}
	return "note"
}

// baseline is a result's state against the report before, where there was one to compare with.
func baseline(c *reporterv1.Changes, f *correlatorv1.Finding) string {
	switch {
	case c.GetSince() == "":
		return ""
	case slices.Contains(c.GetOpened(), f.GetName()), slices.Contains(c.GetReopened(), f.GetName()):
		return "new"
	}
	return "unchanged"
}
