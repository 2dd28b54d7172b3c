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
	"cloud-account-access-block":     "a cloud account, not a network: TestTruthOfAWS",
	"cloud-address-unassigned":       "a cloud account, not a network: TestTruthOfAWS",
	"cloud-dns-idle-address":         "a cloud account, not a network: TestTruthOfAWS",
	"cloud-all-ports-open":           "a cloud account, not a network: TestTruthOfAWS",
	"cloud-api-open":                 "a cloud account, not a network: TestTruthOfAWS",
	"cloud-bucket-listable":          "a cloud account, not a network: TestTruthOfAWS",
	"cloud-bucket-readable":          "a cloud account, not a network: TestTruthOfAWS",
	"cloud-bucket-writable":          "a cloud account, not a network: TestTruthOfAWS",
	"cloud-certificate-renewal":      "a cloud account, not a network: TestTruthOfAWS",
	"cloud-data-store-anonymous":     "a cloud account, not a network: TestTruthOfAWS",
	"cloud-data-store-answers":       "needs a cloud account beside a network: TestTruthOfJoins",
	"cloud-database-address":         "a cloud account, not a network: TestTruthOfAWS",
	"cloud-database-public":          "a cloud account, not a network: TestTruthOfAWS",
	"cloud-dns-dangling-address":     "a cloud account, not a network: TestTruthOfAWS",
	"cloud-dns-missing-bucket":       "a cloud account, not a network: TestTruthOfAWS",
	"cloud-dns-not-held":             "a cloud account, not a network: TestTruthOfAWS",
	"cloud-domain-renewal":           "a cloud account, not a network: TestTruthOfAWS",
	"cloud-domain-transfer-lock":     "a cloud account, not a network: TestTruthOfAWS",
	"cloud-function-public":          "a cloud account, not a network: TestTruthOfAWS",
	"cloud-function-url-open":        "a cloud account, not a network: TestTruthOfAWS",
	"cloud-image-public":             "a cloud account, not a network: TestTruthOfAWS",
	"cloud-kubernetes-public":        "a cloud account, not a network: TestTruthOfAWS",
	"cloud-messaging-public":         "a cloud account, not a network: TestTruthOfAWS",
	"cloud-metadata-credentials":     "a cloud account, not a network: TestTruthOfAWS",
	"cloud-no-waf":                   "a cloud account, not a network: TestTruthOfAWS",
	"cloud-origin-missing":           "a cloud account, not a network: TestTruthOfAWS",
	"cloud-plain-http":               "a cloud account, not a network: TestTruthOfAWS",
	"cloud-registry-public":          "a cloud account, not a network: TestTruthOfAWS",
	"cloud-remote-access-answers":    "needs a cloud account beside a network: TestTruthOfJoins",
	"cloud-secret-public":            "a cloud account, not a network: TestTruthOfAWS",
	"cloud-sensitive-port-open":      "a cloud account, not a network: TestTruthOfAWS",
	"cloud-snapshot-public":          "a cloud account, not a network: TestTruthOfAWS",
	"cloud-ssh-answers":              "needs a cloud account beside a network: TestTruthOfJoins",
	"cloud-tls-outdated":             "a cloud account, not a network: TestTruthOfAWS",
	"dns-takeover":                   "needs a provider's real domain, and the lab knows only .test",
	"dns-takeover-possible":          "needs a provider's real domain, and the lab knows only .test",
	"dns-ns-takeover":                "needs a DNS host's real domain, and the lab knows only .test",
	"dns-ns-unhosted":                "needs a DNS host's real domain, and the lab knows only .test",
	"dns-ns-mismatch":                "one server has the zones and the zone above, and answers for both with authority",
	"dns-ns-one-network":             "all of the lab is on loopback, and networks of private addresses mean nothing",
	"reported-critical":              "other tools look at it: TestTruthOfImports",
	"reported-high":                  "other tools look at it: TestTruthOfImports",
	"reported-low":                   "other tools look at it: TestTruthOfImports",
	"reported-medium":                "other tools look at it: TestTruthOfImports",
	"reported-severe":                "other tools look at it: TestTruthOfImports",
	"reported-vulnerability":         "other tools look at it: TestTruthOfImports",
	"reported-exploited":             "needs feeds of vulnerability knowledge: TestFeedToAlert and the examples",
	"reported-likely-exploited":      "needs feeds of vulnerability knowledge: TestFeedToAlert and the examples",
	"cve-known-exploited":            "needs feeds of vulnerability knowledge: TestFeedToAlert and the examples",
	"cve-likely-exploited":           "needs feeds of vulnerability knowledge: TestFeedToAlert and the examples",
	"cve-severe":                     "needs feeds of vulnerability knowledge: TestFeedToAlert and the examples",
	"cve-other":                      "needs feeds of vulnerability knowledge: TestFeedToAlert and the examples",
	"intel-compromised":              "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"intel-domain-expired":           "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"intel-domain-transfer-lock":     "third parties are not asked about a laboratory",
	"intel-domain-expires":           "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"intel-flagged-address":          "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"intel-flagged-domain":           "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"intel-risky-port":               "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"intel-software-unsupported":     "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"intel-vulnerability-tested":     "third parties are not asked about a laboratory: TestTruthOfThirdParties",
	"mail-dane-mismatch":             "mail exchangers are asked at port 25, which needs privileges",
	"port-all-open":                  "needs 65,535 listening ports",
	"port-r-services-exposed":        "at ports that need privileges",
	"vuln-default-login":             "needs an engine that the operator installs: TestTruthOfTheEngine",
	"vuln-proven-critical":           "needs an engine that the operator installs: TestTruthOfTheEngine",
	"vuln-proven-high":               "needs an engine that the operator installs: TestTruthOfTheEngine",
	"vuln-proven-medium":             "needs an engine that the operator installs: TestTruthOfTheEngine",
	"vuln-proven-low":                "needs an engine that the operator installs: TestTruthOfTheEngine",
	"vuln-suspected":                 "needs an engine that the operator installs: TestTruthOfTheEngine",
	"service-stomp-unauthenticated":  "asked for at its own ports only, which belong to outgoing connections here",
	"service-coap-unauthenticated":   "over UDP, at no port that a port scan asks",
	"service-dns-open-resolver":      "over UDP, at a port that needs privileges",
	"service-ike-aggressive-mode":    "over UDP, at a port that needs privileges",
	"service-ipmi-cipher-zero":       "over UDP, at a port that needs privileges",
	"service-nfs-exported":           "asked for at port 111, which needs privileges",
	"service-printer-exposed":        "asked for at port 631, which needs privileges",
	"service-snmp-exposed":           "over UDP, at a port that needs privileges",
	"service-snmp-public":            "over UDP, at a port that needs privileges",
	"service-tftp-exposed":           "over UDP, at a port that needs privileges",
	"tls-certificate-internal-names": "needs a certificate of a public authority",
	"tls-certificate-no-revocation":  "needs a certificate of a public authority",
	"tls-certificate-scts-missing":   "needs a certificate of a public authority",
	"tls-early-data":                 "crypto/tls allows none in its tickets",
	"tls-insecure-renegotiation":     "crypto/tls always announces secure renegotiation, and the handshake must be completed before",
	"tls-ticket-lifetime":            "crypto/tls does not say how long its tickets of TLS 1.2 live",
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
		if f.Location != "" && (!strings.HasPrefix(f.Location, f.Asset+":") || !strings.HasSuffix(f.Location, "/tcp") && !strings.HasSuffix(f.Location, "/udp")) {
			t.Errorf("location that is not the asset's: %+v", f)
		}
	}
	for _, one := range []Finding{
		{"acme.test", kindDomain, "", "mail-spf-allow-all", ""},
		{"old.acme.test", kindHost, "", "dns-registrable-cname", ""},
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
		"exemplary.test  mail-mta-sts-certificate",
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
