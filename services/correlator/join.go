package correlator

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
)

// othersName is the name under which conditions read what else is known about the asset.
const othersName = "others"

// Bounds of OtherFacts. The first is that of a list that a tenant's own check goes over with what it may cost; a host on which more
// answers is one that answers everywhere.
const (
	maxOpenPorts  = 256
	maxReach      = 64
	maxOtherCloud = 16
)

// otherScans are the scan types that the fields of OtherFacts come from.
var otherScans = map[string][]modelv1.ScanType{
	"open_ports": {modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_SERVICE},
	"reach":      {modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_SERVICE},
	"ports_at":   {modelv1.ScanType_SCAN_TYPE_PORT},
	"cloud":      {modelv1.ScanType_SCAN_TYPE_CLOUD},
}

// joinedScans are the scan types that an expression reads through `others`, sorted.
func joinedScans(e ast.Expr) []modelv1.ScanType {
	var out []modelv1.ScanType
	named := 0
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind && e.AsIdent() == othersName {
			named++
		}
		if e.Kind() != ast.SelectKind {
			return
		}
		if of := e.AsSelect().Operand(); of.Kind() == ast.IdentKind && of.AsIdent() == othersName {
			named--
			out = append(out, otherScans[e.AsSelect().FieldName()]...)
		}
	}))
	if named > 0 { // as a whole, not by a field
		for _, types := range otherScans {
			out = append(out, types...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// others is what is known about an asset beside one fact, computed when a condition first asks for it.
type others struct {
	sets []*modelv1.ObservationSet

	known bool
	open  []*correlatorv1.OpenPort
	// looked are the ports that complete scans looked at, over TCP, lowest first.
	looked  []uint16
	cloud   []*modelv1.CloudFact
	portsAt *timestamppb.Timestamp
	// rules say which cloud fact, by location, shows a rule.
	rules map[string]string
}

// about is what else is known about the asset that an observation is about.
func (x *others) about(o *modelv1.Observation) *correlatorv1.OtherFacts {
	x.learn()
	out := &correlatorv1.OtherFacts{OpenPorts: x.open, Cloud: x.cloud, PortsAt: x.portsAt}
	if f := o.GetCloud(); f != nil {
		out.Reach = x.reach(f, o.GetLocation())
	}
	return out
}

// learn reads all facts once. Nothing of what it makes depends on their order.
func (x *others) learn() {
	if x.known {
		return
	}
	x.known = true
	ports := map[portPlace]*correlatorv1.OpenPort{}
	located := map[string]*modelv1.CloudFact{}
	for _, set := range x.sets {
		if set.GetScanType() == modelv1.ScanType_SCAN_TYPE_IMPORT {
			continue // nobody knows where the tool stood: what it saw open need not be open to the internet
		}
		if set.GetScanType() == modelv1.ScanType_SCAN_TYPE_PORT && set.GetCompleteAt() != nil {
			x.portsAt = later(cmp.Or(x.portsAt, set.GetCompleteAt()), set.GetCompleteAt())
		}
		for _, o := range set.GetObservations() {
			switch f := o.GetFact().(type) {
			case *modelv1.Observation_Ports:
				openPorts(ports, f.Ports)
				x.lookedAt(f.Ports, set)
			case *modelv1.Observation_Service:
				openService(ports, f.Service)
			case *modelv1.Observation_Cloud:
				located[o.GetLocation()+"\x00"+o.GetKey()] = f.Cloud
			}
		}
	}
	x.open = sortedPorts(ports)
	x.learnCloud(located)
}

func (x *others) lookedAt(f *modelv1.PortsFact, set *modelv1.ObservationSet) {
	if set.GetCompleteAt() == nil || transportOf(f.GetTransport()) != modelv1.Transport_TRANSPORT_TCP {
		return
	}
	if asked, err := portlist.Parse(f.GetPorts()); err == nil && asked.Len() > len(x.looked) {
		x.looked = asked.Ports()
	}
}

// learnCloud keeps the cloud's facts in the order of their locations, and gives each of their rules to the first that has it.
func (x *others) learnCloud(located map[string]*modelv1.CloudFact) {
	x.rules = map[string]string{}
	places := make([]string, 0, len(located))
	for place := range located {
		places = append(places, place)
	}
	slices.Sort(places)
	for _, place := range places {
		f := located[place]
		if len(x.cloud) < maxOtherCloud {
			x.cloud = append(x.cloud, f)
		}
		location, _, _ := strings.Cut(place, "\x00")
		for _, r := range f.GetIngress() {
			if key := ruleKey(r); x.rules[key] == "" {
				x.rules[key] = location + "\x00"
			}
		}
	}
}

// reach is what answered behind the rules of one cloud fact.
func (x *others) reach(f *modelv1.CloudFact, location string) []*correlatorv1.Reach {
	var out []*correlatorv1.Reach
	for _, r := range f.GetIngress() {
		if len(out) >= maxReach {
			break
		}
		if x.rules[ruleKey(r)] != location+"\x00" {
			continue
		}
		behind := &correlatorv1.Reach{Rule: r}
		first, last := portsOf(r)
		for _, p := range x.open {
			if admitsPort(r, portPlace{p.GetTransport(), p.GetPort()}) {
				behind.Answering = append(behind.Answering, p)
			}
		}
		if admits(r, modelv1.Transport_TRANSPORT_TCP) && first <= last {
			from, _ := slices.BinarySearch(x.looked, uint16(first))
			to, exact := slices.BinarySearch(x.looked, uint16(last))
			behind.LookedAt = uint32(to - from + b2i(exact))
		}
		out = append(out, behind)
	}
	return out
}

// ruleKey tells rules apart: the same group guards many resources.
func ruleKey(r *modelv1.CloudIngress) string {
	first, last := portsOf(r)
	return fmt.Sprintf("%s %s %s %d %d", r.GetRule(), r.GetProtocol(), r.GetSource(), first, last)
}

// portsOf are the first and last port of a rule. A rule for all protocols has no ports of its own: it admits all.
func portsOf(r *modelv1.CloudIngress) (first, last uint32) {
	if r.GetProtocol() == "all" {
		return 0, math.MaxUint16
	}
	return min(r.GetFromPort(), math.MaxUint16), min(r.GetToPort(), math.MaxUint16)
}

func admits(r *modelv1.CloudIngress, t modelv1.Transport) bool {
	switch r.GetProtocol() {
	case "all":
		return true
	case "tcp":
		return t == modelv1.Transport_TRANSPORT_TCP
	case "udp":
		return t == modelv1.Transport_TRANSPORT_UDP
	}
	return false
}

func admitsPort(r *modelv1.CloudIngress, at portPlace) bool {
	first, last := portsOf(r)
	return admits(r, at.transport) && at.port >= first && at.port <= last
}

// portPlace is where a port is.
type portPlace struct {
	transport modelv1.Transport
	port      uint32
}

func transportOf(t modelv1.Transport) modelv1.Transport {
	return cmp.Or(t, modelv1.Transport_TRANSPORT_TCP)
}

func openPorts(known map[portPlace]*correlatorv1.OpenPort, f *modelv1.PortsFact) {
	for _, port := range f.GetOpen() {
		at := portPlace{transportOf(f.GetTransport()), port}
		if known[at] == nil {
			known[at] = &correlatorv1.OpenPort{Port: port, Transport: at.transport}
		}
	}
}

// openService adds what spoke on a port. Of several services at one port, which only happens over time, the later by name is shown.
func openService(known map[portPlace]*correlatorv1.OpenPort, f *modelv1.ServiceFact) {
	at := portPlace{transportOf(f.GetTransport()), f.GetPort()}
	if f.GetPort() == 0 {
		return
	}
	spoke := &correlatorv1.OpenPort{
		Port: at.port, Transport: at.transport, Service: f.GetName(), Product: f.GetProduct(), Tls: f.GetTls(), Unauthenticated: f.GetUnauthenticated(),
	}
	if before := known[at]; before == nil || compareSpoken(before, spoke) < 0 {
		known[at] = spoke
	}
}

func compareSpoken(a, b *correlatorv1.OpenPort) int {
	return cmp.Or(strings.Compare(a.GetService(), b.GetService()), strings.Compare(a.GetProduct(), b.GetProduct()),
		cmp.Compare(b2i(a.GetTls()), b2i(b.GetTls())), cmp.Compare(b2i(a.GetUnauthenticated()), b2i(b.GetUnauthenticated())))
}

func sortedPorts(known map[portPlace]*correlatorv1.OpenPort) []*correlatorv1.OpenPort {
	out := make([]*correlatorv1.OpenPort, 0, len(known))
	for _, p := range known {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *correlatorv1.OpenPort) int {
		return cmp.Or(cmp.Compare(a.GetTransport(), b.GetTransport()), cmp.Compare(a.GetPort(), b.GetPort()))
	})
	return out[:min(len(out), maxOpenPorts)]
}

// joinEvidence adds to a finding what it was joined with, and counts the newest sight of any part as its own.
func (v *evaluation) joinEvidence(f *correlatorv1.Finding, o *modelv1.Observation, joined []modelv1.ScanType) {
	var with []*modelv1.Observation
	for _, set := range v.Sets {
		if !slices.Contains(joined, set.GetScanType()) {
			continue
		}
		for _, other := range set.GetObservations() {
			if other != o && concerns(o.GetCloud(), other) {
				with = append(with, other)
			}
		}
	}
	slices.SortFunc(with, func(a, b *modelv1.Observation) int {
		return cmp.Or(cmp.Compare(a.GetScanType(), b.GetScanType()), strings.Compare(a.GetLocation(), b.GetLocation()), strings.Compare(a.GetKey(), b.GetKey()))
	})
	for _, o := range with {
		if o.GetLastSeen().AsTime().After(f.GetLastSeen().AsTime()) {
			f.LastSeen = o.GetLastSeen()
		}
		if len(f.GetEvidence()) < maxEvidence {
			f.Evidence = append(f.Evidence, evidence(o))
		}
	}
}

// concerns says whether an observation is about what is behind the rules of a resource: ports and services that they do not admit prove
// nothing about it. Without a resource everything does.
func concerns(f *modelv1.CloudFact, o *modelv1.Observation) bool {
	if f == nil {
		return true
	}
	open := map[portPlace]*correlatorv1.OpenPort{}
	switch fact := o.GetFact().(type) {
	case *modelv1.Observation_Ports:
		openPorts(open, fact.Ports)
	case *modelv1.Observation_Service:
		openService(open, fact.Service)
	default:
		return true
	}
	for _, r := range f.GetIngress() {
		for at := range open {
			if admitsPort(r, at) {
				return true
			}
		}
	}
	return false
}

// retestedJoin is when a finding of a check that joins was seen not to hold any more, or nil: the newest scans of the fact's own place
// and of all places of the scan types that it was joined with have to be complete, and one of them newer than the finding's last sight.
// What the finding was proven by has to be among them; a scan type that never told anything is not waited for.
func (v *evaluation) retestedJoin(f *correlatorv1.Finding, k *check, joined []modelv1.ScanType) *timestamppb.Timestamp {
	own := facts[k.Fact].scanType
	missing := map[modelv1.ScanType]bool{own: true}
	for _, e := range f.GetEvidence() {
		missing[e.GetScanType()] = true
	}
	var at *timestamppb.Timestamp
	for _, set := range v.Sets {
		t := set.GetScanType()
		same := t == own && set.GetLocation() == f.GetLocation()
		if !same && !slices.Contains(joined, t) {
			continue
		}
		if set.GetCompleteAt() == nil || set.GetCompleteAt().AsTime().Before(set.GetScannedAt().AsTime()) {
			return nil
		}
		if same || t != own {
			delete(missing, t)
		}
		at = later(cmp.Or(at, set.GetCompleteAt()), set.GetCompleteAt())
	}
	if len(missing) > 0 || at == nil || !at.AsTime().After(f.GetLastSeen().AsTime()) {
		return nil
	}
	return at
}
