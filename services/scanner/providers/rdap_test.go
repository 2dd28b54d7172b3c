package providers

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

const registrationMembers = `"handle": "2336799_DOMAIN_COM-VRSN", "status": ["client delete prohibited", "Client Transfer Prohibited"],
 "events": [{"eventAction": "registration", "eventDate": "1995-08-14T04:00:00Z"}, {"eventAction": "expiration", "eventDate": "2027-08-13T04:00:00Z"},
  {"eventAction": "last changed", "eventDate": "2026-08-14T07:01:34Z"}, {"eventAction": "last update of RDAP database", "eventDate": "2026-11-20T05:00:00Z"}],
 "entities": [{"objectClassName": "entity", "handle": "376", "roles": ["registrar"],
  "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "RESERVED-Internet Assigned Numbers Authority"]]]}]`

func TestRegistration(t *testing.T) {
	s := providerstest.New(t)
	s.Registration("example.com", registrationMembers)
	d := newWorld(t, s).client(t).For("acme", "assessments/1", 0)
	known, err := Ask(t.Context(), d, RegistriesQuestion())
	if err != nil {
		t.Fatal(err)
	}
	registry := known.Value.For("example.com")
	if !strings.HasSuffix(registry, "/rdap/registry/") || known.Value.For("example.nowhere") != "" || known.Value.For("example.de") != "" {
		t.Fatalf("registries %v", known.Value)
	}
	for range 2 { // the second time it is remembered
		got, err := Ask(t.Context(), d, RegistrationQuestion(registry, "example.com"))
		if err != nil {
			t.Fatal(err)
		}
		want := &Registration{
			Registrar: "RESERVED-Internet Assigned Numbers Authority", Status: []string{"client delete prohibited", "client transfer prohibited"},
			Created: time.Date(1995, 8, 14, 4, 0, 0, 0, time.UTC), Expires: time.Date(2027, 8, 13, 4, 0, 0, 0, time.UTC), Read: time.Date(2026, 11, 20, 5, 0, 0, 0, time.UTC),
		}
		if diff := cmp.Diff(want, got.Value); diff != "" {
			t.Error(diff)
		}
	}
	// One that the registry does not know.
	if got, err := Ask(t.Context(), d, RegistrationQuestion(registry, "unknown.com")); err != nil || got.Value != nil {
		t.Errorf("%v %v", got.Value, err)
	}
	if n := len(s.Arrivals("rdap")); n != 3 {
		t.Errorf("%d requests", n)
	}
}

// A registry that fails does not keep others from being asked, nor IANA: each has its own ledger and breaker.
func TestRegistriesHaveLedgersOfTheirOwn(t *testing.T) {
	s := providerstest.New(t)
	s.Registration("example.com", registrationMembers)
	d := newWorld(t, s).client(t).For("acme", "assessments/1", 0)
	s.Fail("rdap", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	base := s.Bases()["rdap"]
	if _, err := Ask(t.Context(), d, RegistrationQuestion(base+"/one", "example.com")); err == nil {
		t.Fatal("an answer of 429 is taken")
	}
	s.Fail("rdap", nil)
	if _, err := Ask(t.Context(), d, RegistrationQuestion(base+"/one", "example.com")); err == nil || !strings.Contains(err.Error(), "not to be asked before") {
		t.Errorf("the registry that wants to be left alone is asked again: %v", err)
	}
	if got, err := Ask(t.Context(), d, RegistrationQuestion(base+"/two", "example.com")); err != nil || got.Value == nil {
		t.Errorf("another registry: %v", err)
	}
	if _, err := Ask(t.Context(), d, RegistriesQuestion()); err != nil {
		t.Errorf("IANA: %v", err)
	}
}

func TestParseRegistries(t *testing.T) {
	r, err := parseRegistries([]byte(`{"services": [[["COM"], ["http://plain.example/", "https://one.example/rdap/"]], [["de"], ["https://user@evil.example/"]], [["fr"], ["ftp://x"]],
	 [["uk"], []], [["xn--p1ai"], ["https://two.example"]]]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"com": "https://one.example/rdap/", "xn--p1ai": "https://two.example"}
	if diff := cmp.Diff(want, r.byTop); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range []string{"", "null", "{}", `{"services": 1}`, `{"services": [["com"]]}`, `{"services": [[["com"]]]}`, `{"services": [[[1], ["https://x"]]]}`} {
		if got, err := parseRegistries([]byte(wrong)); err == nil {
			t.Errorf("%s: %v", wrong, got)
		}
	}
}

func TestParseRegistration(t *testing.T) {
	for name, body := range map[string]string{
		"another domain": `{"objectClassName": "domain", "ldhName": "example.org"}`, "another object": `{"objectClassName": "nameserver", "ldhName": "example.com"}`,
		"no JSON": `<html>`, "a list": `[]`, "null": `null`, "events of another type": `{"objectClassName": "domain", "ldhName": "example.com", "events": {"a": 1}}`,
	} {
		if got, err := parseRegistration([]byte(body), "example.com"); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	got, err := parseRegistration([]byte(`{"objectClassName": "domain", "ldhName": "Example.COM.", "events": [{"eventAction": "expiration", "eventDate": "soon"}],
	 "entities": [{"roles": ["registrar"], "handle": "7", "vcardArray": ["vcard", [[], ["fn"], ["fn", {}, "text", 5]]]}]}`), "example.com")
	if err != nil || !got.Expires.IsZero() || got.Registrar != "7" {
		t.Errorf("%v %v", got, err)
	}
}

func TestRegistrable(t *testing.T) {
	for name, want := range map[string]bool{
		"example.com": true, "example.co.uk": true, "www.example.com": false, "com": false, "co.uk": false, "example.github.io": false, "a.test": false, "": false, ".com": false,
	} {
		if got := Registrable(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"objectClassName": "domain", "ldhName": "example.com", ` + registrationMembers + `}`))
	f.Add([]byte(`{"services": [[["com"], ["https://one.example/rdap/"]]]}`))
	f.Add([]byte(`{"objectClassName": "domain", "ldhName": "example.com", "entities": [{"roles": ["registrar"], "vcardArray": [1, [[null]]]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRegistration(body, "example.com")
		if (r == nil) == (err == nil) || r != nil && (len(r.Status) > maxList || len(r.Registrar) > maxText || r.Expires.Year() > 3000) {
			t.Fatalf("%v %v", r, err)
		}
		list, err := parseRegistries(body)
		if (list == nil) == (err == nil) {
			t.Fatalf("%v %v", list, err)
		}
		if list == nil {
			return
		}
		for top, base := range list.byTop {
			if checkRegistry(base) != nil || len(list.byTop) > maxList {
				t.Fatalf("%q at %q", top, base)
			}
		}
	})
}
