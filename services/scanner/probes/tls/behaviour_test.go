package tls

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/chacha20poly1305"
	"google.golang.org/protobuf/testing/protocmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// primeOf returns a published prime: that of RFC 2409 group 2, or its first bits, which nobody tests for being prime.
func primeOf(t testing.TB, bits uint) *big.Int {
	t.Helper()
	p, ok := new(big.Int).SetString("ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"+
		"ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"+
		"49286651ece65381ffffffffffffffff", 16)
	if !ok {
		t.Fatal("no number")
	}
	return p.Rsh(p, 1024-bits)
}

// What servers do wrong is told by servers that do it, and only by them.
func TestBehaviour(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := selfSign(t, leafFor("old.test"), key)
	rsaOnly := map[uint16][]uint16{versionTLS12: {0x009c}}
	good := func(change func(*modelv1.TlsBehaviour)) *modelv1.TlsBehaviour {
		b := &modelv1.TlsBehaviour{
			SecureRenegotiation: wordNo, ExtendedMasterSecret: wordNo, GreaseTolerant: wordYes, Compression: wordNo, Heartbeat: wordNo,
			EarlyChangeCipher: wordNo, RsaOracle: wordNo, RsaOracleAnswers: 1,
		}
		change(b)
		return b
	}
	tests := []struct {
		name   string
		server legacyServer
		want   *modelv1.TlsBehaviour
	}{
		{"nothing wrong", legacyServer{suites: rsaOnly}, good(func(*modelv1.TlsBehaviour) {})},
		{"secure renegotiation", legacyServer{suites: rsaOnly, secure: true}, good(func(b *modelv1.TlsBehaviour) { b.SecureRenegotiation = wordYes })},
		{"compression", legacyServer{suites: rsaOnly, compress: true}, good(func(b *modelv1.TlsBehaviour) { b.Compression = wordYes })},
		{"heartbeats as they should be", legacyServer{suites: rsaOnly, heartbeat: true}, good(func(b *modelv1.TlsBehaviour) {
			b.Heartbeat, b.HeartbeatOverread = wordYes, wordNo
		})},
		{"Heartbleed", legacyServer{suites: rsaOnly, heartbeat: true, heartbleed: true}, good(func(b *modelv1.TlsBehaviour) {
			b.Heartbeat, b.HeartbeatOverread = wordYes, wordYes
		})},
		{"early ChangeCipherSpec", legacyServer{suites: rsaOnly, earlyChange: true}, good(func(b *modelv1.TlsBehaviour) { b.EarlyChangeCipher = wordYes })},
		{"ROBOT", legacyServer{suites: rsaOnly, oracle: true, key: key}, good(func(b *modelv1.TlsBehaviour) {
			b.RsaOracle, b.RsaOracleAnswers = wordYes, 2
		})},
		{"breaks on GREASE", legacyServer{suites: rsaOnly, intolerant: true}, good(func(b *modelv1.TlsBehaviour) { b.GreaseTolerant = wordNo })},
		{"ignores a fallback", legacyServer{suites: map[uint16][]uint16{versionTLS10: {0x002f}, versionTLS12: {0x009c}}}, good(func(b *modelv1.TlsBehaviour) {
			b.FallbackScsv = wordNo
		})},
		{"refuses a fallback", legacyServer{suites: map[uint16][]uint16{versionTLS10: {0x002f}, versionTLS12: {0x009c}}, scsv: true}, good(func(b *modelv1.TlsBehaviour) {
			b.FallbackScsv = wordYes
		})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.server.chain = cert.Certificate
			fact := factOf(t, New(Options{}), jobFor(test.server.start(t), "old.test"))
			if diff := cmp.Diff(test.want, fact.GetBehaviour(), protocmp.Transform()); diff != "" {
				t.Errorf("behaviour (-want +got):\n%s", diff)
			}
		})
	}
}

// A server that answers paddings at random is not called an oracle.
func TestChanceIsNoOracle(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	server := legacyServer{suites: map[uint16][]uint16{versionTLS12: {0x009c}}, chain: selfSign(t, leafFor("old.test"), key).Certificate}
	alerts := make(chan byte, 64)
	for i := range 64 {
		alerts <- []byte{20, 40, 50, 51, 47, 80, 10}[i%7]
	}
	addr := serve(t, func(conn net.Conn) {
		offered, ok := readHello(conn)
		if !ok || offered.version != versionTLS12 || !slices.Contains(offered.suites, 0x009c) {
			_, _ = conn.Write([]byte{recordAlert, 3, 1, 0, 2, 2, 40})
			return
		}
		_, _ = conn.Write(server.flight(versionTLS12, 0x009c, offered))
		for {
			kind, body, ok := readRecord(conn)
			if !ok {
				return
			}
			if kind == recordHandshake && body[0] == 16 {
				_, _ = conn.Write([]byte{recordAlert, 3, 3, 0, 2, 2, <-alerts})
				return
			}
			if kind == recordHandshake {
				_, _ = conn.Write([]byte{recordAlert, 3, 3, 0, 2, 2, alertUnexpected})
				return
			}
		}
	})
	fact := factOf(t, New(Options{}), jobFor(addr, "old.test"))
	if b := fact.GetBehaviour(); b.GetRsaOracle() == wordYes || b.GetRsaOracleAnswers() < 2 {
		t.Errorf("oracle %q with %d answers; want several, and no oracle", b.GetRsaOracle(), b.GetRsaOracleAnswers())
	}
}

