package intel

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// The rows of the store, all in one partition: knowledge about vulnerabilities belongs to no tenant.
//
//	FEED#<feed>         IntelFeedState
//	INBOX#<time>#<id>   IntelBatch
//	PART#<partition>    IntelPartition
//	RELEASE#<version>   IntelRelease
const (
	rows          = "INTEL"
	prefixFeed    = "FEED#"
	prefixInbox   = "INBOX#"
	prefixPart    = "PART#"
	prefixRelease = "RELEASE#"

	// owner begins the keys of all blobs.
	owner = "intel"
	// openBytes bounds what is held open of fetched blobs between two partitions.
	openBytes = 192 << 20
)

// row is a stored message with its revision.
type row[M proto.Message] struct {
	key      table.Key
	revision int64
	value    M
}

func rowKey(sort string) table.Key { return table.Key{Partition: rows, Sort: sort} }

// all reads the rows whose sort key begins with prefix, in their order.
func all[M proto.Message](ctx context.Context, t *table.Table, prefix string, fresh func() M) ([]row[M], error) {
	var out []row[M]
	for token := ""; ; {
		page, err := t.Query(ctx, table.Query{Partition: rows, Prefix: prefix, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			m, err := protoitem.Decode(item, fresh())
			if err != nil {
				return nil, err
			}
			out = append(out, row[M]{item.Key, item.Revision, m})
		}
		if token = page.NextPageToken; token == "" {
			return out, nil
		}
	}
}

// put is a write of a row that must still have the revision at which it was read.
func put(key table.Key, m proto.Message, revision int64) (table.Write, error) {
	item, err := protoitem.New(key, m)
	return table.Write{Item: item, If: table.Condition(revision)}, err
}

// Store is where knowledge is kept. It is safe for concurrent use, and so are several over the same table and bucket.
type Store struct {
	table  *table.Table
	bucket blob.Bucket
	dir    string
	now    func() time.Time

	mu    sync.Mutex
	open  map[string]*opened
	bytes int64
}

type opened struct {
	*snapshot.Reader

	bytes int64
}

// NewStore makes a store. Files that are being read lie in dir.
func NewStore(t *table.Table, b blob.Bucket, dir string, now func() time.Time) *Store {
	return &Store{table: t, bucket: b, dir: dir, now: now, open: map[string]*opened{}}
}

// Close closes what is open.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for key, o := range s.open {
		errs = append(errs, o.Close())
		delete(s.open, key)
	}
	s.bytes = 0
	return errors.Join(errs...)
}

// feed reads the state of one feed, an empty one if there is none.
func (s *Store) feed(ctx context.Context, name string) (row[*ingestv1.IntelFeedState], error) {
	key := rowKey(prefixFeed + name)
	item, err := s.table.Get(ctx, key)
	if errors.Is(err, fault.NotFound) {
		return row[*ingestv1.IntelFeedState]{key: key, value: &ingestv1.IntelFeedState{Feed: &modelv1.IntelFeed{Name: name}}}, nil
	}
	if err != nil {
		return row[*ingestv1.IntelFeedState]{}, err
	}
	m, err := protoitem.Decode(item, &ingestv1.IntelFeedState{})
	return row[*ingestv1.IntelFeedState]{key, item.Revision, m}, err
}

func (s *Store) feeds(ctx context.Context) ([]row[*ingestv1.IntelFeedState], error) {
	return all(ctx, s.table, prefixFeed, func() *ingestv1.IntelFeedState { return &ingestv1.IntelFeedState{} })
}

func (s *Store) inbox(ctx context.Context) ([]row[*ingestv1.IntelBatch], error) {
	return all(ctx, s.table, prefixInbox, func() *ingestv1.IntelBatch { return &ingestv1.IntelBatch{} })
}

func (s *Store) partitions(ctx context.Context) ([]row[*ingestv1.IntelPartition], error) {
	return all(ctx, s.table, prefixPart, func() *ingestv1.IntelPartition { return &ingestv1.IntelPartition{} })
}

