package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

// family are the open findings of a report whose checks begin so, each as one line, sorted.
func family(doc *reporterv1.ReportDocument, prefix string) []string {
	return slices.DeleteFunc(open(doc), func(l string) bool { return !strings.HasPrefix(l, prefix) })
}

// shipped are the ids of the shipped checks that begin so, sorted.
func (p *Platform) shipped(t *testing.T, prefix string) []string {
	t.Helper()
	res := &correlatorv1.ListChecksResponse{}
	p.must(t, t.Context(), http.MethodGet, "/v1/checks", nil, res)
	var out []string
	for _, k := range res.GetChecks() {
		if strings.HasPrefix(k.GetId(), prefix) && !k.GetCustom() {
			out = append(out, k.GetId())
		}
	}
	slices.Sort(out)
	return out
}

// checkFamily compares findings with a truth, and the truth with the catalogue: every check of the family holds somewhere.
func checkFamily(t *testing.T, p *Platform, doc *reporterv1.ReportDocument, prefix string, want []string) {
	t.Helper()
	slices.Sort(want)
	if d := Difference(want, family(doc, prefix)); d != "" {
		t.Errorf("the findings differ from the truth (- missing, + not in the truth):\n%s", d)
	}
	var played []string
	for _, l := range want {
		played = append(played, strings.Fields(l)[0])
	}
	slices.Sort(played)
	if d := Difference(p.shipped(t, prefix), slices.Compact(played)); d != "" {
		t.Errorf("the truth differs from the catalogue (- no place where it holds, + no check):\n%s", d)
	}
}

// knownBy is what third parties know of one name or address, and the checks that follow.
type knownBy struct {
	subject string
	// host are members of the answers of Shodan and InternetDB, verdict the attributes of VirusTotal, registry members of the answer of the
	// registry; "" if they know nothing.
	host, verdict, registry string
	checks                  []string
}

// thirdParties are made up around a day. Nobody connects to the addresses: the scan type asks its sources only.
func thirdParties(now time.Time) []knownBy {
	day := 24 * time.Hour
	fresh := `"last_update": "` + now.Add(-day).UTC().Format("2006-01-02T15:04:05.000000") + `"`
	registration := func(ends, asked time.Duration) string {
		return fmt.Sprintf(`{"last_analysis_stats": {"malicious": 0, "harmless": 60}, "whois": "Domain Name: X\nRegistry Expiry Date: %s\n", "whois_date": %d}`,
			now.Add(ends).UTC().Format(time.RFC3339), now.Add(asked).Unix())
	}
	registered := func(ends time.Duration) string {
		return fmt.Sprintf(`"events": [{"eventAction": "expiration", "eventDate": %q}]`, now.Add(ends).UTC().Format(time.RFC3339))
	}
	stats := func(malicious int) string {
		return fmt.Sprintf(`{"last_analysis_stats": {"malicious": %d, "suspicious": 9, "harmless": 60}, "last_analysis_date": %d}`, malicious, now.Add(-day).Unix())
	}
	return []knownBy{
		{subject: "riskprofiler-lab-flagged.com", verdict: stats(3), checks: []string{"intel-flagged-domain"}},
		{subject: "riskprofiler-lab-ending.com", verdict: registration(10*day, -day), checks: []string{"intel-domain-expires"}},
		{subject: "riskprofiler-lab-ended.com", verdict: registration(-5*day, -day), checks: []string{"intel-domain-expired"}},
		{subject: "riskprofiler-lab-unlocked.com", registry: `"status": ["active"], ` + registered(200*day), checks: []string{"intel-domain-transfer-lock"}},
		{subject: "riskprofiler-lab-closing.com", registry: `"status": ["client transfer prohibited"], ` + registered(20*day), checks: []string{"intel-domain-expires"}},
		{subject: "riskprofiler-lab-redeemable.com", registry: `"status": ["redemption period"], ` + registered(300*day), checks: []string{"intel-domain-expired"}},
		{subject: "riskprofiler-lab-locked.com", registry: `"status": ["client transfer prohibited"], ` + registered(300*day)},
		{subject: "riskprofiler-lab-quiet.com", verdict: stats(2)},
		{subject: "riskprofiler-lab-renewed.com", verdict: registration(300*day, -day)},
		{subject: "riskprofiler-lab-asked-long-ago.com", verdict: registration(10*day, -60*day)},
		{subject: "riskprofiler-lab-unknown.com"},
		{subject: "198.41.0.4", host: `"ports": [443], "tags": ["compromised"], ` + fresh, checks: []string{"intel-compromised"}},
		{subject: "198.41.0.5", checks: []string{"intel-vulnerability-tested"}, host: `"ports": [443], "tags": [], ` + fresh + `, "data": [{"port": 443, "transport": "tcp",
			"product": "nginx", "timestamp": "2026-11-20T00:00:00.000000", "vulns": {"CVE-2014-0160": {"verified": true, "cvss": 5.0}, "CVE-2019-1": {"verified": false}}}]`},
		{subject: "198.41.0.6", host: `"ports": [443, 3389], "tags": [], ` + fresh, checks: []string{"intel-risky-port"}},
		{subject: "198.41.0.7", host: `"ports": [443], "tags": ["cloud", "eol-product"], ` + fresh, checks: []string{"intel-software-unsupported"}},
		{subject: "198.41.0.8", verdict: stats(4), checks: []string{"intel-flagged-address"}},
		{subject: "198.41.0.9", host: `"ports": [80, 443], "tags": ["cloud", "starttls"], "vulns": ["CVE-2019-1"], ` + fresh, verdict: stats(2)},
		{subject: "198.41.0.10"},
	}
}

