package correlator

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
)

// statement is what one complete look at the TCP ports of an asset says: what it covered and does not name was not open.
type statement struct {
	covered portlist.Set
	open    []uint32
	at      time.Time
}

// shut says whether the statement is newer than a sight and says that the port was not open any more.
func (s statement) shut(port uint16, seen time.Time) bool {
	return s.at.After(seen) && s.covered.Contains(port) && !slices.Contains(s.open, uint32(port))
}

// effective are sets without what imported reports say of ports and services and what something newer contradicts, and when it was
// contradicted, by location. A complete scan of our own and a report that names the port as closed overrule an older report; a scan that
// did not cover the port, was cut short or had to slow down says nothing. It depends on the times at which things were seen, never on
// when they were imported or in which order, and it changes no set that it was given.
func effective(sets []*modelv1.ObservationSet) ([]*modelv1.ObservationSet, map[string]*timestamppb.Timestamp) {
	if !slices.ContainsFunc(sets, isImport) {
		return sets, nil
	}
	statements := statementsIn(sets)
	overruled := map[string]*timestamppb.Timestamp{}
	out := slices.Clone(sets)
	for i, set := range sets {
		if !isImport(set) {
			continue
		}
		kept := proto.CloneOf(set)
		kept.Observations = nil
		for _, o := range set.GetObservations() {
			switch {
			case o.GetPorts() != nil:
				kept.Observations = append(kept.Observations, stillOpen(o, statements))
			case o.GetService() != nil:
				if at := overrules(o, sets, statements); at.IsZero() {
					kept.Observations = append(kept.Observations, o)
				} else if at.After(overruled[o.GetLocation()].AsTime()) {
					overruled[o.GetLocation()] = timestamppb.New(at)
				}
			default:
				kept.Observations = append(kept.Observations, o)
			}
		}
		out[i] = kept
	}
	return out, overruled
}

func isImport(set *modelv1.ObservationSet) bool {
	return set.GetScanType() == modelv1.ScanType_SCAN_TYPE_IMPORT
}

// statementsIn are the complete looks at TCP ports.
func statementsIn(sets []*modelv1.ObservationSet) []statement {
	var out []statement
	for _, set := range sets {
		if !isImport(set) && set.GetScanType() != modelv1.ScanType_SCAN_TYPE_PORT {
			continue
		}
		for _, o := range set.GetObservations() {
			f := o.GetPorts()
			whole := isImport(set) || set.GetCompleteAt() != nil && !o.GetLastSeen().AsTime().Before(set.GetCompleteAt().AsTime())
			if f == nil || !whole || f.GetTransport() == modelv1.Transport_TRANSPORT_UDP || f.GetAllOpen() || f.GetSlowdowns() > 0 || f.GetPorts() == "" {
				continue
			}
			if covered, err := portlist.Parse(f.GetPorts()); err == nil {
				out = append(out, statement{covered, f.GetOpen(), o.GetLastSeen().AsTime()})
			}
		}
	}
	return out
}

// stillOpen is an imported fact about TCP ports without those that were seen closed later.
func stillOpen(o *modelv1.Observation, statements []statement) *modelv1.Observation {
	if o.GetPorts().GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		return o
	}
	shut := func(port uint32) bool {
		return slices.ContainsFunc(statements, func(s statement) bool { return s.shut(uint16(port), o.GetLastSeen().AsTime()) })
	}
	if !slices.ContainsFunc(o.GetPorts().GetOpen(), shut) {
		return o
	}
	o = proto.CloneOf(o)
	o.GetPorts().Open = slices.DeleteFunc(o.GetPorts().GetOpen(), shut)
	return o
}

// overrules is when an imported service was last contradicted: by a complete service scan of our own of the same place, or by a look at
// the ports. Zero: it was not.
func overrules(o *modelv1.Observation, sets []*modelv1.ObservationSet, statements []statement) time.Time {
	var at time.Time
	newer := func(t time.Time) {
		if t.After(o.GetLastSeen().AsTime()) && t.After(at) {
			at = t
		}
	}
	for _, set := range sets {
		if set.GetScanType() == modelv1.ScanType_SCAN_TYPE_SERVICE && set.GetLocation() == o.GetLocation() && set.GetCompleteAt() != nil {
			newer(set.GetCompleteAt().AsTime())
		}
	}
	port, tcp := portAt(o.GetLocation())
	for _, s := range statements {
		if tcp && s.shut(port, o.GetLastSeen().AsTime()) {
			newer(s.at)
		}
	}
	return at
}

// portAt is the port of a location, and whether it is one over TCP.
func portAt(location string) (uint16, bool) {
	place, tcp := strings.CutSuffix(location, "/tcp")
	_, text, err := net.SplitHostPort(place)
	if !tcp || err != nil {
		return 0, false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err == nil
}

// atPort says whether a location is a port, and not a file, a resource or the asset as a whole.
func atPort(location string) bool {
	return strings.HasSuffix(location, "/tcp") || strings.HasSuffix(location, "/udp")
}
