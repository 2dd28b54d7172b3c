package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

const (
	// maxSetsPerWrite keeps one write below the table's 100 items with room for the asset, the record and the markers.
	maxSetsPerWrite = 40
	// maxLeads is how many leads of one result are kept: the same as the wave planner reads.
	maxLeads = 1000
	// maxConflicts bounds how often a write is tried again because another changed the asset in between.
	maxConflicts = 8
)

// SubmitResult takes a result as the results queue does.
func (s *Service) SubmitResult(ctx context.Context, req *ingestv1.SubmitResultRequest) (*ingestv1.SubmitResultResponse, error) {
	tenant, _, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	r := proto.CloneOf(req.GetResult())
	if r.GetJob() == nil {
		return nil, fault.WithField(fault.New(fault.Invalid, "result has no job"), "result.job", "name the scan job")
	}
	r.Job.Tenant = tenant
	if err := s.take(ctx, r); err != nil {
		return nil, err
	}
	return &ingestv1.SubmitResultResponse{}, nil
}

// handleResult takes one message of the results queue. Everything it does may be done again.
func (s *Service) handleResult(ctx context.Context, m queue.Message) error {
	r := &modelv1.ScanCompleted{}
	if err := proto.Unmarshal(m.Body, r); err != nil {
		return queue.Permanent(fault.Wrap(fault.Invalid, err, "read result"))
	}
	return s.take(ctx, r)
}

// take stores a result, announces the change and completes the step that waits for it, in this order: when the workflow
// goes on, everything the result says is stored.
func (s *Service) take(ctx context.Context, r *modelv1.ScanCompleted) error {
	if r.GetJob().GetTenant() == "" || r.GetJob().GetTarget() == nil {
		return queue.Permanent(fault.New(fault.Invalid, "result names no tenant or no target"))
	}
	asset := assetid.Name(int32(r.GetJob().GetTarget().GetKind()), r.GetJob().GetTarget().GetValue())
	r, others := split(r, asset)
	known, err := s.recorded(ctx, r)
	if err != nil {
		return err
	}
	if !known {
		if err := s.takeOthers(ctx, r, asset, others); err != nil {
			return err
		}
	}
	if err := s.store(ctx, r, asset); err != nil {
		return err
	}
	if err := s.announce(ctx, r, asset); err != nil {
		return err
	}
	return s.complete(ctx, r)
}

func (s *Service) announce(ctx context.Context, r *modelv1.ScanCompleted, asset string) error {
	tenant := r.GetJob().GetTenant()
	body, err := proto.Marshal(&modelv1.AssetChanged{Tenant: tenant, Asset: asset, Assessment: r.GetJob().GetAssessment()})
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode change")
	}
	return s.changes.Send(ctx, queue.Message{Group: tenant + "#" + resource.ID(asset), DedupID: r.GetJob().GetId(), Body: body})
}

// complete answers the task token. An unknown or closed token means that the workflow ended without this result, by
// cancellation or time-out: the facts are stored all the same.
func (s *Service) complete(ctx context.Context, r *modelv1.ScanCompleted) error {
	if r.GetTaskToken() == "" {
		return nil
	}
	output, err := protojson.Marshal(&modelv1.Coverage{Job: r.GetJob().GetId(), Outcome: r.GetOutcome()})
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode step output")
	}
	err = s.workflow.Complete(ctx, r.GetTaskToken(), output)
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.FailedPrecondition) {
		s.log.InfoContext(ctx, "step was closed before its result came", slog.String("job", r.GetJob().GetId()))
		return nil
	}
	return err
}

// parkedResult fails the step whose result could not be taken, so that the workflow goes on.
func (s *Service) parkedResult(ctx context.Context, m queue.Message, cause error) error {
	r := &modelv1.ScanCompleted{}
	if err := proto.Unmarshal(m.Body, r); err != nil || r.GetTaskToken() == "" {
		return nil //nolint:nilerr // nobody waits for what cannot be read
	}
	err := s.workflow.Fail(ctx, r.GetTaskToken(), "RiskProfiler.ResultParked", cause.Error())
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.FailedPrecondition) {
		return nil
	}
	return err
}

// store writes what a result says. A result that is stored already is found by its job record and changes nothing.
func (s *Service) store(ctx context.Context, r *modelv1.ScanCompleted, asset string) error {
	for range maxConflicts {
		if known, err := s.recorded(ctx, r); known || err != nil {
			return err
		}
		err := s.storeOnce(ctx, r, asset)
		if !isConflict(err) {
			return err
		}
	}
	return fault.New(fault.Conflict, "store result: the asset changed %d times meanwhile", maxConflicts)
}

