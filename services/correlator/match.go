package correlator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/correlator/version"
)

// How sure a match is. The figures are ours: they order matches and say nothing about probabilities. docs/scoring.md explains them.
const (
	confidenceVerified = 1.0
	confidencePackage  = 0.9
	confidenceVersion  = 0.7
	// confidenceDoubt: a distribution may have mended it without changing the version, or the sources disagree, or the version is told
	// without its last number.
	confidenceDoubt = 0.4
	// confidenceReported: another tool says the same.
	confidenceReported = 0.85
)

// matched is one vulnerability of a product.
type matched struct {
	*correlatorv1.VulnerabilityMatch

	advisory *modelv1.Advisory
}

// said is what the records say about one vulnerability and one version.
type said struct {
	affected *modelv1.Affected
	key      string
	// yes are the sources that say it is affected, no those that name the product and exclude the version.
	yes, no []string
	// vague: the version is the beginning of the bound, "2.4" of "2.4.58"; boundless: no record names any version.
	vague, boundless bool
}

// matchProduct are the vulnerabilities that concern a product, each once. ok is false if nothing can be said: the version is not
// known. Where the package of a distribution is known and intel has its records, those decide alone: distributions mend without
// changing the upstream version.
func matchProduct(in Intel, names *productNames, p *observed) (out []matched, ok bool, err error) {
	if !version.Known(p.version) && !version.Known(p.packageVersion) {
		return nil, false, nil
	}
	doubt := ""
	if p.distribution != "" {
		record, err := packageRecord(in, names, p)
		if err != nil {
			return nil, false, err
		}
		if record != nil {
			out, err = judged(in, p, sayings([]*modelv1.ProductRecord{record}, p, p.packageVersion), "")
			return out, true, err
		}
		doubt = fmt.Sprintf("%s may have mended it without changing the version", p.distribution)
		if p.packageVersion == "" {
			doubt += "; its package's version is not told"
		} else {
			doubt += "; its advisories are not in the snapshot"
		}
	}
	if !version.Known(p.version) {
		return nil, false, nil
	}
	var records []*modelv1.ProductRecord
	for _, key := range names.keys(p.key) {
		record, err := productOf(in, key)
		if err != nil {
			return nil, false, err
		}
		if record != nil {
			records = append(records, record)
		}
	}
	out, err = judged(in, p, sayings(records, p, p.version), doubt)
	return out, true, err
}

// packageRecord are the distribution's records about the product's package, nil if the package's version is not known or intel has
// none.
func packageRecord(in Intel, names *productNames, p *observed) (*modelv1.ProductRecord, error) {
	key := names.packageKey(p.key, p.distribution, p.version)
	if key == "" || !version.Known(p.packageVersion) {
		return nil, nil
	}
	return productOf(in, key)
}

// sayings collects what records say about a version, by advisory.
func sayings(records []*modelv1.ProductRecord, p *observed, v string) map[string]*said {
	out := map[string]*said{}
	for _, r := range records {
		for _, a := range r.GetAffected() {
			if a.GetTargetSoftware() != "" && !strings.EqualFold(a.GetTargetSoftware(), p.targetSoftware) || a.GetPart() != "" && p.part != "" && a.GetPart() != p.part {
				continue
			}
			s := out[a.GetAdvisory()]
			if s == nil {
				s = &said{}
				out[a.GetAdvisory()] = s
			}
			if !inRange(a, v) {
				s.no = append(s.no, a.GetSources()...)
				continue
			}
			s.yes = append(s.yes, a.GetSources()...)
			if s.affected == nil || unbounded(s.affected) || s.affected.GetFixed() == "" && a.GetFixed() != "" {
				s.affected, s.key = a, r.GetKey()
			}
			s.vague, s.boundless = s.vague || vague(v, a), unbounded(s.affected)
		}
	}
	return out
}

// judged turns what is said into matches, without what was withdrawn.
func judged(in Intel, p *observed, sayings map[string]*said, doubt string) ([]matched, error) {
	var out []matched
	for id, s := range sayings {
		if s.affected == nil {
			continue
		}
		a, err := advisoryOf(in, id)
		if err != nil {
			return nil, err
		}
		if a == nil {
			continue
		}
		m := &correlatorv1.VulnerabilityMatch{
			Cve: a.GetId(), Title: a.GetTitle(), Product: s.key, Version: p.version, FixedVersion: s.affected.GetFixed(), Cvss: bestScore(a.GetCvss()),
			Kev: a.GetKev(), Epss: a.GetEpss(), Ssvc: a.GetSsvc(), Sources: sorted(s.yes), Location: p.location, Software: p.display(),
		}
		if strings.Contains(s.key, "/") {
			m.Version = p.packageVersion
		}
		m.Confidence, m.Reason = confidence(p, s, m, doubt)
		out = append(out, matched{m, a})
	}
	return out, nil
}

