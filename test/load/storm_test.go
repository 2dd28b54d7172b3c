package load

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// The storm: an hour of work, ten minutes of it in bad weather.
const (
	stormTenants = 60
	stormJobs    = 30
	stormBegins  = 20 * time.Minute
	stormLasts   = 10 * time.Minute
	// stormEnds is when all has to be over: a task whose token was lost is given up after an hour.
	stormEnds        = 3 * time.Hour
	lostTokens       = 5
	maxAmplification = 1.3
)

// weather decides about scans: the first job of every tenant is poison, and every fortieth other hangs once.
type weather struct {
	mu     sync.Mutex
	poison map[string]string // job by tenant
	hung   map[string]bool
	seen   int
	storm  *faults
}

func (w *weather) fails(job *modelv1.ScanJob) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.poison[job.GetTenant()] == "" {
		w.poison[job.GetTenant()] = job.GetId()
	}
	return w.poison[job.GetTenant()] == job.GetId()
}

func (w *weather) hangs(job *modelv1.ScanJob) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen++
	if w.storm == nil || w.seen%40 != 0 || w.hung[job.GetId()] || w.poison[job.GetTenant()] == job.GetId() {
		return false
	}
	w.hung[job.GetId()] = true
	return true
}

// spell is one run of the hour, and how many calls it needed.
func spell(t *testing.T, f *faults) (calls float64) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(f)
		w := newWatch(c)
		sky := &weather{poison: map[string]string{}, hung: map[string]bool{}, storm: f}
		p := startPlatform(t, c, workers, portProbe{began: w.began, fails: sky.fails, hangs: sky.hangs})
		for n := range stormTenants {
			p.plan(t, n, stormJobs, fmt.Sprintf("%d %d", n%6*10, burstStart))
		}
		start := time.Date(2000, 1, 1, burstStart, 0, 0, 0, time.UTC)
		// What nobody's work needs is measured before: clocks and empty receives.
		time.Sleep(time.Until(start.Add(-time.Hour)))
		idle := c.calls()
		time.Sleep(time.Until(start))
		idle = (c.calls() - idle) * stormEnds.Hours()
		before := c.calls()
		time.Sleep(stormBegins)
		if f != nil {
			f.on.Store(true)
			p.garbage(t)
		}
		time.Sleep(stormLasts)
		if f != nil {
			f.on.Store(false)
		}
		time.Sleep(time.Until(start.Add(stormEnds)))
		calls = c.calls() - before - idle
		for n := range stormTenants {
			p.weathered(t, n, sky.poison[tenantName(n)])
		}
		p.once(t)
		if f != nil {
			t.Logf("%d calls were refused, %d functions killed, %d visibilities ended early, %d messages came again late, %d hung, %d completions were lost",
				c.bill.refused.Load(), f.count.killed.Load(), f.count.hasty.Load(), f.count.late.Load(), len(sky.hung), f.count.tokens.Load())
		}
		p.stop()
	})
	return calls
}

// calls are all that were attempted at tables and queues.
func (c *cloud) calls() float64 {
	return float64(c.bill.table.Load() + c.bill.queue.Load() + c.bill.refused.Load())
}

// garbage is a message in each tenant's lane that nobody can read.
func (p *platform) garbage(t *testing.T) {
	t.Helper()
	q := p.queue("scan-port").open()
	for n := range stormTenants {
		err := q.Send(context.Background(), []queue.Message{{Group: tenantName(n) + "#0", DedupID: "garbage", Body: []byte("{{")}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// weathered checks that every job of a tenant has one outcome: complete, or failed for the poison.
func (p *platform) weathered(t *testing.T, n int, poison string) {
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
	if !a.GetClosed() || a.GetReport() == "" {
		t.Errorf("%s: its assessment is %s, closed %t: %s", tenantName(n), a.GetState(), a.GetClosed(), a.GetReason())
	}
	covered, err := ingestv1.NewIngestServiceClient(p.host.Conn("gateway", "ingest")).
		ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: a.GetName(), PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]modelv1.Outcome{}
	for _, cov := range covered.GetCoverage() {
		if _, twice := outcomes[cov.GetJob()]; twice {
			t.Errorf("%s: job %s has two outcomes", tenantName(n), cov.GetJob())
		}
		outcomes[cov.GetJob()] = cov.GetOutcome()
		want := modelv1.Outcome_OUTCOME_COMPLETE
		if cov.GetJob() == poison {
			want = modelv1.Outcome_OUTCOME_FAILED
		}
		if cov.GetOutcome() != want {
			t.Errorf("%s: job %s is %s, want %s: %s", tenantName(n), cov.GetJob(), cov.GetOutcome(), want, cov.GetReason())
		}
	}
	if len(outcomes) != stormJobs {
		t.Errorf("%s: %d of %d jobs have an outcome", tenantName(n), len(outcomes), stormJobs)
	}
}

// once checks that the effect of a job happened once: its record was written and never again.
func (p *platform) once(t *testing.T) {
	t.Helper()
	records := 0
	for _, rows := range p.tables["ingest"].rows {
		for sort, item := range rows.byKey {
			if !strings.HasPrefix(sort, "JOB#") {
				continue
			}
			records++
			if item.Revision != 1 {
				t.Errorf("job record %s was written %d times", item.Key, item.Revision)
			}
		}
	}
	if records != stormTenants*stormJobs {
		t.Errorf("there are %d job records, want %d", records, stormTenants*stormJobs)
	}
	for name, q := range p.queues {
		if q.live > 0 || len(q.dead) > 0 {
			t.Errorf("queue %s: %d messages are left, %d dead", name, q.live, len(q.dead))
		}
	}
}

// TestStorm: 30 % of all calls to tables and queues are refused for ten minutes, messages come twice, late or not at all, functions
// die and hang, completions get lost, and every tenant has a job that cannot be done and a message that cannot be read.
func TestStorm(t *testing.T) {
	needed := spell(t, nil)
	f := &faults{throttled: 0.3, killed: 0.02, hasty: 0.05, late: 0.05, random: newRandom(1)}
	f.tokens.Store(lostTokens)
	attempted := spell(t, f)
	ratio := attempted / needed
	t.Logf("%.0f calls to tables and queues were attempted where %.0f are needed: %.2f for each", attempted, needed, ratio)
	if ratio > maxAmplification {
		t.Errorf("call amplification is %.2f, at most %.1f is allowed", ratio, maxAmplification)
	}
	if f.count.tokens.Load() != lostTokens || f.count.killed.Load() == 0 || f.count.hasty.Load() == 0 || f.count.late.Load() == 0 {
		t.Error("the storm did not do all it was to do")
	}
}
