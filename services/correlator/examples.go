package correlator

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// exampleTime is when an example is judged that names no time.
var exampleTime = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// exampleLocation is where the fact of an example was seen.
const exampleLocation = "www.example.com:443/tcp"

// try judges a check on an example and fills in its summary.
func (k *check) try(e example) (held bool, summary string, err error) {
	asset := e.assetOf(k.Fact)
	if err := fromJSON(e.Asset, asset); err != nil {
		return false, "", err
	}
	now := exampleTime
	if e.Now != "" {
		if now, err = time.Parse(time.RFC3339, e.Now); err != nil {
			return false, "", fault.Wrap(fault.Invalid, err, "read example: now")
		}
	}
	o := &modelv1.Observation{Location: e.location(k.Fact), Key: "example", FirstSeen: timestamppb.New(now), LastSeen: timestamppb.New(now)}
	if k.Fact == reportedFact && !k.custom {
		return k.tryReported(e, asset, o, now)
	}
	if k.Fact == matchFact && e.Fact == nil {
		return k.tryIntel(e, asset, o, now)
	}
	fact := proto.Clone(facts[k.Fact].message)
	if err := fromJSON(e.Fact, fact); err != nil {
		return false, "", err
	}
	sets, err := e.others(now)
	if err != nil {
		return false, "", err
	}
	s := scene{name: k.Fact, fact: fact.ProtoReflect(), variables: map[string]any{
		k.Fact: fact, "asset": asset, "observation": o, "now": now, "matches": []proto.Message{},
	}}
	if k.Fact == matchFact {
		s.variables["matches"] = []proto.Message{fact}
	} else {
		o.ProtoReflect().Set(o.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(k.Fact)), protoreflect.ValueOfMessage(fact.ProtoReflect()))
		sets = append(sets, &modelv1.ObservationSet{ScanType: facts[k.Fact].scanType, Observations: []*modelv1.Observation{o}})
	}
	s.variables[othersName] = (&others{sets: sets}).about(o)
	held, err = k.holds(s)
	return held, k.summarise(s), err
}

// assetOf is the asset that an example is about, unless it says otherwise: of a cloud fact its resource.
func (e example) assetOf(fact string) *modelv1.Asset {
	if fact == "cloud" && e.Asset == nil {
		id, _ := e.Fact["id"].(string)
		return &modelv1.Asset{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, Value: id}
	}
	return &modelv1.Asset{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com"}
}

// location is where the fact of an example was seen: that of a cloud on the resource itself, or beside its address or name under its id.
func (e example) location(fact string) string {
	if fact != "cloud" {
		return exampleLocation
	}
	if e.Asset == nil {
		return ""
	}
	id, _ := e.Fact["id"].(string)
	return id
}

// others are the observations beside the fact of an example, each as a complete scan of its own saw it.
func (e example) others(now time.Time) ([]*modelv1.ObservationSet, error) {
	if len(e.Others) > maxExampleOthers {
		return nil, fault.New(fault.Invalid, "read example: it has %d other observations, the most is %d", len(e.Others), maxExampleOthers)
	}
	var out []*modelv1.ObservationSet
	for _, raw := range e.Others {
		o := &modelv1.Observation{FirstSeen: timestamppb.New(now), LastSeen: timestamppb.New(now)}
		if err := fromJSON(raw, o); err != nil {
			return nil, err
		}
		name, _ := factOf(o)
		if name == "" {
			return nil, fault.New(fault.Invalid, "read example: each of others needs its fact, such as ports or service")
		}
		out = append(out, &modelv1.ObservationSet{
			ScanType: facts[name].scanType, Location: o.GetLocation(), CompleteAt: o.GetLastSeen(), ScannedAt: o.GetLastSeen(),
			Outcome: modelv1.Outcome_OUTCOME_COMPLETE, Observations: []*modelv1.Observation{o},
		})
	}
	return out, nil
}

// maxExampleOthers bounds the observations beside the fact of an example: as CheckExample.others does.
const maxExampleOthers = 50

// tryIntel judges a check over known vulnerabilities: what the observation tells of is matched with what intel knows.
func (k *check) tryIntel(e example, asset *modelv1.Asset, o *modelv1.Observation, now time.Time) (bool, string, error) {
	if err := fromJSON(e.Observation, o); err != nil {
		return false, "", err
	}
	return k.tryOn(e, asset, o, now, (*evaluation).holdVulnerabilities)
}

// tryOn evaluates an example's observation with this check alone, by one of the ways in which findings come about.
func (k *check) tryOn(e example, asset *modelv1.Asset, o *modelv1.Observation, now time.Time, hold func(*evaluation) error) (bool, string, error) {
	intel, err := e.Intel.read()
	if err != nil {
		return false, "", err
	}
	c := newCatalogue()
	c.byFact[k.Fact], c.byID[k.ID] = []*check{k}, k
	v, err := newEvaluation(Input{
		Asset: asset, Sets: []*modelv1.ObservationSet{{Location: o.GetLocation(), Observations: []*modelv1.Observation{o}}}, Catalogue: c, Intel: intel, Now: now,
	})
	if err != nil {
		return false, "", err
	}
	if err := hold(v); err != nil {
		return false, "", err
	}
	for _, f := range v.held {
		return true, f.GetSummary(), nil
	}
	return false, "", nil
}

func (i *exampleIntel) read() (*mapIntel, error) {
	m := newMapIntel("example", nil, nil)
	if i == nil {
		return m, nil
	}
	for _, raw := range i.Products {
		p := &modelv1.ProductRecord{}
		if err := fromJSON(raw, p); err != nil {
			return nil, err
		}
		m.products[p.GetKey()] = p
	}
	for _, raw := range i.Advisories {
		a := &modelv1.Advisory{}
		if err := fromJSON(raw, a); err != nil {
			return nil, err
		}
		m.advisories[a.GetId()] = a
	}
	return m, nil
}

// fromJSON reads a message in protobuf's JSON form. Fields that it does not have are an error: an example with a mistake proves nothing.
func fromJSON(from map[string]any, into proto.Message) error {
	if from == nil {
		return nil
	}
	raw, err := json.Marshal(from)
	if err == nil {
		err = protojson.Unmarshal(raw, into)
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read example")
	}
	return nil
}
