package dns

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// tidy is a zone as it should be.
const tidy = `
good.test. SOA ns1.good.test. admin.good.test. 7 1 1 1 1
good.test. NS ns1.good.test.
good.test. NS ns2.other.test.
good.test. A 192.0.2.1
good.test. A 10.0.0.1
good.test. AAAA 2001:db8::1
good.test. MX 10 mail.good.test.
good.test. MX 5 mx.other.test.
good.test. TXT "v=spf1 mx -all"
good.test. TXT "two " "strings"
good.test. CAA 0 issue "ca.test"
good.test. DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=
_dmarc.good.test. TXT "v=DMARC1; p=reject; rua=mailto:d@good.test"
_mta-sts.good.test. TXT "v=STSv1; id=20260101"
_smtp._tls.good.test. TXT "v=TLSRPTv1; rua=mailto:t@good.test"
ns1.good.test. A 127.0.0.1
mail.good.test. A 192.0.2.2
www.good.test. CNAME web.good.test.
web.good.test. A 192.0.2.3
other.test. SOA ns2.other.test. admin.other.test. 7 1 1 1 1
ns2.other.test. A 127.0.0.2
mx.other.test. A 192.0.2.9
test. SOA ns1.good.test. admin.good.test. 7 1 1 1 1
`

func TestDomain(t *testing.T) {
	w := newWorld(t, tidy)
	p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": newWorld(t, tidy)})
	env := lab()
	result, err := p.Scan(t.Context(), env, jobFor(domain, "Good.Test."))
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 2 {
		t.Fatalf("got %+v, %v; want a complete scan with two facts", result, err)
	}
	dns, mail, _ := facts(result)
	want := &modelv1.DnsFact{
		Name: "good.test", Rcode: "NOERROR", A: []string{"10.0.0.1", "192.0.2.1"}, Aaaa: []string{"2001:db8::1"}, Ns: []string{"ns1.good.test", "ns2.other.test"},
		Mx:  []*modelv1.Mx{{Preference: 5, Host: "mx.other.test"}, {Preference: 10, Host: "mail.good.test"}},
		Txt: []string{"two strings", "v=spf1 mx -all"}, Caa: []*modelv1.Caa{{Tag: "issue", Value: "ca.test"}},
		Soa: "ns1.good.test admin.good.test 7", Apex: true, DnssecSigned: true, PrivateAddresses: []string{"10.0.0.1"},
	}
	if diff := cmp.Diff(want.String(), dns.String()); diff != "" {
		t.Errorf("dns (-want +got):\n%s", diff)
	}
	wantMail := &modelv1.MailFact{
		Domain: "good.test", HasMx: true, MtaSts: true, TlsRpt: true,
		Spf:   &modelv1.SpfFact{Records: 1, Record: "v=spf1 mx -all", All: "-", Lookups: 1},
		Dmarc: &modelv1.DmarcFact{Records: 1, Record: "v=DMARC1; p=reject; rua=mailto:d@good.test", Policy: "reject", Rua: []string{"mailto:d@good.test"}, FoundAt: "good.test"},
	}
	if diff := cmp.Diff(wantMail.String(), mail.String()); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	var leads []string
	for _, lead := range result.Leads {
		leads = append(leads, fmt.Sprintf("%s %s %v %s", lead.GetTarget().GetKind(), lead.GetTarget().GetValue(), lead.GetScanTypes(), lead.GetRelation()))
	}
	wantLeads := []string{
		"ASSET_KIND_IP 10.0.0.1 [SCAN_TYPE_PORT] A record", "ASSET_KIND_IP 192.0.2.1 [SCAN_TYPE_PORT] A record",
		"ASSET_KIND_IP 2001:db8::1 [SCAN_TYPE_PORT] AAAA record", "ASSET_KIND_HOST ns1.good.test [SCAN_TYPE_DNS] NS record",
		"ASSET_KIND_HOST mail.good.test [SCAN_TYPE_DNS] MX record",
	}
	if diff := cmp.Diff(wantLeads, leads); diff != "" {
		t.Errorf("leads (-want +got):\n%s", diff)
	}
	evidence := result.Observations[0].GetEvidence()
	if blob := string(env.Blobs.(*memory).blobs[evidence.GetBlob()]); !strings.Contains(blob, "good.test.\t3600\tIN\tMX\t10 mail.good.test.") {
		t.Errorf("evidence: %s", blob)
	}
	if o := result.Observations[0]; o.GetLocation() != "" || o.GetKey() != "dns" || result.Observations[1].GetKey() != "mail" {
		t.Errorf("observations: %v", result.Observations)
	}
}