func TestVersion2(t *testing.T) {
	cert := selfSign(t, leafFor("old.test"), newKey(t)).Certificate
	server := legacyServer{suites: map[uint16][]uint16{versionSSL3: {0x0005}}, ssl2: []uint32{0x010080, 0x020080, 0x0700c0}, chain: cert}
	fact := factOf(t, New(Options{}), jobFor(server.start(t), "old.test"))
	if !slices.Equal(fact.GetVersions(), []string{"SSLv2", "SSLv3"}) || !slices.Equal(fact.GetCipherClasses(), []string{"export", "rc4", "3des", "cbc", "static-rsa"}) {
		t.Errorf("versions %v, classes %v", fact.GetVersions(), fact.GetCipherClasses())
	}
	var names []string
	for _, c := range fact.GetProtocols()[0].GetCiphers() {
		names = append(names, c.GetName())
	}
	if want := []string{"SSL_CK_RC4_128_WITH_MD5", "SSL_CK_RC4_128_EXPORT40_WITH_MD5", "SSL_CK_DES_192_EDE3_CBC_WITH_MD5"}; !slices.Equal(names, want) {
		t.Errorf("ciphers %v, want %v", names, want)
	}
}

func TestKeyExchange(t *testing.T) {
	cert := selfSign(t, leafFor("old.test"), newKey(t)).Certificate
	server := legacyServer{
		suites: map[uint16][]uint16{versionTLS10: {0x0014, 0x0033}, versionTLS12: {0x009c, 0x009e, 0xc02f}}, prime: primeOf(t, 1024), curve: 0x0001, chain: cert,
	}
	fact := factOf(t, New(Options{}), jobFor(server.start(t), "old.test"))
	want := &modelv1.TlsKeyExchange{LegacyGroups: []string{"sect163k1"}, DhBits: 1024, DhPrime: "RFC 2409 group 2", DhExportBits: 1024}
	if diff := cmp.Diff(want, fact.GetKeyExchange(), protocmp.Transform()); diff != "" {
		t.Errorf("key exchange (-want +got):\n%s", diff)
	}
	for _, p := range fact.GetProtocols() {
		if !p.GetServerOrder() || !p.GetComplete() {
			t.Errorf("%v: want the server's order, complete", p)
		}
	}
}

// A client's order is no server's order.
func TestClientsOrder(t *testing.T) {
	cert := selfSign(t, leafFor("old.test"), newKey(t)).Certificate
	addr := serve(t, func(conn net.Conn) {
		offered, ok := readHello(conn)
		if !ok || offered.version < versionTLS12 {
			return
		}
		at := slices.IndexFunc(offered.suites, func(id uint16) bool { return id == 0x009c || id == 0x009d })
		if at < 0 {
			_, _ = conn.Write([]byte{recordAlert, 3, 1, 0, 2, 2, 40})
			return
		}
		_, _ = conn.Write(flightOf(versionTLS12, helloOf(versionTLS12, offered.suites[at]), cert, nil))
	})
	fact := factOf(t, New(Options{}), jobFor(addr, "old.test"))
	if p := fact.GetProtocols()[0]; p.GetServerOrder() || len(p.GetCiphers()) != 2 {
		t.Errorf("got %v, want two ciphers in the client's order", p)
	}
}

func TestClientCertificates(t *testing.T) {
	root := newAuthority(t, "Test Root", nil)
	for auth, want := range map[stdtls.ClientAuthType]string{
		stdtls.NoClientCert: "", stdtls.RequestClientCert: certificateWanted, stdtls.RequireAnyClientCert: certificateRequired,
	} {
		for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
			config := &stdtls.Config{
				Certificates: []stdtls.Certificate{root.issue(t, leafFor("mutual.test"), nil)}, ClientAuth: auth, MinVersion: version, MaxVersion: version,
			}
			fact := factOf(t, New(Options{}), jobFor(serveTLS(t, config), "mutual.test"))
			if got := fact.GetBehaviour().GetClientCertificate(); got != want {
				t.Errorf("%v in %s: %q, want %q", auth, stdtls.VersionName(version), got, want)
			}
		}
	}
}

