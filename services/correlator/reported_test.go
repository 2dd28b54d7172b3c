package correlator

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// told is one finding of another tool as ingest stores it, seen at an hour.
func told(hour int, location, tool, rule string, severity modelv1.Severity, edits ...func(*modelv1.ReportedFact)) *modelv1.Observation {
	f := &modelv1.ReportedFact{Tool: tool, Rule: rule, Fingerprint: rule, Title: rule, Severity: severity, ReportedAt: at(hour)}
	for _, edit := range edits {
		edit(f)
	}
	return &modelv1.Observation{
		Key: "reported/" + tool + "/" + hex.EncodeToString([]byte(f.GetFingerprint())), Source: "import/" + tool, ScanType: modelv1.ScanType_SCAN_TYPE_IMPORT,
		Location: location, FirstSeen: at(hour), LastSeen: at(hour), Fact: &modelv1.Observation_Reported{Reported: f},
	}
}

func withCVE(ids ...string) func(*modelv1.ReportedFact) {
	return func(f *modelv1.ReportedFact) { f.Cve = ids }
}
func tested(f *modelv1.ReportedFact)    { f.Verified = true }
func nowClosed(f *modelv1.ReportedFact) { f.Closed = true }
func mendWith(text string) func(*modelv1.ReportedFact) {
	return func(f *modelv1.ReportedFact) { f.Remediation = text }
}

// reportSets are the sets of some reported findings, one for each location.
func reportSets(all ...*modelv1.Observation) []*modelv1.ObservationSet {
	var out []*modelv1.ObservationSet
	for _, o := range all {
		i := slices.IndexFunc(out, func(s *modelv1.ObservationSet) bool { return s.GetLocation() == o.GetLocation() })
		if i < 0 {
			i, out = len(out), append(out, &modelv1.ObservationSet{
				Asset: host.GetName(), ScanType: modelv1.ScanType_SCAN_TYPE_IMPORT, Location: o.GetLocation(), ScannedAt: at(1000), Outcome: modelv1.Outcome_OUTCOME_PARTIAL,
			})
		}
		out[i].Observations = append(out[i].Observations, o)
	}
	return out
}

// openOnes are the open findings that are more than information, by check and location, sorted.
func openOnes(out Output) []string {
	var all []string
	for _, f := range out.Findings {
		if f.GetState() == correlatorv1.Finding_STATE_OPEN && f.GetSeverity() > modelv1.Severity_SEVERITY_INFO {
			all = append(all, f.GetCheck()+" "+f.GetLocation())
		}
	}
	slices.Sort(all)
	return all
}

func openRisks(out Output) []*correlatorv1.Risk {
	return slices.DeleteFunc(slices.Clone(out.Risks), func(r *correlatorv1.Risk) bool { return r.GetState() != correlatorv1.Risk_STATE_OPEN })
}

const (
	severe = modelv1.Severity_SEVERITY_HIGH
	medium = modelv1.Severity_SEVERITY_MEDIUM
	low    = modelv1.Severity_SEVERITY_LOW
)

// Three tools that report one CVE are one finding with three pieces of evidence and one risk, which an entry in KEV makes urgent.
func TestToolsThatReportOneCVEAreOneFinding(t *testing.T) {
	sets := reportSets(
		told(3, "192.0.2.1:443/tcp", "nuclei", "CVE-2024-6387", severe, withCVE("CVE-2024-6387"), tested),
		told(1, "image (debian 12) openssh", "trivy", "CVE-2024-6387", medium, withCVE("CVE-2024-6387")),
		told(2, "Dockerfile", "scanner", "openssh-race", low, withCVE("CVE-2024-6387", "CVE-2025-1111")),
	)
	intel := sshIntel("1")
	out := judgedWith(t, nil, 5, intel, sets...)
	if len(out.Findings) != 1 || len(openRisks(out)) != 1 {
		t.Fatalf("findings %v, risks %v", out.Findings, out.Risks)
	}
	f := out.Findings[0]
	if f.GetCheck() != "reported-severe" || f.GetInferred() || len(f.GetEvidence()) != 3 || f.GetLocation() != "" || f.GetNotRetested() ||
		!f.GetFirstSeen().AsTime().Equal(at(1).AsTime()) || !f.GetLastSeen().AsTime().Equal(at(3).AsTime()) {
		t.Errorf("finding %v", f)
	}
	if f.GetMatches()[0].GetCve() != "CVE-2024-6387" || strings.Join(f.GetMatches()[0].GetReportedBy(), " ") != "nuclei scanner trivy" || f.GetIntelVersion() != "1" {
		t.Errorf("matches %v", f.GetMatches())
	}
	if !slices.Contains(out.Keys, "CVE-2024-6387") {
		t.Errorf("a new KEV entry would not find it: %v", out.Keys)
	}
	loud := judgedWith(t, out.Findings, 100, sshIntel("2", exploited(at(90))), sets...)
	g := loud.Findings[0]
	if len(loud.Findings) != 1 || g.GetName() != f.GetName() || g.GetCheck() != "reported-exploited" || g.GetSeverity() != modelv1.Severity_SEVERITY_CRITICAL {
		t.Fatalf("after KEV %v", loud.Findings)
	}
	if !g.GetDueTime().AsTime().Equal(at(90).AsTime().Add(72*time.Hour)) || !strings.Contains(g.GetDueRule(), "in KEV") {
		t.Errorf("due %v by %q", g.GetDueTime().AsTime(), g.GetDueRule())
	}
	if r := openRisks(loud); len(r) != 1 || r[0].GetGroup() != "exploited-software" || r[0].GetScore() <= openRisks(out)[0].GetScore() {
		t.Errorf("risks %v", r)
	}
}

