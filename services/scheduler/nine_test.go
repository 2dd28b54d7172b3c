package scheduler

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	subdomainType = modelv1.ScanType_SCAN_TYPE_SUBDOMAIN
	vulnType      = modelv1.ScanType_SCAN_TYPE_VULN
	cloudType     = modelv1.ScanType_SCAN_TYPE_CLOUD
	intelType     = modelv1.ScanType_SCAN_TYPE_INTEL
	kindDomain    = modelv1.AssetKind_ASSET_KIND_DOMAIN
	kindCloud     = modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT
)

// waves grows a seed to its end and returns the fresh jobs of each wave, sorted.
func (w world) waves(t *testing.T, a *schedulerv1.Assessment, seed *schedulerv1.Seed) [][]string {
	t.Helper()
	records := map[string]*modelv1.JobRecord{}
	var out [][]string
	for range 20 {
		jobs := grow("t", a, seed, records, nil)
		var fresh []string
		for _, j := range jobs {
			if records[j.GetId()] == nil {
				fresh = append(fresh, jobText(j))
			}
		}
		if len(fresh) == 0 {
			return out
		}
		slices.Sort(fresh)
		out = append(out, fresh)
		w.finish(jobs, records)
	}
	t.Fatal("it does not end")
	return nil
}

// udp makes the place of a lead one of UDP.
func udp(l *modelv1.Lead) *modelv1.Lead {
	l.Target.Transport = modelv1.Transport_TRANSPORT_UDP
	return l
}