// recorded says whether a result is stored already. One of no assessment has no record.
func (s *Service) recorded(ctx context.Context, r *modelv1.ScanCompleted) (bool, error) {
	if r.GetJob().GetAssessment() == "" {
		return false, nil
	}
	_, err := s.table.Get(ctx, jobKey(r.GetJob().GetTenant(), r.GetJob().GetAssessment(), r.GetJob().GetId()))
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}

func (s *Service) storeOnce(ctx context.Context, r *modelv1.ScanCompleted, asset string) error {
	tenant := r.GetJob().GetTenant()
	sets := setsOf(r, asset, location(r.GetJob().GetTarget()))
	old, err := s.loadForMerge(ctx, tenant, asset, sets)
	if err != nil {
		return err
	}
	// Sets beyond the first write are merged before it: the record, which says that all is stored, comes last.
	for len(sets) > maxSetsPerWrite {
		writes, err := setWrites(tenant, sets[:maxSetsPerWrite], old)
		if err != nil {
			return err
		}
		if err := s.table.Write(ctx, writes...); err != nil {
			return err
		}
		sets = sets[maxSetsPerWrite:]
	}
	writes, err := setWrites(tenant, sets, old)
	if err != nil {
		return err
	}
	rest, err := s.factWrites(ctx, r, asset, old)
	if err != nil {
		return err
	}
	return s.table.Write(ctx, append(writes, rest...)...)
}

// stored is what the table holds of the items that a result touches, by key.
type stored map[table.Key]table.Item

func (o stored) revision(k table.Key) table.Condition {
	return table.Condition(o[k].Revision) // absent: 0, which is table.Absent
}

func (s *Service) loadForMerge(ctx context.Context, tenant, asset string, sets []*modelv1.ObservationSet) (stored, error) {
	keys := []table.Key{assetKey(tenant, asset)}
	for _, set := range sets {
		keys = append(keys, setKey(tenant, set))
	}
	out := stored{}
	for chunk := range slices.Chunk(keys, table.MaxGetItems) {
		items, err := s.table.GetAll(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			out[item.Key] = item
		}
	}
	return out, nil
}

func setWrites(tenant string, sets []*modelv1.ObservationSet, old stored) ([]table.Write, error) {
	writes := make([]table.Write, 0, len(sets)+8)
	for _, set := range sets {
		key := setKey(tenant, set)
		if item, ok := old[key]; ok {
			before, err := protoitem.Decode(item, &modelv1.ObservationSet{})
			if err != nil {
				return nil, err
			}
			set = merge(before, set)
		}
		item, err := protoitem.New(key, set)
		if err != nil {
			return nil, err
		}
		writes = append(writes, table.Write{Item: item, If: old.revision(key)})
	}
	return writes, nil
}

// factWrites are the writes beside the sets: the asset, the assets that were discovered, the record of the job.
func (s *Service) factWrites(ctx context.Context, r *modelv1.ScanCompleted, asset string, old stored) ([]table.Write, error) {
	tenant, job := r.GetJob().GetTenant(), r.GetJob()
	touched, err := touchedAsset(r, asset, old[assetKey(tenant, asset)])
	if err != nil {
		return nil, err
	}
	item, err := assetItem(tenant, touched)
	if err != nil {
		return nil, err
	}
	writes := []table.Write{{Item: item, If: old.revision(item.Key)}}
	found, err := s.discovered(ctx, r, touched)
	if err != nil {
		return nil, err
	}
	// What does not fit beside the record is stored before it: the record, which says that all is stored, comes last.
	for len(found) > maxSetsPerWrite {
		if err := s.table.Write(ctx, found[:maxSetsPerWrite]...); err != nil {
			return nil, err
		}
		found = found[maxSetsPerWrite:]
	}
	writes = append(writes, found...)
	if job.GetAssessment() == "" {
		return writes, nil
	}
	record, err := recordItem(r)
	if err != nil {
		return nil, err
	}
	reach := table.Item{Key: table.Key{Partition: reachPartition(tenant, job.GetAssessment()), Sort: prefixReach + resource.ID(asset)}, Value: []byte(asset)}
	return append(writes, table.Write{Item: record}, table.Write{Item: reach, If: table.Any}), nil
}