func TestHost(t *testing.T) {
	p := probeFor(t, newWorld(t, tidy), nil)
	result := run(t, p, jobFor(host, "www.good.test"))
	dns, mail, dangling := facts(result)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || mail != nil || len(dangling) != 0 {
		t.Fatalf("got %v (%s), %v, %v", result.Outcome, result.Reason, mail, dangling)
	}
	want := &modelv1.DnsFact{
		Name: "www.good.test", Rcode: "NOERROR", A: []string{"192.0.2.3"}, Cname: []string{"web.good.test"},
		Caa: []*modelv1.Caa{{Tag: "issue", Value: "ca.test"}}, // from the zone above (RFC 8659 section 3)
	}
	if diff := cmp.Diff(want.String(), dns.String()); diff != "" {
		t.Errorf("dns (-want +got):\n%s", diff)
	}
	if len(result.Leads) != 2 || result.Leads[0].GetTarget().GetAddress() != "192.0.2.3" || result.Leads[1].GetTarget().GetHost() != "web.good.test" {
		t.Errorf("leads %v", result.Leads)
	}
}

// The apex of a zone that is scanned as a host is no mail domain; a domain that is no apex is none either.
func TestMailFactsAreForDomains(t *testing.T) {
	p := probeFor(t, newWorld(t, tidy), map[string]mdns.Handler{"127.0.0.2": newWorld(t, tidy)})
	for _, job := range []*modelv1.ScanJob{jobFor(host, "good.test"), jobFor(domain, "www.good.test")} {
		if _, mail, _ := facts(run(t, p, job)); mail != nil {
			t.Errorf("%v: mail facts %v", job.GetTarget(), mail)
		}
	}
}

func TestNoSuchNameIsComplete(t *testing.T) {
	p := probeFor(t, newWorld(t, tidy), nil)
	result := run(t, p, jobFor(host, "gone.good.test"))
	dns, _, _ := facts(result)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || dns.GetRcode() != "NXDOMAIN" || len(result.Leads) != 0 {
		t.Errorf("got %v (%s), %v", result.Outcome, result.Reason, dns)
	}
}

