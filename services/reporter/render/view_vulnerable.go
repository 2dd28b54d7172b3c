package render

import (
	"fmt"
	"regexp"
	"strings"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
)

// vulnerabilityView is one known vulnerability of a product.
type vulnerabilityView struct{ ID, URL, Title, Signals, Reason string }

// cveID is how the CVE programme numbers vulnerabilities; nothing else is linked.
var cveID = regexp.MustCompile(`^CVE-[1-9][0-9]{3}-[0-9]{4,10}$`)

func vulnerabilityOf(m *correlatorv1.VulnerabilityMatch) vulnerabilityView {
	v := vulnerabilityView{ID: short(m.GetCve()), Title: short(m.GetTitle()), Signals: strings.Join(signals(m), ", "), Reason: long(m.GetReason())}
	if cveID.MatchString(m.GetCve()) {
		v.URL = "https://www.cve.org/CVERecord?id=" + m.GetCve()
	}
	return v
}

// signals are what is known about a vulnerability, evidence first.
func signals(m *correlatorv1.VulnerabilityMatch) []string {
	var out []string
	if k := m.GetKev(); k != nil {
		text := "known to be exploited since " + shortDate(k.GetDateAdded())
		if k.GetRansomware() {
			text += ", also by ransomware"
		}
		out = append(out, text)
	}
	if e := m.GetEpss(); e != nil {
		out = append(out, fmt.Sprintf("EPSS %.2g", e.GetProbability()))
	}
	if c := m.GetCvss(); c != nil {
		out = append(out, fmt.Sprintf("CVSS %.1f by %s", c.GetScore(), short(c.GetSource())))
	}
	if m.GetFixedVersion() != "" {
		out = append(out, "fixed in "+short(m.GetFixedVersion()))
	}
	proof := "inferred"
	if m.GetVerified() {
		proof = "verified"
	}
	return append(out, proof)
}

// vulnerabilityIDs are the ids of a finding's vulnerabilities, worst first.
func vulnerabilityIDs(f *correlatorv1.Finding) []string {
	out := make([]string, 0, len(f.GetMatches()))
	for _, m := range f.GetMatches() {
		out = append(out, m.GetCve())
	}
	return out
}
