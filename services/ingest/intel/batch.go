package intel

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

const (
	// MaxBatchRecords bounds what is read before it is stored: one batch is held in memory.
	MaxBatchRecords = 10_000
	// MaxBatchBytes bounds it in bytes.
	MaxBatchBytes = 24 << 20

	// sectionRecord holds records by recordKey.
	sectionRecord = "record"
	// maxExamples is how many records that were not understood are kept by name.
	maxExamples = 20
	// maxExample bounds one of them.
	maxExample = 200
)

// canonical marshals, so that equal messages are equal bytes.
var canonical = proto.MarshalOptions{Deterministic: true}

// Batch is what was read of one feed and is not stored yet.
type Batch struct {
	records map[string][]byte
	bytes   int
	// Read counts the records that were taken.
	Read uint64
	// Skipped counts what was not understood; Examples are some of it.
	Skipped  uint64
	Examples []string
}

// recordKey orders records by advisory.
func recordKey(r *ingestv1.IntelRecord) string {
	return r.GetAdvisory() + "\x00" + r.GetFeed() + "\x00" + r.GetId()
}

// Full says that the batch is to be stored before more is read.
func (b *Batch) Full() bool { return len(b.records) >= MaxBatchRecords || b.bytes >= MaxBatchBytes }

// Out takes records into the batch.
func (b *Batch) Out() feeds.Out {
	return feeds.Out{Record: b.take, Skip: b.Skip}
}

// take adds a record and counts it. The lists of links do not count: they are part of a record.
func (b *Batch) take(r *ingestv1.IntelRecord) error {
	if r.GetFeed() != feeds.FeedLinks {
		b.Read++
	}
	return b.add(r)
}

// Skip counts what was not understood.
func (b *Batch) Skip(record, why string) {
	b.Skipped++
	if len(b.Examples) < maxExamples {
		text := record + ": " + why
		b.Examples = append(b.Examples, strings.ToValidUTF8(text[:min(len(text), maxExample)], ""))
	}
}

func (b *Batch) add(r *ingestv1.IntelRecord) error {
	raw, err := canonical.Marshal(r)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode record %s", r.GetId())
	}
	if b.records == nil {
		b.records = map[string][]byte{}
	}
	key := recordKey(r)
	if len(key) > snapshot.MaxKeyBytes {
		b.Skip(r.GetId(), "its ids are too long")
		return nil
	}
	if have, ok := b.records[key]; ok {
		if raw, err = newer(have, raw); err != nil {
			return err
		}
		b.bytes -= len(have)
	}
	b.records[key] = raw
	b.bytes += len(raw) + len(key)
	return nil
}

// file is the batch as a snapshot file, with the partitions that it touches.
func (b *Batch) file() ([]byte, []string, error) {
	var out bytes.Buffer
	w := snapshot.NewWriter(&out)
	partitions := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(b.records)) {
		advisory, _, _ := strings.Cut(key, "\x00")
		partitions[Partition(advisory)] = true
		if err := w.Add(sectionRecord, key, b.records[key]); err != nil {
			return nil, nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	return out.Bytes(), slices.Sorted(maps.Keys(partitions)), nil
}

// newer is the one of two records with the same key that counts: modified later, read by a newer parser, and where all that is
// equal the one with the greater bytes, so that the choice never depends on who came first.
func newer(a, b []byte) ([]byte, error) {
	if bytes.Equal(a, b) {
		return a, nil
	}
	x, err := decodeRecord(a)
	if err != nil {
		return nil, err
	}
	y, err := decodeRecord(b)
	if err != nil {
		return nil, err
	}
	if c := age(x, y); c > 0 || c == 0 && bytes.Compare(a, b) > 0 {
		return a, nil
	}
	return b, nil
}

func age(x, y *ingestv1.IntelRecord) int {
	if c := x.GetModified().AsTime().Compare(y.GetModified().AsTime()); c != 0 {
		return c
	}
	if c := int(x.GetParser()) - int(y.GetParser()); c != 0 {
		return c
	}
	switch { // what is taken back stays so: see tombstones
	case x.GetGone() && !y.GetGone():
		return 1
	case y.GetGone() && !x.GetGone():
		return -1
	}
	return 0
}

func decodeRecord(raw []byte) (*ingestv1.IntelRecord, error) {
	r := &ingestv1.IntelRecord{}
	if err := proto.Unmarshal(raw, r); err != nil {
		return nil, fault.Wrap(fault.DataLoss, err, "read stored record")
	}
	return r, nil
}

// checkRecord says what is wrong with a record that came from outside of the parsers.
func checkRecord(r *ingestv1.IntelRecord) error {
	known := r.GetFeed() == feeds.FeedCVE || r.GetFeed() == feeds.FeedNVD || r.GetFeed() == feeds.FeedOSV || r.GetFeed() == feeds.FeedLinks
	switch {
	case !known:
		return fault.New(fault.Invalid, "record %q is of no feed that has records", r.GetId())
	case !feeds.ValidID(r.GetId()) || !feeds.ValidID(r.GetAdvisory()):
		return fault.New(fault.Invalid, "record %q about %q: an id is wrong", r.GetId(), r.GetAdvisory())
	case r.GetModified() == nil || r.GetModified().CheckValid() != nil:
		return fault.New(fault.Invalid, "record %q does not say when it was modified", r.GetId())
	}
	for _, a := range r.GetAffected() {
		if !validProduct(a.GetProduct()) || a.GetRange() == nil {
			return fault.New(fault.Invalid, "record %q: product %q is no key", r.GetId(), a.GetProduct())
		}
	}
	return nil
}

// maxProduct bounds a product's key.
const maxProduct = 512

func validProduct(key string) bool {
	return len(key) <= maxProduct && strings.ContainsAny(key, ":/") && !strings.ContainsAny(key, "\x00\n")
}

// note keeps what a batch did not understand in a feed's state.
func (b *Batch) note(f *modelv1.IntelFeed) {
	f.Records += b.Read
	f.Skipped += b.Skipped
	f.Examples = append(f.Examples, b.Examples...)
	f.Examples = f.Examples[:min(len(f.Examples), maxExamples)]
}
