package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// ask sends one query to the server at address.
func ask(t *testing.T, transport, address, name string, kind uint16, dnssec bool) *dns.Msg {
	t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	if dnssec {
		q.SetEdns0(4096, true)
	}
	reply, _, err := (&dns.Client{Net: transport}).ExchangeContext(t.Context(), q, address)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[kind], err)
	}
	return reply
}

// values returns the data of the answers of one type.
func values(reply *dns.Msg, kind uint16) []string {
	var all []string
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == kind {
			all = append(all, strings.TrimSpace(strings.TrimPrefix(rr.String(), rr.Header().String())))
		}
	}
	return all
}

func texts(t *testing.T, l *Lab, name, prefix string) []string {
	t.Helper()
	var all []string
	for _, rr := range ask(t, "tcp", l.Resolver(), name, dns.TypeTXT, false).Answer {
		if txt, ok := rr.(*dns.TXT); ok && strings.HasPrefix(strings.Join(txt.Txt, ""), prefix) {
			all = append(all, strings.Join(txt.Txt, ""))
		}
	}
	return all
}

func TestAnswers(t *testing.T) {
	l := startLab(t, Options{})
	at := func(n int) string { return l.plan.address(n).String() }
	for _, tt := range []struct {
		name  string
		kind  uint16
		rcode int
		want  []string
	}{
		{"www.acme.test", dns.TypeA, dns.RcodeSuccess, []string{at(10)}},
		{"WWW.Acme.TEST", dns.TypeA, dns.RcodeSuccess, []string{at(10)}},
		{"www.acme.test", dns.TypeAAAA, dns.RcodeSuccess, nil},
		{"acme.test", dns.TypeA, dns.RcodeSuccess, nil},
		{"acme.test", dns.TypeMX, dns.RcodeSuccess, []string{"10 mail.acme.test."}},
		{"acme.test", dns.TypeNS, dns.RcodeSuccess, []string{"ns1.exemplary.test."}},
		{"acme.test", dns.TypeCAA, dns.RcodeSuccess, nil},
		{"acme.test", dns.TypeDS, dns.RcodeSuccess, nil},
		{"exemplary.test", dns.TypeCAA, dns.RcodeSuccess, []string{`0 issue "ca.exemplary.test"`, `0 iodef "mailto:security@exemplary.test"`}},
		{"parked.test", dns.TypeMX, dns.RcodeSuccess, []string{"0 ."}},
		{"nothing.acme.test", dns.TypeA, dns.RcodeNameError, nil},
		{"_tls.exemplary.test", dns.TypeTXT, dns.RcodeSuccess, nil},
		{"old.acme.test", dns.TypeCNAME, dns.RcodeSuccess, []string{"acme-promotion.gone.test."}},
		{"acme-promotion.gone.test", dns.TypeA, dns.RcodeNameError, nil},
		{"gone.test", dns.TypeSOA, dns.RcodeNameError, nil},
		{"anything.wildcard.test", dns.TypeA, dns.RcodeSuccess, []string{at(56)}},
		{"a.b.c.wildcard.test", dns.TypeA, dns.RcodeSuccess, []string{at(56)}},
		{"anything.wildcard.test", dns.TypeMX, dns.RcodeSuccess, nil},
		{"x._dmarc.wildcard.test", dns.TypeA, dns.RcodeNameError, nil},
		{"example.com", dns.TypeA, dns.RcodeRefused, nil},
		{"1.0.0.127.in-addr.arpa", dns.TypePTR, dns.RcodeRefused, nil},
	} {
		for _, transport := range []string{"udp", "tcp"} {
			reply := ask(t, transport, l.Resolver(), tt.name, tt.kind, false)
			if reply.Rcode != tt.rcode || !slices.Equal(values(reply, tt.kind), tt.want) {
				t.Errorf("%s %s over %s: %s %q, want %s %q", tt.name, dns.TypeToString[tt.kind], transport,
					dns.RcodeToString[reply.Rcode], values(reply, tt.kind), dns.RcodeToString[tt.rcode], tt.want)
			}
			if ours := tt.rcode != dns.RcodeRefused; reply.Authoritative != ours {
				t.Errorf("%s: authoritative %v", tt.name, reply.Authoritative)
			}
			if len(tt.want) == 0 && tt.rcode != dns.RcodeRefused && (len(reply.Ns) != 1 || reply.Ns[0].Header().Rrtype != dns.TypeSOA) {
				t.Errorf("%s %s: no SOA with an empty answer: %v", tt.name, dns.TypeToString[tt.kind], reply.Ns)
			}
		}
	}
}

