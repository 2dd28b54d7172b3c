package dns

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
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
ns.test. A 127.0.0.1
a.test. SOA ns.test. a.test. 1 1 1 1 1
cloud.test. SOA ns.cloud.test. a.test. 1 1 1 1 1
cloud.test. NS ns.cloud.test.
ns.cloud.test. A 127.0.0.2
pages.test. SOA ns.test. a.test. 1 1 1 1 1
*.pages.test. A 127.0.0.1
x.meta.test. A 169.254.169.254
`
	providers := []provider{
		{Name: "Cloud", Suffixes: []string{"cloud.test"}, NXDomain: true},
		{Name: "Pages", Suffixes: []string{"pages.test"}, Texts: []string{"no site", "here"}, Status: 404},
		{Name: "Meta", Suffixes: []string{"meta.test"}, Texts: []string{"no site"}},
		{Name: "Edge", Suffixes: []string{"edge.pages.test"}, Texts: []string{"no site"}, Edge: true},
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
		{"to nowhere", "gone.test.", "", 200, nil, "CNAME gone.test  false", modelv1.Outcome_OUTCOME_COMPLETE},
		{"confirmed by the provider's servers", "x.cloud.test.", "", 200, newWorld(t, base), "CNAME x.cloud.test Cloud true", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the provider says that it exists", "x.cloud.test.", "", 200, claimed, "CNAME x.cloud.test Cloud false", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the provider says nothing", "x.cloud.test.", "", 200, mute, "CNAME x.cloud.test Cloud false", modelv1.Outcome_OUTCOME_PARTIAL},
		{"the provider only repeats what it heard", "x.cloud.test.", "", 200, hearsay, "CNAME x.cloud.test Cloud false", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the provider has no authority", "x.cloud.test.", "", 200, refuse, "CNAME x.cloud.test Cloud false", modelv1.Outcome_OUTCOME_COMPLETE},
		{"confirmed by the provider's page", "x.pages.test.", "there is no site here", 404, nil, "CNAME x.pages.test Pages true", modelv1.Outcome_OUTCOME_COMPLETE},
		{"half of the text", "x.pages.test.", "no site", 404, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"the text with another status", "x.pages.test.", "there is no site here", 200, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
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
			env := lab()
			env.Guard = netguard.New(netguard.Options{AllowPrivate: true, Resolver: p.options.Resolver})
			result, err := p.Scan(t.Context(), env, jobFor(host, "www.a.test"))
			if err != nil || result.Outcome != test.outcome {
				t.Fatalf("got %+v, %v; want %v", result, err, test.outcome)
			}
			if strings.Contains(result.Reason, "169.254") {
				t.Errorf("the reason names the address: %s", result.Reason)
			}
			got := ""
			_, _, dangling := facts(result)
			for _, d := range dangling {
				got += strings.Join([]string{d.GetRecord(), d.GetTarget(), d.GetProvider(), map[bool]string{false: "false", true: "true"}[d.GetConfirmed()]}, " ")
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

// A provider where only some resources can be claimed is never confirmed by its page alone.
func TestEdgeCaseIsNotConfirmed(t *testing.T) {
	p := provider{Name: "Edge", Texts: []string{"no site"}, Edge: true}
	if p.proof(404, "no site") == "" {
		t.Fatal("no proof")
	}
	w := newWorld(t, "test. SOA ns.test. a.test. 1 1 1 1 1\nwww.test. CNAME x.edge.test.\nx.edge.test. A 127.0.0.1\n")
	probe := probeFor(t, w, nil)
	p.Suffixes = []string{"edge.test"}
	probe.providers = func() []provider { return []provider{p} }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "no site") }))
	defer server.Close()
	port := netip.MustParseAddrPort(server.Listener.Addr().String()).Port()
	probe.webPorts = [2]uint16{port, port}
	env := lab()
	env.Guard = netguard.New(netguard.Options{AllowPrivate: true, Resolver: probe.options.Resolver})
	result, err := probe.Scan(t.Context(), env, jobFor(host, "www.test"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, dangling := facts(result); len(dangling) != 1 || dangling[0].GetConfirmed() || dangling[0].GetProvider() != "Edge" {
		t.Errorf("got %v", dangling)
	}
}

func TestTheTableOfProviders(t *testing.T) {
	list := loadProviders()
	if len(list) < 30 {
		t.Fatalf("%d providers", len(list))
	}
	seen := make(map[string]string)
	for _, p := range list {
		if p.Name == "" || len(p.Suffixes) == 0 || (len(p.Texts) == 0 && !p.NXDomain) {
			t.Errorf("provider %+v can never be told", p)
		}
		for _, text := range p.Texts {
			if len(text) < 6 {
				t.Errorf("%s: the text %q is on any page", p.Name, text)
			}
		}
		for _, suffix := range p.Suffixes {
			if other, twice := seen[suffix]; twice || !plausible(suffix) || strings.ToLower(suffix) != suffix {
				t.Errorf("suffix %q of %s and %s", suffix, p.Name, other)
			}
			seen[suffix] = p.Name
		}
	}
	for _, word := range []string{"can-i-take-over-xyz", "CC BY 4.0", "\"date\": \"2026-"} {
		if !strings.Contains(string(providersFile), word) {
			t.Errorf("the table does not say %s", word)
		}
	}
}
