package render

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
)

// groupView is the findings of one risk, or those that make no risk (rank 0).
type groupView struct {
	Rank                   int
	Title, Asset, Severity string
	Action                 string
	Findings               []findingView
	Note                   string
}

// findingView is one finding with what proves it.
type findingView struct {
	Severity, Title, Summary, Asset, Location string
	Check, State, Confidence                  string
	Inferred, NotRetested                     bool
	FirstSeen, LastSeen, Due                  string
	Remediation                               string
	References                                []reference
	Evidence                                  []evidenceView
	EvidenceNote                              string
	Vulnerabilities                           []vulnerabilityView
	VulnerabilitiesNote                       string
	Trace                                     string
	Triage, TriageReason                      string
}

// reference is a page to read on; URL is set only for an https address without anything odd in it.
type reference struct{ URL, Text string }

type evidenceView struct{ Source, Seen, Excerpt string }

// groups are the open findings by risk, worst first, then those that make no risk, within the bounds of the page.
func (r *reader) groups() ([]groupView, string) {
	byRisk := map[string][]*correlatorv1.Finding{}
	var loose []*correlatorv1.Finding
	total := 0
	for _, f := range r.doc.GetFindings() {
		if f.GetState() != correlatorv1.Finding_STATE_OPEN {
			continue
		}
		total++
		if r.rank[f.GetRisk()] > 0 {
			byRisk[f.GetRisk()] = append(byRisk[f.GetRisk()], f)
		} else {
			loose = append(loose, f)
		}
	}
	var out []groupView
	shown := 0
	add := func(g groupView, list []*correlatorv1.Finding) {
		for _, f := range list {
			if len(g.Findings) == viewFindings || shown == viewAllRows {
				break
			}
			g.Findings = append(g.Findings, findingOf(f))
			shown++
		}
		g.Note = cutNote(len(list), len(g.Findings), "finding")
		if len(g.Findings) > 0 {
			out = append(out, g)
		}
	}
	for i, k := range r.open {
		if i < viewGroups {
			add(groupView{Rank: i + 1, Title: short(k.GetTitle()), Asset: short(k.GetAssetValue()), Severity: severityName(k.GetSeverity()), Action: long(k.GetAction())}, byRisk[k.GetName()])
		}
	}
	add(groupView{Title: "For information", Severity: "info", Action: "Nothing has to be done about these; they describe what was seen."}, loose)
	return out, cutNote(total, shown, "finding")
}

// triaged are the findings that a person has accepted or called false.
func (r *reader) triaged() ([]findingView, string) {
	var out []findingView
	n := 0
	for _, f := range r.doc.GetFindings() {
		if f.GetState() != correlatorv1.Finding_STATE_ACCEPTED && f.GetState() != correlatorv1.Finding_STATE_FALSE_POSITIVE {
			continue
		}
		if n++; n <= viewTriaged {
			out = append(out, findingOf(f))
		}
	}
	return out, cutNote(n, viewTriaged, "finding")
}