func TestUnansweredQuestionsAreNoAnswers(t *testing.T) {
	drop := func(kind uint16) func(mdns.ResponseWriter, *mdns.Msg) bool {
		return func(_ mdns.ResponseWriter, q *mdns.Msg) bool { return q.Question[0].Qtype == kind }
	}
	forge := func(change func(*mdns.Msg)) func(mdns.ResponseWriter, *mdns.Msg) bool {
		return func(w mdns.ResponseWriter, q *mdns.Msg) bool {
			if q.Question[0].Qtype != mdns.TypeA {
				return false
			}
			reply := new(mdns.Msg).SetReply(q)
			reply.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET}, A: net.IPv4(6, 6, 6, 6)}}
			change(reply)
			_ = w.WriteMsg(reply)
			return true
		}
	}
	const failed, partial = modelv1.Outcome_OUTCOME_FAILED, modelv1.Outcome_OUTCOME_PARTIAL
	tests := []struct {
		name      string
		fault     func(mdns.ResponseWriter, *mdns.Msg) bool
		outcome   modelv1.Outcome
		reason    string
		dns, mail bool
	}{
		{"addresses: SERVFAIL", failing("good.", mdns.TypeA, mdns.RcodeServerFailure), failed, "SERVFAIL", false, false},
		{"addresses: REFUSED", failing("good.", mdns.TypeAAAA, mdns.RcodeRefused), failed, "REFUSED", false, false},
		{"addresses: nothing", drop(mdns.TypeA), failed, "no answer in time", false, false},
		{"addresses: another question", forge(func(m *mdns.Msg) { m.Question[0].Name = "evil.test." }), failed, "not to our question", false, false},
		{"addresses: another type", forge(func(m *mdns.Msg) { m.Question[0].Qtype = mdns.TypeTXT }), failed, "not to our question", false, false},
		{"addresses: another id", forge(func(m *mdns.Msg) { m.Id++ }), failed, "no answer in time", false, false},
		{"addresses: a question", forge(func(m *mdns.Msg) { m.Response = false }), failed, "not to our question", false, false},
		{"SOA", failing("good.", mdns.TypeSOA, mdns.RcodeServerFailure), partial, "SOA", false, false},
		{"NS", failing("good.", mdns.TypeNS, mdns.RcodeServerFailure), partial, "NS", false, true},
		{"CAA", failing("good.", mdns.TypeCAA, mdns.RcodeServerFailure), partial, "CAA", false, true},
		{"DNSKEY", drop(mdns.TypeDNSKEY), partial, "DNSKEY", false, true},
		{"MX", failing("good.", mdns.TypeMX, mdns.RcodeServerFailure), partial, "MX", true, false},
		{"TXT", failing("good.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "TXT", true, false},
		{"DMARC", failing("_dmarc.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "DMARC", true, false},
		{"MTA-STS", failing("_mta-sts.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "MTA-STS", true, false},
		{"TLS-RPT", failing("_smtp.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "TLS-RPT", true, false},
		{"a name server's address", failing("ns2.", mdns.TypeA, mdns.RcodeServerFailure), partial, "ns2.other.test", true, true},
		{"random names", failing("rp-", mdns.TypeA, mdns.RcodeServerFailure), partial, "random names", true, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, tidy)
			w.fault = test.fault
			p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": newWorld(t, tidy)})
			result := run(t, p, jobFor(domain, "good.test"))
			dns, mail, _ := facts(result)
			if result.Outcome != test.outcome || !strings.Contains(result.Reason, test.reason) || (dns != nil) != test.dns || (mail != nil) != test.mail {
				t.Errorf("got %v (%q), dns %t, mail %t; want %v (%q), %t, %t",
					result.Outcome, result.Reason, dns != nil, mail != nil, test.outcome, test.reason, test.dns, test.mail)
			}
		})
	}
}

// The records of one name may not fit into a datagram; the probe then asks by TCP.
func TestLongAnswers(t *testing.T) {
	zone := tidy
	for i := range 150 {
		zone += fmt.Sprintf("good.test. TXT \"%03d %s\"\n", i, strings.Repeat("x", 200))
	}
	p := probeFor(t, newWorld(t, zone), map[string]mdns.Handler{"127.0.0.2": newWorld(t, tidy)})
	result := run(t, p, jobFor(domain, "good.test"))
	dns, _, _ := facts(result)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(dns.GetTxt()) != maxValues {
		t.Errorf("got %v (%s) with %d texts, want complete with %d", result.Outcome, result.Reason, len(dns.GetTxt()), maxValues)
	}
}

func TestChainsOfAliases(t *testing.T) {
	chain := func(n int) string {
		var zone strings.Builder
		zone.WriteString("test. SOA ns.test. a.test. 1 1 1 1 1\n")
		for i := range n {
			fmt.Fprintf(&zone, "c%d.test. CNAME c%d.test.\n", i, i+1)
		}
		fmt.Fprintf(&zone, "c%d.test. A 192.0.2.1\n", n)
		return zone.String()
	}
	tests := []struct {
		name, zone string
		links      int
		outcome    modelv1.Outcome
	}{
		{"eight", chain(8), 8, modelv1.Outcome_OUTCOME_COMPLETE},
		{"nine", chain(9), 0, modelv1.Outcome_OUTCOME_PARTIAL},
		{"a circle", "test. SOA ns.test. a.test. 1 1 1 1 1\nc0.test. CNAME c1.test.\nc1.test. CNAME c0.test.\n", 0, modelv1.Outcome_OUTCOME_PARTIAL},
		{"to itself", "test. SOA ns.test. a.test. 1 1 1 1 1\nc0.test. CNAME c0.test.\n", 0, modelv1.Outcome_OUTCOME_PARTIAL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			result := run(t, probeFor(t, newWorld(t, test.zone), nil), jobFor(host, "c0.test"))
			dns, _, dangling := facts(result)
			if result.Outcome != test.outcome || len(dns.GetCname()) != test.links || len(dangling) != 0 {
				t.Errorf("got %v (%s) with %d links, %v; want %v with %d", result.Outcome, result.Reason, len(dns.GetCname()), dangling, test.outcome, test.links)
			}
		})
	}
}

// A resolver may hand out one alias at a time; the probe asks on.
func TestOpenChains(t *testing.T) {
	w := newWorld(t, tidy)
	w.fault = func(out mdns.ResponseWriter, q *mdns.Msg) bool {
		if q.Question[0].Name != "www.good.test." || q.Question[0].Qtype == mdns.TypeCNAME {
			return false
		}
		reply := new(mdns.Msg).SetReply(q)
		reply.Answer = w.names["www.good.test."][mdns.TypeCNAME]
		_ = out.WriteMsg(reply)
		return true
	}
	dns, _, _ := facts(run(t, probeFor(t, w, nil), jobFor(host, "www.good.test")))
	if !slices.Equal(dns.GetA(), []string{"192.0.2.3"}) || !slices.Equal(dns.GetCname(), []string{"web.good.test"}) {
		t.Errorf("got %v", dns)
	}
}

func TestNameServers(t *testing.T) {
	zone := func(extra string) string {
		return `
z.test. SOA ns1.z.test. a.z.test. 1 1 1 1 1
z.test. NS ns1.z.test.
z.test. NS ns2.z.test.
ns1.z.test. A 127.0.0.1
` + extra
	}
	good := func(t *testing.T) *world { return newWorld(t, zone("")) }
	onlySOA := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		reply := new(mdns.Msg).SetReply(q)
		reply.Authoritative = true
		reply.Answer = good(t).names["z.test."][mdns.TypeSOA]
		if q.Question[0].Qtype == mdns.TypeAXFR {
			reply.Answer = append(reply.Answer, reply.Answer[0])
		}
		_ = w.WriteMsg(reply)
	})
	noAuthority := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		reply := new(mdns.Msg).SetReply(q)
		reply.Answer = good(t).names["z.test."][mdns.TypeSOA]
		_ = w.WriteMsg(reply)
	})
	open := good(t)
	open.open["z.test."] = true
	tests := []struct {
		name     string
		records  string
		second   mdns.Handler // at 127.0.0.2
		lame     []string
		transfer []string
		dangling string
		outcome  modelv1.Outcome
	}{
		{"good", "ns2.z.test. A 127.0.0.2", good(t), nil, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"refuses", "ns2.z.test. A 127.0.0.2", refuse, []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"without authority", "ns2.z.test. A 127.0.0.2", noAuthority, []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"silent, while the other answers", "ns2.z.test. A 127.0.0.2", mute, []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"one of two addresses is good", "ns2.z.test. A 127.0.0.3\nns2.z.test. A 127.0.0.2", good(t), nil, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"without address", "ns2.z.test. TXT x", good(t), []string{"ns2.z.test"}, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"does not exist", "", good(t), nil, nil, "NS ns2.z.test", modelv1.Outcome_OUTCOME_COMPLETE},
		{"hands out the zone", "ns2.z.test. A 127.0.0.2", open, nil, []string{"ns2.z.test"}, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"hands out nothing but the SOA", "ns2.z.test. A 127.0.0.2", onlySOA, nil, nil, "", modelv1.Outcome_OUTCOME_COMPLETE},
		{"at a forbidden address", "ns2.z.test. A 169.254.169.254", good(t), nil, nil, "", modelv1.Outcome_OUTCOME_PARTIAL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := probeFor(t, newWorld(t, zone(test.records)), map[string]mdns.Handler{"127.0.0.2": test.second})
			result := run(t, p, jobFor(host, "z.test"))
			dns, _, dangling := facts(result)
			if result.Outcome != test.outcome || !slices.Equal(dns.GetLameNs(), test.lame) || !slices.Equal(dns.GetZoneTransferNs(), test.transfer) {
				t.Errorf("got %v (%s), lame %v, transfer %v", result.Outcome, result.Reason, dns.GetLameNs(), dns.GetZoneTransferNs())
			}
			got := ""
			for _, d := range dangling {
				got = d.GetRecord() + " " + d.GetTarget()
			}
			if got != test.dangling || len(dangling) > 1 {
				t.Errorf("dangling %v, want %q", dangling, test.dangling)
			}
			if strings.Contains(result.Reason, "169.254") {
				t.Errorf("the reason names the address: %s", result.Reason)
			}
		})
	}
}

