package ingest

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// genTime draws from few times, so that equal ones are common, and from none at all.
func genTime() *rapid.Generator[*timestamppb.Timestamp] {
	return rapid.Custom(func(rt *rapid.T) *timestamppb.Timestamp {
		return timestamppb.New(time.Unix(1_700_000_000+int64(rapid.IntRange(0, 5).Draw(rt, "second")), 0))
	})
}

// genSet draws a state of one set, as one scan leaves it or as the merging of several does.
func genSet() *rapid.Generator[*modelv1.ObservationSet] {
	return rapid.Custom(func(rt *rapid.T) *modelv1.ObservationSet {
		s := &modelv1.ObservationSet{
			Asset: "assets/a", ScanType: modelv1.ScanType_SCAN_TYPE_HTTP, Location: "192.0.2.1:80/tcp",
			ScannedAt: genTime().Draw(rt, "scanned"), Assessment: rapid.SampledFrom([]string{"", "assessments/1", "assessments/2"}).Draw(rt, "assessment"),
			Outcome: rapid.SampledFrom([]modelv1.Outcome{
				modelv1.Outcome_OUTCOME_COMPLETE, modelv1.Outcome_OUTCOME_PARTIAL, modelv1.Outcome_OUTCOME_FAILED,
			}).Draw(rt, "outcome"),
		}
		if rapid.Bool().Draw(rt, "was complete") {
			s.CompleteAt = genTime().Draw(rt, "complete")
		}
		keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 4, rapid.ID).Draw(rt, "keys")
		for _, key := range keys {
			s.Observations = append(s.Observations, genObservation(key).Draw(rt, "observation "+key))
		}
		s.Observations = bounded(s.Observations)
		return s
	})
}

func genObservation(key string) *rapid.Generator[*modelv1.Observation] {
	return rapid.Custom(func(rt *rapid.T) *modelv1.Observation {
		first, last := genTime().Draw(rt, "first"), genTime().Draw(rt, "last")
		return &modelv1.Observation{
			Key: key, FirstSeen: earliest(first, last), LastSeen: latest(first, last),
			Fact: &modelv1.Observation_Http{Http: &modelv1.HttpFact{Status: rapid.Uint32Range(200, 202).Draw(rt, "status")}},
		}
	})
}

func sameSet(rt *rapid.T, what string, a, b *modelv1.ObservationSet) {
	if !proto.Equal(a, b) {
		rt.Fatalf("%s:\n%v\nand\n%v", what, a, b)
	}
}

// copied guards the inputs: merging must not change what it is given.
func merged(a, b *modelv1.ObservationSet) *modelv1.ObservationSet {
	return merge(proto.CloneOf(a), proto.CloneOf(b))
}

func TestMergeIsCommutative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := genSet().Draw(rt, "a"), genSet().Draw(rt, "b")
		sameSet(rt, "a with b and b with a differ", merged(a, b), merged(b, a))
	})
}

func TestMergeIsAssociative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b, c := genSet().Draw(rt, "a"), genSet().Draw(rt, "b"), genSet().Draw(rt, "c")
		sameSet(rt, "(a, b), c and a, (b, c) differ", merged(merged(a, b), c), merged(a, merged(b, c)))
	})
}

func TestMergeIsIdempotent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := genSet().Draw(rt, "a"), genSet().Draw(rt, "b")
		sameSet(rt, "a with itself is not a", merged(a, a), a)
		sameSet(rt, "a state merged in twice differs", merged(merged(a, b), b), merged(a, b))
		sameSet(rt, "nothing merged in differs", merged(a, nil), a)
		sameSet(rt, "merged into nothing differs", merged(nil, a), a)
	})
}

func TestMergeChangesNeitherInput(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := genSet().Draw(rt, "a"), genSet().Draw(rt, "b")
		wasA, wasB := proto.CloneOf(a), proto.CloneOf(b)
		merge(a, b)
		sameSet(rt, "a was changed", a, wasA)
		sameSet(rt, "b was changed", b, wasB)
	})
}

// What a set says after all results of its place, in whatever order they came and however often.
func TestMergeSaysWhatWasSeen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		states := rapid.SliceOfN(genSet(), 1, 6).Draw(rt, "states")
		var out *modelv1.ObservationSet
		for _, s := range rapid.Permutation(append(states, states...)).Draw(rt, "order") {
			out = merge(out, proto.CloneOf(s))
		}
		byKey := map[string]*modelv1.Observation{}
		for _, o := range out.GetObservations() {
			byKey[o.GetKey()] = o
		}
		for _, s := range states {
			if out.GetScannedAt().AsTime().Before(s.GetScannedAt().AsTime()) || completeAt(out).Before(completeAt(s)) {
				rt.Fatalf("a time of the set is before one that was merged in: %v, %v", out, s)
			}
			for _, o := range s.GetObservations() {
				m := byKey[o.GetKey()]
				if m == nil || m.GetFirstSeen().AsTime().After(o.GetFirstSeen().AsTime()) || m.GetLastSeen().AsTime().Before(o.GetLastSeen().AsTime()) {
					rt.Fatalf("the observation\n%v\nbecame\n%v", o, m)
				}
			}
		}
	})
}