// touchedAsset is the asset after the scan. Writing it with every result makes its revision the version of all that is
// known about it.
func touchedAsset(r *modelv1.ScanCompleted, asset string, item table.Item) (*modelv1.Asset, error) {
	target := r.GetJob().GetTarget()
	a := &modelv1.Asset{
		Name: asset, Kind: target.GetKind(), Value: target.GetValue(), Path: r.GetJob().GetPath(), FirstSeen: r.GetStartedAt(),
		Ownership: &modelv1.Ownership{State: modelv1.Ownership_STATE_UNVERIFIED},
	}
	if item.Revision > 0 {
		var err error
		if a, err = protoitem.Decode(item, &modelv1.Asset{}); err != nil {
			return nil, err
		}
	}
	a.FirstSeen = earliest(a.GetFirstSeen(), r.GetStartedAt())
	a.LastSeen = latest(a.GetLastSeen(), r.GetStartedAt())
	return a, nil
}

// discovered are writes for assets that the result leads to and that are not stored yet. They inherit the ownership of the
// asset they were found from, and keep the path.
func (s *Service) discovered(ctx context.Context, r *modelv1.ScanCompleted, from *modelv1.Asset) ([]table.Write, error) {
	tenant := r.GetJob().GetTenant()
	fresh := map[table.Key]*modelv1.Asset{}
	var keys []table.Key
	ownership, err := s.inherited(ctx, r, from)
	if err != nil {
		return nil, err
	}
	for _, lead := range r.GetLeads() {
		t := lead.GetTarget()
		name := assetid.Name(int32(t.GetKind()), t.GetValue())
		key := assetKey(tenant, name)
		if t.GetValue() == "" || name == from.GetName() || fresh[key] != nil || len(keys) >= maxLeads {
			continue
		}
		fresh[key] = &modelv1.Asset{
			Name: name, Kind: t.GetKind(), Value: t.GetValue(), FirstSeen: r.GetStartedAt(), LastSeen: r.GetStartedAt(),
			Path: append(slices.Clone(from.GetPath()), &modelv1.Discovery{
				From: from.GetValue(), ScanType: r.GetJob().GetScanType(), Relation: lead.GetRelation(),
			}),
			Ownership: ownership,
		}
		keys = append(keys, key)
	}
	var known []table.Item
	for chunk := range slices.Chunk(keys, table.MaxGetItems) {
		items, err := s.table.GetAll(ctx, chunk)
		if err != nil {
			return nil, err
		}
		known = append(known, items...)
	}
	var writes []table.Write
	for _, item := range known {
		w, err := refreshed(item, fresh[item.Key])
		if err != nil {
			return nil, err
		}
		writes = append(writes, w...)
		delete(fresh, item.Key)
	}
	for _, key := range keys {
		if a := fresh[key]; a != nil {
			item, err := assetItem(tenant, a)
			if err != nil {
				return nil, err
			}
			writes = append(writes, table.Write{Item: item})
		}
	}
	return writes, nil
}

// recordItem is what is kept of the job. Its place in the coverage index is the time of storing, so that whoever follows an
// assessment sees records in the order in which they became known.
func recordItem(r *modelv1.ScanCompleted) (table.Item, error) {
	job := r.GetJob()
	record := &modelv1.JobRecord{
		Coverage: &modelv1.Coverage{
			Assessment: job.GetAssessment(), Job: job.GetId(), ScanType: job.GetScanType(), Target: job.GetTarget(),
			Outcome: r.GetOutcome(), Reason: r.GetReason(), StartedAt: r.GetStartedAt(), CompletedAt: r.GetCompletedAt(),
			ObservationCount: uint32(len(r.GetObservations())),
		},
		Leads: r.GetLeads()[:min(len(r.GetLeads()), maxLeads)], Path: job.GetPath(), Seed: job.GetSeed(),
	}
	if record.Coverage.CompletedAt == nil {
		record.Coverage.CompletedAt = timestamppb.Now()
	}
	item, err := protoitem.New(jobKey(job.GetTenant(), job.GetAssessment(), job.GetId()), record)
	if err != nil {
		return table.Item{}, err
	}
	item.Indexes = map[string]table.Key{indexCoverage: {
		Partition: reachPartition(job.GetTenant(), job.GetAssessment()), Sort: resource.SortableTime(time.Now()) + "#" + job.GetId(),
	}}
	return item, nil
}

// location is where a job looks: empty for the asset as a whole.
func location(t *modelv1.Target) string {
	if t.GetPort() == 0 {
		return ""
	}
	host := t.GetHost()
	if host == "" {
		host = t.GetAddress()
	}
	if host == "" {
		host = t.GetValue()
	}
	transport := "/tcp"
	if t.GetTransport() == modelv1.Transport_TRANSPORT_UDP {
		transport = "/udp"
	}
	return net.JoinHostPort(host, strconv.Itoa(int(t.GetPort()))) + transport
}
