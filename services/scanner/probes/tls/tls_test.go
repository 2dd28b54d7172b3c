package tls

import (
	"crypto/rand"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

func TestModernServer(t *testing.T) {
	root := newAuthority(t, "Test Root", nil)
	middle := newAuthority(t, "Test Issuer", root)
	cert := middle.issue(t, leafFor("www.test"), nil, middle.cert)
	cert.OCSPStaple = []byte{0x30, 0x03, 0x0a, 0x01, 0x06}
	cert.SignedCertificateTimestamps = [][]byte{{1, 2, 3}, {4, 5, 6}}
	addr := serveTLS(t, &stdtls.Config{Certificates: []stdtls.Certificate{cert}, MinVersion: stdtls.VersionTLS12, NextProtos: []string{"http/1.1", "h2"}})

	env := lab()
	job := jobFor(addr, "www.test")
	result, err := New(Options{ExtraRoots: []*x509.Certificate{root.cert}}).Scan(t.Context(), env, job)
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 1 || len(result.Leads) != 0 {
		t.Fatalf("got %+v, %v, want a complete scan with one observation", result, err)
	}
	observation, fact := result.Observations[0], result.Observations[0].GetTls()
	port := netip.MustParseAddrPort(addr.String()).Port()
	want := &modelv1.TlsFact{
		Address: "127.0.0.1", Port: uint32(port), ServerName: "www.test", Versions: []string{"TLS1.2", "TLS1.3"},
		Ciphers:       fact.GetCiphers(),
		CipherClasses: []string{"cbc", "aead"}, ForwardSecrecy: true, Alpn: []string{"h2", "http/1.1"},
		Trusted: true, NameMatches: true, OcspStapled: true, SctCount: 2, TrustStore: storeExtra, ChainLength: 2,
		Chain: fact.GetChain(), Protocols: fact.GetProtocols(), Jarm: fact.GetJarm(), Connections: fact.GetConnections(), Grade: fact.GetGrade(),
		KeyExchange: &modelv1.TlsKeyExchange{
			Groups:       []string{"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "x25519", "secp256r1", "secp384r1", "secp521r1"},
			LegacyGroups: []string{"x25519", "secp256r1", "secp384r1", "secp521r1"}, PostQuantum: true,
		},
		Session: &modelv1.TlsSession{TicketResumed: true, Tickets: 1, PskSeconds: 604800, PskResumed: true},
		Behaviour: &modelv1.TlsBehaviour{
			SecureRenegotiation: wordYes, ClientRenegotiation: wordNo, FallbackScsv: wordYes, ExtendedMasterSecret: wordYes, GreaseTolerant: wordYes,
			Compression: wordNo, Heartbeat: wordNo, EarlyChangeCipher: wordNo, SessionIdOverread: wordNo,
		},
		Ocsp: &modelv1.OcspStaple{Status: "unreadable"},
	}
	if len(fact.GetProtocols()) != 2 || !fact.GetProtocols()[0].GetComplete() || !fact.GetProtocols()[0].GetServerOrder() || len(fact.GetJarm()) != 62 {
		t.Errorf("protocols %v, JARM %q", fact.GetProtocols(), fact.GetJarm())
	}
	if g := fact.GetGrade(); g.GetLetter() != "A" || len(g.GetLimits()) != 0 {
		t.Errorf("grade %v", g)
	}
	if diff := cmp.Diff(want.String(), fact.String()); diff != "" {
		t.Errorf("fact (-want +got):\n%s", diff)
	}
	if len(fact.GetChain()) != 2 {
		t.Fatalf("chain of %d certificates, want 2", len(fact.GetChain()))
	}
	leaf := fact.GetChain()[0]
	if leaf.GetSubject() != "CN=www.test" || leaf.GetIssuer() != "CN=Test Issuer" || leaf.GetKeyType() != "ecdsa" || leaf.GetKeyBits() != 256 ||
		leaf.GetSignatureHash() != "sha256" || leaf.GetSelfSigned() || leaf.GetCa() || leaf.GetSerial() != "1234" || leaf.GetLifetimeDays() != 90 ||
		!slices.Equal(leaf.GetNames(), []string{"www.test", "127.0.0.1"}) || len(leaf.GetSha256()) != 64 {
		t.Errorf("leaf: %v", leaf)
	}
	if !fact.GetChain()[1].GetCa() {
		t.Error("the issuer is no CA")
	}
	for _, name := range []string{"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_AES_128_GCM_SHA256"} {
		if !slices.Contains(fact.GetCiphers(), name) {
			t.Errorf("ciphers %v lack %s", fact.GetCiphers(), name)
		}
	}
	if observation.GetLocation() != probes.Location(job.GetTarget()) || observation.GetKey() != "tls" || observation.GetAssetValue() != "www.test" {
		t.Errorf("observation: %v", observation)
	}
	blob := env.Blobs.(*memory).blobs[observation.GetEvidence().GetBlob()]
	if block, rest := pem.Decode(blob); block == nil || string(block.Bytes) != string(cert.Certificate[0]) || len(rest) == 0 {
		t.Errorf("evidence is not the chain in PEM: %q", blob)
	}
}

func TestVersionsAndClasses(t *testing.T) {
	root := newAuthority(t, "Test Root", nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := root.issue(t, leafFor("old.test"), rsaKey)
	std := func(c *stdtls.Config) func(t *testing.T) net.Addr {
		return func(t *testing.T) net.Addr {
			c.Certificates = []stdtls.Certificate{cert}
			return serveTLS(t, c)
		}
	}
	legacy := func(l legacyServer) func(t *testing.T) net.Addr {
		return func(t *testing.T) net.Addr {
			l.chain = cert.Certificate
			return l.start(t)
		}
	}
	tests := []struct {
		name     string
		server   func(t *testing.T) net.Addr
		versions []string
		classes  []string
		forward  bool
	}{
		{"only TLS 1.3", std(&stdtls.Config{MinVersion: stdtls.VersionTLS13}), []string{"TLS1.3"}, []string{"aead"}, true},
		{"TLS 1.0 to 1.3", std(&stdtls.Config{MinVersion: stdtls.VersionTLS10}), []string{"TLS1.0", "TLS1.1", "TLS1.2", "TLS1.3"}, []string{"cbc", "aead"}, true},
		{"only TLS 1.0", std(&stdtls.Config{MinVersion: stdtls.VersionTLS10, MaxVersion: stdtls.VersionTLS10}), []string{"TLS1.0"}, []string{"cbc"}, true},
		{
			"RC4, 3DES and RSA key exchange",
			std(&stdtls.Config{MinVersion: stdtls.VersionTLS10, MaxVersion: stdtls.VersionTLS12, CipherSuites: []uint16{
				stdtls.TLS_RSA_WITH_RC4_128_SHA, stdtls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, stdtls.TLS_RSA_WITH_AES_128_GCM_SHA256,
			}}),
			[]string{"TLS1.0", "TLS1.1", "TLS1.2"},
			[]string{"rc4", "3des", "cbc", "aead", "static-rsa"}, false,
		},
		{
			"SSLv3 alone", legacy(legacyServer{suites: map[uint16][]uint16{versionSSL3: {0x0005}}}),
			[]string{"SSLv3"},
			[]string{"rc4", "static-rsa"}, false,
		},
		{
			"hangs up on what it does not know", legacy(legacyServer{suites: map[uint16][]uint16{versionSSL3: {0x000a}}, hangUp: true, strict: true}),
			[]string{"SSLv3"},
			[]string{"3des", "cbc", "static-rsa"}, false,
		},
		{
			"every weak class, each for itself",
			legacy(legacyServer{suites: map[uint16][]uint16{versionTLS12: {0xc02f, 0x0001, 0x0018, 0x0008, 0x0009, 0x000a, 0x0005}}}),
			[]string{"TLS1.2"},
			[]string{"null", "anon", "export", "rc4", "des", "3des", "cbc", "aead", "static-rsa"}, true,
		},
		{
			"export in the oldest version only",
			legacy(legacyServer{suites: map[uint16][]uint16{versionTLS12: {0xc02f}, versionTLS10: {0xc013, 0x0003}}}),
			[]string{"TLS1.0", "TLS1.2"},
			[]string{"export", "rc4", "cbc", "aead"}, true,
		},
		{
			"an export suite is not forward secret", legacy(legacyServer{suites: map[uint16][]uint16{versionTLS10: {0x0014}}}),
			[]string{"TLS1.0"},
			[]string{"export", "des", "cbc"}, false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fact := factOf(t, New(Options{ExtraRoots: []*x509.Certificate{root.cert}}), jobFor(test.server(t), "old.test"))
			if !slices.Equal(fact.GetVersions(), test.versions) {
				t.Errorf("versions %v, want %v", fact.GetVersions(), test.versions)
			}
			if !slices.Equal(fact.GetCipherClasses(), test.classes) {
				t.Errorf("classes %v, want %v (%v)", fact.GetCipherClasses(), test.classes, fact.GetCiphers())
			}
			if fact.GetForwardSecrecy() != test.forward {
				t.Errorf("forward secrecy %t, want %t", fact.GetForwardSecrecy(), test.forward)
			}
			if !fact.GetTrusted() || !fact.GetNameMatches() {
				t.Errorf("trusted %t (%s), name matches %t; want both", fact.GetTrusted(), fact.GetTrustError(), fact.GetNameMatches())
			}
		})
	}
}

func TestTrust(t *testing.T) {
	root := newAuthority(t, "Known Root", nil)
	middle := newAuthority(t, "Known Issuer", root)
	stranger := newAuthority(t, "Unknown Root", nil)
	strangersMiddle := newAuthority(t, "Unknown Issuer", stranger)
	with := func(change func(*x509.Certificate)) *x509.Certificate {
		template := leafFor("site.test")
		change(template)
		return template
	}
	aia := with(func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://issuer.test/ca.crt"} })
	public := with(func(c *x509.Certificate) {
		list, _ := asn1.Marshal(appendBlock16(nil, appendBlock16(nil, []byte{1, 2, 3})))
		c.ExtraExtensions = append(c.ExtraExtensions, pkixExtension(oidSCTList, list))
	})
	expired := with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	early := with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
	client := with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	tests := []struct {
		name    string
		cert    stdtls.Certificate
		host    string
		trusted bool
		problem string
		matches bool
	}{
		{"whole chain", middle.issue(t, leafFor("site.test"), nil, middle.cert), "site.test", true, "", true},
		{"root sent as well", middle.issue(t, leafFor("site.test"), nil, middle.cert, root.cert), "site.test", true, "", true},
		{"asked for by address", middle.issue(t, leafFor("site.test"), nil, middle.cert), "", true, "", true},
		{"another name", middle.issue(t, leafFor("site.test"), nil, middle.cert), "other.test", true, "", false},
		{"self-signed", selfSign(t, leafFor("site.test"), newKey(t)), "site.test", false, trustSelfSigned, true},
		{"expired and self-signed", selfSign(t, with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), newKey(t)), "site.test", false, trustSelfSigned, true},
		{"unknown root, sent", stranger.issue(t, leafFor("site.test"), nil, stranger.cert), "site.test", false, trustUnknown, true},
		{"unknown root, not sent", stranger.issue(t, leafFor("site.test"), nil), "site.test", false, trustUnknown, true},
		{"unknown issuer below an unknown root", strangersMiddle.issue(t, aia, nil, strangersMiddle.cert), "site.test", false, trustUnknown, true},
		{"intermediate missing, by its address", middle.issue(t, aia, nil), "site.test", false, trustIncomplete, true},
		{"intermediate missing, by SCTs", middle.issue(t, public, nil), "site.test", false, trustIncomplete, true},
		{"expired", middle.issue(t, expired, nil, middle.cert), "site.test", false, trustExpired, true},
		{"not valid yet", middle.issue(t, early, nil, middle.cert), "site.test", false, trustOther, true},
		{"not for servers", middle.issue(t, client, nil, middle.cert), "site.test", false, trustUnknown, true},
	}
	p := New(Options{ExtraRoots: []*x509.Certificate{root.cert}})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fact := factOf(t, p, jobFor(serveTLS(t, &stdtls.Config{Certificates: []stdtls.Certificate{test.cert}}), test.host))
			if fact.GetTrusted() != test.trusted || fact.GetTrustError() != test.problem || fact.GetNameMatches() != test.matches {
				t.Errorf("trusted %t, error %q, matches %t; want %t, %q, %t",
					fact.GetTrusted(), fact.GetTrustError(), fact.GetNameMatches(), test.trusted, test.problem, test.matches)
			}
		})
	}
}

