package correlator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// When knowledge or a check changes, just the assets concerned are evaluated again. The announcement is turned into one lane for each
// tenant: messages of the queue reevaluations in the tenant's group, each a step of a bounded number of assets that sends the next step
// when it ends. So a tenant with very many assets holds one lane and nobody else's, and a crash repeats one step.
const (
	// stepTime is when a step hands over to the next: far within the time-out of a function.
	stepTime = 8 * time.Second
	// stepPage is how many assets are read from the index at a time, stepWidth how many of them are evaluated at a time.
	stepPage  = 200
	stepWidth = 16
	// laneKeys bounds the keys of one message.
	laneKeys = 200
)

// handleIntel takes the announcement of a snapshot: it finds the tenants that run a changed product and begins their lanes.
func (s *Service) handleIntel(ctx context.Context, m queue.Message) error {
	c := &modelv1.IntelChanged{}
	if err := proto.Unmarshal(m.Body, c); err != nil || c.GetVersion() == "" {
		return queue.Permanent(fault.New(fault.Invalid, "read announcement of intel: it names no version"))
	}
	// The mark comes before the reading of the index: see intelState.
	if err := s.announce(ctx, c.GetVersion()); err != nil {
		return err
	}
	changed, err := s.changedProducts(ctx, c)
	if err != nil {
		return err
	}
	return s.beginLanes(ctx, changed, "intel "+c.GetVersion(), m.SentAt)
}

// announce writes down the newest version; an older one that comes late changes nothing.
func (s *Service) announce(ctx context.Context, version string) error {
	for range maxConflicts {
		var state intelState
		revision, err := s.loadState(ctx, stateKey(stateIntel), &state)
		if err != nil || compareIntel(state.Version, version) >= 0 {
			return err
		}
		if err = s.saveState(ctx, stateKey(stateIntel), intelState{version}, revision); !errors.Is(err, fault.Conflict) {
			return err
		}
	}
	return fault.New(fault.Conflict, "announce intel: the mark changed %d times meanwhile", maxConflicts)
}

// changedProducts are the keys of an announcement, from the message or from its blob.
func (s *Service) changedProducts(ctx context.Context, c *modelv1.IntelChanged) (map[string]bool, error) {
	out := make(map[string]bool, len(c.GetProducts()))
	for _, key := range c.GetProducts() {
		out[key] = true
	}
	if c.GetProductsBlob() == "" {
		return out, nil
	}
	raw, err := s.lists.Get(ctx, c.GetProductsBlob())
	if err != nil {
		return nil, err
	}
	for key := range strings.Lines(string(raw)) {
		out[strings.TrimSuffix(key, "\n")] = true
	}
	return out, nil
}

// beginLanes starts a lane for every tenant that uses one of the keys. The registry of used keys is read, not the keys: an announcement
// may name hundreds of thousands that nobody runs.
func (s *Service) beginLanes(ctx context.Context, changed map[string]bool, reason string, since time.Time) error {
	if len(changed) == 0 {
		return nil
	}
	q := table.Query{Partition: keysPartition, KeysOnly: true}
	for {
		page, err := s.table.Query(ctx, q)
		if err != nil {
			return err
		}
		var keys []string
		for _, item := range page.Items {
			if changed[item.Key.Sort] {
				keys = append(keys, item.Key.Sort)
			}
		}
		if err := s.lanesOf(ctx, keys, reason, since); err != nil {
			return err
		}
		if q.PageToken = page.NextPageToken; q.PageToken == "" {
			return nil
		}
	}
}

