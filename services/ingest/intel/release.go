package intel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	// keptReleases is how many snapshots are kept: who still reads an older one can go on.
	keptReleases = 3
	// inlineProducts and inlineBytes are how many products an announcement holds itself; more are named in a blob. That stays below the queue's 64 KiB.
	inlineProducts = 1000
	inlineBytes    = 48 << 10
	// group of the queue: snapshots are announced in their order.
	group = "intel"
	// sweepAfter is how old a blob must be before it is deleted when no row names it. Keys hold the day, so a blob can get a new
	// name in a row on the day it was made and never later.
	sweepAfter = 48 * time.Hour
)

// releaseKey orders releases by number.
func releaseKey(n uint64) table.Key { return rowKey(fmt.Sprintf("%s%020d", prefixRelease, n)) }

func (w *world) last() row[*ingestv1.IntelRelease] {
	if len(w.releases) == 0 {
		return row[*ingestv1.IntelRelease]{}
	}
	return w.releases[len(w.releases)-1]
}

// stale says whether a new release would differ from the last one.
func (w *world) stale() bool {
	last := w.last().value
	if len(w.partitions) == 0 {
		return false
	}
	if last.GetProductInputs() != w.productInputs() || len(last.GetPartitions()) != len(w.partitions) {
		return true
	}
	for _, p := range last.GetPartitions() {
		if against(p) != against(w.partitions[p.GetName()].value) {
			return true
		}
	}
	return false
}

// release publishes what the partitions hold as a new snapshot.
func (s *Store) release(ctx context.Context, w *world) (*modelv1.IntelManifest, error) {
	last := w.last().value
	number := uint64(1)
	if v, err := strconv.ParseUint(last.GetManifest().GetVersion(), 10, 63); err == nil {
		number = v + 1
	}
	next := &ingestv1.IntelRelease{
		Manifest: &modelv1.IntelManifest{Version: strconv.FormatUint(number, 10), Created: timestamppb.New(s.now().UTC().Truncate(time.Millisecond))},
		Products: last.GetProducts(), ProductInputs: w.productInputs(),
	}
	if next.GetProductInputs() != last.GetProductInputs() {
		files, err := s.products(ctx, w)
		if err != nil {
			return nil, err
		}
		next.Products = files
	}
	changed, err := s.allChanged(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := s.describe(ctx, w, next, changed); err != nil {
		return nil, err
	}
	write, err := put(releaseKey(number), next, 0)
	if err != nil {
		return nil, err
	}
	if err := s.table.Write(ctx, write); err != nil {
		return nil, err
	}
	w.releases = append(w.releases, row[*ingestv1.IntelRelease]{write.Item.Key, 1, next})
	return next.GetManifest(), nil
}

// describe fills in the manifest, puts the list of files and says what changed.
func (s *Store) describe(ctx context.Context, w *world, next *ingestv1.IntelRelease, changed []string) error {
	m := next.GetManifest()
	var parts []snapshot.Part
	add := func(f *ingestv1.IntelFile) {
		parts = append(parts, snapshot.Part{Key: f.GetKey(), Bytes: f.GetBytes()})
		m.Bytes += uint64(f.GetBytes())
	}
	for _, name := range slices.Sorted(maps.Keys(w.partitions)) {
		p := w.partitions[name].value
		m.Advisories += p.GetAdvisoryCount()
		m.Kev += p.GetKevCount()
		// What the next release is compared with; the rest of the partition is not needed for that.
		next.Partitions = append(next.Partitions, &ingestv1.IntelPartition{Name: name, Advisories: p.GetAdvisories(), Products: p.GetProducts()})
		if p.GetAdvisoryCount() > 0 {
			add(p.GetAdvisories())
		}
	}
	for _, f := range next.GetProducts() {
		m.Products += f.GetKeys()
		add(f)
	}
	for _, name := range slices.Sorted(maps.Keys(w.feeds)) {
		m.Feeds = append(m.Feeds, w.feeds[name].value.GetFeed())
	}
	about, err := s.manifestFile(ctx, m)
	if err != nil {
		return err
	}
	next.About = about
	add(about)
	if m.Blob, err = snapshot.Store(ctx, s.bucket, owner, s.kind("snapshot"), parts); err != nil {
		return err
	}
	next.Changed = &modelv1.IntelChanged{Version: m.GetVersion(), Blob: m.GetBlob(), Products: changed}
	if text := strings.Join(changed, "\n"); len(changed) > inlineProducts || len(text) > inlineBytes {
		kept, err := s.keep(ctx, "changes", []byte(text+"\n"))
		if err != nil {
			return err
		}
		next.Changed.Products, next.Changed.ProductsBlob = nil, kept.GetKey()
	}
	return nil
}

// manifestFile is the part of the snapshot that tells its readers what they hold.
func (s *Store) manifestFile(ctx context.Context, m *modelv1.IntelManifest) (*ingestv1.IntelFile, error) {
	raw, err := canonical.Marshal(m)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "encode manifest")
	}
	var buf bytes.Buffer
	w := snapshot.NewWriter(&buf)
	if err := w.Add(sectionManifest, sectionManifest, raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return s.keep(ctx, "part", buf.Bytes())
}

