package lab

import (
	"slices"
	"strings"
)

// zone is one DNS zone. The names of hosts come from the table of hosts.
type zone struct {
	name string
	// ns are the name servers.
	ns []string
	// mx are the mail exchangers with their preference.
	mx []string
	// spf and dmarc are the records of that kind; exactly one is right.
	spf, dmarc []string
	// mtaSTS and tlsRPT: the records of RFC 8461 and RFC 8460 exist.
	mtaSTS, tlsRPT bool
	// caa: a record of RFC 8659 exists.
	caa bool
	// signed has a key at the apex, a DS record above it, and signatures over the answers.
	signed bool
	// transfer hands the zone out to everybody.
	transfer bool
	// records are further ones in zone file form, names relative to the zone.
	records []string
	// note and checks: what is found on the domain.
	note   string
	checks []string
}

// nullMX says that a domain takes no mail (RFC 7505).
const nullMX = "0 ."

// tidy returns a zone as it should be, in which each bad zone then has one fault.
func tidy(name string) zone {
	return zone{
		name:   name,
		ns:     []string{"ns1.exemplary.test.", "ns2.exemplary.test."},
		mx:     []string{"10 mx1.exemplary.test."},
		spf:    []string{"v=spf1 mx -all"},
		dmarc:  []string{"v=DMARC1; p=reject; sp=reject; rua=mailto:dmarc@" + name},
		mtaSTS: true,
		tlsRPT: true,
		caa:    true,
		signed: true,
		note:   "as it should be",
	}
}

// zonesFor returns the zones of a lab.
func zonesFor(o Options) []zone {
	zones := cleanZones()
	if !o.Clean {
		zones = append(zones, exposedZones()...)
	}
	return zones
}

func cleanZones() []zone {
	parked := tidy("parked.test")
	parked.mx, parked.spf = []string{nullMX}, []string{"v=spf1 -all"}
	return []zone{tidy("exemplary.test"), parked}
}

func exposedZones() []zone {
	return slices.Concat([]zone{{
		name: "acme.test",
		note: "one name server, no CAA, unsigned, anybody may send mail in its name",
		ns:   []string{"ns1.exemplary.test."},
		mx:   []string{"10 mail.acme.test."},
		spf:  []string{"v=spf1 mx +all"}, dmarc: []string{"v=DMARC1; p=none"},
		checks: []string{
			"dns-ns-single", "dns-caa-missing", "dns-dnssec-missing", "mail-spf-allow-all",
			"mail-dmarc-policy-none", "mail-dmarc-no-reports", "mail-mta-sts-missing", "mail-tls-rpt-missing",
		},
	}}, zonesWithDNSFaults(), zonesWithSPFFaults(), zonesWithDMARCFaults())
}

// flawed returns a tidy zone with one fault.
func flawed(name, note, check string, fault func(*zone)) zone {
	z := tidy(name)
	z.note, z.checks = note, []string{check}
	fault(&z)
	return z
}

func zonesWithDNSFaults() []zone {
	return []zone{
		flawed("transfer.test", "hands out the whole zone", "dns-zone-transfer", func(z *zone) {
			z.transfer = true
		}),
		flawed("lame.test", "a name server knows nothing of the zone", "dns-ns-lame", func(z *zone) {
			z.ns = []string{"ns1.exemplary.test.", "ns-retired-7.exemplary.test."}
		}),
		flawed("dangling-ns.test", "a name server's name does not exist", "dns-dangling-ns", func(z *zone) {
			z.ns = append(z.ns, "ns.gone.test.")
		}),
		flawed("dangling-mx.test", "a mail exchanger's name does not exist", "dns-dangling-mx", func(z *zone) {
			z.mx = append(z.mx, "20 mx.gone.test.")
		}),
		flawed("wildcard.test", "every name below it resolves", "dns-wildcard", func(z *zone) {
			z.records = []string{"* A {56}"}
		}),
	}
}

func zonesWithSPFFaults() []zone {
	lookups := flawed("spf-lookups.test", "SPF needs 12 lookups", "mail-spf-too-many-lookups", func(z *zone) {
		var terms []string
		for _, part := range strings.Split("abcdefghijkl", "") {
			terms = append(terms, "include:"+part+"._spf.spf-lookups.test")
			z.records = append(z.records, part+`._spf TXT "v=spf1 ip4:192.0.2.1 -all"`)
		}
		z.spf = []string{"v=spf1 " + strings.Join(terms, " ") + " -all"}
	})
	spf := func(records ...string) func(*zone) { return func(z *zone) { z.spf = records } }
	return []zone{
		lookups,
		flawed("spf-missing.test", "mail without SPF", "mail-spf-missing", spf()),
		flawed("spf-twice.test", "two SPF records", "mail-spf-multiple", spf("v=spf1 mx -all", "v=spf1 a:mx1.exemplary.test -all")),
		flawed("spf-neutral.test", "SPF says nothing about strangers", "mail-spf-neutral", spf("v=spf1 mx ?all")),
		flawed("spf-open-ended.test", "SPF without an end", "mail-spf-no-all", spf("v=spf1 mx")),
		flawed("spf-void.test", "SPF asks for names that do not exist", "mail-spf-void-lookups",
			spf("v=spf1 a:a.gone.test a:b.gone.test a:c.gone.test -all")),
		flawed("spf-broken.test", "SPF with a syntax error", "mail-spf-invalid", spf("v=spf1 ip4:192.0.2.300 -all")),
	}
}

func zonesWithDMARCFaults() []zone {
	dmarc := func(records ...string) func(*zone) { return func(z *zone) { z.dmarc = records } }
	return []zone{
		flawed("dmarc-missing.test", "no DMARC", "mail-dmarc-missing", dmarc()),
		flawed("dmarc-none.test", "DMARC that only watches", "mail-dmarc-policy-none", dmarc("v=DMARC1; p=none; rua=mailto:dmarc@dmarc-none.test")),
		flawed("dmarc-silent.test", "DMARC without reports", "mail-dmarc-no-reports", dmarc("v=DMARC1; p=reject")),
		flawed("dmarc-twice.test", "two DMARC records", "mail-dmarc-multiple",
			dmarc("v=DMARC1; p=reject; rua=mailto:a@dmarc-twice.test", "v=DMARC1; p=quarantine; rua=mailto:b@dmarc-twice.test")),
		flawed("dmarc-broken.test", "DMARC with an unknown policy", "mail-dmarc-invalid",
			dmarc("v=DMARC1; p=maybe; rua=mailto:dmarc@dmarc-broken.test")),
	}
}
