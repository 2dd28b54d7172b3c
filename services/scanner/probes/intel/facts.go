package intel

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// host files what Shodan or InternetDB know of an address. Ports and names are leads: our own scans say what is there now.
func (s *scan) host(f *modelv1.IntelFact, h *providers.Host) {
	s.observed(f, h.Seen)
	f.Ports = portsOf(h)
	f.Hostnames, f.Tags, f.Cpe = safe(h.Hostnames), safe(h.Tags), safe(h.CPEs)
	f.Organisation, f.Network, f.Country, f.Asn = line(h.Organisation), line(h.Network), line(h.Country), h.ASN
	for _, v := range h.Vulnerabilities[:min(len(h.Vulnerabilities), maxItems)] {
		f.Vulnerabilities = append(f.Vulnerabilities, &modelv1.IntelVulnerability{Id: line(v.ID), Verified: v.Verified})
	}
	for _, b := range h.Services[:min(len(h.Services), maxItems)] {
		f.Services = append(f.Services, &modelv1.IntelService{
			Port: uint32(b.Port), Transport: transport(b.Transport), Product: line(b.Product), Version: line(b.Version), Cpe: safe(b.CPEs),
			Seen: stampOf(b.Seen), Excerpt: line(b.Data),
		})
	}
	for _, port := range f.GetPorts() {
		s.lead(&modelv1.Target{
			Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: s.subject, Address: s.subject, Port: port, Transport: modelv1.Transport_TRANSPORT_TCP,
		}, modelv1.ScanType_SCAN_TYPE_SERVICE, f.GetProvider()+" saw this port")
	}
	s.hosts(f, h.Hostnames)
}

// verdict files what VirusTotal knows.
func (s *scan) verdict(f *modelv1.IntelFact, v *providers.Verdict) {
	s.observed(f, v.Analysed)
	f.Malicious, f.Suspicious, f.Harmless, f.Undetected, f.Reputation = v.Malicious, v.Suspicious, v.Harmless, v.Undetected, v.Reputation
	f.Categories, f.Tags = safe(v.Categories), safe(v.Tags)
	f.Registrar, f.Jarm, f.Organisation, f.Network, f.Country, f.Asn = line(v.Registrar), line(v.JARM), line(v.Owner), line(v.Network), line(v.Country), v.ASN
	f.DomainCreated, f.DomainExpires, f.RegistryAt = stampOf(v.Created), stampOf(v.Expires), stampOf(v.RegistryAt)
}

// registration files what the registry says. What it says is from when it was asked, unless it names an earlier time.
func (s *scan) registration(f *modelv1.IntelFact, r *providers.Registration) {
	f.Registrar, f.RegistryStatus = line(r.Registrar), safe(r.Status)
	f.DomainCreated, f.DomainExpires, f.RegistryAt = stampOf(r.Created), stampOf(r.Expires), f.GetReport().GetAskedAt()
	if asked := f.GetRegistryAt().AsTime(); !r.Read.IsZero() && r.Read.Before(asked) {
		f.RegistryAt = timestamppb.New(r.Read)
	}
}

// names files the names that Shodan knows below a domain.
func (s *scan) names(f *modelv1.IntelFact, d *providers.DomainNames) {
	f.Report.Results = uint32(len(d.Names))
	if d.More {
		f.Report.State, f.Report.Problem = modelv1.SourceReport_STATE_LIMITED, "it knows more names than it sends at a time"
	}
	f.Hostnames, f.Tags = safe(d.Names), safe(d.Tags)
	s.hosts(f, d.Names)
}

// hosts makes leads of names, those below the scanned name's own domain first: others are for the scope to judge.
func (s *scan) hosts(f *modelv1.IntelFact, names []string) {
	for _, name := range names {
		t, err := target.Parse(name)
		if err != nil || t.Kind != target.Host && t.Kind != target.Domain || t.Port != 0 || t.Value != strings.ToLower(name) || t.Value == s.subject {
			continue
		}
		s.lead(&modelv1.Target{Kind: modelv1.AssetKind(t.Kind), Value: t.Value, Host: t.Value}, modelv1.ScanType_SCAN_TYPE_DNS, f.GetProvider()+" knows this name")
	}
}

func (s *scan) lead(t *modelv1.Target, scanType modelv1.ScanType, relation string) {
	known := func(l *modelv1.Lead) bool {
		return l.GetTarget().GetValue() == t.GetValue() && l.GetTarget().GetPort() == t.GetPort()
	}
	if len(s.leads) < maxLeads && !slices.ContainsFunc(s.leads, known) {
		s.leads = append(s.leads, &modelv1.Lead{Target: t, ScanTypes: []modelv1.ScanType{scanType}, Relation: relation})
	}
}

// observed says when the provider looked, and how old that was when we asked.
func (s *scan) observed(f *modelv1.IntelFact, seen time.Time) {
	if seen.IsZero() {
		return
	}
	f.ObservedAt = timestamppb.New(seen)
	if age := s.now.Sub(seen); age > 0 {
		f.AgeDays = uint32(age / (24 * time.Hour))
	}
}

// result sums up: complete if every source that could be asked answered.
func (s *scan) result() *probes.Result {
	r := &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE, Leads: s.leads}
	slices.SortFunc(s.facts, func(a, b found) int { return cmp.Compare(a.fact.GetProvider(), b.fact.GetProvider()) })
	for _, f := range s.facts {
		o := probes.NewObservation(s.job, "", "intel/"+f.fact.GetProvider())
		o.Fact, o.Evidence = &modelv1.Observation_Intel{Intel: f.fact}, f.evidence
		r.Observations = append(r.Observations, o)
	}
	if len(s.troubled) > 0 {
		r.Outcome, r.Reason = modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, reasons("not all sources answered", s.troubled)
	}
	if s.asked == 0 {
		r.Outcome, r.Reason = modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, reasons("no source could be asked", s.unasked)
	}
	return r
}

// reasons names each source with its problem.
func reasons(what string, reports []*modelv1.SourceReport) string {
	slices.SortFunc(reports, func(a, b *modelv1.SourceReport) int { return cmp.Compare(a.GetSource(), b.GetSource()) })
	parts := make([]string, 0, len(reports))
	for _, r := range reports {
		parts = append(parts, r.GetSource()+": "+r.GetProblem())
	}
	return what + ": " + strings.Join(parts, "; ")
}

// portsOf are the ports in order, once each, without those that only UDP services were seen on.
func portsOf(h *providers.Host) []uint32 {
	udp := map[uint16]bool{}
	for _, b := range h.Services {
		only, known := udp[b.Port]
		udp[b.Port] = b.Transport == "udp" && (only || !known)
	}
	sorted := slices.Clone(h.Ports)
	slices.Sort(sorted)
	out := make([]uint32, 0, min(len(sorted), maxItems))
	for _, p := range slices.Compact(sorted) {
		if p != 0 && !udp[p] && len(out) < maxItems {
			out = append(out, uint32(p))
		}
	}
	return out
}

func transport(text string) string {
	if text == "udp" {
		return "udp"
	}
	return "tcp"
}

func line(text string) string { return probes.SafeString(text, maxText) }

// safe are the texts in order, once each, bounded.
func safe(texts []string) []string {
	var out []string
	for _, raw := range texts {
		if t := line(raw); t != "" && len(out) < maxItems && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}

func stampOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
