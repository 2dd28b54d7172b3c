package render

import (
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

type timestamp = timestamppb.Timestamp

// sentences are the executive summary: what was looked at, what was found, what changed. They hold our words and numbers
// only; a target's text is placed by the page, where it is isolated from its surroundings.
func (r *reader) sentences() []string {
	a := r.doc.GetAssessment()
	looked := plural(len(a.GetSeeds()), "target") + " led to " + plural(len(r.doc.GetAssets()), "asset") + ", looked at from outside with " +
		plural(len(r.doc.GetCoverage()), "scan job") + " on " + longDate(r.at) + "."
	out := []string{looked + " " + r.found()}
	if text := r.certainty(); text != "" {
		out = append(out, text)
	}
	if text := r.changed(); text != "" {
		out = append(out, text)
	}
	return out
}

func (r *reader) found() string {
	total, _, _ := r.openFindings()
	if len(r.open) == 0 {
		switch {
		case !r.complete():
			return "No open risk was found in what could be covered."
		case total > 0:
			return "No open risk was found; " + plural(total, "finding") + " for information " + verb(total, "is", "are") + " listed below."
		}
		return "No open risk was found."
	}
	tiles, _, _ := r.severities()
	var words []string
	for _, t := range tiles {
		if t.Count > 0 {
			words = append(words, strconv.Itoa(t.Count)+" "+t.Severity)
		}
	}
	return "There " + verb(len(r.open), "is ", "are ") + plural(len(r.open), "open risk") + " (" + series(words) + ") from " + plural(total, "finding") + "."
}

// certainty says what of the findings rests on less than proof, and what is overdue.
func (r *reader) certainty() string {
	_, inferred, notRetested := r.openFindings()
	overdue := 0
	for _, k := range r.open {
		if r.overdue(k) {
			overdue++
		}
	}
	var out []string
	if overdue > 0 {
		out = append(out, plural(overdue, "risk")+" "+verb(overdue, "is", "are")+" past the due date.")
	}
	if inferred > 0 {
		out = append(out, plural(inferred, "finding")+" "+verb(inferred, "is", "are")+" concluded from a version or banner and not proven.")
	}
	if notRetested > 0 {
		out = append(out, plural(notRetested, "finding")+" could not be re-tested this time and "+verb(notRetested, "stays", "stay")+" open.")
	}
	return strings.Join(out, " ")
}

// overdue says whether a risk was past its due date when the report was made.
func (r *reader) overdue(k *correlatorv1.Risk) bool {
	return k.GetDueTime() != nil && k.GetDueTime().AsTime().Before(r.at)
}

func (r *reader) changed() string {
	if r.doc.GetReport().GetChanges().GetSince() == "" {
		return ""
	}
	opened, reopened, resolved := r.changedCounts()
	if opened+reopened+resolved == 0 {
		return "Nothing changed since the report before, as far as both runs can be compared."
	}
	return "Since the report before, " + series([]string{plural(opened, "finding") + " opened", strconv.Itoa(reopened) + " came back", strconv.Itoa(resolved) + " " + verb(resolved, "was", "were") + " resolved"}) + "."
}

// firstSteps are the actions of the three worst risks, each named once.
func (r *reader) firstSteps() []firstStep {
	var out []firstStep
	for i, k := range r.open {
		step := firstStep{Rank: i + 1, Action: long(k.GetAction()), Asset: short(k.GetAssetValue()), Due: shortDate(k.GetDueTime()), Overdue: r.overdue(k)}
		if step.Action == "" {
			step.Action = short(k.GetTitle())
		}
		known := false
		for _, s := range out {
			known = known || s.Action == step.Action
		}
		if !known {
			out = append(out, step)
		}
		if len(out) == 3 {
			break
		}
	}
	return out
}

func (r *reader) duration() string {
	a := r.doc.GetAssessment()
	if a.GetStartTime() == nil || a.GetEndTime() == nil {
		return "not finished"
	}
	return durationText(a.GetEndTime().AsTime().Sub(a.GetStartTime().AsTime()))
}

func durationText(d time.Duration) string {
	switch {
	case d < time.Second:
		return "under a second"
	case d < 2*time.Minute:
		return plural(int(d.Seconds()), "second")
	case d < 2*time.Hour:
		return plural(int(d.Minutes()), "minute")
	}
	text := plural(int(d.Hours()), "hour")
	if m := int(d.Minutes()) % 60; m > 0 {
		text += " " + plural(m, "minute")
	}
	return text
}

// series joins words as a sentence does.
func series(words []string) string {
	switch len(words) {
	case 0:
		return "none"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// plural is a number with its noun: "1 asset", "2 assets", "3 entries".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "y") {
		one = strings.TrimSuffix(one, "y") + "ie"
	}
	return grouped(n) + " " + one + "s"
}

// grouped is a number with its thousands apart.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// cutNote says how much of a list is not shown; empty if all of it is.
func cutNote(total, shown int, what string) string {
	if total <= shown {
		return ""
	}
	return grouped(shown) + " of " + plural(total, what) + " are shown here; the JSON and CSV reports list all of them."
}

func longDate(t time.Time) string {
	if t.IsZero() {
		return "an unknown date"
	}
	return t.UTC().Format("2 January 2006")
}

func longTime(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}

func shortDate(t *timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format("2 Jan 2006")
}

func shortTime(t *timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format("2 Jan 2006, 15:04 UTC")
}

// scoreText is a score with a decimal only where it has one, so that it is seen to be the sum of its parts.
func scoreText(score float64) string { return strconv.FormatFloat(bounded(score), 'f', -1, 64) }

// barWidth is the length of a term's bar, of 100.
func barWidth(points float64) int { return int(math.Round(math.Abs(bounded(points)))) }

func signed(points float64) string {
	text := strconv.FormatFloat(bounded(points), 'f', -1, 64)
	if points < 0 {
		return "−" + strings.TrimPrefix(text, "-")
	}
	return "+" + text
}

// bounded keeps a number from outside within what a score can be; what is no number is 0.
func bounded(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return math.Round(math.Max(-100, math.Min(100, x))*10) / 10
}

func profileName(p modelv1.Profile) string {
	if p == modelv1.Profile_PROFILE_UNSPECIFIED {
		return "standard"
	}
	return strings.ToLower(strings.TrimPrefix(p.String(), "PROFILE_"))
}

func kindName(k modelv1.AssetKind) string {
	switch k {
	case modelv1.AssetKind_ASSET_KIND_UNSPECIFIED:
		return ""
	case modelv1.AssetKind_ASSET_KIND_IP:
		return "address"
	case modelv1.AssetKind_ASSET_KIND_CIDR:
		return "range"
	case modelv1.AssetKind_ASSET_KIND_URL:
		return "URL"
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k.String(), "ASSET_KIND_")), "_", " ")
}
