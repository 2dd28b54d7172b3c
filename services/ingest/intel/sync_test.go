package intel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// publishAll puts a first state of all feeds at the publisher, as of 23 Nov 2026, 06:30.
func publishAll(t testing.TB, p *publisher) {
	inner := zipOf(t, map[string]string{
		"cves/2026/20xxx/CVE-2026-20001.json": cveJSON("CVE-2026-20001", "2026-11-01T00:00:00Z", "example", "server", "2.4.9"),
		"cves/2026/20xxx/CVE-2026-20002.json": cveJSON("CVE-2026-20002", "2026-11-02T00:00:00Z", "example", "proxy", "1.1"),
		"cves/2011/3xxx/CVE-2011-3192.json":   cveJSON("CVE-2011-3192", "2026-11-03T00:00:00Z", "apache", "http_server", "2.2.20"),
		"cves/delta.json":                     `{"fetchTime":"2026-11-23T00:00:00Z"}`,
	})
	p.put("/cve/cve_2026-11-23_0500Z/2026-11-23_all_CVEs_at_midnight.zip.zip", zipOf(t, map[string]string{"cves.zip": string(inner)}))
	p.put("/cve/cve_2026-11-23_0500Z/2026-11-23_delta_CVEs_at_0500Z.zip", zipOf(t, map[string]string{
		"deltaCves/CVE-2026-20003.json": cveJSON("CVE-2026-20003", "2026-11-23T04:00:00Z", "example", "server", "3.0"),
	}))
	p.put("/kev.json", []byte(kevJSON("2026.11.20", "2026-11-20T17:00:00Z", "CVE-2026-20001", "CVE-2020-0001")))
	p.put("/epss.csv.gz", gz(epssCSV("v5", "2026-11-22", "CVE-2026-20001,0.90000,0.99000", "CVE-2026-20002,0.01000,0.50000")))
	p.put("/osv/Debian/all.zip", zipOf(t, map[string]string{
		"DEBIAN-CVE-2026-20001.json": osvJSON("DEBIAN-CVE-2026-20001", "2026-11-05T00:00:00Z", []string{"CVE-2026-20001"}, "server", "2.4.8-1+deb12u1"),
		"DSA-5999-1.json":            osvJSON("DSA-5999-1", "2026-11-05T00:00:00Z", []string{"CVE-2026-20001"}, "server", "2.4.8-1+deb12u1"),
	}))
	p.put("/osv/Debian/modified_id.csv", []byte("2026-11-05T00:00:00Z,DEBIAN-CVE-2026-20001\n2026-11-05T00:00:00Z,DSA-5999-1\n"))
	for year := firstNVDYear; year <= 2026; year++ {
		records := []string{}
		if year == 2026 {
			records = append(records, nvdRecord("CVE-2026-20001", "2026-11-04T00:00:00.000", "example:server", "2.4.9"))
		}
		putNVDYear(p, year, records...)
	}
}

func putNVDYear(p *publisher, year int, records ...string) {
	body := nvdJSON(len(records), 0, records...)
	sum := sha256.Sum256([]byte(body))
	p.put(fmt.Sprintf("/nvdfiles/nvdcve-2.0-%d.json.gz", year), gz(body))
	p.put(fmt.Sprintf("/nvdfiles/nvdcve-2.0-%d.meta", year),
		fmt.Appendf(nil, "lastModifiedDate:2026-11-23T03:00:00-04:00\r\nsize:%d\r\nzipSize:1\r\ngzSize:1\r\nsha256:%s\r\n", len(body), strings.ToUpper(hex.EncodeToString(sum[:]))))
}

