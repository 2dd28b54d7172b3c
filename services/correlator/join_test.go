package correlator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

const instanceID = "arn:aws:ec2:eu-west-1:123456789012:instance/i-1"

// seen is a set of one scan type and place as a scan of the hour left it; a scan that was not complete closes nothing.
func seen(t modelv1.ScanType, location string, hour int, outcome modelv1.Outcome, facts ...*modelv1.Observation) *modelv1.ObservationSet {
	s := &modelv1.ObservationSet{Asset: host.GetName(), ScanType: t, Location: location, ScannedAt: at(hour), Outcome: outcome}
	if outcome == complete {
		s.CompleteAt = at(hour)
	}
	for i, o := range facts {
		o.Key, o.Asset, o.ScanType, o.Location = fmt.Sprint(o.GetKey(), i), host.GetName(), t, location
		o.FirstSeen, o.LastSeen = at(hour), at(hour)
		s.Observations = append(s.Observations, o)
	}
	return s
}

// instanceSet is the cloud's word on the address: rules to the whole internet, none if the rules were closed.
func instanceSet(hour int, outcome modelv1.Outcome, ports ...uint32) *modelv1.ObservationSet {
	f := &modelv1.CloudFact{Provider: "aws", Type: "ec2:instance", Id: instanceID, Public: true}
	for _, p := range ports {
		f.Ingress = append(f.Ingress, &modelv1.CloudIngress{Protocol: "tcp", FromPort: p, ToPort: p, Source: "0.0.0.0/0", Rule: "sg-1"})
	}
	return seen(modelv1.ScanType_SCAN_TYPE_CLOUD, instanceID, hour, outcome, &modelv1.Observation{Fact: &modelv1.Observation_Cloud{Cloud: f}})
}

func openSet(hour int, outcome modelv1.Outcome, open ...uint32) *modelv1.ObservationSet {
	f := &modelv1.PortsFact{Address: host.GetValue(), Transport: modelv1.Transport_TRANSPORT_TCP, Open: open, Ports: "top1000"}
	return seen(modelv1.ScanType_SCAN_TYPE_PORT, "", hour, outcome, &modelv1.Observation{Fact: &modelv1.Observation_Ports{Ports: f}})
}

func findingBy(out Output, check string) *correlatorv1.Finding {
	i := slices.IndexFunc(out.Findings, func(f *correlatorv1.Finding) bool { return f.GetCheck() == check })
	if i < 0 {
		return nil
	}
	return out.Findings[i]
}

// A port that the cloud opens and that answers is one finding with the evidence of both sides.
func TestJoinHasTheEvidenceOfBothSides(t *testing.T) {
	out := evaluated(t, nil, 5, instanceSet(1, complete, 6379), openSet(2, complete, 443, 6379), redisSet(3, complete, true))
	f := findingBy(out, "cloud-data-store-answers")
	if f == nil || f.GetInferred() || !strings.Contains(f.GetSummary(), "sg-1") || !strings.Contains(f.GetSummary(), "6379 (redis)") {
		t.Fatalf("finding %v", f)
	}
	var types []modelv1.ScanType
	for _, e := range f.GetEvidence() {
		types = append(types, e.GetScanType())
	}
	want := []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_CLOUD, modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_SERVICE}
	if !slices.Equal(types, want) || !f.GetLastSeen().AsTime().Equal(at(3).AsTime()) {
		t.Errorf("evidence of %v, last seen %v", types, f.GetLastSeen().AsTime())
	}
	if findingBy(out, "cloud-sensitive-port-open") != nil {
		t.Error("the port is told twice: as answering and as not answering")
	}
}

// What was seen from both sides outranks either half: the rule alone, and the open port alone.
func TestJoinOutranksEitherHalf(t *testing.T) {
	top := func(sets ...*modelv1.ObservationSet) float64 {
		best := 0.0
		for _, r := range evaluated(t, nil, 5, sets...).Risks {
			best = max(best, r.GetScore())
		}
		return best
	}
	service := seen(modelv1.ScanType_SCAN_TYPE_SERVICE, "192.0.2.1:3389/tcp", 3, complete, &modelv1.Observation{Fact: &modelv1.Observation_Service{
		Service: &modelv1.ServiceFact{Address: host.GetValue(), Port: 3389, Name: "rdp"},
	}})
	inside := top(instanceSet(1, complete, 3389), openSet(2, complete, 443))
	outside := top(openSet(2, complete, 3389), service)
	both := top(instanceSet(1, complete, 3389), openSet(2, complete, 3389), service)
	if both <= inside || both <= outside || inside == 0 || outside == 0 {
		t.Errorf("score of the rule %v, of the open port %v, of both %v", inside, outside, both)
	}
}

