package correlator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
	"github.com/riskprofiler/riskprofiler/platform/snapshot"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// world is ingest as the correlator sees it: facts of assets of several tenants, and which snapshot counts.
type world struct {
	ingestv1.IngestServiceClient

	mu       sync.Mutex
	states   map[string]*ingestv1.GetAssetStateResponse // by tenant and asset
	manifest *modelv1.IntelManifest
	// asked counts the states that were asked for; down fails them.
	asked, manifests atomic.Int64
	down             func(tenant, asset string) error
}

func (w *world) GetAssetState(ctx context.Context, req *ingestv1.GetAssetStateRequest, _ ...grpc.CallOption) (*ingestv1.GetAssetStateResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	w.asked.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		if err := w.down(tenant, req.GetName()); err != nil {
			return nil, err
		}
	}
	state := w.states[tenant+req.GetName()]
	if state == nil {
		return nil, fault.New(fault.NotFound, "%s does not exist", req.GetName())
	}
	return state, nil
}

func (w *world) GetIntelStatus(context.Context, *ingestv1.GetIntelStatusRequest, ...grpc.CallOption) (*ingestv1.IntelStatus, error) {
	w.manifests.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	return &ingestv1.IntelStatus{Manifest: w.manifest}, nil
}

// stand is a correlator over real tables, queues, buckets and snapshots, with the world in the place of ingest.
type stand struct {
	*Service

	world   *world
	bucket  *fileblob.Bucket
	queues  map[string]*queue.Queue
	running map[string]queue.Handler
	log     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newStand(t testing.TB) *stand {
	t.Helper()
	dir := t.TempDir()
	tables, err := sqlitetable.Open(t.Context(), sqlitetable.Options{Path: filepath.Join(dir, "tables.db")})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := sqlitequeue.Open(t.Context(), sqlitequeue.Options{Path: filepath.Join(dir, "queues.db"), Consumer: "test", Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := fileblob.Open(t.Context(), fileblob.Options{Dir: filepath.Join(dir, "intel")})
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{world: &world{states: map[string]*ingestv1.GetAssetStateResponse{}}, bucket: bucket, queues: map[string]*queue.Queue{}, log: &lockedBuffer{}}
	for _, c := range Spec.Consumes {
		s.queues[c.Queue] = queue.New(queues.Queue(c.Queue), queue.Options{Name: c.Queue, Concurrency: c.Concurrency, Spill: bucket})
	}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	self := func(ctx context.Context, tenant string) context.Context {
		return authn.NewContext(ctx, authn.ForService(name, tenant))
	}
	cache := func() (string, error) { return filepath.Join(dir, "cache"), nil }
	s.Service = New(Deps{
		Table:  table.New(tables.Table(tableName), table.Options{Name: tableName, Indexes: Spec.Indexes[tableName]}),
		Ingest: s.world, Changes: s.queues[changesQueue], Reevaluations: s.queues[reevaluationsQueue], Lists: bucket,
		library: bucketLibrary(bucket, s.world, self, cache, log), Logger: log, Self: self,
	})
	s.running = map[string]queue.Handler{changesQueue: s.handleChange, intelQueue: s.handleIntel, reevaluationsQueue: s.handleReevaluation}
	t.Cleanup(func() {
		s.library.stop()
		if err := errors.Join(queues.Close(), tables.Close(), bucket.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// as is a context of a tenant's analyst.
func as(t testing.TB, tenant string) context.Context {
	return authn.NewContext(t.Context(), authn.Principal{Tenant: tenant, Subject: "key:test", Roles: []string{authn.RoleAnalyst}})
}

// asset puts an asset into the world that runs what is given, and evaluates it.
func (s *stand) asset(t testing.TB, tenant, value string, facts ...*modelv1.ServiceFact) string {
	t.Helper()
	name := assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_IP), value)
	state := &ingestv1.GetAssetStateResponse{Asset: &modelv1.Asset{Name: name, Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: value}, Version: 1}
	for i, f := range facts {
		state.Sets = append(state.Sets, serviceSet(fmt.Sprintf("%s:%d/tcp", value, i+1), f))
	}
	s.world.mu.Lock()
	s.world.states[tenant+name] = state
	s.world.mu.Unlock()
	if _, err := s.evaluate(s.self(t.Context(), tenant), tenant, name, false); err != nil {
		t.Fatal(err)
	}
	return name
}

// publish makes a snapshot of what is known, lets ingest name it, and announces the products.
func (s *stand) publish(t testing.TB, intel *mapIntel, products ...string) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "snapshot")
	if err != nil {
		t.Fatal(err)
	}
	w := snapshot.NewWriter(file)
	add := func(section, key string, m proto.Message) {
		raw, err := proto.Marshal(m)
		if err == nil {
			err = w.Add(section, key, raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range sortedKeys(intel.advisories) {
		add(sectionAdvisory, id, intel.advisories[id])
	}
	for _, key := range sortedKeys(intel.products) {
		add(sectionProduct, key, intel.products[key])
	}
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	part, err := snapshot.StoreFile(t.Context(), s.bucket, "intel", "part", raw)
	if err != nil {
		t.Fatal(err)
	}
	key, err := snapshot.Store(t.Context(), s.bucket, "intel", "snapshot", []snapshot.Part{part})
	if err != nil {
		t.Fatal(err)
	}
	s.world.mu.Lock()
	s.world.manifest = &modelv1.IntelManifest{Version: intel.version, Blob: key}
	s.world.mu.Unlock()
	s.announceProducts(t, intel.version, key, products...)
}

func (s *stand) announceProducts(t testing.TB, version, key string, products ...string) {
	t.Helper()
	body, err := proto.Marshal(&modelv1.IntelChanged{Version: version, Blob: key, Products: products})
	if err == nil {
		err = s.queues[intelQueue].Send(t.Context(), queue.Message{Group: "intel", DedupID: version, Body: body})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// drain runs all queues until nothing is in them.
func (s *stand) drain(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var consumers sync.WaitGroup
	for name, q := range s.queues {
		consumers.Go(func() {
			if err := q.Run(ctx, s.running[name]); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	// Messages go from the first of these to the last and a handler sends before it acknowledges: what is not in one is in a later one.
	for waiting := true; waiting && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
		waiting = false
		for _, name := range []string{intelQueue, reevaluationsQueue, changesQueue} {
			d, err := s.queues[name].Depth(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			waiting = waiting || d.Visible+d.InFlight+d.Delayed > 0
		}
	}
	stop()
	consumers.Wait()
	for name, q := range s.queues {
		if d, err := q.Depth(t.Context()); err != nil || d.Parked > 0 {
			t.Errorf("queue %s has %d parked messages, %v", name, d.Parked, err)
		}
	}
}

// scores are the scores of a tenant's open risks in a group, by asset.
func (s *stand) scores(t testing.TB, tenant, group string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for token := ""; ; {
		res, err := s.ListRisks(as(t, tenant), &correlatorv1.ListRisksRequest{PageSize: 1000, PageToken: token, Filter: "state = OPEN"})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.GetRisks() {
			if r.GetGroup() == group {
				out[r.GetAsset()] = r.GetScore()
			}
		}
		if token = res.GetNextPageToken(); token == "" {
			return out
		}
	}
}

var openSSH = &modelv1.ServiceFact{Name: "ssh", Product: "OpenSSH", Version: "9.2p1"}

// addressOf is the n-th address of the documentation's and benchmarks' networks.
func addressOf(n int) string { return fmt.Sprintf("198.18.%d.%d", n>>8, n&255) }

// populate stores assets of a few tenants of which every n-th runs OpenSSH, the others something else that intel knows too.
func (s *stand) populate(t testing.TB, assets, every int) (concerned map[string]bool) {
	t.Helper()
	concerned = map[string]bool{}
	var work sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range assets {
		fact := &modelv1.ServiceFact{Name: "redis", Product: "Redis", Version: "6.0.0"}
		if i%every == 0 {
			fact = openSSH
		}
		tenant, value := fmt.Sprintf("tenant%d", i/every%4), addressOf(i)
		if i%every == 0 {
			concerned[tenant+" "+assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_IP), value)] = true
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			s.asset(t, tenant, value, fact)
		})
	}
	work.Wait()
	return concerned
}

// both knows OpenSSH and Redis; edits are about OpenSSH's vulnerability.
func both(version string, edits ...func(*modelv1.Advisory)) *mapIntel {
	m := sshIntel(version, edits...)
	m.products["redis:redis"] = record("redis:redis", affected("CVE-2000-1", "semver", "", "6.0.1", "cna"))
	m.advisories["CVE-2000-1"] = &modelv1.Advisory{Id: "CVE-2000-1", Cvss: []*modelv1.Cvss{{Score: 9, Version: "3.1", Source: "cna"}}}
	return m
}

const (
	storedAssets      = 10_000
	storedAssetsShort = 1_000
	// oneIn of them runs the product that enters KEV: 50 of 10,000.
	oneIn = 200
)

// TestFeedToAlert: an entry is added to KEV for a product that 50 of 10,000 stored assets run. Just those 50 are evaluated again, their
// risks rise, and the log tells it. Nothing is sent to any target: the correlator calls ingest and nobody else.
func TestFeedToAlert(t *testing.T) {
	assets := storedAssets
	if testing.Short() {
		assets = storedAssetsShort
	}
	s := newStand(t)
	s.publish(t, both("1"), "openbsd:openssh", "redis:redis")
	s.drain(t)
	concerned := s.populate(t, assets, oneIn)
	before := map[string]map[string]float64{}
	for tenant := range 4 {
		before[fmt.Sprint("tenant", tenant)] = s.scores(t, fmt.Sprint("tenant", tenant), "exploited-software")
	}
	s.world.asked.Store(0)
	s.publish(t, both("2", exploited(at(0))), "openbsd:openssh", "some:product-that-nobody-runs")
	s.drain(t)
	if got := s.world.asked.Load(); got != int64(len(concerned)) {
		t.Errorf("%d assets were evaluated again, %d run the product", got, len(concerned))
	}
	risen := 0
	for tenant := range 4 {
		tenant := fmt.Sprint("tenant", tenant)
		if len(before[tenant]) > 0 {
			t.Errorf("%s had exploited software before", tenant)
		}
		for asset, score := range s.scores(t, tenant, "exploited-software") {
			risen++
			if !concerned[tenant+" "+asset] || score != 80 {
				t.Errorf("%s of %s has %v", asset, tenant, score)
			}
		}
	}
	if risen != len(concerned) {
		t.Errorf("%d risks rose, want %d", risen, len(concerned))
	}
	if told := strings.Count(s.log.String(), `msg="a risk rose"`); told < len(concerned) || !strings.Contains(s.log.String(), `reason="intel 2"`) {
		t.Errorf("the log tells of %d risks", told)
	}
	if !slices.Equal(Spec.Calls, []string{"ingest"}) {
		t.Errorf("the correlator calls %v", Spec.Calls)
	}
}

// TestResumes: a crash in the midst of a re-evaluation, and announcements that come twice, late and out of order, end as one.
func TestResumes(t *testing.T) {
	s := newStand(t)
	s.publish(t, both("1"), "openbsd:openssh")
	s.drain(t)
	concerned := s.populate(t, 600, 2)
	asked := map[string]int{}
	s.world.mu.Lock()
	s.world.down = func(tenant, asset string) error { // called under the world's lock
		if asked[tenant+asset]++; len(asked)%7 == 0 && asked[tenant+asset] == 1 {
			return fault.New(fault.Unavailable, "down")
		}
		return nil
	}
	s.world.mu.Unlock()
	var crashed sync.Map
	step := s.running[reevaluationsQueue]
	s.running[reevaluationsQueue] = func(ctx context.Context, m queue.Message) error {
		err := step(ctx, m)
		if _, before := crashed.LoadOrStore(m.ID, true); !before {
			return errors.New("the process ended before it could acknowledge")
		}
		return err
	}
	s.publish(t, both("2", exploited(at(0))), "openbsd:openssh")
	s.announceProducts(t, "1", "", "openbsd:openssh") // late
	s.announceProducts(t, "2", "", "openbsd:openssh")
	s.drain(t)
	risen := 0
	for tenant := range 4 {
		risen += len(s.scores(t, fmt.Sprint("tenant", tenant), "exploited-software"))
	}
	if risen != len(concerned) {
		t.Errorf("%d risks rose, want %d", risen, len(concerned))
	}
}

// TestLanes: a tenant with very many assets does not hold up another one: steps are bounded, and each tenant's is a message of its own.
func TestLanes(t *testing.T) {
	s := newStand(t)
	for i := range stepPage*2 + 50 {
		s.asset(t, "whale", addressOf(i), openSSH)
	}
	s.asset(t, "minnow", addressOf(0), openSSH)
	if err := s.beginLanes(t.Context(), map[string]bool{"openbsd:openssh": true}, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	d, err := s.queues[reevaluationsQueue].Depth(t.Context())
	if err != nil || d.Visible != 2 {
		t.Fatalf("%d lanes, %v", d.Visible, err)
	}
	r := &correlatorv1.Reevaluation{Tenant: "whale", Keys: []string{"openbsd:openssh"}}
	var steps []uint32
	for len(r.GetKeys()) > 0 {
		if err := s.stepOver(s.self(t.Context(), "whale"), r); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, r.GetEvaluated())
	}
	if !slices.Equal(steps, []uint32{stepPage, 2 * stepPage, 2*stepPage + 50}) {
		t.Errorf("steps %v", steps)
	}
}

// TestIndexFollowsFacts: the index names an asset under what it runs now, and leaves it out once it runs something else or is deleted.
func TestIndexFollowsFacts(t *testing.T) {
	s := newStand(t)
	users := func(key string) (out []string) {
		for shard := range shards {
			page, err := s.table.Query(t.Context(), table.Query{Partition: usersPartition(key, shard)})
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				out = append(out, item.Key.Sort)
			}
		}
		return out
	}
	name := s.asset(t, "acme", "192.0.2.1", openSSH)
	id := "acme#" + strings.TrimPrefix(name, "assets/")
	if got := users("openbsd:openssh"); !slices.Equal(got, []string{id}) || !slices.Equal(users("fact:service"), got) {
		t.Fatalf("users %v", got)
	}
	s.world.states["acme"+name].Version++
	s.world.states["acme"+name].Sets = []*modelv1.ObservationSet{serviceSet("192.0.2.1:1/tcp", &modelv1.ServiceFact{Product: "nginx"})}
	if _, err := s.evaluate(s.self(t.Context(), "acme"), "acme", name, false); err != nil {
		t.Fatal(err)
	}
	if a, b := users("openbsd:openssh"), users("nginx:nginx"); len(a) != 0 || !slices.Equal(b, []string{id}) {
		t.Errorf("users of OpenSSH %v, of nginx under another name %v", a, b)
	}
	delete(s.world.states, "acme"+name)
	if _, err := s.evaluate(s.self(t.Context(), "acme"), "acme", name, false); !errors.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
	if got := append(users("nginx:nginx"), users("fact:service")...); len(got) != 0 {
		t.Errorf("a deleted asset is in the index: %v", got)
	}
}

// TestChangeDuringEvaluation: intel that is announced while an asset is evaluated for the first time is not missed, though the asset was
// not in the index when it was read.
func TestChangeDuringEvaluation(t *testing.T) {
	s := newStand(t)
	s.publish(t, both("1"), "openbsd:openssh")
	s.drain(t)
	once := sync.Once{}
	s.world.down = func(string, string) error {
		once.Do(func() {
			s.world.mu.Unlock()
			defer s.world.mu.Lock()
			s.publish(t, both("2", exploited(at(0))), "openbsd:openssh")
			s.drain(t)
		})
		return nil
	}
	name := s.asset(t, "acme", "192.0.2.1", openSSH)
	if got := s.scores(t, "acme", "exploited-software"); len(got) != 1 || got[name] == 0 {
		t.Errorf("scores %v", got)
	}
}

// TestNewCheckVersion: after the catalogue changed, the tick evaluates what the changed check reads again, and nothing the second time.
func TestNewCheckVersion(t *testing.T) {
	s := newStand(t)
	if err := s.tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.drain(t)
	name := s.asset(t, "acme", "192.0.2.1", &modelv1.ServiceFact{Name: "redis", Unauthenticated: true})
	s.asset(t, "acme", "192.0.2.2")
	changed := newCatalogue()
	changed.groups = catalogue(t).groups
	for _, k := range catalogue(t).checks {
		if k.ID == "service-redis-unauthenticated" {
			again := *k
			again.Version++
			k = &again
		}
		changed.checks, changed.byID[k.ID], changed.byFact[k.Fact] = append(changed.checks, k), k, append(changed.byFact[k.Fact], k)
	}
	changed.Version = versionOf(changed.checks)
	s.catalogue = func() (*Catalogue, error) { return changed, nil }
	for round, want := range []int64{1, 0} {
		s.world.asked.Store(0)
		if err := s.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.drain(t)
		if got := s.world.asked.Load(); got != want {
			t.Errorf("round %d: %d assets were evaluated again, want %d", round, got, want)
		}
	}
	k, err := s.loadKnown(t.Context(), "acme", strings.TrimPrefix(name, "assets/"))
	if err != nil || len(k.findings) == 0 {
		t.Fatal(err)
	}
	for _, f := range k.findings {
		if f.GetCheck() == "service-redis-unauthenticated" && f.GetCheckVersion() != 2 {
			t.Errorf("the finding is of version %d", f.GetCheckVersion())
		}
	}
}

// TestAnnouncementInABlob: a list of products that is too long for a message comes from the bucket.
func TestAnnouncementInABlob(t *testing.T) {
	s := newStand(t)
	if err := s.bucket.Put(t.Context(), "intel/changed/1", []byte("a:b\nopenbsd:openssh\n")); err != nil {
		t.Fatal(err)
	}
	got, err := s.changedProducts(t.Context(), &modelv1.IntelChanged{Products: []string{"x:y"}, ProductsBlob: "intel/changed/1"})
	if err != nil || !slices.Equal(sortedKeys(got), []string{"a:b", "openbsd:openssh", "x:y"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, body := range [][]byte{nil, []byte("x"), {8, 1}} {
		if s.handleIntel(t.Context(), queue.Message{Body: body}) == nil || s.handleReevaluation(t.Context(), queue.Message{Body: body}) == nil {
			t.Errorf("%q is taken", body)
		}
	}
}

// BenchmarkFeedToAlert is the time from an announcement to the last risk that rose, and beside it the floor: the same assets evaluated
// one after another in a bare loop.
func BenchmarkFeedToAlert(b *testing.B) {
	s := newStand(b)
	s.publish(b, both("1"), "openbsd:openssh", "redis:redis")
	s.drain(b)
	concerned := s.populate(b, storedAssets, oneIn)
	n := 1
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			n++
			s.publishQuietly(b, both(fmt.Sprint(n), exploited(at(n))))
			for key := range concerned {
				tenant, asset, _ := strings.Cut(key, " ")
				if _, err := s.evaluate(s.self(b.Context(), tenant), tenant, asset, false); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(len(concerned)), "assets")
	})
	b.Run("announced", func(b *testing.B) {
		for b.Loop() {
			n++
			s.publish(b, both(fmt.Sprint(n), exploited(at(n))), "openbsd:openssh")
			s.drain(b)
		}
		b.ReportMetric(storedAssets, "stored")
		b.ReportMetric(float64(len(concerned)), "assets")
	})
}

// publishQuietly makes a snapshot that counts and is not announced to any lane.
func (s *stand) publishQuietly(t testing.TB, intel *mapIntel) {
	s.publish(t, intel)
	if err := s.announce(t.Context(), intel.version); err != nil {
		t.Fatal(err)
	}
}
