package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

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
		// Notifications say what was not covered.
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
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
		AutomationDetails: sarifID{clean(doc.GetAssessment().GetName())},
		Invocations: []sarifInvocation{{
			ExecutionSuccessful: doc.GetReport().GetComplete(),
			StartTimeUTC:        timeText(doc.GetAssessment().GetStartTime()), EndTimeUTC: timeText(doc.GetAssessment().GetEndTime()),
			Notifications: sarifGaps(doc),
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
	return inert(out.Bytes()), nil
}

// sarifGaps are the scan jobs that did not cover all of their target.
func sarifGaps(doc *reporterv1.ReportDocument) []sarifNotification {
	var out []sarifNotification
	for _, c := range doc.GetCoverage() {
		if c.GetOutcome() != modelv1.Outcome_OUTCOME_COMPLETE {
			out = append(out, sarifNotification{"warning", sarifText{scanTypeName(c.GetScanType()) + " of " + clean(targetText(c.GetTarget())) + ": " + outcomeName(c.GetOutcome()) + ": " + clean(c.GetReason())}})
		}
	}
	return out
}

func sarifRuleOf(f *correlatorv1.Finding) sarifRule {
	r := sarifRule{
		ID: clean(f.GetCheck()), ShortDescription: sarifText{clean(f.GetTitle())}, Help: sarifText{clean(f.GetRemediation())},
		Properties: map[string]any{"security-severity": cmp.Or(securitySeverity[f.GetSeverity()], "0.0"), "tags": sarifTags(f)},
	}
	for _, ref := range f.GetReferences() {
		if isReference(ref) { // helpUri has to be a URI (section 3.49.12)
			r.HelpURI = ref
			break
		}
	}
	return r
}

// sarifTags are unique, as the schema demands, and name weaknesses as code scanning tools look for them.
func sarifTags(f *correlatorv1.Finding) []string {
	tags := []string{"security"}
	for _, id := range f.GetCwe() {
		tag := clean(id)
		if cweID.MatchString(id) {
			tag = "external/cwe/" + strings.ToLower(id)
		}
		if !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

func sarifResultOf(doc *reporterv1.ReportDocument, f *correlatorv1.Finding, rule int) sarifResult {
	r := sarifResult{
		RuleID: clean(f.GetCheck()), RuleIndex: rule, Level: sarifLevel(f.GetSeverity()), Message: sarifText{cmp.Or(clean(f.GetSummary()), clean(f.GetTitle()), "finding")},
		PartialFingerprints: map[string]string{"riskprofiler/v1": clean(f.GetName())},
		BaselineState:       baseline(doc.GetReport().GetChanges(), f),
		Properties: map[string]any{
			"asset": clean(f.GetAssetValue()), "location": clean(f.GetLocation()), "confidence": confidence(f), "notRetested": f.GetNotRetested(), "traceId": clean(f.GetTraceId()),
		},
	}
	if ids := vulnerabilityIDs(f); len(ids) > 0 {
		for i := range ids {
			ids[i] = clean(ids[i])
		}
		r.Properties["vulnerabilities"] = ids
	}
	r.Locations = []sarifLocation{{
		Physical: sarifPhysical{sarifArtifact{relativeURI(f.GetAssetValue())}},
		Logical:  []sarifLogical{{Name: clean(f.GetAssetValue()), FullyQualifiedName: clean(cmp.Or(f.GetLocation(), f.GetAssetValue())), Kind: "resource"}},
	}}
	if f.GetState() != correlatorv1.Finding_STATE_OPEN {
		r.Suppressions = []sarifSuppression{{Kind: "external", Justification: clean(f.GetTriage().GetReason())}}
	}
	return r
}

// relativeURI is an asset as one segment of a relative reference (RFC 3986 section 4.2): tools that show code want a path, and
// a colon would make what stands before it a scheme.
func relativeURI(asset string) string {
	return strings.ReplaceAll(url.PathEscape(clean(asset)), ":", "%3A")
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
