package correlator

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

const (
	disorderSeeds      = 1000
	disorderSeedsShort = 50
	disorderChunks     = 4
	changesPerSeed     = 20
	disorderedAssets   = 3
)

// TestDisorderEndsAsOrder: announcements that come twice, late, reordered and at the same time as others end in the findings and
// risks that the last facts and their own history give, whatever was evaluated on the way.
func TestDisorderEndsAsOrder(t *testing.T) {
	seeds := disorderSeeds
	if testing.Short() {
		seeds = disorderSeedsShort
	}
	for chunk := range disorderChunks {
		t.Run(fmt.Sprint("chunk ", chunk), func(t *testing.T) {
			t.Parallel()
			for seed := chunk; seed < seeds && !t.Failed(); seed += disorderChunks {
				path := filepath.Join(t.TempDir(), "tables.db")
				synctest.Test(t, func(t *testing.T) { simulate(t, uint64(seed), path) })
			}
		})
	}
}

// present are the facts of all assets as ingest has them now.
type present struct {
	ingestv1.IngestServiceClient

	random *rand.Rand
	mu     sync.Mutex
	states map[string]*ingestv1.GetAssetStateResponse
}

// GetAssetState is all that the correlator asks ingest for. What it answers was true when it was asked: the answer takes its time.
func (p *present) GetAssetState(_ context.Context, req *ingestv1.GetAssetStateRequest, _ ...grpc.CallOption) (*ingestv1.GetAssetStateResponse, error) {
	p.mu.Lock()
	state, late := proto.CloneOf(p.states[req.GetName()]), time.Duration(p.random.IntN(3000))*time.Millisecond
	p.mu.Unlock()
	time.Sleep(late)
	return state, nil
}

// change makes up what the n-th scan of an asset saw: any of some services on any of some ports, completely or in part.
func (p *present) change(r *rand.Rand, state *ingestv1.GetAssetStateResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	state.Version++
	location := fmt.Sprintf("%s:%d/tcp", state.GetAsset().GetValue(), 6379+r.IntN(2))
	set := &modelv1.ObservationSet{
		Asset: state.GetAsset().GetName(), ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE, Location: location,
		ScannedAt: timestamppb.Now(), Outcome: modelv1.Outcome_OUTCOME_PARTIAL,
	}
	if r.IntN(3) > 0 {
		set.Outcome, set.CompleteAt = modelv1.Outcome_OUTCOME_COMPLETE, set.GetScannedAt()
	}
	if r.IntN(3) > 0 {
		set.Observations = []*modelv1.Observation{{
			Key: "service", Asset: set.GetAsset(), ScanType: set.GetScanType(), Location: location,
			FirstSeen: set.GetScannedAt(), LastSeen: set.GetScannedAt(),
			Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{
				Name: []string{"redis", "telnet", "unknown"}[r.IntN(3)], Unauthenticated: r.IntN(2) == 0, Version: []string{"", "7.0"}[r.IntN(2)],
			}},
		}}
	}
	state.Sets = slices.DeleteFunc(state.Sets, func(old *modelv1.ObservationSet) bool { return old.GetLocation() == location })
	state.Sets = append(state.Sets, set)
}

func simulate(t *testing.T, seed uint64, path string) {
	tables, err := sqlitetable.Open(t.Context(), sqlitetable.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	random := rand.New(rand.NewPCG(seed, 1))
	p := &present{random: rand.New(rand.NewPCG(seed, 2)), states: map[string]*ingestv1.GetAssetStateResponse{}}
	s := New(Deps{
		Table: table.New(tables.Table("correlator"), table.Options{Name: "correlator"}), Ingest: p, Logger: slog.New(slog.DiscardHandler),
		Self: func(ctx context.Context, _ string) context.Context { return ctx },
	})
	names := make([]string, disorderedAssets)
	for n := range names {
		value := fmt.Sprint("192.0.2.", n+1)
		names[n] = assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_IP), value)
		p.states[names[n]] = &ingestv1.GetAssetStateResponse{
			Asset: &modelv1.Asset{Name: names[n], Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: value}, Version: 1,
		}
	}
	var deliveries sync.WaitGroup
	for range changesPerSeed {
		time.Sleep(time.Duration(random.IntN(4)) * time.Second)
		name := names[random.IntN(len(names))]
		p.change(random, p.states[name])
		deliver(t, s, random, name, &deliveries)
	}
	deliveries.Wait()
	for _, name := range names {
		compare(t, s, seed, p.states[name])
	}
}

// deliver announces a change: one in five twice or three times, one in ten late by seconds, one in fifty by an hour.
func deliver(t *testing.T, s *Service, random *rand.Rand, asset string, deliveries *sync.WaitGroup) {
	body, err := proto.Marshal(&modelv1.AssetChanged{Tenant: "acme", Asset: asset, Assessment: "assessments/1"})
	if err != nil {
		t.Fatal(err)
	}
	times := 1
	if random.IntN(5) == 0 {
		times = 2 + random.IntN(2)
	}
	for range times {
		var delay time.Duration
		switch n := random.IntN(50); {
		case n == 0:
			delay = time.Hour
		case n <= 5:
			delay = time.Duration(random.IntN(20)) * time.Second
		}
		deliveries.Go(func() {
			time.Sleep(delay)
			for attempt := 1; ; attempt++ {
				err := s.handleChange(t.Context(), queue.Message{Body: slices.Clone(body), Attempt: attempt})
				if err == nil {
					return
				}
				if attempt == queue.MaxAttempts {
					t.Errorf("a change was not taken: %v", err)
					return
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// compare holds what is stored against what the last facts say.
func compare(t *testing.T, s *Service, seed uint64, state *ingestv1.GetAssetStateResponse) {
	t.Helper()
	k, err := s.loadKnown(t.Context(), "acme", resource.ID(state.GetAsset().GetName()))
	if err != nil {
		t.Fatal(err)
	}
	if k.revision == 0 && len(state.GetSets()) == 0 {
		return // nothing was ever announced
	}
	held, err := heldBy(Input{Asset: state.GetAsset(), Sets: state.GetSets(), Catalogue: catalogue(t), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for name := range held {
		if f := k.findings[name]; f.GetState() != correlatorv1.Finding_STATE_OPEN || !f.GetLastSeen().AsTime().Equal(held[name].GetLastSeen().AsTime()) {
			t.Errorf("seed %d: %s holds and is stored as %v", seed, name, f)
		}
	}
	for name, f := range k.findings {
		if held[name] != nil {
			continue
		}
		gone := slices.ContainsFunc(state.GetSets(), func(set *modelv1.ObservationSet) bool {
			return set.GetLocation() == f.GetLocation() && set.GetCompleteAt().AsTime().After(f.GetLastSeen().AsTime())
		})
		if resolved := f.GetState() == correlatorv1.Finding_STATE_RESOLVED; resolved != gone && !resolved {
			t.Errorf("seed %d: %s does not hold on complete coverage and is stored as %v", seed, name, f)
		}
	}
	for _, item := range k.items {
		if changed, err := s.evaluate(t.Context(), "acme", state.GetAsset().GetName(), true); err != nil || changed {
			t.Errorf("seed %d: evaluating again changes what is stored (%s): %v", seed, item.Key.Sort, err)
		}
		break
	}
}
