package resilience

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

const (
	// killsEnv and seedEnv set how often and when the process is killed.
	killsEnv = "RISKPROFILER_KILLS"
	seedEnv  = "RISKPROFILER_SEED"
	// usualKills is enough to see most defects in the time that a developer waits.
	usualKills = 25
	// killsPerAssessment is the most that one assessment is disturbed. It stays below queue.MaxLost, from where on a
	// message that was in flight every time is taken for the one that ends the process.
	killsPerAssessment = 8
	// killWithin is about as long as an assessment of crashTargets takes, so that kills fall into every part of it.
	killWithin = 2 * time.Second
	crashPorts = "2222,2323,8000,8080,8443"
)

// crashTargets are few and quick, and have findings of every scan type.
var crashTargets = []string{"bastion.exemplary.test", "legacy.acme.test", "dev.acme.test"}

func number(t *testing.T, env string, fallback uint64) uint64 {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	return n
}

// A process that is killed at random moments loses nothing that it accepted and does nothing twice: every assessment ends
// as the one that nobody disturbed.
func TestKilledProcessLosesNothing(t *testing.T) {
	kills, seed := int(number(t, killsEnv, usualKills)), number(t, seedEnv, uint64(time.Now().UnixNano()))
	t.Logf("%d kills, %s=%d", kills, seedEnv, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l, err := lab.Start(t.Context(), lab.Options{Network: netip.MustParsePrefix("127.61.0.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPlatform(t, l.Resolver())
	p.start()
	p.authorise(crashTargets)
	want := p.outcome(p.assess("undisturbed"))
	for done, n := 0, 0; done < kills; n++ {
		request := fmt.Sprintf("disturbed-%d", n)
		count := min(1+random.IntN(killsPerAssessment), kills-done)
		moments := make([]time.Duration, count)
		for i := range moments {
			moments[i] = time.Duration(random.Int64N(int64(killWithin)))
		}
		p.disturb(request, moments)
		got := p.outcome(p.assess(request))
		if diff := difference(want, got); diff != "" {
			t.Fatalf("assessment %d, killed %d times after %v, is not as the undisturbed one:\n%s", n, count, moments, diff)
		}
		done += count
	}
}

// disturb asks for an assessment and kills the process at these moments after it began to listen.
func (p *platform) disturb(request string, moments []time.Duration) {
	p.t.Helper()
	for _, moment := range moments {
		dead := time.NewTimer(moment)
		asked := make(chan struct{})
		ctx, cancel := p.caller()
		go func(client schedulerv1.SchedulerServiceClient) {
			defer close(asked)
			_, _ = client.CreateAssessment(ctx, crashRequest(request)) // the kill may come first: assess asks again
		}(schedulerv1.NewSchedulerServiceClient(p.conn))
		<-dead.C
		p.kill()
		cancel()
		<-asked
		p.start()
	}
}

func crashRequest(request string) *schedulerv1.CreateAssessmentRequest {
	return &schedulerv1.CreateAssessmentRequest{Targets: crashTargets, Ports: crashPorts, RequestId: request}
}

// authorise adds seeds and vouches for them.
func (p *platform) authorise(targets []string) {
	p.t.Helper()
	ctx, cancel := p.caller()
	defer cancel()
	client := ingestv1.NewIngestServiceClient(p.conn)
	res, err := client.BatchImportAssets(ctx, &ingestv1.BatchImportAssetsRequest{Targets: targets})
	if err != nil || len(res.GetProblems()) > 0 {
		p.t.Fatal(err, res.GetProblems())
	}
	for _, a := range res.GetAssets() {
		if _, err := client.AttestAsset(ctx, &ingestv1.AttestAssetRequest{Name: a.GetName(), Reason: "the lab is ours"}); err != nil {
			p.t.Fatal(err)
		}
	}
}

// assess asks for an assessment, or for the one that was accepted before, and returns it when it is closed.
func (p *platform) assess(request string) *schedulerv1.Assessment {
	p.t.Helper()
	ctx, cancel := p.caller()
	defer cancel()
	client := schedulerv1.NewSchedulerServiceClient(p.conn)
	a, err := client.CreateAssessment(ctx, crashRequest(request))
	if err != nil {
		p.t.Fatalf("ask for assessment %s: %v", request, err)
	}
	return p.closed(a)
}

// closed returns an assessment when nothing of it will change any more.
func (p *platform) closed(a *schedulerv1.Assessment) *schedulerv1.Assessment {
	p.t.Helper()
	ctx, cancel := p.caller()
	defer cancel()
	client := schedulerv1.NewSchedulerServiceClient(p.conn)
	for !a.GetClosed() {
		select {
		case <-ctx.Done():
			p.t.Fatalf("the assessment does not end: %v", a)
		case <-time.After(50 * time.Millisecond):
		}
		var err error
		if a, err = client.GetAssessment(ctx, &schedulerv1.GetAssessmentRequest{Name: a.GetName()}); err != nil {
			p.t.Fatalf("look at %s: %v", a.GetName(), err)
		}
	}
	return a
}

// outcome is all that an assessment came to, one line each, without what differs between two runs: names and times.
func (p *platform) outcome(a *schedulerv1.Assessment) map[string]int {
	p.t.Helper()
	ctx, cancel := p.caller()
	defer cancel()
	out := map[string]int{
		fmt.Sprintf("assessment %s %s", a.GetState(), a.GetReason()):                1,
		fmt.Sprintf("progress %v, report %t", a.GetProgress(), a.GetReport() != ""): 1,
	}
	p.coverage(ctx, a, out)
	p.findings(ctx, a, out)
	reports, err := reporterv1.NewReporterServiceClient(p.conn).ListReports(ctx, &reporterv1.ListReportsRequest{PageSize: 1000})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range reports.GetReports() {
		if r.GetAssessment() == a.GetName() {
			out["report"]++
		}
	}
	return out
}

func (p *platform) coverage(ctx context.Context, a *schedulerv1.Assessment, out map[string]int) {
	p.t.Helper()
	client := ingestv1.NewIngestServiceClient(p.conn)
	for token := ""; ; {
		page, err := client.ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: a.GetName(), PageSize: 1000, PageToken: token})
		if err != nil {
			p.t.Fatal(err)
		}
		for _, c := range page.GetCoverage() {
			out[fmt.Sprintf("job %s %s:%d %s %s, %d observations", c.GetScanType(), c.GetTarget().GetValue(), c.GetTarget().GetPort(),
				c.GetOutcome(), c.GetReason(), c.GetObservationCount())]++
		}
		if token = page.GetNextPageToken(); page.GetAtEnd() {
			return
		}
	}
}

// findings are those of the tenant. Each must have been found by this assessment anew, or it only remembers an earlier one.
func (p *platform) findings(ctx context.Context, a *schedulerv1.Assessment, out map[string]int) {
	p.t.Helper()
	client := correlatorv1.NewCorrelatorServiceClient(p.conn)
	findings, err := client.ListFindings(ctx, &correlatorv1.ListFindingsRequest{PageSize: 1000})
	if err != nil || findings.GetNextPageToken() != "" {
		p.t.Fatalf("list findings: %v", err)
	}
	for _, f := range findings.GetFindings() {
		out[fmt.Sprintf("finding %s %s %s %s, of this assessment %t, not retested %t, reopened %d, %d evidence", f.GetCheck(), f.GetAssetValue(),
			f.GetLocation(), f.GetState(), f.GetAssessment() == a.GetName(), f.GetNotRetested(), f.GetReopenCount(), len(f.GetEvidence()))]++
	}
	risks, err := client.ListRisks(ctx, &correlatorv1.ListRisksRequest{PageSize: 1000})
	if err != nil || risks.GetNextPageToken() != "" {
		p.t.Fatalf("list risks: %v", err)
	}
	for _, r := range risks.GetRisks() {
		out[fmt.Sprintf("risk %s %s %s %s", r.GetGroup(), r.GetAssetValue(), r.GetState(), r.GetSeverity())]++
	}
}

// difference tells in lines how often something was, where that is not how often it should be.
func difference(want, got map[string]int) string {
	var out strings.Builder
	lines := slices.Concat(slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
	slices.Sort(lines)
	for _, line := range slices.Compact(lines) {
		if want[line] != got[line] {
			_, _ = fmt.Fprintf(&out, "%d times instead of %d: %s\n", got[line], want[line], line)
		}
	}
	return out.String()
}

// A job during which the process ends again and again is given up in the end, since it may be the reason, and the
// assessment says so: it neither hangs nor claims to have looked.
func TestJobThatOutlivesTooManyProcessesIsGivenUp(t *testing.T) {
	const network = "127.66.0.0/24"
	l, err := lab.Start(t.Context(), lab.Options{Network: netip.MustParsePrefix(network)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	target := address(network, silentHost) + ":9999" // keeps the service scan busy for seconds
	p := newPlatform(t, l.Resolver())
	p.start()
	p.authorise([]string{target})
	ctx, cancel := p.caller()
	defer cancel()
	request := &schedulerv1.CreateAssessmentRequest{Targets: []string{target}, RequestId: "given-up"}
	a, err := schedulerv1.NewSchedulerServiceClient(p.conn).CreateAssessment(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	// Not every kill falls into the service scan, so there are more than it takes.
	for range 3 * queue.MaxLost {
		time.Sleep(killWithin / 4)
		if p.scanned(a, modelv1.ScanType_SCAN_TYPE_SERVICE) {
			break
		}
		p.kill()
		p.start()
	}
	lines := strings.Join(slices.Sorted(maps.Keys(p.outcome(p.closed(a)))), "\n")
	for _, want := range []string{"OUTCOME_FAILED given up after repeated failures", "STATE_INCOMPLETE 1 of 2 scan jobs"} {
		if !strings.Contains(lines, want) {
			t.Errorf("the outcome does not say %q:\n%s", want, lines)
		}
	}
}

// scanned says whether a job of the scan type is finished.
func (p *platform) scanned(a *schedulerv1.Assessment, scanType modelv1.ScanType) bool {
	p.t.Helper()
	ctx, cancel := p.caller()
	defer cancel()
	page, err := ingestv1.NewIngestServiceClient(p.conn).ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: a.GetName()})
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.ContainsFunc(page.GetCoverage(), func(c *modelv1.Coverage) bool { return c.GetScanType() == scanType })
}
