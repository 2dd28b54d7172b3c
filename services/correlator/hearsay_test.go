package correlator

import (
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const opensshCPE = "cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*"

// intelSet is what search engines said at the hour.
func intelSet(hour int, outcome modelv1.Outcome, said ...*modelv1.IntelFact) *modelv1.ObservationSet {
	var list []*modelv1.Observation
	for _, f := range said {
		list = append(list, &modelv1.Observation{Key: "intel/" + f.GetProvider(), Fact: &modelv1.Observation_Intel{Intel: f}})
	}
	return seen(modelv1.ScanType_SCAN_TYPE_INTEL, "", hour, outcome, list...)
}

// shodanSaw is Shodan's sight of OpenSSH at port 22.
func shodanSaw(hour int) *modelv1.IntelFact {
	return &modelv1.IntelFact{Provider: "shodan", ObservedAt: at(hour), Services: []*modelv1.IntelService{
		{Port: 22, Transport: "tcp", Product: "OpenSSH", Version: "9.2p1", Cpe: []string{opensshCPE}, Seen: at(hour)},
	}}
}

func cveFindings(out Output) (list []*correlatorv1.Finding) {
	for _, f := range out.Findings {
		if strings.HasPrefix(f.GetCheck(), "cve-") {
			list = append(list, f)
		}
	}
	return list
}

// What a search engine saw is matched, with doubt, and said so.
func TestHearsayIsInferred(t *testing.T) {
	intel := sshIntel("1")
	out := judgedWith(t, nil, 5, intel, intelSet(4, complete, shodanSaw(-50)))
	list := cveFindings(out)
	if len(list) != 1 || !list[0].GetInferred() || list[0].GetLocation() != sshAt || list[0].GetProduct() != "openbsd:openssh" {
		t.Fatalf("findings %v", list)
	}
	m := list[0].GetMatches()[0]
	if m.GetConfidence() != confidenceDoubt || !strings.Contains(m.GetReason(), "what shodan saw on 2026-10-29") {
		t.Errorf("match %v", m)
	}
	if got := out.Keys; !contains(got, "openbsd:openssh") {
		t.Errorf("the asset would not be found when knowledge about the product changes: %v", got)
	}
	own := cveFindings(judgedWith(t, nil, 5, intel, sshSet(4, "9.2p1")))
	if len(own) != 1 || own[0].GetName() != list[0].GetName() || own[0].GetMatches()[0].GetConfidence() != confidenceVersion {
		t.Errorf("our own sight: %v", own)
	}
}

func contains(list []string, want string) bool {
	for _, x := range list {
		if x == want {
			return true
		}
	}
	return false
}

// Our own sight counts before what we are told, and one product is told once.
func TestHearsayGivesWay(t *testing.T) {
	list := &modelv1.IntelFact{Provider: "internetdb", ObservedAt: at(1), Cpe: []string{"cpe:/a:openbsd:openssh:9.0"}}
	stale := shodanSaw(-24 * 91)
	closed := openSet(4, complete, 443)
	elsewhere := sshSet(4, "9.9p1")
	elsewhere.Location, elsewhere.Observations[0].Location = "192.0.2.1:2222/tcp", "192.0.2.1:2222/tcp"
	for _, c := range []struct {
		name string
		sets []*modelv1.ObservationSet
		want []string // location and confidence of findings
	}{
		{"both saw it", []*modelv1.ObservationSet{intelSet(4, complete, shodanSaw(1)), sshSet(3, "9.2p1")}, []string{sshAt + " 9.2p1"}},
		{"we saw a version without the flaw", []*modelv1.ObservationSet{intelSet(4, complete, shodanSaw(1)), sshSet(3, "9.9p1")}, nil},
		{"we saw it at another port", []*modelv1.ObservationSet{intelSet(4, complete, shodanSaw(1)), elsewhere}, nil},
		{"we looked later and the port was closed", []*modelv1.ObservationSet{intelSet(4, complete, shodanSaw(1)), closed}, nil},
		{"we looked before", []*modelv1.ObservationSet{intelSet(6, complete, shodanSaw(5)), closed}, []string{sshAt + " 9.2p1"}},
		{"we looked later at the service", []*modelv1.ObservationSet{intelSet(4, complete, shodanSaw(1)), seen(modelv1.ScanType_SCAN_TYPE_SERVICE, sshAt, 3, complete)}, nil},
		{"too old", []*modelv1.ObservationSet{intelSet(4, complete, stale)}, nil},
		{"a list without ports", []*modelv1.ObservationSet{intelSet(4, complete, list)}, []string{" 9.0"}},
		{"a list beside a sight at a port", []*modelv1.ObservationSet{intelSet(4, complete, list, shodanSaw(1))}, []string{sshAt + " 9.2p1"}},
	} {
		var got []string
		for _, f := range cveFindings(judgedWith(t, nil, 7, sshIntel("1"), c.sets...)) {
			got = append(got, f.GetLocation()+" "+f.GetMatches()[0].GetVersion())
		}
		if diff := gocmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestHearsayCloses(t *testing.T) {
	before := judgedWith(t, nil, 5, sshIntel("1"), intelSet(4, complete, shodanSaw(1))).Findings
	for _, c := range []struct {
		name     string
		sets     []*modelv1.ObservationSet
		resolved bool
	}{
		{"it is not told any more", []*modelv1.ObservationSet{intelSet(8, complete)}, true},
		{"it could not be asked", []*modelv1.ObservationSet{intelSet(8, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE)}, false},
		{"our own scan found the port closed", []*modelv1.ObservationSet{intelSet(4, complete, shodanSaw(1)), openSet(8, complete, 443)}, true},
		{"a newer version is told", []*modelv1.ObservationSet{intelSet(8, complete, &modelv1.IntelFact{
			Provider: "shodan", Services: []*modelv1.IntelService{{Port: 22, Product: "OpenSSH", Version: "9.9p1", Seen: at(8)}},
		})}, true},
	} {
		out := judgedWith(t, before, 9, sshIntel("1"), c.sets...)
		if f := cveFindings(out)[0]; (f.GetState() == correlatorv1.Finding_STATE_RESOLVED) != c.resolved {
			t.Errorf("%s: %v, not re-tested %v", c.name, f.GetState(), f.GetNotRetested())
		}
	}
}

// The engine that a provider runs is matched by its version, once, with the provider's own mending in mind.
func TestManagedEngine(t *testing.T) {
	intel := newMapIntel("1", []*modelv1.ProductRecord{record("postgresql:postgresql", affected("CVE-2026-1", "generic", "16.0", "16.9", "cna"))},
		[]*modelv1.Advisory{{Id: "CVE-2026-1", Published: at(-1000), Cvss: []*modelv1.Cvss{{Version: "3.1", Score: 8.8, Source: "cna"}}}})
	engine := func(location, text string) *modelv1.ObservationSet {
		return seen(modelv1.ScanType_SCAN_TYPE_CLOUD, location, 1, complete, &modelv1.Observation{Fact: &modelv1.Observation_Cloud{Cloud: &modelv1.CloudFact{
			Provider: "aws", Type: "rds:instance", Id: "db", Settings: map[string]string{"engine": text},
		}}})
	}
	for text, want := range map[string]int{"postgres 16.3": 1, "postgres 16.9": 0, "postgres": 0, "aurora-postgresql 16.3": 0, "": 0} {
		list := cveFindings(judgedWith(t, nil, 5, intel, engine("", text)))
		if len(list) != want || want == 1 && !strings.Contains(list[0].GetMatches()[0].GetReason(), "aws runs it and may have mended it") {
			t.Errorf("%q: %v", text, list)
		}
	}
	snapshot := engine("", "postgres 16.3")
	snapshot.Observations[0].GetCloud().Settings["shared-with"] = "everybody"
	if list := cveFindings(judgedWith(t, nil, 5, intel, snapshot)); len(list) != 0 {
		t.Errorf("a copy does not run: %v", list)
	}
	if list := cveFindings(judgedWith(t, nil, 5, intel, engine("db", "postgres 16.3"))); len(list) != 0 {
		t.Errorf("under its name the engine is told again: %v", list)
	}
}

// The order in which others tell does not matter.
func TestHearsayDoesNotDependOnOrder(t *testing.T) {
	cpes := []string{"cpe:/a:openbsd:openssh:9.0", "cpe:/a:openbsd:openssh:9.1", opensshCPE, "cpe:/a:openbsd:openssh", "no cpe"}
	rapid.Check(t, func(rt *rapid.T) {
		var sets []*modelv1.ObservationSet
		for n := range rapid.IntRange(1, 4).Draw(rt, "engines") {
			f := &modelv1.IntelFact{Provider: rapid.SampledFrom([]string{"shodan", "internetdb"}).Draw(rt, "provider"), Cpe: rapid.SliceOfN(rapid.SampledFrom(cpes), 0, 3).Draw(rt, "cpe")}
			for range rapid.IntRange(0, 3).Draw(rt, "services") {
				f.Services = append(f.Services, &modelv1.IntelService{
					Port: rapid.SampledFrom([]uint32{22, 2222}).Draw(rt, "port"), Cpe: []string{rapid.SampledFrom(cpes).Draw(rt, "of")},
					Seen: timestamppb.New(start.Add(-maxHearsay).Add(at(rapid.IntRange(0, 3).Draw(rt, "seen")).AsTime().Sub(start))),
				})
			}
			s := intelSet(rapid.IntRange(1, 5).Draw(rt, "hour"), complete, f)
			s.Observations[0].Key += string(rune('a' + n))
			sets = append(sets, s)
		}
		first := judgedWith(t, nil, 1, sshIntel("1"), sets...)
		second := judgedWith(t, nil, 1, sshIntel("1"), rapid.Permutation(sets).Draw(rt, "order")...)
		if diff := gocmp.Diff(first, second, protocmp.Transform()); diff != "" {
			rt.Fatalf("the order changes it: %s", diff)
		}
	})
}
