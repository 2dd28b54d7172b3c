package correlator

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const (
	// maxMatches bounds the vulnerabilities that one finding shows; they are counted all.
	maxMatches = 25
	// shownRecords is how many of them are linked.
	shownRecords = 3
	// maxCWE bounds the weaknesses that are taken over from an advisory.
	maxCWE = 5
)

// place is one product at one location.
func place(location, product string) string { return location + "\x00" + product }

// keys are what the evaluation depends on beside the facts, sorted.
func (v *evaluation) keys() []string {
	all := map[string]bool{}
	for _, set := range v.Sets {
		for _, o := range set.GetObservations() {
			if name, _ := factOf(o); name != "" {
				all["fact:"+name] = true
			}
		}
	}
	for _, p := range v.products {
		for _, key := range p.decidedBy(v.names) {
			all[key] = true
		}
	}
	for _, key := range v.reportedKeys() {
		all[key] = true
	}
	out := make([]string, 0, len(all))
	for key := range all {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// holdVulnerabilities runs the checks over the known vulnerabilities of all products: one finding for each check, location and product.
// Without intel nothing is evaluated.
func (v *evaluation) holdVulnerabilities() error {
	checks := v.Catalogue.byFact[matchFact]
	if v.Intel == nil || len(checks) == 0 {
		return nil
	}
	proven := proofsIn(v.Sets)
	exposed, _ := publiclyExposed(v.Asset, v.Sets)
	for _, p := range v.products {
		found, ok, err := matchProduct(v.Intel, v.names, p)
		if err != nil {
			return err
		}
		v.judged[place(p.location, p.key)] = ok
		for _, m := range found {
			m.Class = classOf(m.VulnerabilityMatch)
			p.hedge(m.VulnerabilityMatch)
			proven.verify(m.VulnerabilityMatch)
			v.corroborate(m.VulnerabilityMatch)
			if err := setDue(m.VulnerabilityMatch, m.advisory, p.firstSeen(), exposed); err != nil {
				return err
			}
		}
		slices.SortFunc(found, func(a, b matched) int { return compareMatches(a.VulnerabilityMatch, b.VulnerabilityMatch) })
		for _, k := range checks {
			if err := v.holdMatches(k, p, found, proven); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *observed) firstSeen() *timestamppb.Timestamp {
	first := p.observations[0].GetFirstSeen()
	for _, o := range p.observations {
		if o.GetFirstSeen().AsTime().Before(first.AsTime()) {
			first = o.GetFirstSeen()
		}
	}
	return first
}

// holdMatches makes the finding of one check about one product, if the check holds on any of its vulnerabilities.
func (v *evaluation) holdMatches(k *check, p *observed, found []matched, proven proofs) error {
	all := messages(found)
	var in []matched
	for _, m := range found {
		ok, err := v.judge(k, v.matchScene(p, m.VulnerabilityMatch, all), p.location)
		if err != nil {
			return err
		}
		if ok {
			in = append(in, m)
		}
	}
	if len(in) == 0 {
		return nil
	}
	f := finding(v.Input, k, p.set, p.observations[0])
	f.Name, f.Location = findingName(v.Asset.GetName(), k.ID, place(p.location, p.key)), p.location
	for _, o := range p.observations[1:] {
		f.Evidence = append(f.Evidence, evidence(o))
	}
	v.describe(f, p, in, proven)
	for _, m := range in {
		v.fold(f, v.corroborating(m.VulnerabilityMatch))
	}
	f.Summary = k.summarise(v.matchScene(p, in[0].VulnerabilityMatch, messages(in)))
	v.held[f.GetName()] = f
	return nil
}

func messages(list []matched) []*correlatorv1.VulnerabilityMatch {
	out := make([]*correlatorv1.VulnerabilityMatch, len(list))
	for i, m := range list {
		out[i] = m.VulnerabilityMatch
	}
	return out
}

// describe fills in what the vulnerabilities say; in is sorted worst first.
func (v *evaluation) describe(f *correlatorv1.Finding, p *observed, in []matched, proven proofs) {
	f.Product, f.MatchCount, f.IntelVersion, f.FirstSeen = p.key, uint32(len(in)), v.Intel.Version(), in[0].GetSince()
	f.Inferred = true
	var first *correlatorv1.VulnerabilityMatch
	for i, m := range in {
		if i < maxMatches {
			f.Matches = append(f.Matches, m.VulnerabilityMatch)
		}
		if i < shownRecords {
			f.References = append(slices.Clip(f.GetReferences()), recordOf(m.GetCve()))
		}
		if m.GetVerified() {
			f.Inferred = false
			f.Evidence = append(f.Evidence, evidence(proven[m.GetCve()+" "+m.GetLocation()]))
		}
		if m.GetSince().AsTime().Before(f.GetFirstSeen().AsTime()) {
			f.FirstSeen = m.GetSince()
		}
		if first == nil || dueOf(m.VulnerabilityMatch).Before(dueOf(first)) {
			first = m.VulnerabilityMatch
		}
	}
	f.Evidence = f.Evidence[:min(len(f.GetEvidence()), maxEvidence)]
	if cwe := in[0].advisory.GetCwe(); len(cwe) > 0 {
		f.Cwe = cwe[:min(len(cwe), maxCWE)]
	}
	if f.GetSeverity() > modelv1.Severity_SEVERITY_INFO {
		f.DueTime, f.DueRule = timestamppb.New(dueOf(first)), first.GetCve()+", "+first.GetDueRule()
	}
}

// recordOf is the page of a vulnerability.
func recordOf(id string) string {
	if len(id) > 4 && id[:4] == "CVE-" {
		return "https://www.cve.org/CVERecord?id=" + id
	}
	return "https://osv.dev/vulnerability/" + id
}

// matchScene is what a condition over a vulnerability sees.
func (v *evaluation) matchScene(p *observed, m *correlatorv1.VulnerabilityMatch, all []*correlatorv1.VulnerabilityMatch) scene {
	return scene{name: matchFact, fact: m.ProtoReflect(), variables: map[string]any{
		matchFact: m, "matches": all, "asset": v.Asset, "observation": p.observations[0], "now": v.Now,
		othersName: func() any { return v.others.about(p.observations[0]) },
	}}
}

// continueVulnerable keeps the due time that was told while the rule stands, and the snapshot's version while it says the same.
func continueVulnerable(f, before *correlatorv1.Finding) {
	if before.GetDueRule() == f.GetDueRule() && before.GetDueTime() != nil && before.GetDueTime().AsTime().Before(f.GetDueTime().AsTime()) {
		f.DueTime = before.GetDueTime()
	}
	if f.GetMatchCount() == before.GetMatchCount() && slices.EqualFunc(f.GetMatches(), before.GetMatches(), sameMatch) {
		f.IntelVersion = before.GetIntelVersion()
	}
}

// mended is when a finding about vulnerabilities was seen not to hold any more, or nil. Where the product is still seen, intel decides,
// by the version seen now or because it says otherwise now; a version that is not told any more decides nothing. Where it is not seen,
// complete coverage by the scans that had seen it does. Without intel nothing was evaluated.
func (v *evaluation) mended(f *correlatorv1.Finding) *timestamppb.Timestamp {
	if v.Intel == nil {
		return nil
	}
	if ok, seen := v.judged[place(f.GetLocation(), f.GetProduct())]; seen {
		if ok {
			return timestamppb.New(v.Now)
		}
		return nil
	}
	var at *timestamppb.Timestamp
	for _, e := range f.GetEvidence() {
		i := slices.IndexFunc(v.Sets, func(set *modelv1.ObservationSet) bool {
			// A search engine tells of all places of the asset at once.
			here := set.GetLocation() == f.GetLocation() || e.GetScanType() == modelv1.ScanType_SCAN_TYPE_INTEL
			same := set.GetScanType() == e.GetScanType() && here
			return (same || gone(set)) && set.GetCompleteAt().AsTime().After(f.GetLastSeen().AsTime())
		})
		if e.GetScanType() == modelv1.ScanType_SCAN_TYPE_VULN || strings.HasPrefix(e.GetObservation(), reportedFact+"/") {
			continue // the test that proved it, or the tool that reports it, does not tell where the product is
		}
		told := e.GetScanType() == modelv1.ScanType_SCAN_TYPE_IMPORT || e.GetScanType() == modelv1.ScanType_SCAN_TYPE_INTEL
		if over := v.overruled[f.GetLocation()]; told && over.AsTime().After(f.GetLastSeen().AsTime()) {
			at = later(at, over)
			continue
		}
		if i < 0 {
			return nil
		}
		at = v.Sets[i].GetCompleteAt()
	}
	return at
}
