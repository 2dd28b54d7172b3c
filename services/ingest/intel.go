package ingest

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
	"github.com/riskprofiler/riskprofiler/services/ingest/intel"
)

const (
	// intelBucket holds vulnerability knowledge, intelQueue announces its snapshots.
	intelBucket = "intel"
	intelQueue  = "intel"

	scheduleIntel = "intel-sync"
	// intelEvery is how often it is looked which feeds are due: what a function did not finish goes on this much later.
	intelEvery = time.Minute
	// intelReserve is how much of a function's time is left when the last step of a tick begins.
	intelReserve = 2 * intelBudget
	// intelBudget is how long one step may take.
	intelBudget = 10 * time.Second
	// intelPatience is how long a source may make a tick wait: what is longer waits for the next one.
	intelPatience = 10 * time.Second
)

// intelSettings are the settings of the feeds.
type intelSettings struct {
	// Intel is on or off: only with on are the feeds' sources asked on a schedule. `riskprofiler intel sync` asks them in any case.
	Intel string `env:"RISKPROFILER_INTEL" envDefault:"off"`
	// Feeds are the feeds that are read: cve, osv, nvd, kev, epss.
	Feeds []string `env:"RISKPROFILER_INTEL_FEEDS" envDefault:"kev,epss,cve,osv,nvd"`
	// Ecosystems are those of OSV, as it calls them: Debian, Ubuntu, Alpine, "Rocky Linux", npm, PyPI, Maven, Packagist, ...
	Ecosystems []string `env:"RISKPROFILER_INTEL_ECOSYSTEMS" envDefault:"Debian,Ubuntu,Alpine"`
	// Every is how often the feeds are read, KEVEvery how often CISA's catalogue is.
	Every    time.Duration `env:"RISKPROFILER_INTEL_EVERY" envDefault:"24h"`
	KEVEvery time.Duration `env:"RISKPROFILER_INTEL_KEV_EVERY" envDefault:"1h"`
	// Dir holds downloads while they are read, up to 4 GB; empty: riskprofiler-intel in the directory for temporary files.
	Dir string `env:"RISKPROFILER_INTEL_DIR"`
	// The addresses of the feeds, for mirrors. Empty: the public ones.
	KEVURL   string `env:"RISKPROFILER_INTEL_KEV_URL"`
	EPSSURL  string `env:"RISKPROFILER_INTEL_EPSS_URL"`
	CVEURL   string `env:"RISKPROFILER_INTEL_CVE_URL"`
	OSVURL   string `env:"RISKPROFILER_INTEL_OSV_URL"`
	NVDURL   string `env:"RISKPROFILER_INTEL_NVD_URL"`
	NVDFiles string `env:"RISKPROFILER_INTEL_NVD_FILES"`
	// NVDKey is a key of the NVD API: ten times as many requests.
	NVDKey string `env:"RISKPROFILER_INTEL_NVD_KEY"`
}

// Intel is the part of the service that keeps vulnerability knowledge.
type Intel struct {
	engine          *intel.Engine
	store           *intel.Store
	enabled         bool
	every, kevEvery time.Duration
	log             *slog.Logger
}

