package lab

import (
	"crypto/tls"
	"crypto/x509"
	"slices"

	"golang.org/x/crypto/ocsp"
)

// Versions that no library speaks any more.
const versionSSL3 = 0x0300

// Checks that come together.
var (
	// only12: TLS 1.2 at most, from a server that announces neither the extended master secret nor secure renegotiation.
	only12 = with(privateCA, "tls-version-1-3-missing", "tls-extended-master-secret-missing")
	// plainRSA: and agrees on keys with RSA only.
	plainRSA = with(only12, "tls-no-forward-secrecy")
)

// tlsFlawHosts are servers with faults in TLS that need more than a setting: old protocols, holes, and odd certificates.
func tlsFlawHosts() []host {
	return []host{
		{number: 30, name: "museum.acme.test", servers: museumServers()},
		{number: 31, name: "holes.acme.test", servers: holeServers()},
		{number: 32, name: "papers.acme.test", servers: paperServers()},
	}
}

func museumServers() []server {
	rsa := certificate{key: keyRSA2048}
	return []server{
		{port: 20441, note: "SSL 2.0 and 3.0", run: legacy(legacyTLS{
			certificate: rsa, ssl2: []uint32{0x010080, 0x020080}, suites: map[uint16][]uint16{versionSSL3: {0x0005, 0x000a}},
		}), checks: with(privateCA, "tls-version-sslv2", "tls-version-sslv3", "tls-version-1-3-missing", "tls-cipher-export", "tls-cipher-rc4",
			"tls-cipher-3des", "tls-no-forward-secrecy", "tls-no-aead", "tls-secure-renegotiation-missing")},
		{port: 20442, note: "TLS 1.0 with NULL, anonymous and export ciphers", run: legacy(legacyTLS{
			certificate: rsa, prime: 512, secure: true, suites: map[uint16][]uint16{tls.VersionTLS10: {0x0001, 0x0018, 0x0014}},
		}), checks: with(plainRSA, "tls-version-1-0", "tls-cipher-null", "tls-cipher-anonymous", "tls-cipher-export", "tls-cipher-rc4", "tls-cipher-3des",
			"tls-dh-broken", "tls-no-aead")},
		{port: 20443, note: "TLS 1.2 with every bad choice", run: legacy(legacyTLS{
			certificate: rsa, prime: 1024, secure: true, compress: true, intolerant: true, curve: 1, signature: 0x0201,
			suites: map[uint16][]uint16{tls.VersionTLS12: {0x009c, 0x009e, 0xc02f}},
		}), checks: with(only12, "tls-dh-weak", "tls-group-weak", "tls-signature-sha1", "tls-compression", "tls-grease-intolerant",
			"tls-order-without-forward-secrecy")},
		{port: 20444, note: "TLS 1.0 and 1.2, with IDEA, that can be pushed back", run: legacy(legacyTLS{
			certificate: rsa, secure: true, suites: map[uint16][]uint16{tls.VersionTLS10: {0x0007}, tls.VersionTLS12: {0x009c}},
		}), checks: with(plainRSA, "tls-version-1-0", "tls-cipher-old-block", "tls-fallback-scsv-missing")},
	}
}

func holeServers() []server {
	old := tlsServer{newest: tls.VersionTLS12}
	return []server{
		{port: 20451, note: "Heartbleed, early ChangeCipherSpec and ROBOT", run: legacy(legacyTLS{
			certificate: certificate{key: keyRSA2048}, heartbleed: true, earlyChange: true, oracle: true,
			suites: map[uint16][]uint16{tls.VersionTLS12: {0x009c}},
		}), checks: with(plainRSA, "tls-heartbleed", "tls-early-ccs", "tls-robot", "tls-secure-renegotiation-missing")},
		{port: 20452, note: "Ticketbleed", run: ticketbleed(old), checks: with(privateCA, "tls-version-1-3-missing", "tls-ticketbleed")},
		{port: 20453, note: "renegotiation by clients", run: renegotiating(old), checks: with(privateCA, "tls-version-1-3-missing", "tls-client-renegotiation")},
		{port: 20454, note: "TLS 1.3 without ML-KEM", run: webTLS(tlsServer{curves: []tls.CurveID{tls.X25519, tls.CurveP256}}, hardened),
			checks: with(privateCA, "tls-post-quantum-missing")},
		{port: 20455, note: "TLS inside of HTTP", run: webUpgraded(tlsServer{}, hardenedPlain), checks: with(privateCA, "http-cleartext", "tls-upgrade-in-http")},
		{port: 2526, note: "STARTTLS that keeps what came before", run: smtpSmuggled(tlsServer{}), checks: with(privateCA, "tls-starttls-injection")},
	}
}

