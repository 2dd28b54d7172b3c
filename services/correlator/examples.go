package correlator

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
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
	asset := &modelv1.Asset{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "www.example.com"}
	if err := fromJSON(e.Asset, asset); err != nil {
		return false, "", err
	}
	now := exampleTime
	if e.Now != "" {
		if now, err = time.Parse(time.RFC3339, e.Now); err != nil {
			return false, "", fault.Wrap(fault.Invalid, err, "read example: now")
		}
	}
	o := &modelv1.Observation{Location: exampleLocation, Key: "example", FirstSeen: timestamppb.New(now), LastSeen: timestamppb.New(now)}
	if k.Fact == matchFact && e.Fact == nil {
		return k.tryIntel(e, asset, o, now)
	}
	fact := proto.Clone(facts[k.Fact].message)
	if err := fromJSON(e.Fact, fact); err != nil {
		return false, "", err
	}
	s := scene{name: k.Fact, fact: fact.ProtoReflect(), variables: map[string]any{
		k.Fact: fact, "asset": asset, "observation": o, "now": now, "matches": []proto.Message{},
	}}
	if k.Fact == matchFact {
		s.variables["matches"] = []proto.Message{fact}
	}
	held, err = k.holds(s)
	return held, k.summarise(s), err
}

// tryIntel judges a check over known vulnerabilities: what the observation tells of is matched with what intel knows.
func (k *check) tryIntel(e example, asset *modelv1.Asset, o *modelv1.Observation, now time.Time) (bool, string, error) {
	if err := fromJSON(e.Observation, o); err != nil {
		return false, "", err
	}
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
	if err := v.holdVulnerabilities(); err != nil {
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
