package intel

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

// publisher is all feeds at one local address, as they are published.
type publisher struct {
	*httptest.Server

	mu sync.Mutex
	// files by path; missing is 404.
	files map[string][]byte
	// fail is asked before each answer; it may answer itself.
	fail func(w http.ResponseWriter, r *http.Request) bool
	// asked counts requests by path.
	asked map[string]int
	// nvd are the records of the API by their last change.
	nvd map[string]string
}

func newPublisher(t testing.TB) *publisher {
	p := &publisher{files: map[string][]byte{}, asked: map[string]int{}, nvd: map[string]string{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) put(path string, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[path] = body
}

// ServeHTTP answers with ETag, 304 and ranges.
func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked[r.URL.Path]++
	fail, body, ok := p.fail, p.files[r.URL.Path], false
	_, ok = p.files[r.URL.Path]
	p.mu.Unlock()
	if fail != nil && fail(w, r) {
		return
	}
	if r.URL.Path == "/nvd" {
		p.api(w, r)
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(body)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// api answers as NVD's does: pages of what changed in a window.
func (p *publisher) api(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	var found []string
	for modified, record := range p.nvd {
		if modified >= q.Get("lastModStartDate") && modified < q.Get("lastModEndDate") {
			found = append(found, record)
		}
	}
	slices.Sort(found)
	from, err := strconv.Atoi(q.Get("startIndex"))
	if err != nil || q.Get("resultsPerPage") != "2000" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	page := found[min(from, len(found)):min(from+2, len(found))] // small pages, to have several
	_, _ = io.WriteString(w, nvdJSON(len(found), from, page...))
}

func nvdJSON(total, from int, records ...string) string {
	return fmt.Sprintf(`{"resultsPerPage":2000,"startIndex":%d,"totalResults":%d,"format":"NVD_CVE","version":"2.0","timestamp":"2026-11-01T00:00:00.000","vulnerabilities":[%s]}`,
		from, total, strings.Join(records, ","))
}

func zipOf(t testing.TB, files map[string]string) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(f, files[name]) // a Buffer takes everything
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gz(body string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, body) // a Buffer takes everything
	_ = w.Close()                  // a Buffer takes everything
	return out.Bytes()
}

// cveJSON is a CVE record of one product, affected below fixed.
func cveJSON(id, modified, vendor, product, fixed string) string {
	return fmt.Sprintf(`{"dataType":"CVE_RECORD","dataVersion":"5.1","cveMetadata":{"cveId":%q,"state":"PUBLISHED","datePublished":"2026-01-01T00:00:00Z","dateUpdated":%q},
"containers":{"cna":{"title":"Title of %s","affected":[{"vendor":%q,"product":%q,"versions":[{"version":"0","lessThan":%q,"status":"affected","versionType":"semver"}]}]}}}`,
		id, modified, id, vendor, product, fixed)
}

func nvdRecord(id, modified, product, end string) string {
	return fmt.Sprintf(`{"cve":{"id":%q,"published":"2026-01-01T00:00:00.000","lastModified":%q,"vulnStatus":"Analyzed","configurations":[{"nodes":[{"cpeMatch":[
{"vulnerable":true,"criteria":"cpe:2.3:a:%s:*:*:*:*:*:*:*:*","versionEndExcluding":%q}]}]}]}}`, id, modified, product, end)
}

func osvJSON(id, modified string, upstream []string, pkg, fixed string) string {
	return fmt.Sprintf(`{"id":%q,"modified":%q,"upstream":["%s"],"affected":[{"package":{"ecosystem":"Debian:12","name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`,
		id, modified, strings.Join(upstream, `","`), pkg, fixed)
}

func kevJSON(version, released string, ids ...string) string {
	var entries []string
	for _, id := range ids {
		entries = append(entries, fmt.Sprintf(`{"cveID":%q,"vendorProject":"V","product":"P","vulnerabilityName":"Name of %s","dateAdded":"2026-11-01","shortDescription":"d","requiredAction":"Apply updates.","dueDate":"2026-11-22","knownRansomwareCampaignUse":"Known"}`, id, id))
	}
	return fmt.Sprintf(`{"catalogVersion":%q,"dateReleased":%q,"count":%d,"vulnerabilities":[%s]}`, version, released, len(ids), strings.Join(entries, ","))
}

func epssCSV(model, date string, rows ...string) string {
	return fmt.Sprintf("#model_version:%s,score_date:%sT00:00:00+0000\ncve,epss,percentile\n%s\n", model, date, strings.Join(rows, "\n"))
}

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// platform is an engine over real stores in a directory.
type platform struct {
	*Engine

	table  *table.Table
	bucket blob.Bucket
	queue  *queue.Queue
	clock  *clock
	sent   *sqlitequeue.DB
}

type setup struct {
	dir, work  string
	publisher  *publisher
	clock      *clock
	feeds      []string
	ecosystems []string
	bucket     func(blob.Bucket) blob.Bucket
	table      func(table.Driver) table.Driver
}

func open(t testing.TB, s setup) *platform {
	ctx := context.Background()
	tables, err := sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(s.dir, "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := sqlitequeue.Open(ctx, sqlitequeue.Options{Path: filepath.Join(s.dir, "queues.db")})
	if err != nil {
		t.Fatal(err)
	}
	var bucket blob.Bucket
	if bucket, err = fileblob.Open(ctx, fileblob.Options{Dir: filepath.Join(s.dir, "blobs")}); err != nil {
		t.Fatal(err)
	}
	if s.bucket != nil {
		bucket = s.bucket(bucket)
	}
	same := func(d table.Driver) table.Driver { return d }
	if s.table == nil {
		s.table = same
	}
	driver := s.table(tables.Table("ingest"))
	if s.clock == nil {
		s.clock = &clock{at: time.Date(2026, 11, 23, 6, 30, 0, 0, time.UTC)}
	}
	if s.work == "" {
		s.work = filepath.Join(s.dir, "work")
	}
	p := &platform{table: table.New(driver, table.Options{Name: "ingest"}), bucket: bucket, clock: s.clock, sent: queues}
	p.queue = queue.New(queues.Queue("intel"), queue.Options{Name: "intel"})
	if s.feeds == nil {
		s.feeds = Names
	}
	sources := Sources{Client: feeds.NewClient("test", s.work), Now: s.clock.now, Ecosystems: []string{"Debian"}}
	if s.ecosystems != nil {
		sources.Ecosystems = s.ecosystems
	}
	if s.publisher != nil {
		u := s.publisher.URL
		sources.KEV, sources.EPSS, sources.CVE, sources.OSV, sources.NVD, sources.NVDFiles = u+"/kev.json", u+"/epss.csv.gz", u+"/cve", u+"/osv", u+"/nvd", u+"/nvdfiles"
	}
	p.Engine, err = NewEngine(Options{
		Store: NewStore(p.table, bucket, s.work, s.clock.now), Queue: p.queue, Sources: sources, Feeds: s.feeds, Budget: time.Minute,
		Logger: slog.New(slog.DiscardHandler), Now: s.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Store.Close()
		_ = queues.Close()
		_ = tables.Close()
	})
	return p
}

// sync does steps until all is done, and returns what was published and what went wrong.
func (p *platform) sync(ctx context.Context, names ...string) (published *modelv1.IntelManifest, problems []string, err error) {
	req := &ingestv1.SyncIntelRequest{Feeds: names}
	for range 2000 {
		res, err := p.Step(ctx, req)
		if err != nil {
			return published, problems, err
		}
		if res.GetProblem() != "" {
			problems = append(problems, res.GetFeed()+": "+res.GetProblem())
		}
		if res.GetPublished() != nil {
			published = res.GetPublished()
		}
		if res.GetDone() {
			return published, problems, nil
		}
		req = &ingestv1.SyncIntelRequest{Continuation: res.GetContinuation()}
	}
	return nil, nil, fmt.Errorf("a sync of 2000 steps")
}

func (p *platform) must(t testing.TB, names ...string) *modelv1.IntelManifest {
	t.Helper()
	m, problems, err := p.sync(context.Background(), names...)
	if err != nil || len(problems) > 0 {
		t.Fatalf("sync: %v, %q", err, problems)
	}
	return m
}

// dump is all of the newest snapshot as text, less what differs between two that mean the same.
func (p *platform) dump(t testing.TB) string {
	t.Helper()
	status, err := p.Store.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if status.GetManifest() == nil {
		return "none"
	}
	r, err := snapshot.Load(context.Background(), p.bucket, status.GetManifest().GetBlob(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var out strings.Builder
	for _, section := range []string{sectionAdvisory, sectionProduct} {
		last := ""
		for e, err := range r.Entries(section, "") {
			if err != nil {
				t.Fatal(err)
			}
			var m proto.Message = &modelv1.Advisory{}
			if section == sectionProduct {
				m = &modelv1.ProductRecord{}
			}
			if err := proto.Unmarshal(e.Value, m); err != nil {
				t.Fatal(err)
			}
			if e.Key <= last {
				t.Fatalf("section %s: %q comes after %q", section, e.Key, last)
			}
			last = e.Key
			fmt.Fprintf(&out, "%s %s %s\n", section, e.Key, prototext.MarshalOptions{}.Format(m))
		}
	}
	return strings.ReplaceAll(out.String(), "  ", " ") // prototext varies its spaces on purpose
}

// get reads an entry of the newest snapshot.
func get[M proto.Message](t testing.TB, p *platform, section, key string, into M) M {
	t.Helper()
	status, err := p.Store.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.Load(context.Background(), p.bucket, status.GetManifest().GetBlob(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	raw, err := r.Get(section, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
	return into
}

// announced are the announcements that were sent, by taking them from the queue.
func (p *platform) announced(t testing.TB) []*modelv1.IntelChanged {
	t.Helper()
	var out []*modelv1.IntelChanged
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- p.queue.Run(ctx, func(_ context.Context, m queue.Message) error {
			c := &modelv1.IntelChanged{}
			if err := proto.Unmarshal(m.Body, c); err != nil {
				t.Error(err)
			}
			out = append(out, c)
			return nil
		})
	}()
	for p.queued(t) {
		time.Sleep(5 * time.Millisecond) // a poll: the loop ends by what is in the queue
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return out
}

// queued tells whether anything is in the queue, or handed out and not yet answered.
func (p *platform) queued(t testing.TB) bool {
	t.Helper()
	d, err := p.queue.Depth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d.Visible+d.InFlight+d.Delayed > 0
}
