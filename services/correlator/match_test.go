package correlator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func affected(advisory, scheme, introduced, fixed string, sources ...string) *modelv1.Affected {
	return &modelv1.Affected{Advisory: advisory, Scheme: scheme, Introduced: introduced, Fixed: fixed, Sources: sources}
}

func record(key string, list ...*modelv1.Affected) *modelv1.ProductRecord {
	return &modelv1.ProductRecord{Key: key, Affected: list}
}

// advisories of the given ids without anything said about them.
func plainAdvisories(ids ...string) []*modelv1.Advisory {
	var out []*modelv1.Advisory
	for _, id := range ids {
		out = append(out, &modelv1.Advisory{Id: id})
	}
	return out
}

func names(t testing.TB) *productNames {
	t.Helper()
	p, err := products()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func serviceSet(location string, f *modelv1.ServiceFact) *modelv1.ObservationSet {
	return &modelv1.ObservationSet{
		Asset: host.GetName(), ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Location: location, ScannedAt: at(0), CompleteAt: at(0), Outcome: complete,
		Observations: []*modelv1.Observation{{
			Key: "service", Asset: host.GetName(), ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Location: location, FirstSeen: at(0), LastSeen: at(0),
			Fact: &modelv1.Observation_Service{Service: f},
		}},
	}
}

func TestInRange(t *testing.T) {
	for _, c := range []struct {
		affected *modelv1.Affected
		in, out  []string
	}{
		{&modelv1.Affected{Scheme: "generic", Introduced: "8.5p1", Fixed: "9.8p1"}, []string{"8.5p1", "9.2p1", "9.7p1"}, []string{"8.4p1", "8.5", "9.8p1", "10.0p1"}},
		{&modelv1.Affected{Scheme: "generic", LastAffected: "1.0.2k"}, []string{"0.9.8", "1.0.2", "1.0.2k"}, []string{"1.0.2l", "1.1.0"}},
		{&modelv1.Affected{Scheme: "semver", Introduced: "1.2.0", IntroducedExcluded: true, Fixed: "2"}, []string{"1.2.1", "2.0.0-rc1"}, []string{"1.2.0", "2.0.0"}},
		{&modelv1.Affected{Scheme: "semver", Introduced: "0", Fixed: "1.25.3"}, []string{"0.1", "1.25.2"}, []string{"1.25.3"}},
		{&modelv1.Affected{Scheme: "generic", Versions: []string{"2.4.49", "2.4.50"}}, []string{"2.4.49", "2.4.50"}, []string{"2.4.48", "2.4.51"}},
		{&modelv1.Affected{Scheme: "git", Introduced: "abc", Fixed: "def", Versions: []string{"v1.0"}}, []string{"v1.0"}, []string{"1.1"}},
		{&modelv1.Affected{Scheme: "generic", Introduced: "3.0"}, []string{"3.0", "9"}, []string{"2.9"}},
		{&modelv1.Affected{Scheme: "deb", Introduced: "0", Fixed: "1:9.2p1-2+deb12u3"}, []string{"1:9.2p1-2+deb12u2", "1:9.2p1-2"}, []string{"1:9.2p1-2+deb12u3", "1:9.2p1-2+deb12u7"}},
	} {
		for _, v := range c.in {
			if !inRange(c.affected, v) {
				t.Errorf("%s is not in %v", v, c.affected)
			}
		}
		for _, v := range c.out {
			if inRange(c.affected, v) {
				t.Errorf("%s is in %v", v, c.affected)
			}
		}
	}
}

// TestMatching: what is found, with how sure it is and by whose word.
func TestMatching(t *testing.T) {
	intel := newMapIntel("1", []*modelv1.ProductRecord{
		record("openbsd:openssh", affected("CVE-1", "generic", "8.5p1", "9.8p1", "cna", "nvd"), affected("CVE-2", "generic", "", "9.3p2", "nvd"), affected("CVE-2", "generic", "10.0", "10.1", "cna")),
		record("Debian:12/openssh", affected("CVE-1", "deb", "0", "1:9.2p1-2+deb12u3", "osv")),
		record("igor_sysoev:nginx", affected("CVE-3", "semver", "", "1.20.1", "nvd")), record("f5:nginx", affected("CVE-3", "semver", "0.6.18", "1.20.1", "cna")),
		record("apache:http_server", affected("CVE-4", "semver", "2.4.0", "2.4.58", "cna")),
		record("x:form", &modelv1.Affected{Advisory: "CVE-5", Scheme: "generic", Fixed: "2", TargetSoftware: "wordpress"}, &modelv1.Affected{Advisory: "CVE-6", Scheme: "generic", Fixed: "2", Part: "o"}),
		record("x:all", affected("CVE-7", "generic", "", "", "cna")),
	}, plainAdvisories("CVE-7", "CVE-1", "CVE-2", "CVE-3", "CVE-4", "CVE-5", "CVE-6"))
	for _, c := range []struct {
		name      string
		fact      *modelv1.ServiceFact
		want      string // cve:sources@confidence
		reasonHas string
		evaluated bool
	}{
		{"a version", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.7p1"}, "CVE-1:cna,nvd@0.7", "since 8.5p1 before 9.8p1", true},
		{"the record itself excludes it", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.3p1"}, "CVE-1:cna,nvd@0.7 CVE-2:nvd@0.4", "", true},
		{"the words of a banner after the version", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.7p1 extra"}, "CVE-1:cna,nvd@0.7", "", true},
		{"a distribution without its package", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.7p1", Banner: "SSH-2.0-OpenSSH_9.7p1 Debian-3"}, "CVE-1:cna,nvd@0.4", "Debian may have mended it without changing the version; its package's version is not told", true},
		{"a package that is older than the fix", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.2p1", Distribution: "Debian:12", PackageVersion: "1:9.2p1-2+deb12u2"}, "CVE-1:osv@0.9", "package 1:9.2p1-2+deb12u2 of Debian:12", true},
		{"a package with the fix", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.2p1", Distribution: "Debian:12", PackageVersion: "1:9.2p1-2+deb12u3"}, "", "", true},
		{"a distribution that intel does not know", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.7p1", Distribution: "Debian:99", PackageVersion: "1:9.7p1-1"}, "CVE-1:cna,nvd@0.4", "its advisories are not in the snapshot", true},
		{"two names of one vendor", &modelv1.ServiceFact{Cpe: []string{"cpe:2.3:a:nginx:nginx:1.18.0:*:*:*:*:*:*:*"}}, "CVE-3:cna,nvd@0.7", "", true},
		{"an old URI", &modelv1.ServiceFact{Cpe: []string{"cpe:/a:igor_sysoev:nginx:1.18.0"}}, "CVE-3:cna,nvd@0.7", "", true},
		{"version and update of a CPE", &modelv1.ServiceFact{Cpe: []string{"cpe:2.3:a:openbsd:openssh:9.7:p1:*:*:*:*:*:*"}}, "CVE-1:cna,nvd@0.7", "", true},
		{"a version without its last number", &modelv1.ServiceFact{Product: "Apache httpd", Version: "2.4"}, "CVE-4:cna@0.4", "without its last number", true},
		{"no version", &modelv1.ServiceFact{Product: "Apache httpd"}, "", "", false},
		{"a word for a version", &modelv1.ServiceFact{Product: "Apache httpd", Version: "unknown"}, "", "", false},
		{"another platform's", &modelv1.ServiceFact{Cpe: []string{"cpe:2.3:a:x:form:1:*:*:*:*:joomla:*:*"}}, "", "", true},
		{"a platform's", &modelv1.ServiceFact{Cpe: []string{"cpe:2.3:a:x:form:1:*:*:*:*:wordpress:*:*"}}, "CVE-5:@0.7", "", true},
		{"no versions in the record", &modelv1.ServiceFact{Cpe: []string{"cpe:2.3:a:x:all:1:*:*:*:*:*:*:*"}}, "CVE-7:cna@0.4", "names no versions", true},
		{"a part's", &modelv1.ServiceFact{Cpe: []string{"cpe:2.3:o:x:form:1:*:*:*:*:joomla:*:*"}}, "CVE-6:@0.7", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := observedProducts(names(t), []*modelv1.ObservationSet{serviceSet("h:1/tcp", c.fact)})
			if len(found) != 1 {
				t.Fatalf("%d products", len(found))
			}
			list, ok, err := matchProduct(intel, names(t), found[0])
			if err != nil || ok != c.evaluated {
				t.Fatalf("evaluated %v, %v", ok, err)
			}
			var got []string
			reasons := ""
			for _, m := range list {
				got = append(got, fmt.Sprintf("%s:%s@%.1f", m.GetCve(), strings.Join(m.GetSources(), ","), m.GetConfidence()))
				reasons += m.GetReason() + "\n"
				if m.GetVerified() {
					t.Errorf("%s is verified by a banner", m.GetCve())
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want || !strings.Contains(reasons, c.reasonHas) {
				t.Errorf("got %v, want %s; reasons %s", got, c.want, reasons)
			}
		})
	}
}

// TestDistributionMarks: what versions and banners tell about the distribution where the probe says nothing.
func TestDistributionMarks(t *testing.T) {
	for _, c := range []struct{ version, banner, distribution, pack string }{
		{"8.2.7-1~deb12u1", "", "Debian:12", "8.2.7-1~deb12u1"}, {"1.22.1-9+deb12u1", "", "Debian:12", "1.22.1-9+deb12u1"},
		{"7.4.3-4ubuntu2.18", "", "Ubuntu", ""}, {"2.4.57", "Apache/2.4.57 (Debian)", "Debian", ""}, {"2.4.6", "Apache/2.4.6 (CentOS)", "CentOS", ""},
		{"2.4.57", "Apache/2.4.57 (Unix)", "", ""},
	} {
		p := &observed{version: c.version}
		if p.describe("", "", c.banner); p.distribution != c.distribution || p.packageVersion != c.pack {
			t.Errorf("%s %s: %q %q", c.version, c.banner, p.distribution, p.packageVersion)
		}
	}
	for _, c := range []struct{ key, distribution, version, want string }{
		{"apache:http_server", "Debian:12", "2.4.57", "Debian:12/apache2"}, {"apache:http_server", "AlmaLinux:9", "2.4.57", "AlmaLinux:9/httpd"},
		{"php:php", "Debian:12", "8.2.7", "Debian:12/php8.2"}, {"php:php", "Debian:12", "8", ""}, {"postgresql:postgresql", "Ubuntu:22.04:LTS", "14.9", "Ubuntu:22.04:LTS/postgresql-14"},
		{"openbsd:openssh", "Debian", "9.2p1", ""}, {"x:y", "Debian:12", "1", ""},
	} {
		if got := names(t).packageKey(c.key, c.distribution, c.version); got != c.want {
			t.Errorf("%s of %s is %q, want %q", c.key, c.distribution, got, c.want)
		}
	}
}

// TestHostileProducts: what a target makes up becomes no key and no flood.
func TestHostileProducts(t *testing.T) {
	f := &modelv1.ServiceFact{}
	for i := range 1000 {
		f.Cpe = append(f.Cpe, fmt.Sprintf("cpe:2.3:a:v%d:p:1:*:*:*:*:*:*:*", i))
	}
	if got := len(observedProducts(names(t), []*modelv1.ObservationSet{serviceSet("h:1/tcp", f)})); got != maxProducts {
		t.Errorf("%d products, want the bound %d", got, maxProducts)
	}
	for _, text := range []string{`cpe:2.3:a:a\#b:p:1:*:*:*:*:*:*:*`, "cpe:2.3:a:" + strings.Repeat("x", maxProductKey) + ":p:1:*:*:*:*:*:*:*", "cpe:2.3:a:*:p:1:*:*:*:*:*:*:*", "x"} {
		if p, ok := fromCPE(names(t), text, "", ""); ok {
			t.Errorf("%s becomes %s", text, p.key)
		}
	}
}

// TestOneClassEach: every vulnerability is in exactly one class, the most urgent that fits, and so in exactly one finding of a place.
func TestOneClassEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []*modelv1.Affected
		var known []*modelv1.Advisory
		for i := range rapid.IntRange(1, 60).Draw(t, "advisories") {
			a := &modelv1.Advisory{
				Id: fmt.Sprintf("CVE-2026-%04d", i), Published: at(rapid.IntRange(-500, 0).Draw(t, "published")),
				Cvss: []*modelv1.Cvss{{Version: "3.1", Score: rapid.Float64Range(0, 10).Draw(t, "score"), Source: "cna", Vector: rapid.SampledFrom([]string{"", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}).Draw(t, "vector")}},
				Epss: &modelv1.Epss{Probability: rapid.Float64Range(0, 1).Draw(t, "epss")}, Ssvc: &modelv1.Ssvc{Exploitation: rapid.SampledFrom([]string{"", "poc", "active"}).Draw(t, "ssvc")},
				Withdrawn: rapid.IntRange(0, 9).Draw(t, "withdrawn") == 0,
			}
			if rapid.Bool().Draw(t, "kev") {
				a.Kev = &modelv1.Kev{DateAdded: at(-10), Ransomware: rapid.Bool().Draw(t, "ransomware")}
			}
			known, list = append(known, a), append(list, affected(a.GetId(), "generic", "", rapid.SampledFrom([]string{"1", "3"}).Draw(t, "fixed"), "cna"))
		}
		in := Input{
			Asset: host, Sets: []*modelv1.ObservationSet{serviceSet("h:1/tcp", &modelv1.ServiceFact{Product: "OpenSSH", Version: "2"})}, Now: at(1).AsTime(),
			Intel: newMapIntel("1", []*modelv1.ProductRecord{record("openbsd:openssh", list...)}, known),
		}
		var err error
		if in.Catalogue, err = shipped(); err != nil {
			t.Fatal(err)
		}
		out, err := Evaluate(in)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]uint32{}
		for i, a := range known {
			if !a.GetWithdrawn() && list[i].GetFixed() == "3" {
				want["cve-"+classOf(&correlatorv1.VulnerabilityMatch{Kev: a.GetKev(), Epss: a.GetEpss(), Ssvc: a.GetSsvc(), Cvss: a.GetCvss()[0]})]++
			}
		}
		got, seen := map[string]uint32{}, map[string]bool{}
		for _, f := range out.Findings {
			if f.GetProduct() == "" {
				continue
			}
			if got[f.GetCheck()] != 0 || len(f.GetMatches()) > maxMatches || len(f.GetMatches()) != int(min(f.GetMatchCount(), maxMatches)) {
				t.Fatalf("%s: %d of %d matches", f.GetCheck(), len(f.GetMatches()), f.GetMatchCount())
			}
			got[f.GetCheck()] = f.GetMatchCount()
			if !slices.IsSortedFunc(f.GetMatches(), compareMatches) {
				t.Fatalf("%s is not sorted", f.GetCheck())
			}
			for _, m := range f.GetMatches() {
				if seen[m.GetCve()] {
					t.Fatalf("%s is in two findings", m.GetCve())
				}
				seen[m.GetCve()] = true
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestBestScore(t *testing.T) {
	score := func(source, version string, value float64) *modelv1.Cvss {
		return &modelv1.Cvss{Source: source, Version: version, Score: value}
	}
	for _, c := range []struct {
		all  []*modelv1.Cvss
		want float64
	}{
		{nil, 0}, {[]*modelv1.Cvss{score("nvd", "3.1", 9.8), score("cna", "3.1", 5)}, 5}, {[]*modelv1.Cvss{score("cna", "3.1", 5), score("cna", "4.0", 6)}, 6},
		{[]*modelv1.Cvss{score("cna", "3.1", 0), score("adp", "3.1", 7)}, 7}, {[]*modelv1.Cvss{score("who", "3.1", 1), score("nvd", "2.0", 7)}, 7},
	} {
		if got := bestScore(c.all).GetScore(); got != c.want {
			t.Errorf("%v: %v, want %v", c.all, got, c.want)
		}
	}
}

// TestDirective: all 16 rows of the directive's table, as they are printed.
func TestDirective(t *testing.T) {
	table, err := directive()
	if err != nil || len(table) != 16 {
		t.Fatalf("%d rows, %v", len(table), err)
	}
	// columns: exposed not KEV, exposed KEV, not exposed not KEV, not exposed KEV; + for a look for traces
	for row, want := range map[string]string{"no partial": "60 14 0 14", "yes partial": "14 3 60 14", "no total": "14 3+ 0 14", "yes total": "3 3+ 60 3+"} {
		var got []string
		for _, column := range []directiveRow{{exposed: true}, {exposed: true, kev: true}, {}, {kev: true}} {
			column.automatable, column.total = strings.HasPrefix(row, "yes"), strings.HasSuffix(row, "total")
			got = append(got, fmt.Sprint(table[column].days)+map[bool]string{true: "+"}[table[column].forensics])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", row, got, want)
		}
	}
}

func TestDecisionPoints(t *testing.T) {
	for _, c := range []struct {
		ssvc               *modelv1.Ssvc
		vector             string
		automatable, total bool
	}{
		{&modelv1.Ssvc{Automatable: "yes", TechnicalImpact: "partial"}, "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/C:H/I:H/A:H", true, false},
		{nil, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", true, true}, {nil, "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H", false, true},
		{nil, "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", true, true}, {nil, "CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:H/VI:L/VA:H", false, false},
		{nil, "AV:N/AC:L/Au:N/C:C/I:C/A:C", true, true}, {nil, "", false, false}, {nil, strings.Repeat("A:B/", 10000), false, false},
	} {
		a, b, source := decisionPoints(&correlatorv1.VulnerabilityMatch{Ssvc: c.ssvc, Cvss: &modelv1.Cvss{Vector: c.vector}})
		if a != c.automatable || b != c.total || source == "" {
			t.Errorf("%v %s: %v, %v, %s", c.ssvc, cut(c.vector, 60), a, b, source)
		}
	}
}

func TestProductData(t *testing.T) {
	p := names(t)
	if p.Dated == "" || len(p.Products) < 40 {
		t.Errorf("%d products, dated %q", len(p.Products), p.Dated)
	}
	for _, d := range p.Products {
		for _, key := range append([]string{d.Key}, d.Also...) {
			if p.canonical(key) != d.Key || !safeKey(key) || key != strings.ToLower(key) {
				t.Errorf("%s", key)
			}
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	var list []*modelv1.Affected
	var known []*modelv1.Advisory
	for i := range 500 {
		id := fmt.Sprintf("CVE-2026-%04d", i)
		list, known = append(list, affected(id, "generic", "5", "9.8p1", "cna")), append(known, &modelv1.Advisory{Id: id, Kev: &modelv1.Kev{DateAdded: timestamppb.New(start)}})
	}
	intel := newMapIntel("1", []*modelv1.ProductRecord{record("openbsd:openssh", list...)}, known)
	p := observedProducts(names(b), []*modelv1.ObservationSet{serviceSet("h:1/tcp", &modelv1.ServiceFact{Product: "OpenSSH", Version: "9.2p1"})})[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := matchProduct(intel, names(b), p); err != nil {
			b.Fatal(err)
		}
	}
}
