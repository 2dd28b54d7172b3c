package scanner

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// killLimit is the promise: probing of a target ends within this long after its stop.
const killLimit = 60 * time.Second

// gate is ingest as the scanner sees it: it permits everything until a value is stopped, and may be down or slow.
type gate struct {
	ingestv1.IngestServiceClient

	mu      sync.Mutex
	stopped map[string]bool
	denied  []string
	down    bool
	slow    time.Duration
	calls   int
}

func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *gate) CheckScope(ctx context.Context, req *ingestv1.CheckScopeRequest, _ ...grpc.CallOption) (*ingestv1.CheckScopeResponse, error) {
	var slow time.Duration
	g.set(func() { g.calls++; slow = g.slow })
	if slow > 0 {
		t := time.NewTimer(slow)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return nil, fault.Wrap(fault.DeadlineExceeded, ctx.Err(), "check scope")
		case <-t.C:
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		return nil, fault.New(fault.Unavailable, "ingest is down")
	}
	res := &ingestv1.CheckScopeResponse{Denied: g.denied}
	for _, t := range req.GetTargets() {
		d := &ingestv1.ScopeDecision{Target: t, Allowed: !g.stopped[t.GetValue()], Granted: modelv1.Clearance_CLEARANCE_STANDARD}
		if !d.GetAllowed() {
			d.Reason = "probing of " + t.GetValue() + " was stopped"
		}
		res.Decisions = append(res.Decisions, d)
	}
	return res, nil
}

// knocker is a probe that sends a packet every 100 ms for as long as it may.
type knocker struct {
	packets atomic.Int64
	last    atomic.Int64
	got     atomic.Pointer[modelv1.ScanOptions]
	guard   atomic.Pointer[netguard.Guard]
}

func (*knocker) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_PORT }
func (*knocker) Version() string            { return "knocker/1" }
func (k *knocker) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	k.got.Store(job.GetOptions())
	k.guard.Store(env.Guard)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_PARTIAL, Observations: []*modelv1.Observation{{Key: "seen"}}, Leads: []*modelv1.Lead{{}}}, nil
		case <-tick.C:
			k.packets.Add(1)
			k.last.Store(time.Now().UnixNano())
		}
	}
}

func watchedScanner(t *testing.T, g *gate, p probes.Probe) *Service {
	t.Helper()
	db, err := sqlitetable.Open(t.Context(), sqlitetable.Options{Path: filepath.Join(t.TempDir(), "limits.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return New(Deps{
		Probes: []probes.Probe{p}, Guard: netguard.New(netguard.Options{}), Limits: table.New(db.Table("ratelimits"), table.Options{Name: "ratelimits"}),
		Rates: Rates{Host: 100, Tenant: 100, Global: 100}, Ingest: g, Logger: slog.New(slog.DiscardHandler),
		Self: func(ctx context.Context, tenant string) context.Context {
			return authn.NewContext(ctx, authn.Principal{Tenant: tenant, Subject: "service:scanner"})
		},
	})
}

func watchedJob(value string, budget time.Duration) *modelv1.ScanJob {
	job := visitJob("acme", modelv1.ScanType_SCAN_TYPE_PORT)
	job.Id, job.Target.Value, job.Assessment = value, value, "assessments/a"
	job.Options = &modelv1.ScanOptions{Budget: durationpb.New(budget)}
	return job
}

// ended is how one scan ended.
type ended struct {
	result *modelv1.ScanCompleted
	err    error
}

func start(s *Service, job *modelv1.ScanJob) chan ended {
	out := make(chan ended, 1)
	go func() {
		r, err := s.scan(context.Background(), job)
		out <- ended{r, err}
	}()
	return out
}

// A stop ends the scans of its target that are under way, in less than a minute whenever it comes, and no others.
func TestStopEndsWhatRuns(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 19 * time.Second, 20 * time.Second, 21 * time.Second, 95 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			g := &gate{stopped: map[string]bool{}, slow: 14 * time.Second}
			hit, other := &knocker{}, &knocker{}
			s, quiet := watchedScanner(t, g, hit), watchedScanner(t, g, other)
			running, spared := start(s, watchedJob("192.0.2.1", 10*time.Minute)), start(quiet, watchedJob("192.0.2.2", 4*time.Minute))
			time.Sleep(30*time.Second + after) // both have begun
			stoppedAt := time.Now()
			g.set(func() { g.stopped["192.0.2.1"] = true })
			got := <-running
			if got.err != nil || got.result.GetOutcome() != modelv1.Outcome_OUTCOME_NOT_PERMITTED || !strings.Contains(got.result.GetReason(), "was stopped") {
				t.Errorf("after %s: %v %v", after, got.result, got.err)
			}
			if len(got.result.GetObservations()) != 1 || len(got.result.GetLeads()) != 0 {
				t.Errorf("after %s: what was seen before is kept and leads nowhere: %v", after, got.result)
			}
			if late := time.Unix(0, hit.last.Load()).Sub(stoppedAt); late >= killLimit || hit.packets.Load() == 0 {
				t.Errorf("stopped after %s: the last of %d packets came %s later", after, hit.packets.Load(), late)
			}
			if rest := <-spared; rest.err != nil || rest.result.GetOutcome() != modelv1.Outcome_OUTCOME_PARTIAL {
				t.Errorf("after %s: the other target: %v %v", after, rest.result, rest.err)
			}
			if got := <-start(s, watchedJob("192.0.2.1", time.Minute)); got.result.GetOutcome() != modelv1.Outcome_OUTCOME_NOT_PERMITTED {
				t.Errorf("after %s: the next scan: %v %v", after, got.result, got.err)
			}
		})
	}
}