// A report of what our own matching says too is evidence of that finding, and no second one; at another port it is a finding of its own,
// in the same decision.
func TestReportFoldsIntoOwnMatch(t *testing.T) {
	own := sshSet(0, "9.2p1")
	alone := findingOf(judgedWith(t, nil, 5, sshIntel("1"), own), "cve-severe")
	for _, c := range []struct {
		name     string
		report   *modelv1.Observation
		inferred bool
		sure     float64
		open     []string
	}{
		{"of the asset", told(1, "image openssh", "trivy", "x", medium, withCVE("CVE-2024-6387")), true, confidenceReported, []string{"cve-severe " + sshAt}},
		{"of the port, tested", told(1, sshAt, "nuclei", "x", medium, withCVE("CVE-2024-6387"), tested), false, confidenceVerified, []string{"cve-severe " + sshAt}},
		{"of the port, not tested", told(1, sshAt, "scanner", "x", medium, withCVE("CVE-2024-6387")), true, confidenceReported, []string{"cve-severe " + sshAt}},
		{"of the port, closed", told(1, sshAt, "nuclei", "x", medium, withCVE("CVE-2024-6387"), tested, nowClosed), true, confidenceVersion, []string{"cve-severe " + sshAt}},
		{"of another port", told(1, "192.0.2.1:2222/tcp", "nuclei", "x", severe, withCVE("CVE-2024-6387"), tested), true, confidenceVersion,
			[]string{"cve-severe " + sshAt, "reported-severe 192.0.2.1:2222/tcp"}},
	} {
		out := judgedWith(t, nil, 5, sshIntel("1"), append(reportSets(c.report), own)...)
		f := findingOf(out, "cve-severe")
		if got := openOnes(out); !slices.Equal(got, c.open) || len(openRisks(out)) != 1 {
			t.Errorf("%s: findings %q, risks %v", c.name, got, openRisks(out))
		}
		m := f.GetMatches()[0]
		if f.GetName() != alone.GetName() || f.GetInferred() != c.inferred || m.GetConfidence() != c.sure {
			t.Errorf("%s: %v", c.name, f)
		}
		folded := len(c.open) == 1 && !c.report.GetReported().GetClosed()
		if got := slices.ContainsFunc(f.GetEvidence(), func(e *correlatorv1.FindingEvidence) bool { return e.GetSource() == c.report.GetSource() }); got != folded {
			t.Errorf("%s: among the evidence %v: %v", c.name, got, f.GetEvidence())
		}
		// The report does not keep it open: when our own scan sees the new version it closes, and what the tool still says is its own.
		after := judgedWith(t, out.Findings, 9, sshIntel("1"), append(reportSets(c.report), sshSet(8, "9.8p1"))...)
		if f := findingOf(after, "cve-severe"); f.GetState() != correlatorv1.Finding_STATE_RESOLVED {
			t.Errorf("%s: after the update %v", c.name, f)
		}
	}
}

// What a tool tested keeps the tool's severity where its class is information: our own match of it is no risk.
func TestTestedReportOfLowerClassStays(t *testing.T) {
	mild := sshIntel("1", func(a *modelv1.Advisory) { a.Cvss[0].Score = 5 })
	for verified, want := range map[bool][]string{true: {"reported-medium " + sshAt}, false: nil} {
		report := told(1, sshAt, "nuclei", "x", medium, withCVE("CVE-2024-6387"), func(f *modelv1.ReportedFact) { f.Verified = verified })
		out := judgedWith(t, nil, 5, mild, append(reportSets(report), sshSet(0, "9.2p1"))...)
		if got := openOnes(out); !slices.Equal(got, want) {
			t.Errorf("tested %v: %q", verified, got)
		}
	}
}

