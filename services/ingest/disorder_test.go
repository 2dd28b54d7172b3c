package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

const (
	disorderSeeds      = 1000
	disorderSeedsShort = 100
	// disorderChunks run side by side.
	disorderChunks = 4
	// resultsPerSeed is how many results of scans two tenants get.
	resultsPerSeed = 24
	// maxDeliveries is how often the queue delivers a message that fails.
	maxDeliveries = queue.MaxAttempts
)

// Results that come twice, late, reordered and at the same time as others end in what the same results end in that come
// once and in order: the assets, their sets (and with them the findings, which are a function of these) and the coverage.
func TestDisorderEndsAsOrder(t *testing.T) {
	seeds := disorderSeeds
	if testing.Short() {
		seeds = disorderSeedsShort
	}
	for chunk := range disorderChunks {
		t.Run(fmt.Sprint("chunk ", chunk), func(t *testing.T) {
			t.Parallel()
			for seed := chunk; seed < seeds && !t.Failed(); seed += disorderChunks {
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) { simulate(t, uint64(seed), dir) })
			}
		})
	}
}

// world is the service under test with what it stands on, and what it was told.
type world struct {
	t       *testing.T
	seed    uint64
	random  *rand.Rand
	service *Service
	changes *queue.Queue
	created time.Time
	results []*modelv1.ScanCompleted
}

var simulatedTenants = []string{"acme", "exemplary"}

func simulate(t *testing.T, seed uint64, dir string) {
	ctx := t.Context()
	tables, err := sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(dir, "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := sqlitequeue.Open(ctx, sqlitequeue.Options{Path: filepath.Join(dir, "queues.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tables.Close(); err != nil {
			t.Error(err)
		}
		if err := queues.Close(); err != nil {
			t.Error(err)
		}
	}()
	changes := queue.New(queues.Queue("changes"), queue.Options{Name: "changes"})
	service, err := New(Deps{Table: table.New(tables.Table("ingest"), table.Options{Name: "ingest"}), Changes: changes, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), changes: changes, service: service}
	w.prepare()
	w.deliver()
	for _, tenant := range simulatedTenants {
		w.compare(tenant)
	}
	if depth, err := changes.Depth(ctx); err != nil || depth.Visible == 0 {
		w.fail("changes were not announced: %+v, %v", depth, err)
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("seed %d: "+format, append([]any{w.seed}, args...)...)
}

func as(ctx context.Context, tenant string) context.Context {
	return authn.NewContext(ctx, authn.Principal{Tenant: tenant, Subject: "tester", Roles: []string{authn.RoleOperator}})
}

// prepare adds one verified seed for each tenant and makes up the results.
func (w *world) prepare() {
	w.created = time.Now()
	for _, tenant := range simulatedTenants {
		ctx := as(w.t.Context(), tenant)
		a, err := w.service.CreateAsset(ctx, &ingestv1.CreateAssetRequest{Asset: &modelv1.Asset{Value: tenant + ".test"}})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.service.AttestAsset(ctx, &ingestv1.AttestAssetRequest{Name: a.GetName(), Reason: "test"}); err != nil {
			w.t.Fatal(err)
		}
	}
	for n := range resultsPerSeed {
		w.results = append(w.results, w.result(simulatedTenants[w.random.IntN(len(simulatedTenants))], n))
	}
}

// result makes up what a scan that began n seconds after the start saw. No two begin at one moment.
func (w *world) result(tenant string, n int) *modelv1.ScanCompleted {
	started := w.created.Add(time.Duration(n+1) * time.Second)
	r := &modelv1.ScanCompleted{
		Job:     &modelv1.ScanJob{Id: fmt.Sprintf("job-%d", n), Tenant: tenant, Assessment: fmt.Sprintf("assessments/%d", 1+w.random.IntN(2))},
		Outcome: modelv1.Outcome_OUTCOME_COMPLETE, StartedAt: timestamppb.New(started), CompletedAt: timestamppb.New(started.Add(500 * time.Millisecond)),
	}
	if w.random.IntN(4) == 0 {
		r.Outcome, r.Reason = modelv1.Outcome_OUTCOME_PARTIAL, "time was up"
	}
	address := fmt.Sprintf("192.0.2.%d", 1+w.random.IntN(2))
	if w.random.IntN(3) == 0 {
		r.Job.ScanType = modelv1.ScanType_SCAN_TYPE_DNS
		r.Job.Target = &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_DOMAIN, Value: tenant + ".test", Host: tenant + ".test"}
		r.Leads = []*modelv1.Lead{{Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address}, Relation: "A record"}}
	} else {
		r.Job.ScanType = modelv1.ScanType_SCAN_TYPE_SERVICE
		r.Job.Target = &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address, Port: uint32(80 + w.random.IntN(2))}
		r.Job.Path = []*modelv1.Discovery{{From: tenant + ".test", ScanType: modelv1.ScanType_SCAN_TYPE_DNS, Relation: "A record"}}
	}
	for _, key := range []string{"a", "b", "c"} {
		if w.random.IntN(2) == 0 {
			r.Observations = append(r.Observations, &modelv1.Observation{
				Key: key, Location: location(r.GetJob().GetTarget()), Source: fmt.Sprintf("seen by job %d", n),
				Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{Name: fmt.Sprint("service ", n)}},
			})
		}
	}
	return r
}

