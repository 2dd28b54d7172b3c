package ingest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// maxObservations bounds one set, so that it stays one small item: what was seen last wins over what is long gone.
const maxObservations = 500

// setsOf groups a result's observations into sets, one for each location, and adds an empty set where the scan looked and
// saw nothing: absence on complete coverage is what closes a finding.
func setsOf(r *modelv1.ScanCompleted, asset, location string) []*modelv1.ObservationSet {
	byLocation := map[string]*modelv1.ObservationSet{}
	add := func(location string) *modelv1.ObservationSet {
		s := byLocation[location]
		if s == nil {
			s = &modelv1.ObservationSet{
				Asset: asset, ScanType: r.GetJob().GetScanType(), Location: location,
				ScannedAt: r.GetStartedAt(), Outcome: r.GetOutcome(), Assessment: r.GetJob().GetAssessment(),
			}
			if r.GetOutcome() == modelv1.Outcome_OUTCOME_COMPLETE {
				s.CompleteAt = r.GetStartedAt()
			}
			byLocation[location] = s
		}
		return s
	}
	add(location)
	for _, o := range r.GetObservations() {
		o = proto.CloneOf(o)
		o.Asset, o.ScanType = asset, r.GetJob().GetScanType()
		// A scan saw what it saw when it began. A report says of each fact when its tool saw it.
		if r.GetJob().GetScanType() != modelv1.ScanType_SCAN_TYPE_IMPORT {
			o.FirstSeen, o.LastSeen = r.GetStartedAt(), r.GetStartedAt()
		}
		s := add(o.GetLocation())
		s.Observations = append(s.Observations, o)
	}
	sets := make([]*modelv1.ObservationSet, 0, len(byLocation))
	for _, s := range byLocation {
		s.Observations = joined(s.Observations)
		sets = append(sets, s)
	}
	slices.SortFunc(sets, func(a, b *modelv1.ObservationSet) int { return cmp.Compare(a.GetLocation(), b.GetLocation()) })
	return sets
}

// merge joins two states of one set. It is commutative, associative and idempotent, so results may come twice, late and in
// any order: of each observation the newest content stays, first_seen is the earliest and last_seen the latest time, and
// the set's times are the latest. Nothing is counted.
func merge(a, b *modelv1.ObservationSet) *modelv1.ObservationSet {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	newer := a
	if newerScan(b, a) {
		newer = b
	}
	out := &modelv1.ObservationSet{
		Asset: a.GetAsset(), ScanType: a.GetScanType(), Location: a.GetLocation(),
		CompleteAt: latest(a.GetCompleteAt(), b.GetCompleteAt()), ScannedAt: newer.GetScannedAt(),
		Outcome: newer.GetOutcome(), Assessment: newer.GetAssessment(),
	}
	out.Observations = joined(slices.Concat(a.GetObservations(), b.GetObservations()))
	return out
}

// joined makes one observation of each key, within the bound.
func joined(in []*modelv1.Observation) []*modelv1.Observation {
	byKey := make(map[string]*modelv1.Observation, len(in))
	for _, o := range in {
		byKey[o.GetKey()] = mergeObservation(byKey[o.GetKey()], o)
	}
	return bounded(slices.Collect(maps.Values(byKey)))
}

func mergeObservation(a, b *modelv1.Observation) *modelv1.Observation {
	if a == nil {
		return b
	}
	newer := a
	if c := a.GetLastSeen().AsTime().Compare(b.GetLastSeen().AsTime()); c < 0 || c == 0 && content(a) < content(b) {
		newer = b
	}
	out := proto.CloneOf(newer)
	out.FirstSeen = earliest(a.GetFirstSeen(), b.GetFirstSeen())
	out.LastSeen = latest(a.GetLastSeen(), b.GetLastSeen())
	return out
}

// content orders observations of the same instant, so that joining them does not depend on the order of arrival. Their times
// do not belong to it: joining changes those, and the order would change with them.
func content(o *modelv1.Observation) string {
	o = proto.CloneOf(o)
	o.FirstSeen, o.LastSeen = nil, nil
	raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(o) // only invalid UTF-8 fails, and an empty text orders too
	return string(raw)
}

// newerScan orders scans by time, those of one instant by outcome and assessment: any order will do if it is always the same.
func newerScan(a, b *modelv1.ObservationSet) bool {
	if c := a.GetScannedAt().AsTime().Compare(b.GetScannedAt().AsTime()); c != 0 {
		return c > 0
	}
	if a.GetOutcome() != b.GetOutcome() {
		return a.GetOutcome() < b.GetOutcome()
	}
	return a.GetAssessment() > b.GetAssessment()
}

// bounded sorts observations by key and keeps the maxObservations seen last.
func bounded(in []*modelv1.Observation) []*modelv1.Observation {
	byKey := func(a, b *modelv1.Observation) int { return strings.Compare(a.GetKey(), b.GetKey()) }
	if len(in) > maxObservations {
		slices.SortFunc(in, func(a, b *modelv1.Observation) int {
			if c := b.GetLastSeen().AsTime().Compare(a.GetLastSeen().AsTime()); c != 0 {
				return c
			}
			return byKey(a, b)
		})
		in = in[:maxObservations]
	}
	slices.SortFunc(in, byKey)
	return in
}

// present are the observations that the newest complete scan of the set still saw.
func present(s *modelv1.ObservationSet) []*modelv1.Observation {
	var out []*modelv1.Observation
	for _, o := range s.GetObservations() {
		if !o.GetLastSeen().AsTime().Before(completeAt(s)) {
			out = append(out, o)
		}
	}
	return out
}

func completeAt(s *modelv1.ObservationSet) time.Time {
	if s.GetCompleteAt() == nil {
		return time.Time{}
	}
	return s.GetCompleteAt().AsTime()
}

func latest(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if a == nil || b != nil && a.AsTime().Before(b.AsTime()) {
		return b
	}
	return a
}

func earliest(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if a == nil || b != nil && b.AsTime().Before(a.AsTime()) {
		return b
	}
	return a
}
