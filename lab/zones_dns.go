package lab

import (
	"time"

	"github.com/miekg/dns"
)

// signing says how a signed zone is signed. The zero value is as it should be.
type signing struct {
	// algorithm and key; Ed25519 with the lab's own key if zero.
	algorithm uint8
	rsa       string // one of the keys of keys.go, for the RSA algorithms
	// life and left of the signatures; zero: two weeks, half of it over.
	life, left time.Duration
	// digest of the DS record; SHA-256 if zero.
	digest uint8
	// noDS: nothing above the zone says that it is signed. brokenDS: it says so of another key.
	noDS, brokenDS bool
	// denial proves absence: "nsec" by a chain of names, "nsec3" by a hash with iterations, "" not at all.
	denial     string
	iterations uint16
}

// unsent are zones without mail and without a host for its policy, for those whose names can be listed: a host in the list would
// be scanned.
func unsent(z *zone) { z.mx, z.spf, z.mtaSTS = []string{nullMX}, []string{"v=spf1 -all"}, false }

// zonesWithDNSFaults have a fault in the zone, its servers or where its records lead.
func zonesWithDNSFaults() []zone {
	return []zone{
		flawed("transfer.test", "hands out the whole zone", "dns-zone-transfer", func(z *zone) {
			unsent(z)
			z.transfer = true
		}),
		flawed("lame.test", "a name server knows nothing of the zone", "dns-ns-lame", func(z *zone) {
			z.ns = []string{"ns1.exemplary.test.", "ns-retired-7.exemplary.test."}
		}),
		flawed("dangling-ns.test", "a name server's name does not exist", "dns-dangling-ns", func(z *zone) {
			z.ns = append(z.ns, "ns-gone.exemplary.test.")
		}),
		flawed("registrable-ns.test", "a name server lies in a domain that nobody has", "dns-registrable-ns", func(z *zone) {
			z.ns = append(z.ns, "ns.gone.test.")
		}),
		flawed("dangling-mx.test", "a mail exchanger's name does not exist", "dns-dangling-mx", func(z *zone) {
			z.mx = append(z.mx, "20 mx-gone.exemplary.test.")
		}),
		flawed("registrable-mx.test", "a mail exchanger lies in a domain that nobody has", "dns-registrable-mx", func(z *zone) {
			z.mx = append(z.mx, "20 mx.gone.test.")
		}),
		flawed("registrable-spf.test", "SPF trusts a domain that nobody has", "dns-registrable-spf", func(z *zone) {
			z.spf = []string{"v=spf1 mx a:mailer.gone.test -all"}
		}),
		flawed("registrable-dkim.test", "a DKIM selector leads into a domain that nobody has", "dns-registrable-dkim", func(z *zone) {
			z.records = []string{"k1._domainkey CNAME dkim.gone.test."}
		}),
		flawed("registrable-rua.test", "DMARC reports go to a domain that nobody has", "dns-registrable-reports", func(z *zone) {
			z.dmarc = []string{"v=DMARC1; p=reject; rua=mailto:dmarc@gone.test"}
		}),
		flawed("srv.test", "a service is announced at a name that does not exist", "dns-dangling-srv", func(z *zone) {
			z.records = []string{"_sip._tcp SRV 0 0 5060 sip-gone.exemplary.test."}
		}),
		flawed("directory.test", "the directory of the inside is announced", "dns-internal-directory", func(z *zone) {
			z.records = []string{"_ldap._tcp.dc._msdcs SRV 0 100 389 mx1.exemplary.test."}
		}),
		flawed("wildcard.test", "every name below it resolves", "dns-wildcard", func(z *zone) {
			z.records = []string{"* A {56}"}
		}),
		flawed("recursive.test", "a name server answers for everybody", "dns-open-recursion", func(z *zone) {
			z.ns = []string{"ns1.exemplary.test.", "ns-open-9.exemplary.test."}
		}),
		flawed("ns-alias.test", "a name server's name is an alias", "dns-ns-alias", func(z *zone) {
			z.ns = []string{"ns1.exemplary.test.", "ns-alias.exemplary.test."}
		}),
		flawed("soa.test", "secondaries drop the zone after a day", "dns-soa-times", func(z *zone) {
			z.soa = "7200 3600 86400 60"
		}),
		flawed("caa-critical.test", "a CAA record with a critical tag that nobody knows", "dns-caa-critical", func(z *zone) {
			z.records = []string{`@ CAA 128 tbs "unknown"`}
		}),
		flawed("caa-broken.test", "a CAA record with a broken address", "dns-caa-invalid", func(z *zone) {
			z.records = []string{`@ CAA 0 iodef "security"`}
		}),
	}
}

// zonesWithDNSSECFaults are signed, each with one fault.
func zonesWithDNSSECFaults() []zone {
	signed := func(name, note, check string, s signing) zone {
		return flawed(name, note, check, func(z *zone) { z.signing = s })
	}
	return []zone{
		signed("bogus.test", "the DS record is of another key", "dns-dnssec-bogus", signing{brokenDS: true}),
		signed("expiring.test", "signatures that end tomorrow", "dns-dnssec-expiring", signing{life: 14 * day, left: day}),
		signed("sha1.test", "signed with SHA-1", "dns-dnssec-algorithm", signing{algorithm: dns.RSASHA1, rsa: rsa2048}),
		signed("short-key.test", "signed with an RSA key of 1,024 bits", "dns-dnssec-weak-key", signing{algorithm: dns.RSASHA256, rsa: rsa1024}),
		signed("sha1-digest.test", "a DS record with SHA-1 only", "dns-dnssec-digest", signing{digest: dns.SHA1}),
		signed("no-ds.test", "signed, and nobody is told", "dns-dnssec-no-ds", signing{noDS: true}),
		signed("nsec3.test", "NSEC3 with ten iterations", "dns-nsec3-iterations", signing{denial: "nsec3", iterations: 10}),
		flawed("nsec.test", "its names can be listed", "dns-zone-walk", func(z *zone) {
			unsent(z)
			z.signing = signing{denial: "nsec"}
		}),
	}
}