// When no name server answers it may be us: nothing is said about them.
func TestAllNameServersSilent(t *testing.T) {
	zone := "z.test. SOA ns1.z.test. a.z.test. 1 1 1 1 1\nz.test. NS ns1.z.test.\nz.test. NS ns2.z.test.\nns1.z.test. A 127.0.0.2\nns2.z.test. A 127.0.0.3\n"
	p := probeFor(t, newWorld(t, zone), map[string]mdns.Handler{"127.0.0.2": mute, "127.0.0.3": mute})
	result := run(t, p, jobFor(host, "z.test"))
	dns, _, _ := facts(result)
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || len(dns.GetLameNs()) != 0 || !strings.Contains(result.Reason, "no answer in time") {
		t.Errorf("got %v (%s), %v; want partial and no name server lame", result.Outcome, result.Reason, dns.GetLameNs())
	}
}

func TestPassiveAsksNobodyButTheResolver(t *testing.T) {
	w, other := newWorld(t, tidy), newWorld(t, tidy)
	p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": other})
	job := jobFor(domain, "good.test")
	job.Options.Profile = modelv1.Profile_PROFILE_PASSIVE
	env := lab()
	env.Guard = netguard.New(netguard.Options{}) // would refuse and say so, but is not even asked
	result, err := p.Scan(t.Context(), env, job)
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "passive") || len(result.Observations) != 2 {
		t.Errorf("got %+v, %v; want a partial result with both facts", result, err)
	}
	if asked := other.questions(); len(asked) != 0 {
		t.Errorf("asked the name server %v", asked)
	}
}

