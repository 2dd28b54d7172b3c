package ingest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/ingest/imports"
)

const (
	// maxExcerpt bounds the excerpt of an imported fact, in bytes.
	maxExcerpt = 2048
	// storesAtATime is how many assets of a slice are stored side by side.
	storesAtATime = 16
)

// importRun collects what one slice of an import says. It is the handler that the parser talks to.
type importRun struct {
	ctx    context.Context
	s      *Service
	tenant string
	i      *ingestv1.Import
	seeds  []*modelv1.Asset

	seen     uint64 // records and problems so far, those before the slice too
	handled  uint64
	facts    uint64
	added    uint64
	problems []*ingestv1.ReportProblem
	// owners are assets by the text that named them; nil: not ours.
	owners map[string]*owner
	// results by asset and time, in the order in which they came.
	results []*modelv1.ScanCompleted
	byKey   map[string]*modelv1.ScanCompleted
}

// owner is the asset that a record belongs to.
type owner struct {
	kind  modelv1.AssetKind
	value string
	path  []*modelv1.Discovery
	// problem says why the record is not taken; empty: it is.
	problem string
}

func newImportRun(ctx context.Context, s *Service, tenant string, i *ingestv1.Import) (*importRun, error) {
	sc, err := s.loadScope(ctx, tenant)
	if err != nil {
		return nil, err
	}
	r := &importRun{ctx: ctx, s: s, tenant: tenant, i: i, seeds: sc.seeds, owners: map[string]*owner{}, byKey: map[string]*modelv1.ScanCompleted{}}
	if i.GetAsset() == "" {
		return r, nil
	}
	a, _, err := s.loadAsset(ctx, tenant, i.GetAsset())
	if errors.Is(err, fault.NotFound) {
		r.owners[""] = &owner{problem: "the asset that was named for it was deleted meanwhile"}
		return r, nil
	}
	r.owners[""] = &owner{kind: a.GetKind(), value: a.GetValue()}
	return r, err
}

// turn counts an event and says whether it belongs to the slice.
func (r *importRun) turn() (mine bool, err error) {
	r.seen++
	if r.seen <= r.i.GetHandled() {
		return false, nil
	}
	if r.handled == sliceEvents {
		return false, errSliceFull
	}
	r.handled++
	return true, nil
}

// Problem keeps what was not understood.
func (r *importRun) Problem(line int, text string) error {
	if mine, err := r.turn(); !mine {
		return err
	}
	r.problem(line, text)
	return nil
}

func (r *importRun) problem(line int, text string) {
	r.problems = append(r.problems, &ingestv1.ReportProblem{Line: uint32(min(line, 1<<31)), Problem: text})
}

// Record keeps one record.
func (r *importRun) Record(rec imports.Record) error {
	if mine, err := r.turn(); !mine {
		return err
	}
	own, err := r.owner(rec)
	if err != nil {
		return err
	}
	if own.problem != "" && rec.Reported.GetClosed() {
		return nil // that a tool found nothing is no loss
	}
	if own.problem != "" {
		r.problem(rec.Line, own.problem)
		return nil
	}
	o := observationOf(rec, own)
	if o == nil {
		return nil
	}
	if rec.Reported.GetClosed() {
		known, err := r.isKnown(own, o)
		if err != nil || !known {
			return err // that a tool found nothing is no fact by itself
		}
	}
	o.TraceId = trace.SpanContextFromContext(r.ctx).TraceID().String()
	at := r.time(rec)
	o.FirstSeen, o.LastSeen = at, at
	if f := rec.Reported; f != nil {
		f.Import, f.ReportedAt = r.i.GetName(), at
	}
	result := r.result(own)
	result.Observations = append(result.Observations, o)
	result.StartedAt = latest(result.GetStartedAt(), at) // an old report says nothing about today
	r.facts++
	return nil
}

