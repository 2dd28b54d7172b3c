package correlator

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/correlator/version"
)

// maxHearsay is how old a sight of somebody else's may be to be worth a conclusion: as in the checks over intel. It is ours: software is
// commonly updated within a quarter.
const maxHearsay = 90 * 24 * time.Hour

// hearsay is the product as another told us, with whom and when; the zero value is our own sight.
type hearsay struct {
	who  string
	seen time.Time
	// managed: the provider of a cloud runs it.
	managed bool
}

// hedge takes back what another's word does not bear: a match is concluded with doubt, and says from whom.
func (p *observed) hedge(m *correlatorv1.VulnerabilityMatch) {
	if p.told.who == "" {
		return
	}
	m.Confidence = min(m.GetConfidence(), confidenceDoubt)
	if p.told.managed {
		m.Reason += fmt.Sprintf("; %s runs it and may have mended it without changing the version", p.told.who)
		return
	}
	m.Reason += fmt.Sprintf("; the version is what %s saw on %s, not what our own scans saw", p.told.who, p.told.seen.UTC().Format(time.DateOnly))
}

// addHearsay adds the products that search engines for devices and the providers of clouds tell of, and that our own scans did not see
// anywhere on the asset: what we see counts before what we are told. What a later scan of our own contradicts is left out, and told in
// overruled by its location.
func (v *evaluation) addHearsay() {
	own := map[string]bool{}
	for _, p := range v.products {
		own[p.key] = true
	}
	type spot struct{ location, key string }
	found, ported := map[spot]*observed{}, map[string]bool{}
	for _, set := range v.Sets {
		for _, o := range set.GetObservations() {
			for _, p := range v.heard(o) {
				if own[p.key] || v.contradicted(p) {
					continue
				}
				p.set, p.observations = set, []*modelv1.Observation{o}
				at := spot{p.location, p.key}
				if before := found[at]; before == nil || compareHeard(before, p) < 0 {
					found[at] = p
				}
				ported[p.key] = ported[p.key] || p.location != ""
			}
		}
	}
	var more []*observed
	for at, p := range found {
		// A list without ports repeats what was seen at a port.
		if at.location != "" || p.told.managed || !ported[p.key] {
			more = append(more, p)
		}
	}
	slices.SortFunc(more, func(a, b *observed) int {
		return cmp.Or(strings.Compare(a.location, b.location), strings.Compare(a.key, b.key))
	})
	v.products = append(v.products, more[:min(len(more), max(0, maxProducts-len(v.products)))]...)
}

// compareHeard orders sights of one product at one place: what tells a version before what does not, the later after that.
func compareHeard(a, b *observed) int {
	known := func(p *observed) int { return b2i(version.Known(p.version)) }
	return cmp.Or(cmp.Compare(known(a), known(b)), a.told.seen.Compare(b.told.seen), strings.Compare(b.told.who, a.told.who),
		strings.Compare(a.version, b.version), strings.Compare(b.observations[0].GetKey(), a.observations[0].GetKey()))
}

// heard are the products that one observation tells of in another's words.
func (v *evaluation) heard(o *modelv1.Observation) []*observed {
	switch f := o.GetFact().(type) {
	case *modelv1.Observation_Intel:
		return v.heardIntel(o, f.Intel)
	case *modelv1.Observation_Cloud:
		// Under its names and addresses the same fact is filed again.
		if p := v.heardCloud(o, f.Cloud); p != nil && o.GetLocation() == "" {
			return []*observed{p}
		}
	}
	return nil
}

func (v *evaluation) heardIntel(o *modelv1.Observation, f *modelv1.IntelFact) []*observed {
	var out []*observed
	add := func(p *observed, location string, seen *timestamppb.Timestamp) {
		p.location, p.told = location, hearsay{who: f.GetProvider(), seen: cmp.Or(seen, f.GetObservedAt(), o.GetLastSeen()).AsTime()}
		if v.Now.Sub(p.told.seen) <= maxHearsay {
			out = append(out, p)
		}
	}
	for _, s := range f.GetServices() {
		location := net.JoinHostPort(v.Asset.GetValue(), strconv.Itoa(int(s.GetPort()))) + "/" + cmp.Or(s.GetTransport(), "tcp")
		as := &modelv1.ServiceFact{Product: s.GetProduct(), Version: s.GetVersion(), Cpe: s.GetCpe(), Banner: s.GetExcerpt()}
		for _, p := range serviceProducts(v.names, as) {
			add(p, location, s.GetSeen())
		}
	}
	for _, text := range f.GetCpe() {
		if p, ok := fromCPE(v.names, text, "", ""); ok {
			add(p, "", nil)
		}
	}
	return out
}

// heardCloud is the engine of a store that the provider runs: "postgres 16.3". A copy that is shared does not run.
func (v *evaluation) heardCloud(o *modelv1.Observation, f *modelv1.CloudFact) *observed {
	engine, release, _ := strings.Cut(f.GetSettings()["engine"], " ")
	key := v.names.named(engine)
	if key == "" || !version.Known(firstWord(release)) || f.GetSettings()["shared-with"] != "" {
		return nil
	}
	return &observed{
		key: key, name: engine, version: firstWord(release), part: "a", location: o.GetLocation(),
		told: hearsay{who: f.GetProvider(), seen: o.GetLastSeen().AsTime(), managed: true},
	}
}

// contradicted says whether a complete scan of our own, later than the sight, looked at the place and did not see the product.
func (v *evaluation) contradicted(p *observed) bool {
	if p.location == "" || p.told.managed {
		return false
	}
	sight := &modelv1.Observation{Location: p.location, LastSeen: timestamppb.New(p.told.seen)}
	at := overrules(sight, v.Sets, v.statements)
	if at.IsZero() {
		return false
	}
	if at.After(v.overruled[p.location].AsTime()) {
		v.overruled[p.location] = timestamppb.New(at)
	}
	return true
}