// TestSyncJoins: all feeds, from the network, to one snapshot.
func TestSyncJoins(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	m := p.must(t)
	if m.GetVersion() != "1" || m.GetAdvisories() != 5 || m.GetProducts() != 4 || m.GetKev() != 2 || len(m.GetFeeds()) != 5 {
		t.Fatalf("manifest %v", m)
	}
	a := get(t, p, sectionAdvisory, "CVE-2026-20001", &modelv1.Advisory{})
	if a.GetTitle() != "Title of CVE-2026-20001" || a.GetEpss().GetProbability() != 0.9 || a.GetEpss().GetModel() != "v5" || !a.GetKev().GetRansomware() ||
		!slices.Equal(a.GetAliases(), []string{"DEBIAN-CVE-2026-20001"}) || !a.GetModified().AsTime().Equal(time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("advisory %v", a)
	}
	// Only KEV knows it: it is there all the same.
	if a := get(t, p, sectionAdvisory, "CVE-2020-0001", &modelv1.Advisory{}); a.GetTitle() != "Name of CVE-2020-0001" || a.GetKev() == nil {
		t.Errorf("advisory %v", a)
	}
	r := get(t, p, sectionProduct, "example:server", &modelv1.ProductRecord{})
	if r.GetKey() != "example:server" || len(r.GetAffected()) != 3 {
		t.Fatalf("product %v", r)
	}
	var got []string
	for _, x := range r.GetAffected() {
		got = append(got, fmt.Sprintf("%s %s <%s %v", x.GetAdvisory(), x.GetScheme(), x.GetFixed(), x.GetSources()))
	}
	want := []string{"CVE-2026-20001 semver <2.4.9 [cna]", "CVE-2026-20001 generic <2.4.9 [nvd]", "CVE-2026-20003 semver <3.0 [cna]"}
	if !slices.Equal(got, want) {
		t.Errorf("ranges %q, want %q", got, want)
	}
	if d := get(t, p, sectionProduct, "Debian:12/server", &modelv1.ProductRecord{}); d.GetAffected()[0].GetFixed() != "2.4.8-1+deb12u1" || d.GetAffected()[0].GetScheme() != "deb" {
		t.Errorf("package %v", d)
	}
	sent := p.announced(t)
	if len(sent) != 1 || sent[0].GetVersion() != "1" || sent[0].GetBlob() != m.GetBlob() ||
		!slices.Equal(sent[0].GetProducts(), []string{"CVE-2011-3192", "CVE-2020-0001", "CVE-2026-20001", "CVE-2026-20002", "CVE-2026-20003",
			"Debian:12/server", "apache:http_server", "example:proxy", "example:server"}) {
		t.Errorf("announced %v", sent)
	}
	if m := p.must(t); m != nil {
		t.Errorf("nothing changed and snapshot %s was published", m.GetVersion())
	}
	status, err := p.Store.Status(t.Context())
	if err != nil || status.GetPending() != 0 {
		t.Errorf("status %v, %v", status, err)
	}
	for _, f := range status.GetFeeds() {
		if f.GetSynced() == nil || f.GetProblem() != "" || f.GetCursor() == "" {
			t.Errorf("feed %v", f)
		}
	}
}

// TestIncremental: what each feed says of a day later is read without reading the whole again, and just the products and advisories
// concerned are announced.
func TestIncremental(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	p.must(t)
	p.announced(t)
	clear(pub.asked)
	p.clock.advance(24 * time.Hour)
	pub.put("/cve/cve_2026-11-23_at_end_of_day/2026-11-23_delta_CVEs_at_end_of_day.zip", zipOf(t, map[string]string{
		"deltaCves/CVE-2026-20003.json": cveJSON("CVE-2026-20003", "2026-11-23T04:00:00Z", "example", "server", "3.0"),
		"deltaCves/CVE-2026-20004.json": cveJSON("CVE-2026-20004", "2026-11-23T22:00:00Z", "example", "mailer", "5"),
	}))
	pub.put("/cve/cve_2026-11-24_0300Z/2026-11-24_delta_CVEs_at_0300Z.zip", zipOf(t, map[string]string{
		"deltaCves/CVE-2026-20002.json": strings.Replace(cveJSON("CVE-2026-20002", "2026-11-24T01:00:00Z", "example", "proxy", "1.1"), "PUBLISHED", "REJECTED", 1),
	}))
	pub.put("/osv/Debian/modified_id.csv", []byte("2026-11-23T12:00:00Z,DEBIAN-CVE-2026-20009\n2026-11-05T00:00:00Z,DEBIAN-CVE-2026-20001\n"))
	pub.put("/osv/Debian/DEBIAN-CVE-2026-20009.json", []byte(osvJSON("DEBIAN-CVE-2026-20009", "2026-11-23T12:00:00Z", []string{"CVE-2026-20009"}, "other", "7")))
	pub.nvd["2026-11-23T10:00:00.000Z"] = nvdRecord("CVE-2011-3192", "2026-11-23T10:00:00.000", "apache:http_server", "2.2.20")
	for i := range 3 { // more than one page
		at := fmt.Sprintf("2026-11-23T11:00:0%d.000", i)
		pub.nvd[at+"Z"] = nvdRecord(fmt.Sprintf("CVE-2026-3000%d", i), at, "example:library", "9")
	}
	pub.put("/kev.json", []byte(kevJSON("2026.11.23", "2026-11-23T17:00:00Z", "CVE-2026-20001", "CVE-2020-0001", "CVE-2026-20003")))
	m := p.must(t)
	if m.GetVersion() != "2" || m.GetAdvisories() != 10 {
		t.Fatalf("manifest %v", m)
	}
	sent := p.announced(t)
	want := []string{
		"CVE-2026-20002", "CVE-2026-20003", "CVE-2026-20004", "CVE-2026-20009", "CVE-2026-30000", "CVE-2026-30001", "CVE-2026-30002",
		"Debian:12/other", "apache:http_server", "example:library", "example:mailer", "example:proxy", "example:server",
	}
	if len(sent) != 1 || !slices.Equal(sent[0].GetProducts(), want) {
		t.Errorf("announced %v, want %q", sent, want)
	}
	if a := get(t, p, sectionAdvisory, "CVE-2026-20002", &modelv1.Advisory{}); !a.GetWithdrawn() {
		t.Errorf("rejected advisory %v", a)
	}
	for path := range pub.asked {
		if strings.Contains(path, "all") || strings.Contains(path, "nvdfiles") || strings.Contains(path, "20001.json") && !strings.Contains(path, "modified") {
			t.Logf("asked %s %d times", path, pub.asked[path])
		}
		if strings.Contains(path, "all_CVEs") || strings.HasSuffix(path, "all.zip") || strings.Contains(path, "nvdfiles") {
			t.Errorf("the whole was read again: %s", path)
		}
	}
}

