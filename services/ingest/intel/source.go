package intel

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// Source reads one feed, piece by piece.
type Source interface {
	// Name is the feed's name in the manifest.
	Name() string
	// Next reads on from cursor, empty at first, and puts records into b until it is full, the piece is at its end or ctx is
	// done. Where it stopped is Progress.Cursor: only what was put into b before it counts as read.
	Next(ctx context.Context, cursor string, b *Batch) (Progress, error)
}

// Progress is what one call of Next did.
type Progress struct {
	Cursor string
	// Done: there is nothing more to read for now.
	Done bool
	// Fresh: the feed is read from its beginning, so what was counted before is forgotten.
	Fresh bool
	// Fraction of the feed that is read, from 0 to 1; below 0 if that is not known.
	Fraction float64
	// Text says what was done, in a few words.
	Text string
	// Wait is how long the source wants not to be asked.
	Wait time.Duration
	// Version and Date are the feed's own; empty: as before.
	Version string
	Date    *timestamppb.Timestamp
	// Catalogue replaces all entries of a feed that is read whole.
	Catalogue *Catalogue
}

// Sources say where feeds are read from. The zero value of an address is the public one.
type Sources struct {
	KEV, EPSS, CVE, OSV, NVD, NVDFiles string
	// NVDKey raises NVD's limit from 5 requests in 30 s to 50: https://nvd.nist.gov/developers/start-here
	NVDKey string
	// Ecosystems of OSV.
	Ecosystems []string
	// Client fetches.
	Client *feeds.Client
	// Now is the time.
	Now func() time.Time
}

// The public addresses.
const (
	DefaultKEV      = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
	DefaultEPSS     = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"
	DefaultCVE      = "https://github.com/CVEProject/cvelistV5/releases/download"
	DefaultOSV      = "https://osv-vulnerabilities.storage.googleapis.com"
	DefaultNVD      = "https://services.nvd.nist.gov/rest/json/cves/2.0"
	DefaultNVDFiles = "https://nvd.nist.gov/feeds/json/cve/2.0"
)

// Names are all feeds that there are, in the order in which they are read: what is small and matters most comes first.
var Names = []string{feeds.FeedKEV, feeds.FeedEPSS, feeds.FeedCVE, feeds.FeedOSV, feeds.FeedNVD}

// Open returns the sources of the feeds that are named; "osv" is one for each ecosystem.
func (s Sources) Open(names []string) ([]Source, error) {
	var out []Source
	for _, name := range names {
		switch family(name) {
		case feeds.FeedKEV:
			out = append(out, &kevSource{s.Client, or(s.KEV, DefaultKEV)})
		case feeds.FeedEPSS:
			out = append(out, &epssSource{s.Client, or(s.EPSS, DefaultEPSS)})
		case feeds.FeedCVE:
			out = append(out, &cveSource{held{client: s.Client}, or(s.CVE, DefaultCVE), s.Now})
		case feeds.FeedNVD:
			out = append(out, &nvdSource{held{client: s.Client}, or(s.NVD, DefaultNVD), or(s.NVDFiles, DefaultNVDFiles), s.NVDKey, s.Now})
		case feeds.FeedOSV:
			for _, ecosystem := range s.Ecosystems {
				if name == feeds.FeedOSV || name == feeds.FeedOSV+"/"+ecosystem {
					out = append(out, &osvSource{held{client: s.Client}, or(s.OSV, DefaultOSV), ecosystem})
				}
			}
		default:
			return nil, fault.New(fault.Invalid, "feed %q is not known; use cve, osv, osv/ECOSYSTEM, nvd, kev or epss", name)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.Invalid, "no feed is named that is set; osv/ECOSYSTEM must be one of the ecosystems that are set")
	}
	return out, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// errFull ends a reading because the batch is full or time is up: what was read counts.
var errFull = errors.New("batch is full")

// position is a cursor as text.
func position(c any) string {
	raw, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	return string(raw)
}

// at reads a cursor. One that cannot be read is from another version of the program: the feed is read from its beginning.
func at(cursor string, into any) bool {
	return cursor != "" && json.Unmarshal([]byte(cursor), into) == nil
}

// errBudget is why a step's context ends although nobody cancelled it.
var errBudget = errors.New("the time of this step is over")

func baseName(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}

func share(part, whole int) float64 {
	if whole <= 0 {
		return -1
	}
	return min(float64(part)/float64(whole), 1)
}
