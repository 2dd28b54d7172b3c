package dns

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	"google.golang.org/protobuf/testing/protocmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// top is a zone with one name server, to put records into.
const top = `
test. SOA ns.test. a.test. 1 1 1 1 1
test. NS ns.test.
ns.test. A 127.0.0.1
z.test. SOA ns.test. a.test. 9 7200 3600 1209600 60
z.test. NS ns.test.
`

func TestMoreRecords(t *testing.T) {
	zone := top + `
z.test. A 192.0.2.1
z.test. HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1
z.test. HTTPS 0 gone.z.test.
z.test. NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp.z.test.
1.2.0.192.in-addr.arpa. PTR web.z.test.
in-addr.arpa. SOA ns.test. a.test. 1 1 1 1 1
web.z.test. A 192.0.2.1
_sip._tcp.z.test. SRV 10 5 5060 sip.z.test.
_imap._tcp.z.test. SRV 0 0 0 .
_ldap._tcp.dc._msdcs.z.test. SRV 0 100 389 dc.gone.test.
sip.z.test. A 192.0.2.4
`
	result := run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "z.test"))
	dns, _, dangling := facts(result)
	want := &modelv1.DnsFact{
		Srv: []*modelv1.Srv{
			{Service: "_imap._tcp", Target: "."}, {Service: "_ldap._tcp.dc._msdcs", Weight: 100, Port: 389, Target: "dc.gone.test"},
			{Service: "_sip._tcp", Priority: 10, Weight: 5, Port: 5060, Target: "sip.z.test"},
		},
		Bindings: []*modelv1.ServiceBinding{
			{Type: "HTTPS", Priority: 1, Parameters: map[string]string{"alpn": "h2,h3", "port": "8443", "ipv4hint": "192.0.2.1"}},
			{Type: "HTTPS", Target: "gone.z.test"},
		},
		Naptr:             []*modelv1.Naptr{{Order: 10, Preference: 20, Flags: "s", Service: "SIP+D2U", Replacement: "_sip._udp.z.test"}},
		Reverse:           []*modelv1.ReverseName{{Address: "192.0.2.1", Names: []string{"web.z.test"}, Confirmed: true}},
		DirectoryServices: []string{"_ldap._tcp.dc._msdcs"},
		SoaRecord:         &modelv1.Soa{Primary: "ns.test", Mailbox: "a.test", Serial: 9, Refresh: 7200, Retry: 3600, Expire: 1209600, Minimum: 60},
	}
	got := &modelv1.DnsFact{Srv: dns.GetSrv(), Bindings: dns.GetBindings(), Naptr: dns.GetNaptr(), Reverse: dns.GetReverse(), DirectoryServices: dns.GetDirectoryServices(), SoaRecord: dns.GetSoaRecord()}
	if diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.SortRepeated(func(a, b *modelv1.Srv) bool { return a.GetService() < b.GetService() })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var lost []string
	for _, d := range dangling {
		lost = append(lost, d.GetRecord()+" "+d.GetTarget()+" "+d.GetRegistrableDomain())
	}
	if want := []string{"HTTPS gone.z.test ", "SRV dc.gone.test gone.test"}; !slices.Equal(lost, want) {
		t.Errorf("dangling %q, want %q", lost, want)
	}
	if !slices.ContainsFunc(result.Leads, func(l *modelv1.Lead) bool {
		return l.GetTarget().GetValue() == "sip.z.test" && l.GetRelation() == "SRV record"
	}) {
		t.Errorf("leads %v", result.Leads)
	}
}

func TestCAA(t *testing.T) {
	tests := []struct {
		flags      uint32
		tag, value string
		critical   bool
		problem    string
	}{
		{0, "issue", "ca.example", false, ""},
		{128, "issue", "ca.example; accounturi=https://ca.example/1", false, ""},
		{0, "issue", ";", false, ""},
		{0, "issuewild", "", false, ""},
		{0, "issue", "letsencrypt", false, "issue letsencrypt"},
		{0, "issue", "https://ca.example", false, "is no domain name"},
		{0, "iodef", "mailto:a@b.test", false, ""},
		{0, "iodef", "https://b.test/report", false, ""},
		{0, "iodef", "security", false, "iodef security"},
		{128, "tbs", "x", true, ""},
		{0, "tbs", "x", false, ""},
	}
	for _, test := range tests {
		unknown, problem := judgeCAA([]*modelv1.Caa{{Flags: test.flags, Tag: test.tag, Value: test.value}})
		if (len(unknown) > 0) != test.critical || (problem == "") != (test.problem == "") || !strings.Contains(problem, test.problem) {
			t.Errorf("%+v: %v, %q", test, unknown, problem)
		}
	}
}

