package intel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// Figures of OSV's exports: https://google.github.io/osv.dev/data/
const (
	// maxOSVArchive bounds an ecosystem's all.zip; Ubuntu's has several hundred MB.
	maxOSVArchive = 3 << 30
	// maxOSVList bounds modified_id.csv.
	maxOSVList = 256 << 20
	// maxSingles is how many changed records are fetched one by one; beyond that the archive is one request instead of many.
	maxSingles = 500
	// osvOverlap is read again each time: a record may be published a little after the moment it names.
	osvOverlap = time.Hour
)

// osvSource reads one ecosystem: all of it first, then the records that modified_id.csv lists as changed.
type osvSource struct {
	held

	base, ecosystem string
}

// osvCursor says what was read.
type osvCursor struct {
	// Full: all.zip is read; Entry is how far.
	Full  bool `json:"full,omitempty"`
	Entry int  `json:"entry,omitempty"`
	// Since: all that changed before it was read. Next takes its place when what is read now is at its end.
	Since string `json:"since,omitempty"`
	Next  string `json:"next,omitempty"`
	// Pending are ids that are still to be fetched.
	Pending []string `json:"pending,omitempty"`
	// ETag is that of the list.
	ETag string `json:"etag,omitempty"`
}

// Name is osv/ECOSYSTEM.
func (s *osvSource) Name() string { return feeds.FeedOSV + "/" + s.ecosystem }

func (s *osvSource) address(file string) string {
	return s.base + "/" + url.PathEscape(s.ecosystem) + "/" + url.PathEscape(file)
}

// Next reads on.
func (s *osvSource) Next(ctx context.Context, cursor string, b *Batch) (Progress, error) {
	var c osvCursor
	if !at(cursor, &c) || !c.Full && c.Since == "" {
		list, err := s.list(ctx, "")
		if err != nil {
			return Progress{}, err
		}
		c = osvCursor{Full: true, Next: list.newest, ETag: list.etag}
		p, err := s.all(ctx, c, b)
		p.Fresh = true
		return p, err
	}
	switch {
	case c.Full:
		return s.all(ctx, c, b)
	case len(c.Pending) > 0:
		return s.singles(ctx, c, b)
	}
	return s.changed(ctx, c, b)
}

// all reads the archive. The list was read before it, so that what changes meanwhile is found by the next sync.
func (s *osvSource) all(ctx context.Context, c osvCursor, b *Batch) (Progress, error) {
	p, end, err := s.readArchive(ctx, s.address("all.zip"), c.Entry, maxOSVArchive, b, feeds.ReadOSV, "OSV "+s.ecosystem)
	if err != nil || end < 0 {
		p.Cursor = position(c)
		return p, err
	}
	c.Entry = end
	if p.Fraction >= 1 {
		s.drop(s.address("all.zip"))
		c = osvCursor{Since: c.Next, ETag: c.ETag}
		p.Done, p.Date = true, stampOf(c.Since)
	}
	p.Cursor = position(c)
	return p, nil
}

// osvList is what modified_id.csv says.
type osvList struct {
	changed      []string
	count        int
	newest, etag string
	unchanged    bool
}

// list reads modified_id.csv: which records changed after since.
func (s *osvSource) list(ctx context.Context, since string, etag ...string) (*osvList, error) {
	tag := ""
	if len(etag) > 0 {
		tag = etag[0]
	}
	res, err := s.client.Get(ctx, s.address("modified_id.csv"), tag, maxOSVList, nil)
	if err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "fetch the list of OSV %s", s.ecosystem)
	}
	defer func() { _ = res.Close() }()
	out := &osvList{etag: res.ETag, unchanged: res.Unchanged}
	if res.Unchanged {
		return out, nil
	}
	from := time.Time{}
	if t := stampOf(since); t != nil {
		from = t.AsTime().Add(-osvOverlap)
	}
	newest := time.Time{}
	err = feeds.ReadModified(res, func(id string, modified time.Time) error {
		if modified.After(newest) {
			newest = modified
		}
		if modified.After(from) && feeds.Wanted(id) {
			if out.count++; len(out.changed) <= maxSingles {
				out.changed = append(out.changed, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "read the list of OSV %s", s.ecosystem)
	}
	out.newest = newest.UTC().Format(timeFormat)
	return out, nil
}

func stampOf(s string) *timestamppb.Timestamp {
	t, err := parseStamp(s)
	if err != nil {
		return nil
	}
	return t
}

// changed looks what is new.
func (s *osvSource) changed(ctx context.Context, c osvCursor, b *Batch) (Progress, error) {
	list, err := s.list(ctx, c.Since, c.ETag)
	if err != nil {
		return Progress{}, err
	}
	if list.unchanged || list.count == 0 {
		return Progress{Cursor: position(c), Done: true, Fraction: 1, Text: "nothing new"}, nil
	}
	if list.count > maxSingles {
		return s.all(ctx, osvCursor{Full: true, Next: list.newest, ETag: list.etag}, b)
	}
	c = osvCursor{Since: c.Since, Next: list.newest, ETag: list.etag, Pending: list.changed}
	return s.singles(ctx, c, b)
}

// singles fetches records one by one.
func (s *osvSource) singles(ctx context.Context, c osvCursor, b *Batch) (Progress, error) {
	read := 0
	for len(c.Pending) > 0 && !b.Full() {
		err := s.single(ctx, c.Pending[0], b)
		if err != nil && errors.Is(context.Cause(ctx), errBudget) && read > 0 {
			break
		}
		if err != nil {
			return Progress{}, fault.Wrap(fault.CodeOf(err), err, "fetch %s from OSV", c.Pending[0])
		}
		c.Pending = c.Pending[1:]
		read++
	}
	p := Progress{Fraction: -1, Text: fmt.Sprintf("OSV %s: %d changed records", s.ecosystem, read)}
	if len(c.Pending) == 0 {
		c = osvCursor{Since: c.Next, ETag: c.ETag}
		p.Done, p.Fraction, p.Date = true, 1, stampOf(c.Since)
	}
	p.Cursor = position(c)
	return p, nil
}

func (s *osvSource) single(ctx context.Context, id string, b *Batch) error {
	res, err := s.client.Get(ctx, s.address(id+".json"), "", feeds.MaxRecordBytes, nil)
	if errors.Is(err, fault.NotFound) {
		b.Skip(id, "it is listed as changed and is not there")
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = res.Close() }()
	raw, err := io.ReadAll(res)
	if err != nil {
		return err
	}
	return feeds.ReadOSV(raw, id, b.Out())
}
