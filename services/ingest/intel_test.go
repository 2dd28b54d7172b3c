package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
	"github.com/riskprofiler/riskprofiler/services/ingest/intel"
)

// newIntelService is a service whose only feeds are KEV and EPSS at url.
func newIntelService(t *testing.T, url string, enabled bool) *Service {
	ctx, dir := t.Context(), t.TempDir()
	tables, err := sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(dir, "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := sqlitequeue.Open(ctx, sqlitequeue.Options{Path: filepath.Join(dir, "queues.db")})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := fileblob.Open(ctx, fileblob.Options{Dir: filepath.Join(dir, "blobs")})
	if err != nil {
		t.Fatal(err)
	}
	store := intel.NewStore(table.New(tables.Table("ingest"), table.Options{Name: "ingest"}), bucket, filepath.Join(dir, "work"), time.Now)
	t.Cleanup(func() {
		_ = store.Close()
		_ = queues.Close()
		_ = tables.Close()
	})
	engine, err := intel.NewEngine(intel.Options{
		Store: store, Queue: queue.New(queues.Queue("intel"), queue.Options{Name: "intel"}), Feeds: []string{"kev", "epss"}, Budget: intelBudget,
		Sources: intel.Sources{KEV: url + "/kev.json", EPSS: url + "/epss.csv", Client: feeds.NewClient("test", filepath.Join(dir, "work")), Now: time.Now},
		Logger:  slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Service{intel: &Intel{engine: engine, store: store, enabled: enabled, every: 24 * time.Hour, kevEvery: time.Hour, log: slog.New(slog.DiscardHandler)}}
}

// publishFixtures serves the readers' own test files and counts who asks.
func publishFixtures(t *testing.T) (string, *atomic.Int64) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		raw, err := os.ReadFile(filepath.Join("feeds", "testdata", filepath.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(raw)
	}))
	t.Cleanup(server.Close)
	return server.URL, &asked
}

// TestIntelScheduleIsOff: without the setting nobody is asked, and the status says so.
func TestIntelScheduleIsOff(t *testing.T) {
	url, asked := publishFixtures(t)
	s := newIntelService(t, url, false)
	if err := s.syncIntel(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err := s.GetIntelStatus(t.Context(), &ingestv1.GetIntelStatusRequest{})
	if err != nil || asked.Load() != 0 || status.GetEnabled() || status.GetManifest() != nil || len(status.GetFeeds()) != 2 {
		t.Errorf("asked %d times, status %v, %v", asked.Load(), status, err)
	}
}

// TestIntelSchedule: with it a tick reads what is due and publishes; the next tick asks nobody.
func TestIntelSchedule(t *testing.T) {
	url, asked := publishFixtures(t)
	s := newIntelService(t, url, true)
	for range 3 {
		if err := s.syncIntel(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	status, err := s.GetIntelStatus(t.Context(), &ingestv1.GetIntelStatusRequest{})
	if err != nil || asked.Load() != 2 || !status.GetEnabled() || status.GetManifest().GetKev() != 2 || len(status.GetManifests()) != 1 {
		t.Errorf("asked %d times, status %v, %v", asked.Load(), status, err)
	}
}

// TestIntelTickEndsInTime: a function that has no time for another step leaves it to the next tick.
func TestIntelTickEndsInTime(t *testing.T) {
	url, asked := publishFixtures(t)
	s := newIntelService(t, url, true)
	ctx, cancel := context.WithTimeout(t.Context(), intelReserve/2)
	defer cancel()
	if err := s.syncIntel(ctx); err != nil || asked.Load() != 0 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
}

// TestImportIntelRefuses: what no reader makes is not taken.
func TestImportIntelRefuses(t *testing.T) {
	s := newIntelService(t, "http://127.0.0.1:1", false)
	for name, c := range map[string]struct {
		req  *ingestv1.ImportIntelRequest
		want string
	}{
		"unknown feed":           {&ingestv1.ImportIntelRequest{Feed: "x"}, "is not known"},
		"records of a catalogue": {&ingestv1.ImportIntelRequest{Feed: "kev", Records: []*ingestv1.IntelRecord{{}}}, "has a catalogue"},
		"catalogue of records":   {&ingestv1.ImportIntelRequest{Feed: "cve", Catalogue: []byte("x")}, "has records"},
		"no catalogue":           {&ingestv1.ImportIntelRequest{Feed: "epss", Catalogue: []byte("x")}, "import intel"},
		"wrong feed":             {&ingestv1.ImportIntelRequest{Feed: "cve", Records: []*ingestv1.IntelRecord{{Id: "CVE-2026-1000", Feed: "kev"}}}, "is of no feed"},
		"wrong id":               {&ingestv1.ImportIntelRequest{Feed: "cve", Records: []*ingestv1.IntelRecord{{Id: "CVE-1", Feed: "cve"}}}, "an id is wrong"},
		"no date":                {&ingestv1.ImportIntelRequest{Feed: "cve", Records: []*ingestv1.IntelRecord{{Id: "CVE-2026-1000", Advisory: "CVE-2026-1000", Feed: "cve"}}}, "when it was modified"},
	} {
		if _, err := s.ImportIntel(t.Context(), c.req); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