// time is when a record was seen: when the import was made where the report does not say it.
func (r *importRun) time(rec imports.Record) *timestamppb.Timestamp {
	if rec.Seen.IsZero() || rec.Seen.After(r.i.GetCreateTime().AsTime()) {
		return r.i.GetCreateTime()
	}
	return timestamppb.New(rec.Seen)
}

// owner finds the asset of a record: one that is stored, one that lies below a seed, or a new seed where that was asked for.
func (r *importRun) owner(rec imports.Record) (*owner, error) {
	if o := r.owners[rec.Asset]; o != nil {
		return o, r.describe(o, rec)
	}
	o := &owner{}
	r.owners[rec.Asset] = o
	if rec.Asset == "" {
		o.problem = "it names no asset; say which asset it is about (import with --asset)"
		return o, nil
	}
	t, err := target.Parse(rec.Asset)
	if err != nil {
		o.problem = err.Error()
		return o, nil //nolint:nilerr // told as a problem of the report
	}
	o.kind, o.value = modelv1.AssetKind(t.Kind), t.Value
	_, _, err = r.s.loadAsset(r.ctx, r.tenant, assetid.Name(int32(o.kind), o.value))
	if err == nil {
		return o, r.describe(o, rec)
	}
	if !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	asked := rec.Service == nil && rec.Ports == nil && rec.Reported == nil && r.i.GetFormat() == string(imports.CSV)
	if seed := r.seedAbove(o.value); seed != nil && !asked {
		o.path = []*modelv1.Discovery{{From: seed.GetValue(), ScanType: modelv1.ScanType_SCAN_TYPE_IMPORT, Relation: "report of " + r.i.GetFormat()}}
		return o, nil
	}
	if !asked && !r.i.GetAddAssets() {
		o.problem = o.value + " is none of your assets and lies below none of your seeds; add it, or import with --add-assets"
		return o, nil
	}
	return o, r.add(o, rec)
}

// add makes a new seed, which nobody has verified yet.
func (r *importRun) add(o *owner, rec imports.Record) error {
	wish := &modelv1.Asset{Value: rec.Asset, Criticality: rec.Criticality, Labels: rec.Labels}
	if _, err := r.s.addSeed(r.ctx, r.tenant, wish); err != nil {
		if errors.Is(err, fault.Invalid) {
			o.problem = err.Error()
			return nil
		}
		return err
	}
	r.added++
	return nil
}

// describe sets criticality and labels that a list gives to an asset that is known.
func (r *importRun) describe(o *owner, rec imports.Record) error {
	if o.problem != "" || rec.Criticality == 0 && len(rec.Labels) == 0 {
		return nil
	}
	for range maxConflicts {
		a, revision, err := r.s.loadAsset(r.ctx, r.tenant, assetid.Name(int32(o.kind), o.value))
		if err != nil {
			return err
		}
		a.Criticality = cmp.Or(rec.Criticality, a.GetCriticality())
		if len(rec.Labels) > 0 {
			a.Labels = rec.Labels
		}
		if err := r.s.putAsset(r.ctx, r.tenant, a, revision); !isConflict(err) {
			return err
		}
	}
	return fault.New(fault.Conflict, "import labels of %s: it changed %d times meanwhile", o.value, maxConflicts)
}

func (r *importRun) seedAbove(value string) *modelv1.Asset {
	i := slices.IndexFunc(r.seeds, func(seed *modelv1.Asset) bool { return below(value, seed.GetValue()) })
	if i < 0 {
		return nil
	}
	return r.seeds[i]
}

