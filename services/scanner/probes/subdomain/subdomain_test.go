package subdomain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

const (
	standard = modelv1.Profile_PROFILE_STANDARD
	passive  = modelv1.Profile_PROFILE_PASSIVE
	quick    = modelv1.Profile_PROFILE_QUICK
	plenty   = time.Minute
)

// What each way finds, and no other: words, variations, the list below a level, certificates, third parties with a key. Two
// levels answer every name, and what only they answer is not found.
func TestFinds(t *testing.T) {
	z := newZone(t, map[string]string{
		"example.com": "198.51.100.1", "www.example.com": "198.51.100.1", "jenkins.example.com": "@ci.other.example.org", "ci.other.example.org": "198.51.100.2",
		"v6.example.com": "2001:db8::1", "portal7.example.com": "198.51.100.3", "portal8.example.com": "198.51.100.3",
		"hqz.example.com": "198.51.100.4", "a1b2.hqz.example.com": "198.51.100.5", "grafana.hqz.example.com": "198.51.100.6",
		"from-shodan.example.com": "198.51.100.7", "from-vt-1.example.com": "198.51.100.8", "from-vt-2.example.com": "198.51.100.8", "from-vt-3.example.com": "198.51.100.8",
		"*.wild.example.com": "198.51.100.99", "real.wild.example.com": "198.51.100.9", "same.wild.example.com": "198.51.100.99",
		"*.alias.example.com": "@wildcard.cdn.example.net", "wildcard.cdn.example.net": "198.51.100.98", "own.alias.example.com": "@own.cdn.example.net", "own.cdn.example.net": "198.51.100.98",
	})
	server := providerstest.New(t)
	server.Names("example.com", "portal7.example.com", "a1b2.hqz.example.com", "gone.example.com", "*.wild.example.com", "x.wild.example.com",
		"real.wild.example.com", "same.wild.example.com", "y.alias.example.com", "own.alias.example.com", "evil.example.org", "example.com.evil.net", "not a name.example.com")
	e := env(t, z, server)
	r, f := scanOf(t, e, "example.com", standard, plenty)
	if r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Errorf("%v: %s", r.Outcome, r.Reason)
	}
	want := map[string]string{
		"www.example.com": "word list", "jenkins.example.com": "word list", "portal7.example.com": "crt.sh", "portal8.example.com": "permutations",
		"hqz.example.com": "crt.sh", "a1b2.hqz.example.com": "crt.sh", "grafana.hqz.example.com": "recursion",
		"real.wild.example.com": "crt.sh", "own.alias.example.com": "crt.sh",
	}
	if got := found(r); !maps.Equal(got, want) {
		t.Errorf("found %v\nwant  %v", got, want)
	}
	if f.GetNames() != uint32(len(want)) || !slices.Equal(f.GetWildcards(), []string{"*.alias.example.com", "*.wild.example.com"}) || f.GetTruncated() {
		t.Errorf("%v", f)
	}
	if got := report(f, "crt.sh"); got.GetState() != modelv1.SourceReport_STATE_OK || got.GetRequests() != 1 || got.GetResults() != 5 {
		t.Errorf("crt.sh: %v", got)
	}
	if got := report(f, "shodan"); got.GetState() != modelv1.SourceReport_STATE_UNAVAILABLE || !strings.Contains(got.GetProblem(), "no key") {
		t.Errorf("shodan: %v", got)
	}
	for _, l := range r.Leads {
		if l.GetTarget().GetKind() != modelv1.AssetKind_ASSET_KIND_HOST || !slices.Equal(l.GetScanTypes(), []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_DNS}) {
			t.Errorf("%v", l)
		}
	}
	t.Logf("%d questions", z.asked.Load())
}

