// Package probes defines what a scan type is to the scanner: one small interface, what it may use, and what it hands back.
// Each scan type lives in a package below this one and has one line in the scanner's list.go. A probe learns facts; it never
// judges them, never chooses its own targets and never reaches the network except through the guard in its Env.
package probes

import (
	"context"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// Bounds that every probe keeps, whatever a target sends. They are upper limits: a probe may take less.
const (
	// DialTimeout bounds one connection attempt.
	DialTimeout = 5 * time.Second
	// QuickDialTimeout bounds one connection attempt in the quick profile.
	QuickDialTimeout = 3 * time.Second
	// HandshakeTimeout bounds one TLS handshake.
	HandshakeTimeout = 5 * time.Second
	// FirstByteTimeout bounds the wait for the first byte of an answer.
	FirstByteTimeout = 5 * time.Second
	// DefaultBudget bounds a whole scan that names no budget of its own.
	DefaultBudget = 20 * time.Second
	// SlowAfter is the grace before MinimumRate applies.
	SlowAfter = 5 * time.Second
	// MinimumRate in bytes a second: who sends slower than this after SlowAfter wants to hold the scanner, and is a tarpit.
	MinimumRate = 64
	// MaxBannerBytes is as much as is read of a service that talks without end.
	MaxBannerBytes = 64 << 10
	// MaxBodyBytes is as much as is read of one HTTP body.
	MaxBodyBytes = 2 << 20
	// MaxHeaderBytes bounds one HTTP header block.
	MaxHeaderBytes = 64 << 10
	// MaxHeaders bounds the number of headers of one HTTP answer.
	MaxHeaders = 200
	// MaxExcerptRunes bounds Evidence.excerpt.
	MaxExcerptRunes = 2048
)

// Probe is one scan type. Its methods are safe for concurrent use.
type Probe interface {
	// ScanType says which jobs the probe takes; no two probes take the same.
	ScanType() modelv1.ScanType
	// Version names the probe and its revision, such as "tls/1": facts of unequal versions are not compared.
	Version() string
	// Scan looks at the job's target and returns what it learned. A target that does not answer, lies or breaks off is data
	// in Result.Outcome and Result.Reason; the error is only for a scan that could not even start (a job without a target,
	// an evidence store that is down) and that may be tried again. Scan returns soon after ctx ends, with what it has.
	Scan(ctx context.Context, env Env, job *modelv1.ScanJob) (*Result, error)
}

// EvidenceSink stores raw bytes and says where they lie. Store first, then name: an observation never points to bytes that
// may be missing.
type EvidenceSink interface {
	// Put stores data under its content hash; kind is a short word such as "banner" or "dns". The evidence it returns has
	// its blob set; excerpt and truncated are for the caller to fill.
	Put(ctx context.Context, kind string, data []byte) (*modelv1.Evidence, error)
}

// Env is all that a probe may use of the world.
type Env struct {
	// Guard is the only way to the network: it judges each address after resolution and before connecting.
	Guard *netguard.Guard
	// Blobs takes the raw bytes behind an observation; nil where nobody keeps evidence.
	Blobs EvidenceSink
	// Permit takes cost permits for packets to host, and may wait for them; an error means that they must not be sent.
	// Nil means that nothing limits the rate. A wait is part of the job's time.
	Permit func(ctx context.Context, host string, cost int) error
	// Batch says how many permits for host may be taken at once and used at once without breaking the promised rate; nil:
	// any number. Who asks Permit for more waits for them in portions, and must not send them in one go.
	Batch func(host string) int
	// Rate is the promised rate of host in permits a second, for engines that pace themselves; nil: without limit.
	Rate func(host string) float64
	// ResolverRate is how many questions a second the operator's resolver takes from all scans of this process; 0: the usual.
	ResolverRate float64
	// Pause keeps every worker from sending to host until then; nil: nobody is told. Probes use Env.Backoff or Env.Courtesy.
	Pause func(ctx context.Context, host string, until time.Time) error
	// Providers asks third parties in the name of the job's tenant; nil where there is no way to them.
	Providers *providers.Desk
	// Credential reads what the job's tenant stored to be let into its accounts at a cloud, "azure" or "google"; fault.FailedPrecondition
	// where there is none. Nil where the scanner reads no secrets.
	Credential func(ctx context.Context, provider string) (string, error)
	// Holders tells which other connected accounts of the job's tenant hold addresses and names, one for each, "" where none is known to.
	// Nil where nobody can be asked.
	Holders func(ctx context.Context, places []string) ([]string, error)
	// Contact is the page or address that every request names; empty: DefaultContact. Probes use UserAgent.
	Contact string
	// Nuclei is the engine of vuln, where the operator installed it.
	Nuclei EngineFiles
	// Chromium is the program that http takes screenshots with, where the operator installed it.
	Chromium string
	// Cloud is what the operator says about the providers of clouds.
	Cloud CloudSettings
}

// CloudSettings are the operator's words about the interfaces of cloud providers.
type CloudSettings struct {
	// URLs are where a provider's interfaces are reached instead of at their own addresses, by the provider's name ("aws", "azure",
	// "google") or one of its interfaces ("azure-login"): a proxy, or a server that stands in for them. The name that is asked for in
	// the request stays the provider's own where the provider's package says so.
	URLs map[string]string
	// Regions limits what is read of providers that have regions; empty: all that the account has enabled.
	Regions []string
}

// EngineFiles are an engine that the operator installed: its program, and the folder of what it tests for.
type EngineFiles struct{ Program, Templates string }

// TakePermits takes cost permits for host, at once where nothing limits the rate.
func (e Env) TakePermits(ctx context.Context, host string, cost int) error {
	if e.Permit == nil {
		return ctx.Err()
	}
	return e.Permit(ctx, host, cost)
}

// Evidence stores raw under kind and returns the evidence with a safe excerpt of it; nil where nobody keeps evidence or
// there is nothing to keep.
func (e Env) Evidence(ctx context.Context, kind string, raw []byte, truncated bool) (*modelv1.Evidence, error) {
	if e.Blobs == nil || len(raw) == 0 {
		return nil, nil
	}
	evidence, err := e.Blobs.Put(ctx, kind, raw)
	if err != nil {
		return nil, err
	}
	evidence.Excerpt = SafeText(raw, MaxExcerptRunes)
	evidence.Truncated = truncated
	return evidence, nil
}

// Result is what one scan learned.
type Result struct {
	// Outcome says how far the scan got; only a complete one makes absence evidence.
	Outcome modelv1.Outcome
	// Reason is one clear line why the outcome is not complete.
	Reason string
	// Observations are the facts, made by NewObservation.
	Observations []*modelv1.Observation
	// Leads are what may be worth another scan.
	Leads []*modelv1.Lead
	// Reached are other assets than the target that observations name, for a scan that reads an inventory.
	Reached []*modelv1.Reach
	// Unread are the parts of an inventory in which absence means nothing.
	Unread []*modelv1.Unread
}

// Budget returns how long the job's scan may take: the job's own budget, else fallback.
func Budget(job *modelv1.ScanJob, fallback time.Duration) time.Duration {
	if budget := job.GetOptions().GetBudget(); budget.IsValid() && budget.AsDuration() > 0 {
		return budget.AsDuration()
	}
	return fallback
}
