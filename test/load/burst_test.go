package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

type rawJSON = json.RawMessage

// portProbe looks at nothing for two seconds.
type portProbe struct {
	began func(job *modelv1.ScanJob)
	// fails says whether a scan cannot be done, and hangs whether it does not end by itself.
	fails, hangs func(job *modelv1.ScanJob) bool
}

func (portProbe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_PORT }
func (portProbe) Version() string            { return "port/load" }

func (p portProbe) Scan(ctx context.Context, _ probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	p.began(job)
	if p.hangs != nil && p.hangs(job) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(scanTime)
	if p.fails != nil && p.fails(job) {
		return nil, fault.New(fault.Internal, "poison")
	}
	return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE}, nil
}

// scanTime is how long one scan job works.
const scanTime = 2 * time.Second

// prefixes are ranges of the benchmark network (RFC 2544) that together have the addresses; nothing connects to them.
func prefixes(tenant, addresses int) []string {
	base := netip.MustParseAddr("198.18.0.0").As4()
	at := (uint32(base[0])<<24 | uint32(base[1])<<16) + uint32(tenant)*128
	var out []string
	for size := 64; size > 0; size /= 2 {
		if addresses&size != 0 {
			addr := netip.AddrFrom4([4]byte{byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)})
			bits := 32
			for n := size; n > 1; n /= 2 {
				bits--
			}
			out = append(out, fmt.Sprintf("%s/%d", addr, bits))
			at += uint32(size)
		}
	}
	return out
}

// plan makes a tenant with a plan that falls due every day at a time, minute and hour.
func (p *platform) plan(t testing.TB, n, addresses int, at string) {
	t.Helper()
	ctx := as(tenantName(n))
	in := ingestv1.NewIngestServiceClient(p.host.Conn("gateway", "ingest"))
	seeds := prefixes(n, addresses)
	imported, err := in.BatchImportAssets(ctx, &ingestv1.BatchImportAssetsRequest{Targets: seeds})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range imported.GetAssets() {
		if _, err := in.AttestAsset(ctx, &ingestv1.AttestAssetRequest{Name: a.GetName(), Reason: "load"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = schedulerv1.NewSchedulerServiceClient(p.host.Conn("gateway", "scheduler")).CreatePlan(ctx, &schedulerv1.CreatePlanRequest{
		Plan: &schedulerv1.Plan{
			Cron: at + " * * *", Seeds: seeds, Profile: modelv1.Profile_PROFILE_QUICK,
			ScanTypes: []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_PORT},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// workers is how many scan functions may run at a time: the maximum concurrency of the queue's event source mapping, of at most 1,000
// (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
const workers = 500

// The size of the burst.
const (
	quiet         = 10 // tenants whose waiting is measured
	quietJobs     = 30
	busyJobs      = 101
	burstStart    = 3 // o'clock
	maxSettling   = time.Hour
	slowerAllowed = 2
)

// busy is how many other tenants there are: a tenth of the whole burst, unless `make load` asks for all of it.
func busy() int {
	if os.Getenv("RISKPROFILER_LOAD") == "full" {
		return 990
	}
	return 90
}

func burstJobs() int { return quiet*quietJobs + busy()*busyJobs }

// watch sees what happens in a run.
type watch struct {
	mu     sync.Mutex
	waits  map[string][]time.Duration
	scans  map[string]int // by job
	starts map[string]time.Time
}

func newWatch(c *cloud) *watch {
	w := &watch{waits: map[string][]time.Duration{}, scans: map[string]int{}, starts: map[string]time.Time{}}
	c.queue("scan-port").began = func(m queue.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		tenant := tenantOf(m.Group)
		w.waits[tenant] = append(w.waits[tenant], time.Since(m.SentAt))
		if w.starts[tenant].IsZero() {
			w.starts[tenant] = m.SentAt
		}
	}
	return w
}

func (w *watch) began(job *modelv1.ScanJob) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scans[job.GetId()]++
}

func (w *watch) done() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.scans)
}

// quietWaits are the waits of the quiet tenants' jobs between their sending and the first that a scanner takes them.
func (w *watch) quietWaits() (all []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range quiet {
		all = append(all, w.waits[tenantName(n)]...)
	}
	return all
}

// await waits until all jobs were scanned and all assessments are closed, and returns how long that took.
func (p *platform) await(t testing.TB, w *watch, jobs int, since time.Time) time.Duration {
	t.Helper()
	for w.done() < jobs {
		time.Sleep(time.Second)
		if time.Since(since) > maxSettling {
			t.Fatalf("%d of %d jobs were scanned within %s", w.done(), jobs, maxSettling)
		}
	}
	took := time.Since(since)
	time.Sleep(5 * time.Minute) // for what comes behind the last scan
	return took
}

// complete checks that a tenant's one assessment succeeded with complete coverage of each of its addresses.
func (p *platform) complete(t testing.TB, n, addresses int) {
	t.Helper()
	ctx := as(tenantName(n))
	list, err := schedulerv1.NewSchedulerServiceClient(p.host.Conn("gateway", "scheduler")).
		ListAssessments(ctx, &schedulerv1.ListAssessmentsRequest{PageSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.GetAssessments()) != 1 {
		t.Fatalf("%s has %d assessments, want 1", tenantName(n), len(list.GetAssessments()))
	}
	a := list.GetAssessments()[0]
	if a.GetState() != schedulerv1.Assessment_STATE_SUCCEEDED || !a.GetClosed() || a.GetReport() == "" {
		t.Errorf("%s: its assessment is %s, closed %t: %s", tenantName(n), a.GetState(), a.GetClosed(), a.GetReason())
	}
	covered, err := ingestv1.NewIngestServiceClient(p.host.Conn("gateway", "ingest")).
		ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: a.GetName(), PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	complete := map[string]bool{}
	for _, c := range covered.GetCoverage() {
		if c.GetOutcome() == modelv1.Outcome_OUTCOME_COMPLETE {
			complete[c.GetJob()] = true
		}
	}
	if len(complete) != addresses {
		t.Errorf("%s: %d of %d jobs have complete coverage", tenantName(n), len(complete), addresses)
	}
}

// solo measures the quiet tenants alone, each at an hour of its own.
func solo(t *testing.T) (waits []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(nil)
		w := newWatch(c)
		p := startPlatform(t, c, workers, portProbe{began: w.began})
		for n := range quiet {
			p.plan(t, n, quietJobs, fmt.Sprintf("0 %d", burstStart+n))
		}
		time.Sleep(time.Until(time.Date(2000, 1, 1, burstStart+quiet, 0, 0, 0, time.UTC)))
		for n := range quiet {
			p.complete(t, n, quietJobs)
		}
		waits = w.quietWaits()
		p.stop()
	})
	return waits
}

// TestBurst: plans of many tenants that all say three o'clock. All of it is a thousand plans with 100,290 scan jobs.
func TestBurst(t *testing.T) {
	alone := percentile(solo(t), 0.99)
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(nil)
		w := newWatch(c)
		p := startPlatform(t, c, workers, portProbe{began: w.began})
		for n := range quiet + busy() {
			p.plan(t, n, jobsOf(n), fmt.Sprintf("0 %d", burstStart))
		}
		start := time.Date(2000, 1, 1, burstStart, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(start))
		before := c.bill.snapshot()
		took := p.await(t, w, burstJobs(), start)
		used := c.bill.snapshot().less(before)
		for n := range quiet + busy() {
			p.complete(t, n, jobsOf(n))
		}
		w.judge(t, c, alone, start, took)
		checkCosts(t, used, burstJobs())
		p.stop()
	})
}