// TestTruthOfThirdParties: what third parties know becomes the findings that are declared and no others, and every check of the family
// is among them.
func TestTruthOfThirdParties(t *testing.T) {
	server, names := providerstest.New(t), map[string]string{}
	var targets, want []string
	for _, k := range thirdParties(time.Now()) {
		targets = append(targets, k.subject)
		if k.host != "" {
			server.Host(k.subject, k.host)
		}
		if k.verdict != "" {
			server.Verdict(k.subject, k.verdict)
		}
		if k.registry != "" {
			server.Registration(k.subject, k.registry)
		}
		if strings.HasSuffix(k.subject, ".com") {
			names[k.subject] = "198.41.0.11"
		}
		for _, check := range k.checks {
			want = append(want, line(check, k.subject, ""))
		}
	}
	p := InProcess(t, Options{Resolver: publicZone(t, names), Settings: map[string]string{"RISKPROFILER_PROVIDER_URLS": server.Setting()}})
	for _, provider := range []string{"shodan", "virustotal"} {
		limits := map[string]any{"requestsPerMinute": 600, "creditsPerMonth": 20}
		p.must(t, t.Context(), http.MethodPost, "/v1/providerKeys", map[string]any{"provider": provider, "key": providerstest.Key, "limits": limits}, nil)
	}
	p.Own(t, t.Context(), targets)
	a := &schedulerv1.Assessment{}
	p.must(t, t.Context(), http.MethodPost, "/v1/assessments", map[string]any{
		"targets": targets, "profile": "PROFILE_STANDARD", "scanTypes": []string{"SCAN_TYPE_INTEL"},
	}, a)
	checkFamily(t, p, p.Finish(t, a.GetName()).Report, "intel-", want)
}

// engineResults are what the engine says about a web application: the fields of nuclei that differ, by file, and the check that follows.
var engineResults = []struct{ name, id, severity, tags, cve, check string }{
	{"1", "tomcat-default-login", "high", `"default-login", "tomcat"`, "", "vuln-default-login"},
	{"2", "CVE-2026-1001", "critical", `"cve", "rce"`, `"cve-2026-1001"`, "vuln-proven-critical"},
	{"3", "CVE-2026-1002", "high", `"cve", "lfi"`, `"cve-2026-1002"`, "vuln-proven-high"},
	{"4", "git-config", "medium", `"exposure"`, "", "vuln-proven-medium"},
	{"5", "phpinfo-files", "low", `"exposure"`, "", "vuln-proven-low"},
	{"6", "old-cms-version", "high", `"version", "eol"`, "", "vuln-suspected"},
	{"7", "tech-detect", "info", `"tech"`, "", ""},
	{"8", "old-library-version", "medium", `"version"`, "", ""},
}

// TestTruthOfTheEngine: what an engine that the operator installed says about a web application of the lab becomes the findings that are
// declared and no others, and every check of the family is among them. The engine is played: see testdata/nuclei.
func TestTruthOfTheEngine(t *testing.T) {
	templates, engine := t.TempDir(), filepath.Join(t.TempDir(), "nuclei")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", engine, "./testdata/nuclei").CombinedOutput(); err != nil {
		t.Fatalf("build the engine: %v\n%s", err, out)
	}
	var want []string
	for _, r := range engineResults {
		text := fmt.Sprintf(`{"template-id": %q, "type": "http", "host": "{{target}}", "matched-at": "{{target}}/%s", "matcher-status": true, "timestamp": "2026-11-22T10:00:00Z", `+
			`"info": {"name": "Title of %s", "severity": %q, "tags": [%s], "classification": {"cve-id": [%s]}}}`, r.id, r.id, r.id, r.severity, r.tags, r.cve)
		if err := os.WriteFile(filepath.Join(templates, r.name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r.check != "" {
			want = append(want, line(r.check, "www.acme.test", "www.acme.test:8080/tcp"))
		}
	}
	l := StartLab(t, "127.60.10.0/24", lab.Options{})
	p := InProcess(t, Options{Resolver: l.Resolver(), Settings: map[string]string{"RISKPROFILER_NUCLEI": engine, "RISKPROFILER_NUCLEI_TEMPLATES": templates}})
	out := p.Assess(t, []string{"www.acme.test"}, "8080")
	checkComplete(t, out.Report)
	checkFamily(t, p, out.Report, "vuln-", want)
}
