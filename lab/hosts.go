package lab

import (
	"crypto/tls"
	"slices"
)

// The tables. A row is an address or a name; what a correct scan finds there stands beside it. Numbers are the last part
// of the address: below 60 have names, from 60 on have none, from 100 on are hostile.

// hostsFor returns the hosts of a lab.
func hostsFor(o Options) []host {
	hosts := slices.Concat(cleanHosts(), supportHosts())
	if !o.Clean {
		hosts = slices.Concat(hosts, openHosts(), nameHosts(), webHosts(), moreWebHosts(), tlsHosts(), tlsFlawHosts(), serviceHosts(), moreServiceHosts(), udpHosts(), hiddenHosts())
	}
	if o.Hostile {
		hosts = append(hosts, hostileHosts()...)
	}
	return hosts
}

// cleanHosts are as they should be: what is found there is what a private authority and loopback addresses bring with them.
func cleanHosts() []host {
	return []host{
		{number: numberDNS, name: "ns1.exemplary.test", seed: seedNone, servers: []server{
			{port: portDNS, udp: true, run: nameServer, note: "name server"},
		}},
		{number: 54, name: "ns2.exemplary.test", seed: seedNone, servers: []server{
			{port: portDNS, udp: true, run: nameServer, note: "name server"},
		}},
		{number: 40, name: "www.exemplary.test", servers: []server{
			{port: 8080, run: web(redirectToTLS(8443)), note: "leads to TLS"},
			{port: 8443, run: webTLS(tlsServer{}, hardened), note: "hardened application", checks: privateCA},
		}},
		{number: 41, name: "mx1.exemplary.test", seed: seedNone, servers: []server{
			{port: 2525, run: smtp(&tlsServer{}), note: "SMTP with STARTTLS", checks: privateCA},
		}},
		{number: 42, name: "bastion.exemplary.test", servers: []server{
			{port: 2222, run: stream(sshStrong("SSH-2.0-OpenSSH_10.0")), note: "OpenSSH 10.0", checks: []string{"service-version-disclosed"}},
		}},
	}
}

// nameHosts are names whose fault is in the DNS, and what the zones need.
func nameHosts() []host {
	return []host{
		{
			name: "old.acme.test", cname: "acme-promotion.gone.test",
			note: "alias into a domain that nobody has", checks: []string{"dns-registrable-cname"},
		},
		{
			name: "promo.acme.test", cname: "promo-gone.exemplary.test",
			note: "alias of a name that does not exist", checks: []string{"dns-dangling-cname"},
		},
		{number: 55, name: "ns-retired-7.exemplary.test", seed: seedHidden, servers: []server{
			{port: portDNS, udp: true, run: lameServer, note: "name server that knows nothing"},
		}},
	}
}

// webHosts are web applications with faults.
func webHosts() []host {
	return []host{
		{number: 10, name: "www.acme.test", servers: []server{
			{port: 8080, run: web(storefront.site), note: "old PHP application with open files", checks: with(plainPage,
				"http-version-disclosed", "http-git-exposed", "http-svn-exposed", "http-env-exposed", "http-backup-exposed",
				"http-database-dump-exposed", "http-private-key-exposed", "http-credentials-exposed", "http-ds-store-exposed",
				"http-phpinfo-exposed", "http-server-status-exposed")},
		}},
		{number: 11, name: "shop.acme.test", servers: []server{
			{port: 8443, run: webTLS(tlsServer{}, shop.site), note: "shop that gets the browser's protections wrong", checks: slices.Concat(privateCA, []string{
				"http-hsts-short", "http-csp-unsafe", "http-frame-options-missing", "http-nosniff-missing", "http-referrer-policy-missing",
				"http-security-txt-missing", "http-insecure-form", "http-mixed-content", "http-cors-any-origin-credentials",
				"http-cookie-not-secure", "http-cookie-not-httponly", "http-cookie-samesite-missing",
			})},
			{port: 9443, run: webTLS(tlsServer{}, bareTLS.site), note: "application without any security header", checks: with(privateCA, tlsPage...)},
		}},
		{number: 12, name: "login.acme.test", seed: seedURL, servers: []server{
			{port: 8080, run: web(login.site), note: "login form without TLS", checks: with(plainPage,
				"http-cleartext-login", "http-cookie-not-httponly", "http-cookie-samesite-missing")},
		}},
		{number: 13, name: "admin.acme.test", servers: []server{
			{port: 8080, run: web(basicAuth.site), note: "HTTP Basic without TLS", checks: []string{"http-cleartext", "http-basic-auth-cleartext"}},
			{port: 8081, run: web(databasePanel.site), note: "phpMyAdmin without TLS", checks: with(plainPage, "http-admin-panel", "http-cleartext-login")},
		}},
		{number: 16, name: "api.acme.test", servers: []server{
			{port: 8080, run: web(api.site), note: "JSON service with open management", checks: with(plainData,
				"http-cors-reflects-origin", "http-actuator-exposed", "http-heap-dump-exposed", "http-debug-vars-exposed", "http-api-docs-exposed")},
		}},
		{number: 17, name: "dev.acme.test", servers: []server{
			{port: 8000, run: web(debugSite.site), note: "Django with DEBUG", checks: []string{
				"http-debug-page", "http-config-exposed", "http-credentials-exposed",
			}},
		}},
		{number: 18, name: "files.acme.test", servers: []server{
			{port: 8080, run: web(fileListing.site), note: "listed folder", checks: with(plainPage, "http-directory-listing")},
		}},
		{number: 19, name: "app.acme.test", servers: []server{
			{port: 8080, run: web(catchAll.site), note: "one page for every path", checks: plainPage},
			{port: 8081, run: web(mirror), note: "a new page for every request", checks: plainPage},
		}},
	}
}

