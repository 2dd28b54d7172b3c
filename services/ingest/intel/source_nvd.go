package intel

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// Figures of the NVD API: https://nvd.nist.gov/developers/start-here and /developers/vulnerabilities
const (
	// firstNVDYear is the first yearly file; it holds all before it too.
	firstNVDYear = 2002
	// maxNVDWindow is the longest span of lastModStartDate to lastModEndDate: 120 days, less one for clocks.
	maxNVDWindow = 119 * 24 * time.Hour
	// nvdPage is the most results of one answer.
	nvdPage = 2000
	// nvdPause is the pause that NVD asks for between requests; with a key 50 may be made in 30 s.
	nvdPause    = 6 * time.Second
	nvdKeyPause = 600 * time.Millisecond
	// maxNVDAnswer bounds an answer, maxNVDFile a yearly file, packed.
	maxNVDAnswer = 256 << 20
	maxNVDFile   = 256 << 20
	nvdTime      = "2006-01-02T15:04:05.000Z"
)

// nvdSource reads the yearly files once, then what changed from the API.
type nvdSource struct {
	held

	api, files, key string
	now             func() time.Time
}

// nvdCursor says what was read.
type nvdCursor struct {
	// Year is the yearly file that comes next, Entry how many of its records were read; Since when the first one was asked for.
	Year  int `json:"year,omitempty"`
	Entry int `json:"entry,omitempty"`
	// Since: all that changed before it was read. Until is the end of the window that is read now, Index the next result in it.
	Since string `json:"since,omitempty"`
	Until string `json:"until,omitempty"`
	Index int    `json:"index,omitempty"`
}

// Name is nvd.
func (s *nvdSource) Name() string { return feeds.FeedNVD }

// Next reads a yearly file, or a page of what changed.
func (s *nvdSource) Next(ctx context.Context, cursor string, b *Batch) (Progress, error) {
	var c nvdCursor
	ok := at(cursor, &c)
	since, err := time.Parse(nvdTime, c.Since)
	if !ok || err != nil {
		c = nvdCursor{Year: firstNVDYear, Since: s.now().UTC().Format(nvdTime)}
		p, err := s.year(ctx, c, b)
		p.Fresh = true
		return p, err
	}
	if c.Year != 0 {
		return s.year(ctx, c, b)
	}
	return s.window(ctx, c, since, b)
}

// year reads the file of a year: nvdcve-2.0-YYYY.json.gz, whose .meta file names the SHA-256 of what is in it.
// https://nvd.nist.gov/vuln/data-feeds
func (s *nvdSource) year(ctx context.Context, c nvdCursor, b *Batch) (Progress, error) {
	this := s.now().UTC().Year()
	if c.Year > this {
		return Progress{Cursor: position(nvdCursor{Since: c.Since}), Fraction: 1, Text: "all years read"}, nil
	}
	address := fmt.Sprintf("%s/nvdcve-2.0-%d", s.files, c.Year)
	what := fmt.Sprintf("NVD of %d", c.Year)
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.client.Fetch(ctx, address+".json.gz", "", maxNVDFile)
	if errors.Is(err, fault.NotFound) && c.Year == this {
		// In the first days of a year its file is not there yet.
		return Progress{Cursor: position(nvdCursor{Since: c.Since}), Fraction: 1, Text: "all years read"}, nil
	}
	if err != nil {
		p, err := downloading(ctx, err, what)
		p.Cursor = position(c)
		return p, err
	}
	defer func() { _ = d.Close() }()
	if c.Entry == 0 {
		if err := s.verify(ctx, address+".meta", d); err != nil {
			s.client.Discard(address + ".json.gz")
			return Progress{}, fault.Wrap(fault.CodeOf(err), err, "fetch %s", what)
		}
	}
	read, total, err := readNVDFrom(ctx, d, c.Entry, b)
	if err != nil {
		s.client.Discard(address + ".json.gz")
		return Progress{}, fault.Wrap(fault.CodeOf(err), err, "read %s", what)
	}
	p := Progress{Fraction: share(c.Year-firstNVDYear, this-firstNVDYear+1), Text: fmt.Sprintf("%s: %d records", what, read)}
	c.Entry = read
	if total {
		s.client.Discard(address + ".json.gz")
		c.Year, c.Entry = c.Year+1, 0
	}
	p.Cursor = position(c)
	return p, nil
}

