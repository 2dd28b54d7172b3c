package providers

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/ratelimit"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	// settleTime is what is left of a request's time for noting how it ended.
	settleTime = 2 * time.Second
	// settleTimeout bounds that note; it is made even where the scan's own time is over.
	settleTimeout = 5 * time.Second
	// patience is how long a caller without a deadline waits for a place.
	patience = 5 * time.Second
)

// Options make a [Client].
type Options struct {
	// Table keeps the ledgers: the table of rate limits, which all workers share.
	Table *table.Table
	// Limiter is the GCRA over the same table; nil: one of its own.
	Limiter *ratelimit.Limiter
	// Secrets has the tenants' keys; nil: nobody has any.
	Secrets secret.Reader
	// Evidence keeps what was answered.
	Evidence blob.Bucket
	// Guard is the way to the providers. Their addresses are the operator's choice and not a target's.
	Guard *netguard.Guard
	// UserAgent names us and says whom to turn to.
	UserAgent string
	// Bases replace the URLs of providers, by name.
	Bases map[string]string
	// Disabled providers are never asked.
	Disabled []string
	// PerAssessment bounds the requests of one assessment to one provider; 0: DefaultPerAssessment.
	PerAssessment int
	// Logger hears of what could not be noted; nil: nobody.
	Logger *slog.Logger
}

// DefaultPerAssessment keeps one assessment of a large estate from using up a month's quota.
const DefaultPerAssessment = 1000

// Client asks providers. It is safe for concurrent use; one per process is best.
type Client struct {
	options Options
	keys    keys
	ledgers ledgers
	caller  caller
	pointed pointers
}

// New makes a client. It opens nothing.
func New(o Options) *Client {
	if o.Limiter == nil {
		o.Limiter = ratelimit.New(ratelimit.Options{Table: o.Table})
	}
	if o.PerAssessment <= 0 {
		o.PerAssessment = DefaultPerAssessment
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		options: o, keys: keys{secrets: o.Secrets}, ledgers: ledgers{table: o.Table},
		caller: caller{guard: o.Guard, userAgent: o.UserAgent, bases: o.Bases},
	}
}

// Desk asks in the name of one tenant and for one assessment.
type Desk struct {
	client             *Client
	tenant, assessment string
	perAssessment      int
}

// For makes a desk. assessment may be empty, for a scan that belongs to none; perAssessment bounds its requests to one provider,
// 0: as the client's options say.
func (c *Client) For(tenant, assessment string, perAssessment int) *Desk {
	if perAssessment <= 0 {
		perAssessment = c.options.PerAssessment
	}
	return &Desk{client: c, tenant: tenant, assessment: assessment, perAssessment: perAssessment}
}

// Question is what a provider is asked. The functions of each provider's file make it.
type Question[T any] struct {
	Provider *Provider
	// operation, subject and page name it in the memory of answers.
	operation, subject, page string
	// path comes after the provider's base, with its query and without the key.
	path string
	// at is the address of one of several services of the provider, each with limits of its own; empty: the provider's base.
	at string
	// credits is what the answer costs besides the request.
	credits int
	parse   func([]byte) (T, error)
}

// Answer is what a provider said.
type Answer[T any] struct {
	// Value is the zero T where the provider knows nothing of the subject, and where there is no answer.
	Value T
	// Report says how it went, whether there is an answer or not. Its results are for the caller to fill.
	Report *modelv1.SourceReport
	// Evidence is the answer as it came, nil if there is none.
	Evidence *modelv1.Evidence
}

// Ask asks and reads the answer. One that cannot be read is the provider's failure. Waiting for a place is part of ctx's time:
// where the place comes later than that, nothing is asked. The error is a [*Problem], or one that [Unasked] knows.
func Ask[T any](ctx context.Context, d *Desk, q Question[T]) (Answer[T], error) {
	out := Answer[T]{Report: &modelv1.SourceReport{Source: q.Provider.Name, State: modelv1.SourceReport_STATE_OK}}
	var value T
	a := ask{
		provider: q.Provider, operation: q.operation, subject: q.subject, page: q.page, path: q.path, at: q.at, credits: q.credits, report: out.Report,
		read: func(body []byte) (err error) { value, err = q.parse(body); return err },
	}
	err := error(&Problem{State: unavailable, Text: "this platform has no client for third parties"})
	if d != nil {
		err = d.ask(ctx, &a)
	}
	if err == nil {
		out.Value = value
		if a.blob != "" {
			out.Evidence = &modelv1.Evidence{Blob: a.blob}
		}
		return out, nil
	}
	p := problemOf(err)
	out.Report.State, out.Report.Problem = p.State, p.Text
	if !Unasked(err) {
		err = p
	}
	return out, err
}

// ask is a question without its type.
type ask struct {
	provider           *Provider
	operation, subject string
	page, path, at     string
	credits            int
	read               func([]byte) error
	report             *modelv1.SourceReport

	// blob is where the answer lies.
	blob   string
	key    string
	ledger string
	limits *scannerv1.QuotaLimits
}

func (d *Desk) ask(ctx context.Context, a *ask) error {
	if err := d.prepare(ctx, a); err != nil {
		return err
	}
	if d.remembered(ctx, a) {
		return nil
	}
	if err := d.permit(ctx, a); err != nil {
		return err
	}
	c, err := d.reserve(ctx, a)
	if err != nil {
		return err
	}
	return d.call(ctx, a, c)
}