func TestWildcard(t *testing.T) {
	for name, test := range map[string]struct {
		zone string
		want bool
	}{
		"address": {"*.w.test. A 192.0.2.1", true},
		"alias":   {"*.w.test. CNAME nowhere.test.", false},
		"none":    {"a.w.test. A 192.0.2.1", false},
		"text":    {"*.w.test. TXT x", false},
	} {
		t.Run(name, func(t *testing.T) {
			zone := "test. SOA ns.test. a.test. 1 1 1 1 1\nw.test. SOA ns.test. a.test. 1 1 1 1 1\nw.test. NS ns.test.\nns.test. A 127.0.0.1\n" + test.zone
			w := newWorld(t, zone)
			dns, _, _ := facts(run(t, probeFor(t, w, nil), jobFor(host, "w.test")))
			if dns.GetWildcard() != test.want {
				t.Errorf("wildcard %t, want %t", dns.GetWildcard(), test.want)
			}
			random := 0
			for _, asked := range w.questions() {
				if strings.HasPrefix(asked, "rp-") {
					random++
				}
			}
			if random < wildcardProbes {
				t.Errorf("%d random names, want %d", random, wildcardProbes)
			}
		})
	}
}

func TestDeadMailExchanger(t *testing.T) {
	zone := "test. SOA ns.test. a.test. 1 1 1 1 1\nm.test. SOA ns.test. a.test. 1 1 1 1 1\nm.test. NS ns.test.\nns.test. A 127.0.0.1\nm.test. MX 10 alive.test.\nm.test. MX 20 gone.test.\nalive.test. A 192.0.2.1\n"
	_, mail, dangling := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "m.test")))
	if len(dangling) != 1 || dangling[0].GetRecord() != "MX" || dangling[0].GetTarget() != "gone.test" || dangling[0].GetConfirmed() || !mail.GetHasMx() {
		t.Errorf("dangling %v, mail %v", dangling, mail)
	}
}

