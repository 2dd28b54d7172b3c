package intel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/services/ingest/feeds"
)

const (
	// DefaultBudget is how long one step may take: with what it does after that, it stays below the 30 s of a function.
	DefaultBudget = 12 * time.Second
	// maxContinuation bounds the feeds that a continuation names.
	maxContinuation = 64
	// maxProblem bounds what is kept of an error.
	maxProblem = 300
)

// Options say what an engine works with.
type Options struct {
	Store *Store
	Queue *queue.Queue
	// Sources are where feeds are read from, Feeds their names.
	Sources Sources
	Feeds   []string
	// Budget is how long a step may take; 0: DefaultBudget.
	Budget time.Duration
	Logger *slog.Logger
	Now    func() time.Time
}

// Engine reads feeds and publishes snapshots, step by step.
type Engine struct {
	Options

	mu      sync.Mutex
	sources []Source
}

// NewEngine makes an engine. Feeds or ecosystems that are not known are fault.Invalid.
func NewEngine(o Options) (*Engine, error) {
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	e := &Engine{Options: o}
	sources, err := o.Sources.Open(o.Feeds)
	e.sources = sources
	return e, err
}

// Feeds are the names of all sources that are set, in the order in which they are read.
func (e *Engine) Feeds() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, s := range e.sources {
		out = append(out, s.Name())
	}
	return out
}

// source is the source of a feed. One that is not set but known is opened on request.
func (e *Engine) source(name string) (Source, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sources {
		if s.Name() == name {
			return s, nil
		}
	}
	opened, err := e.Sources.Open([]string{name})
	if err != nil {
		return nil, err
	}
	e.sources = append(e.sources, opened...)
	return opened[0], nil
}

// expand turns names of feeds into names of sources, in the order in which they are read.
func (e *Engine) expand(names []string) ([]string, error) {
	if len(names) == 0 {
		names = e.Options.Feeds
	}
	sources, err := e.Sources.Open(names)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range sources {
		if !slices.Contains(out, s.Name()) {
			out = append(out, s.Name())
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return slices.Index(Names, family(a)) - slices.Index(Names, family(b)) })
	return out, nil
}

// Step does one bounded step. What goes wrong with a source is in the answer, and the sync goes on with the others; the error is
// about the store.
func (e *Engine) Step(ctx context.Context, req *ingestv1.SyncIntelRequest) (*ingestv1.SyncIntelResponse, error) {
	left, err := e.left(req)
	if err != nil {
		return nil, err
	}
	var out *ingestv1.SyncIntelResponse
	if len(left) > 0 {
		out, left, err = e.read(ctx, left)
	} else {
		out, err = e.compile(ctx)
	}
	if isConflict(err) {
		// Another sync did this step: go on after it.
		return &ingestv1.SyncIntelResponse{
			Continuation: continuation(left), Fraction: -1, Step: "another sync is under way", WaitMs: 100 + rand.Int64N(400), //nolint:gosec // spreads load
		}, nil
	}
	if err != nil {
		return nil, err
	}
	out.Continuation = continuation(left)
	if out.GetDone() {
		out.Continuation = ""
	}
	return out, nil
}

// isConflict says whether somebody else wrote a row in between. A row that was there already is the same.
func isConflict(err error) bool { return errors.Is(err, fault.Conflict) }

// continuation names the feeds that are left to read: everything else is in the store.
func continuation(left []string) string { return "1:" + strings.Join(left, ",") }

func (e *Engine) left(req *ingestv1.SyncIntelRequest) ([]string, error) {
	switch {
	case req.GetContinuation() != "":
		text, ok := strings.CutPrefix(req.GetContinuation(), "1:")
		if !ok {
			return nil, fault.WithField(fault.New(fault.Invalid, "the continuation is not one that was given"), "continuation", "give back the one of the last answer")
		}
		if text == "" {
			return nil, nil
		}
		left := strings.Split(text, ",")
		return left[:min(len(left), maxContinuation)], nil
	case req.GetCompileOnly():
		return nil, nil
	}
	return e.expand(req.GetFeeds())
}

// read does one piece of the first feed.
func (e *Engine) read(ctx context.Context, left []string) (*ingestv1.SyncIntelResponse, []string, error) {
	source, err := e.source(left[0])
	if err != nil {
		return nil, left, err
	}
	state, err := e.Store.feed(ctx, source.Name())
	if err != nil {
		return nil, left, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, e.Budget, errBudget)
	defer cancel()
	b := &Batch{}
	p, readErr := source.Next(limited, state.value.GetFeed().GetCursor(), b)
	if err := ctx.Err(); err != nil {
		return nil, left, fault.Wrap(fault.CodeOf(err), err, "sync intel")
	}
	out := &ingestv1.SyncIntelResponse{Feed: source.Name(), Records: b.Read, Fraction: p.Fraction, Step: p.Text, WaitMs: p.Wait.Milliseconds()}
	if readErr != nil {
		// What this piece read is dropped: the next sync begins where it began.
		out.Problem, out.Records, out.Fraction = problem(readErr), 0, -1
		e.Logger.WarnContext(ctx, "feed of intel was not read to its end", slog.String("feed", source.Name()), slog.Any("error", readErr))
		return out, left[1:], e.failed(ctx, state, out.GetProblem())
	}
	if err := e.Store.Take(ctx, state, b, p); err != nil {
		if fault.CodeOf(err) == fault.Invalid {
			out.Problem = problem(err)
			return out, left[1:], e.failed(ctx, state, out.GetProblem())
		}
		return nil, left, err
	}
	if p.Done {
		left = left[1:]
	}
	return out, left, nil
}