// A finding that was joined closes only when the newest scans of all that it was joined with were complete.
func TestJoinCloses(t *testing.T) {
	const partial = modelv1.Outcome_OUTCOME_PARTIAL
	before := evaluated(t, nil, 3, instanceSet(1, complete, 3389), openSet(2, complete, 3389)).Findings
	laterPartial := func(s *modelv1.ObservationSet, hour int) *modelv1.ObservationSet {
		s.ScannedAt, s.Outcome = at(hour), partial
		return s
	}
	unscanned := seen(modelv1.ScanType_SCAN_TYPE_PORT, "", 6, partial)
	cases := []struct {
		name     string
		sets     []*modelv1.ObservationSet
		resolved bool
	}{
		{"the port is closed, by a complete scan", []*modelv1.ObservationSet{instanceSet(1, complete, 3389), openSet(6, complete, 443)}, true},
		{"the rule is closed, by a complete reading", []*modelv1.ObservationSet{instanceSet(6, complete, 443), openSet(2, complete, 3389)}, true},
		{"both are closed", []*modelv1.ObservationSet{instanceSet(6, complete), openSet(7, complete)}, true},
		{"the host is silent", []*modelv1.ObservationSet{instanceSet(1, complete, 3389), seen(modelv1.ScanType_SCAN_TYPE_PORT, "", 6, complete)}, true},
		{"the port is closed, and the cloud was read in part since", []*modelv1.ObservationSet{laterPartial(instanceSet(1, complete, 3389), 7), openSet(6, complete, 443)}, false},
		{"the rule is closed, and the ports were scanned in part since", []*modelv1.ObservationSet{instanceSet(6, complete, 443), laterPartial(openSet(2, complete, 3389), 7)}, false},
		{"the cloud is not known any more", []*modelv1.ObservationSet{openSet(6, complete, 443)}, false},
		{"the ports are not known any more", []*modelv1.ObservationSet{instanceSet(6, complete, 443)}, false},
		{"the ports were never scanned completely", []*modelv1.ObservationSet{instanceSet(6, complete, 443), unscanned}, false},
		{"nothing is newer", []*modelv1.ObservationSet{instanceSet(1, complete, 443), openSet(2, complete, 443)}, false},
	}
	for _, c := range cases {
		f := findingBy(evaluated(t, before, 8, c.sets...), "cloud-remote-access-answers")
		if got := f.GetState() == correlatorv1.Finding_STATE_RESOLVED; got != c.resolved || f.GetNotRetested() == c.resolved {
			t.Errorf("%s: state %v, not re-tested %v", c.name, f.GetState(), f.GetNotRetested())
		}
	}
}

// A rule that nothing was joined with closes without a scan that never took place.
func TestRuleAloneCloses(t *testing.T) {
	before := evaluated(t, nil, 3, instanceSet(1, complete, 3389)).Findings
	f := findingBy(evaluated(t, before, 8, instanceSet(6, complete, 443)), "cloud-sensitive-port-open")
	if f.GetState() != correlatorv1.Finding_STATE_RESOLVED {
		t.Errorf("finding %v", f)
	}
}

