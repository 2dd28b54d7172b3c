package dns

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func TestSPFSyntax(t *testing.T) {
	good := []string{
		"v=spf1", "v=spf1 ", "v=spf1 -all", "V=SPF1 ~ALL", "v=spf1  a  mx  -all", "v=spf1 +a:b.test -mx:b.test/24 ?ptr ~ptr:b.test all",
		"v=spf1 a/24//64 mx//96 a:b.test//64 a:b.test/0//0", "v=spf1 ip4:192.0.2.1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip6:::1 ip6:::ffff:192.0.2.1",
		"v=spf1 exists:%{i}._spf.%{d2} include:%{d} -all", "v=spf1 exists:%{l1r+}.b.test redirect=b.test", "v=spf1 redirect=_spf.b.test exp=why.b.test",
		"v=spf1 unknown=anything x-y_z.1=%% -all", "v=spf1 a:b.test. -all", "v=spf1 include:_spf.b.test -all",
	}
	for _, text := range good {
		if _, err := parseSPF(text); err != nil || !isSPF(text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	bad := []string{
		"v=spf1 include", "v=spf1 include: -all", "v=spf1 include:b -all", "v=spf1 all:b.test", "v=spf1 foo", "v=spf1 foo:b.test", "v=spf1 ip4:192.0.2.300",
		"v=spf1 ip4:2001:db8::1", "v=spf1 ip6:192.0.2.1", "v=spf1 ip4:192.0.2.0/33", "v=spf1 ip4:192.0.2.0/", "v=spf1 ip4 -all", "v=spf1 ip6:fe80::1%eth0",
		"v=spf1 a/33", "v=spf1 a//129", "v=spf1 a:", "v=spf1 exists -all", "v=spf1 exists:%{x}.b.test", "v=spf1 exists:%b.test", "v=spf1 exists:%{i", "v=spf1 redirect=",
		"v=spf1 redirect=a.test redirect=b.test", "v=spf1 exp=a.test exp=b.test", "v=spf1 a:b.123 -all", "v=spf1 a:b.-c -all", "v=spf1 \u00e4ll", "v=spf1 =x", "v=spf1 -", "v=spf1 ip4:+1.2.3.4/+8", "v=spf1 a/\n", "v=spf1 a:b.test\n -all",
	}
	for _, text := range bad {
		if record, err := parseSPF(text); err == nil {
			t.Errorf("%q: no error, read as %+v", text, record)
		}
	}
	for _, text := range []string{"", "v=spf", "v=spf10 -all", "v=spf1-all", " v=spf1", "spf2.0/pra", "v=spf1\t-all"} {
		if isSPF(text) {
			t.Errorf("%q passes for SPF", text)
		}
	}
}

func TestSPFWalk(t *testing.T) {
	chain := ""
	for i := range 15 {
		chain += fmt.Sprintf("chain%d.test. TXT \"v=spf1 include:chain%d.test -all\"\n", i, i+1)
	}
	w := newWorld(t, chain+`
test. SOA ns.test. a.test. 1 1 1 1 1
chain15.test. TXT "v=spf1 -all"
plain.test. TXT "v=spf1 a mx ptr exists:%{i}.test ip4:192.0.2.1 ?all"
plain.test. A 192.0.2.1
plain.test. MX 10 plain.test.
none.test. TXT "hello"
twice.test. TXT "v=spf1 -all"
twice.test. TXT "v=spf1 +all"
includes.test. TXT "v=spf1 include:plain.test ~all"
redirects.test. TXT "v=spf1 redirect=plain.test"
both.test. TXT "v=spf1 redirect=plain.test -all"
circle.test. TXT "v=spf1 include:ring.test -all"
ring.test. TXT "v=spf1 include:circle.test -all"
self.test. TXT "v=spf1 redirect=self.test"
absent.test. TXT "v=spf1 include:nowhere.test -all"
useless.test. TXT "v=spf1 include:none.test -all"
double.test. TXT "v=spf1 include:twice.test -all"
voids.test. TXT "v=spf1 a:x.test a:y.test mx:z.test exists:q.test include:plain.test -all"
v6.test. TXT "v=spf1 a:six.test -all"
six.test. AAAA 2001:db8::1
inner.test. TXT "v=spf1 include:faulty.test -all"
faulty.test. TXT "v=spf1 ip4:1.2.3 -all"
open.test. TXT "v=spf1 +all"
joined.test. TXT "v=spf1 inc" "lude:plain.test -all"
macros.test. TXT "v=spf1 include:%{d}.test exists:%{i}.x.test -all"
`)
	r, err := newResolver(lab(), probeFor(t, w, nil))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		domain         string
		records        uint32
		all            string
		lookups, voids uint32
		problem        string
	}{
		{"plain.test", 1, "?", 4, 0, ""},
		{"none.test", 0, "", 0, 0, ""},
		{"twice.test", 2, "+", 0, 0, ""},
		{"includes.test", 1, "~", 5, 0, ""},
		{"redirects.test", 1, "?", 5, 0, ""},
		{"both.test", 1, "-", 0, 0, ""},
		{"circle.test", 1, "-", 2, 0, "circle"},
		{"self.test", 1, "", 1, 0, "circle"},
		{"absent.test", 1, "-", 1, 1, "include:nowhere.test has 0 SPF records"},
		{"useless.test", 1, "-", 1, 0, "include:none.test has 0 SPF records"},
		{"double.test", 1, "-", 1, 0, "include:twice.test has 2 SPF records"},
		{"voids.test", 1, "-", 9, 4, ""},
		{"v6.test", 1, "-", 1, 0, ""},
		{"inner.test", 1, "-", 1, 0, "faulty.test: ip4:1.2.3: no address of ip4"},
		{"open.test", 1, "+", 0, 0, ""},
		{"joined.test", 1, "-", 5, 0, ""},
		{"macros.test", 1, "-", 2, 0, ""},
		{"chain0.test", 1, "-", 15, 0, ""},
	}
	for _, test := range tests {
		texts, err := r.texts(t.Context(), test.domain)
		if err != nil {
			t.Fatal(err)
		}
		walk := &spfWalk{resolver: r}
		got, err := walk.fact(t.Context(), test.domain, texts), walk.missed
		if err != nil || got.GetRecords() != test.records || got.GetAll() != test.all || got.GetLookups() != test.lookups || got.GetVoidLookups() != test.voids ||
			(got.GetError() == "") != (test.problem == "") || !strings.Contains(got.GetError(), test.problem) {
			t.Errorf("%s: %v, %v; want %+v", test.domain, got, err, test)
		}
	}
}

// An include that could not be asked for is no error of the record.
func TestSPFWithoutAnswer(t *testing.T) {
	w := newWorld(t, "test. SOA ns.test. a.test. 1 1 1 1 1\n")
	w.fault = failing("other.", mdns.TypeTXT, mdns.RcodeServerFailure)
	r, err := newResolver(lab(), probeFor(t, w, nil))
	if err != nil {
		t.Fatal(err)
	}
	walk := &spfWalk{resolver: r}
	got, err := walk.fact(t.Context(), "x.test", []string{"v=spf1 include:other.test -all"}), walk.missed
	if err == nil || got.GetError() != "" || got.GetLookups() != 1 || got.GetVoidLookups() != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDMARCRecords(t *testing.T) {
	tests := []struct {
		text        string
		policy, sub string
		rua         int
		problem     string
	}{
		{"v=DMARC1; p=none", "none", "", 0, ""},
		{"v=DMARC1;p=reject;", "reject", "", 0, ""},
		{"v=DMARC1; P = Quarantine ; SP=Reject", "quarantine", "reject", 0, ""},
		{"v=DMARC1; rua=mailto:a@b.test", "none", "", 1, ""},
		{"v=DMARC1; p=reject; rua=mailto:a@b.test!10m, mailto:c@d.test", "reject", "", 2, ""},
		{"v=DMARC1; p=reject; pct=maybe; rf=x; ri=y; x=z", "reject", "", 0, ""},
		{"v=DMARC1; p=reject; t=y", "quarantine", "", 0, ""},
		{"v=DMARC1; p=quarantine; t=Y; sp=reject", "none", "quarantine", 0, ""},
		{"v=DMARC1", "", "", 0, "neither p nor rua"},
		{"v=DMARC1; p=maybe; rua=mailto:a@b.test", "none", "", 1, "p is none of"},
		{"v=DMARC1; p=reject; psd=maybe", "reject", "", 0, "psd is none of"},
		{"v=DMARC1; p=reject; sp=never", "", "", 0, "sp is none of"},
		{"v=DMARC1; p=reject; np=never", "", "", 0, "np is none of"},
		{"v=DMARC1; p=reject; p=none", "reject", "", 0, "occurs twice"},
		{"v=DMARC1; p=reject; nonsense", "reject", "", 0, "is no tag"},
		{"v=DMARC1; p=reject; rua=a@b.test", "reject", "", 0, "rua names no address"},
		{"v=DMARC1; p=reject; rua=mailto:nobody", "reject", "", 0, "rua names no address"},
		{"v=DMARC1; p=reject; rua=https://b.test/report", "reject", "", 1, ""},
	}
	for _, test := range tests {
		got := parseDMARC(test.text)
		problem := ""
		if got.err != nil {
			problem = got.err.Error()
		}
		if !isDMARC(test.text) || got.effective(got.policy) != test.policy || got.effective(got.subdomain) != test.sub || len(got.rua) != test.rua ||
			(problem == "") != (test.problem == "") || !strings.Contains(problem, test.problem) {
			t.Errorf("%s: %+v; want %+v", test.text, got, test)
		}
	}
	for _, text := range []string{"", "v=dmarc1; p=none", "v=DMARC2; p=none", "p=none; v=DMARC1", "v=DMARC1 p=none", "DMARC1", "v=spf1 -all"} {
		if isDMARC(text) {
			t.Errorf("%q passes for DMARC", text)
		}
	}
}

func TestDMARCTreeWalk(t *testing.T) {
	w := newWorld(t, `
test. SOA ns.test. a.test. 1 1 1 1 1
_dmarc.org.test. TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:a@org.test"
_dmarc.own.org.test. TXT "v=DMARC1; p=none"
_dmarc.twice.org.test. TXT "v=DMARC1; p=none"
_dmarc.twice.org.test. TXT "v=DMARC1; p=reject"
_dmarc.noise.org.test. TXT "hello"
_dmarc.plain.test. TXT "v=DMARC1; p=quarantine"
_dmarc.suffix.test. TXT "v=DMARC1; p=reject; psd=y"
_dmarc.member.suffix.test. TXT "v=DMARC1; p=quarantine; sp=none"
_dmarc.stop.top.test. TXT "v=DMARC1; p=quarantine; psd=n"
_dmarc.top.test. TXT "v=DMARC1; p=reject"
_dmarc.mid.deep.suffix.test. TXT "v=DMARC1; p=none"
_dmarc.broken.test. TXT "v=DMARC1; p=maybe; rua=mailto:a@broken.test"
`)
	r, err := newResolver(lab(), probeFor(t, w, nil))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		domain  string
		records uint32
		policy  string
		foundAt string
	}{
		{"org.test", 1, "reject", "org.test"},
		{"own.org.test", 1, "none", "own.org.test"},
		{"sub.org.test", 1, "quarantine", "org.test"},
		{"a.b.org.test", 1, "quarantine", "org.test"},
		{"twice.org.test", 2, "", ""},
		{"noise.org.test", 1, "quarantine", "org.test"},
		{"x.plain.test", 1, "quarantine", "plain.test"},
		{"nothing.test", 0, "", ""},
		{"suffix.test", 1, "reject", "suffix.test"},
		{"a.member.suffix.test", 1, "none", "member.suffix.test"},
		{"stranger.suffix.test", 1, "reject", "suffix.test"},
		{"a.mid.deep.suffix.test", 1, "reject", "suffix.test"},
		{"a.stop.top.test", 1, "quarantine", "stop.top.test"},
		{"broken.test", 1, "none", "broken.test"},
	}
	for _, test := range tests {
		got, err := dmarcFact(t.Context(), r, test.domain)
		if err != nil || got.GetRecords() != test.records || got.GetPolicy() != test.policy || got.GetFoundAt() != test.foundAt {
			t.Errorf("%s: %v, %v; want %+v", test.domain, got, err, test)
		}
	}
}

// RFC 9989 section 4.10: never more than eight questions.
func TestDMARCWalkTargets(t *testing.T) {
	want := []string{"a.b.c.d.e.f.g.h.i.j.test", "f.g.h.i.j.test", "g.h.i.j.test", "h.i.j.test", "i.j.test", "j.test", "test"}
	want = append(want[:1], append([]string{"e.f.g.h.i.j.test"}, want[1:]...)...)
	if diff := cmp.Diff(want, walkTargets("a.b.c.d.e.f.g.h.i.j.test")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 1, 40).Draw(t, "labels")
		got := walkTargets(strings.Join(labels, "."))
		if len(got) > 8 || got[0] != strings.Join(labels, ".") || got[len(got)-1] != labels[len(labels)-1] {
			t.Fatalf("%d targets: %v", len(got), got)
		}
	})
}

