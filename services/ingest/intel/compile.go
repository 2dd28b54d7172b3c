package intel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

const (
	// compilerVersion grows when the same records make other files: all partitions are compiled again.
	compilerVersion = 1
	// Sections of a snapshot; the correlator reads them by these names.
	sectionAdvisory = "advisory"
	sectionProduct  = "product"
	sectionManifest = "manifest"
	// maxMerged is how many rows of the inbox one partition takes at a time: with its own they are one write of the table.
	maxMerged = table.MaxWriteItems - 2
)

// world is all that a step has to know of the store.
type world struct {
	feeds      map[string]row[*ingestv1.IntelFeedState]
	inbox      []row[*ingestv1.IntelBatch]
	partitions map[string]row[*ingestv1.IntelPartition]
	releases   []row[*ingestv1.IntelRelease]
}

func (s *Store) world(ctx context.Context) (*world, error) {
	w := &world{feeds: map[string]row[*ingestv1.IntelFeedState]{}, partitions: map[string]row[*ingestv1.IntelPartition]{}}
	all, err := s.feeds(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		w.feeds[f.value.GetFeed().GetName()] = f
	}
	if w.inbox, err = s.inbox(ctx); err != nil {
		return nil, err
	}
	parts, err := s.partitions(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		w.partitions[p.value.GetName()] = p
	}
	w.releases, err = s.releases(ctx)
	return w, err
}

// names are all partitions that there are or must be, in their order.
func (w *world) names() []string {
	var names []string
	for name := range w.partitions {
		names = append(names, name)
	}
	for _, b := range w.inbox {
		names = append(names, b.value.GetPartitions()...)
	}
	for name := range w.kev() {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (w *world) catalogue(feed string) *ingestv1.IntelFeedState { return w.feeds[feed].value }

func (w *world) kev() map[string]string { return w.catalogue(feeds.FeedKEV).GetDigests() }

// inputs say what the files of a partition are made of, beside the inbox.
func (w *world) inputs(name, records string) string {
	kev := w.catalogue(feeds.FeedKEV)
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d %s %t %s %s", compilerVersion, content(records), kev.GetCatalogue() != "", kev.GetDigests()[name],
		w.catalogue(feeds.FeedEPSS).GetDigests()[name]) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// content is the last segment of a blob's key: its content.
func content(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// waiting are the rows of the inbox that concern a partition.
func (w *world) waiting(name string) []row[*ingestv1.IntelBatch] {
	var out []row[*ingestv1.IntelBatch]
	for _, b := range w.inbox {
		if slices.Contains(b.value.GetPartitions(), name) {
			out = append(out, b)
		}
	}
	return out
}

// dirty are the partitions that must be compiled.
func (w *world) dirty() []string {
	var out []string
	for _, name := range w.names() {
		p := w.partitions[name].value
		if len(w.waiting(name)) > 0 || p.GetInputs() != w.inputs(name, p.GetRecords()) {
			out = append(out, name)
		}
	}
	return out
}

// compile brings one partition up to date. It changes w as it changes the store.
func (s *Store) compile(ctx context.Context, w *world, name string) error {
	s.trim()
	old := w.partitions[name]
	waiting := w.waiting(name)
	waiting = waiting[:min(len(waiting), maxMerged)]
	var readers []*snapshot.Reader
	keys := []string{old.value.GetRecords()}
	for _, b := range waiting {
		keys = append(keys, b.value.GetBlob())
	}
	for _, key := range keys {
		if key == "" {
			continue
		}
		r, err := s.reader(ctx, key)
		if err != nil {
			return err
		}
		readers = append(readers, r)
	}
	c, err := s.newCompilation(ctx, w, name)
	if err != nil {
		return err
	}
	if err := merged(readers, name, c.take); err != nil {
		return err
	}
	next, err := c.store(ctx, s, name)
	if err != nil {
		return err
	}
	next.Inputs = w.inputs(name, next.GetRecords())
	if err := s.compare(ctx, w, next); err != nil {
		return err
	}
	return s.replace(ctx, w, old, next, waiting, &c.back)
}

// replace writes the partition together with what it took from the inbox.
func (s *Store) replace(ctx context.Context, w *world, old row[*ingestv1.IntelPartition], next *ingestv1.IntelPartition, taken []row[*ingestv1.IntelBatch], back *Batch) error {
	key := rowKey(prefixPart + next.GetName())
	first, err := put(key, next, old.revision)
	if err != nil {
		return err
	}
	writes := []table.Write{first}
	gone, less := map[string]bool{}, map[string]*ingestv1.IntelBatch{}
	for _, b := range taken {
		rest := proto.CloneOf(b.value)
		rest.Partitions = slices.DeleteFunc(rest.GetPartitions(), func(p string) bool { return p == next.GetName() })
		write, err := put(b.key, rest, b.revision)
		if err != nil {
			return err
		}
		if write.Delete = len(rest.GetPartitions()) == 0; write.Delete {
			gone[b.key.Sort] = true
		} else {
			less[b.key.Sort] = rest
		}
		writes = append(writes, write)
	}
	if write, ok, err := s.inboxWrite(ctx, back); err != nil {
		return err
	} else if ok {
		writes = append(writes, write)
		m := &ingestv1.IntelBatch{}
		if err := proto.Unmarshal(write.Item.Value, m); err != nil {
			return fault.Wrap(fault.Internal, err, "read own batch")
		}
		w.inbox = append(w.inbox, row[*ingestv1.IntelBatch]{write.Item.Key, 1, m})
	}
	if err := s.table.Write(ctx, writes...); err != nil {
		return err
	}
	w.partitions[next.GetName()] = row[*ingestv1.IntelPartition]{key, old.revision + 1, next}
	w.inbox = slices.DeleteFunc(w.inbox, func(b row[*ingestv1.IntelBatch]) bool { return gone[b.key.Sort] })
	for i, b := range w.inbox {
		if rest := less[b.key.Sort]; rest != nil {
			w.inbox[i] = row[*ingestv1.IntelBatch]{b.key, b.revision + 1, rest}
		}
	}
	return nil
}
