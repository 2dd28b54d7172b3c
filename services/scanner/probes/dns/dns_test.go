package dns

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	"google.golang.org/protobuf/testing/protocmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
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
	env := labOf(p)
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
		NameServers: []*modelv1.NameServer{
			{Name: "ns1.good.test", Addresses: []string{"127.0.0.1"}, State: stateAuthoritative, Serial: 7, InZone: true},
			{Name: "ns2.other.test", Addresses: []string{"127.0.0.2"}, State: stateAuthoritative, Serial: 7, InZone: true},
		},
		SoaRecord: &modelv1.Soa{Primary: "ns1.good.test", Mailbox: "admin.good.test", Serial: 7, Refresh: 1, Retry: 1, Expire: 1, Minimum: 1},
		Reverse:   []*modelv1.ReverseName{{Address: "192.0.2.1"}, {Address: "2001:db8::1"}},
		Dnssec: &modelv1.Dnssec{
			State: modelv1.Dnssec_STATE_INSECURE, Keys: []*modelv1.DnssecKey{{Tag: 3613, Algorithm: "ED25519", Bits: 256, EntryPoint: true}}, Algorithms: []string{"ED25519"},
		},
	}
	if diff := cmp.Diff(want, dns, protocmp.Transform()); diff != "" {
		t.Errorf("dns (-want +got):\n%s", diff)
	}
	wantMail := &modelv1.MailFact{
		Domain: "good.test", HasMx: true, MtaSts: true, TlsRpt: true,
		Spf:   &modelv1.SpfFact{Records: 1, Record: "v=spf1 mx -all", All: "-", Lookups: 1, WidestIp4: 32},
		Dmarc: &modelv1.DmarcFact{Records: 1, Record: "v=DMARC1; p=reject; rua=mailto:d@good.test", Policy: "reject", Rua: []string{"mailto:d@good.test"}, FoundAt: "good.test", WrittenPolicy: "reject"},
		Exchangers: []*modelv1.MxHost{
			{Host: "mx.other.test", Preference: 5, Addresses: []string{"192.0.2.9"}, Rcode: "NOERROR", Dane: &modelv1.Dane{}},
			{Host: "mail.good.test", Preference: 10, Addresses: []string{"192.0.2.2"}, Rcode: "NOERROR", Dane: &modelv1.Dane{}},
		},
		Sts:     &modelv1.MtaSts{Records: 1, Id: "20260101", Fetch: modelv1.MtaSts_FETCH_NO_HOST},
		Reports: &modelv1.TlsRpt{Records: 1, Rua: []string{"mailto:t@good.test"}}, Bimi: &modelv1.Bimi{},
	}
	if diff := cmp.Diff(wantMail, mail, protocmp.Transform()); diff != "" {
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
		Caa:     []*modelv1.Caa{{Tag: "issue", Value: "ca.test"}}, // from the zone above (RFC 8659 section 3)
		Reverse: []*modelv1.ReverseName{{Address: "192.0.2.3"}},
	}
	if diff := cmp.Diff(want, dns, protocmp.Transform()); diff != "" {
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
		{"DNSKEY", drop(mdns.TypeDNSKEY), partial, "DNSSEC", false, true},
		{"MX", failing("good.", mdns.TypeMX, mdns.RcodeServerFailure), partial, "MX", true, false},
		{"TXT", failing("good.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "TXT", true, false},
		{"DMARC", failing("_dmarc.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "DMARC", true, false},
		{"MTA-STS", failing("_mta-sts.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "MTA-STS", true, false},
		{"TLS-RPT", failing("_smtp.", mdns.TypeTXT, mdns.RcodeServerFailure), partial, "TLS-RPT", true, false},
		{"a name server's address", failing("ns2.", mdns.TypeA, mdns.RcodeServerFailure), partial, "ns2.other.test", true, true},
		{"random names", failing("rp-", mdns.TypeA, mdns.RcodeServerFailure), partial, "SERVFAIL", true, true},
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

// When no name server answers it may be us: nothing is said about them.
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
// quoted splits a text into strings of at most 255 bytes.
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
// The keys of the zone an alias leads to are not the alias's.
func TestAliasOfASignedZone(t *testing.T) {
	p := probeFor(t, newWorld(t, tidy+"alias.good.test. CNAME good.test.\n"), nil)
	if dns, _, _ := facts(run(t, p, jobFor(host, "alias.good.test"))); dns.GetDnssecSigned() || dns.GetApex() || len(dns.GetCname()) != 1 {
		t.Errorf("got %v", dns)
	}
}

// Without an option of its own the probe asks the guard's resolver.
// A resolver that fails once is asked again.