// TestAnnounced: what counts as a change of an advisory and of a product, and what does not.
func TestAnnounced(t *testing.T) {
	base := func(p *publisher) { publishAll(t, p) }
	for _, c := range []struct {
		name   string
		change func(p *publisher)
		want   string
	}{
		{"EPSS within a step", func(p *publisher) {
			p.put("/epss.csv.gz", gz(epssCSV("v5", "2026-11-23", "CVE-2026-20001,0.94000,0.99000", "CVE-2026-20002,0.04999,0.50000")))
		}, ""},
		{"EPSS crosses a tenth", func(p *publisher) {
			p.put("/epss.csv.gz", gz(epssCSV("v5", "2026-11-23", "CVE-2026-20001,0.90000,0.99000", "CVE-2026-20002,0.10000,0.50000")))
		}, "CVE-2026-20002 example:proxy"},
		{"EPSS is gone", func(p *publisher) {
			p.put("/epss.csv.gz", gz(epssCSV("v5", "2026-11-23", "CVE-2026-20002,0.01000,0.50000")))
		}, "CVE-2026-20001 Debian:12/server example:server"},
		{"a new model alone", func(p *publisher) {
			p.put("/epss.csv.gz", gz(epssCSV("v6", "2026-11-23", "CVE-2026-20001,0.90000,0.99000", "CVE-2026-20002,0.01000,0.50000")))
		}, ""},
		{"KEV adds", func(p *publisher) {
			p.put("/kev.json", []byte(kevJSON("2026.11.21", "2026-11-21T17:00:00Z", "CVE-2026-20001", "CVE-2020-0001", "CVE-2011-3192")))
		}, "CVE-2011-3192 apache:http_server"},
		{"KEV takes back", func(p *publisher) {
			p.put("/kev.json", []byte(kevJSON("2026.11.21", "2026-11-21T17:00:00Z", "CVE-2020-0001")))
		}, "CVE-2026-20001 Debian:12/server example:server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pub := newPublisher(t)
			base(pub)
			p := open(t, setup{dir: t.TempDir(), publisher: pub})
			p.must(t)
			p.announced(t)
			c.change(pub)
			if m := p.must(t, "kev", "epss"); m == nil {
				t.Fatal("nothing was published")
			}
			sent := p.announced(t)
			if len(sent) != 1 || strings.Join(sent[0].GetProducts(), " ") != c.want {
				t.Errorf("announced %v, want %q", sent, c.want)
			}
		})
	}
}

