package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

const (
	dnsType     = modelv1.ScanType_SCAN_TYPE_DNS
	portType    = modelv1.ScanType_SCAN_TYPE_PORT
	serviceType = modelv1.ScanType_SCAN_TYPE_SERVICE
	tlsType     = modelv1.ScanType_SCAN_TYPE_TLS
	httpType    = modelv1.ScanType_SCAN_TYPE_HTTP
	kindHost    = modelv1.AssetKind_ASSET_KIND_HOST
	kindIP      = modelv1.AssetKind_ASSET_KIND_IP
	kindCIDR    = modelv1.AssetKind_ASSET_KIND_CIDR
)

func jobText(j *modelv1.ScanJob) string {
	t := j.GetTarget()
	text := strings.ToLower(strings.TrimPrefix(j.GetScanType().String(), "SCAN_TYPE_")) + " " + t.GetValue()
	if t.GetPort() != 0 {
		text += fmt.Sprintf(":%d", t.GetPort())
	}
	if t.GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		text += "/udp"
	}
	if t.GetAddress() != "" && t.GetAddress() != t.GetValue() {
		text += " at " + t.GetAddress()
	}
	if len(t.GetTechnologies()) > 0 {
		text += " " + strings.Join(t.GetTechnologies(), ",")
	}
	return text
}

func texts(jobs []*modelv1.ScanJob) []string {
	var out []string
	for _, j := range jobs {
		out = append(out, jobText(j))
	}
	return out
}

func lead(kind modelv1.AssetKind, value string, port uint32, types ...modelv1.ScanType) *modelv1.Lead {
	return &modelv1.Lead{Target: &modelv1.Target{Kind: kind, Value: value, Port: port, Tls: port == 443}, ScanTypes: types, Relation: "found"}
}

// world says what jobs find, by their text.
type world map[string][]*modelv1.Lead

// finish gives every job of a list a record, with what the world has there.
func (w world) finish(jobs []*modelv1.ScanJob, records map[string]*modelv1.JobRecord) (fresh int) {
	for _, j := range jobs {
		if records[j.GetId()] == nil {
			fresh++
			leads, seen := w[jobText(j)]
			records[j.GetId()] = &modelv1.JobRecord{Leads: leads, Coverage: &modelv1.Coverage{}}
			if seen {
				records[j.GetId()].Coverage.ObservationCount = 1
			}
		}
	}
	return fresh
}

// allTypes is what there are scanners for in these tests.
func allTypes() typeSet {
	out := typeSet{}
	for t := range queues {
		out[t] = true
	}
	return out
}

func assessment(types ...modelv1.ScanType) *schedulerv1.Assessment {
	return profiled(modelv1.Profile_PROFILE_STANDARD, types...)
}

func profiled(p modelv1.Profile, types ...modelv1.ScanType) *schedulerv1.Assessment {
	run, err := runTypes(p, types, allTypes())
	if err != nil {
		panic(err) // the table is wrong
	}
	return &schedulerv1.Assessment{Name: "assessments/a", Profile: p, ScanTypes: types, RunTypes: run}
}

