package intel

import (
	"context"
	"fmt"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// maxSmall bounds what KEV and EPSS send; they have 1.5 and 2.5 MB.
const maxSmall = 64 << 20

// tagged is the cursor of a feed that is one file.
type tagged struct {
	ETag string `json:"etag,omitempty"`
}

// kevSource reads CISA's catalogue.
type kevSource struct {
	client *feeds.Client
	url    string
}

// Name is kev.
func (s *kevSource) Name() string { return feeds.FeedKEV }

// Next reads the catalogue, if it changed.
func (s *kevSource) Next(ctx context.Context, cursor string, b *Batch) (Progress, error) {
	var c tagged
	at(cursor, &c)
	res, err := s.client.Get(ctx, s.url, c.ETag, maxSmall, nil)
	if err != nil {
		return Progress{}, fault.Wrap(fault.CodeOf(err), err, "fetch the KEV catalogue")
	}
	defer func() { _ = res.Close() }()
	if res.Unchanged {
		return Progress{Cursor: cursor, Done: true, Fraction: 1, Text: "unchanged"}, nil
	}
	k, err := feeds.ReadKEV(res, b.Skip)
	if err != nil {
		return Progress{}, fault.Wrap(fault.CodeOf(err), err, "read the KEV catalogue")
	}
	return kevProgress(k, position(tagged{res.ETag}))
}

func kevProgress(k *feeds.KEV, cursor string) (Progress, error) {
	catalogue, err := NewKEV(k)
	if err != nil {
		return Progress{}, err
	}
	return Progress{
		Cursor: cursor, Done: true, Fresh: true, Fraction: 1, Version: k.Version, Date: k.Released, Catalogue: catalogue,
		Text: fmt.Sprintf("%d entries, catalogue %s", len(k.Entries), k.Version),
	}, nil
}

// epssSource reads the scores of the day.
type epssSource struct {
	client *feeds.Client
	url    string
}

// Name is epss.
func (s *epssSource) Name() string { return feeds.FeedEPSS }

// Next reads the scores, if they changed.
func (s *epssSource) Next(ctx context.Context, cursor string, b *Batch) (Progress, error) {
	var c tagged
	at(cursor, &c)
	res, err := s.client.Get(ctx, s.url, c.ETag, maxSmall, nil)
	if err != nil {
		return Progress{}, fault.Wrap(fault.CodeOf(err), err, "fetch the EPSS scores")
	}
	defer func() { _ = res.Close() }()
	if res.Unchanged {
		return Progress{Cursor: cursor, Done: true, Fraction: 1, Text: "unchanged"}, nil
	}
	rows := epssRows{}
	head, err := feeds.ReadEPSS(res, rows.add, b.Skip)
	if err != nil {
		return Progress{}, fault.Wrap(fault.CodeOf(err), err, "read the EPSS scores")
	}
	return rows.progress(head, position(tagged{res.ETag}))
}

// epssRows gathers scores.
type epssRows map[string][]byte

func (r epssRows) add(cve string, e *modelv1.Epss) error {
	r[cve] = epssRow(e)
	return nil
}

func (r epssRows) progress(head *feeds.EPSS, cursor string) (Progress, error) {
	catalogue, err := NewEPSS(head, r)
	if err != nil {
		return Progress{}, err
	}
	return Progress{
		Cursor: cursor, Done: true, Fresh: true, Fraction: 1, Version: head.Model, Date: head.Date, Catalogue: catalogue,
		Text: fmt.Sprintf("%d scores of %s, model %s", len(r), head.Date.AsTime().Format("2006-01-02"), head.Model),
	}, nil
}
