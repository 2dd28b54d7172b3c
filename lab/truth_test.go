package lab

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// knownChecks reads the ids of all checks.
func knownChecks(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("testdata/checks.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for id := range strings.FieldsSeq(string(text)) {
		known[id] = true
	}
	return known
}

// notPlayed are the checks that the lab has nothing for, with the reason.
var notPlayed = map[string]string{
	"dns-takeover":         "needs a provider's real domain, and the lab knows only .test",
	"port-all-open":        "needs 65,535 listening ports",
	"service-ics-exposed":  "a careful scanner asks for these protocols at their own ports only, and those need privileges",
	"service-rmi-exposed":  "no such protocol is played",
	"service-rpc-exposed":  "no such protocol is played",
	"service-smb-exposed":  "no such protocol is played",
	"service-snmp-exposed": "UDP only",
	"service-x11-open":     "no such protocol is played",
	"tls-cipher-anonymous": "crypto/tls cannot speak it",
	"tls-cipher-export":    "crypto/tls cannot speak it",
	"tls-cipher-null":      "crypto/tls cannot speak it",
	"tls-version-sslv3":    "crypto/tls cannot speak it",
}

func TestTruthHasEveryCheckThatIsPlayed(t *testing.T) {
	truth := startLab(t, Options{Hostile: true}).Truth()
	known, found := knownChecks(t), map[string]bool{}
	for _, f := range truth {
		found[f.Check] = true
		if !known[f.Check] {
			t.Errorf("%q is no check", f.Check)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		if _, left := notPlayed[id]; left == found[id] {
			t.Errorf("check %q: in the truth %v, declared as not played %v", id, found[id], left)
		}
	}
	for id := range notPlayed {
		if !known[id] {
			t.Errorf("%q is no check", id)
		}
	}
}

func TestTruthIsUniqueOrderedAndWellFormed(t *testing.T) {
	l := startLab(t, Options{Hostile: true})
	truth := l.Truth()
	seen := map[Finding]bool{}
	for _, f := range truth {
		key := Finding{Asset: f.Asset, Location: f.Location, Check: f.Check}
		if seen[key] {
			t.Errorf("twice: %+v", f)
		}
		seen[key] = true
		if f.Note == "" {
			t.Errorf("without a note: %+v", f)
		}
		address, err := netip.ParseAddr(f.Asset)
		if (err == nil) != (f.Kind == kindIP) || err == nil && !l.plan.network.Contains(address) {
			t.Errorf("wrong kind of asset, or outside the lab: %+v", f)
		}
		if f.Location != "" && (!strings.HasPrefix(f.Location, f.Asset+":") || !strings.HasSuffix(f.Location, "/tcp")) {
			t.Errorf("location that is not the asset's: %+v", f)
		}
	}
	for _, one := range []Finding{
		{"acme.test", kindDomain, "", "mail-spf-allow-all", ""},
		{"old.acme.test", kindHost, "", "dns-dangling-cname", ""},
		{"www.acme.test", kindHost, "", "dns-private-address", ""},
		{"www.acme.test", kindHost, "www.acme.test:8080/tcp", "http-git-exposed", ""},
		{"mx1.exemplary.test", kindHost, "mx1.exemplary.test:2525/tcp", "tls-certificate-untrusted", ""},
		{l.plan.address(60).String(), kindIP, l.at(60, 6379) + "/tcp", "service-redis-unauthenticated", ""},
		// Services belong to the address even where it has a name.
		{l.plan.address(14).String(), kindIP, l.at(14, 2323) + "/tcp", "service-telnet-exposed", ""},
		{l.plan.address(68).String(), kindIP, "", "port-many-open", ""},
		{l.plan.address(104).String(), kindIP, l.at(104, 8443) + "/tcp", "tls-certificate-untrusted", ""},
	} {
		if !slices.ContainsFunc(truth, func(f Finding) bool { f.Note = ""; return f == one }) {
			t.Errorf("truth lacks %+v", one)
		}
	}
}

func TestTruthMarshalsTheSame(t *testing.T) {
	network := ownNetwork(t)
	var texts []string
	for range 2 {
		l, err := Start(t.Context(), Options{Network: network})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(l.Truth())
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
		l.Close()
	}
	if texts[0] != texts[1] {
		t.Error("two runs of one lab tell different truths")
	}
	var back Truth
	if err := json.Unmarshal([]byte(texts[0]), &back); err != nil || len(back) == 0 {
		t.Errorf("%d findings read back, error %v", len(back), err)
	}
	if !strings.HasPrefix(texts[0], `[{"asset":"127.200.`) || !strings.Contains(texts[0], `"kind":"ip","location":"127.200.`) {
		t.Errorf("unexpected form: %.200s", texts[0])
	}
}

// TestCleanLab writes the whole truth of the clean lab down: what is there, and nothing else, is the proof that good
// servers give no finding.
func TestCleanLab(t *testing.T) {
	l := startLab(t, Options{Clean: true})
	address := func(n int) string { return l.plan.address(n).String() }
	want := []string{
		address(42) + " " + address(42) + ":2222/tcp service-version-disclosed",
		"bastion.exemplary.test  dns-private-address",
		"mx1.exemplary.test  dns-private-address",
		"mx1.exemplary.test mx1.exemplary.test:2525/tcp tls-certificate-untrusted",
		"ns1.exemplary.test  dns-private-address",
		"ns2.exemplary.test  dns-private-address",
		"www.exemplary.test  dns-private-address",
		"www.exemplary.test www.exemplary.test:8443/tcp tls-certificate-untrusted",
	}
	var got []string
	for _, f := range l.Truth() {
		got = append(got, f.Asset+" "+f.Location+" "+f.Check)
	}
	if !slices.Equal(got, want) {
		t.Errorf("truth of the clean lab:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(l.Targets(), []string{"exemplary.test", "parked.test", "www.exemplary.test", "bastion.exemplary.test"}) {
		t.Errorf("targets %q", l.Targets())
	}
}