func TestDanglingAlias(t *testing.T) {
	l := startLab(t, Options{})
	reply := ask(t, "udp", l.Resolver(), "old.acme.test", dns.TypeA, false)
	if reply.Rcode != dns.RcodeNameError || !slices.Equal(values(reply, dns.TypeCNAME), []string{"acme-promotion.gone.test."}) {
		t.Errorf("answer %v", reply)
	}
}

func TestZoneTransfer(t *testing.T) {
	l := startLab(t, Options{})
	transfer := func(zone string) ([]dns.RR, error) {
		q := new(dns.Msg).SetAxfr(dns.Fqdn(zone))
		channel, err := new(dns.Transfer).In(q, l.Resolver())
		if err != nil {
			return nil, err
		}
		var all []dns.RR
		for e := range channel {
			if e.Error != nil {
				return nil, e.Error
			}
			all = append(all, e.RR...)
		}
		return all, nil
	}
	all, err := transfer("transfer.test")
	if err != nil || len(all) < 8 || all[0].Header().Rrtype != dns.TypeSOA || all[len(all)-1].Header().Rrtype != dns.TypeSOA {
		t.Errorf("%d records, error %v", len(all), err)
	}
	for _, closed := range []string{"acme.test", "exemplary.test", "test"} {
		if _, err := transfer(closed); err == nil {
			t.Errorf("%s: handed out", closed)
		}
	}
	q := new(dns.Msg).SetAxfr("transfer.test.")
	if reply, _, err := new(dns.Client).ExchangeContext(t.Context(), q, l.Resolver()); err != nil || reply.Rcode != dns.RcodeRefused {
		t.Errorf("over UDP: %v, error %v", reply, err)
	}
}

func TestSignaturesHold(t *testing.T) {
	l := startLab(t, Options{})
	for _, zone := range []string{"exemplary.test", "wildcard.test"} {
		apex := dns.Fqdn(zone)
		key, ok := ask(t, "udp", l.Resolver(), zone, dns.TypeDNSKEY, false).Answer[0].(*dns.DNSKEY)
		if !ok {
			t.Fatal("no key")
		}
		ds, ok := ask(t, "udp", l.Resolver(), zone, dns.TypeDS, false).Answer[0].(*dns.DS)
		if !ok || !strings.EqualFold(ds.Digest, key.ToDS(dns.SHA256).Digest) {
			t.Errorf("%s: DS %v does not fit the key", zone, ds)
		}
		for _, q := range []struct {
			name string
			kind uint16
		}{{apex, dns.TypeSOA}, {apex, dns.TypeMX}, {"any." + apex, dns.TypeA}, {"_dmarc." + apex, dns.TypeTXT}, {"www." + apex, dns.TypeA}} {
			reply := ask(t, "udp", l.Resolver(), q.name, q.kind, true)
			var signature *dns.RRSIG
			var set []dns.RR
			for _, rr := range append(reply.Answer, reply.Ns...) {
				if sig, ok := rr.(*dns.RRSIG); ok {
					signature = sig
					continue
				}
				if rr.Header().Rrtype != dns.TypeOPT {
					set = append(set, rr)
				}
			}
			if signature == nil {
				t.Errorf("%s %s: not signed", q.name, dns.TypeToString[q.kind])
				continue
			}
			if err := signature.Verify(key, set); err != nil {
				t.Errorf("%s %s: %v", q.name, dns.TypeToString[q.kind], err)
			}
		}
	}
	for _, rr := range ask(t, "udp", l.Resolver(), "acme.test", dns.TypeMX, true).Answer {
		if rr.Header().Rrtype == dns.TypeRRSIG {
			t.Error("acme.test: signed")
		}
	}
}

