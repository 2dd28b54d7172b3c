package correlator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const telnetAt = "192.0.2.1:23/tcp"

// telnet is a service fact about the port, of a report or of a scan of our own.
func telnet(t modelv1.ScanType, hour int) *modelv1.Observation {
	return &modelv1.Observation{
		Key: "service", Asset: host.GetName(), ScanType: t, Location: telnetAt, FirstSeen: at(hour), LastSeen: at(hour),
		Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{Address: "192.0.2.1", Port: 23, Name: "telnet"}},
	}
}

// importedTelnet is what a report of nmap says that was made at an hour.
func importedTelnet(hour int) *modelv1.ObservationSet {
	return &modelv1.ObservationSet{
		Asset: host.GetName(), ScanType: modelv1.ScanType_SCAN_TYPE_IMPORT, Location: telnetAt, ScannedAt: at(hour), Outcome: modelv1.Outcome_OUTCOME_PARTIAL,
		Observations: []*modelv1.Observation{telnet(modelv1.ScanType_SCAN_TYPE_IMPORT, hour)},
	}
}

// portSet is a look at ports, of a report or of a complete scan of our own.
func portSet(t modelv1.ScanType, hour int, covered string, open ...uint32) *modelv1.ObservationSet {
	s := &modelv1.ObservationSet{Asset: host.GetName(), ScanType: t, ScannedAt: at(hour), Outcome: modelv1.Outcome_OUTCOME_PARTIAL}
	if t == modelv1.ScanType_SCAN_TYPE_PORT {
		s.Outcome, s.CompleteAt = complete, at(hour)
	}
	s.Observations = []*modelv1.Observation{{
		Key: "ports/tcp", Asset: host.GetName(), ScanType: t, FirstSeen: at(hour), LastSeen: at(hour),
		Fact: &modelv1.Observation_Ports{Ports: &modelv1.PortsFact{Address: "192.0.2.1", Transport: modelv1.Transport_TRANSPORT_TCP, Ports: covered, Open: open}},
	}}
	return s
}

// TestNewerScanOverrulesReport: what closes a finding that only a report proves, and what does not.
func TestNewerScanOverrulesReport(t *testing.T) {
	ours, theirs := modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_IMPORT
	edit := func(s *modelv1.ObservationSet, f func(*modelv1.ObservationSet)) *modelv1.ObservationSet {
		f(s)
		return s
	}
	service := &modelv1.ObservationSet{ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Location: telnetAt, ScannedAt: at(5), CompleteAt: at(5), Outcome: complete}
	for _, c := range []struct {
		name   string
		set    *modelv1.ObservationSet
		closes bool
	}{
		{"our scan, newer, closed", portSet(ours, 5, "top100", 22), true},
		{"our scan, newer, open", portSet(ours, 5, "top100", 22, 23), false},
		{"our scan, newer, did not cover it", portSet(ours, 5, "22,24-100", 22), false},
		{"our scan, older", portSet(ours, 0, "top100", 22), false},
		{"our scan, partial", edit(portSet(ours, 5, "top100", 22), func(s *modelv1.ObservationSet) { s.CompleteAt = nil }), false},
		{"our scan, complete once and partial now", edit(portSet(ours, 5, "top100", 22), func(s *modelv1.ObservationSet) { s.CompleteAt = at(6) }), false},
		{"our scan had to slow down", edit(portSet(ours, 5, "top100"), func(s *modelv1.ObservationSet) { s.Observations[0].GetPorts().Slowdowns = 1 }), false},
		{"every port answers", edit(portSet(ours, 5, "top100"), func(s *modelv1.ObservationSet) { s.Observations[0].GetPorts().AllOpen = true }), false},
		{"over UDP", edit(portSet(ours, 5, "top100"), func(s *modelv1.ObservationSet) {
			s.Observations[0].GetPorts().Transport = modelv1.Transport_TRANSPORT_UDP
		}), false},
		{"unreadable list", portSet(ours, 5, "all of them"), false},
		{"newer report that names it closed", portSet(theirs, 5, "22-25", 22), true},
		{"newer report that does not name it", portSet(theirs, 5, "", 22), false},
		{"our service scan saw nothing", service, true},
	} {
		before := judgedWith(t, nil, 3, nil, importedTelnet(2)).Findings
		f := findingOf(Output{Findings: before}, "service-telnet-exposed")
		if f.GetState() != correlatorv1.Finding_STATE_OPEN || f.GetNotRetested() {
			t.Fatalf("%s: %v", c.name, f)
		}
		untouched := proto.CloneOf(c.set)
		f = findingOf(judgedWith(t, before, 9, nil, importedTelnet(2), c.set), "service-telnet-exposed")
		if got := f.GetState() == correlatorv1.Finding_STATE_RESOLVED; got != c.closes || got && !f.GetResolvedTime().AsTime().Equal(at(5).AsTime()) {
			t.Errorf("%s: %v at %v", c.name, f.GetState(), f.GetResolvedTime().AsTime())
		}
		if !proto.Equal(untouched, c.set) {
			t.Errorf("%s: the facts were changed", c.name)
		}
		// A report that is newer again opens it again, as the same finding.
		again := findingOf(judgedWith(t, []*correlatorv1.Finding{f}, 12, nil, importedTelnet(11), c.set), "service-telnet-exposed")
		if again.GetState() != correlatorv1.Finding_STATE_OPEN || c.closes && again.GetReopenCount() != 1 {
			t.Errorf("%s: reopened %v", c.name, again)
		}
	}
}

