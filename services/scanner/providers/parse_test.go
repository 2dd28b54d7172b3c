package providers

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestShodanHost(t *testing.T) {
	body := `{"region_code": "CA", "tags": ["cloud"], "ip": 3324575748, "area_code": null, "domains": ["example.com"], "hostnames": ["a.example.com"],
		"country_code": "US", "org": "ICANN", "isp": null, "asn": "AS397197", "last_update": "2026-11-20T08:49:35.190817", "ip_str": "198.41.0.4",
		"vulns": ["CVE-2024-1", "CVE-2021-2"], "ports": [443, 53], "os": null, "data": [
		{"port": 443, "transport": "tcp", "product": "nginx", "version": "1.25.3", "cpe23": ["cpe:2.3:a:f5:nginx:1.25.3"], "cpe": ["cpe:/a:f5:nginx:1.25.3"],
		 "data": "HTTP/1.1 200 OK\r\n", "hash": 1, "timestamp": "2026-11-19T08:49:35.190817", "opts": {}, "http": {"title": null},
		 "vulns": {"CVE-2024-1": {"verified": true, "cvss": 9.8}, "CVE-2020-3": {"verified": false}}},
		{"port": 53, "transport": "udp", "data": "\nRecursion: enabled", "timestamp": "2026-11-18T00:00:00.000000"}]}`
	got, err := parseShodanHost([]byte(body), root)
	if err != nil {
		t.Fatal(err)
	}
	want := &Host{
		Hostnames: []string{"a.example.com"}, Domains: []string{"example.com"}, Tags: []string{"cloud"}, CPEs: []string{"cpe:2.3:a:f5:nginx:1.25.3"},
		Ports: []uint16{443, 53}, Organisation: "ICANN", ASN: 397197, Country: "US", Seen: time.Date(2026, 11, 20, 8, 49, 35, 190817000, time.UTC),
		Vulnerabilities: []Vulnerability{{"CVE-2020-3", false}, {"CVE-2021-2", false}, {"CVE-2024-1", true}},
		Services: []HostService{
			{443, "tcp", "nginx", "1.25.3", "HTTP/1.1 200 OK\r\n", []string{"cpe:2.3:a:f5:nginx:1.25.3"}, time.Date(2026, 11, 19, 8, 49, 35, 190817000, time.UTC)},
			{53, "udp", "", "", "\nRecursion: enabled", []string{}, time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC)},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestVerdict(t *testing.T) {
	body := `{"data": {"id": "example.com", "type": "domain", "links": {}, "attributes": {"categories": {"A": "phishing", "B": "phishing", "C": "shops"},
		"last_analysis_stats": {"malicious": 3, "suspicious": 1, "harmless": 60, "undetected": 30, "timeout": 0}, "last_analysis_date": 1795000000,
		"reputation": -12, "registrar": "Example Registrar", "creation_date": 808372800, "jarm": "2ad", "tags": [], "popularity_ranks": {}, "whois_date": 1794000000, "total_votes": {},
		"whois": "Domain Name: EXAMPLE.COM\nExpiry Date: 2027-01-01\nRegistry Expiry Date: 2026-12-05T04:00:00Z\nRegistry Expiry Date: 2030-01-01T00:00:00Z\n"}}}`
	got, err := parseVerdict([]byte(body), "domain", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	if got.Malicious != 3 || got.Suspicious != 1 || got.Reputation != -12 || !slices.Equal(got.Categories, []string{"phishing", "shops"}) ||
		!got.Expires.Equal(time.Date(2026, 12, 5, 4, 0, 0, 0, time.UTC)) || got.Created.Year() != 1995 || got.Analysed.Unix() != 1795000000 || got.RegistryAt.Unix() != 1794000000 {
		t.Errorf("%+v", got)
	}
	if _, err := parseVerdict([]byte(body), "ip_address", "example.com"); err == nil {
		t.Error("an object of another type was taken")
	}
	if _, err := parseVerdict([]byte(body), "domain", "other.com"); err == nil {
		t.Error("another object was taken")
	}
}

func TestNames(t *testing.T) {
	for name, c := range map[string]struct {
		parse func() (*DomainNames, error)
		want  []string
		more  bool
	}{
		"crt.sh": {func() (*DomainNames, error) {
			return parseCrtSh([]byte(`[{"common_name": "A.example.com", "name_value": "*.a.example.com\nb.example.com\nsomebody@example.com", "id": 1}, {"common_name": null, "name_value": "b.example.com"}]`))
		}, []string{"*.a.example.com", "b.example.com", "somebody@example.com", "a.example.com"}, false},
		"shodan": {func() (*DomainNames, error) {
			return parseShodanDomain([]byte(`{"domain": "example.com", "tags": [], "subdomains": ["www", "dev.api"], "data": [{"subdomain": "", "type": "MX"}, {"subdomain": "mx"}], "more": true}`), "example.com")
		}, []string{"www.example.com", "dev.api.example.com", "mx.example.com"}, true},
		"securitytrails": {func() (*DomainNames, error) {
			return parseSecurityTrails([]byte(`{"endpoint": "/v1/domain/example.com/subdomains", "meta": {"limit_reached": true}, "subdomain_count": 2, "subdomains": ["api", "em"]}`), "example.com")
		}, []string{"api.example.com", "em.example.com"}, true},
		"certspotter": {func() (*DomainNames, error) {
			return parseCertSpotter([]byte(`[{"id": "1", "dns_names": ["example.com", "*.x.example.com"], "not_before": "2026-06-16T00:00:00Z"}]`))
		}, []string{"example.com", "*.x.example.com"}, false},
	} {
		got, err := c.parse()
		if err != nil || !slices.Equal(got.Names, c.want) || got.More != c.more {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for name, body := range map[string]string{"crt.sh": `{"error": "x"}`, "an element": `["x"]`} {
		if got, err := parseCrtSh([]byte(body)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, err := parseShodanDomain([]byte(`{"domain": "other.com", "subdomains": []}`), "example.com"); err == nil {
		t.Error("another domain's names were taken")
	}
	if _, err := parseSecurityTrails([]byte(`{"message": "no"}`), "example.com"); err == nil {
		t.Error("an answer without names was taken for none")
	}
}

// A list of a million nothings takes no more memory than its bound.
func TestListBound(t *testing.T) {
	got, err := parseCrtSh([]byte("[" + strings.Repeat("{},", 3*maxList) + "{}]"))
	if err != nil || !got.More {
		t.Fatalf("%v", err)
	}
	if _, err := parseInternetDB([]byte(`{"ip": "198.41.0.4", "hostnames": ["`+strings.Repeat("x", maxText)+`"]}`), root); err == nil {
		t.Error("a name of 8 KiB was taken")
	}
}

func TestPublic(t *testing.T) {
	for subject, want := range map[string]bool{
		"example.com": true, "www.example.co.uk": true, "198.41.0.4": true, "2001:500:9f::42": true,
		"lab.test": false, "www.lab.example": false, "localhost": false, "x.localhost": false, "x.invalid": false, "db.internal": false, "x.home.arpa": false,
		"printer.local": false, "x.onion": false, "x.alt": false, "corp.lan": false, "intranet": false, "x.nosuchsuffix": false, "1.0.0.127.in-addr.arpa": false,
		"127.0.0.1": false, "10.1.2.3": false, "192.0.2.1": false, "169.254.169.254": false, "100.64.0.1": false, "::1": false, "fd00::1": false, "::ffff:10.0.0.1": false,
	} {
		if got := Public(subject); got != want {
			t.Errorf("%s: %v", subject, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, " 5 ": 5 * time.Second, "0": time.Second, "-1": 0, "1e3": 0, "99999999": maxRetryAfter, "99999999999999999999": 0, "soon": 0,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": time.Second, "Mon, 23 Nov 2099 11:00:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestCheckBase(t *testing.T) {
	for base, ok := range map[string]bool{
		"https://mirror.example.com/shodan": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost": true,
		"http://mirror.example.com": false, "ftp://x": false, "https://u:p@x": false, "https://x?key=1": false, "x": false, "": false, "https://x#a": false,
	} {
		if err := CheckBase("shodan", base); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
	if CheckBase("nobody", "https://x") == nil {
		t.Error("a provider that does not exist was taken")
	}
}

// FuzzHost and its like: no answer breaks a parser, and what it makes of one is bounded.
func FuzzHost(f *testing.F) {
	f.Add([]byte(`{"ip_str": "198.41.0.4", "ports": [1], "data": [{"port": 1, "vulns": {"CVE-1": {"verified": true}}}], "vulns": ["x"]}`))
	f.Add([]byte(`{"ip": "198.41.0.4", "ports": [1], "cpes": ["cpe:/a:b:c"], "hostnames": ["x"], "tags": [], "vulns": ["CVE-1"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func([]byte, netip.Addr) (*Host, error){parseShodanHost, parseInternetDB} {
			h, err := parse(body, root)
			if (h == nil) == (err == nil) {
				t.Fatalf("%v %v", h, err)
			}
			if h != nil && (len(h.Ports) > maxList || len(h.Services) > maxList || len(h.Hostnames) > maxList) {
				t.Fatal("not bounded")
			}
		}
	})
}

func FuzzVerdict(f *testing.F) {
	f.Add([]byte(`{"data": {"id": "example.com", "type": "domain", "attributes": {"last_analysis_stats": {"malicious": 1}, "whois": "Expiry Date: 2027-01-01"}}}`))
	f.Add([]byte(`{"data": {"id": "198.41.0.4", "type": "ip_address", "attributes": {"asn": 1, "creation_date": 99999999999999}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, about := range [][2]string{{"domain", "example.com"}, {"ip_address", "198.41.0.4"}} {
			v, err := parseVerdict(body, about[0], about[1])
			if (v == nil) == (err == nil) {
				t.Fatalf("%v %v", v, err)
			}
			if v != nil && (v.Expires.Year() > 3000 || v.Analysed.Year() > 7000) {
				t.Fatalf("times: %v", v)
			}
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, seed := range []string{
		`[{"common_name": "a", "name_value": "b\nc"}]`, `{"domain": "example.com", "subdomains": ["www"], "more": false}`, `{"subdomains": ["a"], "meta": {}}`,
		`[{"id": "1", "dns_names": ["x"]}]`, `{"data": [{"id": "x", "type": "domain"}], "meta": {"cursor": "c"}}`, `[[[[`, "null",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for i, parse := range []func([]byte) (*DomainNames, error){
			parseCrtSh, parseCertSpotter,
			func(b []byte) (*DomainNames, error) { return parseShodanDomain(b, "example.com") },
			func(b []byte) (*DomainNames, error) { return parseSecurityTrails(b, "example.com") },
		} {
			got, err := parse(body)
			if (got == nil) == (err == nil) || got != nil && len(got.Names) > 2*maxList {
				t.Fatal(fmt.Sprint(i, got, err))
			}
		}
		if page, err := parseVirusTotalNames(body); (page == nil) == (err == nil) {
			t.Fatal(page, err)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Mon, 23 Nov 2026 12:00:30 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		if got := retryAfter(text, time.Now()); got < 0 || got > maxRetryAfter {
			t.Fatalf("%q: %v", text, got)
		}
	})
}