// releases are the releases that are kept, oldest first.
func (s *Store) releases(ctx context.Context) ([]row[*ingestv1.IntelRelease], error) {
	return all(ctx, s.table, prefixRelease, func() *ingestv1.IntelRelease { return &ingestv1.IntelRelease{} })
}

// keep stores a blob. The day is part of its key: see [Store.sweep].
func (s *Store) keep(ctx context.Context, kind string, data []byte) (*ingestv1.IntelFile, error) {
	p, err := snapshot.StoreFile(ctx, s.bucket, owner, s.kind(kind), data)
	return &ingestv1.IntelFile{Key: p.Key, Bytes: p.Bytes}, err
}

func (s *Store) kind(kind string) string { return kind + "-" + s.now().UTC().Format("20060102") }

// inboxWrite stores a batch and is the write of its row; ok is false for a batch without records.
func (s *Store) inboxWrite(ctx context.Context, b *Batch) (w table.Write, ok bool, err error) {
	if len(b.records) == 0 {
		return table.Write{}, false, nil
	}
	file, partitions, err := b.file()
	if err != nil {
		return table.Write{}, false, err
	}
	kept, err := s.keep(ctx, "batch", file)
	if err != nil {
		return table.Write{}, false, err
	}
	key := rowKey(fmt.Sprintf("%s%s#%s", prefixInbox, s.now().UTC().Format(timeFormat), rand.Text()[:10]))
	w, err = put(key, &ingestv1.IntelBatch{Blob: kept.GetKey(), Partitions: partitions, Records: uint64(len(b.records))}, 0)
	return w, err == nil, err
}

// reader opens a blob that is a snapshot file. It stays open for the next partition, until trim.
func (s *Store) reader(ctx context.Context, key string) (*snapshot.Reader, error) {
	s.mu.Lock()
	have := s.open[key]
	s.mu.Unlock()
	if have != nil {
		return have.Reader, nil
	}
	data, err := s.bucket.Get(ctx, key)
	if err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "read intel %s", key)
	}
	r, err := s.mapFile(data)
	if err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "read intel %s", key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.open[key]; have != nil {
		return have.Reader, r.Close()
	}
	s.open[key] = &opened{r, int64(len(data))}
	s.bytes += int64(len(data))
	return r, nil
}

// mapFile opens data from a file without a name, so that it counts as the operating system's cache and not as our memory.
func (s *Store) mapFile(data []byte) (*snapshot.Reader, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.FailedPrecondition, err, "make directory %s", s.dir)
	}
	f, err := os.CreateTemp(s.dir, "open-*")
	if err != nil {
		return nil, fault.Wrap(fault.ResourceExhausted, err, "write to %s", s.dir)
	}
	defer func() { _ = os.Remove(f.Name()) }() // the reader keeps what it opened
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fault.Wrap(fault.ResourceExhausted, err, "write to %s", s.dir)
	}
	return snapshot.Open(f.Name())
}

// trim closes readers until what is open fits. No reader may be in use.
func (s *Store) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, o := range s.open {
		if s.bytes <= openBytes {
			return
		}
		_ = o.Close() // it was only read
		delete(s.open, key)
		s.bytes -= o.bytes
	}
}

// Status is what there is to say about the store.
func (s *Store) Status(ctx context.Context) (*ingestv1.IntelStatus, error) {
	feeds, err := s.feeds(ctx)
	if err != nil {
		return nil, err
	}
	inbox, err := s.inbox(ctx)
	if err != nil {
		return nil, err
	}
	releases, err := s.releases(ctx)
	if err != nil {
		return nil, err
	}
	out := &ingestv1.IntelStatus{}
	for _, f := range feeds {
		out.Feeds = append(out.Feeds, f.value.GetFeed())
	}
	for _, b := range inbox {
		out.Pending += b.value.GetRecords()
	}
	for i := len(releases) - 1; i >= 0; i-- {
		out.Manifests = append(out.Manifests, releases[i].value.GetManifest())
	}
	if len(out.GetManifests()) > 0 {
		out.Manifest = out.GetManifests()[0]
	}
	return out, nil
}

// family is the name of a feed without what follows a slash.
func family(feed string) string {
	name, _, _ := strings.Cut(feed, "/")
	return name
}
