package dns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// publicKey is a public RSA key of a length, PKCS #1 or SPKI, as base64. Nobody signs with it.
func publicKey(t testing.TB, bits uint, spki bool) string {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	key := &rsa.PublicKey{N: n.Add(n, big.NewInt(569)), E: 65537}
	if !spki {
		return base64Text(x509.MarshalPKCS1PublicKey(key))
	}
	raw, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64Text(raw)
}

func TestDKIMRecords(t *testing.T) {
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := x509.MarshalPKIXPublicKey(&elliptic.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	k := publicKey(t, 2048, true)
	tests := []struct {
		text string
		want *modelv1.DkimKey
	}{
		{"v=DKIM1; k=rsa; p=" + k, &modelv1.DkimKey{KeyType: "rsa", Bits: 2048}},
		{"p=" + k, &modelv1.DkimKey{KeyType: "rsa", Bits: 2048}},
		{"v=DKIM1; p=" + k[:100] + " " + k[100:], &modelv1.DkimKey{KeyType: "rsa", Bits: 2048}},
		{"v=DKIM1; p=" + publicKey(t, 1024, false), &modelv1.DkimKey{KeyType: "rsa", Bits: 1024}},
		{"v=DKIM1; p=" + publicKey(t, 512, true) + ";", &modelv1.DkimKey{KeyType: "rsa", Bits: 512}},
		{"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", &modelv1.DkimKey{KeyType: "ed25519", Bits: 256}},
		{"v=DKIM1; p=", &modelv1.DkimKey{KeyType: "rsa", Revoked: true}},
		{"v=DKIM1; t=y:s; p=" + k, &modelv1.DkimKey{KeyType: "rsa", Bits: 2048, Testing: true}},
		{"v=DKIM1; t=s; h=sha256:sha1; p=" + k, &modelv1.DkimKey{KeyType: "rsa", Bits: 2048}},
		{"v=DKIM1; h=sha1; p=" + k, &modelv1.DkimKey{KeyType: "rsa", Bits: 2048, Sha1Only: true}},
		{"v=DKIM2; p=" + k, &modelv1.DkimKey{KeyType: "rsa", Bits: 2048, Error: "the version is not DKIM1"}},
		{"v=DKIM1; k=rsa", &modelv1.DkimKey{KeyType: "rsa", Error: "it has no key (p)"}},
		{"v=DKIM1; p=***", &modelv1.DkimKey{KeyType: "rsa", Error: "the key (p) is no base64"}},
		{"v=DKIM1; p=AAAA", &modelv1.DkimKey{KeyType: "rsa", Error: "the key (p) cannot be read"}},
		{"v=DKIM1; p=" + base64Text(curve), &modelv1.DkimKey{KeyType: "rsa", Error: "the key (p) is not of the type that the record says"}},
		{"v=DKIM1; k=ed25519; p=" + k, &modelv1.DkimKey{KeyType: "ed25519", Error: "the key (p) is no Ed25519 key"}},
		{"v=DKIM1; k=dsa; p=" + k, &modelv1.DkimKey{KeyType: "dsa", Error: "the key type (k) is unknown"}},
		{"v=DKIM1; p=" + k + "; p=" + k, &modelv1.DkimKey{KeyType: "rsa", Bits: 2048, Error: "p occurs twice"}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, parseDKIM(test.text), protocmp.Transform()); diff != "" || !isDKIM(test.text) {
			t.Errorf("%.60s (-want +got):\n%s", test.text, diff)
		}
	}
	for _, text := range []string{"", "v=spf1 -all", "hello", "google-site-verification=abc"} {
		if isDKIM(text) {
			t.Errorf("%q passes for DKIM", text)
		}
	}
}

func TestDKIMSelectors(t *testing.T) {
	zone := top + fmt.Sprintf(`
google._domainkey.z.test. TXT "v=DKIM1; p=%s"
selector1._domainkey.z.test. CNAME selector1.gone.test.
selector2._domainkey.z.test. CNAME nothing.z.test.
s1._domainkey.z.test. TXT "v=spf1 -all"
s2._domainkey.z.test. TXT "v=DKIM1; p="
s2._domainkey.z.test. TXT "v=DKIM1; t=y; p="
`, publicKey(t, 1024, true))
	_, mail, dangling := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "z.test")))
	want := []*modelv1.DkimKey{
		{Selector: "google", Provider: "Google Workspace", KeyType: "rsa", Bits: 1024},
		{Selector: "s2", Provider: "SendGrid", KeyType: "rsa", Revoked: true, Error: "several records at one selector"},
	}
	if diff := cmp.Diff(want, mail.GetDkim(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(dangling) != 1 || dangling[0].GetRecord() != "DKIM" || dangling[0].GetRegistrableDomain() != "gone.test" {
		t.Errorf("dangling %v", dangling)
	}
}

// A wildcard answers for every selector: that is no key at any of them.
func TestDKIMWildcard(t *testing.T) {
	zone := top + "*._domainkey.z.test. TXT \"v=DKIM1; p=\"\nmail._domainkey.z.test. TXT \"v=DKIM1; t=y; p=\"\n"
	_, mail, _ := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "z.test")))
	if len(mail.GetDkim()) != 1 || mail.GetDkim()[0].GetSelector() != "mail" {
		t.Errorf("got %v", mail.GetDkim())
	}
}

