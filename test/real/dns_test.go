//go:build realservers

package real

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	probe "github.com/riskprofiler/riskprofiler/services/scanner/probes/dns"
)

// bindPort is where the BIND of this comparison listens: on the address that loopback has, beside the shared server.
const bindPort = "5390"

// everyType is a zone with every record type that a scan reads.
const everyType = `$TTL 300
$ORIGIN all.test.
@ SOA ns1 hostmaster 2026112301 7200 3600 1209600 60
@ NS ns1
@ NS ns2
ns1 A 127.0.0.1
ns2 A 127.0.0.1
@ A 192.0.2.1
@ A 192.0.2.2
@ AAAA 2001:db8::1
@ MX 10 mail
@ MX 20 mail2
mail A 192.0.2.3
mail2 AAAA 2001:db8::3
@ TXT "v=spf1 mx include:_spf.all.test -all"
@ TXT "two " "strings, one with \"quotes\""
_spf TXT "v=spf1 ip4:192.0.2.0/24 -all"
@ CAA 0 issue "ca.example; account=1"
@ CAA 128 issuewild ";"
@ CAA 0 iodef "mailto:security@all.test"
@ HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1
@ NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp
_sip._tcp SRV 10 5 5060 mail
_imap._tcp SRV 0 0 0 .
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:d@all.test"
_smtp._tls TXT "v=TLSRPTv1; rua=mailto:t@all.test"
www CNAME web
web A 192.0.2.4
secret TXT "a name that only the zone tells"
`

// startBIND writes the zones, signs two of them, and starts BIND with all.
func startBIND(t *testing.T) string {
	t.Helper()
	dir := Dir(t)
	Do(t, "chown", "bind", dir)
	File(t, dir, "all.test.zone", everyType)
	File(t, dir, "closed.test.zone", strings.ReplaceAll(everyType, "all.test", "closed.test"))
	plain := func(name string) string {
		return fmt.Sprintf("$TTL 300\n@ SOA ns1.all.test. hostmaster 1 7200 3600 1209600 60\n@ NS ns1.all.test.\na TXT x\nb.%s. TXT x\n", name)
	}
	var parent strings.Builder
	parent.WriteString("$TTL 300\n@ SOA ns1.all.test. hostmaster 1 7200 3600 1209600 60\n@ NS ns1.all.test.\n")
	zones := []string{"all.test", "closed.test"}
	for _, name := range zones {
		fmt.Fprintf(&parent, "%s. NS ns1.%s.\n%s. NS ns2.%s.\nns1.%s. A 127.0.0.1\nns2.%s. A 127.0.0.1\n", name, name, name, name, name, name)
	}
	// Signed with real tools: by a chain of names, by NSEC3 with iterations, and with signatures that ended a day ago.
	for name, how := range map[string][]string{
		"nsec.test":  nil,
		"nsec3.test": {"-3", "aabbccdd", "-H", "5"},
		"ended.test": {"-s", "now-20d", "-e", "now-1d"},
	} {
		File(t, dir, name+".plain", plain(name))
		Do(t, "dnssec-keygen", "-q", "-K", dir, "-a", "ECDSAP256SHA256", "-f", "KSK", name)
		Do(t, "dnssec-keygen", "-q", "-K", dir, "-a", "ECDSAP256SHA256", name)
		args := append([]string{"-q", "-S", "-P", "-K", dir, "-d", dir, "-o", name, "-f", filepath.Join(dir, name+".zone")}, how...)
		Do(t, "dnssec-signzone", append(args, filepath.Join(dir, name+".plain"))...)
		digests, err := os.ReadFile(filepath.Join(dir, "dsset-"+name+"."))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&parent, "%s. NS ns1.all.test.\n%s\n", name, digests)
		zones = append(zones, name)
	}
	File(t, dir, "test.zone", parent.String())
	config := fmt.Sprintf(`options { directory "%s"; listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none; session-keyfile "%[1]s/session.key";
	recursion no; empty-zones-enable no; dnssec-validation no; notify no; allow-transfer { none; }; };
controls {};
zone "test" { type primary; file "%[1]s/test.zone"; };
`, dir, bindPort)
	for _, name := range zones {
		transfer := ""
		if name == "all.test" {
			transfer = " allow-transfer { any; };"
		}
		config += fmt.Sprintf("zone %q { type primary; file \"%s/%s.zone\";%s };\n", name, dir, name, transfer)
	}
	Do(t, "chmod", "-R", "a+rX", dir)
	Run(t, dir, []string{"127.0.0.1:" + bindPort, "127.0.0.1:" + bindPort + "/udp"}, "named", "-g", "-u", "bind", "-c", File(t, dir, "named.conf", config))
	Say(t, dir, "running")
	return "127.0.0.1:" + bindPort
}

