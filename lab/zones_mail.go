package lab

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
)

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
			spf("v=spf1 a:a-gone.exemplary.test a:b-gone.exemplary.test a:c-gone.exemplary.test -all")),
		flawed("spf-broken.test", "SPF with a syntax error", "mail-spf-invalid", spf("v=spf1 ip4:192.0.2.300 -all")),
		flawed("spf-lent.test", "SPF includes a record that lets everybody pass", "mail-spf-allow-all", func(z *zone) {
			z.spf = []string{"v=spf1 include:_spf.spf-lent.test -all"}
			z.records = []string{`_spf TXT "v=spf1 +all"`}
		}),
		flawed("spf-broad.test", "SPF permits a /8", "mail-spf-broad-network", spf("v=spf1 mx ip4:10.0.0.0/8 -all")),
		flawed("spf-ptr.test", "SPF with ptr", "mail-spf-ptr", spf("v=spf1 mx ptr -all")),
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
		flawed("dmarc-trial.test", "DMARC in test mode", "mail-dmarc-testing", dmarc("v=DMARC1; p=reject; t=y; rua=mailto:dmarc@dmarc-trial.test")),
		flawed("dmarc-below.test", "DMARC leaves out the names below", "mail-dmarc-subdomains-none",
			dmarc("v=DMARC1; p=reject; sp=none; rua=mailto:dmarc@dmarc-below.test")),
		flawed("dmarc-old.test", "DMARC for half of the mail", "mail-dmarc-removed-tags", dmarc("v=DMARC1; p=reject; pct=50; rua=mailto:dmarc@dmarc-old.test")),
		flawed("dmarc-elsewhere.test", "DMARC reports to a domain that does not agree", "mail-dmarc-reports-unauthorised",
			dmarc("v=DMARC1; p=reject; rua=mailto:dmarc@exemplary.test")),
		flawed("dmarc-suffix.test", "a domain that calls itself a public suffix", "mail-dmarc-psd",
			dmarc("v=DMARC1; p=reject; psd=y; rua=mailto:dmarc@dmarc-suffix.test")),
		flawed("bimi-broken.test", "a logo that is no SVG", "mail-bimi-invalid", func(z *zone) {
			z.records = []string{`default._bimi TXT "v=BIMI1; l=https://bimi-broken.test/logo.png"`}
		}),
		func() zone {
			z := flawed("bimi-toothless.test", "a logo without a strict policy", "mail-bimi-not-enforced", func(z *zone) {
				z.dmarc = []string{"v=DMARC1; p=none; rua=mailto:dmarc@bimi-toothless.test"}
				z.records = []string{`default._bimi TXT "v=BIMI1; l=https://bimi-toothless.test/logo.svg"`}
			})
			z.checks = append(z.checks, "mail-dmarc-policy-none")
			return z
		}(),
	}
}

// dkim returns a key record as text.
func dkim(key *rsa.PublicKey, more string) string {
	return "v=DKIM1; k=rsa; " + more + "p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(key))
}

// shortKey is a public key of 512 bits. It has no private part: nobody has to sign with it, and crypto/rsa makes none so short.
func shortKey() *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), 511)
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(569)), E: 65537}
}

func zonesWithDKIMFaults() []zone {
	at := func(selector, text string) func(*zone) {
		return func(z *zone) { z.records = []string{selector + "._domainkey TXT " + quoted(text)} }
	}
	public := func(text string) *rsa.PublicKey {
		key, err := parseKey(text)
		if err != nil {
			return shortKey() // the key is in keys.go, and tested
		}
		return &key.PublicKey
	}
	return []zone{
		flawed("dkim-weak.test", "a DKIM key of 512 bits", "mail-dkim-weak-key", at("default", dkim(shortKey(), ""))),
		flawed("dkim-short.test", "a DKIM key of 1,024 bits", "mail-dkim-short-key", at("selector1", dkim(public(rsa1024), ""))),
		flawed("dkim-trial.test", "a DKIM key in test mode", "mail-dkim-testing", at("google", dkim(public(rsa2048), "t=y; "))),
		flawed("dkim-sha1.test", "a DKIM key for SHA-1 only", "mail-dkim-sha1", at("mail", dkim(public(rsa2048), "h=sha1; "))),
		flawed("dkim-broken.test", "a DKIM record that cannot be read", "mail-dkim-invalid", at("s1", "v=DKIM1; k=rsa; p=not*base64")),
	}
}

// pinned is the digest of no certificate at all.
const pinned = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func zonesWithTransportFaults() []zone {
	policy := func(name, note, check, text string) zone {
		return flawed(name, note, check, func(z *zone) { z.policy = text })
	}
	mx := func(records ...string) func(*zone) { return func(z *zone) { z.mx = records } }
	const good = "version: STSv1\nmode: enforce\nmax_age: 1209600\n"
	return []zone{
		flawed("mta-sts-twice.test", "two MTA-STS records", "mail-mta-sts-invalid", func(z *zone) {
			z.mtaSTS = false
			z.records = []string{`_mta-sts TXT "v=STSv1; id=1"`, `_mta-sts TXT "v=STSv1; id=2"`}
		}),
		flawed("mta-sts-gone.test", "MTA-STS without a policy", "mail-mta-sts-unavailable", func(z *zone) {
			z.mtaSTS = false
			z.records = []string{`_mta-sts TXT "v=STSv1; id=1"`}
		}),
		policy("mta-sts-trial.test", "an MTA-STS policy in testing mode", "mail-mta-sts-testing",
			"version: STSv1\nmode: testing\nmax_age: 1209600\nmx: mx1.exemplary.test\n"),
		policy("mta-sts-other.test", "an MTA-STS policy for another exchanger", "mail-mta-sts-mismatch", good+"mx: *.mail.exemplary.test\n"),
		policy("mta-sts-short.test", "an MTA-STS policy for an hour", "mail-mta-sts-short",
			"version: STSv1\nmode: enforce\nmax_age: 3600\nmx: mx1.exemplary.test\n"),
		policy("mta-sts-broken.test", "an MTA-STS policy without exchangers", "mail-mta-sts-policy-invalid", "version: STSv1\nmode: testing\nmax_age: 1209600\n"),
		flawed("tls-rpt-broken.test", "TLS reports to no address", "mail-tls-rpt-invalid", func(z *zone) {
			z.tlsRPT = false
			z.records = []string{`_smtp._tls TXT "v=TLSRPTv1; rua=tls"`}
		}),
		flawed("dane-pkix.test", "TLSA records that mean nothing for mail", "mail-dane-invalid", mx("10 mx-pkix.exemplary.test.")),
		flawed("dane-partial.test", "one of two exchangers is pinned", "mail-dane-partial", mx("10 mx-pinned.exemplary.test.", "20 mx1.exemplary.test.")),
		flawed("mx-alias.test", "a mail exchanger's name is an alias", "mail-mx-alias", mx("10 mx-alias.exemplary.test.")),
		flawed("mx-void.test", "a mail exchanger without address", "mail-mx-no-address", mx("10 mx-void.exemplary.test.")),
		flawed("mx-null.test", "no mail and some mail", "mail-mx-null-mixed", mx(nullMX, "10 mx1.exemplary.test.")),
	}
}