func TestNullMX(t *testing.T) {
	zone := "m.test. SOA ns.test. a.test. 1 1 1 1 1\nm.test. NS ns.test.\nns.test. A 127.0.0.1\nm.test. MX 0 .\n"
	dns, mail, dangling := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "m.test")))
	if !mail.GetNullMx() || mail.GetHasMx() || len(dangling) != 0 || len(dns.GetMx()) != 1 || dns.GetMx()[0].GetHost() != "." {
		t.Errorf("mail %v, mx %v, dangling %v", mail, dns.GetMx(), dangling)
	}
}

func TestTextOfStrangers(t *testing.T) {
	zone := "h.test. SOA ns.test. a.test. 1 1 1 1 1\nh.test. A 192.0.2.1\nh.test. TXT \"\\027[31m\\226\\128\\174<script>\\000\\010=1+1\"\nh.test. MX 1 a\\032b\\027.test.\n"
	dns, _, _ := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(host, "h.test")))
	text := strings.Join(dns.GetTxt(), "") + dns.GetMx()[0].GetHost()
	if strings.ContainsAny(text, "\x1b\x00\n\u202e") || !strings.Contains(text, "<script>") {
		t.Errorf("text %q", text)
	}
}

func TestTargetsThatAreNoNames(t *testing.T) {
	for _, name := range []string{"", "192.0.2.1", "2001:db8::1", "a..b", strings.Repeat("a", 64) + ".test", "a b.test", strings.Repeat("abcdefgh.", 30) + "test"} {
		if _, err := New(Options{Resolver: "127.0.0.1:53"}).Scan(t.Context(), lab(), jobFor(domain, name)); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
	if _, err := New(Options{Resolver: "nonsense"}).Scan(t.Context(), lab(), jobFor(domain, "a.test")); err == nil {
		t.Error("a resolver that is no address: no error")
	}
}

func TestPrivateAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"10.1.2.3": true, "192.168.0.1": true, "172.16.0.1": true, "127.0.0.1": true, "169.254.1.1": true, "100.64.0.1": true, "0.0.0.0": true,
		"fe80::1": true, "fd00::1": true, "::1": true, "8.8.8.8": false, "2606:4700::1111": false, "100.128.0.1": false,
	} {
		if got := private(mustAddr(text)); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}

