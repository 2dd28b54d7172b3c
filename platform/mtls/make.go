package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY" // PKCS #8

	// authorityLifetime is how long an authority for one machine lives.
	authorityLifetime = 5 * 365 * 24 * time.Hour
	// backdated is for machines whose clocks differ.
	backdated = 5 * time.Minute
)

// The names of the files that [WriteDir] makes: one folder a service with these three, and the authority's.
const (
	CertFile     = "tls.crt"
	KeyFile      = "tls.key"
	CAFile       = "ca.crt"
	AuthorityDir = "ca"
	caKeyFile    = "ca.key"
)

// Authority issues certificates for services. It is for one machine and for tests: its key lies in a file or in memory.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// NewAuthority makes an authority that may sign for this trust domain only (name constraint, RFC 5280, section 4.2.1.10).
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "make authority")
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "RiskProfiler services"},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(authorityLifetime),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true, PermittedURIDomains: []string{TrustDomain},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "make authority")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "make authority")
	}
	return &Authority{cert: cert, key: key}, nil
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: a.cert.Raw})
}

// Issue makes a certificate that speaks for services from start to end, and its key, both in PEM.
func (a *Authority) Issue(services []string, start, end time.Time) (cert, key []byte, err error) {
	if len(services) == 0 {
		return nil, nil, fault.New(fault.Invalid, "issue certificate: no service is named")
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: services[0]},
		NotBefore: start, NotAfter: end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, s := range services {
		if !ValidService(s) {
			return nil, nil, fault.New(fault.Invalid, "issue certificate: %q is no service name", s)
		}
		template.URIs = append(template.URIs, URI(s))
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, err, "issue certificate")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, k.Public(), a.key)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Internal, err, "issue certificate")
	}
	keyPEM, err := encodeKey(k)
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}), keyPEM, err
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encode key")
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// In are the files of a service below a directory of [WriteDir].
func In(dir, service string) Files {
	at := func(name string) string { return filepath.Join(dir, service, name) }
	return Files{Cert: at(CertFile), Key: at(KeyFile), CA: at(CAFile)}
}

// WriteDir writes a certificate for each holder below dir, in a folder of the holder's name, good for lifetime from now.
// A holder speaks for the services listed. The authority is that in dir/ca; it is made if there is none. Certificates that
// are there are replaced, so the same call again renews all of them, and services that run take them.
func WriteDir(dir string, holders map[string][]string, lifetime time.Duration) error {
	a, err := openAuthority(filepath.Join(dir, AuthorityDir))
	if err != nil {
		return err
	}
	now := time.Now()
	end := now.Add(lifetime)
	if end.After(a.cert.NotAfter) {
		return fault.New(fault.FailedPrecondition, "issue certificates until %s: the authority in %s ends before, on %s; ask for less, or remove it to make another one",
			end.UTC().Format(time.DateOnly), filepath.Join(dir, AuthorityDir), a.cert.NotAfter.UTC().Format(time.DateOnly))
	}
	for holder, services := range holders {
		cert, key, err := a.Issue(services, now.Add(-backdated), end)
		if err != nil {
			return err
		}
		if !ValidService(holder) || holder == AuthorityDir {
			return fault.New(fault.Invalid, "issue certificate: %q is no service name", holder)
		}
		f := In(dir, holder)
		if err := writeAll(filepath.Dir(f.Cert), file{f.CA, a.PEM(), 0o644}, file{f.Key, key, 0o600}, file{f.Cert, cert, 0o644}); err != nil {
			return err
		}
	}
	return nil
}

func openAuthority(dir string) (*Authority, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, CAFile))
	if errors.Is(err, fs.ErrNotExist) {
		return createAuthority(dir)
	}
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "read the authority in %s: %s", dir, cause(err))
	}
	keyPEM, err := readFile(filepath.Join(dir, caKeyFile), 0o077)
	if err != nil {
		return nil, err
	}
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, fault.New(fault.FailedPrecondition, "read the authority in %s: its files are no PEM; remove them to make another one", dir)
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	parsed, keyErr := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || keyErr != nil || !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fault.New(fault.FailedPrecondition, "read the authority in %s: its key is not the certificate's; remove them to make another one", dir)
	}
	return &Authority{cert: cert, key: key}, nil
}

// createAuthority makes an authority; the certificate is written last, because it is what says that there is one.
func createAuthority(dir string) (*Authority, error) {
	a, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	key, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	return a, writeAll(dir, file{filepath.Join(dir, caKeyFile), key, 0o600}, file{filepath.Join(dir, CAFile), a.PEM(), 0o644})
}

// file is one that is to be written.
type file struct {
	path string
	data []byte
	mode fs.FileMode
}

// writeAll writes files into dir, in this order.
func writeAll(dir string, files ...file) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fault.New(fault.FailedPrecondition, "make directory %s: %s", dir, cause(err))
	}
	for _, f := range files {
		if err := write(f.path, f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file appear whole under its name.
func write(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Chmod(mode), f.Close())
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to tell
		}
	}
	if err != nil {
		return fault.New(fault.FailedPrecondition, "write %s: %s", path, cause(err))
	}
	return nil
}

// Holders gives each service a certificate of its own, for [WriteDir].
func Holders(services ...string) map[string][]string {
	out := map[string][]string{}
	for _, s := range services {
		out[s] = slices.Clone([]string{s})
	}
	return out
}
