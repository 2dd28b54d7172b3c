package intel

import (
	"bytes"
	"context"
	"errors"
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

// compilation makes the files of one partition. Beside the files, which are compressed, it holds the records of one advisory
// and the ranges of the products.
type compilation struct {
	kev, epss         *snapshot.Reader
	kevHead, epssHead head
	kevIDs            []string // those of KEV in the partition that were not passed yet

	records, advisories      bytes.Buffer
	recordFile, advisoryFile *snapshot.Writer
	recordCount, count       uint64
	kevCount                 uint64
	products                 map[string][]byte

	id    string
	group []*ingestv1.IntelRecord
	// back is what concerns other partitions.
	back Batch
}

func (s *Store) newCompilation(ctx context.Context, w *world, name string) (*compilation, error) {
	c := &compilation{products: map[string][]byte{}}
	c.recordFile, c.advisoryFile = snapshot.NewWriter(&c.records), snapshot.NewWriter(&c.advisories)
	var err error
	if c.kev, c.kevHead, err = s.openCatalogue(ctx, w, feeds.FeedKEV); err != nil {
		return nil, err
	}
	if c.epss, c.epssHead, err = s.openCatalogue(ctx, w, feeds.FeedEPSS); err != nil || c.kev == nil {
		return c, err
	}
	for id, err := range c.kev.Keys(feeds.FeedKEV, name) {
		if err != nil {
			return nil, err
		}
		if Partition(id) == name {
			c.kevIDs = append(c.kevIDs, id)
		}
	}
	return c, nil
}

// openCatalogue opens the catalogue of a feed, nil if it was never read.
func (s *Store) openCatalogue(ctx context.Context, w *world, feed string) (*snapshot.Reader, head, error) {
	key := w.catalogue(feed).GetCatalogue()
	if key == "" {
		return nil, head{}, nil
	}
	r, err := s.reader(ctx, key)
	if err != nil {
		return nil, head{}, err
	}
	h, err := readHead(r)
	return r, h, err
}

// take is given the records in the order of their keys.
func (c *compilation) take(key string, winner []byte, losers [][]byte) error {
	advisory, rest, _ := strings.Cut(key, "\x00")
	if advisory != c.id {
		if err := c.finish(advisory); err != nil {
			return err
		}
	}
	if err := c.recordFile.Add(sectionRecord, key, winner); err != nil {
		return err
	}
	c.recordCount++
	if strings.HasPrefix(rest, feeds.FeedLinks+"\x00") {
		return tombstones(winner, losers, &c.back)
	}
	r, err := decodeRecord(winner)
	if err != nil {
		return err
	}
	c.group = append(c.group, r)
	return nil
}

// finish joins what was gathered about one advisory, and before it the entries of KEV that have no record.
func (c *compilation) finish(next string) error {
	id, group := c.id, c.group
	c.id, c.group = next, nil
	for len(c.kevIDs) > 0 && (next == "" && id == "" || c.kevIDs[0] <= id) {
		first := c.kevIDs[0]
		c.kevIDs = c.kevIDs[1:]
		if first == id {
			break
		}
		if err := c.add(first, nil); err != nil {
			return err
		}
	}
	if id == "" {
		return nil
	}
	return c.add(id, group)
}

func (c *compilation) add(id string, group []*ingestv1.IntelRecord) error {
	s := signals{kevRead: c.kev != nil}
	k, err := entry(c.kev, feeds.FeedKEV, id, c.kevHead)
	if err != nil {
		return err
	}
	s.kev, _ = k.(*modelv1.Kev) // nil if it is not there
	e, err := entry(c.epss, feeds.FeedEPSS, id, c.epssHead)
	if err != nil {
		return err
	}
	s.epss, _ = e.(*modelv1.Epss) // nil if it is not there
	a, affected := join(id, group, s)
	if a == nil {
		return nil
	}
	c.count++
	if a.GetKev() != nil {
		c.kevCount++
	}
	for _, same := range byProduct(affected) {
		p := &modelv1.ProductRecord{}
		for _, one := range same {
			p.Affected = append(p.Affected, one.GetRange())
		}
		// The bytes of a repeated field one after another are the field with all its values: what is known of the same product
		// elsewhere is appended without being read.
		key := same[0].GetProduct()
		if c.products[key], err = canonical.MarshalAppend(c.products[key], p); err != nil {
			return fault.Wrap(fault.Internal, err, "encode product %s", key)
		}
	}
	raw, err := canonical.Marshal(a)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode advisory %s", id)
	}
	return c.advisoryFile.Add(sectionAdvisory, id, raw)
}

// byProduct cuts a list that is ordered by product into those of one product.
func byProduct(list []*ingestv1.IntelAffected) [][]*ingestv1.IntelAffected {
	var out [][]*ingestv1.IntelAffected
	for start, i := 0, 1; i <= len(list); i++ {
		if i == len(list) || list[i].GetProduct() != list[start].GetProduct() {
			out = append(out, list[start:i])
			start = i
		}
	}
	return out
}

func entry(r *snapshot.Reader, feed, id string, h head) (proto.Message, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	raw, err := r.Get(feed, id)
	if errors.Is(err, fault.NotFound) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, err
	}
	return decodeEntry(feed, raw, h)
}

// store ends the files and keeps them.
func (c *compilation) store(ctx context.Context, s *Store, name string) (*ingestv1.IntelPartition, error) {
	if err := c.finish(""); err != nil {
		return nil, err
	}
	if err := c.finish(""); err != nil { // what of KEV comes after the last record
		return nil, err
	}
	var runs bytes.Buffer
	productFile := snapshot.NewWriter(&runs)
	for _, key := range slices.Sorted(maps.Keys(c.products)) {
		if err := productFile.Add(sectionProduct, key, c.products[key]); err != nil {
			return nil, err
		}
	}
	p := &ingestv1.IntelPartition{Name: name, RecordCount: c.recordCount, AdvisoryCount: c.count, KevCount: c.kevCount}
	for _, w := range []*snapshot.Writer{c.recordFile, c.advisoryFile, productFile} {
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	records, err := s.keep(ctx, "records", c.records.Bytes())
	if err != nil {
		return nil, err
	}
	if p.Advisories, err = s.keep(ctx, "part", c.advisories.Bytes()); err != nil {
		return nil, err
	}
	if p.Products, err = s.keep(ctx, "run", runs.Bytes()); err != nil {
		return nil, err
	}
	p.Records, p.Advisories.Keys, p.Products.Keys = records.GetKey(), c.count, uint64(len(c.products))
	return p, nil
}