func TestSessions(t *testing.T) {
	cert := newAuthority(t, "Test Root", nil).issue(t, leafFor("session.test"), nil)
	tests := []struct {
		name   string
		config *stdtls.Config
		want   *modelv1.TlsSession
	}{
		{"tickets of both", &stdtls.Config{}, &modelv1.TlsSession{TicketResumed: true, Tickets: 1, PskSeconds: 604800, PskResumed: true}},
		{"TLS 1.2 alone", &stdtls.Config{MaxVersion: stdtls.VersionTLS12}, &modelv1.TlsSession{TicketResumed: true}},
		{"TLS 1.3 alone", &stdtls.Config{MinVersion: stdtls.VersionTLS13}, &modelv1.TlsSession{Tickets: 1, PskSeconds: 604800, PskResumed: true}},
		{"no tickets", &stdtls.Config{SessionTicketsDisabled: true}, &modelv1.TlsSession{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.config.Certificates = []stdtls.Certificate{cert}
			fact := factOf(t, New(Options{}), jobFor(serveTLS(t, test.config), "session.test"))
			if diff := cmp.Diff(test.want, fact.GetSession(), protocmp.Transform()); diff != "" {
				t.Errorf("session (-want +got):\n%s", diff)
			}
		})
	}
}

// prefixed is a connection whose first bytes were read already.
type prefixed struct {
	net.Conn
	first io.Reader
}

func (p prefixed) Read(b []byte) (int, error) { return p.first.Read(b) }

// A server that sends back more of a session id than it was sent, and one that renegotiates.
func TestAfterTheHandshake(t *testing.T) {
	cert := newAuthority(t, "Test Root", nil).issue(t, leafFor("odd.test"), nil)
	config := &stdtls.Config{Certificates: []stdtls.Certificate{cert}, MaxVersion: stdtls.VersionTLS12}
	bleeding := serve(t, func(conn net.Conn) {
		var read bytes.Buffer
		offered, ok := readHello(io.TeeReader(conn, &read))
		if ok && len(offered.sessionID) == 1 {
			server := legacyServer{ticketbleed: true}
			_, _ = conn.Write(server.flight(versionTLS12, 0xc02b, offered))
			return
		}
		answerTLS(prefixed{conn, io.MultiReader(&read, conn)}, config)
	})
	fact := factOf(t, New(Options{}), jobFor(bleeding, "odd.test"))
	if fact.GetBehaviour().GetSessionIdOverread() != wordYes {
		t.Errorf("behaviour %v, want an overread session id", fact.GetBehaviour())
	}
	for kind, want := range map[byte]string{recordHandshake: wordYes, recordAlert: wordNo, 0: wordNo} {
		renegotiating := serve(t, func(conn net.Conn) {
			if stdtls.Server(conn, config).Handshake() != nil {
				return
			}
			if got, _, ok := readRecord(conn); ok && got == recordHandshake && kind != 0 {
				_, _ = conn.Write(append([]byte{recordData, 3, 3, 0, 1, 0}, append([]byte{kind, 3, 3, 0, 32}, make([]byte, 32)...)...))
			}
		})
		fact := factOf(t, New(Options{}), jobFor(renegotiating, "odd.test"))
		if got := fact.GetBehaviour().GetClientRenegotiation(); got != want {
			t.Errorf("answered by record %d: %q, want %q", kind, got, want)
		}
	}
}

// The second record of a client opens at the other end: the keys are right, for each way to seal.
func TestSeal(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	root := newAuthority(t, "Test Root", nil)
	certs := map[string]stdtls.Certificate{"RSA": root.issue(t, leafFor("seal.test"), key), "ECDSA": root.issue(t, leafFor("seal.test"), nil)}
	for id := range sealings {
		for _, version := range []uint16{versionTLS11, versionTLS12} {
			if !canSeal(version, id) {
				continue
			}
			kind := "RSA"
			if strings.Contains(stdtls.CipherSuiteName(id), "ECDSA") {
				kind = "ECDSA"
			}
			ends := make(chan error, 1)
			addr := serve(t, func(conn net.Conn) {
				server := stdtls.Server(conn, &stdtls.Config{Certificates: []stdtls.Certificate{certs[kind]}, MinVersion: versionTLS10, MaxVersion: version, CipherSuites: []uint16{id}})
				err := server.Handshake()
				if err == nil {
					_, err = server.Read(make([]byte, 1))
				}
				ends <- err
			})
			end, err := newEndpoint(lab(), jobFor(addr, "seal.test"), New(Options{}).limits)
			if err != nil {
				t.Fatal(err)
			}
			s := newSurvey(end, standard)
			if _, err := end.handshake(t.Context(), shake{newest: version, suites: []uint16{id}, after: s.renegotiate}); err != nil {
				t.Fatalf("%s: %v", stdtls.CipherSuiteName(id), err)
			}
			// crypto/tls refuses to renegotiate, which it can do only after it opened the message.
			if said := <-ends; said == nil || strings.Contains(said.Error(), "bad record MAC") || s.behaviour.GetClientRenegotiation() != wordNo {
				t.Errorf("%s in %s: the server says %v; behaviour %v", stdtls.CipherSuiteName(id), versionName(version), said, s.behaviour)
			}
		}
	}
}