// deliver hands every result to the handler: about one in five twice, one in ten too late by seconds, one in fifty by an
// hour. A delivery that fails comes again, as from the queue.
func (w *world) deliver() {
	var deliveries sync.WaitGroup
	for n, r := range w.results {
		body, err := proto.Marshal(r)
		if err != nil {
			w.t.Fatal(err)
		}
		times := 1
		if w.random.IntN(5) == 0 {
			times = 2 + w.random.IntN(2)
		}
		for range times {
			delay := time.Duration(n+1) * time.Second / 4 // four at a moment
			switch p := w.random.IntN(50); {
			case p == 0:
				delay += time.Hour
			case p <= 5:
				delay += time.Duration(w.random.IntN(20)) * time.Second
			}
			deliveries.Go(func() {
				time.Sleep(delay.Truncate(time.Second))
				for attempt := 1; ; attempt++ {
					err := w.service.handleResult(w.t.Context(), queue.Message{Body: slices.Clone(body), Attempt: attempt})
					if err == nil {
						return
					}
					if attempt == maxDeliveries {
						w.fail("result %d was not taken: %v", n, err)
						return
					}
					time.Sleep(time.Second)
				}
			})
		}
	}
	deliveries.Wait()
}

// model is what is known of one tenant, folded from its results in the order in which the scans began, one by one and
// without regard to how the service does it.
type model struct {
	sets     map[string]*modelv1.ObservationSet
	assets   map[string]*modelv1.Asset
	coverage map[string][]string // by assessment
}

func (w *world) model(tenant string) model {
	m := model{sets: map[string]*modelv1.ObservationSet{}, assets: map[string]*modelv1.Asset{}, coverage: map[string][]string{}}
	for _, r := range w.results {
		if r.GetJob().GetTenant() == tenant {
			m.take(r)
		}
	}
	return m
}

func (m model) take(r *modelv1.ScanCompleted) {
	t, began := r.GetJob().GetTarget(), r.GetStartedAt()
	m.see(t, began, r.GetJob().GetTenant())
	m.assets[t.GetValue()].LastSeen = began
	for _, lead := range r.GetLeads() {
		m.see(lead.GetTarget(), began, r.GetJob().GetTenant())
		m.assets[lead.GetTarget().GetValue()].Ownership = &modelv1.Ownership{State: modelv1.Ownership_STATE_INHERITED}
	}
	m.coverage[r.GetJob().GetAssessment()] = append(m.coverage[r.GetJob().GetAssessment()], coverageLine(&modelv1.Coverage{
		Job: r.GetJob().GetId(), ScanType: r.GetJob().GetScanType(), Target: t, Outcome: r.GetOutcome(), Reason: r.GetReason(),
		StartedAt: began, CompletedAt: r.GetCompletedAt(), ObservationCount: uint32(len(r.GetObservations())),
	}))
	place := t.GetValue() + " " + location(t)
	s := m.sets[place]
	if s == nil {
		s = &modelv1.ObservationSet{Asset: assetid.Name(int32(t.GetKind()), t.GetValue()), ScanType: r.GetJob().GetScanType(), Location: location(t)}
		m.sets[place] = s
	}
	s.ScannedAt, s.Outcome, s.Assessment = began, r.GetOutcome(), r.GetJob().GetAssessment()
	if r.GetOutcome() == modelv1.Outcome_OUTCOME_COMPLETE {
		s.CompleteAt = began
		s.Observations = nil // what is still there is among what it saw
	}
	for _, o := range r.GetObservations() {
		o = proto.CloneOf(o)
		o.Asset, o.ScanType, o.LastSeen = s.GetAsset(), s.GetScanType(), began
		s.Observations = slices.DeleteFunc(s.Observations, func(old *modelv1.Observation) bool { return old.GetKey() == o.GetKey() })
		s.Observations = append(s.Observations, o)
	}
}