// forwarder answers from one world, with recursion for everybody.
func open(w *world) mdns.Handler {
	return mdns.HandlerFunc(func(out mdns.ResponseWriter, q *mdns.Msg) {
		if q.Question[0].Name == foreignName && q.RecursionDesired {
			reply := new(mdns.Msg).SetReply(q)
			reply.RecursionAvailable = true
			rr, _ := mdns.NewRR(foreignName + " A 192.0.2.1")
			reply.Answer = append(reply.Answer, rr)
			_ = out.WriteMsg(reply)
			return
		}
		w.ServeDNS(out, q)
	})
}

func TestMoreAboutNameServers(t *testing.T) {
	zone := `
test. SOA ns.test. a.test. 1 1 1 1 1
test. NS ns.test.
ns.test. A 127.0.0.3
z.test. SOA ns1.z.test. a.test. 9 7200 3600 1209600 60
z.test. NS ns1.z.test.
z.test. NS ns2.z.test.
ns1.z.test. A 127.0.0.2
ns2.z.test. CNAME ns1.z.test.
ns3.z.test. A 127.0.0.2
`
	w := newWorld(t, zone)
	// The zone above names one server of the zone, and one that the zone does not.
	above := mdns.HandlerFunc(func(out mdns.ResponseWriter, q *mdns.Msg) {
		reply := new(mdns.Msg).SetReply(q)
		for _, name := range []string{"ns1.z.test.", "ns3.z.test.", "ns.gone.test."} {
			rr, _ := mdns.NewRR("z.test. NS " + name)
			reply.Ns = append(reply.Ns, rr)
		}
		if q.Question[0].Name != "z.test." || q.Question[0].Qtype != mdns.TypeNS {
			reply.Ns, reply.Rcode, reply.Authoritative = nil, mdns.RcodeNameError, true
		}
		_ = out.WriteMsg(reply)
	})
	own := newWorld(t, zone)
	own.open["z.test."] = true
	p := probeFor(t, w, map[string]mdns.Handler{"127.0.0.2": open(own), "127.0.0.3": above})
	result := run(t, p, jobFor(host, "z.test"))
	dns, _, dangling := facts(result)
	if !slices.Equal(dns.GetNsMismatch(), []string{"ns.gone.test", "ns2.z.test", "ns3.z.test"}) || !slices.Equal(dns.GetNsAlias(), []string{"ns2.z.test"}) {
		t.Errorf("mismatch %v, alias %v (%s)", dns.GetNsMismatch(), dns.GetNsAlias(), result.Reason)
	}
	if !slices.Equal(dns.GetOpenRecursionNs(), []string{"ns1.z.test", "ns2.z.test", "ns3.z.test"}) || len(dns.GetNsNetworks()) != 0 {
		t.Errorf("recursion %v, networks %v", dns.GetOpenRecursionNs(), dns.GetNsNetworks())
	}
	if len(dangling) != 1 || dangling[0].GetRegistrableDomain() != "gone.test" || dangling[0].GetRecord() != "NS" {
		t.Errorf("dangling %v", dangling)
	}
	for _, server := range dns.GetNameServers() {
		if server.GetState() == stateAuthoritative && (server.GetSerial() != 9 || !server.GetZoneTransfer()) {
			t.Errorf("%v", server)
		}
	}
}