// newIntel makes it from the settings of the process.
func newIntel(d app.Deps) (*Intel, error) {
	var s intelSettings
	if err := d.Settings(&s); err != nil {
		return nil, err
	}
	if s.Intel != "on" && s.Intel != "off" {
		return nil, fault.New(fault.Invalid, "read settings: RISKPROFILER_INTEL is %q; use on or off", s.Intel)
	}
	if s.Every < time.Minute || s.KEVEvery < time.Minute {
		return nil, fault.New(fault.Invalid, "read settings: RISKPROFILER_INTEL_EVERY and RISKPROFILER_INTEL_KEV_EVERY are at least 1m")
	}
	dir := cmp.Or(s.Dir, filepath.Join(os.TempDir(), "riskprofiler-intel"))
	store := intel.NewStore(d.Table(tableName), d.Bucket(intelBucket), dir, time.Now)
	engine, err := intel.NewEngine(intel.Options{
		Store: store, Queue: d.Queue(intelQueue), Feeds: trimmed(s.Feeds), Budget: intelBudget, Logger: d.Logger, Now: time.Now,
		Sources: intel.Sources{
			KEV: s.KEVURL, EPSS: s.EPSSURL, CVE: s.CVEURL, OSV: s.OSVURL, NVD: s.NVDURL, NVDFiles: s.NVDFiles, NVDKey: s.NVDKey,
			Ecosystems: trimmed(s.Ecosystems), Client: feeds.NewClient("RiskProfiler/"+app.Version, dir), Now: time.Now,
		},
	})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read settings RISKPROFILER_INTEL_FEEDS and RISKPROFILER_INTEL_ECOSYSTEMS")
	}
	return &Intel{engine: engine, store: store, enabled: s.Intel == "on", every: s.Every, kevEvery: s.KEVEvery, log: d.Logger}, nil
}

func trimmed(list []string) []string {
	var out []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// SyncIntel does one bounded step of a sync.
func (s *Service) SyncIntel(ctx context.Context, req *ingestv1.SyncIntelRequest) (*ingestv1.SyncIntelResponse, error) {
	return s.intel.engine.Step(ctx, req)
}

// ImportIntel takes records that the caller read.
func (s *Service) ImportIntel(ctx context.Context, req *ingestv1.ImportIntelRequest) (*ingestv1.ImportIntelResponse, error) {
	if err := s.intel.store.Import(ctx, req); err != nil {
		return nil, err
	}
	return &ingestv1.ImportIntelResponse{}, nil
}

// GetIntelStatus says what is known. Feeds that are set and were never read are there too.
func (s *Service) GetIntelStatus(ctx context.Context, _ *ingestv1.GetIntelStatusRequest) (*ingestv1.IntelStatus, error) {
	out, err := s.intel.store.Status(ctx)
	if err != nil {
		return nil, err
	}
	out.Enabled = s.intel.enabled
	for _, name := range s.intel.engine.Feeds() {
		if !slices.ContainsFunc(out.GetFeeds(), func(f *modelv1.IntelFeed) bool { return f.GetName() == name }) {
			out.Feeds = append(out.Feeds, &modelv1.IntelFeed{Name: name})
		}
	}
	return out, nil
}

// syncIntel is the schedule: it reads what is due, for as long as it may take, and compiles. The feeds that are small come first,
// and what they say is published before the large ones go on.
func (s *Service) syncIntel(ctx context.Context) error {
	if s.intel == nil || !s.intel.enabled {
		return nil
	}
	due, err := s.intel.engine.Due(ctx, s.intel.every, s.intel.kevEvery)
	if err != nil {
		return err
	}
	var quick, slow []string
	for _, name := range due {
		if name == feeds.FeedKEV || name == feeds.FeedEPSS {
			quick = append(quick, name)
		} else {
			slow = append(slow, name)
		}
	}
	done, err := s.runIntel(ctx, quick)
	if err != nil || !done || len(slow) == 0 {
		return err
	}
	_, err = s.runIntel(ctx, slow)
	return err
}

// runIntel does steps until all is done, or until there is no time for another one: the next tick goes on.
func (s *Service) runIntel(ctx context.Context, names []string) (done bool, err error) {
	req := &ingestv1.SyncIntelRequest{Feeds: names, CompileOnly: len(names) == 0}
	for {
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < intelReserve {
			return false, nil
		}
		res, err := s.intel.engine.Step(ctx, req)
		if err != nil || res.GetDone() {
			return err == nil, err
		}
		req = &ingestv1.SyncIntelRequest{Continuation: res.GetContinuation()}
		if wait := time.Duration(res.GetWaitMs()) * time.Millisecond; wait > 0 {
			if wait > intelPatience {
				return false, nil
			}
			select {
			case <-ctx.Done():
				return false, nil
			case <-time.After(wait):
			}
		}
	}
}
