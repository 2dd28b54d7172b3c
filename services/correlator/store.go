package correlator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
)

// The table's partitions. ARCHITECTURE.md lists the access patterns.
//
//	T#<tenant>#A#<asset id>   F#<finding id>, R#<risk id>, EVAL    what follows from one asset
//	T#<tenant>#K              C#<check id>, STATE, P#<check id>    the tenant's own checks, which are switched off, their problems
//	V#<key>#<shard>, V        see index.go
//
// Indexes: "findings" (T#<tenant>, rank of severity, last seen, id), "findings-seen" (T#<tenant>, last seen, id), "risks"
// (T#<tenant>, rank of score, id), "risks-due" (T#<tenant>, due time, id).
const (
	indexFindings     = "findings"
	indexFindingsSeen = "findings-seen"
	indexRisks        = "risks"
	indexRisksDue     = "risks-due"

	prefixFinding = "F#"
	prefixRisk    = "R#"
	sortEval      = "EVAL"

	// maxConflicts bounds how often an evaluation is done again because another one stored first.
	maxConflicts = 8
	// writeChunk keeps one write below the table's limit of 100 items; the mark comes with the last chunk.
	writeChunk = 90
	// maxStored bounds the findings and risks of one asset that are loaded at once.
	maxStored = 10000
)

// assetOf is the asset's id in the name of a finding or risk.
func assetOf(name string) string {
	asset, _, _ := strings.Cut(resource.ID(name), "-")
	return asset
}

func partition(tenant, assetID string) string { return "T#" + tenant + "#A#" + assetID }

func findingKey(tenant, name string) table.Key {
	return table.Key{Partition: partition(tenant, assetOf(name)), Sort: prefixFinding + resource.ID(name)}
}

func riskKey(tenant, name string) table.Key {
	return table.Key{Partition: partition(tenant, assetOf(name)), Sort: prefixRisk + resource.ID(name)}
}

func findingItem(tenant string, f *correlatorv1.Finding) (table.Item, error) {
	item, err := protoitem.New(findingKey(tenant, f.GetName()), f)
	if err != nil {
		return table.Item{}, err
	}
	seen := resource.SortableTime(f.GetLastSeen().AsTime())
	item.Indexes = map[string]table.Key{
		indexFindings:     {Partition: "T#" + tenant, Sort: fmt.Sprintf("%d#%s#%s", f.GetSeverity(), seen, resource.ID(f.GetName()))},
		indexFindingsSeen: {Partition: "T#" + tenant, Sort: seen + "#" + resource.ID(f.GetName())},
	}
	return item, nil
}

func riskItem(tenant string, r *correlatorv1.Risk) (table.Item, error) {
	item, err := protoitem.New(riskKey(tenant, r.GetName()), r)
	if err != nil {
		return table.Item{}, err
	}
	item.Indexes = map[string]table.Key{
		indexRisks: {Partition: "T#" + tenant, Sort: fmt.Sprintf("%07.2f#%s", r.GetScore(), resource.ID(r.GetName()))},
	}
	if r.GetDueTime() != nil {
		item.Indexes[indexRisksDue] = table.Key{Partition: "T#" + tenant, Sort: resource.SortableTime(r.GetDueTime().AsTime()) + "#" + resource.ID(r.GetName())}
	}
	return item, nil
}

// mark says what an asset was evaluated from.
type mark struct {
	// Version of the asset's state, of the catalogue with the tenant's own checks, and of intel.
	State     int64  `json:"state"`
	Catalogue string `json:"catalogue"`
	Intel     string `json:"intel,omitempty"`
	// Until is when the evaluation would differ by the passing of time alone: certificates expire, acceptances end.
	Until time.Time `json:"until"`
	// Keys are the entries of the asset in the index, sorted.
	Keys []string `json:"keys,omitempty"`
}

// stale is the mark that fits nothing, with which the next evaluation runs; the index's entries stay known.
func (m mark) stale() mark { return mark{Keys: m.Keys} }

// timeStep is how long an evaluation of unchanged facts stays good: expiry is judged by days.
const timeStep = time.Hour

// known is what is stored about one asset.
type known struct {
	findings map[string]*correlatorv1.Finding
	risks    map[string]*correlatorv1.Risk
	items    map[table.Key]table.Item
	mark     mark
	revision int64
}