// The tenant's keys open more sources; a source that gives pages is asked for as many as the profile allows.
func TestKeyedSources(t *testing.T) {
	records := map[string]string{"example.com": "198.51.100.1"}
	var names []string
	for i := range 6 {
		name := fmt.Sprintf("zq%d.example.com", i)
		records[name], names = "198.51.100.2", append(names, name)
	}
	z := newZone(t, records)
	server := providerstest.New(t)
	server.Names("example.com", names...)
	server.Fail("crt.sh", providerstest.Body("[]"))
	r, f := scanOf(t, env(t, z, server, "virustotal"), "example.com", passive, plenty)
	if got := report(f, "virustotal"); len(r.Leads) != 2 || got.GetState() != modelv1.SourceReport_STATE_LIMITED || got.GetRequests() != 1 {
		t.Errorf("one page: %d, %v", len(r.Leads), got)
	}
	for _, provider := range []string{"shodan", "securitytrails", "certspotter"} {
		r, f := scanOf(t, env(t, z, server, provider), "example.com", passive, plenty)
		if got := report(f, provider); len(r.Leads) != 6 || got.GetState() != modelv1.SourceReport_STATE_OK || r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
			t.Errorf("%s: %d, %v, %s", provider, len(r.Leads), got, r.Reason)
		}
	}
}

