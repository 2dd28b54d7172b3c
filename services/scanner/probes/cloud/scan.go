package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of one fact. All are ours: a resource of AWS has at most 50 tags, a security group at most 1,000 rules.
const (
	maxText     = 256
	maxID       = 512
	maxTags     = 50
	maxSettings = 40
	maxList     = 50
	maxIngress  = 100
	// maxLeads is what ingest keeps of one result.
	maxLeads = 1000
	// maxResultBytes bounds all facts of one result, which goes through a queue as one message (platform/queue.MaxSpillBytes is above it).
	maxResultBytes = 24 << 20
	// maxPlaces is under how many addresses and names one resource is filed.
	maxPlaces = 20
)

// errFull says that the account has more resources than are kept.
var errFull = errors.New("the account has more resources than are kept")

// scan gathers what one reading of an account finds.
type scan struct {
	job               *modelv1.ScanJob
	provider, account string

	observations []*modelv1.Observation
	leads        []*modelv1.Lead
	known        map[string]bool
	reached      map[string]*modelv1.Reach
	order        []string
	resources    int
	bytes        int
	lost         []lost
}

// lost is a record with the places that it leads to and its account does not hold.
type lost struct {
	fact   *modelv1.CloudFact
	places []string
}

func newScan(job *modelv1.ScanJob, provider, account string) *scan {
	return &scan{job: job, provider: provider, account: account, known: map[string]bool{}, reached: map[string]*modelv1.Reach{}}
}

// take files one resource: under itself, and under every address and name that leads to it.
func (s *scan) take(r Resource) error {
	if s.resources >= MaxResources || s.bytes >= maxResultBytes {
		return errFull
	}
	fact := safeFact(r.Fact)
	fact.Provider, fact.Account = s.provider, s.account
	key := "cloud/" + fact.GetType() + "/" + fact.GetId()
	if fact.GetId() == "" || fact.GetType() == "" || s.known[key] {
		return nil
	}
	s.known[key] = true
	s.resources++
	if len(r.Lost) > 0 {
		s.lost = append(s.lost, lost{fact, r.Lost})
	}
	kind, value := modelv1.AssetKind_ASSET_KIND_CLOUD_RESOURCE, fact.GetId()
	if r.OfAccount {
		kind, value = s.job.GetTarget().GetKind(), s.job.GetTarget().GetValue()
	}
	if places := s.places(r, fact, key); places == 0 || !r.PlacesOnly {
		s.file(kind, value, "", key, fact, r.Partly)
	}
	return nil
}

// places files a resource under the addresses and names that lead to it, makes leads of them, and says how many there are.
func (s *scan) places(r Resource, fact *modelv1.CloudFact, key string) (n int) {
	relation := strings.ReplaceAll(fact.GetType(), ":", " ")
	for _, text := range fact.GetAddresses() {
		addr, err := netip.ParseAddr(text)
		if !r.Dedicated || err != nil || n >= maxPlaces {
			continue
		}
		n++
		value := addr.Unmap().String()
		s.file(modelv1.AssetKind_ASSET_KIND_IP, value, fact.GetId(), key, fact, r.Partly)
		s.lead(&modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: value, Address: value}, modelv1.ScanType_SCAN_TYPE_PORT, "address of "+relation)
	}
	for _, text := range fact.GetHostnames() {
		t, err := target.Parse(text)
		if !r.Names || err != nil || n >= maxPlaces || t.Port != 0 || t.Kind != target.Host && t.Kind != target.Domain {
			continue
		}
		n++
		s.file(modelv1.AssetKind(t.Kind), t.Value, fact.GetId(), key, fact, r.Partly)
		s.lead(&modelv1.Target{Kind: modelv1.AssetKind(t.Kind), Value: t.Value, Host: t.Value}, modelv1.ScanType_SCAN_TYPE_DNS, "name of "+relation)
	}
	return n
}

// file adds a fact about an asset. An asset of which one resource was read in part was reached in part: nothing ends there.
func (s *scan) file(kind modelv1.AssetKind, value, location, key string, fact *modelv1.CloudFact, partly bool) {
	o := probes.NewObservationOf(s.job, kind, value, location, key)
	o.Fact = &modelv1.Observation_Cloud{Cloud: fact}
	s.observations = append(s.observations, o)
	s.bytes += proto.Size(o)
	if value == s.job.GetTarget().GetValue() {
		return
	}
	if s.reached[o.GetAsset()] == nil {
		s.reached[o.GetAsset()] = &modelv1.Reach{Kind: kind, Value: value, Outcome: modelv1.Outcome_OUTCOME_COMPLETE}
		s.order = append(s.order, o.GetAsset())
	}
	if partly {
		s.reached[o.GetAsset()].Outcome = modelv1.Outcome_OUTCOME_PARTIAL
	}
}

func (s *scan) lead(t *modelv1.Target, scanType modelv1.ScanType, relation string) {
	if s.known["lead/"+t.GetValue()] {
		return
	}
	s.known["lead/"+t.GetValue()] = true
	s.leads = append(s.leads, &modelv1.Lead{Target: t, ScanTypes: []modelv1.ScanType{scanType}, Relation: relation})
}