// TestModelBreak: a new model of EPSS is marked with its day.
func TestModelBreak(t *testing.T) {
	pub := newPublisher(t)
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	for _, c := range []struct{ model, date, since string }{{"v4", "2026-06-13", "2026-06-13"}, {"v4", "2026-06-14", "2026-06-13"}, {"v5", "2026-06-15", "2026-06-15"}} {
		pub.put("/epss.csv.gz", gz(epssCSV(c.model, c.date, "CVE-2026-20001,0.9,0.9")))
		p.must(t, "epss")
		f, err := p.Store.feed(t.Context(), "epss")
		if err != nil || f.value.GetFeed().GetVersionSince().AsTime().Format(time.DateOnly) != c.since || f.value.GetFeed().GetVersion() != c.model {
			t.Errorf("feed %v, %v", f.value.GetFeed(), err)
		}
	}
}

// TestOlderCatalogue: a mirror that fell back to an older day does not take what is known back.
func TestOlderCatalogue(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	p.must(t)
	before := p.dump(t)
	pub.put("/kev.json", []byte(kevJSON("2026.11.10", "2026-11-10T17:00:00Z", "CVE-2011-3192")))
	_, problems, err := p.sync(t.Context(), "kev")
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], "older than the one that is there") {
		t.Errorf("%q, %v", problems, err)
	}
	if p.dump(t) != before {
		t.Error("the snapshot changed")
	}
}

// TestLinksMove: an OSV record that is about another CVE now is not about the one before any more.
func TestLinksMove(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	p.must(t)
	p.announced(t)
	p.clock.advance(24 * time.Hour)
	pub.put("/osv/Debian/modified_id.csv", []byte("2026-11-23T12:00:00Z,DEBIAN-CVE-2026-20001\n"))
	pub.put("/osv/Debian/DEBIAN-CVE-2026-20001.json", []byte(osvJSON("DEBIAN-CVE-2026-20001", "2026-11-23T12:00:00Z", []string{"CVE-2026-20002"}, "server", "1")))
	p.must(t, "osv")
	d := get(t, p, sectionProduct, "Debian:12/server", &modelv1.ProductRecord{})
	if len(d.GetAffected()) != 1 || d.GetAffected()[0].GetAdvisory() != "CVE-2026-20002" {
		t.Errorf("package %v", d)
	}
	if a := get(t, p, sectionAdvisory, "CVE-2026-20001", &modelv1.Advisory{}); len(a.GetAliases()) != 0 {
		t.Errorf("advisory %v", a)
	}
}

func TestDue(t *testing.T) {
	pub := newPublisher(t)
	publishAll(t, pub)
	p := open(t, setup{dir: t.TempDir(), publisher: pub})
	due := func() string {
		names, err := p.Due(t.Context(), 24*time.Hour, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(names, " ")
	}
	if got := due(); got != "kev epss cve osv/Debian nvd" {
		t.Errorf("at first %q are due", got)
	}
	p.must(t)
	if got := due(); got != "" {
		t.Errorf("just after a sync %q are due", got)
	}
	p.clock.advance(time.Hour)
	if got := due(); got != "kev" {
		t.Errorf("an hour later %q are due", got)
	}
	pub.put("/kev.json", []byte("<html>"))
	if _, problems, err := p.sync(t.Context(), "kev"); err != nil || len(problems) != 1 {
		t.Fatalf("%q, %v", problems, err)
	}
	if got := due(); got != "" {
		t.Errorf("just after a failure %q are due", got)
	}
	p.clock.advance(7 * time.Minute)
	if got := due(); got != "kev" {
		t.Errorf("a while after a failure %q are due", got)
	}
	p.clock.advance(23 * time.Hour)
	if got := due(); got != "kev epss cve osv/Debian nvd" {
		t.Errorf("a day later %q are due", got)
	}
}

func TestRequestsThatAreWrong(t *testing.T) {
	p := open(t, setup{dir: t.TempDir()})
	for _, req := range []*ingestv1.SyncIntelRequest{{Feeds: []string{"nope"}}, {Feeds: []string{"osv/Nope"}}, {Continuation: "x"}, {Continuation: "1:nope"}} {
		if _, err := p.Step(t.Context(), req); err == nil || !strings.Contains(err.Error(), "use cve") && !strings.Contains(err.Error(), "continuation") && !strings.Contains(err.Error(), "no feed") {
			t.Errorf("%v: %v", req, err)
		}
	}
}
