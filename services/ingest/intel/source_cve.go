package intel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

const (
	// maxCVEArchive bounds the whole list as published: 650 MB in 2026.
	maxCVEArchive = 3 << 30
	// maxCVEDelta bounds what one day changed: a few MB, hundreds when old records are corrected.
	maxCVEDelta = 1 << 30
	// maxDeltaDays is how many days of changes are read one by one; beyond that the whole list is read anew.
	maxDeltaDays = 30
)

// cveSource reads the CVE list from its releases at GitHub. A release is made every hour, tagged cve_YYYY-MM-DD_HH00Z, with the whole
// list as of midnight and all that changed on that day until then; the last of a day is tagged cve_YYYY-MM-DD_at_end_of_day. All times
// are UTC. https://github.com/CVEProject/cvelistV5#releases
type cveSource struct {
	held

	base string
	now  func() time.Time
}

// cveCursor says what was read.
type cveCursor struct {
	// Full is the address of the whole list that is being read, Day then the day of whose midnight it is.
	Full string `json:"full,omitempty"`
	// Day is the first day whose changes were not read to their end.
	Day string `json:"day,omitempty"`
	// Entry is how far the archive was read that is read now.
	Entry int `json:"entry,omitempty"`
	// Delta is the archive of Day that was read last, or is read now.
	Delta   string `json:"delta,omitempty"`
	Reading bool   `json:"reading,omitempty"`
	// Closed: Delta is a day's last.
	Closed bool `json:"closed,omitempty"`
}

// Name is cve.
func (s *cveSource) Name() string { return feeds.FeedCVE }

// Next reads the whole list at first, then what changed, day by day.
func (s *cveSource) Next(ctx context.Context, cursor string, b *Batch) (Progress, error) {
	var c cveCursor
	day, err := time.Time{}, error(nil)
	if at(cursor, &c) && c.Full == "" {
		day, err = time.Parse(time.DateOnly, c.Day)
	}
	today := s.now().UTC().Truncate(24 * time.Hour)
	switch {
	case c.Full != "":
		return s.full(ctx, c, b)
	case err != nil || day.IsZero() || today.Sub(day) > maxDeltaDays*24*time.Hour:
		return s.begin(ctx, b)
	}
	return s.delta(ctx, c, day, today, b)
}

// hours are the hours of a day of which a release may exist, newest first: midnight's own belongs to the day before.
func hours(day time.Time, now time.Time) []int {
	last := 23
	if day.Equal(now.UTC().Truncate(24 * time.Hour)) {
		last = now.UTC().Hour()
	}
	var out []int
	for h := last; h >= 1; h-- {
		out = append(out, h)
	}
	return out
}

func (s *cveSource) fullURL(day time.Time, hour int) string {
	d := day.Format(time.DateOnly)
	return fmt.Sprintf("%s/cve_%s_%02d00Z/%s_all_CVEs_at_midnight.zip.zip", s.base, d, hour, d)
}

func (s *cveSource) deltaURL(day time.Time, hour int) string {
	d := day.Format(time.DateOnly)
	return fmt.Sprintf("%s/cve_%s_%02d00Z/%s_delta_CVEs_at_%02d00Z.zip", s.base, d, hour, d, hour)
}

func (s *cveSource) endOfDayURL(day time.Time) string {
	d := day.Format(time.DateOnly)
	return fmt.Sprintf("%s/cve_%s_at_end_of_day/%s_delta_CVEs_at_end_of_day.zip", s.base, d, d)
}

// begin finds the newest whole list.
func (s *cveSource) begin(ctx context.Context, b *Batch) (Progress, error) {
	today := s.now().UTC().Truncate(24 * time.Hour)
	for _, day := range []time.Time{today, today.AddDate(0, 0, -1)} {
		for _, hour := range hours(day, s.now()) {
			c := cveCursor{Full: s.fullURL(day, hour), Day: day.Format(time.DateOnly)}
			p, err := s.full(ctx, c, b)
			if errors.Is(err, fault.NotFound) {
				continue
			}
			p.Fresh = true
			return p, err
		}
	}
	return Progress{}, fault.New(fault.Unavailable, "fetch the CVE list: no release of today or yesterday has it; is %s the right address?", s.base)
}

