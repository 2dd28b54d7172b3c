package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// listMagic begins the list of the parts of a snapshot.
	listMagic = "riskprofiler-snapshot-parts 1\n"
	// MaxParts is the most files of one snapshot: the list stays below a megabyte.
	MaxParts = 4096
	// fetchers is how many parts are fetched at a time.
	fetchers = 8
	// partSuffix marks cached parts in a directory.
	partSuffix = ".part"
	// unusedAfter is how long a cached part that no loaded snapshot names is kept: other processes may be about to open it.
	unusedAfter = time.Hour
)

// Part is one file of a snapshot in a bucket.
type Part struct {
	// Key ends in the SHA-256 of the file, as [blob.ContentKey] makes it.
	Key string
	// Bytes is the size of the file.
	Bytes int64
}

// StoreFile puts one file into the bucket. kind is a segment of its key.
func StoreFile(ctx context.Context, b blob.Bucket, owner, kind string, file []byte) (Part, error) {
	key := blob.ContentKey(owner, kind, file)
	if err := b.Put(ctx, key, file); err != nil {
		return Part{}, fault.Wrap(fault.CodeOf(err), err, "store part of snapshot")
	}
	return Part{Key: key, Bytes: int64(len(file))}, nil
}

// Store puts the list of the parts, which must be in the bucket already, and returns its key: what [Load] takes.
func Store(ctx context.Context, b blob.Bucket, owner, kind string, parts []Part) (string, error) {
	var list bytes.Buffer
	list.WriteString(listMagic)
	for _, p := range parts {
		_, _ = fmt.Fprintf(&list, "%d %s\n", p.Bytes, p.Key) // a Buffer takes everything
	}
	if _, err := parseList(list.Bytes()); err != nil {
		return "", fault.Wrap(fault.Invalid, err, "store snapshot")
	}
	key := blob.ContentKey(owner, kind, list.Bytes())
	if err := b.Put(ctx, key, list.Bytes()); err != nil {
		return "", fault.Wrap(fault.CodeOf(err), err, "store snapshot")
	}
	return key, nil
}

// Parts reads the list under key. A snapshot that is one file is its only part.
func Parts(ctx context.Context, b blob.Bucket, key string) ([]Part, error) {
	parts, _, err := readList(ctx, b, key)
	return parts, err
}

func readList(ctx context.Context, b blob.Bucket, key string) ([]Part, []byte, error) {
	raw, err := b.Get(ctx, key)
	if err != nil {
		return nil, nil, fault.Wrap(fault.CodeOf(err), err, "load snapshot %s", key)
	}
	if bytes.HasPrefix(raw, []byte(headerMagic)) {
		return []Part{{Key: key, Bytes: int64(len(raw))}}, raw, nil
	}
	parts, err := parseList(raw)
	if err != nil {
		return nil, nil, fault.Wrap(fault.CodeOf(err), err, "load snapshot %s", key)
	}
	return parts, nil, nil
}

func parseList(raw []byte) ([]Part, error) {
	text, ok := strings.CutPrefix(string(raw), listMagic)
	if !ok {
		return nil, damaged("it is neither a snapshot nor a list of the parts of one")
	}
	var parts []Part
	for line := range strings.Lines(text) {
		size, key, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil || n < 0 || n > blob.MaxObjectBytes || blob.CheckKey(key) != nil || len(hashOf(key)) != 64 || len(parts) >= MaxParts {
			return nil, damaged("line %d of its list of parts is wrong", len(parts)+2)
		}
		parts = append(parts, Part{Key: key, Bytes: n})
	}
	return parts, nil
}

// hashOf is the last segment of a key.
func hashOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// Load opens the snapshot that [Store] put under key. Its parts are kept in dir, which is made if it does not exist, under
// their hashes: the next version fetches only what changed, and the next process nothing. With an empty dir all is held in
// memory. Several processes may share dir. Parts that no snapshot named for an hour are removed from it.
func Load(ctx context.Context, b blob.Bucket, key, dir string) (*Reader, error) {
	parts, single, err := readList(ctx, b, key)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return loadInMemory(ctx, b, key, parts, single)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "load snapshot %s: make directory %s", key, dir)
	}
	r, err := loadCached(ctx, b, key, dir, parts)
	if fault.CodeOf(err) == fault.DataLoss {
		// What is damaged in the directory is fetched again, once.
		for _, p := range parts {
			_ = os.Remove(filepath.Join(dir, hashOf(p.Key)+partSuffix)) // what stays is reported by the second try
		}
		r, err = loadCached(ctx, b, key, dir, parts)
	}
	if err == nil {
		prune(dir, parts, time.Now())
	}
	return r, err
}

func loadCached(ctx context.Context, b blob.Bucket, key, dir string, parts []Part) (*Reader, error) {
	sources := make([]source, len(parts))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for i, p := range parts {
		g.Go(func() (err error) {
			sources[i], err = cachedPart(gctx, b, p, dir)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		for _, s := range sources {
			if s != nil {
				_ = s.close() // the error before it says more
			}
		}
		return nil, fault.Wrap(fault.CodeOf(err), err, "load snapshot %s", key)
	}
	return newReader(key, sources...)
}

func loadInMemory(ctx context.Context, b blob.Bucket, key string, parts []Part, single []byte) (*Reader, error) {
	if single != nil {
		return newReader(key, memory(single))
	}
	sources := make([]source, len(parts))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for i, p := range parts {
		g.Go(func() error {
			data, err := b.Get(gctx, p.Key)
			sources[i] = memory(data)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "load snapshot %s", key)
	}
	return newReader(key, sources...)
}

// cachedPart opens a part in dir, where it is fetched to if it is not there whole.
func cachedPart(ctx context.Context, b blob.Bucket, p Part, dir string) (source, error) {
	path := filepath.Join(dir, hashOf(p.Key)+partSuffix)
	if src, err := openSource(path); err == nil {
		if src.size() == p.Bytes {
			now := time.Now()
			_ = os.Chtimes(path, now, now) // only tells others that it is in use
			return src, nil
		}
		_ = src.close() // it is replaced
	}
	data, err := b.Get(ctx, p.Key)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != p.Bytes {
		return nil, damaged("part %s has %d bytes, its list says %d", p.Key, len(data), p.Bytes)
	}
	if err := writeFile(path, data); err != nil {
		return nil, fault.Wrap(fault.ResourceExhausted, err, "keep part of snapshot in %s", dir)
	}
	return openSource(path)
}

// writeFile makes a file appear whole under its name.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".fetch-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error before it says more
	}
	return err
}

// prune removes what is not used any more. A process that has such a part open keeps it.
func prune(dir string, used []Part, now time.Time) {
	keep := map[string]bool{}
	for _, p := range used {
		keep[hashOf(p.Key)+partSuffix] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if keep[e.Name()] || !strings.HasSuffix(e.Name(), partSuffix) && !strings.HasPrefix(e.Name(), ".fetch-") {
			continue
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > unusedAfter {
			_ = os.Remove(filepath.Join(dir, e.Name())) // the next load tries again
		}
	}
}