func TestGrowNineTypes(t *testing.T) {
	const public = "8.8.4.4"
	w := world{
		"dns acme.com":       {lead(kindIP, public, 0, portType), lead(kindIP, "192.0.2.1", 0, portType)},
		"subdomain acme.com": {lead(kindHost, "shop.acme.com", 0, dnsType)},
		"dns shop.acme.com":  {lead(kindIP, public, 0, portType)},
		"port " + public:     {lead(kindIP, public, 443, serviceType), udp(lead(kindIP, public, 161, serviceType))},
		"port 192.0.2.1":     {lead(kindIP, "192.0.2.1", 80, serviceType)},
		"service " + public + ":443": {
			lead(kindIP, public, 443, tlsType, httpType),
		},
		"service " + public + ":161/udp":    {lead(kindIP, public, 161, tlsType, httpType)}, // a probe that errs
		"service 192.0.2.1:80":              {lead(kindIP, "192.0.2.1", 80, httpType)},
		"http acme.com:443 at " + public:    {{Target: &modelv1.Target{Technologies: []string{"wordpress", "php"}}}, {Target: &modelv1.Target{Technologies: []string{"php"}}}},
		"cloud aws:123456789012":            {lead(kindIP, public, 0, portType), lead(kindHost, "x.elb.amazonaws.com", 0, dnsType)},
		"http shop.acme.com:443 at 8.8.4.4": nil,
	}
	domain := &schedulerv1.Seed{Kind: kindDomain, Value: "acme.com"}
	account := &schedulerv1.Seed{Kind: kindCloud, Value: "aws:123456789012"}
	passive, quick := modelv1.Profile_PROFILE_PASSIVE, modelv1.Profile_PROFILE_QUICK
	for _, c := range []struct {
		name string
		a    *schedulerv1.Assessment
		seed *schedulerv1.Seed
		want [][]string
	}{
		{"all types of a domain", assessment(), domain, [][]string{
			{"dns acme.com", "intel acme.com"},
			{"intel 8.8.4.4", "port 192.0.2.1", "port 8.8.4.4", "subdomain acme.com"},
			{"dns shop.acme.com", "service 192.0.2.1:80", "service 8.8.4.4:161/udp", "service 8.8.4.4:443"},
			{
				"http acme.com:443 at 8.8.4.4", "http acme.com:80 at 192.0.2.1", "http shop.acme.com:443 at 8.8.4.4",
				"tls acme.com:443 at 8.8.4.4", "tls shop.acme.com:443 at 8.8.4.4",
			},
			// Where http saw nothing there is nothing to look for flaws in.
			{"vuln acme.com:443 at 8.8.4.4 php,wordpress", "vuln shop.acme.com:443 at 8.8.4.4"},
		}},
		{"passive sends nothing to a target", profiled(passive), domain, [][]string{
			{"dns acme.com", "intel acme.com"}, {"intel 8.8.4.4", "subdomain acme.com"}, {"dns shop.acme.com"},
		}},
		{"quick neither searches names nor flaws", profiled(quick), domain, [][]string{
			{"dns acme.com", "intel acme.com"}, {"intel 8.8.4.4", "port 192.0.2.1", "port 8.8.4.4"},
			{"service 192.0.2.1:80", "service 8.8.4.4:161/udp", "service 8.8.4.4:443"},
			{"http acme.com:443 at 8.8.4.4", "http acme.com:80 at 192.0.2.1", "tls acme.com:443 at 8.8.4.4"},
		}},
		{"names are searched below the seed only", assessment(subdomainType, dnsType), &schedulerv1.Seed{Kind: kindHost, Value: "shop.acme.com"}, [][]string{{"dns shop.acme.com"}}},
		{"third parties are not asked about reserved names", assessment(intelType, subdomainType), &schedulerv1.Seed{Kind: kindDomain, Value: "acme.test"}, [][]string{{"dns acme.test"}, {"subdomain acme.test"}}},
		{"nor about documentation addresses", assessment(intelType), &schedulerv1.Seed{Kind: modelv1.AssetKind_ASSET_KIND_CIDR, Value: "192.0.2.0/30"}, nil},
		{"nor about loopback", assessment(intelType), &schedulerv1.Seed{Kind: kindIP, Value: "127.60.1.1"}, nil},
		{"an account leads to names and addresses", assessment(cloudType, dnsType, portType), account, [][]string{
			{"cloud aws:123456789012"}, {"dns x.elb.amazonaws.com", "port 8.8.4.4"},
		}},
		{"an account in the passive profile", profiled(passive), account, [][]string{
			{"cloud aws:123456789012"}, {"dns x.elb.amazonaws.com", "intel 8.8.4.4"},
		}},
	} {
		if diff := cmp.Diff(c.want, w.waves(t, c.a, c.seed)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestRunTypes(t *testing.T) {
	five := setOf(dnsType, portType, serviceType, tlsType, httpType)
	standard, passive := modelv1.Profile_PROFILE_STANDARD, modelv1.Profile_PROFILE_PASSIVE
	for _, c := range []struct {
		profile   modelv1.Profile
		asked     []modelv1.ScanType
		available typeSet
		want      string // or a part of the error
	}{
		{standard, nil, five, "dns port service tls http"},
		{standard, nil, allTypes(), "dns subdomain port service tls http vuln cloud intel"},
		{modelv1.Profile_PROFILE_QUICK, nil, allTypes(), "dns port service tls http cloud intel"},
		{passive, nil, allTypes(), "dns subdomain cloud intel"},
		{standard, []modelv1.ScanType{httpType}, allTypes(), "dns http"},
		{standard, []modelv1.ScanType{subdomainType}, allTypes(), "subdomain"},
		{standard, []modelv1.ScanType{cloudType}, allTypes(), "cloud"},
		{standard, []modelv1.ScanType{intelType}, five, "scanners for dns, port, service, tls, http"},
		{standard, []modelv1.ScanType{vulnType}, five, "RISKPROFILER_NUCLEI"},
		{passive, []modelv1.ScanType{portType}, allTypes(), "passive profile"},
	} {
		types, err := runTypes(c.profile, c.asked, c.available)
		var got []string
		for _, t := range types {
			got = append(got, scanTypeText(t))
		}
		if err != nil && errors.Is(err, fault.Invalid) && strings.Contains(err.Error(), c.want) {
			continue
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s %v: %v %v, want %s", c.profile, c.asked, got, err, c.want)
		}
	}
}

// scannerWith is a scanner that answers what it can do, or nothing.
type scannerWith struct {
	scannerv1.ScannerServiceClient

	types []modelv1.ScanType
	calls int
	err   error
}

func (s *scannerWith) ListScanTypes(context.Context, *scannerv1.ListScanTypesRequest, ...grpc.CallOption) (*scannerv1.ListScanTypesResponse, error) {
	s.calls++
	res := &scannerv1.ListScanTypesResponse{}
	for _, t := range s.types {
		res.ScanTypes = append(res.ScanTypes, &scannerv1.ScanTypeInfo{ScanType: t})
	}
	return res, s.err
}

// What the scanner can do is asked once a minute, and what it said last counts while it does not answer. vuln needs the operator.
func TestAvailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scanner := &scannerWith{err: fault.New(fault.Unavailable, "down")}
		s := &Service{scanner: scanner}
		if _, err := s.available(t.Context()); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a scanner that never answered: %v", err)
		}
		scanner.err, scanner.types = nil, []modelv1.ScanType{dnsType, vulnType, 99}
		check := func(calls int, want typeSet) {
			t.Helper()
			got, err := s.available(t.Context())
			if diff := cmp.Diff(want, got); err != nil || diff != "" || scanner.calls != calls {
				t.Errorf("%d calls, want %d, %v: %s", scanner.calls, calls, err, diff)
			}
		}
		check(2, setOf(dnsType))
		scanner.types, s.nuclei = append(scanner.types, tlsType), true
		check(2, setOf(dnsType))
		time.Sleep(typesFor)
		check(3, setOf(dnsType, vulnType, tlsType))
		time.Sleep(typesFor)
		scanner.err = fault.New(fault.Unavailable, "down")
		check(4, setOf(dnsType, vulnType, tlsType))
	})
}

func TestPlacesOfUDP(t *testing.T) {
	for text, want := range map[string]modelv1.Transport{
		"192.0.2.1:161/udp": modelv1.Transport_TRANSPORT_UDP, "[2001:db8::1]:53/tcp": modelv1.Transport_TRANSPORT_TCP,
		"": 0, "ports/tcp": 0, "192.0.2.1:161": 0, "192.0.2.1:161/sctp": 0, "192.0.2.1:99999/udp": 0,
	} {
		_, port, transport, ok := splitLocation(text)
		if ok != (want != 0) || ok && (transport != want || port == 0) {
			t.Errorf("%q: port %d, %v, %v", text, port, transport, ok)
		}
	}
	sets := []*modelv1.ObservationSet{
		{ScanType: serviceType, Location: "192.0.2.1:161/udp", Observations: make([]*modelv1.Observation, 1)},
		{ScanType: intelType, Location: "192.0.2.1:22/tcp", Observations: make([]*modelv1.Observation, 1)},
	}
	places := placesBefore(&modelv1.Asset{Kind: kindIP, Value: "192.0.2.1"}, sets, "192.0.2.1")
	got := texts(grow("t", assessment(serviceType), &schedulerv1.Seed{Kind: kindHost, Value: "a.example"}, nil, places))
	if diff := cmp.Diff([]string{"dns a.example", "service 192.0.2.1:161/udp"}, got); diff != "" {
		t.Error(diff)
	}
}