// observationOf is the fact of a record; nil if it is about the asset alone.
func observationOf(rec imports.Record, own *owner) *modelv1.Observation {
	o := &modelv1.Observation{AssetValue: own.value, AssetKind: own.kind, Location: placeOf(rec, own)}
	excerpt := ""
	switch {
	case rec.Reported != nil:
		f := rec.Reported
		o.Fact = &modelv1.Observation_Reported{Reported: f}
		f.Fingerprint = cmp.Or(f.GetFingerprint(), f.GetRule()) // tells findings of one place apart, here and in the correlator
		sum := sha256.Sum256([]byte(f.GetFingerprint()))
		o.Key = "reported/" + clip(f.GetTool(), 64) + "/" + hex.EncodeToString(sum[:8])
		o.Source = "import/" + f.GetTool()
		excerpt = f.GetTitle() + ": " + f.GetDescription()
	case rec.Service != nil:
		o.Fact, o.Key, o.Source = &modelv1.Observation_Service{Service: rec.Service}, "service", "import/nmap"
		excerpt = rec.Service.GetBanner()
	case rec.Ports != nil:
		o.Fact, o.Source = &modelv1.Observation_Ports{Ports: rec.Ports}, "import/nmap"
		o.Key = "ports/" + transportName(rec.Transport)
	default:
		return nil
	}
	if excerpt != "" {
		o.Evidence = &modelv1.Evidence{Excerpt: strings.ToValidUTF8(clip(excerpt, maxExcerpt), "")}
	}
	return o
}

// placeOf is the location of a record: a port, or a file or resource of the asset.
func placeOf(rec imports.Record, own *owner) string {
	if rec.Port == 0 {
		return rec.Place
	}
	return location(&modelv1.Target{Value: own.value, Port: rec.Port, Transport: rec.Transport})
}

func transportName(t modelv1.Transport) string {
	if t == modelv1.Transport_TRANSPORT_UDP {
		return "udp"
	}
	return "tcp"
}

// isKnown says whether a fact with the key of o was reported before.
func (r *importRun) isKnown(own *owner, o *modelv1.Observation) (bool, error) {
	same := func(other *modelv1.Observation) bool {
		return other.GetKey() == o.GetKey() && other.GetLocation() == o.GetLocation()
	}
	for _, result := range r.results {
		if result.GetJob().GetTarget().GetValue() == own.value && slices.ContainsFunc(result.GetObservations(), same) {
			return true, nil
		}
	}
	set := &modelv1.ObservationSet{Asset: assetid.Name(int32(own.kind), own.value), ScanType: modelv1.ScanType_SCAN_TYPE_IMPORT, Location: o.GetLocation()}
	item, err := r.s.table.Get(r.ctx, setKey(r.tenant, set))
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	set, err = protoitem.Decode(item, &modelv1.ObservationSet{})
	return slices.ContainsFunc(set.GetObservations(), same), err
}

// result is what the facts of an asset are stored by: as if a scan had seen them, one that reached only a part of it.
func (r *importRun) result(own *owner) *modelv1.ScanCompleted {
	key := own.kind.String() + own.value
	if r.byKey[key] == nil {
		at := r.i.GetCreateTime()
		r.byKey[key] = &modelv1.ScanCompleted{
			Job: &modelv1.ScanJob{
				Id: fmt.Sprintf("%s-%d-%d", resource.ID(r.i.GetName()), r.i.GetHandled(), len(r.results)), Tenant: r.tenant,
				ScanType: modelv1.ScanType_SCAN_TYPE_IMPORT, Target: &modelv1.Target{Kind: own.kind, Value: own.value}, Path: own.path,
			},
			Outcome: modelv1.Outcome_OUTCOME_PARTIAL, Reason: "a report of " + r.i.GetFormat(), CompletedAt: at,
		}
		r.results = append(r.results, r.byKey[key])
	}
	return r.byKey[key]
}

// store writes what the slice said: facts, then problems.
func (r *importRun) store(ctx context.Context) error {
	g, storing := errgroup.WithContext(ctx)
	g.SetLimit(storesAtATime)
	for _, result := range r.results {
		g.Go(together.Safely(func() error { return r.s.take(storing, result) }))
	}
	if err := g.Wait(); err != nil {
		return err
	}
	writes, err := problemWrites(r.tenant, r.i, r.problems)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(writes, table.MaxWriteItems) {
		if err := r.s.table.Write(ctx, chunk...); err != nil {
			return err
		}
	}
	return nil
}