func TestNameServers(t *testing.T) {
	l := startLab(t, Options{})
	second := l.at(54, portDNS)
	if reply := ask(t, "udp", second, "exemplary.test", dns.TypeSOA, false); !reply.Authoritative || len(reply.Answer) != 1 {
		t.Errorf("second name server: %v", reply)
	}
	lame := ask(t, "udp", l.Resolver(), "ns-retired-7.exemplary.test", dns.TypeA, false)
	if got := values(lame, dns.TypeA); !slices.Equal(got, []string{l.plan.address(55).String()}) {
		t.Fatalf("address of the lame name server: %q", got)
	}
	if reply := ask(t, "udp", l.at(55, portDNS), "lame.test", dns.TypeSOA, false); reply.Authoritative || reply.Rcode != dns.RcodeRefused {
		t.Errorf("lame name server: %v", reply)
	}
}

func TestLargeAnswersAreTruncated(t *testing.T) {
	l := startLab(t, Options{})
	reply := ask(t, "udp", l.Resolver(), "spf-lookups.test", dns.TypeTXT, false)
	if reply.Len() > dns.MinMsgSize {
		t.Errorf("%d bytes over UDP without EDNS", reply.Len())
	}
	if got := texts(t, l, "spf-lookups.test", "v=spf1"); len(got) != 1 || strings.Count(got[0], "include:") != 12 {
		t.Errorf("SPF over TCP: %q", got)
	}
}

// derived are the checks that TestZonesAreAsDeclared can tell from the answers by itself. The others need more than a few lines:
// that they hold, and nowhere else, is what the assessment of the lab shows (test.TestLabTruth).
var derived = map[string]bool{
	"dns-ns-single": true, "dns-caa-missing": true, "dns-dnssec-missing": true, "dns-wildcard": true, "dns-dangling-ns": true,
	"dns-ns-lame": true, "dns-zone-transfer": true, "dns-dangling-mx": true,
	"mail-spf-missing": true, "mail-spf-multiple": true, "mail-spf-invalid": true, "mail-spf-allow-all": true, "mail-spf-neutral": true,
	"mail-spf-no-all": true, "mail-spf-too-many-lookups": true, "mail-spf-void-lookups": true, "mail-dmarc-missing": true,
	"mail-dmarc-multiple": true, "mail-dmarc-policy-none": true, "mail-dmarc-invalid": true, "mail-dmarc-no-reports": true,
	"mail-mta-sts-missing": true, "mail-tls-rpt-missing": true,
}

