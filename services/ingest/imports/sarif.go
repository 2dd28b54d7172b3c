package imports

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Bounds of what is kept of a log while its results are read.
const (
	maxRules = 20_000
	maxRuns  = 1_000
	// maxRulesBytes is the size of all rules together.
	maxRulesBytes = 16 << 20
)

// sarifRule is a reportingDescriptor (SARIF 2.1.0 section 3.49).
type sarifRule struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Short struct {
		Text string `json:"text"`
	} `json:"shortDescription"`
	Full struct {
		Text string `json:"text"`
	} `json:"fullDescription"`
	Help struct {
		Text string `json:"text"`
	} `json:"help"`
	HelpURI string `json:"helpUri"`
	Default struct {
		Level string `json:"level"`
	} `json:"defaultConfiguration"`
	Properties struct {
		Tags     []string `json:"tags"`
		Severity string   `json:"security-severity"`
	} `json:"properties"`
}

// sarifResult is a result (section 3.27).
type sarifResult struct {
	Rule      string `json:"ruleId"`
	RuleIndex *int   `json:"ruleIndex"`
	Level     string `json:"level"`
	Kind      string `json:"kind"`
	Message   struct {
		Text string `json:"text"`
	} `json:"message"`
	Locations []struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
		} `json:"physicalLocation"`
		Logical []struct {
			Name string `json:"fullyQualifiedName"`
		} `json:"logicalLocations"`
	} `json:"locations"`
	Partial      map[string]string `json:"partialFingerprints"`
	Fingerprints map[string]string `json:"fingerprints"`
	Baseline     string            `json:"baselineState"`
	Suppressions []struct {
		Status string `json:"status"`
	} `json:"suppressions"`
}

// sarifRun is what is known of one run before its results are read.
type sarifRun struct {
	tool, version string
	ended         time.Time
	rules         []sarifRule
	byID          map[string]int
}

// parseSARIF reads SARIF 2.1.0 twice: rules may stand behind the results that they explain.
func parseSARIF(ctx context.Context, r *report) error {
	runs, err := r.sarifRuns(ctx)
	if err != nil {
		return err
	}
	run := -1
	at := map[string]func(int, func(any) error) error{
		"runs[].results[]": func(line int, decode func(any) error) error {
			var result sarifResult
			if err := decode(&result); err != nil {
				return err
			}
			return r.sarifResult(line, runs[max(run, 0)], &result)
		},
	}
	return r.sarifWalk(ctx, at, func() { run++ }, len(runs))
}

func (r *report) sarifRuns(ctx context.Context) ([]*sarifRun, error) {
	var runs []*sarifRun
	run := func() *sarifRun { return runs[len(runs)-1] }
	text := func(into func(string)) func(int, func(any) error) error {
		return func(_ int, decode func(any) error) error {
			var text string
			err := decode(&text)
			into(safe(text, maxText))
			return err
		}
	}
	rules, size := 0, 0
	at := map[string]func(int, func(any) error) error{
		"runs[].tool.driver.name":            text(func(s string) { run().tool = s }),
		"runs[].tool.driver.semanticVersion": text(func(s string) { run().version = s }),
		"runs[].tool.driver.version":         text(func(s string) { run().version = first(run().version, s) }),
		"runs[].invocations[].endTimeUtc":    text(func(s string) { run().ended = moment(s) }),
		"runs[].tool.driver.rules[]": func(_ int, decode func(any) error) error {
			var rule sarifRule
			if err := decode(&rule); err != nil {
				return err
			}
			if rules++; rules > maxRules {
				return fmt.Errorf("it has more than %d rules: split it", maxRules)
			}
			if size += rule.shorten(); size > maxRulesBytes {
				return fmt.Errorf("its rules are larger than %d bytes: split it", maxRulesBytes)
			}
			run().byID[rule.ID] = len(run().rules)
			run().rules = append(run().rules, rule)
			return nil
		},
	}
	err := r.sarifWalk(ctx, at, func() { runs = append(runs, &sarifRun{byID: map[string]int{}}) }, maxRuns)
	if err == nil && len(runs) == 0 {
		err = errNotFormat
	}
	return runs, err
}