// prepare says whether the question may be asked at all, and with which key.
func (d *Desk) prepare(ctx context.Context, a *ask) error {
	if !Public(a.subject) {
		return notAsked("third parties are not asked about names that nobody can own and addresses that are not public")
	}
	if slices.Contains(d.client.options.Disabled, a.provider.Name) {
		return notAsked("the operator has not switched it on")
	}
	var credential *modelv1.ProviderCredential
	if a.provider.Keyed() {
		var err error
		if credential, err = d.client.keys.of(ctx, d.tenant, a.provider); err != nil {
			d.client.options.Logger.WarnContext(ctx, "a key for a third party cannot be read", slog.String("provider", a.provider.Name), slog.Any("error", err))
			return &Problem{State: unavailable, Text: "the key for it cannot be read; the operator's log says why"}
		}
		if credential == nil {
			return notAsked("there is no key for it; store one with `riskprofiler providers keys add " + a.provider.Name + "`")
		}
	}
	a.key, a.ledger, a.limits = credential.GetKey(), ledgerOf(a.provider, credential), a.provider.limitsWith(credential.GetLimits())
	if a.at != "" {
		a.ledger += "#" + strings.ToLower(a.at)
	}
	return nil
}

// permit takes a permit of the lasting rate. The ledger's window is what keeps the limit; GCRA refuses from memory, and keeps
// workers that would all be refused from writing to the table.
func (d *Desk) permit(ctx context.Context, a *ask) error {
	n := a.limits.GetWindowRequests()
	if n == 0 {
		return nil
	}
	bucket := ratelimit.Bucket{Key: a.ledger, Rate: float64(n) / float64(a.limits.GetWindowSeconds()), Burst: int(n)}
	for {
		decision, err := d.client.options.Limiter.Take(ctx, []ratelimit.Bucket{bucket})
		if err != nil {
			return d.untold(ctx, err)
		}
		if decision.OK {
			return nil
		}
		until := time.Now().Add(decision.RetryAfter)
		if err := await(ctx, &Problem{State: limited, Text: "its limit of " + rate(a.limits) + " is used up until " + clock(until), Until: until}); err != nil {
			return err
		}
	}
}

// reserve takes a place in the ledger, and waits for one if it comes in time.
func (d *Desk) reserve(ctx context.Context, a *ask) (claim, error) {
	for {
		var c claim
		var problem *Problem
		err := d.client.ledgers.change(ctx, a.provider, a.ledger, func(l *scannerv1.QuotaLedger) ([]table.Write, bool, error) {
			c, problem = reserve(l, a.limits, time.Now(), a.provider.timeout+settleTime, a.credits)
			if problem == nil && d.assessment != "" {
				use, err := d.client.ledgers.countUse(ctx, useKey(d.tenant, d.assessment, a.provider), d.perAssessment)
				return []table.Write{use}, true, err
			}
			return nil, problem == nil, nil
		})
		if err != nil {
			return claim{}, d.untold(ctx, err)
		}
		if problem == nil {
			return c, nil
		}
		if err := await(ctx, problem); err != nil {
			return claim{}, err
		}
	}
}

// await waits until the problem is over, or gives it back where that is too late.
func await(ctx context.Context, p *Problem) error {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		deadline = time.Now().Add(patience)
	}
	if p.Until.IsZero() || !p.Until.Before(deadline) {
		return p
	}
	if sleep(ctx, wait(time.Until(p.Until))) != nil {
		return p
	}
	return nil
}

// wait is how long to sleep until a moment that is d away, or that has just passed: whoever was told of it may be slow to
// act on it. The little extra keeps workers that wait for the same moment from coming as one.
func wait(d time.Duration) time.Duration {
	d = max(d, 0)
	return max(d+halfFixed(min(d/8, time.Second)), time.Millisecond)
}

// call sends the request and notes how it ended.
func (d *Desk) call(ctx context.Context, a *ask, c claim) error {
	asked := time.Now()
	a.report.AskedAt, a.report.Requests = timestamppb.New(asked), 1
	r, e := d.send(ctx, a, c)
	if e.problem == nil && !r.absent {
		if a.read(r.body) != nil {
			e = broken("its answer cannot be read")
		}
	}
	settleCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	err := d.client.ledgers.change(settleCtx, a.provider, a.ledger, func(l *scannerv1.QuotaLedger) ([]table.Write, bool, error) {
		settle(l, a.limits, c, e, time.Now())
		return nil, true, nil
	})
	d.client.point(settleCtx, d.tenant, a)
	if err != nil {
		// The place stays taken until its time is over: less is asked than may be, never more.
		d.client.options.Logger.WarnContext(ctx, "how a request to a third party ended could not be noted", slog.String("provider", a.provider.Name), slog.Any("error", err))
	}
	if e.problem != nil {
		return e.problem
	}
	d.remember(settleCtx, a, r, asked)
	return nil
}

// send gives a request its time, counted from when its place was taken: the ledger takes it for ended afterwards.
func (d *Desk) send(scan context.Context, a *ask, c claim) (reply, ending) {
	ctx, cancel := context.WithDeadline(scan, time.Unix(0, c.token).Add(-settleTime))
	defer cancel()
	r, e := d.client.caller.send(ctx, a.provider, cmp.Or(a.at, d.client.caller.base(a.provider))+a.path, a.key)
	if e.problem != nil && scan.Err() != nil { // it had less time than it may take
		e = broken("the scan's time was over before it answered")
		e.neutral = true
	}
	return r, e
}

// untold passes a problem on; the platform's own trouble is for the operator's log, and the scan says that nothing was asked.
func (d *Desk) untold(ctx context.Context, err error) error {
	p := problemOf(err)
	if error(p) != err { //nolint:errorlint // the same one, not an equal one
		d.client.options.Logger.WarnContext(ctx, "requests to a third party could not be accounted for", slog.Any("error", err))
	}
	return p
}
