package dns

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }

// broken is an evidence store that is down.
type broken struct{}

func (broken) Put(context.Context, string, []byte) (*modelv1.Evidence, error) {
	return nil, errors.New("the store is down")
}

func TestDanglingAliases(t *testing.T) {
	const base = `
test. SOA ns.test. a.test. 1 1 1 1 1
test. NS ns.test.
ns.test. A 127.0.0.1
a.test. SOA ns.test. a.test. 1 1 1 1 1
cloud.test. SOA ns.cloud.test. a.test. 1 1 1 1 1
cloud.test. NS ns.cloud.test.
ns.cloud.test. A 127.0.0.2
pages.test. SOA ns.test. a.test. 1 1 1 1 1
*.pages.test. A 127.0.0.1
*.edge.pages.test. A 127.0.0.1
*.not.pages.test. A 127.0.0.1
x.meta.test. A 169.254.169.254
`
	providers := []provider{
		{Name: "Cloud", State: stateVulnerable, CNAME: []string{"cloud.test"}, NXDomain: true},
		{Name: "Edgy", State: stateEdge, CNAME: []string{"edgy.cloud.test"}, NXDomain: true},
		{Name: "Pages", State: stateVulnerable, CNAME: []string{"pages.test"}, Text: []string{"no site", "here"}, Status: 404},
		{Name: "Meta", State: stateVulnerable, CNAME: []string{"meta.test"}, Text: []string{"no site"}},
		{Name: "Edge", State: stateEdge, CNAME: []string{"edge.pages.test"}, Text: []string{"no site"}},
		{Name: "Not", State: stateNot, CNAME: []string{"not.pages.test"}, Text: []string{"no site"}},
	}
	claimed := newWorld(t, base+"x.cloud.test. A 192.0.2.7")
	hearsay := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		_ = w.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeNameError))
	})
	tests := []struct {
		name      string
		alias     string
		page      string
		status    int
		authority mdns.Handler // of cloud.test
		want      string       // record, target, provider, confirmed
		outcome   modelv1.Outcome
	}{
		{"alive", "ns.test.", "", 200, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"to nowhere", "gone.test.", "", 200, nil, "CNAME gone.test  false false gone.test", modelv1.Outcome_OUTCOME_COMPLETE},
		{"confirmed by the provider's servers", "x.cloud.test.", "", 200, newWorld(t, base), "CNAME x.cloud.test Cloud true true ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the provider says that it exists", "x.cloud.test.", "", 200, claimed, "CNAME x.cloud.test Cloud false false ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the provider says nothing", "x.cloud.test.", "", 200, mute, "CNAME x.cloud.test Cloud false false ", modelv1.Outcome_OUTCOME_PARTIAL},
		{"the provider only repeats what it heard", "x.cloud.test.", "", 200, hearsay, "CNAME x.cloud.test Cloud false false ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the provider has no authority", "x.cloud.test.", "", 200, refuse, "CNAME x.cloud.test Cloud false false ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"confirmed by the provider's page", "x.pages.test.", "there is no site here", 404, nil, "CNAME x.pages.test Pages true true ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"half of the text", "x.pages.test.", "no site", 404, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the text with another status", "x.pages.test.", "there is no site here", 200, nil, "CNAME x.pages.test Pages false true ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"some can be claimed, by their servers", "x.edgy.cloud.test.", "", 200, newWorld(t, base), "CNAME x.edgy.cloud.test Edgy false true ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"some can be claimed, by their page", "x.edge.pages.test.", "no site", 404, nil, "CNAME x.edge.pages.test Edge false true ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"none can be claimed", "x.not.pages.test.", "no site", 404, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"below a domain that exists", "gone.a.test.", "", 200, nil, "CNAME gone.a.test  false false ", modelv1.Outcome_OUTCOME_COMPLETE},
		{"a page of somebody", "x.pages.test.", "hello", 200, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"at a forbidden address", "x.meta.test.", "", 200, nil, "", modelv1.Outcome_OUTCOME_PARTIAL},
		{"no page at all", "x.pages.test.", "", 0, nil, "", modelv1.Outcome_OUTCOME_PARTIAL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			others := map[string]mdns.Handler{}
			if test.authority != nil {
				others["127.0.0.2"] = test.authority
			}
			p := probeFor(t, newWorld(t, base+"www.a.test. CNAME "+test.alias), others)
			p.providers = func() []provider { return providers }
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.Host, "www.a.test") {
					t.Errorf("asked for %q", r.Host)
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.page)
			}))
			defer server.Close()
			port := netip.MustParseAddrPort(server.Listener.Addr().String()).Port()
			p.webPorts = [2]uint16{port, port}
			if test.status == 0 {
				server.Close()
			}
			result, err := p.Scan(t.Context(), labOf(p), jobFor(host, "www.a.test"))
			if err != nil || result.Outcome != test.outcome {
				t.Fatalf("got %+v, %v; want %v", result, err, test.outcome)
			}
			if strings.Contains(result.Reason, "169.254") {
				t.Errorf("the reason names the address: %s", result.Reason)
			}
			got := ""
			_, _, dangling := facts(result)
			for _, d := range dangling {
				got += strings.Join([]string{d.GetRecord(), d.GetTarget(), d.GetProvider(), strconv.FormatBool(d.GetConfirmed()), strconv.FormatBool(d.GetUnclaimed()), d.GetRegistrableDomain()}, " ")
				if d.GetName() != "www.a.test" || d.GetProof() == "" {
					t.Errorf("fact %v", d)
				}
			}
			if got != test.want {
				t.Errorf("dangling %q, want %q", got, test.want)
			}
		})
	}
}

