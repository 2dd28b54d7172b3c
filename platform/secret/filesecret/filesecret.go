// Package filesecret keeps secrets in a directory of this machine, each in a file of its own, encrypted with AES-256-GCM under a
// master key that lies in the directory too, readable by its owner alone (mode 0600).
//
// It protects what is copied without the master key (a backup of the files, a screenshot) and notices what was changed or moved:
// tenant and name are additional data of the encryption. It does not protect from whoever can read the master key; where that is
// not enough, use a secret manager, or put the directory on an encrypted disk.
//
// Several processes may share the directory.
package filesecret

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
)

const (
	// masterFile has the master key.
	masterFile = "master.key"
	// keyBytes is the size of a key of AES-256.
	keyBytes = 32
	// format begins every file, so that another one can be told from it.
	format = "rp1"
	// suffix of a secret's file.
	suffix = ".secret"
	// temporary begins the name of a file that is being written.
	temporary = ".new-"
)

// Options make a [Store].
type Options struct {
	// Dir is the directory. It is made when the first secret is stored.
	Dir string
}

// Store implements secret.Store.
type Store struct {
	dir string

	mu   sync.Mutex
	aead cipher.AEAD
}

// New makes a store. It opens nothing.
func New(o Options) *Store { return &Store{dir: o.Dir} }

// sealer is the cipher under the master key; with create set the key is made if there is none.
func (s *Store) sealer(create bool) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aead != nil {
		return s.aead, nil
	}
	key, err := s.masterKey(create)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "use master key of secrets")
	}
	// The nonce is random and comes before the ciphertext: good for 2^32 messages of one key (NIST SP 800-38D section 8.3).
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "use master key of secrets")
	}
	return s.aead, nil
}

func (s *Store) masterKey(create bool) ([]byte, error) {
	path := filepath.Join(s.dir, masterFile)
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) || !create {
		return key, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, failed(err, "make directory of secrets %s", s.dir)
	}
	// Files without their key cannot be read again: making another key would hide that.
	if entries, err := os.ReadDir(s.dir); err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.IsDir() }) {
		if key, err := readKey(path); err == nil {
			return key, nil // another process was first
		}
		return nil, fault.New(fault.FailedPrecondition, "read master key of secrets: %s is gone, but secrets are there; restore it, or remove %s and store them again", path, s.dir)
	}
	key = make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	// A link, not a rename: of several processes that start together one wins, and the others take its key.
	err = write(s.dir, masterFile, key, os.Link)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, failed(err, "write master key of secrets %s", path)
	}
	return readKey(path)
}

// readKey returns an error that matches fs.ErrNotExist if there is none.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.FailedPrecondition, "read master key of secrets: others may read %s; run chmod 600 on it", path)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, failed(err, "read master key of secrets %s", path)
	}
	if len(key) != keyBytes {
		return nil, fault.New(fault.DataLoss, "read master key of secrets: %s has %d bytes and not %d; restore it", path, len(key), keyBytes)
	}
	return key, nil
}

// bound is the additional data of a secret: neither part can contain the separator, so no two places have the same.
func bound(tenant, name string) []byte { return []byte(format + "\x00" + tenant + "\x00" + name) }

// Get implements secret.Store.
func (s *Store) Get(ctx context.Context, tenant, name string) ([]byte, error) {
	if err := check(ctx, tenant, name); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, tenant, name+suffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "read secret: there is no %s of this tenant", name)
	}
	if err != nil {
		return nil, failed(err, "read secret %s", name)
	}
	aead, err := s.sealer(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.DataLoss, "read secret %s: the master key %s is gone; restore it", name, filepath.Join(s.dir, masterFile))
	}
	if err != nil {
		return nil, err
	}
	sealed, ok := strings.CutPrefix(string(raw), format)
	if !ok {
		return nil, fault.New(fault.DataLoss, "read secret %s: the file is damaged; store it again", name)
	}
	value, err := aead.Open(nil, nil, []byte(sealed), bound(tenant, name))
	if err != nil {
		return nil, fault.New(fault.DataLoss, "read secret %s: the file was damaged, moved, or written under another master key; store it again", name)
	}
	return value, nil
}

// Put implements secret.Store.
func (s *Store) Put(ctx context.Context, tenant, name string, value []byte) error {
	if err := check(ctx, tenant, name); err != nil {
		return err
	}
	if err := secret.CheckValue(value); err != nil {
		return err
	}
	aead, err := s.sealer(true)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.dir, tenant)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failed(err, "make directory of secrets %s", dir)
	}
	sealed := aead.Seal([]byte(format), nil, value, bound(tenant, name)) //nolint:gosec // G407: the cipher makes its own nonce
	if err := write(dir, name+suffix, sealed, os.Rename); err != nil {
		return failed(err, "store secret %s", name)
	}
	return nil
}

// write makes the file appear whole or not at all, and durable. place is how: os.Rename replaces, os.Link does not.
func write(dir, name string, data []byte, place func(from, to string) error) (err error) {
	f, err := os.CreateTemp(dir, temporary+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.Remove(f.Name()); err == nil && !errors.Is(gone, fs.ErrNotExist) {
			err = gone
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = place(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the directory's entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Delete implements secret.Store.
func (s *Store) Delete(ctx context.Context, tenant, name string) error {
	if err := check(ctx, tenant, name); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, tenant)
	err := os.Remove(filepath.Join(dir, name+suffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return failed(err, "delete secret %s", name)
	}
	return nil
}

// List implements secret.Store.
func (s *Store) List(ctx context.Context, tenant string) ([]string, error) {
	if err := check(ctx, tenant, "any"); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, tenant))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err, "list secrets")
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && secret.Check(tenant, name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names) // the files are in the order of their names with the suffix
	return names[:min(len(names), secret.MaxNames)], nil
}

func check(ctx context.Context, tenant, name string) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.CodeOf(err), err, "use secret")
	}
	return secret.Check(tenant, name)
}

// failed keeps the words of the system and leaves out nothing: paths hold no secret.
func failed(err error, format string, args ...any) error {
	return fault.Wrap(fault.Unavailable, err, format, args...)
}
