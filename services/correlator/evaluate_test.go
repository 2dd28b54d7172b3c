package correlator

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func at(hours int) *timestamppb.Timestamp {
	return timestamppb.New(start.Add(time.Duration(hours) * time.Hour))
}

var host = &modelv1.Asset{Name: "assets/abcdefghij0123456789", Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: "192.0.2.1"}

const redisAt = "192.0.2.1:6379/tcp"

// redisSet is the service set of one port: open says whether an unprotected Redis was seen at the hour.
func redisSet(hour int, outcome modelv1.Outcome, open bool) *modelv1.ObservationSet {
	s := &modelv1.ObservationSet{Asset: host.GetName(), ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Location: redisAt, ScannedAt: at(hour), Outcome: outcome}
	if outcome == modelv1.Outcome_OUTCOME_COMPLETE {
		s.CompleteAt = at(hour)
	}
	if open {
		s.Observations = []*modelv1.Observation{{
			Key: "service", Asset: host.GetName(), ScanType: s.GetScanType(), Location: redisAt, FirstSeen: at(hour), LastSeen: at(hour), TraceId: "trace",
			Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{Port: 6379, Name: "redis", Unauthenticated: true}},
		}}
	}
	return s
}

func evaluated(t testing.TB, before []*correlatorv1.Finding, hour int, sets ...*modelv1.ObservationSet) Output {
	t.Helper()
	out, err := Evaluate(Input{Asset: host, Sets: sets, Before: before, Catalogue: catalogue(t), Now: at(hour).AsTime()})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func one(t *testing.T, out Output) *correlatorv1.Finding {
	t.Helper()
	i := slices.IndexFunc(out.Findings, func(f *correlatorv1.Finding) bool { return f.GetCheck() == "service-redis-unauthenticated" })
	if i < 0 {
		t.Fatalf("the finding is gone: %v", out.Findings)
	}
	return out.Findings[i]
}

// heldBy are the findings that hold, by name.
func heldBy(in Input) (map[string]*correlatorv1.Finding, error) {
	v, err := newEvaluation(in)
	if err != nil {
		return nil, err
	}
	return v.held, v.hold()
}

const complete = modelv1.Outcome_OUTCOME_COMPLETE

func TestFirstSight(t *testing.T) {
	out := evaluated(t, nil, 1, redisSet(0, complete, true))
	f := one(t, out)
	if f.GetState() != correlatorv1.Finding_STATE_OPEN || f.GetNotRetested() || f.GetLocation() != redisAt || f.GetTraceId() != "trace" || len(f.GetEvidence()) != 1 {
		t.Errorf("finding %v", f)
	}
	if !f.GetDueTime().AsTime().Equal(start.Add(3 * 24 * time.Hour)) {
		t.Errorf("due %v", f.GetDueTime().AsTime())
	}
	if len(out.Risks) != 1 || out.Risks[0].GetSeverity() != modelv1.Severity_SEVERITY_CRITICAL {
		t.Errorf("risks %v", out.Risks)
	}
}

// A finding closes only on complete coverage that is newer than its last sight.
func TestClosing(t *testing.T) {
	open := evaluated(t, nil, 1, redisSet(0, complete, true)).Findings
	elsewhere := redisSet(5, complete, false)
	elsewhere.Location = "192.0.2.1:6380/tcp"
	otherType := redisSet(5, complete, false)
	otherType.ScanType = modelv1.ScanType_SCAN_TYPE_TLS
	gone := &modelv1.ObservationSet{ScanType: modelv1.ScanType_SCAN_TYPE_DNS, CompleteAt: at(5), ScannedAt: at(5), Observations: []*modelv1.Observation{
		{Key: "dns", LastSeen: at(5), Fact: &modelv1.Observation_Dns{Dns: &modelv1.DnsFact{Rcode: "NXDOMAIN"}}},
	}}
	cases := []struct {
		name     string
		sets     []*modelv1.ObservationSet
		resolved bool
	}{
		{"complete and newer", []*modelv1.ObservationSet{redisSet(5, complete, false)}, true},
		{"complete and not newer", []*modelv1.ObservationSet{redisSet(0, complete, false)}, false},
		{"partial", []*modelv1.ObservationSet{redisSet(5, modelv1.Outcome_OUTCOME_PARTIAL, false)}, false},
		{"failed", []*modelv1.ObservationSet{redisSet(5, modelv1.Outcome_OUTCOME_FAILED, false)}, false},
		{"source unavailable", []*modelv1.ObservationSet{redisSet(5, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, false)}, false},
		{"nothing known", nil, false},
		{"another place", []*modelv1.ObservationSet{elsewhere}, false},
		{"another scan type", []*modelv1.ObservationSet{otherType}, false},
		{"the name is gone", []*modelv1.ObservationSet{gone}, true},
	}
	for _, c := range cases {
		f := one(t, evaluated(t, open, 6, c.sets...))
		if got := f.GetState() == correlatorv1.Finding_STATE_RESOLVED; got != c.resolved || f.GetNotRetested() == c.resolved {
			t.Errorf("%s: state %v, not re-tested %v", c.name, f.GetState(), f.GetNotRetested())
		}
	}
}

func TestReopeningKeepsIdentity(t *testing.T) {
	first := evaluated(t, nil, 1, redisSet(0, complete, true)).Findings
	one(t, Output{Findings: first}).Triage = &correlatorv1.Triage{Subject: "key:a", Reason: "known"}
	resolved := evaluated(t, first, 6, redisSet(5, complete, false)).Findings
	again := one(t, evaluated(t, resolved, 11, redisSet(10, complete, true)))
	was := one(t, Output{Findings: first})
	if again.GetState() != correlatorv1.Finding_STATE_OPEN || again.GetReopenCount() != 1 || again.GetName() != was.GetName() ||
		!proto.Equal(again.GetFirstSeen(), was.GetFirstSeen()) || !proto.Equal(again.GetTriage(), was.GetTriage()) || !proto.Equal(again.GetDueTime(), was.GetDueTime()) {
		t.Errorf("reopened %v\nfirst %v", again, was)
	}
}

func TestTriage(t *testing.T) {
	triaged := func(state correlatorv1.Finding_State, end *timestamppb.Timestamp) []*correlatorv1.Finding {
		list := evaluated(t, nil, 1, redisSet(0, complete, true)).Findings
		f := one(t, Output{Findings: list})
		f.State, f.Triage = state, &correlatorv1.Triage{Subject: "key:a", ExpireTime: end}
		return list
	}
	cases := []struct {
		name   string
		before []*correlatorv1.Finding
		want   correlatorv1.Finding_State
	}{
		{"an acceptance holds", triaged(correlatorv1.Finding_STATE_ACCEPTED, at(100)), correlatorv1.Finding_STATE_ACCEPTED},
		{"an acceptance ends", triaged(correlatorv1.Finding_STATE_ACCEPTED, at(4)), correlatorv1.Finding_STATE_OPEN},
		{"a false positive stays", triaged(correlatorv1.Finding_STATE_FALSE_POSITIVE, nil), correlatorv1.Finding_STATE_FALSE_POSITIVE},
	}
	for _, c := range cases {
		out := evaluated(t, c.before, 6, redisSet(5, complete, true))
		if got := one(t, out).GetState(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if open := out.Risks[0].GetState() == correlatorv1.Risk_STATE_OPEN; open != (c.want == correlatorv1.Finding_STATE_OPEN) {
			t.Errorf("%s: risk %v", c.name, out.Risks[0].GetState())
		}
	}
}

// A check that left the catalogue closes nothing.
func TestRemovedCheck(t *testing.T) {
	open := evaluated(t, nil, 1, redisSet(0, complete, true)).Findings
	empty := newCatalogue()
	out, err := Evaluate(Input{Asset: host, Sets: []*modelv1.ObservationSet{redisSet(5, complete, false)}, Before: open, Catalogue: empty, Now: at(6).AsTime()})
	if err != nil || one(t, out).GetState() != correlatorv1.Finding_STATE_OPEN || !one(t, out).GetNotRetested() {
		t.Errorf("%v %v", out.Findings, err)
	}
}

// Evaluating again changes nothing, whatever the order of what comes in: a repeated or late message cannot make it wrong.
func TestEvaluateIsAFixedPoint(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var sets []*modelv1.ObservationSet
		for i := range rapid.IntRange(0, 6).Draw(rt, "sets") {
			s := redisSet(rapid.IntRange(0, 9).Draw(rt, "hour"), modelv1.Outcome(rapid.IntRange(1, 3).Draw(rt, "outcome")), rapid.Bool().Draw(rt, "open"))
			s.Location = "192.0.2.1:" + string(rune('1'+i)) + "/tcp"
			for _, o := range s.GetObservations() {
				o.Location = s.GetLocation()
			}
			sets = append(sets, s)
		}
		first := evaluated(t, nil, 10, sets...)
		if diff := cmp.Diff(first, evaluated(t, first.Findings, 10, sets...), protocmp.Transform()); diff != "" {
			rt.Fatalf("a second evaluation changes it: %s", diff)
		}
		slices.Reverse(sets)
		if diff := cmp.Diff(first, evaluated(t, nil, 10, sets...), protocmp.Transform()); diff != "" {
			rt.Fatalf("the order of sets changes it: %s", diff)
		}
	})
}