// The trace of RFC 8448 section 3 has a ticket with early data.
func TestTicketOfRFC8448(t *testing.T) {
	secret := unhex(t, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
	record := unhex(t, `17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c758db289a015940252f55713e061dc13e078891a38efbcf
5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e09c30ba1e62972ac46f75f7b981be63439b2999ce13064615139891d5e4c5b406f16e3fc181a77ca4758400
25db2f0a77f81b5ab05b94c01346755f69232c86519d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74bc2697687e248746d6df353005f3bce186961
29c8153556b3b6c6779b37bf15985684f`)
	got := tickets13(record, secret, stdtls.TLS_AES_128_GCM_SHA256)
	if len(got) != 1 || got[0] != (ticket13{seconds: 30, earlyData: 1024}) {
		t.Errorf("got %+v, want one ticket of 30 seconds with 1,024 bytes of early data", got)
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	out, err := hex.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whoever sends tickets and key updates without end does not hold the scan.
func TestEndlessPostHandshake(t *testing.T) {
	cert := newAuthority(t, "Test Root", nil).issue(t, leafFor("flood.test"), nil)
	keys := make(secrets)
	config := &stdtls.Config{Certificates: []stdtls.Certificate{cert}, MinVersion: stdtls.VersionTLS13, KeyLogWriter: keys}
	for name, message := range map[string][]byte{
		"key updates":    {24, 0, 0, 1, 0},
		"tickets":        append([]byte{4, 0, 0, 14}, []byte{0, 0, 0, 9, 0, 0, 0, 1, 1, 7, 0, 1, 9, 0}...)[:4+14],
		"requests":       {24, 0, 0, 1, 1},
		"empty messages": {},
	} {
		t.Run(name, func(t *testing.T) {
			written := make(chan int, 64)
			addr := serve(t, func(conn net.Conn) {
				log := make(secrets)
				c := config.Clone()
				c.KeyLogWriter = log
				server := stdtls.Server(conn, c)
				if server.Handshake() != nil {
					return
				}
				written <- flood(conn, log["SERVER_TRAFFIC_SECRET_0"], server.ConnectionState().CipherSuite, message)
			})
			began := time.Now()
			result := scan(t, New(Options{}).withLimits(2*time.Second), jobFor(addr, "flood.test"))
			if len(result.Observations) != 1 || len(result.Observations[0].GetTls().GetChain()) != 1 {
				t.Errorf("got %+v, want what was seen", result)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("the scan took %v", took)
			}
		})
	}
}

// flood sends message in records of their own until the peer is gone or a mebibyte is out; it returns how many were sent. Key
// updates change no key here: the peer is to break off, not to follow.
func flood(conn net.Conn, secret []byte, suiteID uint16, message []byte) int {
	aead, iv := sealer13(secret, suiteID)
	if aead == nil {
		return 0
	}
	sent := 0
	for sequence := uint64(1); sent < 1<<20; sequence++ {
		plain := append(bytes.Clone(message), recordHandshake)
		header := []byte{recordData, 3, 3, 0, byte(len(plain) + aead.Overhead())}
		out := aead.Seal(header, nonceOf(iv, sequence), plain, header)
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := conn.Write(out)
		sent += n
		if err != nil {
			return sent
		}
	}
	return sent
}

// sealer13 is opener13 from the other side.
func sealer13(secret []byte, suiteID uint16) (aead cipher.AEAD, iv []byte) {
	h, size := sha256.New, 16
	if suiteID == stdtls.TLS_AES_256_GCM_SHA384 {
		h, size = sha512.New384, 32
	}
	if suiteID == stdtls.TLS_CHACHA20_POLY1305_SHA256 {
		size = 32
	}
	key, _ := expandLabel(h, secret, "key", size)
	iv, _ = expandLabel(h, secret, "iv", 12)
	if suiteID == stdtls.TLS_CHACHA20_POLY1305_SHA256 {
		aead, _ = chacha20poly1305.New(key)
	} else {
		aead, _ = newGCM(key)
	}
	return aead, iv
}

func TestStoresAreMozillas(t *testing.T) {
	roots := trustStores(nil)
	if roots.mozilla.Equal(x509.NewCertPool()) || !roots.extra.Equal(x509.NewCertPool()) {
		t.Error("want Mozilla's roots, and no others")
	}
}