// oldCiphers have no forward secrecy, and RC4 and 3DES among them.
var oldCiphers = []uint16{
	tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}

// tlsHosts have a fault in TLS each; the application inside is hardened.
func tlsHosts() []host {
	old := tlsServer{certificate: certificate{key: keyRSA2048}, oldest: tls.VersionTLS10, newest: tls.VersionTLS12, ciphers: oldCiphers}
	on := func(number int, name string, t tlsServer, note string, checks ...string) host {
		return host{number: number, name: name, servers: []server{{port: 8443, run: webTLS(t, hardened), note: note, checks: checks}}}
	}
	cert := func(c certificate) tlsServer { return tlsServer{certificate: c} }
	return []host{
		{number: 14, name: "legacy.acme.test", servers: []server{
			{port: 8443, run: webTLS(old, hardened), note: "TLS 1.0 to 1.2 with RC4 and 3DES", checks: with(privateCA,
				"tls-version-1-0", "tls-version-1-1", "tls-version-1-3-missing", "tls-cipher-rc4", "tls-cipher-3des", "tls-no-forward-secrecy", "tls-no-aead")},
			{port: 8080, run: web(defaultNginx.site), note: "default page of nginx 1.14.0 with TRACE", checks: with(plainPage,
				"http-version-disclosed", "http-default-page", "http-trace-enabled")},
			{port: 2323, run: stream(telnetLogin), note: "telnet", checks: []string{"service-telnet-exposed"}},
		}},
		on(20, "expired.acme.test", cert(certificate{age: goodLife + 10*day}), "certificate expired ten days ago",
			"tls-certificate-expired", "tls-certificate-untrusted"),
		on(21, "self-signed.acme.test", cert(certificate{selfSigned: true}), "self-signed certificate",
			"tls-certificate-self-signed"),
		on(22, "weak-key.acme.test", cert(certificate{key: keyRSA1024}), "RSA key of 1024 bits",
			"tls-certificate-weak-key", "tls-certificate-untrusted"),
		on(23, "mismatch.acme.test", cert(certificate{names: []string{"elsewhere.acme.test"}}), "certificate for another name",
			"tls-certificate-name-mismatch", "tls-certificate-untrusted"),
		on(24, "long-lived.acme.test", cert(certificate{life: longLife}), "certificate for 825 days",
			"tls-certificate-long-lifetime", "tls-certificate-untrusted"),
		on(25, "expiring.acme.test", cert(certificate{age: goodLife - soonLeft}), "certificate with five days left",
			"tls-certificate-expires-soon", "tls-certificate-untrusted"),
		on(26, "incomplete.acme.test", cert(certificate{leafOnly: true}), "issuer not sent",
			"tls-certificate-incomplete-chain"),
		on(27, "sha1.acme.test", cert(certificate{sha1: true}), "certificate signed with SHA-1",
			"tls-certificate-weak-signature", "tls-certificate-untrusted"),
		on(29, "pending.acme.test", cert(certificate{age: -10 * day}), "certificate that is not valid for another ten days",
			"tls-certificate-not-yet-valid", "tls-certificate-untrusted"),
		on(28, "tls12.acme.test", tlsServer{newest: tls.VersionTLS12}, "TLS 1.2 only",
			"tls-version-1-3-missing", "tls-certificate-untrusted"),
	}
}