func TestTLSReports(t *testing.T) {
	for text, want := range map[string]string{
		"v=TLSRPTv1; rua=mailto:a@b.test":                      "",
		"v=TLSRPTv1;rua=https://b.test/r,mailto:a@b.test;":     "",
		"v=TLSRPTv1; rua=mailto:nobody":                        "rua mailto:nobody",
		"v=TLSRPTv1; rua=http://b.test/":                       "rua http://b.test/",
		"v=TLSRPTv1":                                           "is no address",
		"v=TLSRPTv1; rua=mailto:a@b.test; rua=mailto:c@d.test": "rua occurs twice",
		"v=TLSRPTv1; nonsense; rua=mailto:a@b.test":            "nonsense is no field",
	} {
		if _, problem := parseTLSReports(text); (problem == "") != (want == "") || !strings.Contains(problem, want) {
			t.Errorf("%s: %q, want %q", text, problem, want)
		}
	}
}

func TestBIMI(t *testing.T) {
	for text, want := range map[string]string{
		"v=BIMI1; l=https://a.test/logo.svg":                                "",
		"v=BIMI1; l=https://a.test/logo.SVG?x=1; a=https://a.test/mark.pem": "",
		"v=BIMI1; l=; a=;":                                              "",
		"v=BIMI1; l=https://a.test/logo.svg; a=self":                    "",
		"v=BIMI1; l=http://a.test/logo.svg":                             "the logo (l)",
		"v=BIMI1; l=https://a.test/logo.png":                            "the logo (l)",
		"v=BIMI1; l=https://u:p@a.test/logo.svg":                        "the logo (l)",
		"v=BIMI1; a=https://a.test/mark.pem":                            "names no logo",
		"v=BIMI1; l=; a=https://a.test/mark.pem":                        "without a logo",
		"v=BIMI1; l=https://a.test/logo.svg; a=https://a.test/mark.crt": "the certificate (a)",
	} {
		out := &modelv1.Bimi{}
		parseBIMI(text, out)
		if (out.GetError() == "") != (want == "") || !strings.Contains(out.GetError(), want) || out.GetDeclined() != strings.Contains(text, "l=; a=;") {
			t.Errorf("%s: %v, want %q", text, out, want)
		}
	}
}

