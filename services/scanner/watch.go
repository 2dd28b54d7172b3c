package scanner

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

// The kill switch holds within 60 seconds: a job under way is asked about every watchEvery, an answer takes watchPatience at most,
// and what could not be asked about for watchLimit ends too, because whoever cannot hear a stop must not go on.
const (
	watchEvery    = 20 * time.Second
	watchPatience = 15 * time.Second
	watchLimit    = 35 * time.Second
	// watchBatch is how many targets are asked about at a time: half the limit of CheckScope.
	watchBatch = 500
)

// permission is ingest's answer for one job.
type permission struct {
	allowed bool
	reason  string
	// guard is the way to the network for this job: it reaches no address that the tenant or the operator has forbidden,
	// whatever name leads there.
	guard *netguard.Guard
}

// inScope asks ingest whether a job may run, and tells the job what it may do.
func (s *Service) inScope(ctx context.Context, job *modelv1.ScanJob) (permission, error) {
	req := scopeRequest(job)
	req.WithDenied, req.Recheck = true, job.GetAssessment() == "" // an assessment's proofs were looked at when it began
	res, err := s.ingest.CheckScope(ctx, req)
	if err != nil {
		return permission{}, err
	}
	if len(res.GetDecisions()) != 1 {
		return permission{}, fault.New(fault.Internal, "check scope: %d decisions for one target", len(res.GetDecisions()))
	}
	d := res.GetDecisions()[0]
	if job.Options == nil {
		job.Options = &modelv1.ScanOptions{}
	}
	job.Options.Clearance, job.Options.Cloud = d.GetGranted(), d.GetCloud()
	p := permission{allowed: d.GetAllowed(), reason: d.GetReason(), guard: s.guard}
	if len(res.GetDenied()) > 0 {
		p.guard = s.guard.Within(denying(res.GetDenied()))
	}
	return p, nil
}

func scopeRequest(jobs ...*modelv1.ScanJob) *ingestv1.CheckScopeRequest {
	req := &ingestv1.CheckScopeRequest{Profile: jobs[0].GetOptions().GetProfile()}
	for _, j := range jobs {
		req.Targets, req.ScanTypes = append(req.Targets, j.GetTarget()), append(req.ScanTypes, j.GetScanType())
	}
	return req
}

// errDenied is the cause of a refusal by what the tenant or the operator forbade.
var errDenied = errors.New("it is excluded, stopped or on the do-not-scan list")

// denying refuses the addresses of a list of ranges. One that cannot be read is ours to mend: then nothing is reached.
func denying(ranges []string) func(netip.AddrPort) error {
	prefixes := make([]netip.Prefix, 0, len(ranges))
	for _, text := range ranges {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return func(netip.AddrPort) error { return errDenied }
		}
		prefixes = append(prefixes, p)
	}
	return func(to netip.AddrPort) error {
		for _, p := range prefixes {
			if p.Contains(to.Addr().Unmap()) {
				return errDenied
			}
		}
		return nil
	}
}

// stoppedError says that a job's target may no longer be touched.
type stoppedError struct{ reason string }

func (e *stoppedError) Error() string { return e.reason }

// watcher asks again and again whether what runs may go on.
type watcher struct {
	ingest ingestv1.IngestServiceClient
	self   func(ctx context.Context, tenant string) context.Context
	log    *slog.Logger

	mu      sync.Mutex
	running map[*watched]bool
	// end ends the loop that asks; nil where nothing runs.
	end chan struct{}
}

// watched is one job under way.
type watched struct {
	job    *modelv1.ScanJob
	cancel context.CancelCauseFunc
	// heard is when ingest said last that it may run. Only the loop writes it.
	heard time.Time
}

// follow watches a job that was just permitted. The context ends with a [*stoppedError] as its cause when the target may no longer be
// touched; done ends the watch.
func (w *watcher) follow(ctx context.Context, job *modelv1.ScanJob) (watching context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	one := &watched{job: job, cancel: cancel, heard: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end == nil {
		w.running, w.end = map[*watched]bool{}, make(chan struct{})
		go w.loop(w.end)
	}
	w.running[one] = true
	return ctx, func() {
		w.forget(one)
		cancel(nil)
	}
}

// forget ends the watch of a job, and the asking with the last one.
func (w *watcher) forget(one *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, one)
	if len(w.running) == 0 {
		close(w.end)
		w.end = nil
	}
}

func (w *watcher) loop(end <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		var asked sync.WaitGroup
		for _, jobs := range w.groups() {
			asked.Go(func() { w.ask(jobs) })
		}
		asked.Wait()
	}
}

// groups are the jobs under way that can be asked about together: of one tenant and profile.
func (w *watcher) groups() [][]*watched {
	type key struct {
		tenant  string
		profile modelv1.Profile
		part    int
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	byKey, counts := map[key][]*watched{}, map[key]int{}
	for one := range w.running {
		k := key{tenant: one.job.GetTenant(), profile: one.job.GetOptions().GetProfile()}
		n := counts[k]
		counts[k]++
		k.part = n / watchBatch
		byKey[k] = append(byKey[k], one)
	}
	out := make([][]*watched, 0, len(byKey))
	for _, group := range byKey {
		out = append(out, group)
	}
	return out
}

func (w *watcher) ask(group []*watched) {
	ctx, cancel := context.WithTimeout(w.self(context.Background(), group[0].job.GetTenant()), watchPatience)
	defer cancel()
	jobs := make([]*modelv1.ScanJob, len(group))
	for i, one := range group {
		jobs[i] = one.job
	}
	res, err := w.ingest.CheckScope(ctx, scopeRequest(jobs...))
	if err == nil && len(res.GetDecisions()) != len(group) {
		err = fault.New(fault.Internal, "%d decisions for %d targets", len(res.GetDecisions()), len(group))
	}
	now := time.Now()
	for i, one := range group {
		switch {
		case err == nil && !res.GetDecisions()[i].GetAllowed():
			one.cancel(&stoppedError{res.GetDecisions()[i].GetReason()})
		case err == nil:
			one.heard = now
		case now.Sub(one.heard) >= watchLimit:
			one.cancel(fault.Wrap(fault.Unavailable, err, "the scan was ended: nobody could say for %s whether it may go on", now.Sub(one.heard).Round(time.Second)))
		}
	}
	if err != nil {
		w.log.WarnContext(ctx, "cannot ask whether scans may go on", slog.Int("scans", len(group)), slog.Any("error", err))
	}
}
