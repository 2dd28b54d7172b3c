package authn

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	privateSuffix = ".key"
	publicSuffix  = ".pub"

	privateBlock = "PRIVATE KEY" // PKCS #8
	publicBlock  = "PUBLIC KEY"  // PKIX

	// maxKeyFile is far above the 119 bytes of an Ed25519 key in PEM.
	maxKeyFile = 8 << 10
	// maxKeyFiles bounds what a key ring reads.
	maxKeyFiles = 64
	// keptKeys is how many public keys of one service are published: the present one and the one
	// before it, so that its tokens stay good until they expire.
	keptKeys = 2
	// rereadEvery bounds how often unknown key ids make a ring look at its directory.
	rereadEvery = time.Second
)

// Keys finds the public key for a key id and the service that it belongs to.
type Keys interface {
	Find(kid string) (key ed25519.PublicKey, service string, ok bool)
}

// KeyID is the id of a service's public key: the service's name and the start of the key's SHA-256.
func KeyID(service string, key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return service + "." + hex.EncodeToString(sum[:8])
}

// StaticKeys is a fixed set of public keys, one list for each service.
type StaticKeys map[string][]ed25519.PublicKey

// Find looks through the few keys that there are.
func (s StaticKeys) Find(kid string) (ed25519.PublicKey, string, bool) {
	for service, keys := range s {
		for _, k := range keys {
			if KeyID(service, k) == kid {
				return k, service, true
			}
		}
	}
	return nil, "", false
}

// LoadKeys gives the service's private key from "<dir>/<service>.key" and sees to it that the
// public key is in "<dir>/<service>.pub". A missing key is created, once: of several processes that
// start together all get the same one. The key file must be readable by its owner only.
//
// To change a key, move the .key file away and start the service again: the new public key is put
// in front of the old one in the .pub file, and the old one's tokens stay good.
func LoadKeys(dir, service string) (ed25519.PrivateKey, error) {
	if !validService(service) {
		return nil, fault.New(fault.Invalid, "load key: %q is no service name", service)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "load key of %s", service)
	}
	path := filepath.Join(dir, service+privateSuffix)
	key, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createPrivate(dir, path); err == nil {
			key, err = readPrivate(path)
		}
	}
	if err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "load key of %s from %s", service, path)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fault.New(fault.FailedPrecondition, "load key of %s from %s: no Ed25519 key", service, path)
	}
	if err := publish(dir, service, public); err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "publish key of %s", service)
	}
	return key, nil
}

func readPrivate(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.FailedPrecondition, "others may read or write the file (mode %04o): chmod 600 it", info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	return parsePrivate(data)
}

func parsePrivate(data []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != privateBlock || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, fault.New(fault.FailedPrecondition, "the file is not one PEM block %q", privateBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(fault.FailedPrecondition, "the file is no PKCS #8 key")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fault.New(fault.FailedPrecondition, "the file is no Ed25519 key")
	}
	return key, nil
}

// newPrivate makes a key and its text.
func newPrivate() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), nil
}

// createPrivate makes a key file. Losing the race against another process is no error: its key is
// as good.
func createPrivate(dir, path string) error {
	text, err := newPrivate()
	if err != nil {
		return err
	}
	temp, err := writeTemp(dir, text, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// publish puts key first into the service's .pub file.
func publish(dir, service string, key ed25519.PublicKey) error {
	path := filepath.Join(dir, service+publicSuffix)
	keys, err := readPublic(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(keys) > 0 && keys[0].Equal(key) {
		return nil
	}
	text, err := published(key, keys)
	if err != nil {
		return err
	}
	temp, err := writeTemp(dir, text, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }() // gone already when the rename worked
	return os.Rename(temp, path)
}

// published is the text of a service's public keys: key first, then those before it.
func published(key ed25519.PublicKey, before []ed25519.PublicKey) ([]byte, error) {
	all := []ed25519.PublicKey{key}
	for _, k := range before {
		if !k.Equal(key) && len(all) < keptKeys {
			all = append(all, k)
		}
	}
	var text []byte
	for _, k := range all {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			return nil, err
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der})...)
	}
	return text, nil
}

// writeTemp writes a whole file under a name that nobody looks for, so that it appears under its
// own name at once and complete.
func writeTemp(dir string, data []byte, mode os.FileMode) (path string, err error) {
	f, err := os.CreateTemp(dir, ".key-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
		return "", err
	}
	return f.Name(), nil
}

func readPublic(path string) ([]ed25519.PublicKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	return parsePublic(path, data)
}

func parsePublic(path string, data []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok || block.Type != publicBlock {
			return nil, fault.New(fault.FailedPrecondition, "read %s: no Ed25519 public key in PEM", path)
		}
		if keys = append(keys, key); len(keys) == keptKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.FailedPrecondition, "read %s: no Ed25519 public key in PEM", path)
	}
	return keys, nil
}

// KeyRing is the public keys in a directory. A key id that it does not know makes it look again,
// at most once a second; the id itself never becomes a path.
type KeyRing struct {
	dir string

	mu   sync.RWMutex
	keys map[string]ringKey
	read time.Time
}

type ringKey struct {
	key     ed25519.PublicKey
	service string
}

// OpenKeyRing makes a ring over the .pub files in dir, which may appear later.
func OpenKeyRing(dir string) *KeyRing { return &KeyRing{dir: dir} }

// Find looks for a key id, in the directory too if it must.
func (r *KeyRing) Find(kid string) (ed25519.PublicKey, string, bool) {
	r.mu.RLock()
	k, ok := r.keys[kid]
	r.mu.RUnlock()
	if ok {
		return k.key, k.service, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.read) >= rereadEvery {
		r.reread()
	}
	k, ok = r.keys[kid]
	return k.key, k.service, ok
}

// reread replaces the keys by what is in the directory now. A file that cannot be read counts as
// absent: its service's tokens are refused, the others' are not.
func (r *KeyRing) reread() {
	r.read, r.keys = time.Now(), map[string]ringKey{}
	paths, err := filepath.Glob(filepath.Join(escapeGlob(r.dir), "*"+publicSuffix))
	if err != nil {
		return
	}
	for _, path := range paths[:min(len(paths), maxKeyFiles)] {
		service := strings.TrimSuffix(filepath.Base(path), publicSuffix)
		if !validService(service) {
			continue
		}
		keys, err := readPublic(path)
		if err != nil {
			continue
		}
		for _, k := range keys {
			r.keys[KeyID(service, k)] = ringKey{key: k, service: service}
		}
	}
}

// escapeGlob makes dir match itself only.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