// TestZonesAreAsDeclared derives the findings about every domain from what the server answers.
func TestZonesAreAsDeclared(t *testing.T) {
	l := startLab(t, Options{})
	for _, z := range l.plan.zones {
		var got []string
		add := func(holds bool, check string) {
			if holds {
				got = append(got, check)
			}
		}
		query := func(name string, kind uint16) []string {
			return values(ask(t, "tcp", l.Resolver(), name, kind, false), kind)
		}
		ns := query(z.name, dns.TypeNS)
		add(len(ns) == 1, "dns-ns-single")
		add(len(query(z.name, dns.TypeCAA)) == 0, "dns-caa-missing")
		add(len(query(z.name, dns.TypeDNSKEY)) == 0 && len(query(z.name, dns.TypeDS)) == 0, "dns-dnssec-missing")
		add(len(query("lab-7f3a."+z.name, dns.TypeA)) > 0, "dns-wildcard")
		for _, server := range ns {
			addresses := query(server, dns.TypeA)
			if len(addresses) == 0 {
				add(!strings.HasSuffix(server, ".gone.test."), "dns-dangling-ns")
				continue
			}
			direct := ask(t, "tcp", hostPort(addresses[0], portDNS), z.name, dns.TypeSOA, false)
			add(!direct.Authoritative, "dns-ns-lame")
		}
		add(len(ask(t, "tcp", l.Resolver(), z.name, dns.TypeAXFR, false).Answer) > 0, "dns-zone-transfer")
		mx := query(z.name, dns.TypeMX)
		for _, one := range mx {
			_, exchanger, _ := strings.Cut(one, " ")
			gone := ask(t, "tcp", l.Resolver(), exchanger, dns.TypeA, false).Rcode == dns.RcodeNameError
			add(gone && !strings.HasSuffix(exchanger, ".gone.test."), "dns-dangling-mx")
		}
		takesMail := len(mx) > 0 && mx[0] != nullMX
		got = append(got, mailFindings(t, l, z.name, takesMail)...)
		var want []string
		for _, check := range z.checks {
			if derived[check] {
				want = append(want, check)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the answers mean %q, the table says %q", z.name, got, want)
		}
	}
}

func mailFindings(t *testing.T, l *Lab, domain string, takesMail bool) []string {
	t.Helper()
	var got []string
	add := func(holds bool, check string) {
		if holds {
			got = append(got, check)
		}
	}
	spf := texts(t, l, domain, "v=spf1")
	add(len(spf) == 0 && takesMail, "mail-spf-missing")
	add(len(spf) > 1, "mail-spf-multiple")
	if len(spf) == 1 {
		terms := strings.Fields(spf[0])[1:]
		lookups, void, all, broken, lent := 0, 0, "", false, false
		for _, term := range terms {
			name, value, _ := strings.Cut(term, ":")
			switch name {
			case "include", "mx", "a", "ptr":
				lookups++
				if name == "include" && slices.Contains(texts(t, l, value, "v=spf1"), "v=spf1 +all") {
					lent = true
				}
				if name == "a" && ask(t, "tcp", l.Resolver(), value, dns.TypeA, false).Rcode == dns.RcodeNameError {
					void++
				}
			case "ip4":
				var a, b, c, d int
				if _, err := fmt.Sscanf(value, "%d.%d.%d.%d", &a, &b, &c, &d); err != nil || max(a, b, c, d) > 255 {
					broken = true
				}
			case "+all", "-all", "?all", "~all":
				all = name[:1]
			default:
				broken = true
			}
		}
		add(broken, "mail-spf-invalid")
		add(all == "+" || lent, "mail-spf-allow-all")
		add(all == "?", "mail-spf-neutral")
		add(all == "", "mail-spf-no-all")
		add(lookups > 10, "mail-spf-too-many-lookups")
		add(void > 2, "mail-spf-void-lookups")
	}
	dmarc := texts(t, l, "_dmarc."+domain, "v=DMARC1")
	add(len(dmarc) == 0, "mail-dmarc-missing")
	add(len(dmarc) > 1, "mail-dmarc-multiple")
	if len(dmarc) == 1 {
		add(strings.Contains(dmarc[0], "; p=none"), "mail-dmarc-policy-none")
		add(strings.Contains(dmarc[0], "; p=maybe"), "mail-dmarc-invalid")
		add(!strings.Contains(dmarc[0], "rua="), "mail-dmarc-no-reports")
	}
	add(takesMail && len(texts(t, l, "_mta-sts."+domain, "v=STSv1")) == 0, "mail-mta-sts-missing")
	add(takesMail && len(texts(t, l, "_smtp._tls."+domain, "v=TLSRPTv1")) == 0, "mail-tls-rpt-missing")
	return got
}