// What our own engine or our own test of TLS found is one finding with what another tool says of the same.
func TestReportFoldsIntoOwnTest(t *testing.T) {
	const web = "192.0.2.1:443/tcp"
	engine := &modelv1.ObservationSet{ScanType: modelv1.ScanType_SCAN_TYPE_VULN, Location: web, ScannedAt: at(0), CompleteAt: at(0), Observations: []*modelv1.Observation{{
		Key: "nuclei/git-config", Location: web, ScanType: modelv1.ScanType_SCAN_TYPE_VULN, FirstSeen: at(0), LastSeen: at(0), Source: "nuclei",
		Fact: &modelv1.Observation_Vulnerability{Vulnerability: &modelv1.VulnerabilityFact{Engine: "nuclei", Rule: "git-config", Title: "Git", Severity: medium, Verified: true}},
	}}}
	heartbleed := &modelv1.ObservationSet{ScanType: modelv1.ScanType_SCAN_TYPE_TLS, Location: web, ScannedAt: at(0), CompleteAt: at(0), Observations: []*modelv1.Observation{{
		Key: "tls", Location: web, ScanType: modelv1.ScanType_SCAN_TYPE_TLS, FirstSeen: at(0), LastSeen: at(0),
		Fact: &modelv1.Observation_Tls{Tls: &modelv1.TlsFact{Behaviour: &modelv1.TlsBehaviour{HeartbeatOverread: "yes"}}},
	}}}
	out := judgedWith(t, nil, 5, nil, append(reportSets(
		told(1, web, "nuclei", "git-config", medium, tested),
		told(1, web, "testssl.sh", "heartbleed", severe, withCVE("CVE-2014-0160"), tested),
		told(1, "192.0.2.1:8443/tcp", "testssl.sh", "heartbleed", severe, withCVE("CVE-2014-0160"), tested),
	), engine, heartbleed)...)
	var reported []string
	for _, name := range openOnes(out) {
		if strings.HasPrefix(name, "reported-") {
			reported = append(reported, name)
		}
	}
	if !slices.Equal(reported, []string{"reported-severe 192.0.2.1:8443/tcp"}) {
		t.Errorf("findings of their own: %q", reported)
	}
	if f := findingOf(out, "vuln-proven-medium"); len(f.GetEvidence()) != 2 {
		t.Errorf("%v", f)
	}
	if f := findingOf(out, "tls-heartbleed"); len(f.GetEvidence()) != 2 {
		t.Errorf("%v", f)
	}
}

// One rule of a tool at many places is one decision, in the tool's words; small things are one decision together.
func TestReportsAreFewDecisions(t *testing.T) {
	var all []*modelv1.Observation
	for n := range 5 {
		all = append(all, told(0, fmt.Sprintf("arn:aws:s3:::bucket-%d", n), "prowler", "s3_bucket_public", severe, tested, mendWith("Block public access.")),
			told(0, fmt.Sprintf("arn:aws:s3:::bucket-%d", n), "prowler", fmt.Sprintf("small_%d", n), low, tested))
	}
	all = append(all, told(0, "", "zap", "s3_bucket_public", severe), told(0, "", "zap", "10000", modelv1.Severity_SEVERITY_INFO))
	out := judgedWith(t, nil, 5, nil, reportSets(all...)...)
	if len(out.Findings) != 11 {
		t.Errorf("%d findings", len(out.Findings))
	}
	var titles []string
	for _, r := range openRisks(out) {
		titles = append(titles, fmt.Sprintf("%d %s: %s", r.GetOpenFindings(), r.GetTitle(), r.GetAction()))
	}
	want := []string{
		"5 prowler: s3_bucket_public on 192.0.2.1: Block public access.",
		"1 zap: s3_bucket_public on 192.0.2.1: Mend what the finding names this week, and restrict who can reach it until then.",
		"5 Other tools report small weaknesses on 192.0.2.1: Mend them when you are there anyway, or mark them in the tool as not applicable and import its report again.",
	}
	if !slices.Equal(titles, want) {
		t.Errorf("risks\n%s", strings.Join(titles, "\n"))
	}
}

