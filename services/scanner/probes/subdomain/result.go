package subdomain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxUnanswered is how many of a hundred questions may get no answer before the search counts as cut: a datagram gets lost now
// and then, and one name may have servers that do not answer.
const maxUnanswered = 2

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

func cut(done, of int) string {
	return fmt.Sprintf("the time was over after %d of %d names", done, of)
}

func byLength(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

// result sums up: one fact about the search, one lead for each name, those with the fewest labels first.
func (s *scan) result() *probes.Result {
	reports := slices.Concat(s.third.answered, s.third.troubled, s.third.unasked)
	slices.SortFunc(reports, func(a, b *modelv1.SourceReport) int { return cmp.Compare(a.GetSource(), b.GetSource()) })
	slices.SortFunc(s.reports, func(a, b *modelv1.SourceReport) int { return cmp.Compare(a.GetSource(), b.GetSource()) })
	o := probes.NewObservation(s.job, "", "names")
	o.Fact = &modelv1.Observation_Names{Names: &modelv1.NamesFact{
		Domain: s.domain, Sources: append(reports, s.reports...), Names: uint32(len(s.found)), Wildcards: s.wild.Wildcards(), Truncated: s.truncated,
	}}
	r := &probes.Result{Observations: []*modelv1.Observation{o}}
	names := slices.SortedFunc(maps.Keys(s.found), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), cmp.Compare(a, b))
	})
	for _, name := range names {
		r.Leads = append(r.Leads, &modelv1.Lead{
			Target:    &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: name, Host: name},
			ScanTypes: []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_DNS}, Relation: s.found[name],
		})
	}
	r.Outcome, r.Reason = s.outcome()
	return r
}

// outcome says how far the search got. Our own part comes first; third parties that did not answer are the sources that were not
// available.
func (s *scan) outcome() (modelv1.Outcome, string) {
	if s.tried > 0 && s.unanswered == s.tried {
		return modelv1.Outcome_OUTCOME_FAILED, "the resolver answered none of the questions"
	}
	if 100*s.unanswered > maxUnanswered*s.tried {
		return modelv1.Outcome_OUTCOME_PARTIAL, fmt.Sprintf("%d of %d questions got no answer from the resolver", s.unanswered, s.tried)
	}
	for _, r := range slices.Concat(s.reports, s.third.answered) {
		if strings.HasPrefix(r.GetProblem(), "the time was over") {
			return modelv1.Outcome_OUTCOME_PARTIAL, r.GetSource() + ": " + r.GetProblem()
		}
	}
	if len(s.third.troubled) > 0 {
		return modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, reasons("not all sources answered", s.third.troubled)
	}
	if len(s.third.answered)+len(s.reports) == 0 {
		return modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, reasons("no source could be asked", s.third.unasked)
	}
	return modelv1.Outcome_OUTCOME_COMPLETE, ""
}

func reasons(what string, reports []*modelv1.SourceReport) string {
	slices.SortFunc(reports, func(a, b *modelv1.SourceReport) int { return cmp.Compare(a.GetSource(), b.GetSource()) })
	parts := make([]string, 0, len(reports))
	for _, r := range reports {
		parts = append(parts, r.GetSource()+": "+r.GetProblem())
	}
	return what + ": " + strings.Join(parts, "; ")
}
