package intel

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// Sections of a catalogue.
const (
	sectionHead = "head"
	keyVersion  = "version"
	keyDate     = "date"
)

// epssUnit is what EPSS publishes in: five decimals.
const epssUnit = 1e5

// Catalogue is a feed that is read whole each time: KEV or EPSS.
type Catalogue struct {
	// Feed is kev or epss, also the name of the section with the entries by CVE id.
	Feed    string
	Version string
	Date    *timestamppb.Timestamp
	Entries uint64
	// File is the catalogue as a snapshot file.
	File []byte
}

// NewKEV makes a catalogue of KEV.
func NewKEV(k *feeds.KEV) (*Catalogue, error) {
	entries := make(map[string][]byte, len(k.Entries))
	for id, e := range k.Entries {
		raw, err := canonical.Marshal(e)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, err, "encode KEV")
		}
		entries[id] = raw
	}
	return newCatalogue(feeds.FeedKEV, k.Version, k.Released, entries)
}

// epssRow packs an entry: two numbers in hundred-thousandths. Model and date are those of the catalogue.
func epssRow(e *modelv1.Epss) []byte {
	b := binary.AppendUvarint(nil, uint64(math.Round(e.GetProbability()*epssUnit)))
	return binary.AppendUvarint(b, uint64(math.Round(e.GetPercentile()*epssUnit)))
}

// NewEPSS makes a catalogue of scores; rows come from epssRow.
func NewEPSS(head *feeds.EPSS, rows map[string][]byte) (*Catalogue, error) {
	return newCatalogue(feeds.FeedEPSS, head.Model, head.Date, rows)
}

func newCatalogue(feed, version string, date *timestamppb.Timestamp, entries map[string][]byte) (*Catalogue, error) {
	var out bytes.Buffer
	w := snapshot.NewWriter(&out)
	err := w.Add(sectionHead, keyDate, []byte(date.AsTime().UTC().Format(timeFormat)))
	if err == nil {
		err = w.Add(sectionHead, keyVersion, []byte(version))
	}
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		if err == nil {
			err = w.Add(feed, id, entries[id])
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, err
	}
	return &Catalogue{Feed: feed, Version: version, Date: date, Entries: uint64(len(entries)), File: out.Bytes()}, nil
}

// openCatalogue reads a catalogue that came from outside, all of it, and its digests by partition.
func openCatalogue(feed string, file []byte) (*Catalogue, map[string]string, error) {
	r, err := snapshot.OpenBytes(file)
	if err != nil {
		return nil, nil, err
	}
	h, err := readHead(r)
	if err != nil {
		return nil, nil, err
	}
	c := &Catalogue{Feed: feed, Version: h.version, Date: h.date, File: file}
	sums := digester{}
	for e, err := range r.Entries(feed, "") {
		if err != nil {
			return nil, nil, err
		}
		if !feeds.ValidCVE(e.Key) {
			return nil, nil, fault.New(fault.Invalid, "read catalogue %s: %q is no CVE id", feed, e.Key)
		}
		if _, err := decodeEntry(feed, e.Value, h); err != nil {
			return nil, nil, err
		}
		c.Entries++
		value := e.Value
		if feed == feeds.FeedEPSS {
			value = append([]byte(h.version+h.text+" "), e.Value...)
		}
		sums.add(e.Key, value)
	}
	if c.Entries == 0 {
		return nil, nil, fault.New(fault.Invalid, "read catalogue %s: it is empty", feed)
	}
	return c, sums.sums(), nil
}

// head is what all entries of a catalogue share.
type head struct {
	version, text string
	date          *timestamppb.Timestamp
}

func readHead(r *snapshot.Reader) (head, error) {
	version, err := r.Get(sectionHead, keyVersion)
	if err != nil {
		return head{}, err
	}
	text, err := r.Get(sectionHead, keyDate)
	if err != nil {
		return head{}, err
	}
	date, err := parseStamp(string(text))
	if err != nil {
		return head{}, err
	}
	return head{version: string(version), text: string(text), date: date}, nil
}

// decodeEntry reads one entry into the message that an advisory holds.
func decodeEntry(feed string, raw []byte, h head) (proto.Message, error) {
	if feed == feeds.FeedKEV {
		k := &modelv1.Kev{}
		if err := proto.Unmarshal(raw, k); err != nil || k.GetDateAdded() == nil {
			return nil, fault.New(fault.Invalid, "read catalogue kev: an entry is wrong")
		}
		return k, nil
	}
	p, n := binary.Uvarint(raw)
	if n <= 0 {
		return nil, fault.New(fault.Invalid, "read catalogue epss: an entry is wrong")
	}
	q, m := binary.Uvarint(raw[n:])
	if m <= 0 || p > epssUnit || q > epssUnit {
		return nil, fault.New(fault.Invalid, "read catalogue epss: an entry is wrong")
	}
	return &modelv1.Epss{Probability: float64(p) / epssUnit, Percentile: float64(q) / epssUnit, Model: h.version, Date: h.date}, nil
}