// Whoever cannot hear a stop must not go on: while ingest is down, scans end within the same minute and come again later.
func TestScansEndWhereNobodyAnswers(t *testing.T) {
	for name, silence := range map[string]func(*gate){
		"down": func(g *gate) { g.down = true }, "hangs": func(g *gate) { g.slow = time.Hour },
	} {
		synctest.Test(t, func(t *testing.T) {
			g, k := &gate{}, &knocker{}
			running := start(watchedScanner(t, g, k), watchedJob("192.0.2.1", 10*time.Minute))
			time.Sleep(61 * time.Second)
			began := time.Now()
			g.set(func() { silence(g) })
			got := <-running
			if !errors.Is(got.err, fault.Unavailable) {
				t.Errorf("%s: %v %v", name, got.result, got.err)
			}
			if late := time.Since(began); late >= killLimit {
				t.Errorf("%s: it ended %s later", name, late)
			}
		})
	}
}

// A short outage ends nothing, and the watch ends with the last job: nobody is asked when nothing runs.
func TestWatchIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, k := &gate{}, &knocker{}
		s := watchedScanner(t, g, k)
		running := start(s, watchedJob("192.0.2.1", 3*time.Minute))
		time.Sleep(30 * time.Second)
		g.set(func() { g.down = true })
		time.Sleep(20 * time.Second)
		g.set(func() { g.down = false })
		if got := <-running; got.err != nil || got.result.GetOutcome() != modelv1.Outcome_OUTCOME_PARTIAL {
			t.Errorf("%v %v", got.result, got.err)
		}
		time.Sleep(watchEvery)
		calls := 0
		g.set(func() { calls = g.calls })
		time.Sleep(time.Hour)
		g.set(func() {
			if g.calls != calls {
				t.Errorf("asked %d times while nothing ran", g.calls-calls)
			}
		})
	})
}

// The way to the network of one job is narrowed by what ingest says, and the probe learns how much it may do.
func TestScopeReachesTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, k := &gate{denied: []string{"8.8.8.0/24", "2001:4860::/32"}}, &knocker{}
		<-start(watchedScanner(t, g, k), watchedJob("192.0.2.1", time.Second))
		if c := k.got.Load().GetClearance(); c != modelv1.Clearance_CLEARANCE_STANDARD {
			t.Errorf("clearance %s", c)
		}
		for address, want := range map[string]bool{"8.8.8.8:443": false, "[2001:4860::8888]:53": false, "8.8.4.4:443": true, "127.0.0.1:80": false} {
			if err := k.guard.Load().JudgeAddrPort(netip.MustParseAddrPort(address)); (err == nil) != want {
				t.Errorf("%s: %v", address, err)
			}
		}
		g.set(func() { g.denied = []string{"nonsense"} })
		<-start(watchedScanner(t, g, k), watchedJob("192.0.2.1", time.Second))
		if err := k.guard.Load().JudgeAddrPort(netip.MustParseAddrPort("8.8.4.4:443")); err == nil {
			t.Error("with a list that cannot be read something is reached")
		}
	})
}

// roleProbe is a provider with one role.
type roleProbe struct {
	knocker
	role      func(externalID string) error
	externals []string
}

func (*roleProbe) ScanType() modelv1.ScanType { return modelv1.ScanType_SCAN_TYPE_CLOUD }
func (r *roleProbe) ProveRole(_ context.Context, _ probes.Env, _ string, a *modelv1.CloudAccess) error {
	r.externals = append(r.externals, a.GetExternalId())
	return r.role(a.GetExternalId())
}

func TestProveCloudRole(t *testing.T) {
	refused := fault.New(fault.FailedPrecondition, "AccessDenied")
	for name, c := range map[string]struct {
		role func(string) error
		want fault.Code
	}{
		"right":          {func(id string) error { return map[bool]error{false: refused}[id == "riskprofiler-token"] }, 0},
		"no role":        {func(string) error { return refused }, fault.FailedPrecondition},
		"for everybody":  {func(string) error { return nil }, fault.FailedPrecondition},
		"provider down":  {func(string) error { return fault.New(fault.Unavailable, "down") }, fault.Unavailable},
		"not our rights": {func(string) error { return fault.New(fault.PermissionDenied, "us") }, fault.PermissionDenied},
	} {
		p := &roleProbe{role: c.role}
		_, err := watchedScanner(t, &gate{}, p).ProveCloudRole(t.Context(), &scannerv1.ProveCloudRoleRequest{
			Account: "aws:123456789012", Access: &modelv1.CloudAccess{Role: "arn:aws:iam::123456789012:role/RiskProfiler", ExternalId: "riskprofiler-token"},
		})
		if c.want == 0 && err != nil || c.want != 0 && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if p.externals[0] == "riskprofiler-token" || len(p.externals[0]) != len("riskprofiler-")+32 {
			t.Errorf("%s: the first try is with another external id, and was with %q", name, p.externals[0])
		}
	}
	if _, err := watchedScanner(t, &gate{}, &knocker{}).ProveCloudRole(t.Context(), &scannerv1.ProveCloudRoleRequest{}); !errors.Is(err, fault.Unimplemented) {
		t.Errorf("without a scanner for clouds: %v", err)
	}
}