// A proof that does not last is none: the resource was being moved.
func TestProofsAreAskedForTwice(t *testing.T) {
	zone := "test. SOA ns.test. a.test. 1 1 1 1 1\nwww.test. CNAME x.pages.test.\nx.pages.test. A 127.0.0.1\n"
	for name, second := range map[string]string{"gone": "welcome", "still there": "no site here"} {
		t.Run(name, func(t *testing.T) {
			probe := probeFor(t, newWorld(t, zone), nil)
			probe.providers = func() []provider {
				return []provider{{Name: "Pages", State: stateVulnerable, CNAME: []string{"pages.test"}, Text: []string{"no site"}}}
			}
			var asked atomic.Int32
			probe.webPorts = webServer(t, func(w http.ResponseWriter, _ *http.Request) {
				body := "no site here"
				if asked.Add(1) > 1 {
					body = second
				}
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, body)
			})
			_, _, dangling := facts(run(t, probe, jobFor(host, "www.test")))
			if want := second == "no site here"; (len(dangling) == 1 && dangling[0].GetConfirmed()) != want || !want && len(dangling) > 0 {
				t.Errorf("got %v", dangling)
			}
		})
	}
}

// webServer serves plain HTTP on loopback and returns its port, for both schemes.
func webServer(t *testing.T, handler http.HandlerFunc) [2]uint16 {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	port := netip.MustParseAddrPort(server.Listener.Addr().String()).Port()
	return [2]uint16{port, port}
}

// A wildcard alias that leads to a provider gives every name at its level away.
func TestWildcardTakeover(t *testing.T) {
	zone := "test. SOA ns.test. a.test. 1 1 1 1 1\nw.test. SOA ns.test. a.test. 1 1 1 1 1\nw.test. NS ns.test.\nns.test. A 127.0.0.1\n" +
		"*.w.test. CNAME x.pages.test.\nx.pages.test. A 127.0.0.1\n"
	probe := probeFor(t, newWorld(t, zone), nil)
	probe.providers = func() []provider {
		return []provider{{Name: "Pages", State: stateVulnerable, CNAME: []string{"pages.test"}, Text: []string{"no site"}, Status: 404}}
	}
	probe.webPorts = webServer(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Host, "rp-") {
			t.Errorf("asked for %q", r.Host)
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "no site")
	})
	dns, _, dangling := facts(run(t, probe, jobFor(host, "w.test")))
	if len(dangling) != 1 || !dangling[0].GetConfirmed() || !dangling[0].GetWildcard() || dangling[0].GetName() != "*.w.test" {
		t.Errorf("got %v", dangling)
	}
	if len(dns.GetWildcards()) != 1 || dns.GetWildcards()[0].GetName() != "*.w.test" || dns.GetWildcards()[0].GetResolved() != 10 {
		t.Errorf("wildcards %v", dns.GetWildcards())
	}
}

