package dns

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// selfSigned makes a certificate for a name.
func selfSigned(t testing.TB, name string, until time.Time) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, parsed
}

func TestMTASTS(t *testing.T) {
	const zone = top + "z.test. MX 10 mx1.z.test.\nz.test. MX 20 mx2.z.test.\nmx1.z.test. A 192.0.2.1\nmx2.z.test. A 192.0.2.1\nmta-sts.z.test. A 127.0.0.1\n"
	const record = `_mta-sts.z.test. TXT "v=STSv1; id=1"`
	const good = "version: STSv1\r\nmode: enforce\r\nmax_age: 1209600\r\nmx: mx1.z.test\r\nmx: *.z.test\r\n"
	soon := time.Now().Add(24 * time.Hour)
	tests := []struct {
		name    string
		records string
		body    string
		kind    string
		status  int
		cert    string
		until   time.Time
		trusted bool
		want    *modelv1.MtaSts
	}{
		{"good", record, good, "text/plain", 200, "mta-sts.z.test", soon, true, &modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_OK, Mode: "enforce", MaxAge: 1209600}},
		{"a private authority", record, good, "text/plain", 200, "mta-sts.z.test", soon, false,
			&modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_OK, Mode: "enforce", MaxAge: 1209600, CertificateError: "not from a certification authority"}},
		{"expired", record, good, "text/plain", 200, "mta-sts.z.test", time.Now().Add(-time.Hour), true,
			&modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_OK, Mode: "enforce", MaxAge: 1209600, CertificateError: "expired"}},
		{"another name", record, good, "text/plain", 200, "www.z.test", soon, true,
			&modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_OK, Mode: "enforce", MaxAge: 1209600, CertificateError: "another name"}},
		{"a redirect", record, "", "text/plain", 301, "mta-sts.z.test", soon, true, &modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_STATUS, Status: 301}},
		{"not there", record, "gone", "text/plain", 404, "mta-sts.z.test", soon, true, &modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_STATUS, Status: 404}},
		{"an exchanger is missing", record, "version: STSv1\nmode: enforce\nmax_age: 86400\nmx: mx1.z.test\n", "text/plain; charset=utf-8", 200, "mta-sts.z.test", soon, true,
			&modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_OK, Mode: "enforce", MaxAge: 86400, MxMissing: []string{"mx2.z.test"}}},
		{"HTML", record, good, "text/html", 200, "mta-sts.z.test", soon, true,
			&modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_OK, Mode: "enforce", MaxAge: 1209600, PolicyError: "media type"}},
		{"no exchanger", record, "version: STSv1\nmode: testing\nmax_age: 1\n", "text/plain", 200, "mta-sts.z.test", soon, true,
			&modelv1.MtaSts{Records: 1, Fetch: modelv1.MtaSts_FETCH_OK, Mode: "testing", MaxAge: 1, PolicyError: "names no mail exchanger", MxMissing: []string{"mx1.z.test", "mx2.z.test"}}},
		{"no record", "", good, "text/plain", 200, "mta-sts.z.test", soon, true, &modelv1.MtaSts{}},
		{"two records", record + "\n" + strings.Replace(record, "id=1", "id=2", 1), good, "text/plain", 200, "mta-sts.z.test", soon, true, &modelv1.MtaSts{Records: 2}},
		{"a broken id", `_mta-sts.z.test. TXT "v=STSv1; id=2026-01-01"`, good, "text/plain", 200, "mta-sts.z.test", soon, true,
			&modelv1.MtaSts{Records: 1, Error: "the id is not", Fetch: modelv1.MtaSts_FETCH_OK, Mode: "enforce", MaxAge: 1209600}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			own, parsed := selfSigned(t, test.cert, test.until)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/.well-known/mta-sts.txt" || !strings.HasPrefix(r.Host, "mta-sts.z.test") {
					t.Errorf("asked for %s%s", r.Host, r.URL.Path)
				}
				w.Header().Set("Content-Type", test.kind)
				w.Header().Set("Location", "https://elsewhere.test/")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
			server.StartTLS()
			defer server.Close()
			port := netip.MustParseAddrPort(server.Listener.Addr().String()).Port()
			w := newWorld(t, zone+test.records+fmt.Sprintf("\nmta-sts.z.test. HTTPS 1 . port=%d\n", port))
			p := probeFor(t, w, nil)
			p.roots = func() *x509.CertPool {
				pool := x509.NewCertPool()
				if test.trusted {
					pool.AddCert(parsed)
				}
				return pool
			}
			_, mail, _ := facts(run(t, p, jobFor(domain, "z.test")))
			got, want := mail.GetSts(), test.want
			if got.GetRecords() != want.GetRecords() || got.GetFetch() != want.GetFetch() || got.GetMode() != want.GetMode() || got.GetMaxAge() != want.GetMaxAge() ||
				!slices.Equal(got.GetMxMissing(), want.GetMxMissing()) || want.GetStatus() != 0 && got.GetStatus() != want.GetStatus() {
				t.Errorf("got %v, want %v", got, want)
			}
			for what, pair := range map[string][2]string{
				"error": {got.GetError(), want.GetError()}, "certificate": {got.GetCertificateError(), want.GetCertificateError()}, "policy": {got.GetPolicyError(), want.GetPolicyError()},
			} {
				if (pair[0] == "") != (pair[1] == "") || !strings.Contains(pair[0], pair[1]) {
					t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
				}
			}
		})
	}
}

