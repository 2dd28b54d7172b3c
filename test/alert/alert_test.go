// Package alert shows the road from a feed to a risk in the whole platform: an entry in KEV about a product that some of many stored
// assets run, taken in by ingest, compiled, announced, and correlated, while the targets themselves are watched.
package alert

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	operationsv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/operations/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

const (
	tenant      = "acme"
	stored      = 10_000
	storedShort = 1_000
	// concerned of them run the product, or have the vulnerability by the report of another tool.
	concerned = 50
	senders   = 64
	product   = "openbsd:openssh"
	cve       = "CVE-2024-6387"
)

// journal keeps the platform's log.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the log.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// evaluated is how many assets the log says were evaluated again.
func (j *journal) evaluated() (total int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range bytes.Lines(j.b.Bytes()) {
		if m := evaluatedAgain.FindSubmatch(line); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			total += n
		}
	}
	return total
}

var evaluatedAgain = regexp.MustCompile(`assets were evaluated again.*?assets"?[:=](\d+)`)

// platform runs all services in this process.
func platform(t *testing.T) (*app.Host, *journal) {
	t.Helper()
	log := &journal{}
	quiet, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "alert", Writer: log, Level: slog.LevelInfo})
	if err != nil {
		t.Fatal(err)
	}
	host, err := app.Build(t.Context(), app.Options{
		Drivers: drivers.Embedded, Telemetry: quiet, Specs: []app.Spec{ingest.Spec, scheduler.Spec, all.Spec, correlator.Spec, reporter.Spec, gateway.Spec},
		Settings: map[string]string{"RISKPROFILER_DATA": t.TempDir(), "RISKPROFILER_LISTEN": app.ListenOff, "RISKPROFILER_ALLOW_PRIVATE": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	host.OnReady(func(context.Context) error { close(ready); return nil })
	ctx, stop := context.WithCancel(context.Background())
	go func() { done <- host.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host, log
}

// address is the n-th target: on loopback, so that it can be watched.
func address(n int) string { return fmt.Sprintf("127.77.%d.%d", n>>8, n&255) }

// runsProduct says which targets are concerned.
func runsProduct(n, of int) bool { return n%(of/concerned) == 0 }

// watch listens where the concerned targets are and counts who comes.
func watch(t *testing.T, of int) *atomic.Int64 {
	t.Helper()
	var visitors atomic.Int64
	for n := range of {
		if !runsProduct(n, of) {
			continue
		}
		l, err := net.Listen("tcp", address(n)+":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				visitors.Add(1)
				_ = c.Close()
			}
		}()
	}
	return &visitors
}

func result(n, of int) *modelv1.ScanCompleted {
	now, value := timestamppb.Now(), address(n)
	fact := &modelv1.ServiceFact{Address: value, Port: 22, Name: "ssh", Product: "Dropbear", Version: "2022.83"}
	if runsProduct(n, of) {
		fact.Product, fact.Version = "OpenSSH", "9.2p1"
	}
	r := &modelv1.ScanCompleted{
		Job: &modelv1.ScanJob{
			Id: fmt.Sprint("job", n), Tenant: tenant, Assessment: "assessments/alert", ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE,
			Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: value, Address: value},
		},
		Outcome: modelv1.Outcome_OUTCOME_COMPLETE, StartedAt: now, CompletedAt: now,
		Observations: []*modelv1.Observation{{
			Key: "service", AssetValue: value, AssetKind: modelv1.AssetKind_ASSET_KIND_IP, LastSeen: now, Fact: &modelv1.Observation_Service{Service: fact},
		}},
	}
	if n == 0 { // nobody saw the product, but another tool reports the vulnerability
		r.Job.ScanType, r.Outcome = modelv1.ScanType_SCAN_TYPE_IMPORT, modelv1.Outcome_OUTCOME_PARTIAL
		r.Observations[0].Key, r.Observations[0].FirstSeen = "reported/trivy/1", now
		r.Observations[0].Fact = &modelv1.Observation_Reported{Reported: &modelv1.ReportedFact{
			Tool: "trivy", Rule: cve, Fingerprint: cve, Title: "openssh: race", Severity: modelv1.Severity_SEVERITY_HIGH, Cve: []string{cve},
		}}
	}
	return r
}

// submit stores the results of all targets.
func submit(t *testing.T, host *app.Host, of int) {
	t.Helper()
	client := ingestv1.NewIngestServiceClient(host.Conn("scanner", "ingest"))
	ctx := authn.NewContext(t.Context(), authn.ForService("scanner", tenant))
	next := make(chan int)
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			for n := range next {
				if _, err := client.SubmitResult(ctx, &ingestv1.SubmitResultRequest{Result: result(n, of)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range of {
		next <- n
	}
	close(next)
	group.Wait()
}

func operator(ctx context.Context) context.Context {
	return authn.NewContext(ctx, authn.Principal{Tenant: tenant, Subject: "alert", Roles: []string{authn.RoleOperator, authn.RoleViewer}})
}

// passes is how often all queues are found empty, one after the other, until nothing is on its way: a message that goes from a queue
// that was not yet looked at to one that was is missed once for each of its hops, and there are three at most (intel, reevaluations,
// changes).
const passes = 4

// settled returns when no message waits anywhere.
func settled(t *testing.T, host *app.Host) {
	t.Helper()
	client := operationsv1.NewOperationsServiceClient(host.Conn("gateway", "gateway"))
	for empty := 0; empty < passes; {
		res, err := client.ListQueues(operator(t.Context()), &operationsv1.ListQueuesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var waiting uint64
		for _, q := range res.GetQueues() {
			waiting += q.GetVisible() + q.GetInFlight() + q.GetDelayed()
			if q.GetParked() > 0 {
				t.Fatalf("queue %s parked %d messages", q.GetName(), q.GetParked())
			}
		}
		if empty++; waiting > 0 {
			empty = 0
		}
		time.Sleep(5 * time.Millisecond) // a poll: the loop ends by what is stored
	}
}

// learn gives ingest what a feed says about the vulnerability, and compiles and announces it.
func learn(t *testing.T, host *app.Host, kev *timestamppb.Timestamp) {
	t.Helper()
	client := ingestv1.NewIngestServiceClient(host.Conn("gateway", "ingest"))
	_, err := client.ImportIntel(operator(t.Context()), &ingestv1.ImportIntelRequest{Feed: "cve", First: true, Last: true, Records: []*ingestv1.IntelRecord{{
		Id: cve, Feed: "cve", Advisory: cve, Modified: timestamppb.Now(), Title: "Race in the signal handler", KevAdded: kev, Parser: 1,
		Cvss: []*modelv1.Cvss{{Version: "3.1", Score: 8.1, Source: "cna", Vector: "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"}},
		Affected: []*ingestv1.IntelAffected{{Product: product, Range: &modelv1.Affected{
			Scheme: "generic", Introduced: "8.5p1", Fixed: "9.8p1", Sources: []string{"cna"},
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for token := ""; ; {
		res, err := client.SyncIntel(operator(t.Context()), &ingestv1.SyncIntelRequest{CompileOnly: true, Continuation: token})
		if err != nil || res.GetProblem() != "" {
			t.Fatal(err, res.GetProblem())
		}
		if res.GetDone() {
			return
		}
		token = res.GetContinuation()
	}
}

// exploited are the scores of the open risks about exploited software, by asset.
func exploited(t *testing.T, host *app.Host) map[string]float64 {
	t.Helper()
	client := correlatorv1.NewCorrelatorServiceClient(host.Conn("gateway", "correlator"))
	out := map[string]float64{}
	for token := ""; ; {
		res, err := client.ListRisks(operator(t.Context()), &correlatorv1.ListRisksRequest{PageSize: 1000, PageToken: token, Filter: `group = "exploited-software" AND state = OPEN`})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.GetRisks() {
			out[r.GetAssetValue()] = r.GetScore()
		}
		if token = res.GetNextPageToken(); token == "" {
			return out
		}
	}
}

// TestFeedToAlert: an entry in KEV reaches the risks of the assets that run the product, and of no other, without a packet to any of them.
// The time is told and not judged.
func TestFeedToAlert(t *testing.T) {
	of := stored
	if testing.Short() {
		of = storedShort
	}
	host, log := platform(t)
	visitors := watch(t, of)
	learn(t, host, nil)
	settled(t, host)
	submit(t, host, of)
	settled(t, host)
	if got := exploited(t, host); len(got) != 0 {
		t.Fatalf("%d assets run exploited software before anybody says so", len(got))
	}
	before, begun := log.evaluated(), time.Now()
	learn(t, host, timestamppb.New(time.Now().Truncate(24*time.Hour)))
	settled(t, host)
	t.Logf("from feed to alert: %s for %d of %d assets", time.Since(begun).Round(time.Millisecond), concerned, of)
	got := exploited(t, host)
	for n := range of {
		if score, risen := got[address(n)]; risen != runsProduct(n, of) || risen && score < 50 {
			t.Errorf("%s: risk %v with score %v", address(n), risen, score)
		}
	}
	if again := log.evaluated() - before; again != concerned {
		t.Errorf("%d assets were evaluated again, want %d", again, concerned)
	}
	if n := visitors.Load(); n != 0 {
		t.Errorf("%d connections were made to targets", n)
	}
}