func (s *Service) loadKnown(ctx context.Context, tenant, assetID string) (known, error) {
	k := known{findings: map[string]*correlatorv1.Finding{}, risks: map[string]*correlatorv1.Risk{}, items: map[table.Key]table.Item{}}
	q := table.Query{Partition: partition(tenant, assetID)}
	for {
		page, err := s.table.Query(ctx, q)
		if err != nil {
			return k, err
		}
		for _, item := range page.Items {
			if err := k.add(item); err != nil {
				return k, err
			}
		}
		if len(k.items) > maxStored {
			return k, fault.New(fault.ResourceExhausted, "asset %s has more than %d findings and risks", assetID, maxStored)
		}
		if q.PageToken = page.NextPageToken; q.PageToken == "" {
			return k, nil
		}
	}
}

func (k *known) add(item table.Item) error {
	switch {
	case item.Key.Sort == sortEval:
		k.revision = item.Revision
		if err := json.Unmarshal(item.Value, &k.mark); err != nil {
			return fault.Wrap(fault.DataLoss, err, "decode evaluation mark")
		}
		return nil
	case strings.HasPrefix(item.Key.Sort, prefixFinding):
		f, err := protoitem.Decode(item, &correlatorv1.Finding{})
		if err != nil {
			return err
		}
		k.findings[f.GetName()] = f
	case strings.HasPrefix(item.Key.Sort, prefixRisk):
		r, err := protoitem.Decode(item, &correlatorv1.Risk{})
		if err != nil {
			return err
		}
		k.risks[r.GetName()] = r
	}
	k.items[item.Key] = item
	return nil
}

// handleChange evaluates one asset again.
func (s *Service) handleChange(ctx context.Context, m queue.Message) error {
	c := &modelv1.AssetChanged{}
	if err := proto.Unmarshal(m.Body, c); err != nil || c.GetTenant() == "" || c.GetAsset() == "" {
		return queue.Permanent(fault.New(fault.Invalid, "read change: the message names no tenant or no asset"))
	}
	ctx = telemetry.WithAssessment(s.self(ctx, c.GetTenant()), c.GetAssessment())
	_, err := s.evaluate(ctx, c.GetTenant(), c.GetAsset(), false)
	if errors.Is(err, fault.NotFound) {
		return nil // deleted meanwhile
	}
	return err
}

// evaluate loads what is known, decides and stores the difference. It reports whether anything changed. Unchanged facts
// under unchanged checks and intel are not evaluated again unless force is set.
func (s *Service) evaluate(ctx context.Context, tenant, asset string, force bool) (bool, error) {
	ctx, span := telemetry.Start(ctx, "evaluate")
	defer span.End()
	ever := false
	for range maxConflicts {
		changed, again, err := s.evaluateOnce(ctx, tenant, asset, force)
		if ever = ever || changed; err == nil && !again {
			return ever, nil
		}
		if err != nil && !errors.Is(err, fault.Conflict) {
			return false, err
		}
	}
	return false, fault.New(fault.Conflict, "evaluate %s: it changed %d times meanwhile", asset, maxConflicts)
}