// The terms of a score are shown and add up to it, between 0 and 100, and severity comes before everything else.
func TestScore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		asset := &modelv1.Asset{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com", Criticality: int32(rapid.IntRange(0, 5).Draw(rt, "criticality"))}
		var open []*correlatorv1.Finding
		for range rapid.IntRange(1, 40).Draw(rt, "findings") {
			open = append(open, &correlatorv1.Finding{Severity: modelv1.Severity(rapid.IntRange(1, 5).Draw(rt, "severity")), Inferred: rapid.Bool().Draw(rt, "inferred")})
		}
		slices.SortFunc(open, compareFindings)
		sum := 0.0
		for _, term := range terms(asset, nil, open) {
			if term.GetReason() == "" {
				rt.Errorf("term %s has no reason", term.GetName())
			}
			sum += term.GetPoints()
		}
		if sum < -1e-9 || sum > 100+1e-9 || math.IsNaN(sum) {
			rt.Errorf("score %v", sum)
		}
	})
}

func TestOlderThan(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"7.2p2", "8.0", true}, {"7.9p1", "8.0", true}, {"8.0", "8.0", false}, {"8.0p1", "8.0", false}, {"10.0", "8.0", false}, {"8", "8.0", false},
		{"", "8.0", false}, {"unknown", "8.0", false}, {"99999999999999999999.1", "8.0", false},
	} {
		if got := olderThan(c.a, c.b); got != c.want {
			t.Errorf("olderThan(%q, %q) = %v", c.a, c.b, got)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	set := redisSet(0, complete, true)
	for i := range 49 {
		o := proto.CloneOf(set.GetObservations()[0])
		o.Key, o.GetService().Unauthenticated = string(rune('a'+i)), false
		set.Observations = append(set.Observations, o)
	}
	c := catalogue(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Evaluate(Input{Asset: host, Sets: []*modelv1.ObservationSet{set}, Catalogue: c, Now: start}); err != nil {
			b.Fatal(err)
		}
	}
}