// readNVDFrom reads records from a position on until the batch is full or time is up; whole says that the end was reached.
func readNVDFrom(ctx context.Context, r io.Reader, from int, b *Batch) (read int, whole bool, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, false, fault.New(fault.Invalid, "it is no gzip file")
	}
	out := b.Out()
	_, err = feeds.ReadNVDFrom(z, from, func() error {
		if b.Full() || errors.Is(context.Cause(ctx), errBudget) {
			return errFull
		}
		read++
		return ctx.Err()
	}, out)
	if errors.Is(err, errFull) {
		return from + read, false, nil
	}
	return from + read, err == nil, err
}

// verify compares a file with its .meta.
func (s *nvdSource) verify(ctx context.Context, address string, d *feeds.Download) error {
	res, err := s.client.Get(ctx, address, "", 4096, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Close() }()
	raw, err := io.ReadAll(res)
	if err != nil {
		return err
	}
	want := ""
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "sha256:"); ok {
			want = strings.ToLower(value)
		}
	}
	z, err := gzip.NewReader(d)
	if err != nil {
		return fault.New(fault.Unavailable, "it is no gzip file")
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(z, 4<<30))
	if err != nil || n == 4<<30 {
		return fault.New(fault.Unavailable, "it cannot be unpacked")
	}
	if hex.EncodeToString(h.Sum(nil)) != want {
		return fault.New(fault.Unavailable, "its SHA-256 is not the one in its .meta file: it was damaged on the way, or replaced just now")
	}
	_, err = d.Seek(0, io.SeekStart)
	return err
}

// window reads one page of what changed since the last sync.
func (s *nvdSource) window(ctx context.Context, c nvdCursor, since time.Time, b *Batch) (Progress, error) {
	if c.Until == "" {
		until := s.now().UTC()
		if until.Sub(since) < time.Minute {
			return Progress{Cursor: position(c), Done: true, Fraction: 1, Text: "nothing new"}, nil
		}
		if until.Sub(since) > maxNVDWindow {
			until = since.Add(maxNVDWindow)
		}
		c.Until, c.Index = until.Format(nvdTime), 0
	}
	query := url.Values{"lastModStartDate": {c.Since}, "lastModEndDate": {c.Until}, "startIndex": {strconv.Itoa(c.Index)}, "resultsPerPage": {strconv.Itoa(nvdPage)}}
	headers := map[string]string{}
	if s.key != "" {
		headers["apiKey"] = s.key
	}
	res, err := s.client.Get(ctx, s.api+"?"+query.Encode(), "", maxNVDAnswer, headers)
	if err != nil {
		return Progress{}, fault.Wrap(fault.CodeOf(err), err, "ask NVD")
	}
	defer func() { _ = res.Close() }()
	page, err := feeds.ReadNVD(res, b.Out())
	if err != nil {
		return Progress{}, fault.Wrap(fault.CodeOf(err), err, "read the answer of NVD")
	}
	if page.Start != c.Index {
		return Progress{}, fault.New(fault.Unavailable, "read the answer of NVD: it begins at %d, not at %d", page.Start, c.Index)
	}
	p := Progress{Fraction: share(c.Index+page.Count, page.Total), Text: fmt.Sprintf("%d of %d changes", c.Index+page.Count, page.Total), Wait: nvdPause}
	if s.key != "" {
		p.Wait = nvdKeyPause
	}
	c.Index += page.Count
	if c.Index >= page.Total || page.Count == 0 {
		until, err := time.Parse(nvdTime, c.Until)
		if err != nil {
			return Progress{}, fault.Wrap(fault.Internal, err, "read own cursor")
		}
		p.Date = timestamppb.New(until)
		p.Done = s.now().UTC().Sub(until) < time.Hour
		c = nvdCursor{Since: c.Until}
	}
	p.Cursor = position(c)
	return p, nil
}