// A finding of another tool closes when the tool says so, and not when it is silent; it comes back as the same one, with its triage and
// its due date, also with another severity.
func TestReportedLifecycle(t *testing.T) {
	const place = "192.0.2.1:443/tcp"
	say := func(hour int, severity modelv1.Severity, edits ...func(*modelv1.ReportedFact)) []*modelv1.ObservationSet {
		return reportSets(told(hour, place, "zap", "40018", severity, edits...))
	}
	first := judgedWith(t, nil, 1, nil, say(0, severe)...)
	f := first.Findings[0]
	if f.GetState() != correlatorv1.Finding_STATE_OPEN || f.GetCheck() != "reported-high" || f.GetTitle() != "zap: 40018" || !f.GetInferred() {
		t.Fatalf("%v", f)
	}
	f = proto.CloneOf(f)
	f.Triage = &correlatorv1.Triage{Subject: "ann", Reason: "known", Time: at(1)}
	due := f.GetDueTime()
	for name, sets := range map[string][]*modelv1.ObservationSet{
		"forgotten":                     nil,
		"silent":                        reportSets(told(9, place, "zap", "10021", severe)),
		"of another tool, closed":       reportSets(told(9, place, "nuclei", "40018", severe, nowClosed)),
		"closed at another place":       reportSets(told(9, "192.0.2.1:80/tcp", "zap", "40018", severe, nowClosed)),
		"closed under another id of it": reportSets(told(9, place, "zap", "40018", severe, nowClosed, func(f *modelv1.ReportedFact) { f.Fingerprint = "other" })),
	} {
		g := named(judgedWith(t, []*correlatorv1.Finding{f}, 10, nil, sets...), f.GetName())
		if g.GetState() != correlatorv1.Finding_STATE_OPEN || !g.GetNotRetested() {
			t.Errorf("%s: %v", name, g)
		}
	}
	g := named(judgedWith(t, []*correlatorv1.Finding{f}, 10, nil, say(9, severe, nowClosed)...), f.GetName())
	if g.GetState() != correlatorv1.Finding_STATE_RESOLVED || !g.GetResolvedTime().AsTime().Equal(at(9).AsTime()) {
		t.Fatalf("closed: %v", g)
	}
	back := named(judgedWith(t, []*correlatorv1.Finding{g}, 20, nil, say(19, severe)...), f.GetName())
	if back.GetState() != correlatorv1.Finding_STATE_OPEN || back.GetReopenCount() != 1 || back.GetTriage().GetSubject() != "ann" || !proto.Equal(back.GetDueTime(), due) {
		t.Errorf("reopened: %v", back)
	}
	milder := judgedWith(t, []*correlatorv1.Finding{back}, 30, nil, say(29, medium)...)
	if m := named(milder, f.GetName()); len(milder.Findings) != 1 || m.GetCheck() != "reported-medium" || m.GetTriage().GetSubject() != "ann" {
		t.Errorf("milder: %v", milder.Findings)
	}
	if m := named(judgedWith(t, []*correlatorv1.Finding{back}, 30, nil, say(29, modelv1.Severity_SEVERITY_INFO)...), f.GetName()); m.GetState() != correlatorv1.Finding_STATE_RESOLVED {
		t.Errorf("information: %v", m)
	}
}

// One CVE that several tools report closes when all of them say so.
func TestReportedCVEClosesWithAll(t *testing.T) {
	cve := withCVE("CVE-2024-6387")
	open := reportSets(told(0, "192.0.2.1:22/tcp", "nuclei", "a", severe, cve, tested), told(0, "image", "trivy", "b", severe, cve))
	before := judgedWith(t, nil, 1, nil, open...).Findings
	half := judgedWith(t, before, 6, nil, reportSets(told(5, "192.0.2.1:22/tcp", "nuclei", "a", severe, cve, tested, nowClosed), told(0, "image", "trivy", "b", severe, cve))...)
	if f := named(half, before[0].GetName()); f.GetState() != correlatorv1.Finding_STATE_OPEN || len(f.GetEvidence()) != 1 || !f.GetInferred() {
		t.Errorf("half: %v", f)
	}
	none := judgedWith(t, before, 6, nil, reportSets(told(5, "192.0.2.1:22/tcp", "nuclei", "a", severe, cve, tested, nowClosed), told(4, "image", "trivy", "b", severe, cve, nowClosed))...)
	if f := named(none, before[0].GetName()); f.GetState() != correlatorv1.Finding_STATE_RESOLVED || !f.GetResolvedTime().AsTime().Equal(at(5).AsTime()) {
		t.Errorf("none: %v", f)
	}
}

func named(out Output, name string) *correlatorv1.Finding {
	for _, f := range out.Findings {
		if f.GetName() == name {
			return f
		}
	}
	return nil
}
