package intel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"iter"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
)

// epssStep is what a probability must cross to count as changed: a multiple of it. So every crossing of 0.1 counts and no move
// of more than 0.05 is missed, also not one that is made in small ones over many days; what stays within a step is in the snapshot
// and wakes nobody. FIRST publishes 300,000 scores a day, nearly all of which move a little.
const epssStep = 0.05

// digest is what of an advisory counts as changed: all but when it was modified and the fine digits of EPSS.
func digest(raw []byte) ([sha256.Size]byte, error) {
	a := &modelv1.Advisory{}
	if err := proto.Unmarshal(raw, a); err != nil {
		return [sha256.Size]byte{}, fault.Wrap(fault.DataLoss, err, "read advisory")
	}
	step := byte(0)
	if a.GetEpss() != nil {
		// In hundred-thousandths, as published: 0.15 is not 3 * 0.05 in binary.
		step = 1 + byte(int(a.GetEpss().GetProbability()*epssUnit+0.5)/int(epssStep*epssUnit))
	}
	a.Modified, a.Epss = nil, nil
	out, err := canonical.Marshal(a)
	if err != nil {
		return [sha256.Size]byte{}, fault.Wrap(fault.Internal, err, "encode advisory")
	}
	return sha256.Sum256(append(out, step)), nil
}

// against names the files that a partition was compared with.
func against(p *ingestv1.IntelPartition) string {
	return content(p.GetAdvisories().GetKey()) + " " + content(p.GetProducts().GetKey())
}

// released is the state of a partition in the last release, nil if it was not in it.
func (w *world) released(name string) *ingestv1.IntelPartition {
	if len(w.releases) == 0 {
		return nil
	}
	for _, p := range w.releases[len(w.releases)-1].value.GetPartitions() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}

// compare notes which products and advisories changed since the last release.
func (s *Store) compare(ctx context.Context, w *world, next *ingestv1.IntelPartition) error {
	last := w.released(next.GetName())
	next.Against, next.Changes = against(last), ""
	if next.GetAgainst() == against(next) {
		return nil
	}
	keys, err := s.changed(ctx, last, next)
	if err != nil || len(keys) == 0 {
		return err
	}
	kept, err := s.keep(ctx, "changes", []byte(strings.Join(keys, "\n")+"\n"))
	next.Changes = kept.GetKey()
	return err
}

// changed are the products of which the record or an advisory differs between two states of a partition, and the advisories themselves:
// an asset may be known to have one though nobody knows by which product, from the report of another tool. Keys of products have a
// separator in them that ids of advisories have not. In order.
func (s *Store) changed(ctx context.Context, before, after *ingestv1.IntelPartition) ([]string, error) {
	advisories := map[string]bool{}
	err := s.differ(ctx, sectionAdvisory, before.GetAdvisories(), after.GetAdvisories(), func(key string, a, b []byte) error {
		if bytes.Equal(a, b) {
			return nil
		}
		x, err := digest(a)
		if err != nil {
			return err
		}
		y, err := digest(b)
		if x != y || a == nil || b == nil {
			advisories[key] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	products := maps.Clone(advisories)
	err = s.differ(ctx, sectionProduct, before.GetProducts(), after.GetProducts(), func(key string, a, b []byte) error {
		if !bytes.Equal(a, b) {
			products[key] = true
			return nil
		}
		if len(advisories) == 0 {
			return nil
		}
		p := &modelv1.ProductRecord{}
		if err := proto.Unmarshal(b, p); err != nil {
			return fault.Wrap(fault.DataLoss, err, "read product %s", key)
		}
		if slices.ContainsFunc(p.GetAffected(), func(r *modelv1.Affected) bool { return advisories[r.GetAdvisory()] }) {
			products[key] = true
		}
		return nil
	})
	return slices.Sorted(maps.Keys(products)), err
}

// differ walks over two files and calls visit with each key of either; a missing value is nil.
func (s *Store) differ(ctx context.Context, section string, before, after *ingestv1.IntelFile, visit func(key string, a, b []byte) error) error {
	a, stopA, err := s.walk(ctx, section, before)
	if err != nil {
		return err
	}
	defer stopA()
	b, stopB, err := s.walk(ctx, section, after)
	if err != nil {
		return err
	}
	defer stopB()
	x, errX, okX := a()
	y, errY, okY := b()
	for okX || okY {
		if errX != nil {
			return errX
		}
		if errY != nil {
			return errY
		}
		switch {
		case okX && (!okY || x.Key < y.Key):
			err = visit(x.Key, x.Value, nil)
			x, errX, okX = a()
		case okY && (!okX || y.Key < x.Key):
			err = visit(y.Key, nil, y.Value)
			y, errY, okY = b()
		default:
			err = visit(x.Key, x.Value, y.Value)
			x, errX, okX = a()
			y, errY, okY = b()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) walk(ctx context.Context, section string, f *ingestv1.IntelFile) (next func() (snapshot.Entry, error, bool), stop func(), err error) {
	if f.GetKey() == "" {
		return func() (snapshot.Entry, error, bool) { return snapshot.Entry{}, nil, false }, func() {}, nil
	}
	r, err := s.reader(ctx, f.GetKey())
	if err != nil {
		return nil, nil, err
	}
	next, stop = iter.Pull2(r.Entries(section, ""))
	return next, stop, nil
}