func TestPolicyHostThatIsGone(t *testing.T) {
	const zone = top + "z.test. MX 10 mx1.z.test.\nmx1.z.test. A 192.0.2.1\n_mta-sts.z.test. TXT \"v=STSv1; id=1\"\n"
	_, mail, _ := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "z.test")))
	if mail.GetSts().GetFetch() != modelv1.MtaSts_FETCH_NO_HOST {
		t.Errorf("got %v", mail.GetSts())
	}
	p := probeFor(t, newWorld(t, zone+"mta-sts.z.test. A 127.0.0.1\n"), nil)
	p.webPorts = [2]uint16{1, 1}
	_, mail, _ = facts(run(t, p, jobFor(domain, "z.test")))
	if mail.GetSts().GetFetch() != modelv1.MtaSts_FETCH_UNREACHABLE {
		t.Errorf("got %v", mail.GetSts())
	}
}

func TestCovers(t *testing.T) {
	for _, test := range []struct {
		pattern, host string
		want          bool
	}{
		{"mx.a.test", "mx.a.test", true}, {"*.a.test", "mx.a.test", true}, {"*.a.test", "x.mx.a.test", false}, {"*.a.test", "a.test", false},
		{"mx.a.test", "mx.b.test", false}, {"*.test", "a.test", true},
	} {
		if got := covers([]string{test.pattern}, test.host); got != test.want {
			t.Errorf("%s for %s: %t", test.pattern, test.host, got)
		}
	}
}

// mailServer plays SMTP with STARTTLS on a loopback address and returns its port.
func mailServer(t *testing.T, own tls.Certificate, talk func(net.Conn, *bufio.Reader) bool) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if talk(conn, bufio.NewReader(conn)) {
				_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{own}}).Handshake()
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// polite is an exchanger as it should be, up to TLS.
func polite(conn net.Conn, r *bufio.Reader) bool {
	for _, reply := range []string{"220-hello\r\n220 mx ready\r\n", "250-mx\r\n250 STARTTLS\r\n", "220 go\r\n"} {
		if _, err := io.WriteString(conn, reply); err != nil {
			return false
		}
		if strings.HasPrefix(reply, "220 go") {
			return true
		}
		if _, err := r.ReadString('\n'); err != nil {
			return false
		}
	}
	return false
}