func jobsOf(n int) int {
	if n < quiet {
		return quietJobs
	}
	return busyJobs
}

// judge holds the run to what was promised.
func (w *watch) judge(t *testing.T, c *cloud, alone time.Duration, start time.Time, took time.Duration) {
	t.Helper()
	among := percentile(w.quietWaits(), 0.99)
	if among > slowerAllowed*alone {
		t.Errorf("a quiet tenant's job waits %s (p99) in the burst and %s alone: more than %d times", among, alone, slowerAllowed)
	}
	for job, n := range w.scans {
		if n != 1 {
			t.Errorf("job %s was scanned %d times", job, n)
		}
	}
	minutes := map[int]int{}
	most, last := 0, time.Duration(0)
	for _, at := range w.starts {
		m := int(at.Sub(start) / time.Minute)
		minutes[m]++
		most, last = max(most, minutes[m]), max(last, at.Sub(start))
	}
	if most > (quiet+busy())/5 || last < 9*time.Minute || last > 11*time.Minute {
		t.Errorf("%d of %d plans started in one minute, the last %s after the hour", most, quiet+busy(), last)
	}
	backlog := 0
	for name, q := range c.queues {
		backlog = max(backlog, q.most)
		if q.live > 0 || len(q.parked) > 0 || len(q.dead) > 0 {
			t.Errorf("queue %s: %d messages are left, %d parked, %d dead", name, q.live, len(q.parked), len(q.dead))
		}
	}
	if backlog >= maxSearched/10 {
		t.Errorf("a queue held %d messages: the backlog is to wait in the workflow", backlog)
	}
	t.Logf("%d jobs of %d tenants in %s; plans started over %s, at most %d in a minute", burstJobs(), quiet+busy(), took.Round(time.Second), last.Round(time.Second), most)
	t.Logf("a quiet tenant's job waits (p99) %s alone and %s in the burst; a queue held at most %d messages", alone, among, backlog)
}
