package imports

import (
	"context"
	"encoding/json"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// words is a text or a list of texts, as several tools write what may be one or many.
type words []string

// UnmarshalJSON reads either.
func (w *words) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*w = words{one}
		if one == "" {
			*w = nil
		}
		return nil
	}
	var many []string
	err := json.Unmarshal(raw, &many)
	*w = many
	return err
}

// nucleiEvent is one result of nuclei (pkg/output/output.go, ResultEvent). Requests and responses are not read.
type nucleiEvent struct {
	Template string `json:"template-id"`
	Info     struct {
		Name           string `json:"name"`
		Description    string `json:"description"`
		Remediation    string `json:"remediation"`
		Severity       string `json:"severity"`
		Tags           words  `json:"tags"`
		Reference      words  `json:"reference"`
		Classification struct {
			CVE  words   `json:"cve-id"`
			CWE  words   `json:"cwe-id"`
			CVSS float64 `json:"cvss-score"`
		} `json:"classification"`
	} `json:"info"`
	Matcher   string `json:"matcher-name"`
	Extractor string `json:"extractor-name"`
	Type      string `json:"type"`
	Host      string `json:"host"`
	Port      string `json:"port"`
	URL       string `json:"url"`
	MatchedAt string `json:"matched-at"`
	IP        string `json:"ip"`
	Timestamp string `json:"timestamp"`
	Status    *bool  `json:"matcher-status"`
	Error     string `json:"error"`
}

// parseNuclei reads nuclei's JSONL, or its array. Names of templates and matchers make the fingerprint: nuclei gives none.
func parseNuclei(ctx context.Context, r *report) error {
	return r.each(ctx, func(line int, decode func(any) error) error {
		var e nucleiEvent
		if err := decode(&e); err != nil {
			return err
		}
		if e.Template == "" {
			return r.problem(line, "not a result of nuclei: it has no template-id")
		}
		missed := e.Status != nil && !*e.Status // written with -matcher-status: it did not match
		if missed && e.Error != "" {
			return nil // nobody answered, which says nothing
		}
		host, port := place(first(e.MatchedAt, e.URL, e.Host))
		if p := number(e.Port); p != 0 {
			port = p
		}
		if host == "" {
			host = e.IP
		}
		rule := e.Template
		for _, more := range []string{e.Matcher, e.Extractor} {
			if more != "" {
				rule += ":" + more
			}
		}
		fact := &modelv1.ReportedFact{
			Tool: "nuclei", Rule: safe(rule, maxText), Title: safe(first(e.Info.Name, e.Template), maxText), Severity: severity(e.Info.Severity),
			Cve: cves(append(e.Info.Classification.CVE, e.Template)...), Cwe: cwes(e.Info.Classification.CWE...),
			Description: safe(e.Info.Description, maxLongText), Remediation: safe(e.Info.Remediation, maxLongText),
			References: references(e.Info.Reference...), Closed: missed, Verified: e.tested(),
		}
		rec := Record{Line: line, Asset: host, Port: port, Transport: modelv1.Transport_TRANSPORT_TCP, Seen: moment(e.Timestamp), Reported: fact}
		if strings.EqualFold(e.Type, "dns") {
			rec.Port = 0
		}
		return r.record(rec)
	})
}

// tested says whether the template proves the weakness. Those that tell a product or its version, or read what a server says of itself,
// prove no more than that; they are known by their tags.
func (e *nucleiEvent) tested() bool {
	for _, list := range e.Info.Tags {
		for tag := range strings.SplitSeq(list, ",") {
			switch strings.ToLower(strings.TrimSpace(tag)) {
			case "tech", "detect", "detection", "version", "passive", "eol":
				return false
			}
		}
	}
	return true
}

// first is the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
