package lab

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// shake makes a TLS connection to address without judging the certificate.
func shake(t *testing.T, address, name string, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	config = config.Clone()
	config.InsecureSkipVerify, config.ServerName = true, name
	conn, err := tls.DialWithDialer(&net.Dialer{}, "tcp4", address, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState(), nil
}

func roots(t *testing.T, l *Lab) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(l.CAPEM()) {
		t.Fatal("CAPEM is no certificate")
	}
	return pool
}

// weakest is a client that takes everything.
func weakest(version uint16) *tls.Config {
	config := &tls.Config{MinVersion: version, MaxVersion: version}
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	return config
}

// tlsFindings derives what holds on one TLS server from handshakes with it.
func tlsFindings(t *testing.T, l *Lab, address, name string) []string {
	t.Helper()
	var got []string
	add := func(holds bool, check string) {
		if holds {
			got = append(got, check)
		}
	}
	accepts := func(config *tls.Config) bool {
		_, err := shake(t, address, name, config)
		return err == nil
	}
	cipher := func(ids ...uint16) bool {
		return accepts(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS12, CipherSuites: ids})
	}
	add(accepts(weakest(tls.VersionTLS10)), "tls-version-1-0")
	add(accepts(weakest(tls.VersionTLS11)), "tls-version-1-1")
	add(!accepts(weakest(tls.VersionTLS13)), "tls-version-1-3-missing")
	add(cipher(tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA), "tls-cipher-rc4")
	add(cipher(tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), "tls-cipher-3des")
	forward := accepts(weakest(tls.VersionTLS13)) || cipher(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	add(!forward, "tls-no-forward-secrecy")
	sealed := accepts(weakest(tls.VersionTLS13)) || cipher(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256)
	add(!sealed, "tls-no-aead")

	anything := weakest(tls.VersionTLS12)
	anything.MaxVersion = 0
	state, err := shake(t, address, name, anything)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	return append(got, certificateFindings(t, l, state.PeerCertificates, name)...)
}

func certificateFindings(t *testing.T, l *Lab, chain []*x509.Certificate, name string) []string {
	t.Helper()
	var got []string
	add := func(holds bool, check string) {
		if holds {
			got = append(got, check)
		}
	}
	leaf, now := chain[0], time.Now()
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	selfSigned := slices.Equal(leaf.RawIssuer, leaf.RawSubject)
	expired := now.After(leaf.NotAfter)
	add(expired, "tls-certificate-expired")
	add(now.Before(leaf.NotBefore), "tls-certificate-not-yet-valid")
	add(!expired && leaf.NotAfter.Sub(now) < life/3 && leaf.NotAfter.Sub(now) <= 30*day, "tls-certificate-expires-soon")
	add(selfSigned, "tls-certificate-self-signed")
	add(!selfSigned && life > 200*day, "tls-certificate-long-lifetime")
	add(leaf.SignatureAlgorithm == x509.ECDSAWithSHA1, "tls-certificate-weak-signature")
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		add(key.N.BitLen() < 2048, "tls-certificate-weak-key")
	case *ecdsa.PublicKey:
		add(key.Curve.Params().BitSize < 256, "tls-certificate-weak-key")
	}
	top := chain[len(chain)-1]
	complete := slices.Equal(top.RawIssuer, top.RawSubject)
	add(!selfSigned && !complete, "tls-certificate-incomplete-chain")
	add(complete && !selfSigned, "tls-certificate-untrusted")
	add(leaf.VerifyHostname(name) != nil && net.ParseIP(name) == nil, "tls-certificate-name-mismatch")

	// Whoever trusts the root accepts just the good ones.
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots(t, l), Intermediates: between})
	other := slices.ContainsFunc(got, func(check string) bool {
		return slices.Contains([]string{"tls-certificate-expired", "tls-certificate-not-yet-valid", "tls-certificate-weak-signature"}, check)
	})
	if good := complete && !selfSigned && !other; (err == nil) != good {
		t.Errorf("%s: verification with the lab's root: %v, want success %v", name, err, good)
	}
	return got
}

// declared returns the checks of one area that the truth has at a location.
func declared(l *Lab, location, area string) []string {
	var checks []string
	for _, f := range l.Truth() {
		if f.Location == location && strings.HasPrefix(f.Check, area) {
			checks = append(checks, f.Check)
		}
	}
	slices.Sort(checks)
	return checks
}

func owner(l *Lab, h host) string {
	if h.name != "" {
		return h.name
	}
	return l.plan.address(h.number).String()
}

func TestTLSServersAreAsDeclared(t *testing.T) {
	l := startLab(t, Options{Hostile: true})
	seen := 0
	for _, h := range l.plan.hosts {
		for _, s := range h.servers {
			if !slices.Contains([]int{8443, 9443, 10250}, s.port) {
				continue
			}
			seen++
			name := owner(l, h)
			got := tlsFindings(t, l, l.at(h.number, s.port), name)
			slices.Sort(got)
			if want := declared(l, hostPort(name, s.port)+"/tcp", "tls-"); !slices.Equal(got, want) {
				t.Errorf("%s:%d: the handshakes mean %q, the table says %q", name, s.port, got, want)
			}
		}
	}
	if seen != 16 {
		t.Errorf("%d TLS servers, want 16", seen)
	}
}

// startTLS upgrades a connection to the SMTP server of a host.
func startTLS(t *testing.T, l *Lab, number int, name string, config *tls.Config) (*tls.Conn, *textproto.Conn) {
	t.Helper()
	conn := dial(t, l.at(number, 2525))
	text := textproto.NewConn(conn)
	expect(t, text, 220)
	send(t, text, "EHLO test")
	if _, message := expect(t, text, 250); !strings.Contains(message, "STARTTLS") {
		t.Fatalf("extensions %q", message)
	}
	send(t, text, "STARTTLS")
	expect(t, text, 220)
	config.ServerName = name
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return secure, textproto.NewConn(secure)
}

func TestStartTLS(t *testing.T) {
	l := startLab(t, Options{Clean: true})
	secure, text := startTLS(t, l, 41, "mx1.exemplary.test", &tls.Config{RootCAs: roots(t, l)})
	got := certificateFindings(t, l, secure.ConnectionState().PeerCertificates, "mx1.exemplary.test")
	if want := declared(l, "mx1.exemplary.test:2525/tcp", "tls-"); !slices.Equal(got, want) {
		t.Errorf("the certificate means %q, the table says %q", got, want)
	}
	send(t, text, "EHLO test")
	if _, message := expect(t, text, 250); strings.Contains(message, "STARTTLS") {
		t.Errorf("STARTTLS offered inside TLS: %q", message)
	}
	send(t, text, "QUIT")
	expect(t, text, 221)
}