func TestSmallKeysAndOldHashes(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	template := leafFor("weak.test")
	template.SignatureAlgorithm = x509.SHA1WithRSA
	fact := factOf(t, New(Options{}), jobFor(serveTLS(t, &stdtls.Config{Certificates: []stdtls.Certificate{selfSign(t, template, key)}}), "weak.test"))
	leaf := fact.GetChain()[0]
	if leaf.GetKeyType() != "rsa" || leaf.GetKeyBits() != 1024 || leaf.GetSignatureHash() != "sha1" || !leaf.GetSelfSigned() {
		t.Errorf("leaf %v, want 1,024 bit RSA signed by itself with SHA-1", leaf)
	}
}

func TestClientCertificateWanted(t *testing.T) {
	root := newAuthority(t, "Test Root", nil)
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		config := &stdtls.Config{
			Certificates: []stdtls.Certificate{root.issue(t, leafFor("mutual.test"), nil)}, ClientAuth: stdtls.RequireAnyClientCert,
			MinVersion: version, MaxVersion: version, NextProtos: []string{"h2"},
		}
		fact := factOf(t, New(Options{ExtraRoots: []*x509.Certificate{root.cert}}), jobFor(serveTLS(t, config), "mutual.test"))
		if len(fact.GetChain()) != 1 || !fact.GetTrusted() || !slices.Equal(fact.GetAlpn(), []string{"h2"}) {
			t.Errorf("%s: %v", stdtls.VersionName(version), fact)
		}
	}
}