// shorten cuts the texts of a rule to what a record has of them, and tells how large the rule is then.
func (rule *sarifRule) shorten() int {
	rule.Full.Text, rule.Help.Text = safe(rule.Full.Text, maxLongText), safe(rule.Help.Text, maxLongText)
	const perText = 16 // the header of a string
	size := len(rule.ID) + len(rule.Name) + len(rule.Short.Text) + len(rule.Full.Text) + len(rule.Help.Text) + len(rule.HelpURI) +
		len(rule.Default.Level) + len(rule.Properties.Severity)
	for _, tag := range rule.Properties.Tags {
		size += perText + len(tag)
	}
	return size
}

// sarifWalk walks a log and calls next at the begin of each run.
func (r *report) sarifWalk(ctx context.Context, at map[string]func(int, func(any) error) error, next func(), most int) error {
	seen := 0
	w := walkHooks{at: at, enter: map[string]func() error{"runs[]": func() error {
		if seen++; seen > most {
			return fmt.Errorf("it has more than %d runs", most)
		}
		next()
		return nil
	}}}
	return r.walkWith(ctx, w)
}

func (r *report) sarifResult(line int, run *sarifRun, result *sarifResult) error {
	rule := run.rule(result)
	if id := result.Rule; id == "" && rule.ID == "" {
		return r.problem(line, "result names no rule")
	}
	if k := result.Kind; k != "" && k != "fail" && k != "open" && k != "review" {
		return nil // pass, notApplicable, informational: nothing was found (section 3.27.9)
	}
	fact := &modelv1.ReportedFact{
		Tool: safe(first(strings.ToLower(run.tool), "sarif"), maxText), ToolVersion: safe(run.version, maxText), Rule: safe(first(result.Rule, rule.ID), maxText),
		Title:       safe(first(rule.Short.Text, rule.Name, result.Message.Text, result.Rule), maxText),
		Severity:    run.severity(result, rule),
		Description: safe(first(result.Message.Text, rule.Full.Text), maxLongText), Remediation: safe(rule.Help.Text, maxLongText),
		References: references(rule.HelpURI), Cve: cves(result.Rule, rule.Name, rule.Short.Text), Cwe: cwes(rule.Properties.Tags...),
		Closed: result.Baseline == "absent" || suppressed(result), Fingerprint: fingerprint(first(result.Rule, rule.ID), result),
	}
	rec := Record{Line: line, Seen: run.ended, Reported: fact}
	for _, l := range result.Locations {
		uri := l.Physical.Artifact.URI
		if strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://") {
			rec.Asset, rec.Port = place(uri)
			rec.Transport = modelv1.Transport_TRANSPORT_TCP
			break
		}
		rec.Place = safe(first(rec.Place, uri), maxText)
		for _, logical := range l.Logical {
			rec.Place = safe(first(rec.Place, logical.Name), maxText)
		}
	}
	return r.record(rec)
}

func (run *sarifRun) rule(result *sarifResult) sarifRule {
	if i := result.RuleIndex; i != nil && *i >= 0 && *i < len(run.rules) {
		return run.rules[*i]
	}
	if i, ok := run.byID[result.Rule]; ok {
		return run.rules[i]
	}
	return sarifRule{}
}

// severity is that of the security-severity property where the tool gives one (a CVSS score, GitHub's convention that others
// follow), else of the level; a result without one has its rule's, and "warning" is the default (section 3.27.10).
func (run *sarifRun) severity(result *sarifResult, rule sarifRule) modelv1.Severity {
	if score, err := strconv.ParseFloat(rule.Properties.Severity, 64); err == nil {
		return scored(score)
	}
	return severity(first(result.Level, rule.Default.Level, "warning"))
}

func suppressed(result *sarifResult) bool {
	for _, s := range result.Suppressions {
		if s.Status == "" || s.Status == "accepted" {
			return true
		}
	}
	return false
}

// fingerprint is the tool's own, by the first name in order, so that it is always the same one.
func fingerprint(rule string, result *sarifResult) string {
	for _, prints := range []map[string]string{result.Fingerprints, result.Partial} {
		name := ""
		for k := range prints {
			if name == "" || k < name {
				name = k
			}
		}
		if name != "" {
			// Many tools take the print of the line alone, on which several rules may fail.
			return safe(rule+" "+prints[name], maxText)
		}
	}
	return ""
}
