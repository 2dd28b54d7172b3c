package render

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
)

// TableOptions say how the terminal report looks.
type TableOptions struct {
	// Width is the number of columns; 100 if it is not set.
	Width int
	// Color permits terminal colours.
	Color bool
}

const (
	// tableRisks and tableFindings bound what is listed, so that the report stays readable; the rest is counted.
	tableRisks    = 40
	tableFindings = 4
	tableGaps     = 12
	// minWidth is what the columns need; a narrower terminal wraps.
	minWidth = 40
	// textColumn is where the text of a risk begins.
	textColumn = 24
)

// colors by severity, as SGR parameters (ECMA-48).
var colors = map[modelv1.Severity]string{
	modelv1.Severity_SEVERITY_CRITICAL: "1;35", modelv1.Severity_SEVERITY_HIGH: "31", modelv1.Severity_SEVERITY_MEDIUM: "33", modelv1.Severity_SEVERITY_LOW: "36",
}

// Table writes the report for a terminal: the ranked risks, what was not covered, and the counts.
func Table(w io.Writer, doc *reporterv1.ReportDocument, o TableOptions) error {
	if o.Width <= 0 {
		o.Width = 100
	}
	o.Width = max(o.Width, minWidth)
	t := &table{w: bufio.NewWriter(w), doc: doc, o: o}
	t.risks()
	t.gaps()
	t.counts()
	return t.w.Flush()
}

type table struct {
	w   *bufio.Writer
	doc *reporterv1.ReportDocument
	o   TableOptions
}

// line writes one line of at most the terminal's width. Every text of a target passes here.
func (t *table) line(style, text string) {
	text = fit(strings.TrimRight(singleLine(text), " "), t.o.Width)
	if t.o.Color && style != "" && text != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	_, _ = t.w.WriteString(text + "\n")
}

// wrapped writes a text over as many lines as it needs, at most three, all but the first below its beginning.
func (t *table) wrapped(style, text string) {
	indent, first := strings.Repeat(" ", textColumn), true
	room := t.o.Width - textColumn
	if room < minWidth/2 {
		t.line(style, indent+text)
		return
	}
	rest := strings.Fields(singleLine(text))
	for n := 0; len(rest) > 0 && n < 3; n++ {
		line := rest[0]
		rest = rest[1:]
		for len(rest) > 0 && (n == 2 || columns(line)+1+columns(rest[0]) <= room-2) {
			line += " " + rest[0]
			rest = rest[1:]
		}
		if !first {
			line = "  " + line
		}
		t.line(style, indent+line)
		first = false
	}
}

// fit cuts a clean text to a number of terminal columns.
func fit(text string, limit int) string {
	if columns(text) <= limit {
		return text
	}
	used := 0
	for i, r := range text {
		if used += columnsOf(r); used > limit-1 {
			return text[:i] + "…"
		}
	}
	return text
}

// columns is how many columns of a terminal a clean text takes.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

// columnsOf is 2 for wide characters (Unicode UAX #11), 0 for marks that stand on the one before, else 1.
func columnsOf(r rune) int {
	switch {
	case r < utf8.RuneSelf:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func (t *table) risks() {
	findings := map[string]*correlatorv1.Finding{}
	for _, f := range t.doc.GetFindings() {
		findings[f.GetName()] = f
	}
	n := 0
	for _, r := range t.doc.GetRisks() {
		if r.GetState() != correlatorv1.Risk_STATE_OPEN {
			continue
		}
		if n++; n > tableRisks {
			continue
		}
		if n == 1 {
			t.line("1", " RANK  SCORE  SEVERITY  RISK")
		}
		t.line(colors[r.GetSeverity()], fmt.Sprintf("%5d  %5.1f  %-8s  %s", n, bounded(r.GetScore()), severityName(r.GetSeverity()), r.GetTitle()))
		t.findings(r, findings)
		if r.GetDueTime() != nil {
			t.wrapped("2", "due "+r.GetDueTime().AsTime().UTC().Format("2006-01-02")+": "+r.GetAction())
		}
	}
	if n == 0 {
		t.line("", "No open risks.")
	}
	if n > tableRisks {
		t.line("", fmt.Sprintf("       ... and %s; all of them are in the other formats", plural(n-tableRisks, "more risk")))
	}
}

func (t *table) findings(r *correlatorv1.Risk, all map[string]*correlatorv1.Finding) {
	shown, rest := 0, 0
	for _, name := range r.GetFindings() {
		f := all[name]
		if f.GetState() != correlatorv1.Finding_STATE_OPEN {
			continue
		}
		if shown == tableFindings {
			rest++
			continue
		}
		shown++
		mark := ""
		if f.GetInferred() {
			mark = " (inferred)"
		}
		if f.GetNotRetested() {
			mark += " (not re-tested)"
		}
		t.line("", strings.Repeat(" ", textColumn)+"· "+f.GetSummary()+mark)
	}
	if rest > 0 {
		t.line("", strings.Repeat(" ", textColumn)+fmt.Sprintf("· and %s", plural(rest, "more finding")))
	}
}

// gaps lists what was not covered: absence there proves nothing.
func (t *table) gaps() {
	n := 0
	for _, c := range t.doc.GetCoverage() {
		if c.GetOutcome() == modelv1.Outcome_OUTCOME_COMPLETE {
			continue
		}
		if n++; n == 1 {
			t.line("", "")
			t.line("1", "Not covered completely")
		}
		if n <= tableGaps {
			t.line("33", fmt.Sprintf("  %-8s %s: %s: %s", scanTypeName(c.GetScanType()), targetText(c.GetTarget()), outcomeName(c.GetOutcome()), c.GetReason()))
		}
	}
	if n > tableGaps {
		t.line("", fmt.Sprintf("  ... and %d more", n-tableGaps))
	}
}

func (t *table) counts() {
	r := t.doc.GetReport()
	open := 0
	var parts []string
	for s := modelv1.Severity_SEVERITY_CRITICAL; s >= modelv1.Severity_SEVERITY_LOW; s-- {
		if n := r.GetRisks()[severityName(s)]; n > 0 {
			open += int(n)
			parts = append(parts, fmt.Sprintf("%d %s", n, severityName(s)))
		}
	}
	text := plural(open, "open risk")
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	t.line("", "")
	from := fmt.Sprintf("from %s on %s; %s", plural(int(r.GetOpenFindings()), "finding"), plural(len(t.doc.GetAssets()), "asset"), plural(len(t.doc.GetCoverage()), "scan job"))
	if whole := text + " " + from; columns(whole) <= t.o.Width {
		t.line("1", whole)
	} else {
		t.line("1", text)
		t.line("", from)
	}
	if c := r.GetChanges(); c.GetSince() != "" {
		t.line("", fmt.Sprintf("since the last run: %d opened, %d reopened, %d resolved", len(c.GetOpened()), len(c.GetReopened()), len(c.GetResolved())))
	}
}
