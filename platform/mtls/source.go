package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// maxFile bounds each of the three files: far above any chain or set of authorities that makes sense.
const maxFile = 256 << 10

// Files are where a process's certificate lies, all in PEM. Instead of a path each may be the PEM text itself, for platforms
// that hand out secrets as settings (ECS); what is given so stays until the process ends.
type Files struct {
	// Cert is the certificate, followed by intermediate ones if there are any.
	Cert string
	// Key is its private key. Others may not be able to read it.
	Key string
	// CA are the authorities whose certificates are believed.
	CA string
}

// Options make a [Source].
type Options struct {
	Files Files
	// Services are those that this process holds. The certificate has to name all of them.
	Services []string
	// Logger is told about replaced files and refused connections. Nil: the process's.
	Logger *slog.Logger
}

// Source is a process's certificate and whom it believes, as the files say it now. It may be used concurrently.
type Source struct {
	files    Files
	services []string
	log      *slog.Logger

	mu    sync.Mutex
	seen  [3]stamp
	now   material
	quiet quiet
}

// material is one state of the files. It never changes.
type material struct {
	cert  *tls.Certificate
	roots *x509.CertPool
}

// stamp tells two states of a file apart. A file that is replaced by renaming is another file even if it has the same size
// and time.
type stamp struct{ info fs.FileInfo }

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == nil && o.info == nil
	}
	return os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() && s.info.ModTime().Equal(o.info.ModTime())
}

// Open reads the files. It fails, naming the file and what to do, if one cannot be read, the key is not the certificate's,
// the certificate has expired, is not of the authorities, or does not name the services of this process.
func Open(o Options) (*Source, error) {
	s := &Source{files: o.Files, services: o.Services, log: o.Logger}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.seen = s.stamps()
	var err error
	if s.now, err = s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// current is the present state. Files that changed are read again; if they do not fit together, because only some of them
// have been replaced yet or they are wrong, the state before stays, and they are looked at when they change again.
func (s *Source) current() material {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.stamps()
	if seen[0].same(s.seen[0]) && seen[1].same(s.seen[1]) && seen[2].same(s.seen[2]) {
		return s.now
	}
	s.seen = seen
	next, err := s.read()
	if err != nil {
		s.log.Warn("certificate not replaced: the one before stays in use", "error", err.Error())
		return s.now
	}
	s.now = next
	s.log.Info("certificate replaced", "file", called(s.files.Cert), "expires", next.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	return s.now
}

func (s *Source) stamps() (out [3]stamp) {
	for i, path := range []string{s.files.Cert, s.files.Key, s.files.CA} {
		if info, err := os.Stat(path); err == nil {
			out[i] = stamp{info}
		}
	}
	return out
}

func (s *Source) read() (material, error) {
	certPEM, err := readFile(s.files.Cert, 0)
	if err != nil {
		return material{}, err
	}
	keyPEM, err := readFile(s.files.Key, 0o007)
	if err != nil {
		return material{}, err
	}
	caPEM, err := readFile(s.files.CA, 0)
	if err != nil {
		return material{}, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return material{}, fault.New(fault.FailedPrecondition, "certificate %s with key %s: %s; give a certificate and the key it was made for", called(s.files.Cert), called(s.files.Key), strings.TrimPrefix(err.Error(), "tls: "))
	}
	roots, err := authorities(s.files.CA, caPEM)
	if err != nil {
		return material{}, err
	}
	m := material{cert: &pair, roots: roots}
	return m, s.check(m)
}

// check finds what would only show when others refuse the certificate.
func (s *Source) check(m material) error {
	leaf := m.cert.Leaf
	services, err := Services(leaf)
	if err != nil {
		return fault.New(fault.FailedPrecondition, "certificate %s: %s; issue one for %s", called(s.files.Cert), public(err), list(s.services))
	}
	for _, service := range s.services {
		if !slices.Contains(services, service) {
			return fault.New(fault.FailedPrecondition, "certificate %s is that of %s; issue one for %s", called(s.files.Cert), list(services), list(s.services))
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if err := m.verify(leaf, m.cert.Certificate[1:], usage); err != nil {
			return fault.New(fault.FailedPrecondition, "certificate %s: %s; issue a new one", called(s.files.Cert), public(err))
		}
	}
	return nil
}

// verify checks a certificate against the authorities now.
func (m material) verify(leaf *x509.Certificate, rest [][]byte, usage x509.ExtKeyUsage) error {
	between := x509.NewCertPool()
	for _, der := range rest {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fault.New(fault.Unauthenticated, "an intermediate certificate cannot be read")
		}
		between.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: m.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return fault.New(fault.Unauthenticated, "%s", explain(leaf, err))
	}
	return nil
}

func authorities(path string, data []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" || !cert.IsCA {
			return nil, fault.New(fault.FailedPrecondition, "authorities %s: block %d is no certificate of an authority", called(path), n+1)
		}
		pool.AddCert(cert)
		n++
	}
	if n == 0 {
		return nil, fault.New(fault.FailedPrecondition, "authorities %s: no certificate in PEM", called(path))
	}
	return pool, nil
}

// readFile reads a file that is not too large and has none of the permissions in forbidden.
func readFile(path string, forbidden fs.FileMode) ([]byte, error) {
	if inline(path) {
		return []byte(path), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "read %s: %s; set RISKPROFILER_TLS_CERT, _KEY and _CA to files that this process may read", path, cause(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&forbidden != 0 {
		return nil, fault.New(fault.FailedPrecondition, "read %s: others may read or write it (mode %04o); chmod 600 it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "read %s: %s", path, cause(err))
	}
	if len(data) > maxFile {
		return nil, fault.New(fault.FailedPrecondition, "read %s: more than %d bytes", path, maxFile)
	}
	return data, nil
}

// inline reports whether a setting is no path but PEM (RFC 7468, section 2).
func inline(setting string) bool { return strings.HasPrefix(setting, "-----BEGIN ") }

// called is how a file is called in errors: never by its text, which may be a key.
func called(path string) string {
	if inline(path) {
		return "in the settings"
	}
	return path
}

func cause(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