func TestProtocolOfItsOwn(t *testing.T) {
	root := newAuthority(t, "Test Root", nil)
	config := &stdtls.Config{Certificates: []stdtls.Certificate{root.issue(t, leafFor("mail.test"), nil)}, NextProtos: []string{"of-its-own"}, MinVersion: stdtls.VersionTLS13}
	fact := factOf(t, New(Options{}), jobFor(serveTLS(t, config), "mail.test"))
	if len(fact.GetChain()) != 1 || len(fact.GetAlpn()) != 0 {
		t.Errorf("chain of %d, ALPN %v; want the chain and no protocol", len(fact.GetChain()), fact.GetAlpn())
	}
}

func TestAnonymousServerHasNoCertificate(t *testing.T) {
	fact := factOf(t, New(Options{}), jobFor(legacyServer{suites: map[uint16][]uint16{versionTLS12: {0x00a6}}}.start(t), "anon.test"))
	if !slices.Equal(fact.GetCipherClasses(), []string{"anon", "aead"}) || len(fact.GetChain()) != 0 || fact.GetForwardSecrecy() {
		t.Errorf("got %v", fact)
	}
}

func TestDeepListsEverySuite(t *testing.T) {
	root := newAuthority(t, "Test Root", nil)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ids := []uint16{stdtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, stdtls.TLS_RSA_WITH_AES_128_CBC_SHA, stdtls.TLS_RSA_WITH_AES_256_CBC_SHA}
	job := jobFor(serveTLS(t, &stdtls.Config{Certificates: []stdtls.Certificate{root.issue(t, leafFor("deep.test"), key)}, CipherSuites: ids}), "deep.test")
	job.Options.Profile = modelv1.Profile_PROFILE_DEEP
	want := []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
	for _, id := range ids {
		want = append(want, stdtls.CipherSuiteName(id))
	}
	got := factOf(t, New(Options{}), job).GetCiphers()
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ciphers (-want +got):\n%s", diff)
	}
}