// lanesOf sends the first steps for some keys.
func (s *Service) lanesOf(ctx context.Context, keys []string, reason string, since time.Time) error {
	byTenant := map[string][]string{}
	for _, key := range keys {
		if err := s.tenantsOf(ctx, key, func(tenant string) { byTenant[tenant] = append(byTenant[tenant], key) }); err != nil {
			return err
		}
	}
	for tenant, keys := range byTenant {
		for chunk := range slices.Chunk(keys, laneKeys) {
			if err := s.sendStep(ctx, &correlatorv1.Reevaluation{Tenant: tenant, Keys: chunk, Reason: reason, Since: timestamppb.New(since)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendStep sends one step. The same step sent twice is one.
func (s *Service) sendStep(ctx context.Context, r *correlatorv1.Reevaluation) error {
	body, err := proto.Marshal(r)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode step of a re-evaluation")
	}
	id := hash(strings.Join([]string{r.GetTenant(), r.GetReason(), r.GetPageToken(), strings.Join(r.GetKeys(), " ")}, "\x00"))
	return s.reevaluations.Send(ctx, queue.Message{Group: r.GetTenant(), DedupID: id[:32], Body: body})
}

// handleReevaluation does one step: it evaluates assets of one tenant until its time is over, then sends the next step.
func (s *Service) handleReevaluation(ctx context.Context, m queue.Message) error {
	r := &correlatorv1.Reevaluation{}
	if err := proto.Unmarshal(m.Body, r); err != nil || r.GetTenant() == "" {
		return queue.Permanent(fault.New(fault.Invalid, "read step of a re-evaluation: it names no tenant"))
	}
	ctx = context.WithValue(s.self(ctx, r.GetTenant()), reasonKey{}, r.GetReason())
	for begun := time.Now(); len(r.GetKeys()) > 0; {
		if time.Since(begun) > stepTime {
			return s.sendStep(ctx, r)
		}
		if err := s.stepOver(ctx, r); err != nil {
			return err
		}
	}
	s.log.InfoContext(ctx, "assets were evaluated again", slog.String("tenant", r.GetTenant()), slog.String("reason", r.GetReason()),
		slog.Uint64("assets", uint64(r.GetEvaluated())), slog.Duration("since_change", time.Since(r.GetSince().AsTime())))
	return nil
}

// stepOver evaluates one page of the assets of the first key and moves on.
func (s *Service) stepOver(ctx context.Context, r *correlatorv1.Reevaluation) error {
	page, err := s.table.Query(ctx, table.Query{
		Partition: usersPartition(r.GetKeys()[0], shardOf(r.GetTenant())), Prefix: r.GetTenant() + "#", Limit: stepPage, KeysOnly: true, PageToken: r.GetPageToken(),
	})
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(stepWidth)
	for _, item := range page.Items {
		_, asset, _ := strings.Cut(item.Key.Sort, "#")
		g.Go(together.Safely(func() error { return s.again(gctx, r, "assets/"+asset) }))
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.Evaluated += uint32(len(page.Items))
	if r.PageToken = page.NextPageToken; r.GetPageToken() == "" {
		r.Keys = r.GetKeys()[1:]
	}
	return nil
}

// again evaluates one asset. If that fails it becomes an ordinary change with its own attempts, so that one asset does not hold up the
// others.
func (s *Service) again(ctx context.Context, r *correlatorv1.Reevaluation, asset string) error {
	_, err := s.evaluate(ctx, r.GetTenant(), asset, false)
	if err == nil || errors.Is(err, fault.NotFound) {
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	s.log.WarnContext(ctx, "an asset could not be evaluated again and is announced as changed", slog.String("asset", asset), slog.Any("error", err))
	body, err := proto.Marshal(&modelv1.AssetChanged{Tenant: r.GetTenant(), Asset: asset})
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode change")
	}
	return s.changes.Send(ctx, queue.Message{
		Group: r.GetTenant() + "#" + resource.ID(asset), DedupID: hash(r.GetReason() + "\x00" + r.GetTenant() + "\x00" + asset)[:32], Body: body,
	})
}

// catalogueState is the catalogue whose checks all stored facts were judged by, each check by a digest of what its findings follow from.
type catalogueState struct {
	Version string            `json:"version"`
	Checks  map[string]string `json:"checks"`
}

// tick looks whether this process has other checks than the facts were judged by, and evaluates again what they read.
func (s *Service) tick(ctx context.Context) error {
	c, err := s.catalogue()
	if err != nil {
		return err
	}
	var known catalogueState
	revision, err := s.loadState(ctx, stateKey(stateCatalogue), &known)
	if err != nil || known.Version == c.Version {
		return err
	}
	now := catalogueState{Version: c.Version, Checks: map[string]string{}}
	concerned := map[string]bool{}
	for _, k := range c.checks {
		now.Checks[k.ID] = versionOf([]*check{k})[:16]
		if known.Checks[k.ID] != now.Checks[k.ID] {
			for _, key := range k.reads() {
				concerned[key] = true
			}
		}
	}
	keys := make([]string, 0, len(concerned))
	for key := range concerned {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if err := s.lanesOf(ctx, keys, "catalogue "+c.Version[:12], time.Now()); err != nil {
		return err
	}
	// Written last: a crash before it begins again. Of two processes one writes; the steps of both are the same messages.
	if err := s.saveState(ctx, stateKey(stateCatalogue), now, revision); !errors.Is(err, fault.Conflict) {
		return err
	}
	return nil
}

// reads are the keys of the index of what a check judges.
func (k *check) reads() []string {
	if k.Fact == matchFact {
		return []string{factKey + "http", factKey + "service"}
	}
	return []string{factKey + k.Fact}
}

// reasonKey carries why assets are evaluated again.
type reasonKey struct{}

// report tells the log which risks rose because something else than the asset changed. Reports and alerts read the same by ListRisks.
func (s *Service) report(ctx context.Context, tenant string, k known, out Output) {
	reason, ok := ctx.Value(reasonKey{}).(string)
	if !ok {
		return
	}
	for _, r := range out.Risks {
		before := k.risks[r.GetName()]
		if r.GetState() != correlatorv1.Risk_STATE_OPEN || before.GetState() == correlatorv1.Risk_STATE_OPEN && before.GetScore() >= r.GetScore() {
			continue
		}
		s.log.InfoContext(ctx, "a risk rose", slog.String("tenant", tenant), slog.String("risk", r.GetName()), slog.String("title", r.GetTitle()),
			slog.Float64("score", r.GetScore()), slog.Float64("before", before.GetScore()), slog.String("reason", reason))
	}
}

// problems remembers when a failure of a check was written down last, so that a check that fails on every asset is not written with
// every evaluation.
type problems struct {
	mu      sync.Mutex
	written map[string]time.Time
}

// problemEvery is how often the problem of one check is written by one process.
const problemEvery = time.Minute

// reportProblems writes the failures of the tenant's own checks beside them.
func (s *Service) reportProblems(ctx context.Context, tenant string, found map[string]*correlatorv1.CheckProblem) error {
	for id, p := range found {
		if !s.problems.due(tenant + "\x00" + id) {
			continue
		}
		value, err := proto.Marshal(p)
		if err != nil {
			return fault.Wrap(fault.Internal, err, "encode problem of a check")
		}
		item := table.Item{Key: table.Key{Partition: checksPartition(tenant), Sort: prefixProblem + id}, Value: value}
		if err := s.table.Write(ctx, table.Write{Item: item, If: table.Any}); err != nil {
			return err
		}
	}
	return nil
}

func (p *problems) due(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.written[key]) < problemEvery {
		return false
	}
	if p.written == nil || len(p.written) > maxRegistered {
		p.written = map[string]time.Time{}
	}
	p.written[key] = now
	return true
}
