package correlator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const sshAt = "192.0.2.1:22/tcp"

// sshSet is one OpenSSH of a version, seen at an hour.
func sshSet(hour int, v string) *modelv1.ObservationSet {
	s := serviceSet(sshAt, &modelv1.ServiceFact{Port: 22, Name: "ssh", Product: "OpenSSH", Version: v})
	s.ScannedAt, s.CompleteAt = at(hour), at(hour)
	s.Observations[0].LastSeen = at(hour)
	return s
}

// sshIntel knows one vulnerability of OpenSSH before 9.8p1, changed by some edits.
func sshIntel(v string, edits ...func(*modelv1.Advisory)) *mapIntel {
	a := &modelv1.Advisory{
		Id: "CVE-2024-6387", Title: "Race in the signal handler", Published: at(-1000), Cwe: []string{"CWE-364"},
		Cvss: []*modelv1.Cvss{{Version: "3.1", Score: 8.1, Vector: "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "cna"}},
	}
	for _, edit := range edits {
		edit(a)
	}
	return newMapIntel(v, []*modelv1.ProductRecord{record("openbsd:openssh", affected(a.GetId(), "generic", "8.5p1", "9.8p1", "cna"))}, []*modelv1.Advisory{a})
}

func exploited(day *timestamppb.Timestamp) func(*modelv1.Advisory) {
	return func(a *modelv1.Advisory) { a.Kev = &modelv1.Kev{DateAdded: day, Ransomware: true} }
}

func withdrawn(a *modelv1.Advisory) { a.Withdrawn = true }

// judgedWith evaluates the asset on a public address.
func judgedWith(t *testing.T, before []*correlatorv1.Finding, hour int, intel Intel, sets ...*modelv1.ObservationSet) Output {
	t.Helper()
	out, err := Evaluate(Input{Asset: host, Sets: sets, Before: before, Catalogue: catalogue(t), Intel: intel, Now: at(hour).AsTime()})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func findingOf(out Output, check string) *correlatorv1.Finding {
	for _, f := range out.Findings {
		if f.GetCheck() == check {
			return f
		}
	}
	return nil
}

// TestKnownExploitation: a vulnerability that enters KEV moves to the class of the exploited, the risk rises, and the due date is the
// directive's, counted from the day of the entry.
func TestKnownExploitation(t *testing.T) {
	quiet := judgedWith(t, nil, 1, sshIntel("1"), sshSet(0, "9.2p1"))
	severe := findingOf(quiet, "cve-severe")
	if severe.GetState() != correlatorv1.Finding_STATE_OPEN || !severe.GetInferred() || severe.GetSeverity() != modelv1.Severity_SEVERITY_HIGH {
		t.Fatalf("severe: %v", severe)
	}
	loud := judgedWith(t, quiet.Findings, 100, sshIntel("2", exploited(at(90))), sshSet(0, "9.2p1"))
	f := findingOf(loud, "cve-known-exploited")
	if f.GetState() != correlatorv1.Finding_STATE_OPEN || f.GetMatchCount() != 1 || f.GetIntelVersion() != "2" || !f.GetInferred() || f.GetCwe()[0] != "CWE-364" {
		t.Fatalf("exploited: %v", f)
	}
	if !f.GetFirstSeen().AsTime().Equal(at(90).AsTime()) || !f.GetDueTime().AsTime().Equal(at(90).AsTime().Add(3*24*time.Hour)) {
		t.Errorf("first seen %v, due %v", f.GetFirstSeen().AsTime(), f.GetDueTime().AsTime())
	}
	for _, want := range []string{"CVE-2024-6387", "BOD 26-04", "impact total", "publicly exposed", "in KEV", "3 days and a look for traces"} {
		if !strings.Contains(f.GetDueRule(), want) {
			t.Errorf("the rule %q lacks %q", f.GetDueRule(), want)
		}
	}
	if !strings.Contains(f.GetSummary(), "OpenSSH 9.2p1 at "+sshAt) || !strings.Contains(f.GetSummary(), "update to 9.8p1") {
		t.Errorf("summary %q", f.GetSummary())
	}
	// Its class before is empty now: that finding closes, because intel says so about the same facts.
	if old := findingOf(loud, "cve-severe"); old.GetState() != correlatorv1.Finding_STATE_RESOLVED {
		t.Errorf("the finding of the class before: %v", old)
	}
	var top *correlatorv1.Risk
	for _, r := range loud.Risks {
		if r.GetGroup() == "exploited-software" {
			top = r
		}
	}
	before := slices.MaxFunc(quiet.Risks, func(a, b *correlatorv1.Risk) int { return CompareRisks(b, a) })
	if top.GetScore() <= before.GetScore() || top.GetDueRule() != f.GetDueRule() {
		t.Errorf("risk %v, before %v", top, before)
	}
	// 70 critical + 10 exposure + 5 KEV + 5 ransomware - 10 by a version
	if top.GetScore() != 80 {
		t.Errorf("score %v of %v", top.GetScore(), top.GetTerms())
	}
}

func TestScoreTerms(t *testing.T) {
	term := func(out Output, group, name string) *correlatorv1.ScoreTerm {
		for _, r := range out.Risks {
			for _, term := range r.GetTerms() {
				if r.GetGroup() == group && term.GetName() == name {
					return term
				}
			}
		}
		return nil
	}
	likely := judgedWith(t, nil, 1, sshIntel("1", func(a *modelv1.Advisory) { a.Epss = &modelv1.Epss{Probability: 0.44, Model: "v5", Date: at(0)} }), sshSet(0, "9.2p1"))
	if e := term(likely, "vulnerable-software", "exploitation"); e.GetPoints() != 4.4 || !strings.Contains(e.GetReason(), "EPSS v5 of 2026-11-01") {
		t.Errorf("%v", e)
	}
	if c := term(likely, "vulnerable-software", "confidence"); c.GetPoints() != pointsInferred || !strings.Contains(c.GetReason(), "since 8.5p1") {
		t.Errorf("%v", c)
	}
	debian := sshSet(0, "9.2p1")
	debian.GetObservations()[0].GetService().Banner = "SSH-2.0-OpenSSH_9.2p1 Debian-2"
	if c := term(judgedWith(t, nil, 1, sshIntel("1"), debian), "vulnerable-software", "confidence"); c.GetPoints() != pointsDoubtful || !strings.Contains(c.GetReason(), "Debian may have mended it") {
		t.Errorf("%v", c)
	}
}

// TestVulnerabilityCloses: what ends a finding about a vulnerability, and what does not.
func TestVulnerabilityCloses(t *testing.T) {
	closedPort := sshSet(5, "")
	closedPort.Observations = nil
	partial := sshSet(5, "")
	partial.Observations, partial.CompleteAt = nil, nil
	gone := &modelv1.ObservationSet{ScanType: modelv1.ScanType_SCAN_TYPE_DNS, CompleteAt: at(5), Observations: []*modelv1.Observation{
		{Key: "dns", LastSeen: at(5), Fact: &modelv1.Observation_Dns{Dns: &modelv1.DnsFact{Rcode: "NXDOMAIN"}}},
	}}
	for _, c := range []struct {
		name   string
		intel  Intel
		set    *modelv1.ObservationSet
		closes bool
	}{
		{"still there", sshIntel("2"), sshSet(5, "9.2p1"), false},
		{"updated", sshIntel("2"), sshSet(5, "9.8p1"), true},
		{"withdrawn", sshIntel("2", withdrawn), sshSet(0, "9.2p1"), true},
		{"the product's record is gone", newMapIntel("2", nil, nil), sshSet(0, "9.2p1"), true},
		{"no snapshot", nil, sshSet(5, "9.8p1"), false},
		{"no snapshot and no service", nil, closedPort, false},
		{"the version is not told any more", sshIntel("2"), sshSet(5, ""), false},
		{"the port is closed", sshIntel("2"), closedPort, true},
		{"the port was not reached", sshIntel("2"), partial, false},
		{"the name is gone", sshIntel("2"), gone, true},
	} {
		before := judgedWith(t, nil, 1, sshIntel("1"), sshSet(0, "9.2p1")).Findings
		f := findingOf(judgedWith(t, before, 6, c.intel, c.set), "cve-severe")
		if got := f.GetState() == correlatorv1.Finding_STATE_RESOLVED; got != c.closes {
			t.Errorf("%s: state %v, not re-tested %v", c.name, f.GetState(), f.GetNotRetested())
		}
		if c.name != "still there" && !c.closes && !f.GetNotRetested() {
			t.Errorf("%s: it passes for tested", c.name)
		}
	}
}

// TestWithoutIntel: nothing is concluded, and what the asset runs is known all the same, for when there is some.
func TestWithoutIntel(t *testing.T) {
	out := judgedWith(t, nil, 1, nil, sshSet(0, "9.2p1"))
	for _, f := range out.Findings {
		if f.GetProduct() != "" {
			t.Errorf("%v", f)
		}
	}
	if !slices.Equal(out.Keys, []string{"fact:service", "openbsd:openssh"}) {
		t.Errorf("keys %v", out.Keys)
	}
}

// TestVerified: only a test that matched at the same place makes a match verified.
func TestVerified(t *testing.T) {
	tested := func(location string, verified bool) *modelv1.ObservationSet {
		return &modelv1.ObservationSet{Location: location, ScanType: modelv1.ScanType_SCAN_TYPE_VULN, Observations: []*modelv1.Observation{{
			Key: "vuln", Location: location, ScanType: modelv1.ScanType_SCAN_TYPE_VULN, FirstSeen: at(0), LastSeen: at(0),
			Fact: &modelv1.Observation_Vulnerability{Vulnerability: &modelv1.VulnerabilityFact{Engine: "nuclei", Rule: "regresshion", Cve: []string{"cve-2024-6387"}, Verified: verified}},
		}}}
	}
	for _, c := range []struct {
		set  *modelv1.ObservationSet
		want bool
	}{{tested(sshAt, true), true}, {tested(sshAt, false), false}, {tested("192.0.2.1:2222/tcp", true), false}} {
		f := findingOf(judgedWith(t, nil, 1, sshIntel("1"), sshSet(0, "9.2p1"), c.set), "cve-severe")
		m := f.GetMatches()[0]
		if m.GetVerified() != c.want || f.GetInferred() == c.want || (m.GetConfidence() == 1) != c.want || c.want && len(f.GetEvidence()) != 2 {
			t.Errorf("%v: %v", c.set, f)
		}
	}
}

// TestOnePlaceOneFinding: products and places have findings of their own; two sights of one product at one place have one.
func TestOnePlaceOneFinding(t *testing.T) {
	other := sshSet(0, "9.2p1")
	other.Location = "192.0.2.1:2222/tcp"
	other.GetObservations()[0].Location = other.GetLocation()
	web := &modelv1.ObservationSet{ScanType: modelv1.ScanType_SCAN_TYPE_HTTP, Location: sshAt, Observations: []*modelv1.Observation{{
		Key: "http", Location: sshAt, ScanType: modelv1.ScanType_SCAN_TYPE_HTTP, FirstSeen: at(-5), LastSeen: at(0),
		Fact: &modelv1.Observation_Http{Http: &modelv1.HttpFact{Technologies: []*modelv1.Technology{{Name: "OpenSSH", Version: "9"}, {Name: "OpenSSH"}}}},
	}}}
	out := judgedWith(t, nil, 1, sshIntel("1"), sshSet(0, "9.2p1"), other, web)
	seen := map[string]int{}
	for _, f := range out.Findings {
		if f.GetCheck() == "cve-severe" {
			seen[f.GetLocation()] = len(f.GetEvidence())
			if f.GetMatches()[0].GetVersion() != "9.2p1" {
				t.Errorf("%v", f)
			}
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint(map[string]int{sshAt: 2, other.GetLocation(): 1}) {
		t.Errorf("%v", seen)
	}
}

// TestVulnerabilityFixedPoint: a newer snapshot that says the same changes nothing, so nothing is written.
func TestVulnerabilityFixedPoint(t *testing.T) {
	first := judgedWith(t, nil, 1, sshIntel("1"), sshSet(0, "9.2p1"))
	again := judgedWith(t, first.Findings, 1, sshIntel("2"), sshSet(0, "9.2p1"))
	for i, f := range again.Findings {
		if f.String() != first.Findings[i].String() {
			t.Errorf("%v\n%v", f, first.Findings[i])
		}
	}
}

// TestSwitchedOff: findings of a check that the tenant switched off go, others stay.
func TestSwitchedOff(t *testing.T) {
	first := judgedWith(t, nil, 1, sshIntel("1"), sshSet(0, "9.2p1"))
	s := &Service{}
	off := s.join(t.Context(), catalogue(t), nil, []string{"cve-severe"})
	out, err := Evaluate(Input{Asset: host, Sets: []*modelv1.ObservationSet{sshSet(0, "9.2p1")}, Before: first.Findings, Catalogue: off, Intel: sshIntel("1"), Now: at(2).AsTime()})
	if err != nil || findingOf(out, "cve-severe") != nil || len(out.Findings) != len(first.Findings)-1 {
		t.Errorf("%v, %v", out.Findings, err)
	}
}