// paperServers are modern servers with odd certificates, and odd things that come along with them.
func paperServers() []server {
	on := func(port int, t tlsServer, note string, checks ...string) server {
		return server{port: port, run: webTLS(t, hardened), note: note, checks: with(privateCA, checks...)}
	}
	cert := func(c certificate) tlsServer { return tlsServer{certificate: c} }
	garbage := func(*authority, *x509.Certificate) ([]byte, error) { return []byte("no status"), nil }
	return []server{
		on(20461, tlsServer{staple: staple(ocsp.Revoked, 7*day)}, "revoked, and says so", "tls-certificate-revoked"),
		on(20462, tlsServer{staple: staple(ocsp.Good, -day)}, "a status that ended yesterday", "tls-ocsp-staple-expired"),
		on(20463, tlsServer{staple: garbage}, "a status that cannot be read", "tls-ocsp-staple-unreadable"),
		on(20464, tlsServer{staple: staple(ocsp.Good, 7*day), certificate: certificate{change: mustStaple}}, "must staple, and does"),
		on(20465, cert(certificate{change: mustStaple}), "must staple, and does not", "tls-must-staple-unmet"),
		on(20466, cert(certificate{change: func(form *x509.Certificate) { form.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }}),
			"a certificate for clients", "tls-certificate-wrong-usage"),
		on(20467, cert(certificate{change: func(form *x509.Certificate) {
			form.IsCA, form.BasicConstraintsValid, form.KeyUsage = true, true, form.KeyUsage|x509.KeyUsageCertSign
		}}), "a certificate that can sign others", "tls-certificate-authority-key"),
		on(20468, cert(certificate{change: func(form *x509.Certificate) { form.DNSNames, form.IPAddresses = nil, nil }}),
			"a common name only", "tls-certificate-common-name-only"),
		on(20469, cert(certificate{issuer: func(*x509.Certificate) {}, issuerKey: keyRSA1024}), "an issuer with a key of 1024 bits", "tls-chain-weak-issuer"),
		on(20470, cert(certificate{issuer: func(form *x509.Certificate) { form.NotAfter = form.NotBefore.Add(30 * day) }}),
			"an issuer that has expired", "tls-chain-expired"),
		on(20471, cert(certificate{arrange: func(chain [][]byte) [][]byte { return [][]byte{chain[0], chain[2], chain[1], chain[1]} }}),
			"a chain out of order", "tls-chain-untidy"),
		on(20472, cert(certificate{subject: "localhost"}), "a certificate that came with the software", "tls-certificate-default"),
		{port: 20473, note: "a certificate with a negative serial number", run: legacy(legacyTLS{
			certificate: certificate{key: keyRSA2048, arrange: negativeSerial}, secure: true, suites: map[uint16][]uint16{tls.VersionTLS12: {0x009c}},
		}), checks: with(plainRSA, "tls-certificate-malformed")},
		{port: 20474, note: "a key of the broken generator", run: legacy(legacyTLS{
			certificate: certificate{key: keyRSA2048, public: rocaKey()}, secure: true, suites: map[uint16][]uint16{tls.VersionTLS12: {0x009c}},
		}), checks: with(slices.Clone(plainRSA), "tls-certificate-roca")},
	}
}