// A certificate that crypto/x509 refuses (a negative serial number, common in appliances) is read in outline.
func TestCertificateWithNegativeSerial(t *testing.T) {
	cert := selfSign(t, leafFor("box.test"), newKey(t))
	der := slices.Clone(cert.Certificate[0])
	at := strings.Index(string(der), string([]byte{2, 2, 0x12, 0x34}))
	der[at+2] |= 0x80
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Fatal("crypto/x509 reads a negative serial number: choose another fault")
	}
	server := legacyServer{suites: map[uint16][]uint16{versionTLS12: {0xc02b}}, chain: [][]byte{der}}
	fact := factOf(t, New(Options{ExtraRoots: []*x509.Certificate{cert.Leaf}}), jobFor(server.start(t), "box.test"))
	leaf := fact.GetChain()[0]
	if leaf.GetSubject() != "CN=box.test" || leaf.GetSerial() != new(big.Int).Neg(big.NewInt(0x10000-0x9234)).Text(16) || !leaf.GetSelfSigned() ||
		!leaf.GetNotAfter().AsTime().Equal(cert.Leaf.NotAfter) || !slices.Equal(leaf.GetNames(), []string{"box.test", "127.0.0.1"}) {
		t.Errorf("leaf %v", leaf)
	}
	if fact.GetTrusted() || fact.GetTrustError() != trustOther || !fact.GetNameMatches() {
		t.Errorf("trusted %t, error %q, matches %t", fact.GetTrusted(), fact.GetTrustError(), fact.GetNameMatches())
	}
}