func (m model) see(t *modelv1.Target, at *timestamppb.Timestamp, tenant string) {
	if m.assets[t.GetValue()] == nil {
		m.assets[t.GetValue()] = &modelv1.Asset{Value: t.GetValue(), FirstSeen: at, Seed: t.GetValue() == tenant+".test", Ownership: &modelv1.Ownership{State: modelv1.Ownership_STATE_UNVERIFIED}}
	}
}

func coverageLine(c *modelv1.Coverage) string {
	return fmt.Sprintf("%s %s %s:%d %s %q %v %v %d", c.GetJob(), c.GetScanType(), c.GetTarget().GetValue(), c.GetTarget().GetPort(), c.GetOutcome(),
		c.GetReason(), c.GetStartedAt().AsTime(), c.GetCompletedAt().AsTime(), c.GetObservationCount())
}

// compare compares what one tenant is told with the model.
func (w *world) compare(tenant string) {
	ctx, m := as(w.t.Context(), tenant), w.model(tenant)
	assets, err := w.service.ListAssets(ctx, &ingestv1.ListAssetsRequest{PageSize: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range assets.GetAssets() {
		want := m.assets[a.GetValue()]
		delete(m.assets, a.GetValue())
		w.compareAsset(tenant, want, a)
		state, err := w.service.GetAssetState(ctx, &ingestv1.GetAssetStateRequest{Name: a.GetName()})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range state.GetSets() {
			w.compareSet(m.sets[a.GetValue()+" "+s.GetLocation()], s)
			delete(m.sets, a.GetValue()+" "+s.GetLocation())
		}
	}
	if len(m.assets) > 0 || len(m.sets) > 0 {
		w.fail("%s misses assets %v, sets %v", tenant, m.assets, m.sets)
	}
	for _, assessment := range []string{"assessments/1", "assessments/2"} {
		w.compareCoverage(ctx, assessment, m.coverage[assessment])
	}
}

// compareAsset leaves out when an asset was last seen that nothing but leads told of.
func (w *world) compareAsset(tenant string, want, got *modelv1.Asset) {
	if want == nil && got.GetValue() == tenant+".test" {
		return // the seed, of which no result told
	}
	if got.GetSeed() {
		if !want.GetSeed() || !got.GetFirstSeen().AsTime().Equal(w.created) || got.GetOwnership().GetState() != modelv1.Ownership_STATE_VERIFIED {
			w.fail("seed %v, want %v", got, want)
		}
		return
	}
	if want == nil || got.GetOwnership().GetState() != want.GetOwnership().GetState() || !proto.Equal(got.GetFirstSeen(), want.GetFirstSeen()) ||
		len(got.GetPath()) != 1 || got.GetPath()[0].GetFrom() != tenant+".test" {
		w.fail("asset\n%v, want\n%v", got, want)
	}
	if want.GetLastSeen() != nil && got.GetLastSeen().AsTime().Before(want.GetLastSeen().AsTime()) {
		w.fail("asset %s was last seen %v, want %v", got.GetValue(), got.GetLastSeen().AsTime(), want.GetLastSeen().AsTime())
	}
}

func (w *world) compareSet(want, got *modelv1.ObservationSet) {
	if want == nil {
		w.fail("set of a place where nobody looked: %v", got)
		return
	}
	got = proto.CloneOf(got)
	for _, o := range got.GetObservations() {
		if o.GetFirstSeen().AsTime().After(o.GetLastSeen().AsTime()) {
			w.fail("first seen after it was last seen: %v", o)
		}
		o.FirstSeen = nil // may lie before a time when it was gone
	}
	slices.SortFunc(want.Observations, func(a, b *modelv1.Observation) int { return strings.Compare(a.GetKey(), b.GetKey()) })
	if !proto.Equal(want, got) {
		w.fail("set\n%v, want\n%v", got, want)
	}
}

// compareCoverage also sees a job that was recorded twice.
func (w *world) compareCoverage(ctx context.Context, assessment string, want []string) {
	res, err := w.service.ListCoverage(ctx, &ingestv1.ListCoverageRequest{Assessment: assessment, PageSize: 1000})
	if err != nil && fault.CodeOf(err) != fault.NotFound {
		w.t.Fatal(err)
	}
	var got []string
	for _, c := range res.GetCoverage() {
		got = append(got, coverageLine(c))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.fail("coverage of %s\n%s\nwant\n%s", assessment, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
