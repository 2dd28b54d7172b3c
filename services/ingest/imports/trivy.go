package imports

import (
	"context"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Findings of Trivy's JSON, SchemaVersion 2 (trivy.dev, reporting).
type (
	trivyVulnerability struct {
		ID          string   `json:"VulnerabilityID"`
		Package     string   `json:"PkgName"`
		Installed   string   `json:"InstalledVersion"`
		Fixed       string   `json:"FixedVersion"`
		Severity    string   `json:"Severity"`
		Title       string   `json:"Title"`
		Description string   `json:"Description"`
		URL         string   `json:"PrimaryURL"`
		References  []string `json:"References"`
		CWE         []string `json:"CweIDs"`
	}
	trivyMisconfiguration struct {
		ID          string `json:"ID"`
		Title       string `json:"Title"`
		Description string `json:"Description"`
		Message     string `json:"Message"`
		Resolution  string `json:"Resolution"`
		Severity    string `json:"Severity"`
		Status      string `json:"Status"`
		URL         string `json:"PrimaryURL"`
	}
	trivySecret struct {
		Rule     string `json:"RuleID"`
		Title    string `json:"Title"`
		Severity string `json:"Severity"`
	}
)

// trivyReport is what is known of the report while its results are read.
type trivyReport struct {
	*report
	seen   time.Time
	target string
	found  bool
}

// parseTrivy reads Trivy's JSON. It is about images and files: its importer says which asset runs them.
func parseTrivy(ctx context.Context, r *report) error {
	t := &trivyReport{report: r}
	err := r.walkWith(ctx, walkHooks{
		enter: map[string]func() error{"Results[]": func() error {
			t.target = ""
			return nil
		}},
		at: map[string]func(int, func(any) error) error{
			"ArtifactName": func(_ int, decode func(any) error) error {
				t.found = true
				var name string
				return decode(&name)
			},
			"CreatedAt": func(_ int, decode func(any) error) error {
				var text string
				err := decode(&text)
				t.seen = moment(text)
				return err
			},
			"Results[].Target":              func(_ int, decode func(any) error) error { return decode(&t.target) },
			"Results[].Vulnerabilities[]":   t.vulnerability,
			"Results[].Misconfigurations[]": t.misconfiguration,
			"Results[].Secrets[]":           t.secret,
		},
	})
	if err == nil && !t.found {
		return errNotFormat
	}
	return err
}

func (t *trivyReport) vulnerability(line int, decode func(any) error) error {
	var v trivyVulnerability
	if err := decode(&v); err != nil {
		return err
	}
	if v.ID == "" {
		return t.problem(line, "vulnerability has no VulnerabilityID")
	}
	remedy := "No fixed version is known yet."
	if v.Fixed != "" {
		remedy = "Update " + v.Package + " to " + v.Fixed + "."
	}
	return t.add(line, v.Package, &modelv1.ReportedFact{
		Rule: safe(v.ID, maxText), Title: safe(first(v.Title, v.ID+" in "+v.Package), maxText), Severity: severity(v.Severity), Cve: cves(v.ID), Cwe: cwes(v.CWE...),
		Description: safe(v.Package+" "+v.Installed+": "+v.Description, maxLongText), Remediation: safe(remedy, maxLongText),
		References: references(append([]string{v.URL}, v.References...)...),
	})
}

func (t *trivyReport) misconfiguration(line int, decode func(any) error) error {
	var m trivyMisconfiguration
	if err := decode(&m); err != nil {
		return err
	}
	return t.add(line, "", &modelv1.ReportedFact{
		Rule: safe(m.ID, maxText), Title: safe(first(m.Title, m.ID), maxText), Severity: severity(m.Severity), Description: safe(first(m.Message, m.Description), maxLongText),
		Remediation: safe(m.Resolution, maxLongText), References: references(m.URL), Closed: passedStatus(m.Status), Verified: true,
	})
}

// secret reads where a secret is, never the secret.
func (t *trivyReport) secret(line int, decode func(any) error) error {
	var s trivySecret
	if err := decode(&s); err != nil {
		return err
	}
	return t.add(line, "", &modelv1.ReportedFact{Rule: safe(s.Rule, maxText), Title: safe(first(s.Title, s.Rule), maxText), Severity: severity(s.Severity), Verified: true})
}

func (t *trivyReport) add(line int, part string, fact *modelv1.ReportedFact) error {
	if fact.GetRule() == "" {
		return t.problem(line, "finding has no id")
	}
	fact.Tool = "trivy"
	place := t.target
	if part != "" {
		place += " " + part
	}
	return t.record(Record{Line: line, Place: safe(place, maxText), Seen: t.seen, Reported: fact})
}