// Questions are bounded, whatever the zone leads to.
func TestBoundedQuestions(t *testing.T) {
	var zone strings.Builder
	zone.WriteString("big.test. SOA ns.test. a.test. 1 1 1 1 1\nns.test. A 127.0.0.1\n")
	for i := range 60 {
		fmt.Fprintf(&zone, "big.test. NS n%d.test.\nbig.test. MX %d m%d.test.\nn%d.test. A 127.0.0.1\nm%d.test. A 192.0.2.1\n", i, i, i, i, i)
	}
	spf := "v=spf1"
	for i := range 60 {
		spf += fmt.Sprintf(" include:s%d.test", i)
		fmt.Fprintf(&zone, "s%d.test. TXT \"v=spf1 include:t%d.test include:u%d.test -all\"\n", i, i, i)
	}
	fmt.Fprintf(&zone, "big.test. TXT %s\n", quoted(spf+" -all"))
	w := newWorld(t, zone.String())
	result := run(t, probeFor(t, w, nil), jobFor(domain, "big.test"))
	_, mail, _ := facts(result)
	if len(w.questions()) > 2*maxQuestions || mail.GetSpf().GetLookups() <= 10 || len(result.Leads) > maxLeads {
		t.Errorf("%d questions, %d lookups, %d leads", len(w.questions()), mail.GetSpf().GetLookups(), len(result.Leads))
	}
}

// quoted splits a text into strings of at most 255 bytes.
func quoted(text string) string {
	var out []string
	for len(text) > 0 {
		n := min(len(text), 250)
		out = append(out, `"`+text[:n]+`"`)
		text = text[n:]
	}
	return strings.Join(out, " ")
}

func TestEvidenceStoreDown(t *testing.T) {
	p := probeFor(t, newWorld(t, tidy), nil)
	env := lab()
	env.Blobs = broken{}
	if _, err := p.Scan(t.Context(), env, jobFor(host, "www.good.test")); err == nil {
		t.Error("no error, though the evidence was not stored")
	}
}

var _ probes.EvidenceSink = broken{}

// A panic on what a target sent must reach the scanner, which recovers it; in a goroutine of its own it would end the process.
func TestPanicsReachTheCaller(t *testing.T) {
	defer func() {
		if v := recover(); v != "broken" {
			t.Errorf("recovered %v", v)
		}
	}()
	parallel(2, func() {}, func() { panic("broken") })
	t.Error("no panic")
}

// The keys of the zone an alias leads to are not the alias's.
func TestAliasOfASignedZone(t *testing.T) {
	p := probeFor(t, newWorld(t, tidy+"alias.good.test. CNAME good.test.\n"), nil)
	if dns, _, _ := facts(run(t, p, jobFor(host, "alias.good.test"))); dns.GetDnssecSigned() || dns.GetApex() || len(dns.GetCname()) != 1 {
		t.Errorf("got %v", dns)
	}
}

func TestNoMoreThanSoManyQuestions(t *testing.T) {
	r, err := newResolver(lab(), probeFor(t, newWorld(t, tidy), nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxQuestions {
		if _, err := r.ask(t.Context(), fmt.Sprintf("n%d.good.test", i), mdns.TypeA); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.ask(t.Context(), "one.more.test", mdns.TypeA); !errors.Is(err, errTooMany) {
		t.Errorf("got %v, want %v", err, errTooMany)
	}
	if _, err := r.ask(t.Context(), "n0.good.test", mdns.TypeA); err != nil {
		t.Errorf("a question that was asked before: %v", err)
	}
}

// Without an option of its own the probe asks the guard's resolver.
func TestResolverOfTheGuard(t *testing.T) {
	own := probeFor(t, newWorld(t, tidy), nil)
	env := lab()
	env.Guard = netguard.New(netguard.Options{AllowPrivate: true, Resolver: own.options.Resolver})
	result, err := New(Options{}).Scan(t.Context(), env, jobFor(host, "www.good.test"))
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Leads) != 2 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// A resolver that fails once is asked again.
func TestServerFailureOnce(t *testing.T) {
	w := newWorld(t, tidy)
	var failed atomic.Bool
	w.fault = func(out mdns.ResponseWriter, q *mdns.Msg) bool {
		if q.Question[0].Qtype != mdns.TypeA || failed.Swap(true) {
			return false
		}
		_ = out.WriteMsg(new(mdns.Msg).SetRcode(q, mdns.RcodeServerFailure))
		return true
	}
	if result := run(t, probeFor(t, w, nil), jobFor(host, "www.good.test")); result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Errorf("got %v (%s)", result.Outcome, result.Reason)
	}
}
