package intel

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"slices"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
)

// productFileBytes is where a file with products ends and the next begins: far below what a blob may have, and not many files.
const productFileBytes = 8 << 20

// productInputs say what the files with the products are made of.
func (w *world) productInputs() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(w.partitions)) {
		_, _ = fmt.Fprintf(h, "%d %s %s ", compilerVersion, name, content(w.partitions[name].value.GetProducts().GetKey())) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// run is what one partition knows of products, with its next entry at hand.
type run struct {
	entry snapshot.Entry
	order int
	next  func() (snapshot.Entry, error, bool)
	stop  func()
}

// runs is a heap by key, and of one key in the order of the partitions.
type runs []*run

func (r runs) Len() int { return len(r) }
func (r runs) Less(i, j int) bool {
	return r[i].entry.Key < r[j].entry.Key || r[i].entry.Key == r[j].entry.Key && r[i].order < r[j].order
}
func (r runs) Swap(i, j int) { r[i], r[j] = r[j], r[i] }

// Push is of heap.Interface.
func (r *runs) Push(x any) {
	if one, ok := x.(*run); ok {
		*r = append(*r, one)
	}
}

// Pop is of heap.Interface.
func (r *runs) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// products joins what all partitions know of products into files of the snapshot.
func (s *Store) products(ctx context.Context, w *world) ([]*ingestv1.IntelFile, error) {
	s.trim()
	all := runs{}
	defer func() {
		for _, r := range all {
			r.stop()
		}
	}()
	for i, name := range slices.Sorted(maps.Keys(w.partitions)) {
		if w.partitions[name].value.GetProducts().GetKeys() == 0 {
			continue
		}
		reader, err := s.reader(ctx, w.partitions[name].value.GetProducts().GetKey())
		if err != nil {
			return nil, err
		}
		r := &run{order: i}
		r.next, r.stop = iter.Pull2(reader.Entries(sectionProduct, ""))
		all = append(all, r)
		if _, err := r.advance(); err != nil {
			return nil, err
		}
	}
	live := slices.Clone(all)
	heap.Init(&live)
	out := &productFiles{store: s}
	for len(live) > 0 {
		key := live[0].entry.Key
		value, err := canonical.Marshal(&modelv1.ProductRecord{Key: key})
		if err != nil {
			return nil, fault.Wrap(fault.Internal, err, "encode product")
		}
		for len(live) > 0 && live[0].entry.Key == key {
			value = append(value, live[0].entry.Value...)
			more, err := live[0].advance()
			if err != nil {
				return nil, err
			}
			if more {
				heap.Fix(&live, 0)
			} else {
				heap.Pop(&live)
			}
		}
		if err := out.add(ctx, key, value); err != nil {
			return nil, err
		}
	}
	return out.end(ctx)
}

func (r *run) advance() (bool, error) {
	e, err, ok := r.next()
	r.entry = e
	return ok, err
}

// productFiles writes one file after another.
type productFiles struct {
	store *Store
	buf   *bytes.Buffer
	w     *snapshot.Writer
	keys  uint64
	files []*ingestv1.IntelFile
}

func (p *productFiles) add(ctx context.Context, key string, value []byte) error {
	if p.w == nil {
		p.buf = &bytes.Buffer{}
		p.w, p.keys = snapshot.NewWriter(p.buf), 0
	}
	if err := p.w.Add(sectionProduct, key, value); err != nil {
		return err
	}
	p.keys++
	if p.w.Size() < productFileBytes {
		return nil
	}
	return p.finish(ctx)
}

func (p *productFiles) finish(ctx context.Context) error {
	if err := p.w.Close(); err != nil {
		return err
	}
	f, err := p.store.keep(ctx, "part", p.buf.Bytes())
	if err != nil {
		return err
	}
	f.Keys = p.keys
	p.files, p.w = append(p.files, f), nil
	return nil
}

func (p *productFiles) end(ctx context.Context) ([]*ingestv1.IntelFile, error) {
	if p.w != nil {
		if err := p.finish(ctx); err != nil {
			return nil, err
		}
	}
	return p.files, nil
}
