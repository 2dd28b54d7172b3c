package intel

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

const (
	// maxReferences is what the contract of Advisory allows.
	maxReferences = 5
	maxAliases    = 64
	maxCWE        = 16
)

// signals are what other feeds say about an advisory.
type signals struct {
	kev  *modelv1.Kev
	epss *modelv1.Epss
	// kevRead says that the catalogue was read, so that who is not in it is not in it.
	kevRead bool
}

// authority orders feeds: the record's own first.
func authority(feed string) int {
	return slices.Index([]string{feeds.FeedCVE, feeds.FeedNVD, feeds.FeedOSV}, feed)
}

// sourceOrder orders who gave a score or a weakness.
func sourceOrder(source string) int {
	return slices.Index([]string{"cna", "adp", "nvd", "osv"}, source)
}

// join makes one advisory of all records about it; nil if there is nothing to say. The ranges are by product, in the order of the
// products; a withdrawn advisory has none.
func join(id string, records []*ingestv1.IntelRecord, s signals) (*modelv1.Advisory, []*ingestv1.IntelAffected) {
	records = slices.DeleteFunc(slices.Clone(records), func(r *ingestv1.IntelRecord) bool { return r.GetGone() || r.GetFeed() == feeds.FeedLinks })
	if len(records) == 0 && s.kev == nil {
		return nil, nil
	}
	slices.SortFunc(records, func(a, b *ingestv1.IntelRecord) int {
		return cmp.Or(authority(a.GetFeed())-authority(b.GetFeed()), cmp.Compare(a.GetId(), b.GetId()))
	})
	a := &modelv1.Advisory{Id: id, Kev: s.kev, Epss: s.epss, Withdrawn: withdrawn(records)}
	var refs []*ingestv1.IntelReference
	for _, r := range records {
		merge(a, r)
		refs = append(refs, r.GetReferences()...)
		if !s.kevRead && r.GetKevAdded() != nil {
			a.Kev = &modelv1.Kev{DateAdded: r.GetKevAdded()}
		}
	}
	if a.GetTitle() == "" {
		a.Title = a.GetKev().GetName()
	}
	a.References = links(refs)
	slices.Sort(a.Aliases)
	a.Aliases = slices.Compact(a.GetAliases())
	a.Aliases = a.Aliases[:min(len(a.Aliases), maxAliases)]
	slices.SortStableFunc(a.Cvss, func(x, y *modelv1.Cvss) int { return sourceOrder(x.GetSource()) - sourceOrder(y.GetSource()) })
	if a.GetWithdrawn() {
		return a, nil
	}
	return a, ranges(id, records)
}

// withdrawn: the CVE record decides if there is one, else all have to say so.
func withdrawn(records []*ingestv1.IntelRecord) bool {
	for _, r := range records {
		if r.GetFeed() == feeds.FeedCVE {
			return r.GetWithdrawn()
		}
	}
	return len(records) > 0 && !slices.ContainsFunc(records, func(r *ingestv1.IntelRecord) bool { return !r.GetWithdrawn() })
}

func merge(a *modelv1.Advisory, r *ingestv1.IntelRecord) {
	if a.GetTitle() == "" {
		a.Title = r.GetTitle()
	}
	if a.GetPublished() == nil || r.GetPublished() != nil && r.GetPublished().AsTime().Before(a.GetPublished().AsTime()) {
		a.Published = r.GetPublished()
	}
	a.Modified = latest(a.GetModified(), r.GetModified())
	for _, c := range r.GetCwe() {
		if !slices.Contains(a.GetCwe(), c) && len(a.GetCwe()) < maxCWE {
			a.Cwe = append(a.Cwe, c)
		}
	}
	for _, c := range r.GetCvss() {
		if !slices.ContainsFunc(a.GetCvss(), func(have *modelv1.Cvss) bool { return proto.Equal(have, c) }) {
			a.Cvss = append(a.Cvss, c)
		}
	}
	for _, alias := range r.GetAliases() {
		if alias != a.GetId() {
			a.Aliases = append(a.Aliases, alias)
		}
	}
	if a.GetSsvc() == nil {
		a.Ssvc = r.GetSsvc()
	}
}

func latest(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if a == nil || b != nil && b.AsTime().After(a.AsTime()) {
		return b
	}
	return a
}

// links are the best references, fixes first.
func links(refs []*ingestv1.IntelReference) []string {
	refs = slices.Clone(refs)
	slices.SortStableFunc(refs, func(a, b *ingestv1.IntelReference) int { return int(a.GetRank()) - int(b.GetRank()) })
	var out []string
	for _, r := range refs {
		if len(out) < maxReferences && !slices.Contains(out, r.GetUrl()) {
			out = append(out, r.GetUrl())
		}
	}
	return out
}

// ranges joins what the records say about products: the same range said by several is one range with several sources.
func ranges(id string, records []*ingestv1.IntelRecord) []*ingestv1.IntelAffected {
	at := map[string]*ingestv1.IntelAffected{}
	var out []*ingestv1.IntelAffected
	for _, r := range records {
		for _, a := range r.GetAffected() {
			if !validProduct(a.GetProduct()) {
				continue
			}
			bare := proto.CloneOf(a.GetRange())
			bare.Advisory, bare.Sources = id, nil
			slices.Sort(bare.Versions)
			raw, err := canonical.Marshal(bare)
			if err != nil {
				continue // text that is no UTF-8 cannot have been stored
			}
			key := a.GetProduct() + "\x00" + string(raw)
			have := at[key]
			if have == nil {
				have = &ingestv1.IntelAffected{Product: a.GetProduct(), Range: bare}
				at[key] = have
				out = append(out, have)
			}
			for _, s := range a.GetRange().GetSources() {
				if !slices.Contains(have.GetRange().GetSources(), s) {
					have.Range.Sources = append(have.Range.Sources, s)
				}
			}
		}
	}
	for _, a := range out {
		slices.SortFunc(a.Range.Sources, func(x, y string) int { return cmp.Or(sourceOrder(x)-sourceOrder(y), strings.Compare(x, y)) })
	}
	slices.SortStableFunc(out, func(a, b *ingestv1.IntelAffected) int { return strings.Compare(a.GetProduct(), b.GetProduct()) })
	return out
}