// The order in which observations come does not matter for what they are joined to.
func TestJoinDoesNotDependOnOrder(t *testing.T) {
	interesting := []uint32{22, 80, 443, 3389, 5432, 6379}
	rapid.Check(t, func(rt *rapid.T) {
		port := rapid.SampledFrom(interesting)
		var sets []*modelv1.ObservationSet
		for i := range rapid.IntRange(0, 4).Draw(rt, "resources") {
			f := &modelv1.CloudFact{Type: "ec2:instance", Id: fmt.Sprint("i-", i), Public: true, Settings: map[string]string{"metadata": "v1", "instance-profile": "r"}}
			for range rapid.IntRange(0, 3).Draw(rt, "rules") {
				f.Ingress = append(f.Ingress, &modelv1.CloudIngress{
					Protocol: rapid.SampledFrom([]string{"tcp", "udp", "all", "icmp"}).Draw(rt, "protocol"), FromPort: port.Draw(rt, "from"), ToPort: port.Draw(rt, "to"),
					Source: "0.0.0.0/0", Rule: rapid.SampledFrom([]string{"sg-1", "sg-2"}).Draw(rt, "rule"),
				})
			}
			sets = append(sets, seen(modelv1.ScanType_SCAN_TYPE_CLOUD, f.GetId(), rapid.IntRange(0, 9).Draw(rt, "hour"), complete,
				&modelv1.Observation{Fact: &modelv1.Observation_Cloud{Cloud: f}}))
		}
		for range rapid.IntRange(0, 2).Draw(rt, "scans") {
			f := &modelv1.PortsFact{Address: host.GetValue(), Transport: modelv1.Transport(rapid.IntRange(0, 2).Draw(rt, "transport")), Open: rapid.SliceOfDistinct(port, rapid.ID).Draw(rt, "open"), Ports: "top100"}
			sets = append(sets, seen(modelv1.ScanType_SCAN_TYPE_PORT, "", rapid.IntRange(0, 9).Draw(rt, "hour"), modelv1.Outcome(rapid.IntRange(1, 3).Draw(rt, "outcome")),
				&modelv1.Observation{Key: fmt.Sprint("ports", len(sets)), Fact: &modelv1.Observation_Ports{Ports: f}}))
		}
		for n := range rapid.IntRange(0, 4).Draw(rt, "services") {
			f := &modelv1.ServiceFact{Port: port.Draw(rt, "port"), Name: rapid.SampledFrom([]string{"", "ssh", "redis"}).Draw(rt, "name"), Tls: rapid.Bool().Draw(rt, "tls")}
			sets = append(sets, seen(modelv1.ScanType_SCAN_TYPE_SERVICE, fmt.Sprintf("192.0.2.1:%d/tcp#%d", f.GetPort(), n), rapid.IntRange(0, 9).Draw(rt, "hour"), complete,
				&modelv1.Observation{Fact: &modelv1.Observation_Service{Service: f}}))
		}
		first := evaluated(t, nil, 10, sets...)
		shuffled := rapid.Permutation(sets).Draw(rt, "order")
		for _, s := range sets {
			about := s.GetObservations()[0]
			if diff := gocmp.Diff((&others{sets: sets}).about(about), (&others{sets: shuffled}).about(about), protocmp.Transform()); diff != "" {
				rt.Fatalf("the order of sets changes what is known beside %v: %s", about, diff)
			}
		}
		if diff := gocmp.Diff(first, evaluated(t, nil, 10, shuffled...), protocmp.Transform()); diff != "" {
			rt.Fatalf("the order of sets changes it: %s", diff)
		}
		if diff := gocmp.Diff(first, evaluated(t, first.Findings, 10, shuffled...), protocmp.Transform()); diff != "" {
			rt.Fatalf("a second evaluation changes it: %s", diff)
		}
	})
}

// A port in a report of another tool did not answer us.
func TestReportsDoNotAnswer(t *testing.T) {
	report := openSet(2, complete, 3389)
	report.ScanType = modelv1.ScanType_SCAN_TYPE_IMPORT
	if f := findingBy(evaluated(t, nil, 5, instanceSet(1, complete, 3389), report), "cloud-remote-access-answers"); f != nil {
		t.Errorf("finding %v", f)
	}
}

// What a target shows is bounded before conditions go over it.
func TestOthersAreBounded(t *testing.T) {
	open := make([]uint32, 5000)
	for i := range open {
		open[i] = uint32(i + 1)
	}
	cloud := &modelv1.CloudFact{Type: "ec2:instance", Id: "i"}
	for i := range 100 {
		cloud.Ingress = append(cloud.Ingress, &modelv1.CloudIngress{Protocol: "all", Rule: fmt.Sprint(i)})
	}
	o := &modelv1.Observation{Location: "i", Fact: &modelv1.Observation_Cloud{Cloud: cloud}}
	sets := []*modelv1.ObservationSet{openSet(1, complete, open...), {ScanType: modelv1.ScanType_SCAN_TYPE_CLOUD, Observations: []*modelv1.Observation{o}}}
	got := (&others{sets: sets}).about(o)
	if len(got.GetOpenPorts()) != maxOpenPorts || len(got.GetReach()) != maxReach || got.GetReach()[0].GetLookedAt() != 1000 {
		t.Errorf("%d ports, %d rules, %d looked at", len(got.GetOpenPorts()), len(got.GetReach()), got.GetReach()[0].GetLookedAt())
	}
	narrow := &modelv1.CloudIngress{Protocol: "tcp", FromPort: 443, ToPort: 443, Rule: "narrow"}
	cloud.Ingress = []*modelv1.CloudIngress{narrow, {Protocol: "udp", FromPort: 443, ToPort: 443, Rule: "udp"}, {Protocol: "tcp", FromPort: 9, ToPort: 3, Rule: "empty"}}
	reach := (&others{sets: sets}).about(o).GetReach()
	for i, want := range []uint32{1, 0, 0} {
		if reach[i].GetLookedAt() != want || len(reach[i].GetAnswering()) != 0 && i > 0 {
			t.Errorf("rule %v: %v", reach[i].GetRule(), reach[i])
		}
	}
}