func TestGrowWavesOfAName(t *testing.T) {
	w := world{
		"dns www.example.com":    {lead(kindIP, "192.0.2.1", 0, portType), lead(kindIP, "192.0.2.2", 0, portType)},
		"port 192.0.2.1":         {lead(kindIP, "192.0.2.1", 22, serviceType), lead(kindIP, "192.0.2.1", 443, serviceType)},
		"port 192.0.2.2":         {lead(kindIP, "192.0.2.2", 443, serviceType)},
		"service 192.0.2.1:443":  {lead(kindIP, "192.0.2.1", 443, tlsType, httpType)},
		"service 192.0.2.2:443":  {lead(kindIP, "192.0.2.2", 443, tlsType, httpType)},
		"service 192.0.2.1:22":   nil,
		"tls www.example.com:22": nil,
	}
	waves := [][]string{
		{"dns www.example.com"},
		{"port 192.0.2.1", "port 192.0.2.2"},
		{"service 192.0.2.1:22", "service 192.0.2.1:443", "service 192.0.2.2:443"},
		// Two addresses show one application: it is asked once, at the first.
		{"tls www.example.com:443 at 192.0.2.1", "http www.example.com:443 at 192.0.2.1"},
		nil,
	}
	seed := &schedulerv1.Seed{Kind: kindHost, Value: "www.example.com"}
	records := map[string]*modelv1.JobRecord{}
	for i, want := range waves {
		jobs := grow("t", assessment(), seed, records, nil)
		var got []string
		for _, j := range jobs {
			if records[j.GetId()] == nil {
				got = append(got, jobText(j))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("wave %d: %s", i, diff)
		}
		w.finish(jobs, records)
	}
}

func TestGrowBoundsAndSelection(t *testing.T) {
	cases := []struct {
		name string
		a    *schedulerv1.Assessment
		seed *schedulerv1.Seed
		want []string
	}{
		{"an address starts with its ports", assessment(), &schedulerv1.Seed{Kind: kindIP, Value: "192.0.2.1"}, []string{"port 192.0.2.1"}},
		{"a range is all its addresses", assessment(), &schedulerv1.Seed{Kind: kindCIDR, Value: "192.0.2.0/30"}, []string{"port 192.0.2.0", "port 192.0.2.1", "port 192.0.2.2", "port 192.0.2.3"}},
		{"without a port scan the listed ports are asked", assessment(serviceType), &schedulerv1.Seed{Kind: kindIP, Value: "192.0.2.1", Ports: "22,8443"}, []string{"service 192.0.2.1:22", "service 192.0.2.1:8443"}},
		{"web alone asks the usual ports", assessment(httpType), &schedulerv1.Seed{Kind: kindIP, Value: "192.0.2.1"}, []string{"http 192.0.2.1:80", "http 192.0.2.1:443"}},
		{"passive sends nothing to an address", profiled(modelv1.Profile_PROFILE_PASSIVE), &schedulerv1.Seed{Kind: kindIP, Value: "192.0.2.1"}, []string{"http 192.0.2.1"}[:0]},
	}
	for _, c := range cases {
		got := texts(grow("t", c.a, c.seed, map[string]*modelv1.JobRecord{}, nil))
		if diff := cmp.Diff(c.want, got); len(c.want)+len(got) > 0 && diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// Names that lead to each other in a circle end.
func TestGrowEndsInCircles(t *testing.T) {
	w := world{"dns a.example": {lead(kindHost, "b.example", 0, dnsType)}, "dns b.example": {lead(kindHost, "a.example", 0, dnsType)}}
	records := map[string]*modelv1.JobRecord{}
	seed := &schedulerv1.Seed{Kind: kindHost, Value: "a.example"}
	for range 10 {
		if w.finish(grow("t", assessment(), seed, records, nil), records) == 0 {
			if len(records) != 2 {
				t.Errorf("%d jobs, want 2", len(records))
			}
			return
		}
	}
	t.Error("it does not end")
}

// A hostile zone cannot make the graph grow beyond its bounds.
func TestGrowIsBounded(t *testing.T) {
	var leads []*modelv1.Lead
	for i := range 5000 {
		leads = append(leads, lead(kindHost, fmt.Sprintf("h%d.example", i), 0, dnsType))
	}
	records := map[string]*modelv1.JobRecord{}
	seed := &schedulerv1.Seed{Kind: kindHost, Value: "example"}
	world{"dns example": leads}.finish(grow("t", assessment(), seed, records, nil), records)
	if n := len(grow("t", assessment(), seed, records, nil)); n != maxHosts {
		t.Errorf("%d jobs, want %d", n, maxHosts)
	}
}

// The same place has the same job whoever asks, and another assessment another one.
func TestJobIDs(t *testing.T) {
	a := grow("t", assessment(), &schedulerv1.Seed{Kind: kindIP, Value: "192.0.2.1"}, nil, nil)[0]
	b := grow("t", assessment(), &schedulerv1.Seed{Kind: kindCIDR, Value: "192.0.2.1/32"}, nil, nil)[0]
	other := assessment()
	other.Name = "assessments/b"
	c := grow("t", other, &schedulerv1.Seed{Kind: kindIP, Value: "192.0.2.1"}, nil, nil)[0]
	if a.GetId() != b.GetId() || a.GetId() == c.GetId() {
		t.Errorf("ids %s, %s, %s", a.GetId(), b.GetId(), c.GetId())
	}
}

func TestPlacesBeforeAreLookedAtAgain(t *testing.T) {
	asset := &modelv1.Asset{Kind: kindHost, Value: "www.example.com"}
	seen := func(scanType modelv1.ScanType, where string, facts int) *modelv1.ObservationSet {
		return &modelv1.ObservationSet{ScanType: scanType, Location: where, Observations: make([]*modelv1.Observation, facts)}
	}
	places := placesBefore(asset, []*modelv1.ObservationSet{
		seen(tlsType, "www.example.com:8443/tcp", 1), seen(httpType, "www.example.com:8443/tcp", 2), seen(dnsType, "", 1), seen(httpType, "www.example.com:80/tcp", 0),
	}, "192.0.2.1")
	jobs := grow("t", assessment(), &schedulerv1.Seed{Kind: kindHost, Value: "www.example.com"}, nil, places)
	want := []string{"dns www.example.com", "tls www.example.com:8443 at 192.0.2.1", "http www.example.com:8443 at 192.0.2.1"}
	if diff := cmp.Diff(want, texts(jobs)); diff != "" {
		t.Error(diff)
	}
}