// A zone that its DNS host does not have is confirmed only if nobody else has it either.
func TestLostZone(t *testing.T) {
	const base = "test. SOA ns.test. a.test. 1 1 1 1 1\nz.test. SOA ns1.host.test. a.test. 1 1 1 1 1\nz.test. NS ns1.host.test.\nz.test. NS ns2.host.test.\n" +
		"ns1.host.test. A 127.0.0.2\nns2.host.test. A 127.0.0.3\nhost.test. SOA ns.test. a.test. 1 1 1 1 1\n"
	knows := newWorld(t, base)
	tests := []struct {
		name          string
		state         string
		first, second mdns.Handler
		third         bool // somebody else has the zone as well
		want          string
	}{
		{"both refuse", stateVulnerable, refuse, refuse, false, "ns1.host.test true"},
		{"both refuse, and another host has it", stateVulnerable, refuse, refuse, true, "ns1.host.test false"},
		{"both refuse at an edge host", stateEdge, refuse, refuse, false, "ns1.host.test false"},
		{"one has it", stateVulnerable, refuse, knows, false, ""},
		{"one is silent", stateVulnerable, refuse, mute, false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := knows
			if test.third {
				w = newWorld(t, base+"z.test. NS ns.own.test.\nns.own.test. A 127.0.0.4\n")
			}
			probe := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": test.first, "127.0.0.3": test.second, "127.0.0.4": knows})
			probe.providers = func() []provider { return []provider{{Name: "Host", State: test.state, NS: []string{"host.test"}}} }
			_, _, dangling := facts(run(t, probe, jobFor(host, "z.test")))
			got := ""
			for _, d := range dangling {
				got += d.GetTarget() + " " + strconv.FormatBool(d.GetConfirmed())
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTheTableOfProviders(t *testing.T) {
	list := loadProviders()
	if len(list) < 30 {
		t.Fatalf("%d providers", len(list))
	}
	seen := make(map[string]string)
	states := map[string]int{}
	for _, p := range list {
		states[p.State]++
		if p.Name == "" || len(p.CNAME)+len(p.NS) == 0 || len(p.Source) == 0 || p.Date == "" {
			t.Errorf("provider %+v lacks its name, suffixes, source or date", p)
		}
		if p.State == stateVulnerable && len(p.Text) == 0 && !p.NXDomain && len(p.NS) == 0 {
			t.Errorf("provider %s can never be told", p.Name)
		}
		for _, source := range p.Source {
			if !strings.Contains(string(providersFile), `"`+source+`": "http`) {
				t.Errorf("%s: source %s is not explained", p.Name, source)
			}
		}
		for _, text := range p.Text {
			if len(text) < 6 {
				t.Errorf("%s: the text %q is on any page", p.Name, text)
			}
		}
		for _, suffix := range slices.Concat(p.CNAME, p.NS) {
			if other, twice := seen[suffix]; twice || !plausible(strings.TrimSuffix(suffix, "*")) || strings.ToLower(suffix) != suffix {
				t.Errorf("suffix %q of %s and %s", suffix, p.Name, other)
			}
			seen[suffix] = p.Name
		}
	}
	if states[stateVulnerable] == 0 || states[stateEdge] == 0 || states[stateNot] == 0 || len(states) != 3 {
		t.Errorf("states %v", states)
	}
	for _, word := range []string{"can-i-take-over-xyz", "CC BY 4.0", "\"date\": \"2026-"} {
		if !strings.Contains(string(providersFile), word) {
			t.Errorf("the table does not say %s", word)
		}
	}
}

func TestProviderOf(t *testing.T) {
	for target, want := range map[string]string{
		"x.s3.amazonaws.com": "AWS S3", "x.s3-website.eu-central-1.amazonaws.com": "AWS S3", "x.eu-west-1.elb.amazonaws.com": "AWS Load Balancer",
		"data-123456789012-eu-west-1-an.s3.eu-west-1.amazonaws.com": "", "a.github.io": "GitHub Pages", "agithub.io": "", "example.com": "",
		"x.azurewebsites.net": "Microsoft Azure App Service", "x.trafficmanager.net": "Microsoft Azure",
	} {
		if got, at := providerOf(loadProviders(), []string{"cdn.example", target}); got.Name != want || want != "" && at != target {
			t.Errorf("%s: %q at %q, want %q", target, got.Name, at, want)
		}
	}
	for server, want := range map[string]string{
		"ns1.digitalocean.com": "DigitalOcean DNS", "ns-12.awsdns-34.com": "AWS Route 53", "ns-cloud-a1.googledomains.com": "Google Cloud DNS", "ns1.example.com": "",
	} {
		if got := nsProviderOf(loadProviders(), server); got.Name != want {
			t.Errorf("%s: %q, want %q", server, got.Name, want)
		}
	}
}