func TestJoinedScans(t *testing.T) {
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	port, service, cloud := modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_SERVICE, modelv1.ScanType_SCAN_TYPE_CLOUD
	for condition, want := range map[string][]modelv1.ScanType{
		"cloud.public": nil,
		"cloud.public && others.reach.exists(r, size(r.answering) > 0)":                                {port, service},
		"service.name == 'redis' && others.cloud.exists(c, c.tags.exists(k, k == 'env'))":              {cloud},
		"ports.open.exists(p, others.cloud.exists(c, c.public)) && has(others.ports_at)":               {port, cloud},
		"others.open_ports.size() > 1 && others.cloud.size() > 0":                                      {port, service, cloud},
		"[others].exists(x, x.cloud.size() > 0)":                                                       {port, service, cloud},
		"others.cloud.size() > 0 && [1].exists(n, others == others && n > 0) && others.ports_at < now": {port, service, cloud},
	} {
		_, a, err := compileOne(env, condition, cel.BoolType)
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if got := joinedScans(a.NativeRep().Expr()); !slices.Equal(got, want) {
			t.Errorf("%s joins %v, want %v", condition, got, want)
		}
	}
}

// A tenant's own check may join too, within the same bounds, and its examples show what with.
func TestOwnCheckJoins(t *testing.T) {
	other, err := structpb.NewStruct(map[string]any{"location": "i-1", "cloud": map[string]any{"type": "ec2:instance", "id": "i-1", "tags": map[string]any{"env": "prod"}}})
	if err != nil {
		t.Fatal(err)
	}
	fact, err := structpb.NewStruct(map[string]any{"name": "ftp", "port": 21})
	if err != nil {
		t.Fatal(err)
	}
	p := &correlatorv1.Check{
		Id: "ftp-in-production", Title: "FTP in production", Severity: modelv1.Severity_SEVERITY_HIGH, Fact: "service",
		Condition: "service.name == 'ftp' && others.cloud.exists(c, 'env' in c.tags && c.tags['env'] == 'prod')", Summary: "'FTP on ' + others.cloud[0].id",
		Description: "House rule 9.", Remediation: "Move it.",
		Holds:    []*correlatorv1.CheckExample{{Fact: fact, Others: []*structpb.Struct{other}}},
		NotHolds: []*correlatorv1.CheckExample{{Fact: fact}},
	}
	k, summaries, err := tried(p, catalogue(t), start)
	if err != nil || len(summaries) != 1 || summaries[0] != "FTP on i-1" {
		t.Fatalf("%v %v", summaries, err)
	}
	c := newCatalogue()
	c.byFact["service"], c.byID[k.ID] = []*check{k}, k
	ftp := seen(modelv1.ScanType_SCAN_TYPE_SERVICE, "192.0.2.1:21/tcp", 2, complete, &modelv1.Observation{Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{Name: "ftp", Port: 21}}})
	instance := instanceSet(1, complete)
	instance.GetObservations()[0].GetCloud().Tags = map[string]string{"env": "prod"}
	in := Input{Asset: host, Sets: []*modelv1.ObservationSet{ftp, instance}, Catalogue: c, Now: start.Add(3 * time.Hour)}
	out, err := Evaluate(in)
	if err != nil || len(out.Findings) != 1 || len(out.Findings[0].GetEvidence()) != 2 {
		t.Fatalf("%v %v", out.Findings, err)
	}
	// The tag is gone, as a reading of only a part says: that closes nothing.
	moved := instanceSet(5, complete)
	moved.ScannedAt = at(6)
	in.Before, in.Sets = out.Findings, []*modelv1.ObservationSet{ftp, moved}
	if out, err = Evaluate(in); err != nil || out.Findings[0].GetState() != correlatorv1.Finding_STATE_OPEN {
		t.Errorf("%v %v", out.Findings, err)
	}
	in.Sets = []*modelv1.ObservationSet{ftp, instanceSet(7, complete)}
	if out, err = Evaluate(in); err != nil || out.Findings[0].GetState() != correlatorv1.Finding_STATE_RESOLVED {
		t.Errorf("%v %v", out.Findings, err)
	}
	dear := proto.CloneOf(p)
	dear.Condition = "others.open_ports.exists(a, others.open_ports.exists(b, others.open_ports.exists(c, a.port + b.port == c.port)))"
	if _, _, err := tried(dear, catalogue(t), start); err == nil || !strings.Contains(err.Error()+fmt.Sprint(err), "check") {
		t.Errorf("a check that goes over all ports three times is taken: %v", err)
	}
}
