package lab

import "slices"

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
	// signed has a key at the apex, a DS record above it, and signatures over the answers; signing says how.
	signed  bool
	signing signing
	// soa are the times of the SOA record; good ones if empty.
	soa string
	// policy is the text of the MTA-STS policy; one that fits the exchangers if empty.
	policy string
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
		// Senders want a certificate for the policy host from an authority that everybody trusts; the lab has none.
		checks: []string{privatePolicyHost},
	}
}

// privatePolicyHost is what the lab's certification authority means to MTA-STS.
const privatePolicyHost = "mail-mta-sts-certificate"

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
	unsent(&parked)
	parked.checks = nil
	exemplary := tidy("exemplary.test")
	// Names that the faults of other zones lead to: each is in order by itself.
	exemplary.records = []string{
		"ns-alias CNAME ns1.exemplary.test.", "mx-alias CNAME mx1.exemplary.test.", `mx-void TXT "no address"`,
		"mx-pkix A {41}", "_25._tcp.mx-pkix TLSA 1 1 1 " + pinned, "mx-pinned A {41}", "_25._tcp.mx-pinned TLSA 3 1 1 " + pinned,
		`default._domainkey TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="`,
		"_submission._tcp SRV 0 1 587 mx1.exemplary.test.", "_imap._tcp SRV 0 0 0 .",
	}
	return []zone{exemplary, parked}
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
			"mail-dmarc-policy-none", "mail-dmarc-no-reports", "mail-mta-sts-missing", "mail-tls-rpt-missing", "mail-dane-unsigned",
		},
		records: []string{"_25._tcp.mail TLSA 3 1 1 " + pinned},
	}}, zonesWithDNSFaults(), zonesWithDNSSECFaults(), zonesWithSPFFaults(), zonesWithDMARCFaults(), zonesWithDKIMFaults(), zonesWithTransportFaults(), zonesWithHiddenNames())
}

// flawed returns a tidy zone with one fault.
func flawed(name, note, check string, fault func(*zone)) zone {
	z := tidy(name)
	fault(&z)
	z.note, z.checks = note, []string{check}
	if z.mtaSTS {
		z.checks = append(z.checks, privatePolicyHost)
	}
	return z
}