// In the passive profile nothing is guessed: only what was said is asked for.
func TestPassiveGuessesNothing(t *testing.T) {
	z := newZone(t, map[string]string{"example.com": "198.51.100.1", "www.example.com": "198.51.100.1", "dev.example.com": "198.51.100.1"})
	server := providerstest.New(t)
	server.Names("example.com", "dev.example.com")
	r, f := scanOf(t, env(t, z, server), "example.com", passive, plenty)
	if got := found(r); len(got) != 1 || got["dev.example.com"] != "crt.sh" || report(f, "word list") != nil {
		t.Errorf("%v %v", got, f)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	for name := range z.seen {
		if name != "dev.example.com" && !strings.HasPrefix(name, "rp-") {
			t.Errorf("asked for %s", name)
		}
	}
}

// A source that fails is named, and what the others found is kept.
func TestSourcesFail(t *testing.T) {
	z := newZone(t, map[string]string{"example.com": "198.51.100.1", "www.example.com": "198.51.100.1"})
	for name, c := range map[string]struct {
		fault providerstest.Fault
		state modelv1.SourceReport_State
	}{
		"outage": {providerstest.Status(502), modelv1.SourceReport_STATE_FAILED}, "429": {providerstest.TooMany("600"), modelv1.SourceReport_STATE_LIMITED},
		"malformed": {providerstest.Body("<html>"), modelv1.SourceReport_STATE_FAILED}, "giant": {providerstest.Giant, modelv1.SourceReport_STATE_FAILED},
		"silent": {providerstest.Silent, modelv1.SourceReport_STATE_FAILED},
	} {
		t.Run(name, func(t *testing.T) {
			server := providerstest.New(t)
			server.Fail("crt.sh", c.fault)
			r, f := scanOf(t, env(t, z, server), "example.com", quick, 15*time.Second)
			got := report(f, "crt.sh")
			if r.Outcome != modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE || !strings.Contains(r.Reason, "crt.sh") || got.GetState() != c.state {
				t.Errorf("%v %q %v", r.Outcome, r.Reason, got)
			}
			if len(r.Leads) != 1 {
				t.Errorf("%v", found(r))
			}
		})
	}
}

// A laboratory's names are nobody else's business, and are searched all the same.
func TestReserved(t *testing.T) {
	z := newZone(t, map[string]string{"lab.test": "127.0.0.1", "www.lab.test": "127.0.0.1"})
	server := providerstest.New(t)
	e := env(t, z, server, "shodan", "virustotal", "securitytrails", "certspotter")
	r, f := scanOf(t, e, "lab.test", standard, plenty)
	if r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || found(r)["www.lab.test"] != "word list" {
		t.Errorf("%v %s %v", r.Outcome, r.Reason, found(r))
	}
	for _, provider := range []string{"crt.sh", "shodan", "virustotal", "securitytrails", "certspotter"} {
		if got := report(f, provider); len(server.Arrivals(provider)) != 0 || got.GetState() != modelv1.SourceReport_STATE_UNAVAILABLE {
			t.Errorf("%s: %d requests, %v", provider, len(server.Arrivals(provider)), got)
		}
	}
	if r, _ := scanOf(t, e, "lab.test", passive, plenty); r.Outcome != modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE || r.Reason == "" {
		t.Errorf("nothing to ask: %v %q", r.Outcome, r.Reason)
	}
}

// A resolver that does not answer is no empty domain.
func TestResolverFails(t *testing.T) {
	dead := newZone(t, map[string]string{"*.example.com": "!", "example.com": "!"})
	r, _ := scanOf(t, env(t, dead, nil), "example.com", quick, plenty)
	if r.Outcome != modelv1.Outcome_OUTCOME_FAILED || len(r.Leads) != 0 {
		t.Errorf("SERVFAIL: %v %s", r.Outcome, r.Reason)
	}
	// Half of the names: what was found stays, and the rest is not called absent.
	records := map[string]string{"example.com": "198.51.100.1", "www.example.com": "198.51.100.1"}
	for _, word := range words()[10:60] {
		records[word+".example.com"] = "!"
	}
	r, _ = scanOf(t, env(t, newZone(t, records), nil), "example.com", quick, plenty)
	if r.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || found(r)["www.example.com"] == "" {
		t.Errorf("half: %v %s", r.Outcome, r.Reason)
	}
}

// A scan whose time ends says so, and says how far it got.
func TestTimeIsOver(t *testing.T) {
	z := newZone(t, map[string]string{"example.com": "198.51.100.1", "*.example.com": "?"})
	started := time.Now()
	r, f := scanOf(t, env(t, z, nil), "example.com", standard, 2*time.Second)
	if r.Outcome == modelv1.Outcome_OUTCOME_COMPLETE || time.Since(started) > 30*time.Second {
		t.Errorf("%v after %v: %v", r.Outcome, time.Since(started), f)
	}
}

// A third party that names a hundred thousand names, and a zone in which all exist, end at the bounds.
func TestBounds(t *testing.T) {
	z := newZone(t, map[string]string{"example.com": "198.51.100.1"})
	server := providerstest.New(t)
	var all []string
	for i := range 2*maxCandidates + 10 {
		all = append(all, fmt.Sprintf("n%d.example.com", i))
	}
	server.Names("example.com", all...)
	s := &scan{domain: "example.com", seen: map[string]bool{"example.com": true}, found: map[string]string{}, empty: map[string]bool{}}
	if got := len(s.candidates(clean(all, "example.com"))); got != maxCandidates-1 || !s.truncated {
		t.Errorf("%d candidates", got)
	}
	s.truncated = false
	for _, name := range all[:maxNames+1] {
		s.keep(name, "crt.sh")
	}
	if len(s.found) != maxNames || !s.truncated {
		t.Errorf("%d names", len(s.found))
	}
	_ = z
}

func TestWords(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range words() {
		if seen[w] || !plausible(w) || strings.Contains(w, ".") {
			t.Errorf("word %q", w)
		}
		seen[w] = true
	}
	if len(words()) < 500 || effortOf(quick).words > len(words()) {
		t.Errorf("%d words", len(words()))
	}
}

func TestVary(t *testing.T) {
	for label, want := range map[string][]string{
		"web1": {"web2", "web0", "web", "web1-dev"}, "db09": {"db10", "db08", "db"}, "api-dev": {"api-prod", "api", "api-staging"}, "shop": {"shop-dev", "dev-shop", "shopdev", "dev.shop"},
	} {
		got := vary(label)
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s has no %s: %v", label, w, got)
			}
		}
		if slices.Contains(got, label) {
			t.Errorf("%s is among its own variations", label)
		}
	}
}

func TestNoName(t *testing.T) {
	for _, value := range []string{"", "192.0.2.1", "a b.example.com", "2001:db8::1", strings.Repeat("a", 64) + ".example.com"} {
		_, err := New().Scan(t.Context(), probes.Env{}, &modelv1.ScanJob{Target: &modelv1.Target{Value: value}})
		if err == nil {
			t.Errorf("%q was scanned", value)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("*.a.example.com")
	f.Add("A.Example.com.")
	f.Fuzz(func(t *testing.T, name string) {
		for _, got := range clean([]string{name}, "example.com") {
			if !strings.HasSuffix(got, ".example.com") {
				t.Fatalf("%q became %q", name, got)
			}
		}
		for _, label := range vary(name) {
			if label == name {
				t.Fatal("itself")
			}
		}
	})
}