// The imported list of open ports loses those that were seen closed later, and only those.
func TestImportedPortsLoseWhatIsShut(t *testing.T) {
	imported := portSet(modelv1.ScanType_SCAN_TYPE_IMPORT, 2, "", 22, 23, 9999)
	got, _ := effective([]*modelv1.ObservationSet{imported, portSet(modelv1.ScanType_SCAN_TYPE_PORT, 5, "top100", 22)})
	if open := got[0].GetObservations()[0].GetPorts().GetOpen(); !slices.Equal(open, []uint32{22, 9999}) {
		t.Errorf("open %v", open)
	}
	got, _ = effective([]*modelv1.ObservationSet{imported, portSet(modelv1.ScanType_SCAN_TYPE_PORT, 1, "top100", 22)})
	if open := got[0].GetObservations()[0].GetPorts().GetOpen(); !slices.Equal(open, []uint32{22, 23, 9999}) {
		t.Errorf("after an older scan open %v", open)
	}
}

// A version that a newer report tells counts before an older one of our own, and the other way around.
func TestNewestVersionCounts(t *testing.T) {
	reported := func(hour int, v string) *modelv1.ObservationSet {
		s := sshSet(hour, v)
		s.ScanType, s.CompleteAt = modelv1.ScanType_SCAN_TYPE_IMPORT, nil
		s.Observations[0].ScanType = s.GetScanType()
		return s
	}
	for _, c := range []struct {
		ours, theirs *modelv1.ObservationSet
		open         bool
	}{
		{sshSet(1, "9.2p1"), reported(2, "9.8p1"), false},
		{sshSet(1, "9.8p1"), reported(2, "9.2p1"), true},
		{sshSet(2, "9.2p1"), reported(1, "9.8p1"), true},
		{sshSet(2, "9.8p1"), reported(1, "9.2p1"), false},
		{sshSet(1, "9.2p1"), reported(2, ""), true},
	} {
		for _, sets := range [][]*modelv1.ObservationSet{{c.ours, c.theirs}, {c.theirs, c.ours}} {
			f := findingOf(judgedWith(t, nil, 5, sshIntel("1"), sets...), "cve-severe")
			if (f.GetState() == correlatorv1.Finding_STATE_OPEN) != c.open {
				t.Errorf("ours %v, theirs %v: %v", c.ours, c.theirs, f)
			}
		}
	}
}

// TestNewestStatementDecides: of any reports and scans of our own, in any order, the newest that says something about the port decides
// whether it counts as open.
func TestNewestStatementDecides(t *testing.T) {
	ours, theirs := modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_IMPORT
	rapid.Check(t, func(rt *rapid.T) {
		var sets []*modelv1.ObservationSet
		opened, shut := -1, -1
		hours := rapid.Permutation([]int{1, 2, 3, 4, 5, 6}).Draw(rt, "hours")
		say := func(hour int, open, covers bool) {
			if open {
				opened = max(opened, hour)
			} else if covers {
				shut = max(shut, hour)
			}
		}
		// The store keeps of each kind of fact the newest: one service fact and one list of ports of reports, one list of our own.
		if rapid.Bool().Draw(rt, "reported service") {
			sets = append(sets, importedTelnet(hours[0]))
			say(hours[0], true, true)
		}
		for i, t := range []modelv1.ScanType{theirs, ours} {
			if !rapid.Bool().Draw(rt, fmt.Sprint("ports ", i)) {
				continue
			}
			covers, open := rapid.Bool().Draw(rt, "covers"), []uint32{}
			if covers && rapid.Bool().Draw(rt, "open") {
				open = append(open, 23)
			}
			sets = append(sets, portSet(t, hours[1+i], map[bool]string{true: "20-30", false: "80"}[covers], open...))
			if len(open) == 0 && covers {
				say(hours[1+i], false, true)
			}
		}
		want := opened >= 0 && opened > shut
		var first []string
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		for range 3 {
			random.Shuffle(len(sets), func(i, j int) { sets[i], sets[j] = sets[j], sets[i] })
			out, err := Evaluate(Input{Asset: host, Sets: sets, Catalogue: catalogue(t), Now: at(10).AsTime()})
			if err != nil {
				rt.Fatal(err)
			}
			got := openOnes(out)
			if slices.Contains(got, "service-telnet-exposed "+telnetAt) != want {
				rt.Fatalf("open %v, want %v: %v", got, want, sets)
			}
			if first == nil {
				first = append(got, "")
			} else if !slices.Equal(append(got, ""), first) {
				rt.Fatalf("the order matters: %v and %v", got, first)
			}
		}
	})
}