func TestMoreSPF(t *testing.T) {
	exchangers := ""
	for i := range 11 {
		exchangers += fmt.Sprintf("many.test. MX %d mx.many.test.\n", i)
	}
	w := newWorld(t, exchangers+`
test. SOA ns.test. a.test. 1 1 1 1 1
all.test. TXT "v=spf1 +all"
wide.test. TXT "v=spf1 ip4:10.0.0.0/8 ip4:192.0.2.0/24 -all"
lends.test. TXT "v=spf1 include:all.test -all"
soft.test. TXT "v=spf1 ?include:all.test -all"
redirects.test. TXT "v=spf1 redirect=all.test"
nested.test. TXT "v=spf1 include:wide.test -all"
denies.test. TXT "v=spf1 -ip4:10.0.0.0/8 -all"
after.test. TXT "v=spf1 -all include:all.test ptr"
ptr.test. TXT "v=spf1 include:hasptr.test -all"
hasptr.test. TXT "v=spf1 ptr -all"
zero.test. TXT "v=spf1 a/0 -all"
zero.test. A 192.0.2.1
many.test. TXT "v=spf1 mx -all"
gone.test. TXT "v=spf1 include:a.absent.test a:b.absent.test -all"
exists.test. TXT "v=spf1 exists:%{i}.x.test include:%{d2}.test exp=why.test -all"
`)
	r, err := newResolver(lab(), probeFor(t, w, nil))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		domain    string
		passesAll bool
		usesPtr   bool
		widest    uint32
		term      string
		lookups   uint32
		includes  []string
		absent    []string
		problem   string
	}{
		{"all.test", true, false, 32, "", 0, nil, nil, ""},
		{"wide.test", false, false, 8, "ip4/8", 0, nil, nil, ""},
		{"lends.test", true, false, 32, "", 1, []string{"all.test"}, nil, ""},
		{"soft.test", false, false, 32, "", 1, []string{"all.test"}, nil, ""},
		{"redirects.test", true, false, 32, "", 1, []string{"all.test"}, nil, ""},
		{"nested.test", false, false, 8, "wide.test: ip4/8", 1, []string{"wide.test"}, nil, ""},
		{"denies.test", false, false, 32, "", 0, nil, nil, ""},
		{"after.test", false, false, 32, "", 0, nil, nil, ""},
		{"ptr.test", false, true, 32, "", 2, []string{"hasptr.test"}, nil, ""},
		{"zero.test", false, false, 0, "a/0", 1, nil, nil, ""},
		{"many.test", false, false, 32, "", 1, nil, nil, "11 exchangers"},
		{"gone.test", false, false, 32, "", 2, []string{"a.absent.test"}, []string{"a.absent.test", "b.absent.test"}, "0 SPF records"},
		{"exists.test", false, false, 32, "", 2, nil, nil, ""},
	}
	for _, test := range tests {
		texts, err := r.texts(t.Context(), test.domain)
		if err != nil {
			t.Fatal(err)
		}
		walk := &spfWalk{resolver: r}
		got := walk.fact(t.Context(), test.domain, texts)
		if got.GetPassesAll() != test.passesAll || got.GetUsesPtr() != test.usesPtr || got.GetWidestIp4() != test.widest || got.GetWidestTerm() != test.term ||
			got.GetLookups() != test.lookups || !slices.Equal(got.GetIncludes(), test.includes) || !slices.Equal(walk.absent, test.absent) ||
			(got.GetError() == "") != (test.problem == "") || !strings.Contains(got.GetError(), test.problem) {
			t.Errorf("%s: %v, absent %v; want %+v", test.domain, got, walk.absent, test)
		}
	}
}

func TestMoreDMARC(t *testing.T) {
	got := parseDMARC("v=DMARC1; p=reject; np=none; psd=n; pct=50; ri=60; hello=1; rua=mailto:a@b.test")
	if got.err != nil || got.nonexistent != "none" || got.psd != "n" || !slices.Equal(got.removed, []string{"pct", "ri"}) || !slices.Equal(got.unknown, []string{"hello"}) {
		t.Errorf("got %+v", got)
	}
	if got := reportDomains([]string{"mailto:a@B.test.", "mailto:c@b.test?subject=x", "https://d.test/", "mailto:x", "mailto:a@e..f"}); !slices.Equal(got, []string{"b.test"}) {
		t.Errorf("domains %v", got)
	}
}

// Reports go to another organisation only if it agrees (RFC 9990 section 4).
func TestReportsElsewhere(t *testing.T) {
	const zone = top + `
_dmarc.z.test. TXT "v=DMARC1; p=reject; rua=mailto:a@z.test,mailto:b@in.z.test,mailto:c@agrees.test,mailto:d@any.test,mailto:e@refuses.test,mailto:f@gone.test"
z.test._report._dmarc.agrees.test. TXT "v=DMARC1"
*._dmarc.any.test. TXT "v=DMARC1;"
z.test._report._dmarc.any.test. TXT "v=DMARC1;"
refuses.test. SOA ns.test. a.test. 1 1 1 1 1
`
	_, mail, dangling := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "z.test")))
	if got := mail.GetDmarc().GetUnauthorisedReports(); !slices.Equal(got, []string{"refuses.test"}) {
		t.Errorf("got %v", got)
	}
	if len(dangling) != 1 || dangling[0].GetRecord() != "DMARC" || dangling[0].GetTarget() != "gone.test" {
		t.Errorf("dangling %v", dangling)
	}
}
