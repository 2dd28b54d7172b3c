package tls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// memory keeps evidence for the length of one test.
type memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

func (m *memory) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blobs == nil {
		m.blobs = make(map[string][]byte)
	}
	sum := sha256.Sum256(data)
	key := kind + "/" + hex.EncodeToString(sum[:])
	m.blobs[key] = slices.Clone(data)
	return &modelv1.Evidence{Blob: key}, nil
}

func lab() probes.Env {
	return probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Blobs: &memory{}}
}

// jobFor asks for the endpoint at addr, by the name host if it has one.
func jobFor(addr net.Addr, host string) *modelv1.ScanJob {
	at := addr.(*net.TCPAddr)
	target := &modelv1.Target{
		Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: at.IP.String(), Host: host, Address: at.IP.String(), Port: uint32(at.Port), Tls: true,
	}
	if host != "" {
		target.Kind, target.Value = modelv1.AssetKind_ASSET_KIND_HOST, host
	}
	return &modelv1.ScanJob{ScanType: modelv1.ScanType_SCAN_TYPE_TLS, Target: target, Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD}}
}

func scan(t testing.TB, p *Probe, job *modelv1.ScanJob) *probes.Result {
	t.Helper()
	result, err := p.Scan(t.Context(), lab(), job)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return result
}

// factOf scans and wants a complete result with one fact.
func factOf(t testing.TB, p *Probe, job *modelv1.ScanJob) *modelv1.TlsFact {
	t.Helper()
	result := scan(t, p, job)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) != 1 {
		t.Fatalf("got %v (%s) with %d observations, want a complete scan with one", result.Outcome, result.Reason, len(result.Observations))
	}
	return result.Observations[0].GetTls()
}

// quickLimits are limits that a test can wait for.
func (p *Probe) withLimits(every time.Duration) *Probe {
	p.limits = limits{dial: every, quickDial: every, handshake: every, settle: min(every, 200*time.Millisecond)}
	return p
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, name string, parent *authority) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour),
		NotAfter: time.Now().Add(1000 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer, by := crypto.Signer(key), template
	if parent != nil {
		signer, by = parent.key, parent.cert
	}
	return &authority{cert: create(t, template, by, key.Public(), signer), key: key}
}

func create(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// leafFor is a template of a server certificate for name, valid for 90 days of which 10 are over.
func leafFor(name string) *x509.Certificate {
	start := time.Now().Add(-10 * 24 * time.Hour).Truncate(time.Second)
	return &x509.Certificate{
		SerialNumber: big.NewInt(0x1234), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   start, NotAfter: start.Add(90*24*time.Hour - time.Second), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// issue signs template for key (nil: a new one) and returns it for a server, followed by the certificates above it.
func (a *authority) issue(t testing.TB, template *x509.Certificate, key crypto.Signer, above ...*x509.Certificate) stdtls.Certificate {
	t.Helper()
	if key == nil {
		key = newKey(t)
	}
	cert := create(t, template, a.cert, key.Public(), a.key)
	out := stdtls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
	for _, c := range above {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

// selfSign signs template with its own key.
func selfSign(t testing.TB, template *x509.Certificate, key crypto.Signer) stdtls.Certificate {
	t.Helper()
	cert := create(t, template, template, key.Public(), key)
	return stdtls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// serve runs handle for every connection to a loopback port until the test ends, and waits for all of them.
func serve(t testing.TB, handle func(net.Conn)) net.Addr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			all.Go(func() {
				defer func() {
					_ = conn.Close()
					mu.Lock()
					delete(open, conn)
					mu.Unlock()
				}()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return listener.Addr()
}

// serveTLS completes handshakes with config and waits for the client to leave.
func serveTLS(t testing.TB, config *stdtls.Config) net.Addr {
	t.Helper()
	return serve(t, func(conn net.Conn) { answerTLS(conn, config) })
}

func answerTLS(conn net.Conn, config *stdtls.Config) {
	server := stdtls.Server(conn, config)
	if server.Handshake() == nil {
		_, _ = server.Read(make([]byte, 1))
	}
}

func pkixExtension(id asn1.ObjectIdentifier, value []byte) pkix.Extension {
	return pkix.Extension{Id: id, Value: value}
}
