package dns

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// result writes down what the scan learned.
func (s *scan) result(ctx context.Context) (*probes.Result, error) {
	out := &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE, Reason: probes.SafeString(s.missed, 512)}
	switch {
	case s.unanswered:
		out.Outcome = modelv1.Outcome_OUTCOME_FAILED
		return out, nil
	case s.missed != "":
		out.Outcome = modelv1.Outcome_OUTCOME_PARTIAL
	}
	raw := s.resolver.evidence()
	evidence, err := s.env.Evidence(ctx, "dns", raw, len(raw) > maxLog)
	if err != nil {
		return nil, fmt.Errorf("store dns evidence: %w", err)
	}
	add := func(key string) *modelv1.Observation {
		o := probes.NewObservation(s.job, "", key)
		o.Evidence = evidence
		out.Observations = append(out.Observations, o)
		return o
	}
	if !s.withoutFact && (!s.incomplete || !s.fact.GetApex()) {
		add("dns").Fact = &modelv1.Observation_Dns{Dns: s.fact}
	}
	if s.mail != nil {
		add("mail").Fact = &modelv1.Observation_Mail{Mail: s.mail}
	}
	slices.SortFunc(s.dangling, func(a, b *modelv1.DanglingFact) int { return strings.Compare(s.danglingKey(a), s.danglingKey(b)) })
	s.dangling = slices.CompactFunc(s.dangling, func(a, b *modelv1.DanglingFact) bool { return s.danglingKey(a) == s.danglingKey(b) })
	for _, d := range s.dangling {
		add(s.danglingKey(d)).Fact = &modelv1.Observation_Dangling{Dangling: d}
	}
	out.Leads = s.leads()
	return out, nil
}

// danglingKey tells dangling records of one asset apart.
func (s *scan) danglingKey(d *modelv1.DanglingFact) string {
	key := "dangling:" + d.GetRecord() + ":" + d.GetTarget()
	if d.GetName() != s.name {
		key += ":" + d.GetName()
	}
	return key
}

// leads are the name's addresses, and the hosts of its own zone that its records or the zone itself name.
func (s *scan) leads() []*modelv1.Lead {
	var out []*modelv1.Lead
	add := func(target *modelv1.Target, next modelv1.ScanType, relation string) {
		same := func(l *modelv1.Lead) bool { return l.GetTarget().GetValue() == target.GetValue() }
		if len(out) < maxLeads && !slices.ContainsFunc(out, same) {
			out = append(out, &modelv1.Lead{Target: target, ScanTypes: []modelv1.ScanType{next}, Relation: relation})
		}
	}
	address := func(values []string, relation string) {
		for _, value := range values {
			add(&modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: value, Address: value}, modelv1.ScanType_SCAN_TYPE_PORT, relation)
		}
	}
	host := func(name, relation string) {
		if name != s.name && plausible(name) && s.zone != "" && strings.HasSuffix(name, "."+s.zone) {
			add(&modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: name, Host: name}, modelv1.ScanType_SCAN_TYPE_DNS, relation)
		}
	}
	address(s.fact.GetA(), "A record")
	address(s.fact.GetAaaa(), "AAAA record")
	for _, name := range s.fact.GetCname() {
		host(name, "CNAME record")
	}
	for _, name := range s.fact.GetNs() {
		host(name, "NS record")
	}
	for _, mx := range s.fact.GetMx() {
		host(mx.GetHost(), "MX record")
	}
	for _, srv := range s.fact.GetSrv() {
		host(srv.GetTarget(), "SRV record")
	}
	for _, binding := range s.fact.GetBindings() {
		host(binding.GetTarget(), binding.GetType()+" record")
	}
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		host(name, s.names[name])
	}
	return out
}
