package render

import (
	"strconv"
	"time"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
)

// Bounds of the page's lists: what a person reads, and what keeps the page of the largest report under about 2 MB.
const (
	viewTargets   = 12
	viewTopRisks  = 10
	viewRisks     = 200
	viewGroups    = 100
	viewFindings  = 20 // of one risk
	viewAllRows   = 400
	viewEvidence  = 5 // of one finding
	viewMatches   = 10
	viewChanges   = 25
	viewGaps      = 100
	viewAssets    = 300
	viewTriaged   = 100
	viewText      = 600 // characters of one text
	viewShortText = 200
	viewExcerpt   = 2048 // as the contract bounds it
)

// view is what the page shows: texts that are cleaned and cut, numbers, and nothing to decide.
type view struct {
	Title, Heading string
	Targets        []string
	MoreTargets    string
	Facts          []fact
	Complete       bool
	Incomplete     string
	Sentences      []string
	First          []firstStep
	Tiles          []tile
	Bar            []segment
	BarLabel       string
	Top            []riskView
	Rest           []riskView
	RestNote       string
	Changes        changesView
	Coverage       coverageView
	Groups         []groupView
	GroupsNote     string
	Triaged        []findingView
	TriagedNote    string
	Assets         []assetView
	AssetsNote     string
	Assessment     string
	Trace          string
	Created        string
	HasRisks       bool
}

// fact is one line of the header.
type fact struct{ Name, Value string }

// tile is the number of open risks of one severity.
type tile struct {
	Severity string
	Count    int
}

// segment is one severity's part of the bar, of a whole of 1000.
type segment struct {
	Severity string
	X, Width int
}

// firstStep is one thing to do first.
type firstStep struct {
	Rank               int
	Action, Asset, Due string
	Overdue            bool
}

// riskView is one open risk.
type riskView struct {
	Rank                           int
	Title, Asset, Severity, Action string
	Score                          string
	Terms                          []termView
	Due, DueRule                   string
	Overdue, Linked                bool
	Findings, Since                string
}

// termView is one part of a score; Width is of a whole of 100.
type termView struct {
	Name, Points, Reason string
	Width                int
	Less                 bool
}

// reader holds what building the view looks up again and again.
type reader struct {
	doc      *reporterv1.ReportDocument
	at       time.Time
	findings map[string]*correlatorv1.Finding
	open     []*correlatorv1.Risk
	rank     map[string]int
}

func newView(doc *reporterv1.ReportDocument) view {
	r := newReader(doc)
	v := view{
		Complete: r.complete(), Assessment: short(doc.GetAssessment().GetName()), Trace: short(doc.GetAssessment().GetTraceId()),
		Created: longTime(r.at), HasRisks: len(r.open) > 0,
	}
	r.header(&v)
	v.Tiles, v.Bar, v.BarLabel = r.severities()
	v.Incomplete, v.Sentences, v.First = r.incomplete(), r.sentences(), r.firstSteps()
	v.Groups, v.GroupsNote = r.groups()
	shown := map[int]bool{}
	for _, g := range v.Groups {
		shown[g.Rank] = true
	}
	for i, k := range r.open {
		k := r.risk(i+1, k)
		k.Linked = shown[k.Rank]
		switch {
		case i < viewTopRisks:
			v.Top = append(v.Top, k)
		case i < viewRisks:
			v.Rest = append(v.Rest, k)
		}
	}
	v.RestNote = cutNote(len(r.open), viewRisks, "risk")
	v.Changes, v.Coverage = r.changes(), r.coverage()
	v.Triaged, v.TriagedNote = r.triaged()
	v.Assets, v.AssetsNote = r.assets()
	return v
}

func newReader(doc *reporterv1.ReportDocument) *reader {
	r := &reader{doc: doc, findings: map[string]*correlatorv1.Finding{}, rank: map[string]int{}}
	for _, f := range doc.GetFindings() {
		r.findings[f.GetName()] = f
	}
	for _, k := range doc.GetRisks() {
		if k.GetState() == correlatorv1.Risk_STATE_OPEN {
			r.open = append(r.open, k)
			r.rank[k.GetName()] = len(r.open)
		}
	}
	a := doc.GetAssessment()
	for _, t := range []*timestamp{doc.GetReport().GetCreateTime(), a.GetEndTime(), a.GetStartTime(), a.GetCreateTime()} {
		if t != nil {
			r.at = t.AsTime().UTC()
			break
		}
	}
	return r
}

func (r *reader) header(v *view) {
	a := r.doc.GetAssessment()
	for i, s := range a.GetSeeds() {
		if i < viewTargets {
			v.Targets = append(v.Targets, short(s))
		}
	}
	if n := len(a.GetSeeds()) - viewTargets; n > 0 {
		v.MoreTargets = "and " + plural(n, "more target")
	}
	v.Heading = "Risk report"
	v.Title = "Risk report"
	if len(v.Targets) > 0 {
		v.Title += ": " + v.Targets[0]
	}
	if n := len(a.GetSeeds()) - 1; n > 0 {
		v.Title += " and " + strconv.Itoa(n) + " more"
	}
	v.Facts = []fact{{"Date", longDate(r.at)}, {"Duration", r.duration()}, {"Depth", profileName(a.GetProfile()) + " profile"}}
	v.Facts = append(v.Facts, fact{"Looked at", plural(len(r.doc.GetAssets()), "asset") + ", " + plural(len(r.doc.GetCoverage()), "scan job")})
}

// severities counts the open risks, worst first, as numbers and as parts of a bar.
func (r *reader) severities() ([]tile, []segment, string) {
	counts := map[modelv1.Severity]int{}
	for _, k := range r.open {
		counts[k.GetSeverity()]++
	}
	var tiles []tile
	var bar []segment
	var words []string
	seen := 0
	for s := modelv1.Severity_SEVERITY_CRITICAL; s >= modelv1.Severity_SEVERITY_LOW; s-- {
		tiles = append(tiles, tile{severityName(s), counts[s]})
		if counts[s] == 0 {
			continue
		}
		words = append(words, strconv.Itoa(counts[s])+" "+severityName(s))
		from := seen * 1000 / len(r.open)
		seen += counts[s]
		bar = append(bar, segment{severityName(s), from, seen*1000/len(r.open) - from})
	}
	return tiles, bar, "Open risks by severity: " + series(words)
}

func (r *reader) risk(rank int, k *correlatorv1.Risk) riskView {
	v := riskView{
		Rank: rank, Title: short(k.GetTitle()), Asset: short(k.GetAssetValue()), Severity: severityName(k.GetSeverity()), Action: long(k.GetAction()),
		Score: scoreText(k.GetScore()), DueRule: short(k.GetDueRule()), Findings: plural(int(k.GetOpenFindings()), "open finding"), Since: shortDate(k.GetFirstSeen()),
	}
	if k.GetDueTime() != nil {
		v.Due, v.Overdue = shortDate(k.GetDueTime()), r.overdue(k)
	}
	for i, t := range k.GetTerms() {
		if i == 12 {
			break
		}
		v.Terms = append(v.Terms, termView{
			Name: short(t.GetName()), Points: signed(t.GetPoints()), Reason: short(t.GetReason()), Less: t.GetPoints() < 0,
			Width: barWidth(t.GetPoints()),
		})
	}
	return v
}
