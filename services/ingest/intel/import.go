package intel

import (
	"context"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// Import takes what a caller read from files. The feed's own cursor stays: files say nothing about what a source has beyond them.
func (s *Store) Import(ctx context.Context, req *ingestv1.ImportIntelRequest) error {
	name := req.GetFeed()
	switch family(name) {
	case feeds.FeedKEV, feeds.FeedEPSS:
		if len(req.GetRecords()) > 0 {
			return fault.New(fault.Invalid, "import intel: feed %s has a catalogue and no records", name)
		}
	case feeds.FeedCVE, feeds.FeedNVD, feeds.FeedOSV:
		if len(req.GetCatalogue()) > 0 {
			return fault.New(fault.Invalid, "import intel: feed %s has records and no catalogue", name)
		}
	default:
		return fault.New(fault.Invalid, "import intel: feed %q is not known; use cve, osv/ECOSYSTEM, nvd, kev or epss", name)
	}
	b := &Batch{}
	for _, r := range req.GetRecords() {
		if err := checkRecord(r); err != nil {
			return err
		}
		if err := b.take(r); err != nil {
			return err
		}
	}
	about := req.GetAbout()
	b.Skipped, b.Examples = about.GetSkipped(), about.GetExamples()
	for {
		state, err := s.feed(ctx, name)
		if err != nil {
			return err
		}
		p := Progress{Cursor: state.value.GetFeed().GetCursor(), Done: req.GetLast(), Fresh: req.GetFirst(), Date: latest(state.value.GetFeed().GetDate(), about.GetDate())}
		if len(req.GetCatalogue()) > 0 {
			if p.Catalogue, _, err = openCatalogue(name, req.GetCatalogue()); err != nil {
				return fault.Wrap(fault.Invalid, err, "import intel")
			}
			p.Version, p.Date, p.Fresh = p.Catalogue.Version, p.Catalogue.Date, true
		}
		err = s.Take(ctx, state, b, p)
		if !isConflict(err) {
			return err
		}
	}
}
