package ingest

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
)

const (
	inventoryAccount = "aws:123456789012"
	bucketARN        = "arn:aws:s3:::assets"
	heldAddress      = "3.5.140.2"
)

// secondOf is a minute as Unix time.
func secondOf(minute int) int64 { return 1_700_000_000 + int64(minute)*60 }

// inventory is the result of reading an account at a minute, with a bucket and an address, or without.
func inventory(minute int, outcome modelv1.Outcome, bucket, address bool) *modelv1.ScanCompleted {
	at := timestamppb.New(time.Unix(secondOf(minute), 0))
	r := &modelv1.ScanCompleted{
		Job: &modelv1.ScanJob{
			Id: fmt.Sprintf("%032d", minute), Tenant: "acme", Assessment: fmt.Sprintf("assessments/%d", minute), ScanType: modelv1.ScanType_SCAN_TYPE_CLOUD, Seed: inventoryAccount,
			Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: inventoryAccount},
		},
		Outcome: outcome, StartedAt: at, CompletedAt: at,
	}
	add := func(kind modelv1.AssetKind, value, location string) {
		r.Observations = append(r.Observations, &modelv1.Observation{
			Key: "cloud/" + value, Asset: assetid.Name(int32(kind), value), Location: location, Fact: &modelv1.Observation_Cloud{Cloud: &modelv1.CloudFact{Id: value}},
		})
		if value != inventoryAccount {
			r.Reached = append(r.Reached, &modelv1.Reach{Kind: kind, Value: value, Outcome: modelv1.Outcome_OUTCOME_COMPLETE})
		}
	}
	add(modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, inventoryAccount, "")
	if bucket {
		add(modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, bucketARN, "")
	}
	if address {
		add(modelv1.AssetKind_ASSET_KIND_IP, heldAddress, "arn:aws:ec2:eu-west-1:123456789012:instance/i-1")
	}
	return r
}