// chosen are the leads that this assessment follows: where there are too many, others than those of the assessment before, so that
// each has its turn.
func (s *scan) chosen() []*modelv1.Lead {
	if len(s.leads) <= maxLeads {
		return s.leads
	}
	turn := func(l *modelv1.Lead) string {
		sum := sha256.Sum256([]byte(s.job.GetAssessment() + " " + l.GetTarget().GetValue()))
		return string(sum[:])
	}
	turns := make(map[*modelv1.Lead]string, len(s.leads))
	for _, l := range s.leads {
		turns[l] = turn(l)
	}
	return slices.SortedFunc(slices.Values(s.leads), func(a, b *modelv1.Lead) int { return strings.Compare(turns[a], turns[b]) })[:maxLeads]
}

// settle takes back what is said of records that lead to what another account of the tenant's holds: many keep their zones in one account
// and what the names lead to in others.
func (s *scan) settle(ctx context.Context, env probes.Env) error {
	if len(s.lost) == 0 || env.Holders == nil {
		return nil
	}
	var places []string
	for _, l := range s.lost {
		places = append(places, l.places...)
	}
	slices.Sort(places)
	places = slices.Compact(places)
	accounts, err := env.Holders(ctx, places)
	if err != nil {
		return err
	}
	by := map[string]string{}
	for i, place := range places {
		by[place] = accounts[i]
	}
	for _, l := range s.lost {
		if !slices.ContainsFunc(l.places, func(p string) bool { return by[p] == "" }) {
			delete(l.fact.GetSettings(), SettingDangling)
			l.fact.Settings[SettingHeldBy] = by[l.places[0]]
		}
	}
	return nil
}

// result sums up: complete if nothing is missing. The whole list of what is missing is evidence of the account.
func (s *scan) result(ctx context.Context, env probes.Env, gaps []Gap) (*probes.Result, error) {
	r := &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE, Leads: s.chosen(), Unread: unread(gaps)}
	var reasons []string
	gaps = slices.DeleteFunc(slices.Clone(gaps), func(g Gap) bool { return g.Why == GapUnwanted })
	summary := &modelv1.CloudFact{
		Provider: s.provider, Account: s.account, Type: TypeAccount, Id: s.job.GetTarget().GetValue(),
		Settings: map[string]string{SettingResources: strconv.Itoa(s.resources), SettingGaps: strconv.Itoa(len(gaps))},
	}
	s.file(s.job.GetTarget().GetKind(), s.job.GetTarget().GetValue(), "", "cloud/"+TypeAccount, summary, false)
	if len(gaps) > 0 {
		r.Outcome = modelv1.Outcome_OUTCOME_PARTIAL
		reasons = append(reasons, reason(s.provider, gaps))
		evidence, err := env.Evidence(ctx, "cloud", []byte(strings.Join(gapLines(gaps), "\n")+"\n"), false)
		if err != nil {
			return nil, err
		}
		s.observations[len(s.observations)-1].Evidence = evidence
	}
	if len(s.leads) > maxLeads { // the inventory is whole all the same
		reasons = append(reasons, fmt.Sprintf("%d of %d names and addresses are looked at further in this assessment, others in the next", maxLeads, len(s.leads)))
	}
	r.Reason, r.Observations = strings.Join(reasons, "; "), s.observations
	for _, asset := range s.order {
		r.Reached = append(r.Reached, s.reached[asset])
	}
	return r, nil
}

// safeFact is a fact with all texts harmless and bounded, and its lists in order.
func safeFact(in *modelv1.CloudFact) *modelv1.CloudFact {
	f := proto.CloneOf(in)
	f.Type, f.Name, f.Region, f.PublicReason = line(f.GetType()), line(f.GetName()), line(f.GetRegion()), line(f.GetPublicReason())
	f.Id = identity(f.GetId())
	f.Tags, f.Settings = safeMap(f.GetTags(), maxTags), safeMap(f.GetSettings(), maxSettings)
	f.Hostnames, f.Addresses, f.PointsTo = safeList(f.GetHostnames()), safeList(f.GetAddresses()), safeList(f.GetPointsTo())
	f.Ingress = f.GetIngress()[:min(len(f.GetIngress()), maxIngress)]
	for _, rule := range f.GetIngress() {
		rule.Protocol, rule.Source, rule.Rule = line(rule.GetProtocol()), line(rule.GetSource()), line(rule.GetRule())
	}
	return f
}

func line(text string) string { return probes.SafeString(text, maxText) }

// identity is an id as it is, or, where it is longer than a key may be or not harmless, what begins it with a hash of the whole.
func identity(id string) string {
	safe := probes.SafeString(id, maxID)
	if safe == id && len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return probes.SafeString(id, maxText/2) + "~" + hex.EncodeToString(sum[:8])
}

// safeMap keeps the first entries in the order of their names.
func safeMap(in map[string]string, most int) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if name := probes.SafeString(k, maxText/2); name != "" && len(out) < most {
			out[name] = line(in[k])
		}
	}
	return out
}

func safeList(in []string) []string {
	var out []string
	for _, raw := range in {
		if t := line(raw); t != "" && len(out) < maxList && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}
