// Package fileblob is the blob driver for one machine: objects are files below one folder.
//
// A file appears under its name only when it is complete and on disk: it is written beside, synced,
// linked to its name (which fails if the name is taken, so put-once holds between processes too),
// and the folder is synced. The object with key "a/b/c" is the file "a/b/c@": the sign is not
// allowed in keys, so a key may be the beginning of another, as in S3.
//
// It refuses to follow links out of its folder ([os.Root]), to make signed links, and file systems
// without hard links.
package fileblob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// suffix marks the files that are objects.
	suffix = "@"
	// tempDir holds files that are being written. No key segment starts with a dot.
	tempDir = ".tmp"
	// tempAge is how old a file in tempDir must be before Open takes it for the remains of a
	// crash. Another process may be writing right now, but not for so long.
	tempAge = time.Hour
	// maxKnownDirs bounds the memory of folders that are known to be on disk.
	maxKnownDirs = 4096

	dirMode  = 0o750
	fileMode = 0o640
)

// Options say where the objects are.
type Options struct {
	// Dir is the folder. It is made if it does not exist (but not its parents).
	Dir string
}

// Bucket keeps objects in a folder. It implements [blob.Bucket]. Several processes may use one
// folder at once.
type Bucket struct {
	root *os.Root

	mu    sync.Mutex
	known map[string]bool // folders that exist and are on disk with all above them
}

var _ blob.Bucket = (*Bucket)(nil)

// Open opens the folder. The error is [fault.FailedPrecondition] if it cannot be made or written.
func Open(_ context.Context, o Options) (*Bucket, error) {
	if o.Dir == "" {
		return nil, fault.New(fault.Invalid, "open blob folder: no folder is given")
	}
	if err := os.Mkdir(o.Dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "open blob folder %s: it cannot be made", o.Dir)
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "open blob folder %s: it must be a folder that this user can read", o.Dir)
	}
	b := &Bucket{root: root, known: map[string]bool{}}
	if err := b.prepare(); err != nil {
		_ = root.Close() // the error before it says more
		return nil, fault.Wrap(fault.FailedPrecondition, err, "open blob folder %s: it must be writable for this user", o.Dir)
	}
	return b, nil
}

// prepare makes the folder for unfinished files and clears it of what crashes left.
func (b *Bucket) prepare() error {
	if err := b.root.Mkdir(tempDir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := b.readDir(tempDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < tempAge {
			continue // gone already, or perhaps another process's
		}
		if err := b.root.Remove(path.Join(tempDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close releases the folder. Calls after it fail.
func (b *Bucket) Close() error {
	if err := b.root.Close(); err != nil {
		return fault.Wrap(fault.Internal, err, "close blob folder")
	}
	return nil
}

// Put implements [blob.Bucket].
func (b *Bucket) Put(ctx context.Context, key string, data []byte) error {
	if err := blob.CheckPut(key, len(data)); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return translate(err, "put", key)
		}
		err := b.tryPut(key, data)
		if errors.Is(err, errDeleted) {
			continue // somebody deletes the key again and again: a matter of luck, and of ctx
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fault.Wrap(fault.FailedPrecondition, err, "put blob %s: the folder was removed from under the running process", key)
		}
		return translate(err, "put", key)
	}
}

// errDeleted says that the object was there and is not any more.
var errDeleted = errors.New("the object was deleted meanwhile")

func (b *Bucket) tryPut(key string, data []byte) error {
	// Storing the same content again is common and needs no second file.
	if _, err := b.root.Lstat(key + suffix); err == nil {
		return b.compare(key, data)
	}
	temp, err := b.writeTemp(data)
	if err != nil {
		return err
	}
	err = b.link(temp, key)
	_ = b.root.Remove(temp) // the object has its own name now; what stays is cleared by Open
	if errors.Is(err, fs.ErrExist) {
		return b.compare(key, data)
	}
	if err != nil {
		return err
	}
	return b.syncDir(path.Dir(key))
}

// writeTemp writes and syncs a file that is not an object yet.
func (b *Bucket) writeTemp(data []byte) (string, error) {
	name := path.Join(tempDir, rand.Text())
	file, err := b.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = b.root.Remove(name) // the error before it is the one to tell
		return "", err
	}
	return name, nil
}

// link gives the file its name, unless the name is taken.
func (b *Bucket) link(temp, key string) error {
	if err := b.ensureDir(path.Dir(key)); err != nil {
		return err
	}
	return b.root.Link(temp, key+suffix)
}

// compare decides about a Put on a key that is taken.
func (b *Bucket) compare(key string, data []byte) error {
	stored, err := b.read(key)
	if errors.Is(err, fs.ErrNotExist) {
		return errDeleted
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(stored, data) {
		return fault.New(fault.AlreadyExists, "compare with the stored object: it has other content")
	}
	// Whoever stored it may not have come as far as the sync.
	if err := b.ensureDir(path.Dir(key)); err != nil {
		return err
	}
	return b.syncDir(path.Dir(key))
}

// ensureDir makes a folder and all above it, and sees that their names are on disk.
func (b *Bucket) ensureDir(dir string) error {
	b.mu.Lock()
	known := b.known[dir]
	b.mu.Unlock()
	if known || dir == "." {
		return nil
	}
	parent := path.Dir(dir)
	if err := b.ensureDir(parent); err != nil {
		return err
	}
	if err := b.root.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := b.syncDir(parent); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.known) >= maxKnownDirs {
		clear(b.known) // it is found out again at the price of one sync each
	}
	b.known[dir] = true
	return nil
}

func (b *Bucket) syncDir(dir string) error {
	d, err := b.root.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Get implements [blob.Bucket].
func (b *Bucket) Get(ctx context.Context, key string) ([]byte, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, translate(err, "get", key)
	}
	data, err := b.read(key)
	if err != nil {
		return nil, translate(err, "get", key)
	}
	if err := blob.Verify(key, data); err != nil {
		return nil, err
	}
	return data, nil
}

// read reads an object of at most the allowed size: the folder may hold what others put there.
func (b *Bucket) read(key string) ([]byte, error) {
	file, err := b.root.Open(key + suffix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > blob.MaxObjectBytes {
		return nil, fault.New(fault.DataLoss, "read file %s: it is no regular file of at most %d bytes", key+suffix, blob.MaxObjectBytes)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, err
	}
	return data, nil
}

// Delete implements [blob.Bucket].
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return translate(err, "delete", key)
	}
	err := b.root.Remove(key + suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = b.syncDir(path.Dir(key))
	}
	return translate(err, "delete", key)
}

// SignedURL implements [blob.Bucket]: files have no links, it is always
// [fault.FailedPrecondition] (or [fault.Invalid] for a bad key or ttl).
func (b *Bucket) SignedURL(_ context.Context, key string, ttl time.Duration) (string, error) {
	if err := blob.CheckKey(key); err != nil {
		return "", err
	}
	if err := blob.CheckSignedTTL(ttl); err != nil {
		return "", err
	}
	return "", fault.New(fault.FailedPrecondition, "sign link to blob %s: objects in a folder have no links, read them through the service", key)
}