// allChanged are the products that changed in any partition since the last release.
func (s *Store) allChanged(ctx context.Context, w *world) ([]string, error) {
	all := map[string]bool{}
	for name, p := range w.partitions {
		last := w.released(name)
		if against(last) == against(p.value) {
			continue
		}
		keys, err := s.noted(ctx, last, p.value)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			all[key] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// noted reads what compile noted, unless another release came in between.
func (s *Store) noted(ctx context.Context, last, p *ingestv1.IntelPartition) ([]string, error) {
	if p.GetAgainst() != against(last) {
		return s.changed(ctx, last, p)
	}
	if p.GetChanges() == "" {
		return nil, nil
	}
	raw, err := s.bucket.Get(ctx, p.GetChanges())
	if err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "read intel %s", p.GetChanges())
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n"), nil
}

// announce sends what was published and not announced, oldest first. A crash between sending and noting it sends it again.
func (s *Store) announce(ctx context.Context, w *world, q *queue.Queue) error {
	for i, r := range w.releases {
		if r.value.GetAnnounced() {
			continue
		}
		body, err := proto.Marshal(r.value.GetChanged())
		if err != nil {
			return fault.Wrap(fault.Internal, err, "encode announcement")
		}
		if err := q.Send(ctx, queue.Message{Group: group, DedupID: "intel-" + r.value.GetManifest().GetVersion(), Body: body}); err != nil {
			return err
		}
		done := proto.CloneOf(r.value)
		done.Announced = true
		write, err := put(r.key, done, r.revision)
		if err != nil {
			return err
		}
		if err := s.table.Write(ctx, write); err != nil {
			return err
		}
		w.releases[i] = row[*ingestv1.IntelRelease]{r.key, r.revision + 1, done}
	}
	return nil
}

// sweep deletes old releases and the blobs that no row names.
func (s *Store) sweep(ctx context.Context, w *world) error {
	for len(w.releases) > keptReleases {
		old := w.releases[0]
		err := s.table.Write(ctx, table.Write{Delete: true, Item: table.Item{Key: old.key}, If: table.Condition(old.revision)})
		if err != nil && !errors.Is(err, fault.Conflict) {
			return err
		}
		w.releases = w.releases[1:]
	}
	named := w.named()
	for token := ""; ; {
		objects, next, err := s.bucket.List(ctx, owner+"/", token, 0)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if named[o.Key] || s.now().Sub(o.ModTime) < sweepAfter {
				continue
			}
			if err := s.bucket.Delete(ctx, o.Key); err != nil {
				return err
			}
		}
		if token = next; token == "" {
			return nil
		}
	}
}

// named are the blobs that rows name.
func (w *world) named() map[string]bool {
	out := map[string]bool{}
	for _, f := range w.feeds {
		out[f.value.GetCatalogue()] = true
	}
	for _, b := range w.inbox {
		out[b.value.GetBlob()] = true
	}
	parts := func(p *ingestv1.IntelPartition) {
		for _, key := range []string{p.GetRecords(), p.GetAdvisories().GetKey(), p.GetProducts().GetKey(), p.GetChanges()} {
			out[key] = true
		}
	}
	for _, p := range w.partitions {
		parts(p.value)
	}
	for _, r := range w.releases {
		for _, key := range []string{r.value.GetManifest().GetBlob(), r.value.GetChanged().GetProductsBlob(), r.value.GetAbout().GetKey()} {
			out[key] = true
		}
		for _, p := range r.value.GetPartitions() {
			parts(p)
		}
		for _, f := range r.value.GetProducts() {
			out[f.GetKey()] = true
		}
	}
	return out
}