// dig asks with BIND's own program and returns the records of the answer.
func dig(t *testing.T, args ...string) []dns.RR {
	t.Helper()
	out := Do(t, "dig", append([]string{"@127.0.0.1", "-p", bindPort, "+noall", "+answer", "+nocookie"}, args...)...)
	var all []dns.RR
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, ";") {
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("dig says %q: %v", line, err)
		}
		all = append(all, rr)
	}
	return all
}

// data are the records' data as dig writes it, sorted.
func data(records []dns.RR) []string {
	var all []string
	for _, rr := range records {
		all = append(all, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(all)
	return all
}

// ourRecords writes a fact as dig writes records.
func ourRecords(f *modelv1.DnsFact) map[string][]string {
	out := map[string][]string{"A": f.GetA(), "AAAA": f.GetAaaa()}
	for _, name := range f.GetNs() {
		out["NS"] = append(out["NS"], name+".")
	}
	for _, mx := range f.GetMx() {
		out["MX"] = append(out["MX"], fmt.Sprintf("%d %s.", mx.GetPreference(), mx.GetHost()))
	}
	for _, caa := range f.GetCaa() {
		out["CAA"] = append(out["CAA"], fmt.Sprintf("%d %s %q", caa.GetFlags(), caa.GetTag(), caa.GetValue()))
	}
	soa := f.GetSoaRecord()
	out["SOA"] = []string{fmt.Sprintf("%s. %s. %d %d %d %d %d", soa.GetPrimary(), soa.GetMailbox(), soa.GetSerial(), soa.GetRefresh(), soa.GetRetry(), soa.GetExpire(), soa.GetMinimum())}
	for _, n := range f.GetNaptr() {
		out["NAPTR"] = append(out["NAPTR"], fmt.Sprintf("%d %d %q %q %q %s.", n.GetOrder(), n.GetPreference(), n.GetFlags(), n.GetService(), n.GetPattern(), n.GetReplacement()))
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

func scanName(t *testing.T, resolver, name string, kind modelv1.AssetKind) (*probes.Result, *modelv1.DnsFact) {
	t.Helper()
	result, err := probe.New(probe.Options{Resolver: resolver}).Scan(t.Context(), probes.Env{
		Guard: netguard.New(netguard.Options{AllowPrivate: true, Resolver: resolver}),
	}, &modelv1.ScanJob{
		ScanType: modelv1.ScanType_SCAN_TYPE_DNS, Target: &modelv1.Target{Kind: kind, Value: name, Host: name},
		Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD},
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Logf("%s: %s: %s", name, result.Outcome, result.Reason)
	}
	for _, o := range result.Observations {
		if o.GetDns() != nil {
			return result, o.GetDns()
		}
	}
	t.Fatalf("no fact about %s: %v %s", name, result.Outcome, result.Reason)
	return nil, nil
}

// TestDNSWithBIND compares what the scan type DNS says about zones that BIND serves with what BIND's own programs say.
func TestDNSWithBIND(t *testing.T) {
	resolver := startBIND(t)
	const domain = modelv1.AssetKind_ASSET_KIND_DOMAIN

	t.Run("records", func(t *testing.T) {
		_, fact := scanName(t, resolver, "all.test", domain)
		ours := ourRecords(fact)
		for _, kind := range []string{"A", "AAAA", "NS", "MX", "SOA", "CAA", "NAPTR"} {
			if theirs := data(dig(t, "all.test", kind)); !slices.Equal(ours[kind], theirs) {
				t.Errorf("%s: ours %q, dig's %q", kind, ours[kind], theirs)
			}
		}
		var texts []string
		for _, rr := range dig(t, "all.test", "TXT") {
			if txt, ok := rr.(*dns.TXT); ok {
				texts = append(texts, strings.ReplaceAll(strings.Join(txt.Txt, ""), `\"`, `"`))
			}
		}
		slices.Sort(texts)
		if !slices.Equal(fact.GetTxt(), texts) {
			t.Errorf("TXT: ours %q, dig's %q", fact.GetTxt(), texts)
		}
		for _, srv := range fact.GetSrv() {
			theirs := data(dig(t, srv.GetService()+".all.test", "SRV"))
			ours := fmt.Sprintf("%d %d %d %s", srv.GetPriority(), srv.GetWeight(), srv.GetPort(), dns.Fqdn(srv.GetTarget()))
			if !slices.Equal([]string{ours}, theirs) {
				t.Errorf("SRV: ours %q, dig's %q", ours, theirs)
			}
		}
		https, ok := dig(t, "all.test", "HTTPS")[0].(*dns.HTTPS)
		if !ok || len(fact.GetBindings()) != 1 || len(fact.GetBindings()[0].GetParameters()) != len(https.Value) {
			t.Fatalf("HTTPS: ours %v, dig's %v", fact.GetBindings(), https)
		}
		for _, value := range https.Value {
			if got := fact.GetBindings()[0].GetParameters()[value.Key().String()]; got != value.String() {
				t.Errorf("HTTPS %s: ours %q, dig's %q", value.Key(), got, value)
			}
		}
		if len(fact.GetSrv()) != 2 || !fact.GetApex() || len(fact.GetLameNs()) > 0 || len(fact.GetOpenRecursionNs()) > 0 {
			t.Errorf("fact %v", fact)
		}
	})

	t.Run("alias", func(t *testing.T) {
		_, fact := scanName(t, resolver, "www.all.test", modelv1.AssetKind_ASSET_KIND_HOST)
		if theirs := data(dig(t, "www.all.test", "CNAME")); !slices.Equal(theirs, []string{"web.all.test."}) || !slices.Equal(fact.GetCname(), []string{"web.all.test"}) {
			t.Errorf("ours %v, dig's %q", fact.GetCname(), theirs)
		}
	})

	t.Run("zone transfer", func(t *testing.T) {
		for name, open := range map[string]bool{"all.test": true, "closed.test": false} {
			result, fact := scanName(t, resolver, name, domain)
			theirs := dig(t, name, "AXFR")
			if (len(fact.GetZoneTransferNs()) > 0) != open || (len(theirs) > 0) != open {
				t.Errorf("%s: ours %v, dig reads %d records", name, fact.GetZoneTransferNs(), len(theirs))
			}
			var want, got []string
			for _, rr := range theirs {
				if at := strings.TrimSuffix(rr.Header().Name, "."); at != name && !strings.Contains(at, "_") && !slices.Contains(want, at) {
					want = append(want, at)
				}
			}
			for _, lead := range result.Leads {
				if at := lead.GetTarget().GetValue(); lead.GetTarget().GetKind() == modelv1.AssetKind_ASSET_KIND_HOST && open {
					got = append(got, at)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("%s: names of ours %q, of dig's %q", name, got, want)
			}
		}
	})

	t.Run("DNSSEC", func(t *testing.T) {
		for name, want := range map[string]modelv1.Dnssec_State{
			"nsec.test": modelv1.Dnssec_STATE_SECURE, "nsec3.test": modelv1.Dnssec_STATE_SECURE, "ended.test": modelv1.Dnssec_STATE_BOGUS,
			"all.test": modelv1.Dnssec_STATE_INSECURE,
		} {
			_, fact := scanName(t, resolver, name, domain)
			got := fact.GetDnssec()
			if got.GetState() != want {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
			var tags []string
			for _, rr := range dig(t, name, "DNSKEY") {
				if key, ok := rr.(*dns.DNSKEY); ok {
					tags = append(tags, strconv.Itoa(int(key.KeyTag())))
				}
			}
			var ours []string
			for _, key := range got.GetKeys() {
				ours = append(ours, strconv.Itoa(int(key.GetTag())))
			}
			slices.Sort(tags)
			slices.Sort(ours)
			if !slices.Equal(tags, ours) {
				t.Errorf("%s: keys of ours %q, of dig's %q", name, ours, tags)
			}
			for _, rr := range dig(t, name, "NSEC3PARAM") {
				param, ok := rr.(*dns.NSEC3PARAM)
				if !ok || got.GetNsec3Iterations() != uint32(param.Iterations) || got.GetNsec3Salt() != uint32(param.SaltLength) || got.GetDenial() != "nsec3" {
					t.Errorf("%s: ours %v, dig's %v", name, got, param)
				}
			}
			if got.GetWalkable() != (name == "nsec.test" || name == "ended.test") {
				text, _ := json.Marshal(got)
				t.Errorf("%s: walkable: %s", name, text)
			}
		}
	})
}