func TestVersionRecords(t *testing.T) {
	for zone, want := range map[string]bool{
		`_mta-sts.a.test. TXT "v=STSv1; id=1"`: true, `_mta-sts.a.test. TXT "v=STSv1"`: false, `_mta-sts.a.test. TXT "v=STSv2; id=1"`: false, `x.test. TXT x`: false,
		"_mta-sts.a.test. TXT \"v=STSv1; id=1\"\n_mta-sts.a.test. TXT \"v=STSv1; id=2\"": false,
	} {
		p := probeFor(t, newWorld(t, "test. SOA ns.test. a.test. 1 1 1 1 1\na.test. SOA ns.test. a.test. 1 1 1 1 1\n"+zone), nil)
		_, mail, _ := facts(run(t, p, jobFor(modelv1.AssetKind_ASSET_KIND_DOMAIN, "a.test")))
		if mail.GetMtaSts() != want {
			t.Errorf("%s: %t, want %t", zone, mail.GetMtaSts(), want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{`plain`: "plain", `a\"b`: `a"b`, `\065\066`: "AB", `\\`: `\`, `end\`: `end\`, `\06`: "06", `\255`: "\xff"} {
		if got := unescape(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzSPF(f *testing.F) {
	for _, seed := range []string{"v=spf1 a mx include:b.test ip4:1.2.3.4/5 exists:%{l1r+}.c.test -all", "v=spf1 redirect=%{d} exp=%{", "v=spf1 a/1//2", " A/\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		record, err := parseSPF(text)
		for _, term := range record.terms {
			if term.name == "" {
				t.Errorf("%q: a term without name", text)
			}
		}
		if err != nil && len(err.Error()) > 512 {
			t.Errorf("%q: an error of %d bytes", text, len(err.Error()))
		}
	})
}

func FuzzDMARC(f *testing.F) {
	for _, seed := range []string{"v=DMARC1; p=reject; sp=none; rua=mailto:a@b.test,mailto:c@d.test!10m; t=y", "v=DMARC1;;=;p", "v=DMARC1; rua=%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := parseDMARC(text)
		switch got.effective(got.policy) {
		case "", "none", "quarantine", "reject":
		default:
			t.Errorf("%q: policy %q", text, got.policy)
		}
		if len(got.rua) > maxReports {
			t.Errorf("%d addresses", len(got.rua))
		}
		isDMARC(text)
	})
}

func FuzzAnswer(f *testing.F) {
	seed := new(mdns.Msg).SetQuestion("a.test.", mdns.TypeTXT)
	seed.Response = true
	for _, text := range []string{"a.test. CNAME b.test.", "b.test. TXT \"x\\\"y\" \"z\"", "b.test. CNAME a.test."} {
		rr, _ := mdns.NewRR(text)
		seed.Answer = append(seed.Answer, rr)
	}
	packed, err := seed.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Fuzz(func(t *testing.T, data []byte) {
		reply := new(mdns.Msg)
		if reply.Unpack(data) != nil {
			return
		}
		answers(reply, mdns.Question{Name: "a.test.", Qtype: mdns.TypeTXT})
		for _, kind := range []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeTXT, mdns.TypeMX, mdns.TypeCAA, mdns.TypeSOA, mdns.TypeCNAME} {
			var got found
			if _, err := got.follow(reply, "a.test.", kind); err == nil && len(got.chain) > maxChain {
				t.Errorf("a chain of %d", len(got.chain))
			}
			addrs(got.records)
			textsOf(got.records)
			s := &scan{fact: &modelv1.DnsFact{}}
			s.exchangers(got.records)
			s.texts(got.records)
			s.leads()
		}
	})
}
