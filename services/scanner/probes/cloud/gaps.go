package cloud

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// order is in which gaps are told: what the owner can mend first.
var order = []GapKind{GapDenied, GapCut, GapTime, GapThrottled, GapFailed}

// maxUnread bounds the parts that a result names: with more of them, all is one.
const maxUnread = 500

// unread are the parts of the inventory in which absence means nothing. Where the time was over, no part is known to be whole: what
// was to be read after it was not even asked for.
func unread(gaps []Gap) []*modelv1.Unread {
	type part struct{ kind, region string }
	var parts []part
	for _, g := range gaps {
		kinds := g.Kinds
		switch {
		case g.Why == GapTime:
			return []*modelv1.Unread{{}}
		case len(kinds) == 0:
			kinds = []string{""}
		}
		for _, k := range kinds {
			if p := (part{k, g.Region}); !slices.Contains(parts, p) {
				parts = append(parts, p)
			}
		}
		if len(parts) > maxUnread {
			return []*modelv1.Unread{{}}
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.region, b.region)) })
	out := make([]*modelv1.Unread, 0, len(parts))
	for _, p := range parts {
		out = append(out, &modelv1.Unread{Type: p.kind, Region: p.region})
	}
	return out
}

// words say why.
func (g Gap) words() string {
	detail := ""
	if g.Detail != "" {
		detail = " (" + probes.SafeString(g.Detail, maxText) + ")"
	}
	switch g.Why {
	case GapDenied:
		return "refused: the role lacks it" + detail
	case GapThrottled:
		return "throttled by the provider" + detail
	case GapCut:
		return "cut at our bound" + detail
	case GapTime:
		return "not reached in the job's time" + detail
	}
	return "failed" + detail
}

// maxRegionsNamed is how many regions one line names.
const maxRegionsNamed = 3

// gapLines are one line for each call and reason, with the regions.
func gapLines(gaps []Gap) []string {
	type key struct {
		api, words string
		why        GapKind
	}
	regions := map[key][]string{}
	var keys []key
	for _, g := range gaps {
		k := key{probes.SafeString(g.API, maxText), g.words(), g.Why}
		if _, known := regions[k]; !known {
			keys = append(keys, k)
		}
		if g.Region == "" {
			regions[k] = append(regions[k], []string{}...)
		} else if !slices.Contains(regions[k], g.Region) {
			regions[k] = append(regions[k], g.Region)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.why), slices.Index(order, b.why)), cmp.Compare(a.api, b.api), cmp.Compare(a.words, b.words))
	})
	lines := make([]string, 0, len(keys))
	for _, k := range keys {
		lines = append(lines, k.api+where(regions[k])+" "+k.words)
	}
	return lines
}

func where(regions []string) string {
	slices.Sort(regions)
	switch n := len(regions); {
	case n == 0:
		return ""
	case n <= maxRegionsNamed:
		return " in " + strings.Join(regions, ", ")
	default:
		return fmt.Sprintf(" in %d regions (%s, ...)", n, strings.Join(regions[:maxRegionsNamed], ", "))
	}
}