func problem(err error) string {
	text := fault.From(err).Public()
	return strings.ToValidUTF8(text[:min(len(text), maxProblem)], "")
}

// failed notes why a feed was not read.
func (e *Engine) failed(ctx context.Context, state row[*ingestv1.IntelFeedState], why string) error {
	next := proto.CloneOf(state.value)
	next.Feed.Problem, next.Feed.Tried = why, timestamppb.New(e.Now())
	write, err := put(state.key, next, state.revision)
	if err != nil {
		return err
	}
	if err := e.Store.table.Write(ctx, write); !isConflict(err) {
		return err
	}
	return nil
}

// Take stores what a piece of a feed was, together with the cursor after it: all or nothing. fault.Conflict says that another sync
// read the feed meanwhile. A catalogue that is older than the one that is there is fault.Invalid.
func (s *Store) Take(ctx context.Context, state row[*ingestv1.IntelFeedState], b *Batch, p Progress) error {
	next := proto.CloneOf(state.value)
	f := next.GetFeed()
	now := timestamppb.New(s.now().UTC().Truncate(time.Millisecond))
	f.Cursor, f.Tried, f.Problem = p.Cursor, now, ""
	if p.Fresh {
		f.Records, f.Skipped, f.Examples = 0, 0, nil
	}
	b.note(f)
	if p.Catalogue != nil {
		if err := s.takeCatalogue(ctx, next, p.Catalogue); err != nil {
			return err
		}
	}
	if p.Version != "" && p.Version != f.GetVersion() {
		f.Version, f.VersionSince = p.Version, p.Date
	}
	if p.Date != nil {
		f.Date = p.Date
	}
	if p.Done {
		f.Synced = now
	}
	write, err := put(state.key, next, state.revision)
	if err != nil {
		return err
	}
	writes := []table.Write{write}
	batch, ok, err := s.inboxWrite(ctx, b)
	if err != nil {
		return err
	}
	if ok {
		writes = append(writes, batch)
	}
	return s.table.Write(ctx, writes...)
}

func (s *Store) takeCatalogue(ctx context.Context, next *ingestv1.IntelFeedState, c *Catalogue) error {
	f := next.GetFeed()
	if f.GetDate() != nil && c.Date.AsTime().Before(f.GetDate().AsTime()) {
		return fault.New(fault.Invalid, "the catalogue %s is of %s, older than the one that is there (%s): it is left out", c.Feed,
			c.Date.AsTime().Format(time.DateOnly), f.GetDate().AsTime().Format(time.DateOnly))
	}
	checked, digests, err := openCatalogue(c.Feed, c.File)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read catalogue")
	}
	kept, err := s.keep(ctx, c.Feed, c.File)
	if err != nil {
		return err
	}
	f.Records = checked.Entries
	next.Catalogue, next.Digests = kept.GetKey(), digests
	return nil
}

// compile brings partitions up to date until time is up, then publishes.
func (e *Engine) compile(ctx context.Context) (*ingestv1.SyncIntelResponse, error) {
	w, err := e.Store.world(ctx)
	if err != nil {
		return nil, err
	}
	dirty := w.dirty()
	if len(dirty) > 0 {
		return e.partitions(ctx, w, dirty)
	}
	var published *modelv1.IntelManifest
	if w.stale() {
		if published, err = e.Store.release(ctx, w); err != nil {
			return nil, err
		}
	}
	if err := e.Store.announce(ctx, w, e.Queue); err != nil {
		return nil, err
	}
	out := &ingestv1.SyncIntelResponse{Done: true, Fraction: 1, Step: "nothing changed", Published: published}
	if published != nil {
		if err := e.Store.sweep(ctx, w); err != nil {
			return nil, err
		}
		out.Step = fmt.Sprintf("published snapshot %s: %d advisories, %d products", published.GetVersion(), published.GetAdvisories(), published.GetProducts())
	}
	return out, nil
}

func (e *Engine) partitions(ctx context.Context, w *world, dirty []string) (*ingestv1.SyncIntelResponse, error) {
	begin := time.Now()
	for i, name := range dirty {
		if i > 0 && time.Since(begin) > e.Budget {
			break
		}
		if err := e.Store.compile(ctx, w, name); err != nil {
			return nil, err
		}
	}
	all, rest := len(w.names()), len(w.dirty())
	return &ingestv1.SyncIntelResponse{Fraction: share(all-rest, all), Step: fmt.Sprintf("compiled %d of %d partitions", all-rest, all)}, nil
}

// Due are the feeds that a schedule has to read now: kev after quick, the others after every. One that failed is tried again
// after a tenth of that.
func (e *Engine) Due(ctx context.Context, every, quick time.Duration) ([]string, error) {
	states, err := e.Store.feeds(ctx)
	if err != nil {
		return nil, err
	}
	at := map[string]*modelv1.IntelFeed{}
	for _, s := range states {
		at[s.value.GetFeed().GetName()] = s.value.GetFeed()
	}
	names, err := e.expand(nil)
	if err != nil {
		return nil, err
	}
	var due []string
	for _, name := range names {
		period := every
		if name == feeds.FeedKEV {
			period = quick
		}
		f := at[name]
		resting := f.GetProblem() != "" && e.Now().Sub(f.GetTried().AsTime()) < period/10
		if !resting && (f.GetSynced() == nil || e.Now().Sub(f.GetSynced().AsTime()) >= period) {
			due = append(due, name)
		}
	}
	return due, nil
}