// inventoryService is a service that announces.
func inventoryService(t *testing.T) (*Service, *queue.Queue) {
	t.Helper()
	queues, err := sqlitequeue.Open(t.Context(), sqlitequeue.Options{Path: filepath.Join(t.TempDir(), "queues.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = queues.Close() })
	changes := queue.New(queues.Queue("changes"), queue.Options{Name: "changes"})
	return newService(t, func(d *Deps) { d.Changes = changes }), changes
}

// whatIsKnown says at how many places of an asset something is known, and whether it has an asset at all.
func whatIsKnown(t *testing.T, s *Service, kind modelv1.AssetKind, value string) (facts int, a *modelv1.Asset) {
	t.Helper()
	state, err := s.GetAssetState(as(t.Context(), "acme"), &ingestv1.GetAssetStateRequest{Name: assetid.Name(int32(kind), value)})
	if errors.Is(err, fault.NotFound) {
		return 0, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range state.GetSets() {
		facts += len(set.GetObservations())
	}
	return facts, state.GetAsset()
}

// setOf is the only set of an asset that has facts or had them.
func setOf(t *testing.T, s *Service, kind modelv1.AssetKind, value string) *modelv1.ObservationSet {
	t.Helper()
	state, err := s.GetAssetState(as(t.Context(), "acme"), &ingestv1.GetAssetStateRequest{Name: assetid.Name(int32(kind), value)})
	if err != nil || len(state.GetSets()) != 1 {
		t.Fatalf("%s: %v %v", value, state.GetSets(), err)
	}
	return state.GetSets()[0]
}

// What an inventory says of other assets is filed under them; what is in the next whole one no more ends there, what a partial one does
// not name stays; repetition and delay change nothing.
func TestInventory(t *testing.T) {
	complete, partial := modelv1.Outcome_OUTCOME_COMPLETE, modelv1.Outcome_OUTCOME_PARTIAL
	resource, ip := modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, modelv1.AssetKind_ASSET_KIND_IP
	s, changes := inventoryService(t)
	take := func(r *modelv1.ScanCompleted) {
		t.Helper()
		if err := s.take(as(t.Context(), "acme"), r); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when string, bucket, address int) {
		t.Helper()
		b, _ := whatIsKnown(t, s, resource, bucketARN)
		a, _ := whatIsKnown(t, s, ip, heldAddress)
		if own, _ := whatIsKnown(t, s, modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, inventoryAccount); b != bucket || a != address || own != 1 {
			t.Errorf("%s: bucket %d, address %d, account %d; want %d, %d, 1", when, b, a, own, bucket, address)
		}
	}
	take(inventory(1, complete, true, true))
	expect("first", 1, 1)
	if depth, err := changes.Depth(t.Context()); err != nil || depth.Visible != 3 {
		t.Errorf("announced: %+v %v, want the account, the bucket and the address", depth, err)
	}
	if _, a := whatIsKnown(t, s, resource, bucketARN); len(a.GetPath()) != 1 || a.GetPath()[0].GetFrom() != inventoryAccount || a.GetKind() != resource {
		t.Errorf("the bucket: %v", a)
	}
	reached, err := s.ListAssessmentAssets(as(t.Context(), "acme"), &ingestv1.ListAssessmentAssetsRequest{Assessment: "assessments/1"})
	if err != nil || len(reached.GetAssets()) != 3 {
		t.Errorf("reached: %v %v", reached, err)
	}
	take(inventory(2, partial, true, false))
	expect("a partial one without the address", 1, 1)
	if set := setOf(t, s, ip, heldAddress); set.GetOutcome() != partial || set.GetScannedAt().GetSeconds() != secondOf(2) || set.GetCompleteAt().GetSeconds() != secondOf(1) {
		t.Errorf("the address was not tested again: %v", set)
	}
	// A role that is gone: nothing was read.
	nothing := inventory(2, modelv1.Outcome_OUTCOME_FAILED, false, false)
	nothing.Job.Id, nothing.Observations, nothing.Reached = "failed", nil, nil
	take(nothing)
	expect("nothing could be read", 1, 1)
	if set := setOf(t, s, resource, bucketARN); set.GetScannedAt().GetSeconds() != secondOf(2) {
		t.Errorf("the bucket was not tested again: %v", set)
	}
	take(inventory(3, complete, false, true))
	expect("a whole one without the bucket", 0, 1)
	take(inventory(2, partial, true, false))
	take(inventory(1, complete, true, true))
	expect("the older ones again", 0, 1)
	take(inventory(4, complete, true, false))
	expect("the bucket is back, the address gone", 1, 0)
	if _, a := whatIsKnown(t, s, ip, heldAddress); a == nil {
		t.Error("an address that is gone is still an asset with a history")
	}
}

// A result may name thousands of other assets; one that names none is as it was.
func TestInventoryIsBounded(t *testing.T) {
	s, _ := inventoryService(t)
	r := inventory(1, modelv1.Outcome_OUTCOME_COMPLETE, false, false)
	const many = 1000
	for i := range many {
		value := fmt.Sprintf("arn:aws:s3:::bucket-%d", i)
		r.Observations = append(r.Observations, &modelv1.Observation{Key: "cloud/" + value, Asset: assetid.Name(7, value), Fact: &modelv1.Observation_Cloud{Cloud: &modelv1.CloudFact{Id: value}}})
		r.Reached = append(r.Reached, &modelv1.Reach{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, Value: value, Outcome: modelv1.Outcome_OUTCOME_COMPLETE})
	}
	if err := s.take(as(t.Context(), "acme"), r); err != nil {
		t.Fatal(err)
	}
	if n, _ := whatIsKnown(t, s, modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, "arn:aws:s3:::bucket-999"); n != 1 {
		t.Errorf("the last one has %d facts", n)
	}
	if own, others := split(&modelv1.ScanCompleted{Job: r.GetJob(), Observations: r.GetObservations()}, "assets/x"); len(others) != 0 || len(own.GetObservations()) != many+1 {
		t.Errorf("%d others, %d own", len(others), len(own.GetObservations()))
	}
	// The second time everything goes, in one result.
	if err := s.take(as(t.Context(), "acme"), inventory(2, modelv1.Outcome_OUTCOME_COMPLETE, false, false)); err != nil {
		t.Fatal(err)
	}
	if n, _ := whatIsKnown(t, s, modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, "arn:aws:s3:::bucket-999"); n != 0 {
		t.Errorf("the last one still has %d facts", n)
	}
}

// Of an inventory that was read in part, what is no more there ends where it was read, and stays where it was not.
func TestInventoryInParts(t *testing.T) {
	complete, partial := modelv1.Outcome_OUTCOME_COMPLETE, modelv1.Outcome_OUTCOME_PARTIAL
	of := func(kind, region string) []*modelv1.Unread { return []*modelv1.Unread{{Type: kind, Region: region}} }
	for name, tt := range map[string]struct {
		kind, region string // of what is no more told of
		outcome      modelv1.Outcome
		unread       []*modelv1.Unread
		ends         bool
	}{
		"whole":                              {"s3:bucket", "eu-west-1", complete, nil, true},
		"in part, nothing said of absence":   {"s3:bucket", "eu-west-1", partial, nil, false},
		"another service was not read":       {"s3:bucket", "eu-west-1", partial, of("rds:", "eu-west-1"), true},
		"its service was not read":           {"s3:bucket", "eu-west-1", partial, of("s3:", ""), false},
		"its service was not read elsewhere": {"rds:instance", "eu-west-1", partial, of("rds:", "us-east-1"), true},
		"its service was not read there":     {"rds:instance", "eu-west-1", partial, of("rds:", "eu-west-1"), false},
		"a type that begins alike":           {"ecr-public:repository", "", partial, of("ecr:", ""), true},
		"everything was not read":            {"s3:bucket", "eu-west-1", partial, of("", ""), false},
		"its region was not wanted":          {"rds:instance", "us-east-1", complete, of("", "us-east-1"), false},
		"another region was not wanted":      {"rds:instance", "eu-west-1", complete, of("", "us-east-1"), true},
		"it has no region":                   {"route53:record", "", complete, of("", "us-east-1"), true},
		"it has none, its service was lost":  {"s3:bucket", "", partial, of("s3:", "us-east-1"), false},
		"of unknown type":                    {"", "", partial, of("rds:", ""), false},
		"nobody was let in":                  {"s3:bucket", "eu-west-1", modelv1.Outcome_OUTCOME_FAILED, of("rds:", ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := inventoryService(t)
			first := inventory(1, complete, true, false)
			first.GetObservations()[1].GetCloud().Type, first.GetObservations()[1].GetCloud().Region = tt.kind, tt.region
			second := inventory(2, tt.outcome, false, false)
			second.Unread = tt.unread
			for _, r := range []*modelv1.ScanCompleted{first, second} {
				if err := s.take(as(t.Context(), "acme"), r); err != nil {
					t.Fatal(err)
				}
			}
			set := setOf(t, s, modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, bucketARN)
			if gone := len(set.GetObservations()) == 0; gone != tt.ends {
				t.Errorf("gone %v, want %v: %v", gone, tt.ends, set)
			}
			if whole := set.GetCompleteAt().GetSeconds() == secondOf(2); whole != tt.ends {
				t.Errorf("tested again: %v", set)
			}
			if !tt.ends && set.GetOutcome() == complete {
				t.Errorf("it was not tested again: %v", set)
			}
		})
	}
}

// A result that tells of more than is taken ends nothing: what is missing may be among what was cut off.
func TestInventoryCutOff(t *testing.T) {
	r := &modelv1.ScanCompleted{Outcome: modelv1.Outcome_OUTCOME_COMPLETE, Reached: make([]*modelv1.Reach, maxOthers)}
	held := &ingestv1.HeldFact{Type: "s3:bucket"}
	if !ended(r, held) {
		t.Error("a result that is taken whole ends nothing")
	}
	r.Reached = append(r.Reached, nil)
	if ended(r, held) {
		t.Error("a result that is cut off ends what it does not tell of")
	}
}