// confidence is how sure a match is, and why.
func confidence(p *observed, s *said, m *correlatorv1.VulnerabilityMatch, doubt string) (float64, string) {
	reason := fmt.Sprintf("version %s is %s", m.GetVersion(), bounds(s.affected))
	excluded := slices.Contains(s.no, "cna") && !slices.Contains(s.yes, "cna")
	switch {
	case strings.Contains(s.key, "/"):
		return confidencePackage, fmt.Sprintf("package %s of %s is %s", m.GetVersion(), p.distribution, bounds(s.affected))
	case doubt != "":
		return confidenceDoubt, reason + "; " + doubt
	case excluded:
		return confidenceDoubt, reason + " by " + strings.Join(m.GetSources(), ", ") + "; the CVE record itself excludes it"
	case s.boundless:
		return confidenceDoubt, reason + "; the record names no versions, so all are taken to be affected"
	case s.vague:
		return confidenceDoubt, reason + "; the version is told without its last number"
	}
	return confidenceVersion, reason
}

// bounds words a range.
func bounds(a *modelv1.Affected) string {
	if a.GetFixed() == "" && a.GetLastAffected() == "" && (a.GetIntroduced() == "" || a.GetIntroduced() == "0") && len(a.GetVersions()) > 0 {
		return "one of the affected"
	}
	text := "affected"
	if i := a.GetIntroduced(); i != "" && i != "0" {
		text += " (since " + i
	} else {
		text += " (all"
	}
	switch {
	case a.GetFixed() != "":
		return text + " before " + a.GetFixed() + ")"
	case a.GetLastAffected() != "":
		return text + " up to " + a.GetLastAffected() + ")"
	}
	return text + ", no fix is known)"
}

// inRange says whether a version is affected.
func inRange(a *modelv1.Affected, v string) bool {
	scheme, ordered := version.SchemeOf(a.GetScheme())
	for _, one := range a.GetVersions() {
		if one == v || ordered && version.Known(one) && version.Compare(scheme, one, v) == 0 {
			return true
		}
	}
	if !ordered || len(a.GetVersions()) > 0 && a.GetIntroduced() == "" && a.GetFixed() == "" && a.GetLastAffected() == "" {
		return false
	}
	if i := a.GetIntroduced(); i != "" && i != "0" && i != "*" {
		if c := version.Compare(scheme, v, i); c < 0 || c == 0 && a.GetIntroducedExcluded() {
			return false
		}
	}
	if f := a.GetFixed(); f != "" && version.Compare(scheme, v, f) >= 0 {
		return false
	}
	return a.GetLastAffected() == "" || version.Compare(scheme, v, a.GetLastAffected()) <= 0
}

// unbounded says whether a range is all versions.
func unbounded(a *modelv1.Affected) bool {
	return (a.GetIntroduced() == "" || a.GetIntroduced() == "0") && a.GetFixed() == "" && a.GetLastAffected() == "" && len(a.GetVersions()) == 0
}

// vague says whether the version may be any of those on both sides of a bound: "2.4" before "2.4.58".
func vague(v string, a *modelv1.Affected) bool {
	for _, bound := range []string{a.GetFixed(), a.GetLastAffected()} {
		if rest, ok := strings.CutPrefix(bound, v+"."); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return true
		}
	}
	return false
}

// scoreRank orders the authorities of scores: the record's own first.
var scoreRank = map[string]int{"cna": 0, "adp": 1, "osv": 2, "nvd": 3}

// bestScore is the score that counts: of the first authority that gave one, the newest version of CVSS; nil if there is none.
func bestScore(all []*modelv1.Cvss) *modelv1.Cvss {
	var best *modelv1.Cvss
	for _, c := range all {
		if c.GetScore() <= 0 {
			continue
		}
		rank := func(c *modelv1.Cvss) int {
			if r, ok := scoreRank[c.GetSource()]; ok {
				return r
			}
			return len(scoreRank)
		}
		if best == nil || rank(c) < rank(best) || rank(c) == rank(best) && c.GetVersion() > best.GetVersion() {
			best = c
		}
	}
	return best
}

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// proofs are the vulnerabilities that a test proved, by CVE and location.
type proofs map[string]*modelv1.Observation

func proofsIn(sets []*modelv1.ObservationSet) proofs {
	out := proofs{}
	for _, set := range sets {
		for _, o := range set.GetObservations() {
			if v := o.GetVulnerability(); v.GetVerified() {
				for _, cve := range v.GetCve() {
					out[strings.ToUpper(cve)+" "+o.GetLocation()] = o
				}
			}
		}
	}
	for _, r := range reportsIn(sets) {
		for _, cve := range r.GetReported().GetCve() {
			if at := cve + " " + r.GetLocation(); out[at] == nil && r.GetReported().GetVerified() {
				out[at] = r.Observation
			}
		}
	}
	return out
}

// verify marks a match that a test proved at the same place.
func (p proofs) verify(m *correlatorv1.VulnerabilityMatch) *modelv1.Observation {
	o := p[m.GetCve()+" "+m.GetLocation()]
	if o == nil {
		return nil
	}
	m.Verified, m.Confidence = true, confidenceVerified
	m.Reason = fmt.Sprintf("proven by %s with %s; %s", cmp.Or(o.GetVulnerability().GetEngine(), o.GetReported().GetTool()),
		cmp.Or(o.GetVulnerability().GetRule(), o.GetReported().GetRule()), m.GetReason())
	return o
}

// sameMatch says whether two matches say the same.
func sameMatch(a, b *correlatorv1.VulnerabilityMatch) bool { return proto.Equal(a, b) }
