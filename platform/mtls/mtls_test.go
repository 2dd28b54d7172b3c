package mtls_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
)

// buffer is a log that several goroutines write to.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// authority makes one for a test.
func authority(t testing.TB) *mtls.Authority {
	t.Helper()
	a, err := mtls.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue writes a certificate of an authority and returns where it lies.
func issue(t testing.TB, a *mtls.Authority, from, to time.Duration, services ...string) mtls.Files {
	t.Helper()
	cert, key, err := a.Issue(services, time.Now().Add(from), time.Now().Add(to))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := mtls.Files{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k"), CA: filepath.Join(dir, "a")}
	put(t, f.Cert, cert)
	put(t, f.Key, key)
	put(t, f.CA, a.PEM())
	return f
}

// put replaces a file as a whole, as tools that renew certificates do.
func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func open(t testing.TB, f mtls.Files, services ...string) (*mtls.Source, *buffer) {
	t.Helper()
	log := &buffer{}
	s, err := mtls.Open(mtls.Options{Files: f, Services: services, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

// pair is a certificate for a client that is made by hand, with no checks of its own.
func pair(t testing.TB, f mtls.Files) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve takes one connection with gRPC credentials of s and returns its address and how the handshake ended.
func serve(t testing.TB, s *mtls.Source) (string, <-chan error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ended := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		secured, _, err := s.ServerCredentials().ServerHandshake(conn)
		if err == nil {
			_, err = secured.Write([]byte("x"))
			_ = secured.Close()
		}
		_ = conn.Close()
		ended <- err
	}()
	return l.Addr().String(), ended
}

// dial connects and reads what the server sends once it has taken the connection.
func dial(t testing.TB, address string, c *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: c}
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn.(*tls.Conn).ConnectionState(), err
}

// TestServerRefuses shows whom a server takes, and that each refusal is one line in its log.
func TestServerRefuses(t *testing.T) {
	a := authority(t)
	good := issue(t, a, -time.Hour, time.Hour, "scanner")
	hand := byHandAuthority(t)
	by := func(f mtls.Files) func() *tls.Config {
		return func() *tls.Config { return byHand(pair(t, f)) }
	}
	for name, c := range map[string]struct {
		client func() *tls.Config
		reason string // in the server's log; "" if the connection is taken
	}{
		"a service":         {by(good), ""},
		"another authority": {by(issue(t, authority(t), -time.Hour, time.Hour, "scanner")), "the certificate of spiffe://riskprofiler/scanner is not of an authority that is believed here"},
		"expired":           {by(issue(t, a, -2*time.Hour, -time.Hour, "scanner")), "the certificate of spiffe://riskprofiler/scanner expired on 20"},
		"not valid yet":     {by(issue(t, a, time.Hour, 2*time.Hour, "scanner")), "the certificate of spiffe://riskprofiler/scanner is not valid before 20"},
		"no certificate":    {func() *tls.Config { return byHand() }, "client didn't provide a certificate"},
		"signed by itself":  {func() *tls.Config { return byHand(custom(t, nil, usable, mtls.URI("scanner"))) }, "is not of an authority that is believed here"},
		"no service":        {func() *tls.Config { return byHand(custom(t, hand, usable)) }, "the certificate names 0 services"},
		"no service of ours": {func() *tls.Config {
			return byHand(custom(t, hand, usable, &url.URL{Scheme: "https", Host: "riskprofiler", Path: "/scanner"}))
		}, "the certificate names \\\"https://riskprofiler/scanner\\\""},
		"not made for clients":    {func() *tls.Config { return byHand(custom(t, hand, x509.ExtKeyUsageServerAuth, mtls.URI("scanner"))) }, "incompatible key usage"},
		"TLS 1.2":                 {func() *tls.Config { c := byHand(pair(t, good)); c.MaxVersion = tls.VersionTLS12; return c }, "client offered only unsupported versions"},
		"another protocol":        {func() *tls.Config { c := byHand(pair(t, good)); c.NextProtos = []string{"http/1.1"}; return c }, "missing selected ALPN property"},
		"somebody else's own key": {func() *tls.Config { p := pair(t, good); p.PrivateKey = freshKey(t); return byHand(p) }, "invalid signature by the client certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			f := issue(t, a, -time.Hour, time.Hour, "ingest")
			put(t, f.CA, slices.Concat(a.PEM(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hand.Certificate[0]})))
			s, log := open(t, f, "ingest")
			address, ended := serve(t, s)
			_, err := dial(t, address, c.client())
			serverErr := <-ended
			if c.reason == "" {
				if err != nil || serverErr != nil {
					t.Fatalf("refused: %v, %v", err, serverErr)
				}
				return
			}
			if err == nil || serverErr == nil {
				t.Fatalf("taken: client %v, server %v", err, serverErr)
			}
			if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 1 || !strings.Contains(lines[0], c.reason) || !strings.Contains(lines[0], "connection refused") {
				t.Errorf("the log says %q, want one line with %q", log, c.reason)
			}
		})
	}
}

// byHand is a client that shows certificates and believes everything.
func byHand(certs ...tls.Certificate) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if len(certs) > 0 {
		// Certificates would be filtered by the authorities that the server names.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	return c
}

func freshKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// usable is what clients' certificates are made for.
const usable = x509.ExtKeyUsageClientAuth

// byHandAuthority makes an authority that signs anything.
func byHandAuthority(t testing.TB) *tls.Certificate {
	t.Helper()
	key := freshKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "by hand"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// custom is a certificate that [mtls.Authority.Issue] would not make, by an authority or, if there is none, by itself.
func custom(t testing.TB, by *tls.Certificate, usage x509.ExtKeyUsage, uris ...*url.URL) tls.Certificate {
	t.Helper()
	key := freshKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: uris, ExtKeyUsage: []x509.ExtKeyUsage{usage}, Subject: pkix.Name{CommonName: "custom"},
	}
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestClientRefuses shows which servers a client talks to.
func TestClientRefuses(t *testing.T) {
	a := authority(t)
	for name, c := range map[string]struct {
		server tls.Certificate
		reason string
	}{
		"the service":             {pair(t, issue(t, a, -time.Hour, time.Hour, "ingest")), ""},
		"one of its services":     {pair(t, issue(t, a, -time.Hour, time.Hour, "scheduler", "ingest")), ""},
		"another service":         {pair(t, issue(t, a, -time.Hour, time.Hour, "scanner")), "the server is spiffe://riskprofiler/scanner and not spiffe://riskprofiler/ingest"},
		"another authority":       {pair(t, issue(t, authority(t), -time.Hour, time.Hour, "ingest")), "spiffe://riskprofiler/ingest is not of an authority that is believed here"},
		"expired":                 {pair(t, issue(t, a, -2*time.Hour, -time.Hour, "ingest")), "the certificate of spiffe://riskprofiler/ingest expired on 20"},
		"no authority, same name": {custom(t, nil, x509.ExtKeyUsageServerAuth, mtls.URI("ingest")), "is not of an authority that is believed here"},
	} {
		t.Run(name, func(t *testing.T) {
			s, log := open(t, issue(t, a, -time.Hour, time.Hour, "scanner"), "scanner")
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.server}, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			go func() {
				if conn, err := l.Accept(); err == nil {
					_, _ = conn.Write([]byte("x"))
					_ = conn.Close()
				}
			}()
			_, err = dial(t, l.Addr().String(), s.Client("ingest"))
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
			if n := strings.Count(log.String(), "connection given up"); n != 1 {
				t.Errorf("%d lines in the log: %s", n, log)
			}
		})
	}
}

// TestRotation replaces certificates, authorities and half of them while a server and a client are in use.
func TestRotation(t *testing.T) {
	a := authority(t)
	server, client := issue(t, a, -time.Hour, time.Hour, "ingest"), issue(t, a, -time.Hour, time.Hour, "scanner")
	s, serverLog := open(t, server, "ingest")
	c, _ := open(t, client, "scanner")
	connect := func() (string, error) {
		address, ended := serve(t, s)
		state, err := dial(t, address, c.Client("ingest"))
		if err = errors.Join(err, <-ended); err != nil {
			return "", err
		}
		return state.PeerCertificates[0].SerialNumber.String(), nil
	}
	must := func() string {
		t.Helper()
		serial, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		return serial
	}
	replace := func(to, from mtls.Files) {
		put(t, to.Key, get(t, from.Key))
		put(t, to.Cert, get(t, from.Cert))
		put(t, to.CA, get(t, from.CA))
	}
	first := must()
	if again := must(); again != first {
		t.Fatal("another certificate without a reason")
	}

	// Half: the new key without its certificate. The pair before stays, and is told once.
	next := issue(t, a, -time.Hour, time.Hour, "ingest")
	put(t, server.Key, get(t, next.Key))
	for range 2 {
		if must() != first {
			t.Error("half a pair replaced the certificate")
		}
	}
	if n := strings.Count(serverLog.String(), "certificate not replaced"); n != 1 {
		t.Errorf("%d lines about the half pair: %s", n, serverLog)
	}
	put(t, server.Cert, get(t, next.Cert))
	second := must()
	if second == first {
		t.Error("the certificate was not replaced")
	}

	// A certificate of somebody else, and garbage, do not replace it.
	replace(server, issue(t, a, -time.Hour, time.Hour, "scanner"))
	if must() != second {
		t.Error("the certificate of another service was taken")
	}
	put(t, server.Cert, []byte("garbage"))
	if must() != second {
		t.Error("garbage was taken")
	}
	if err := os.Remove(server.Cert); err != nil {
		t.Fatal(err)
	}
	if must() != second {
		t.Error("no file was taken")
	}

	// Another authority: believed by nobody until both sides have it.
	b := authority(t)
	replace(server, issue(t, b, -time.Hour, time.Hour, "ingest"))
	if _, err := connect(); err == nil {
		t.Error("the client believes an authority that it does not know")
	}
	replace(client, issue(t, b, -time.Hour, time.Hour, "scanner"))
	if must() == second {
		t.Error("the authority was not replaced")
	}
}

// TestOpen shows that a wrong setting is one line that names the file and what to do.
func TestOpen(t *testing.T) {
	a := authority(t)
	good := issue(t, a, -time.Hour, time.Hour, "ingest")
	with := func(change func(f *mtls.Files)) mtls.Files {
		f := issue(t, a, -time.Hour, time.Hour, "ingest")
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		files mtls.Files
		say   []string
	}{
		"good":              {good, nil},
		"texts":             {texts(t, good), nil},
		"a broken text":     {with(func(f *mtls.Files) { *f = texts(t, *f); f.Key = strings.Replace(f.Key, "PRIVATE", "SECRET", 1) }), []string{"certificate in the settings with key in the settings"}},
		"no file":           {with(func(f *mtls.Files) { f.Cert += "x" }), []string{"cx: no such file", "RISKPROFILER_TLS_CERT"}},
		"other key":         {with(func(f *mtls.Files) { f.Key = issue(t, a, -time.Hour, time.Hour, "ingest").Key }), []string{"does not match", "the key it was made for"}},
		"open key":          {with(func(f *mtls.Files) { _ = os.Chmod(f.Key, 0o644) }), []string{"mode 0644", "chmod 600"}},
		"no authority":      {with(func(f *mtls.Files) { f.CA = f.Cert }), []string{"no certificate of an authority"}},
		"empty authority":   {with(func(f *mtls.Files) { put(t, f.CA, nil) }), []string{"no certificate in PEM"}},
		"too large":         {with(func(f *mtls.Files) { put(t, f.CA, make([]byte, 1<<20)) }), []string{"more than 262144 bytes"}},
		"expired":           {issue(t, a, -2*time.Hour, -time.Hour, "ingest"), []string{"expired on 20", "issue a new one"}},
		"other service":     {issue(t, a, -time.Hour, time.Hour, "scanner"), []string{"that of spiffe://riskprofiler/scanner", "issue one for spiffe://riskprofiler/ingest"}},
		"unknown authority": {with(func(f *mtls.Files) { put(t, f.CA, authority(t).PEM()) }), []string{"not of an authority that is believed here"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mtls.Open(mtls.Options{Files: c.files, Services: []string{"ingest"}})
			if c.say == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "-----") || !errors.Is(err, fault.FailedPrecondition) {
				t.Fatalf("got %v", err)
			}
			for _, s := range c.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

// texts are files as texts.
func texts(t testing.TB, f mtls.Files) mtls.Files {
	t.Helper()
	return mtls.Files{Cert: string(get(t, f.Cert)), Key: string(get(t, f.Key)), CA: string(get(t, f.CA))}
}

// TestServices shows which certificates name services.
func TestServices(t *testing.T) {
	parse := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, c := range []struct{ uris, want string }{
		{"spiffe://riskprofiler/ingest", "ingest"},
		{"spiffe://riskprofiler/scheduler spiffe://riskprofiler/workflow spiffe://riskprofiler/scheduler", "scheduler workflow"},
		{"", ""},
		{"spiffe://riskprofiler/ingest https://example.com/", ""},
		{"spiffe://riskprofiler.example/ingest", ""},
		{"spiffe://riskprofiler:443/ingest", ""},
		{"spiffe://user@riskprofiler/ingest", ""},
		{"spiffe://riskprofiler/ingest?x", ""},
		{"spiffe://riskprofiler/ingest#x", ""},
		{"spiffe://riskprofiler/ingest/", ""},
		{"spiffe://riskprofiler/a/b", ""},
		{"spiffe://riskprofiler/%69ngest", ""},
		{"spiffe://riskprofiler/Ingest", ""},
		{"spiffe://riskprofiler/", ""},
		{"spiffe://riskprofiler", ""},
		{"spiffe:ingest", ""},
	} {
		cert := &x509.Certificate{}
		for _, u := range strings.Fields(c.uris) {
			cert.URIs = append(cert.URIs, parse(u))
		}
		got, err := mtls.Services(cert)
		if strings.Join(got, " ") != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %v, %v", c.uris, got, err)
		}
	}
}

// TestURIRoundTrip: what a service's identity is written as is read as that service.
func TestURIRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z][a-z0-9-]{0,20}`).Draw(t, "service")
		got, err := mtls.Services(&x509.Certificate{URIs: []*url.URL{mtls.URI(name)}})
		if err != nil || len(got) != 1 || got[0] != name {
			t.Fatalf("%q: %v, %v", name, got, err)
		}
	})
}

// FuzzServices: no URI but the identity of a service is taken as one.
func FuzzServices(f *testing.F) {
	f.Add("spiffe://riskprofiler/ingest")
	f.Add("spiffe://riskprofiler/ingest/../gateway")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		got, err := mtls.Services(&x509.Certificate{URIs: []*url.URL{u}})
		if err == nil && u.String() != "spiffe://riskprofiler/"+got[0] {
			t.Fatalf("%q is %v", s, got)
		}
	})
}

// TestWriteDir shows that what it writes works, is the owner's only, and is renewed by the same call under the same
// authority.
func TestWriteDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	holders := map[string][]string{"scheduler": {"scheduler", "workflow"}, "ingest": {"ingest"}}
	for range 2 {
		if err := mtls.WriteDir(dir, holders, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := open(t, mtls.In(dir, "ingest"), "ingest")
	c, _ := open(t, mtls.In(dir, "scheduler"), "scheduler", "workflow")
	address, ended := serve(t, s)
	if _, err := dial(t, address, c.Client("ingest")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{mtls.In(dir, "ingest").Key, filepath.Join(dir, "ca", "ca.key")} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for name, bad := range map[string]map[string][]string{
		"a holder outside":    {"../x": {"ingest"}},
		"the authority's":     {"ca": {"ingest"}},
		"no service":          {"ingest": nil},
		"no name":             {"ingest": {"In/gest"}},
		"more than it speaks": {"": {"ingest"}},
	} {
		if err := mtls.WriteDir(dir, bad, time.Hour); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := mtls.WriteDir(dir, holders, 20*365*24*time.Hour); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("longer than the authority: %v", err)
	}
	put(t, filepath.Join(dir, "ca", "ca.key"), get(t, mtls.In(dir, "ingest").Key))
	if err := mtls.WriteDir(dir, holders, time.Hour); err == nil || !strings.Contains(err.Error(), "its key is not the certificate's") {
		t.Errorf("another key: %v", err)
	}
}

// TestIdentities: a call that did not come over mutual TLS belongs to nobody.
func TestIdentities(t *testing.T) {
	if got, err := mtls.Identities(context.Background()); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestAuthorityIsBound: an authority made here cannot vouch for anything outside of the trust domain.
func TestAuthorityIsBound(t *testing.T) {
	dir := t.TempDir()
	if err := mtls.WriteDir(dir, mtls.Holders("ingest"), time.Hour); err != nil {
		t.Fatal(err)
	}
	ca, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca", "ca.crt"), filepath.Join(dir, "ca", "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := custom(t, &ca, usable, &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/ingest"})
	leaf, err := x509.ParseCertificate(elsewhere.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usable}}); err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("got %v", err)
	}
}