func TestNothingToSee(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := closed.Addr()
	_ = closed.Close()
	ssh := serve(t, func(conn net.Conn) { _, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.9\r\n")) })
	web := serve(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1024))
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	})
	short := serve(t, func(conn net.Conn) { _, _ = conn.Write([]byte("hi\n")) })
	for name, addr := range map[string]net.Addr{"refused": refusing, "ssh": ssh, "http": web, "a short line": short} {
		result := scan(t, New(Options{}).withLimits(2*time.Second), jobFor(addr, ""))
		if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 0 {
			t.Errorf("%s: %v (%s) with %d observations, want complete with none", name, result.Outcome, result.Reason, len(result.Observations))
		}
	}
}

func TestRefusedByTheGuard(t *testing.T) {
	env := probes.Env{Guard: netguard.New(netguard.Options{})}
	job := jobFor(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, "")
	result, err := New(Options{}).Scan(t.Context(), env, job)
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED || !strings.Contains(result.Reason, "loopback") || strings.Contains(result.Reason, "127.") {
		t.Errorf("got %+v, %v; want not permitted, by the rule's name and without the address", result, err)
	}
	job.Target.Host, job.Target.Address = "inside.test", "169.254.169.254"
	if result, err = New(Options{}).Scan(t.Context(), lab(), job); err != nil || result.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED {
		t.Errorf("got %+v, %v; want not permitted", result, err)
	}
}

func TestPassiveSendsNothing(t *testing.T) {
	var connections atomic.Int32
	job := jobFor(serve(t, func(net.Conn) { connections.Add(1) }), "")
	job.Options.Profile = modelv1.Profile_PROFILE_PASSIVE
	if result := scan(t, New(Options{}), job); result.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED || connections.Load() != 0 {
		t.Errorf("%v (%s) with %d connections", result.Outcome, result.Reason, connections.Load())
	}
}

func TestTargetsWithoutPlace(t *testing.T) {
	for name, target := range map[string]*modelv1.Target{
		"no port": {Host: "a.test"}, "no host": {Port: 443}, "port out of range": {Host: "a.test", Port: 70000}, "none": nil,
	} {
		if _, err := New(Options{}).Scan(t.Context(), lab(), &modelv1.ScanJob{Target: target}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
