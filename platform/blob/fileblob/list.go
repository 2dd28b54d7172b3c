package fileblob

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/blob"
)

// List implements [blob.Bucket]. It reads every folder on the way of a page whole, so a page costs
// as much as its folders are large.
func (b *Bucket) List(ctx context.Context, prefix, pageToken string, limit int) ([]blob.Object, string, error) {
	after, limit, err := blob.CheckList(prefix, pageToken, limit)
	if err != nil {
		return nil, "", err
	}
	w := &walk{bucket: b, prefix: prefix, after: after, limit: limit}
	if err := w.folder(ctx, ""); err != nil {
		return nil, "", translate(err, "list", prefix)
	}
	if len(w.found) <= limit {
		return w.found, "", nil
	}
	page := w.found[:limit]
	return page, blob.PageToken(page[limit-1].Key), nil
}

// walk goes through the keys in order.
type walk struct {
	bucket        *Bucket
	prefix, after string
	limit         int
	found         []blob.Object // up to limit+1: one more says that there is another page
}

// node is a file or folder with its place in the order of keys: that of a folder is its name with
// the slash, because '-' and '.' sort before '/'.
type node struct {
	key   string
	entry fs.DirEntry
}

// folder visits what lies in the folder of the keys that start with base ("" or "a/b/").
func (w *walk) folder(ctx context.Context, base string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := w.bucket.readDir(strings.TrimSuffix("./"+base, "/"))
	if err != nil {
		return err
	}
	nodes := make([]node, 0, len(entries))
	for _, e := range entries {
		name, isObject := strings.CutSuffix(e.Name(), suffix)
		switch {
		case e.IsDir() && !isObject && name[0] != '.':
			nodes = append(nodes, node{key: base + name + "/", entry: e})
		case e.Type().IsRegular() && isObject:
			nodes = append(nodes, node{key: base + name, entry: e})
		}
	}
	slices.SortFunc(nodes, func(x, y node) int { return cmp.Compare(x.key, y.key) })
	for _, n := range nodes {
		if len(w.found) > w.limit {
			return nil
		}
		if err := w.visit(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) visit(ctx context.Context, n node) error {
	if n.entry.IsDir() {
		inPrefix := strings.HasPrefix(n.key, w.prefix) || strings.HasPrefix(w.prefix, n.key)
		done := n.key < w.after && !strings.HasPrefix(w.after, n.key)
		if !inPrefix || done {
			return nil
		}
		return w.folder(ctx, n.key)
	}
	isKey := blob.CheckKey(n.key) == nil
	if !isKey || !strings.HasPrefix(n.key, w.prefix) || n.key <= w.after {
		return nil
	}
	info, err := n.entry.Info()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		return err
	}
	w.found = append(w.found, blob.Object{Key: n.key, Size: info.Size(), ModTime: info.ModTime().UTC()})
	return nil
}

func (b *Bucket) readDir(dir string) ([]fs.DirEntry, error) {
	d, err := b.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // it was only read
	return d.ReadDir(-1)
}
