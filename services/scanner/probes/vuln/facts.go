package vuln

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of text in a fact, in characters.
const (
	maxTitle, maxText, maxValue, maxValues = 200, 1000, 300, 10
)

// rule is the template, with the matcher where it has several.
func (e *event) rule() string {
	name := probes.SafeString(cmp.Or(e.Matcher, e.Extractor), 64)
	if name == "" {
		return e.TemplateID
	}
	return e.TemplateID + ":" + name
}

// key is stable for the same weakness at the same path: the rule, and a hash of the path.
func (e *event) key() string {
	sum := sha256.Sum256([]byte(e.at.EscapedPath()))
	return "nuclei/" + e.rule() + "/" + hex.EncodeToString(sum[:6])
}

// verified says whether the test proves the weakness. Templates that tell a product or its version, or read what the server says of
// itself, prove no more than that.
func (e *event) verified() bool {
	return !slices.ContainsFunc(e.Info.Tags, func(tag string) bool {
		switch strings.ToLower(tag) {
		case "tech", "detect", "detection", "version", "passive", "eol":
			return true
		}
		return false
	})
}

func severityOf(word string) modelv1.Severity {
	switch strings.ToLower(word) {
	case "info", "unknown":
		return modelv1.Severity_SEVERITY_INFO
	case "low":
		return modelv1.Severity_SEVERITY_LOW
	case "medium":
		return modelv1.Severity_SEVERITY_MEDIUM
	case "high":
		return modelv1.Severity_SEVERITY_HIGH
	case "critical":
		return modelv1.Severity_SEVERITY_CRITICAL
	}
	return modelv1.Severity_SEVERITY_UNSPECIFIED
}

// fact is the event as a fact, with safe texts.
func (e *event) fact() *modelv1.VulnerabilityFact {
	return &modelv1.VulnerabilityFact{
		Engine:      "nuclei",
		Rule:        e.rule(),
		Title:       probes.SafeString(cmp.Or(e.Info.Name, e.TemplateID), maxTitle),
		Severity:    severityOf(e.Info.Severity),
		Cve:         matching(e.Info.Classification.CVE, cveForm()),
		Cwe:         matching(e.Info.Classification.CWE, cweForm()),
		MatchedAt:   probes.SafeString(e.MatchedAt, maxText),
		Description: probes.SafeString(e.Info.Description, maxText),
		References:  links(e.Info.Reference),
		Extracted:   safe(e.Extracted),
		Verified:    e.verified(),
	}
}

func matching(list listed, form *regexp.Regexp) []string {
	var out []string
	for _, text := range list {
		if text = strings.ToUpper(strings.TrimSpace(text)); form.MatchString(text) && len(out) < maxValues && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

func links(list listed) []string {
	var out []string
	for _, text := range list {
		if text = probes.SafeString(text, maxValue); strings.HasPrefix(text, "https://") && len(out) < maxValues {
			out = append(out, text)
		}
	}
	return out
}

func safe(list listed) []string {
	var out []string
	for _, text := range list[:min(len(list), maxValues)] {
		out = append(out, probes.SafeString(text, maxValue))
	}
	return out
}

// result puts the facts with their evidence into the result, in a stable order.
func (p *Probe) result(ctx context.Context, env probes.Env, job *modelv1.ScanJob, out *output, result *probes.Result) (*probes.Result, error) {
	slices.SortFunc(out.events, func(a, b *event) int { return cmp.Compare(a.key(), b.key()) })
	for _, e := range out.events {
		o := probes.NewObservation(job, probes.Location(job.GetTarget()), e.key())
		o.Fact = &modelv1.Observation_Vulnerability{Vulnerability: e.fact()}
		// The budget is for the target; storing what was seen has time of its own.
		evidence, err := env.Evidence(context.WithoutCancel(ctx), "nuclei", e.raw, false)
		if err != nil {
			return nil, fmt.Errorf("store evidence of nuclei: %w", err)
		}
		o.Evidence = evidence
		result.Observations = append(result.Observations, o)
	}
	return result, nil
}
