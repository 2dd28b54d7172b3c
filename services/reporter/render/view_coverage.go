package render

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// coverageView is what was looked at and how far that got.
type coverageView struct {
	Rows     []coverageRow
	Gaps     []gapView
	GapsNote string
}

type coverageRow struct {
	ScanType                                   string
	Jobs, Complete, Partial, Failed, Forbidden int
}

type gapView struct{ ScanType, Target, Outcome, Reason string }

func (r *reader) coverage() coverageView {
	var v coverageView
	rows := map[modelv1.ScanType]*coverageRow{}
	gaps := 0
	for _, c := range r.doc.GetCoverage() {
		row := rows[c.GetScanType()]
		if row == nil {
			row = &coverageRow{ScanType: scanTypeName(c.GetScanType())}
			rows[c.GetScanType()] = row
		}
		row.Jobs++
		switch c.GetOutcome() {
		case modelv1.Outcome_OUTCOME_COMPLETE:
			row.Complete++
			continue
		case modelv1.Outcome_OUTCOME_PARTIAL:
			row.Partial++
		case modelv1.Outcome_OUTCOME_NOT_PERMITTED:
			row.Forbidden++
		default:
			row.Failed++
		}
		if gaps++; gaps <= viewGaps {
			v.Gaps = append(v.Gaps, gapView{scanTypeName(c.GetScanType()), short(targetText(c.GetTarget())), outcomeName(c.GetOutcome()), long(c.GetReason())})
		}
	}
	for _, t := range slices.Sorted(maps.Keys(rows)) {
		v.Rows = append(v.Rows, *rows[t])
	}
	v.GapsNote = cutNote(gaps, viewGaps, "gap")
	return v
}

// targetText is a target with its port, as people write it.
func targetText(t *modelv1.Target) string {
	text := t.GetValue()
	switch {
	case t.GetPort() == 0:
	case strings.Contains(text, ":"):
		text += " port " + strconv.Itoa(int(t.GetPort()))
	default:
		text += ":" + strconv.Itoa(int(t.GetPort()))
	}
	return text
}

func (r *reader) gaps() int {
	n := 0
	for _, c := range r.doc.GetCoverage() {
		if c.GetOutcome() != modelv1.Outcome_OUTCOME_COMPLETE {
			n++
		}
	}
	return n
}

// complete says whether absence means anything everywhere in this report.
func (r *reader) complete() bool {
	return r.doc.GetReport().GetComplete() && r.gaps() == 0
}

// incomplete is the warning of a report that does not cover everything; empty if it does.
func (r *reader) incomplete() string {
	if r.complete() {
		return ""
	}
	text := "The assessment did not cover everything that was planned."
	switch r.doc.GetAssessment().GetState() {
	case schedulerv1.Assessment_STATE_FAILED:
		text = "The assessment failed before it was done."
	case schedulerv1.Assessment_STATE_CANCELLED:
		text = "The assessment was cancelled before it was done."
	}
	if n := r.gaps(); n > 0 {
		text += " " + strconv.Itoa(n) + " of " + plural(len(r.doc.GetCoverage()), "scan job") + " could not be finished."
	}
	return text + " Where nothing was found there, that does not mean that nothing is wrong."
}

// assetView is one row of the inventory.
type assetView struct {
	Value, Kind, Found, Seen, Since, Worst, Labels string
	Seed                                           bool
	Risks, Criticality                             int
}

// assets lists the inventory, those with the worst risks first.
func (r *reader) assets() ([]assetView, string) {
	risks, worst := map[string]int{}, map[string]modelv1.Severity{}
	for _, k := range r.open {
		risks[k.GetAsset()]++
		worst[k.GetAsset()] = max(worst[k.GetAsset()], k.GetSeverity())
	}
	list := slices.Clone(r.doc.GetAssets())
	slices.SortStableFunc(list, func(a, b *modelv1.Asset) int {
		return cmp.Or(cmp.Compare(worst[b.GetName()], worst[a.GetName()]), cmp.Compare(risks[b.GetName()], risks[a.GetName()]))
	})
	seen := r.seen(list[:min(len(list), viewAssets)])
	var out []assetView
	for _, a := range list[:min(len(list), viewAssets)] {
		v := assetView{
			Value: short(a.GetValue()), Kind: kindName(a.GetKind()), Seed: a.GetSeed(), Found: foundBy(a), Since: shortDate(a.GetFirstSeen()),
			Risks: risks[a.GetName()], Criticality: int(a.GetCriticality()), Seen: seen[a.GetName()], Labels: labelsText(a.GetLabels()),
		}
		if v.Risks > 0 {
			v.Worst = severityName(worst[a.GetName()])
		}
		out = append(out, v)
	}
	return out, cutNote(len(list), viewAssets, "asset")
}

func foundBy(a *modelv1.Asset) string {
	if a.GetSeed() {
		return "named by you"
	}
	if len(a.GetPath()) == 0 {
		return ""
	}
	last := a.GetPath()[len(a.GetPath())-1]
	return short(last.GetRelation() + " of " + last.GetFrom())
}

func labelsText(labels map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if v := labels[k]; v != "" {
			k += "=" + v
		}
		parts = append(parts, k)
	}
	return short(strings.Join(parts, ", "))
}

// seen says in a few words what answers on each asset: ports and what speaks there.
func (r *reader) seen(assets []*modelv1.Asset) map[string]string {
	type what struct{ ports, services []string }
	all := map[string]*what{}
	for _, a := range assets {
		all[a.GetName()] = &what{}
	}
	for _, o := range r.doc.GetObservations() {
		w := all[o.GetAsset()]
		if w == nil {
			continue
		}
		for _, p := range o.GetPorts().GetOpen() {
			w.ports = append(w.ports, strconv.Itoa(int(p)))
		}
		if s := o.GetService(); s != nil && s.GetName() != "unknown" {
			name := strings.TrimSpace(s.GetName() + " " + s.GetProduct() + " " + s.GetVersion())
			if !slices.Contains(w.services, name) {
				w.services = append(w.services, name)
			}
		}
	}
	out := map[string]string{}
	for name, w := range all {
		var parts []string
		if n := len(w.ports); n > 0 {
			text := "open port " + w.ports[0]
			if n > 1 {
				text = "open ports " + strings.Join(w.ports[:min(n, 10)], ", ")
			}
			if n > 10 {
				text += " and " + strconv.Itoa(n-10) + " more"
			}
			parts = append(parts, text)
		}
		parts = append(parts, w.services[:min(len(w.services), 6)]...)
		out[name] = short(strings.Join(parts, "; "))
	}
	return out
}

// changedCounts are the numbers of findings opened, reopened and resolved since the report before.
func (r *reader) changedCounts() (opened, reopened, resolved int) {
	c := r.doc.GetReport().GetChanges()
	return len(c.GetOpened()), len(c.GetReopened()), len(c.GetResolved())
}

func (r *reader) openFindings() (total, inferred, notRetested int) {
	for _, f := range r.doc.GetFindings() {
		if f.GetState() != correlatorv1.Finding_STATE_OPEN {
			continue
		}
		total++
		if f.GetInferred() {
			inferred++
		}
		if f.GetNotRetested() {
			notRetested++
		}
	}
	return total, inferred, notRetested
}