func findingOf(f *correlatorv1.Finding) findingView {
	v := findingView{
		Severity: severityName(f.GetSeverity()), Title: short(f.GetTitle()), Summary: long(f.GetSummary()), Asset: short(f.GetAssetValue()), Location: short(f.GetLocation()),
		Check: short(f.GetCheck()), State: stateName(f), Confidence: confidence(f), Inferred: f.GetInferred(), NotRetested: f.GetNotRetested(),
		FirstSeen: shortDate(f.GetFirstSeen()), LastSeen: shortDate(f.GetLastSeen()), Due: shortDate(f.GetDueTime()),
		Remediation: long(f.GetRemediation()), References: references(f), Trace: short(f.GetTraceId()),
	}
	if v.Summary == "" {
		v.Summary = v.Title
	}
	if t := f.GetTriage(); t != nil {
		v.TriageReason = long(t.GetReason())
		v.Triage = "by " + short(t.GetSubject())
		if t.GetTime() != nil {
			v.Triage += " on " + shortDate(t.GetTime())
		}
		if t.GetExpireTime() != nil {
			v.Triage += ", until " + shortDate(t.GetExpireTime())
		}
	}
	for i, e := range f.GetEvidence() {
		if i == viewEvidence {
			break
		}
		source := scanTypeName(e.GetScanType()) + " scan"
		if e.GetSource() != "" {
			source = short(e.GetSource())
		}
		v.Evidence = append(v.Evidence, evidenceView{source, shortTime(e.GetSeen()), clip(e.GetExcerpt(), viewExcerpt)})
	}
	for i, m := range f.GetMatches() {
		if i == viewMatches {
			break
		}
		v.Vulnerabilities = append(v.Vulnerabilities, vulnerabilityOf(m))
	}
	if all, shown := int(f.GetMatchCount()), len(v.Vulnerabilities); all > shown && shown > 0 {
		v.VulnerabilitiesNote = fmt.Sprintf("The worst %d of %d are shown.", shown, all)
	}
	v.EvidenceNote = cutNote(len(f.GetEvidence()), viewEvidence, "observation")
	return v
}

// cweID is how MITRE numbers weaknesses.
var cweID = regexp.MustCompile(`^CWE-[1-9][0-9]{0,4}$`)

func references(f *correlatorv1.Finding) []reference {
	var out []reference
	for _, id := range f.GetCwe() {
		ref := reference{Text: short(id)}
		if cweID.MatchString(id) {
			ref.URL = "https://cwe.mitre.org/data/definitions/" + strings.TrimPrefix(id, "CWE-") + ".html"
		}
		out = append(out, ref)
	}
	for _, text := range f.GetReferences() {
		ref := reference{Text: short(text)}
		if isReference(text) {
			ref.URL = text
			ref.Text = short(strings.TrimPrefix(text, "https://"))
		}
		out = append(out, ref)
	}
	return out[:min(len(out), 12)]
}

// referenceChars are all that our references are made of; anything else is shown and not linked.
var referenceChars = regexp.MustCompile(`^https://[a-z0-9][a-z0-9.-]*\.[a-z]{2,}(/[A-Za-z0-9._~/#?=&%+,:-]*)?$`)

// isReference says whether a text is an https address such as the check catalogue holds.
func isReference(text string) bool {
	if len(text) > 512 || !referenceChars.MatchString(text) {
		return false
	}
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.User == nil
}

// changesView is what differs from the report before.
type changesView struct {
	Since, Reason string
	Lists         []changeList
}

type changeList struct {
	Name, Kind, Note string
	Count            int
	Rows             []findingView
}

func (r *reader) changes() changesView {
	c := r.doc.GetReport().GetChanges()
	v := changesView{Since: short(c.GetSince()), Reason: long(c.GetReason())}
	if v.Since == "" && v.Reason == "" {
		v.Reason = "there is no earlier report to compare with"
	}
	if v.Since == "" {
		return v
	}
	v.Lists = []changeList{
		r.changeList("New", "opened", c.GetOpened()), r.changeList("Back again", "reopened", c.GetReopened()), r.changeList("Resolved", "resolved", c.GetResolved()),
	}
	return v
}

func (r *reader) changeList(name, kind string, names []string) changeList {
	l := changeList{Name: name, Kind: kind, Count: len(names)}
	var list []*correlatorv1.Finding
	for _, n := range names {
		if f := r.findings[n]; f != nil {
			list = append(list, f)
		}
	}
	slices.SortStableFunc(list, func(a, b *correlatorv1.Finding) int { return int(b.GetSeverity()) - int(a.GetSeverity()) })
	for _, f := range list[:min(len(list), viewChanges)] {
		l.Rows = append(l.Rows, findingOf(f))
	}
	if n := len(names) - len(l.Rows); n > 0 {
		l.Note = strconv.Itoa(n) + " more in the other formats."
	}
	return l
}