func (s *cveSource) full(ctx context.Context, c cveCursor, b *Batch) (Progress, error) {
	p, end, err := s.readArchive(ctx, c.Full, c.Entry, maxCVEArchive, b, feeds.ReadCVE, "the CVE list of "+c.Day)
	if errors.Is(err, fault.NotFound) && c.Entry > 0 {
		// The release is gone, the download too: begin anew at the next call.
		return Progress{Cursor: "", Fraction: 0, Text: "the release is gone, beginning with a newer one"}, nil
	}
	if err != nil || end < 0 {
		p.Cursor = position(c)
		return p, err
	}
	c.Entry = end
	if p.Fraction >= 1 {
		s.drop(c.Full)
		c = cveCursor{Day: c.Day}
	}
	p.Cursor = position(c)
	return p, nil
}

// delta reads what changed on one day: all of it if the day is over, else until the last full hour.
func (s *cveSource) delta(ctx context.Context, c cveCursor, day, today time.Time, b *Batch) (Progress, error) {
	if c.Reading {
		p, err := s.read(ctx, c, day, today, b)
		if !errors.Is(err, fault.NotFound) {
			return p, err
		}
		c = cveCursor{Day: c.Day} // it is gone: look for a newer one
	}
	return s.newest(ctx, c, day, today, b)
}

// newest finds the archive of a day that says most.
func (s *cveSource) newest(ctx context.Context, c cveCursor, day, today time.Time, b *Batch) (Progress, error) {
	type candidate struct {
		url    string
		closed bool
	}
	var all []candidate
	if day.Before(today) {
		all = append(all, candidate{s.endOfDayURL(day), true})
	}
	for _, hour := range hours(day, s.now()) {
		all = append(all, candidate{s.deltaURL(day, hour), false})
	}
	for _, one := range all {
		if one.url == c.Delta {
			break // what is older than what was read says nothing new
		}
		next := cveCursor{Day: c.Day, Delta: one.url, Closed: one.closed, Reading: true}
		p, err := s.read(ctx, next, day, today, b)
		if errors.Is(err, fault.NotFound) {
			continue
		}
		return p, err
	}
	if day.Before(today.AddDate(0, 0, -1)) && c.Delta != "" {
		// A day without a last archive: what there was of it was read.
		return Progress{Cursor: position(cveCursor{Day: day.AddDate(0, 0, 1).Format(time.DateOnly)}), Fraction: -1, Text: "changes of " + c.Day}, nil
	}
	if day.Before(today.AddDate(0, 0, -1)) {
		return Progress{Cursor: "", Fraction: 0, Text: "the changes of " + c.Day + " are not published any more, beginning with the whole list"}, nil
	}
	return Progress{Cursor: position(c), Done: true, Fraction: 1, Text: "nothing new"}, nil
}

func (s *cveSource) read(ctx context.Context, c cveCursor, day, today time.Time, b *Batch) (Progress, error) {
	p, end, err := s.readArchive(ctx, c.Delta, c.Entry, maxCVEDelta, b, feeds.ReadCVE, "changes of "+c.Day)
	if err != nil || end < 0 {
		p.Cursor = position(c)
		return p, err
	}
	c.Entry = end
	if p.Fraction >= 1 {
		s.drop(c.Delta)
		c.Entry, c.Reading = 0, false
		switch {
		case c.Closed:
			c = cveCursor{Day: day.AddDate(0, 0, 1).Format(time.DateOnly)}
		case day.Equal(today):
			p.Done = true
		}
	}
	p.Cursor = position(c)
	return p, nil
}