func TestNetworks(t *testing.T) {
	var servers []*nameServer
	for _, text := range []string{"8.8.8.8", "8.8.8.9", "8.8.4.4", "10.0.0.1", "2001:4860:4860::8888", "nonsense"} {
		servers = append(servers, &nameServer{NameServer: &modelv1.NameServer{Addresses: []string{text}}})
	}
	if got, want := networks(servers), []string{"2001:4860:4860::/48", "8.8.4.0/24", "8.8.8.0/24"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A zone transfer tells names, which are worth a look.
func TestTransferTellsNames(t *testing.T) {
	zone := top + "z.test. A 192.0.2.1\n"
	answer := mdns.HandlerFunc(func(out mdns.ResponseWriter, q *mdns.Msg) {
		w := newWorld(t, zone)
		if q.Question[0].Qtype != mdns.TypeAXFR {
			w.ServeDNS(out, q)
			return
		}
		soa := w.names["z.test."][mdns.TypeSOA]
		first, second := new(mdns.Msg).SetReply(q), new(mdns.Msg).SetReply(q)
		a, _ := mdns.NewRR("secret.z.test. A 192.0.2.9")
		b, _ := mdns.NewRR("_dmarc.z.test. TXT x")
		first.Answer = append(slices.Clone(soa), a)
		second.Answer = append([]mdns.RR{b}, soa...)
		_ = out.WriteMsg(first)
		_ = out.WriteMsg(second)
	})
	result := run(t, probeFor(t, answer, nil), jobFor(host, "z.test"))
	var names []string
	for _, lead := range result.Leads {
		if lead.GetRelation() == "zone transfer" {
			names = append(names, lead.GetTarget().GetValue())
		}
	}
	if !slices.Equal(names, []string{"secret.z.test"}) {
		t.Errorf("names %v", names)
	}
}

// Only the registry's word makes a domain registrable, and nobody outside is asked about names that are nobody's.
func TestRegistrable(t *testing.T) {
	const zone = `
test. SOA ns.test. a.test. 1 1 1 1 1
test. NS ns.test.
ns.test. A 127.0.0.1
www.test. SOA ns.test. a.test. 1 1 1 1 1
com. SOA ns.test. a.test. 1 1 1 1 1
com. NS ns.test.
taken.com. SOA ns.test. a.test. 1 1 1 1 1
io. SOA ns.test. a.test. 1 1 1 1 1
io. NS ns.test.
github.io. SOA ns.test. a.test. 1 1 1 1 1
github.io. NS ns.test.
far. SOA ns.far. a.test. 1 1 1 1 1
far. NS ns.far.
ns.far. A 192.0.2.53
`
	p := probeFor(t, newWorld(t, zone), nil)
	env := labOf(p)
	env.Guard = netguard.New(netguard.Options{AllowPrivate: true, Resolver: p.options.Resolver, OnDial: func(_ context.Context, d netguard.Dial) {
		if !d.Addr.Addr().IsLoopback() {
			t.Errorf("asks %v, who is neither a registry's nor a laboratory's", d.Addr)
		}
	}})
	r, err := newResolver(env, p)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"a.b.gone.com": "gone.com", "gone.com": "gone.com", "x.taken.com": "", "nobody.github.io": "", "gone.io": "gone.io", "a.gone.test": "gone.test",
		"test": "", "a.gone.far": "",
	} {
		s := &scan{probe: p, env: env, resolver: r, name: "www.test", fact: &modelv1.DnsFact{}, registry: map[string]bool{}, silent: map[string]error{}}
		if got := s.registrable(t.Context(), target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	passive := &scan{probe: p, env: labOf(p), resolver: r, name: "www.test", passive: true}
	if got := passive.registrable(t.Context(), "gone.com"); got != "" {
		t.Errorf("a passive scan says %q", got)
	}
}

// A datagram that gets lost changes no verdict. A registry that keeps silent is asked no more, and then nothing that was said before is
// taken back.
func TestSilentRegistry(t *testing.T) {
	for name, tt := range map[string]struct {
		lost int32
		want string
	}{"one lost": {1, "gone.com"}, "silent": {1000, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "com. SOA ns.test. a.test. 1 1 1 1 1\ncom. NS ns.test.\nns.test. A 127.0.0.1\nwww.test. SOA ns.test. a.test. 1 1 1 1 1\n")
			var asked atomic.Int32
			w.fault = func(_ mdns.ResponseWriter, q *mdns.Msg) bool { return !q.RecursionDesired && asked.Add(1) <= tt.lost }
			p := probeFor(t, w, nil)
			if tt.want != "" {
				p.limits.try = 2 * time.Second // a slow machine loses nothing more
			}
			env := labOf(p)
			r, err := newResolver(env, p)
			if err != nil {
				t.Fatal(err)
			}
			s := &scan{probe: p, env: env, resolver: r, name: "www.test", fact: &modelv1.DnsFact{}, registry: map[string]bool{}, silent: map[string]error{}}
			if got := s.registrable(t.Context(), "mx.gone.com"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			_ = s.registrable(t.Context(), "mx.gone.com")
			if tt.want == "" {
				_ = s.registrable(t.Context(), "mx.away.com")
			}
			if asked.Load() != tries {
				t.Errorf("the registry was asked %d times", asked.Load())
			}
			if missed := strings.HasPrefix(s.missed, "registry of com: no answer"); missed != (tt.want == "") {
				t.Errorf("missed %q", s.missed)
			}
		})
	}
}

func TestDataFiles(t *testing.T) {
	seen := map[string]bool{}
	for _, one := range commonServices() {
		if !strings.HasPrefix(one.Name, "_") || seen[one.Name] {
			t.Errorf("service %q", one.Name)
		}
		seen[one.Name] = true
	}
	if len(commonServices()) < 30 {
		t.Errorf("%d services", len(commonServices()))
	}
	for _, one := range commonSelectors() {
		if !plausible(one.Name) || seen[one.Name] {
			t.Errorf("selector %q", one.Name)
		}
		seen[one.Name] = true
	}
	if len(commonSelectors()) < 40 {
		t.Errorf("%d selectors", len(commonSelectors()))
	}
	for _, file := range [][]byte{servicesFile, selectorsFile} {
		if !strings.Contains(string(file), `"date": "2026-`) || !strings.Contains(string(file), `"source"`) {
			t.Errorf("a list without date or source: %.60s", file)
		}
	}
}
