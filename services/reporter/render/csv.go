package render

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// csvColumns are the columns of the CSV report, one row for each finding.
var csvColumns = []string{
	"rank", "score", "severity", "check", "title", "asset", "location", "state", "confidence", "summary",
	"first_seen", "last_seen", "due", "remediation", "risk", "finding", "trace_id", "vulnerabilities",
}

// CSV lists the findings, worst risk first (RFC 4180). No cell begins as a formula and no cell breaks a line.
func CSV(doc *reporterv1.ReportDocument) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	w.UseCRLF = true
	rows := [][]string{csvColumns}
	ranks := ranksOf(doc)
	for _, f := range doc.GetFindings() {
		r := ranks[f.GetRisk()]
		rows = append(rows, []string{
			r.rank, r.score, severityName(f.GetSeverity()), f.GetCheck(), f.GetTitle(), f.GetAssetValue(), f.GetLocation(), stateName(f), confidence(f),
			f.GetSummary(), timeText(f.GetFirstSeen()), timeText(f.GetLastSeen()), timeText(f.GetDueTime()), f.GetRemediation(), f.GetRisk(), f.GetName(), f.GetTraceId(), strings.Join(vulnerabilityIDs(f), " "),
		})
	}
	for _, row := range rows {
		for i := range row {
			row[i] = cell(row[i])
		}
		if err := w.Write(row); err != nil {
			return nil, fault.Wrap(fault.Internal, err, "write CSV")
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

type ranked struct{ rank, score string }

// ranksOf are rank and score of the open risks, by name.
func ranksOf(doc *reporterv1.ReportDocument) map[string]ranked {
	out := map[string]ranked{}
	n := 0
	for _, r := range doc.GetRisks() {
		if r.GetState() == correlatorv1.Risk_STATE_OPEN {
			n++
			out[r.GetName()] = ranked{strconv.Itoa(n), strconv.FormatFloat(bounded(r.GetScore()), 'f', 1, 64)}
		}
	}
	return out
}

// formulaStarts begin a formula in spreadsheets, in their usual and full-width forms (OWASP "CSV Injection"; CVE-2021-41270),
// or a command of the older ones (| and %: dynamic data exchange).
const formulaStarts = "=+-@|%＝＋－＠﹦﹢﹣﹫−"

// cell makes a text one line that no spreadsheet takes for a formula, also behind characters that it may drop, and also where
// it takes semicolons for the ends of cells, as it does in most of Europe.
func cell(text string) string {
	parts := strings.Split(singleLine(text), ";")
	for i, p := range parts {
		if startsFormula(p) {
			parts[i] = "'" + p
		}
	}
	return strings.Join(parts, ";")
}

func startsFormula(text string) bool {
	text = strings.TrimLeftFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsMark(r) || r == '"' || r == '\'' || r == unicode.ReplacementChar
	})
	first, _ := utf8.DecodeRuneInString(text)
	return text != "" && strings.ContainsRune(formulaStarts, first)
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}