func TestDANE(t *testing.T) {
	own, parsed := selfSigned(t, "mx.z.test", time.Now().Add(24*time.Hour))
	key := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	all := sha256.Sum256(parsed.Raw)
	right, wrong := hex.EncodeToString(key[:]), strings.Repeat("00", 32)
	silent := func(conn net.Conn, _ *bufio.Reader) bool {
		_, _ = io.WriteString(conn, "554 go away\r\n")
		return false
	}
	const none, fits, differs = modelv1.Dane_MATCH_UNSPECIFIED, modelv1.Dane_MATCH_FITS, modelv1.Dane_MATCH_DIFFERS
	tests := []struct {
		name, tlsa string
		talk       func(net.Conn, *bufio.Reader) bool
		signed     bool
		match      modelv1.Dane_Match
		problem    string
	}{
		{"the key", "3 1 1 " + right, polite, true, fits, ""},
		{"the certificate", "3 0 1 " + hex.EncodeToString(all[:]), polite, true, fits, ""},
		{"the whole certificate", "3 0 0 " + hex.EncodeToString(parsed.Raw), polite, true, fits, ""},
		{"the issuer", "2 1 1 " + right, polite, true, fits, ""},
		{"another key", "3 1 1 " + wrong, polite, true, differs, ""},
		{"not signed", "3 1 1 " + right, polite, false, fits, ""},
		{"no TLS", "3 1 1 " + right, silent, true, none, ""},
		{"PKIX usage", "1 1 1 " + right, polite, true, differs, "usages 0 and 1"},
		{"no such usage", "7 1 1 " + right, polite, true, differs, "usage 7"},
		{"no such selector", "3 2 1 " + right, polite, true, differs, "selector 2"},
		{"no such matching type", "3 1 9 " + right, polite, true, differs, "matching type 9"},
		{"a short digest", "3 1 1 abcd", polite, true, differs, "wrong length"},
		{"a broken certificate", "3 0 0 abcd", polite, true, differs, "cannot be read"},
		{"none", "", polite, true, none, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, anchors := signedWorld(t)
			if !test.signed {
				delete(w.names["z.test."], mdns.TypeDS)
			}
			lines := "z.test. MX 10 mx.z.test.\nmx.z.test. A 127.0.0.1\n"
			if test.tlsa != "" {
				lines += "_25._tcp.mx.z.test. TLSA " + test.tlsa + "\n"
			}
			for line := range strings.Lines(lines) {
				rr, err := mdns.NewRR(line)
				if err != nil {
					t.Fatal(err)
				}
				w.add(rr)
			}
			p := probeFor(t, w, nil)
			p.anchors = func() []*mdns.DS { return anchors }
			p.mailPort = mailServer(t, own, test.talk)
			_, mail, _ := facts(run(t, p, jobFor(domain, "z.test")))
			got := mail.GetExchangers()[0].GetDane()
			if got.GetMatch() != test.match || !strings.Contains(got.GetError(), test.problem) || (got.GetError() == "") != (test.problem == "") ||
				got.GetSigned() != (test.signed && test.tlsa != "") {
				t.Errorf("got %v, want %+v", got, test)
			}
		})
	}
}

// Usage 3 means the exchanger's own certificate and usage 2 one above it (RFC 7672 section 3.1).
func TestPins(t *testing.T) {
	_, leaf := selfSigned(t, "mx.z.test", time.Now().Add(time.Hour))
	_, issuer := selfSigned(t, "ca.test", time.Now().Add(time.Hour))
	chain := []*x509.Certificate{leaf, issuer}
	digest := func(c *x509.Certificate) string {
		sum := sha256.Sum256(c.Raw)
		return hex.EncodeToString(sum[:])
	}
	for _, test := range []struct {
		usage uint8
		of    *x509.Certificate
		want  bool
	}{{3, leaf, true}, {3, issuer, false}, {2, issuer, true}, {1, leaf, false}, {0, issuer, false}} {
		if got := pins(&mdns.TLSA{Usage: test.usage, MatchingType: 1, Certificate: digest(test.of)}, chain); got != test.want {
			t.Errorf("usage %d of %s: %t", test.usage, test.of.Subject, got)
		}
	}
}

func TestMailHosts(t *testing.T) {
	const zone = top + `
z.test. MX 0 .
z.test. MX 10 alias.z.test.
z.test. MX 20 void.z.test.
z.test. MX 30 192.0.2.1.
z.test. MX 40 good.z.test.
alias.z.test. CNAME good.z.test.
void.z.test. TXT x
good.z.test. A 192.0.2.9
`
	_, mail, _ := facts(run(t, probeFor(t, newWorld(t, zone), nil), jobFor(domain, "z.test")))
	got := map[string]*modelv1.MxHost{}
	for _, one := range mail.GetExchangers() {
		got[one.GetHost()] = one
	}
	if !mail.GetNullMx() || !mail.GetHasMx() || !got["alias.z.test"].GetAlias() || got["good.z.test"].GetAlias() || !got["192.0.2.1"].GetLiteral() ||
		len(got["void.z.test"].GetAddresses()) != 0 || got["void.z.test"].GetRcode() != "NOERROR" || len(got["good.z.test"].GetAddresses()) != 1 {
		t.Errorf("got %v", mail)
	}
}