// evaluateOnce is one attempt. again says that a key of the index was written while intel or the tenant's checks changed, so that the
// change may not have found the asset.
func (s *Service) evaluateOnce(ctx context.Context, tenant, asset string, force bool) (changed, again bool, err error) {
	assetID := resource.ID(asset)
	// The mark is read before the facts: if somebody stores what follows from newer facts meanwhile, its revision differs and
	// this evaluation, which may have seen older ones, starts again. The other way around it would overwrite them.
	k, err := s.loadKnown(ctx, tenant, assetID)
	if err != nil {
		return false, false, err
	}
	rules, err := s.rules(ctx, tenant, k.mark.Intel)
	if err != nil {
		return false, false, err
	}
	defer rules.release()
	state, err := s.ingest.GetAssetState(ctx, &ingestv1.GetAssetStateRequest{Name: asset})
	if errors.Is(err, fault.NotFound) && len(k.mark.Keys) > 0 {
		return false, false, errors.Join(err, s.leaveIndex(ctx, tenant, assetID, k))
	}
	if err != nil {
		return false, false, err
	}
	now := time.Now()
	m := mark{State: state.GetVersion(), Catalogue: rules.catalogue.Version, Intel: rules.version(), Until: now.Add(timeStep)}
	if !force && k.revision > 0 && k.mark.State == m.State && k.mark.Catalogue == m.Catalogue && k.mark.Intel == m.Intel && now.Before(k.mark.Until) {
		return false, false, nil
	}
	in := Input{Asset: state.GetAsset(), Sets: state.GetSets(), Catalogue: rules.catalogue, Intel: rules.intel, Now: now}
	for _, f := range k.findings {
		in.Before = append(in.Before, f)
	}
	out, err := Evaluate(in)
	if err != nil {
		return false, false, err
	}
	m.Keys = out.Keys[:min(len(out.Keys), maxKeys)]
	fresh := added(k.mark.Keys, m.Keys)
	if err := s.register(ctx, fresh); err != nil {
		return false, false, err
	}
	if changed, err = s.store(ctx, tenant, assetID, k, out, m); err != nil {
		return false, false, err
	}
	s.report(ctx, tenant, k, out)
	if err := s.reportProblems(ctx, tenant, out.Problems); err != nil {
		return false, false, err
	}
	if len(fresh) > 0 {
		again, err = s.outdated(ctx, tenant, rules)
	}
	return changed, again, err
}

// leaveIndex takes an asset that was deleted out of the index.
func (s *Service) leaveIndex(ctx context.Context, tenant, assetID string, k known) error {
	writes := indexWrites(tenant, assetID, k.mark.Keys, nil)
	for chunk := range slices.Chunk(writes, writeChunk) {
		if err := s.table.Write(ctx, chunk...); err != nil {
			return err
		}
	}
	return s.table.Write(ctx, markWrite(tenant, assetID, mark{}, k.revision))
}

// store writes what differs. The mark is written in the first chunk under its revision: of two evaluations at a time one
// stores and the other starts again.
func (s *Service) store(ctx context.Context, tenant, assetID string, k known, out Output, m mark) (bool, error) {
	writes, err := difference(tenant, k, out)
	if err != nil {
		return false, err
	}
	changed := len(writes) > 0
	writes = append(writes, indexWrites(tenant, assetID, k.mark.Keys, m.Keys)...)
	revision := k.revision
	for len(writes) > writeChunk {
		// A mark that fits nothing makes the next evaluation run if this one does not reach its end. It names the entries of before and
		// now, so that none is forgotten.
		unfinished := mark{Keys: union(k.mark.Keys, m.Keys)}
		if err := s.table.Write(ctx, append(writes[:writeChunk:writeChunk], markWrite(tenant, assetID, unfinished, revision))...); err != nil {
			return false, err
		}
		writes, revision = writes[writeChunk:], revision+1
	}
	return changed, s.table.Write(ctx, append(writes, markWrite(tenant, assetID, m, revision))...)
}

func markWrite(tenant, assetID string, m mark, revision int64) table.Write {
	value, _ := json.Marshal(m) // plain fields: it cannot fail
	return table.Write{Item: table.Item{Key: table.Key{Partition: partition(tenant, assetID), Sort: sortEval}, Value: value}, If: table.Condition(revision)}
}

// difference are the writes that turn what is stored into what was computed.
func difference(tenant string, k known, out Output) ([]table.Write, error) {
	var writes []table.Write
	wanted := map[table.Key]bool{}
	add := func(item table.Item, err error) error {
		if err != nil {
			return err
		}
		wanted[item.Key] = true
		if old, ok := k.items[item.Key]; !ok || string(old.Value) != string(item.Value) {
			writes = append(writes, table.Write{Item: item, If: table.Any})
		}
		return nil
	}
	for _, f := range out.Findings {
		if err := add(findingItem(tenant, f)); err != nil {
			return nil, err
		}
	}
	for _, r := range out.Risks {
		if err := add(riskItem(tenant, r)); err != nil {
			return nil, err
		}
	}
	for key := range k.items {
		if !wanted[key] {
			writes = append(writes, table.Write{Delete: true, If: table.Any, Item: table.Item{Key: key}})
		}
	}
	return writes, nil
}
