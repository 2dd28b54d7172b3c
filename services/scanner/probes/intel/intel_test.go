package intel

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

const (
	address = "198.41.0.4"
	host    = modelv1.AssetKind_ASSET_KIND_HOST
	domain  = modelv1.AssetKind_ASSET_KIND_DOMAIN
	ip      = modelv1.AssetKind_ASSET_KIND_IP
)

// env is what the probe gets for a tenant with keys for these providers. InternetDB is on where it is named.
func env(t *testing.T, server *providerstest.Server, keys ...string) probes.Env {
	t.Helper()
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: t.TempDir() + "/tables.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	bucket, err := fileblob.Open(t.Context(), fileblob.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	secrets := &secret.Memory{}
	o := providers.Options{
		Table: table.New(db.Table("ratelimits"), table.Options{Name: "ratelimits"}), Secrets: secrets, Evidence: bucket,
		Guard: netguard.New(netguard.Options{AllowPrivate: true}), UserAgent: probes.UserAgent(probes.Env{}), Bases: server.Bases(),
	}
	if !slices.Contains(keys, "internetdb") {
		o.Disabled = []string{"internetdb"}
	}
	for _, provider := range keys {
		value, err := proto.Marshal(&modelv1.ProviderCredential{Key: providerstest.Key})
		if err == nil {
			err = secrets.Put(t.Context(), "acme", provider, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return probes.Env{Guard: o.Guard, Providers: providers.New(o).For("acme", "assessments/1", 0)}
}

func scanOf(t *testing.T, e probes.Env, kind modelv1.AssetKind, value string) *probes.Result {
	t.Helper()
	r, err := New().Scan(t.Context(), e, &modelv1.ScanJob{
		Tenant: "acme", ScanType: modelv1.ScanType_SCAN_TYPE_INTEL, Target: &modelv1.Target{Kind: kind, Value: value},
		Options: &modelv1.ScanOptions{Budget: durationpb.New(10 * time.Second)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := prototext.Format(&modelv1.ScanCompleted{Observations: r.Observations, Leads: r.Leads, Reason: r.Reason}); strings.Contains(text, providerstest.Key) {
		t.Errorf("the key is in the result: %s", text)
	}
	return r
}

func facts(r *probes.Result) map[string]*modelv1.IntelFact {
	out := map[string]*modelv1.IntelFact{}
	for _, o := range r.Observations {
		out[o.GetIntel().GetProvider()] = o.GetIntel()
	}
	return out
}

func leads(r *probes.Result) []string {
	var out []string
	for _, l := range r.Leads {
		out = append(out, fmt.Sprintf("%s:%d %s", l.GetTarget().GetValue(), l.GetTarget().GetPort(), l.GetRelation()))
	}
	slices.Sort(out)
	return out
}

func TestAddress(t *testing.T) {
	server := providerstest.New(t)
	seen := time.Now().UTC().Add(-50 * time.Hour)
	server.Host(address, `"ports": [443, 53, 443, 0], "hostnames": ["a.example.com", "not a name", "example.com"], "tags": ["cloud"], "org": "Evil\u202e Org\u001b[2J",
		"asn": "AS397197", "country_code": "US", "cpes": ["cpe:/a:f5:nginx"], "vulns": ["CVE-2024-1"], "last_update": "`+seen.Format("2006-01-02T15:04:05.999999")+`",
		"data": [{"port": 443, "transport": "tcp", "product": "nginx", "version": "1.25.3", "data": "HTTP/1.1 200 OK\r\nX: \u0007", "cpe23": ["cpe:2.3:a:f5:nginx:1.25.3:*:*:*:*:*:*:*"], "vulns": {"CVE-2024-1": {"verified": true}}},
			{"port": 53, "transport": "udp", "data": ""}]`)
	server.Verdict(address, `{"last_analysis_stats": {"malicious": 5, "suspicious": 1, "harmless": 60, "undetected": 20}, "reputation": -7, "as_owner": "ICANN", "asn": 397197, "network": "198.41.0.0/24", "country": "US", "last_analysis_date": 1795000000}`)
	r := scanOf(t, env(t, server, "shodan", "virustotal", "internetdb"), ip, address)
	if r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(r.Observations) != 3 {
		t.Fatalf("%v %s %v", r.Outcome, r.Reason, r.Observations)
	}
	got := facts(r)
	s := got["shodan"]
	if s.GetOrganisation() != "Evil Org [2J" || s.GetAsn() != 397197 || s.GetAgeDays() != 2 || !slices.Equal(s.GetPorts(), []uint32{443}) || s.GetVulnerabilities()[0].GetId() != "CVE-2024-1" || !s.GetVulnerabilities()[0].GetVerified() {
		t.Errorf("%v", s)
	}
	if b := s.GetServices()[0]; b.GetProduct() != "nginx" || b.GetExcerpt() != "HTTP/1.1 200 OK X:" || b.GetTransport() != "tcp" || s.GetServices()[1].GetTransport() != "udp" {
		t.Errorf("%v", s.GetServices())
	}
	if v := got["virustotal"]; v.GetMalicious() != 5 || v.GetReputation() != -7 || v.GetNetwork() != "198.41.0.0/24" || v.GetObservedAt().AsTime().Unix() != 1795000000 {
		t.Errorf("%v", v)
	}
	if i := got["internetdb"]; !slices.Equal(i.GetPorts(), []uint32{53, 443}) || i.GetVulnerabilities()[0].GetVerified() {
		t.Errorf("%v", i)
	}
	for _, o := range r.Observations {
		if o.GetEvidence().GetBlob() == "" || o.GetLocation() != "" || o.GetIntel().GetReport().GetAskedAt() == nil {
			t.Errorf("%v", o)
		}
	}
	if got := leads(r); len(got) != 4 || !strings.HasPrefix(got[0], "198.41.0.4:443") || !strings.HasPrefix(got[1], "198.41.0.4:53") || !strings.HasPrefix(got[2], "a.example.com:0") || !strings.HasPrefix(got[3], "example.com:0") {
		t.Errorf("leads %q", got)
	}
}

func TestName(t *testing.T) {
	server := providerstest.New(t)
	server.Names("example.com", "www.example.com", "vpn.example.com")
	server.Verdict("example.com", `{"last_analysis_stats": {"malicious": 0, "harmless": 70}, "registrar": "R", "whois": "Registry Expiry Date: 2026-12-05T04:00:00Z\n", "creation_date": 808372800}`)
	e := env(t, server, "shodan", "virustotal")
	r := scanOf(t, e, domain, "example.com")
	got := facts(r)
	if r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || got["virustotal"].GetDomainExpires().AsTime().Month() != time.December || got["shodan"].GetReport().GetResults() < 2 {
		t.Errorf("%v %v", r.Outcome, got)
	}
	if got := leads(r); len(got) != 2 || !strings.HasPrefix(got[0], "vpn.example.com") {
		t.Errorf("%q", got)
	}
	// A host below it costs no credit.
	if r := scanOf(t, e, host, "www.example.com"); len(facts(r)) != 1 || len(server.Arrivals("shodan")) != 1 {
		t.Errorf("%v, %d requests to shodan", facts(r), len(server.Arrivals("shodan")))
	}
}

// What a provider does not know is a fact with nothing in it; what it did not say is none.
func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		fault   map[string]providerstest.Fault
		keys    []string
		target  string
		outcome modelv1.Outcome
		facts   []string
		says    []string
	}{
		"nothing known":  {nil, []string{"shodan", "virustotal"}, address, modelv1.Outcome_OUTCOME_COMPLETE, []string{"shodan", "virustotal"}, nil},
		"one key":        {nil, []string{"virustotal"}, address, modelv1.Outcome_OUTCOME_COMPLETE, []string{"virustotal"}, nil},
		"no key":         {nil, nil, address, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, nil, []string{"shodan: there is no key", "virustotal: there is no key", "internetdb: "}},
		"one is down":    {map[string]providerstest.Fault{"shodan": providerstest.Status(503)}, []string{"shodan", "virustotal"}, address, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, []string{"virustotal"}, []string{"shodan: it fails (503)"}},
		"429":            {map[string]providerstest.Fault{"virustotal": providerstest.TooMany("3600")}, []string{"virustotal"}, address, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, nil, []string{"virustotal: it says that there were too many"}},
		"malformed":      {map[string]providerstest.Fault{"shodan": providerstest.Body("{")}, []string{"shodan"}, address, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, nil, []string{"shodan: its answer cannot be read"}},
		"all are down":   {map[string]providerstest.Fault{"shodan": providerstest.Hangup, "virustotal": providerstest.Status(500)}, []string{"shodan", "virustotal"}, address, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, nil, []string{"shodan: ", "virustotal: "}},
		"private":        {nil, []string{"shodan", "virustotal"}, "10.0.0.1", modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, nil, []string{"not public"}},
		"reserved names": {nil, []string{"shodan", "virustotal"}, "www.lab.test", modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, nil, []string{"nobody can own"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := providerstest.New(t)
			for provider, fault := range c.fault {
				server.Fail(provider, fault)
			}
			kind := ip
			if strings.HasSuffix(c.target, "test") {
				kind = host
			}
			r := scanOf(t, env(t, server, c.keys...), kind, c.target)
			var got []string
			for _, o := range r.Observations {
				got = append(got, o.GetIntel().GetProvider())
			}
			if r.Outcome != c.outcome || !slices.Equal(got, c.facts) || (c.outcome == modelv1.Outcome_OUTCOME_COMPLETE) != (r.Reason == "") {
				t.Errorf("%v %q %v", r.Outcome, r.Reason, got)
			}
			for _, text := range c.says {
				if !strings.Contains(r.Reason, text) {
					t.Errorf("%q does not say %q", r.Reason, text)
				}
			}
		})
	}
}

// A provider that knows a hundred thousand names and ports makes a fact and leads that are bounded.
func TestBounds(t *testing.T) {
	server := providerstest.New(t)
	var ports, names []string
	for i := range 60_000 {
		ports = append(ports, fmt.Sprint(i+1))
		names = append(names, fmt.Sprintf("%q", fmt.Sprintf("n%d.example.com", i)))
	}
	server.Host(address, `"ports": [`+strings.Join(ports, ",")+`], "hostnames": [`+strings.Join(names, ",")+`], "org": "`+strings.Repeat("x", 4000)+`"`)
	r := scanOf(t, env(t, server, "shodan"), ip, address)
	f := facts(r)["shodan"]
	if len(f.GetPorts()) != maxItems || len(f.GetHostnames()) != maxItems || len(f.GetOrganisation()) != maxText || len(r.Leads) != maxLeads {
		t.Errorf("%d ports, %d names, %d bytes, %d leads", len(f.GetPorts()), len(f.GetHostnames()), len(f.GetOrganisation()), len(r.Leads))
	}
}

// The registry of a domain says when it ends; without a service of the registry nothing is said, and nothing is missing.
func TestRegistration(t *testing.T) {
	server := providerstest.New(t)
	server.Registration("example.com", `"status": ["active"], "events": [{"eventAction": "expiration", "eventDate": "2027-08-13T04:00:00Z"}],
	 "entities": [{"roles": ["registrar"], "handle": "376"}]`)
	r := scanOf(t, env(t, server), domain, "example.com")
	f := facts(r)["rdap"]
	if r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || f.GetRegistrar() != "376" || f.GetDomainExpires().AsTime().Year() != 2027 || !slices.Equal(f.GetRegistryStatus(), []string{"active"}) ||
		time.Since(f.GetRegistryAt().AsTime()) > time.Minute || f.GetReport().GetState() != modelv1.SourceReport_STATE_OK {
		t.Errorf("%v %q: %v", r.Outcome, r.Reason, f)
	}
	for _, name := range []string{"www.example.com", "example.de"} {
		if f := facts(scanOf(t, env(t, server), domain, name))["rdap"]; f != nil {
			t.Errorf("%s: %v", name, f)
		}
	}
	server.Fail("rdap", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	if r := scanOf(t, env(t, server), domain, "example.com"); r.Outcome != modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE || !strings.Contains(r.Reason, "rdap: it fails (500)") {
		t.Errorf("%v %q", r.Outcome, r.Reason)
	}
}