// observed is a result of a complete scan that saw facts with these keys at one location.
func observed(second int64, location string, keys ...string) *modelv1.ScanCompleted {
	r := &modelv1.ScanCompleted{
		Job:     &modelv1.ScanJob{ScanType: modelv1.ScanType_SCAN_TYPE_PORT, Assessment: "assessments/1"},
		Outcome: modelv1.Outcome_OUTCOME_COMPLETE, StartedAt: timestamppb.New(time.Unix(second, 0)),
	}
	for _, key := range keys {
		r.Observations = append(r.Observations, &modelv1.Observation{Key: key, Location: location})
	}
	return r
}

// A set stays one small item: what was seen last stays.
func TestSetsAreBounded(t *testing.T) {
	var old, young []string
	for i := range maxObservations {
		old = append(old, fmt.Sprintf("old-%04d", i))
	}
	for i := range 40 {
		young = append(young, fmt.Sprintf("young-%04d", i))
	}
	before, after := setsOf(observed(100, "", old...), "assets/a", "")[0], setsOf(observed(200, "", young...), "assets/a", "")[0]
	for name, out := range map[string]*modelv1.ObservationSet{"in order": merged(before, after), "reordered": merged(after, before)} {
		if n := len(out.GetObservations()); n != maxObservations {
			t.Errorf("%s: %d observations, want %d", name, n, maxObservations)
		}
		if n := len(present(out)); n != len(young) {
			t.Errorf("%s: %d present observations, want %d", name, n, len(young))
		}
	}
	flood := make([]string, 3*maxObservations)
	for i := range flood {
		flood[i] = fmt.Sprintf("%06d", i)
	}
	if out := setsOf(observed(100, "", flood...), "assets/a", "")[0]; len(out.GetObservations()) != maxObservations {
		t.Errorf("one result makes a set of %d observations, want %d", len(out.GetObservations()), maxObservations)
	}
}

// A scan that names a fact twice says it once: else the same result merged in twice would change the set.
func TestRepeatedFactIsOneFact(t *testing.T) {
	once := setsOf(observed(100, "", "a", "a", "b"), "assets/a", "")[0]
	if n := len(once.GetObservations()); n != 2 {
		t.Errorf("%d observations, want 2", n)
	}
	if twice := merged(once, once); !proto.Equal(once, twice) {
		t.Errorf("merged in twice: %v, once: %v", twice, once)
	}
}

// Where a scan looked is a set, also if it saw nothing there: that is what closes a finding.
func TestPlacing(t *testing.T) {
	sets := setsOf(observed(100, "192.0.2.1:443/tcp", "a"), "assets/a", "192.0.2.1:80/tcp")
	if len(sets) != 2 {
		t.Fatalf("%d sets, want 2: %v", len(sets), sets)
	}
	if s := sets[0]; s.GetLocation() != "192.0.2.1:443/tcp" || len(s.GetObservations()) != 1 {
		t.Errorf("the place of the fact: %v", s)
	}
	if s := sets[1]; s.GetLocation() != "192.0.2.1:80/tcp" || len(s.GetObservations()) != 0 || s.GetCompleteAt() == nil {
		t.Errorf("the place without a fact: %v", s)
	}
	failed := observed(100, "", "a")
	failed.Outcome = modelv1.Outcome_OUTCOME_PARTIAL
	if s := setsOf(failed, "assets/a", "")[0]; s.GetCompleteAt() != nil {
		t.Errorf("a partial scan proves absence: %v", s)
	}
	for want, target := range map[string]*modelv1.Target{
		"":                    {Value: "192.0.2.1"},
		"192.0.2.1:80/tcp":    {Value: "192.0.2.1", Address: "192.0.2.1", Port: 80},
		"www.test:443/tcp":    {Value: "www.test", Host: "www.test", Address: "192.0.2.1", Port: 443},
		"[2001:db8::1]:1/tcp": {Value: "2001:db8::1", Port: 1},
	} {
		if got := location(target); got != want {
			t.Errorf("location of %v is %q, want %q", target, got, want)
		}
	}
}
