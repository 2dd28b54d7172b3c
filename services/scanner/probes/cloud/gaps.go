package cloud

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// order is in which gaps are told: what the owner can mend first.
var order = []GapKind{GapDenied, GapCut, GapTime, GapThrottled, GapFailed}

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
