package correlator

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// ownCheck is a good check of a tenant's own, changed by some edits.
func ownCheck(t testing.TB, edits ...func(*correlatorv1.Check)) *correlatorv1.Check {
	t.Helper()
	p := &correlatorv1.Check{}
	err := protojson.Unmarshal([]byte(`{
		"id": "telnet-anywhere", "title": "Telnet is not ours", "severity": "SEVERITY_HIGH", "fact": "service", "condition": "service.name == 'telnet'",
		"summary": "'Telnet at ' + observation.location", "description": "House rule 7.", "remediation": "Turn it off.",
		"holds": [{"fact": {"name": "telnet", "port": 23}}], "notHolds": [{"fact": {"name": "ssh", "port": 22}}]
	}`), p)
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func condition(text string) func(*correlatorv1.Check) {
	return func(p *correlatorv1.Check) { p.Condition = text }
}

func factOn(fact, name string, value any) func(*correlatorv1.Check) {
	return func(p *correlatorv1.Check) {
		p.Fact = fact
		p.Holds[0].Fact, _ = structpb.NewStruct(map[string]any{name: value})
		p.NotHolds[0].Fact = &structpb.Struct{}
	}
}

// TestWhatIsRefused: a check that could harm, or that its author did not mean, is not stored, and the field that is wrong is named.
func TestWhatIsRefused(t *testing.T) {
	all := catalogue(t)
	evil := "service.banner.matches('" + strings.Repeat("(a|aa)+", 20) + "$')"
	for _, c := range []struct {
		name, field string
		edit        func(*correlatorv1.Check)
	}{
		{"no condition", "condition", condition("")},
		{"not CEL", "condition", condition("service.name ==")},
		{"not a truth", "condition", condition("service.name")},
		{"a field that is not there", "condition", condition("service.nothing == 1")},
		{"a fact that is not its own", "condition", condition("http.status == 200 ? true : service.name == 'telnet' && service.nothing")},
		{"lists inside of lists inside of lists", "condition", condition("service.cpe.all(a, service.cpe.all(b, service.cpe.all(c, a + b + c != 'x')))")},
		{"a list made large", "condition", condition("service.cpe.map(a, service.cpe.map(b, service.cpe.map(c, a + b + c))).size() > 1")},
		{"texts made large", "condition", condition("service.banner.replace('', service.banner).size() > 0")},
		{"texts joined", "condition", condition("[service.banner].join(service.banner) != ''")},
		{"a pattern from the target", "condition", condition("service.name.matches(service.banner)")},
		{"a pattern that is none", "condition", condition("service.name.matches('(')")},
		{"a long pattern", "condition", condition("service.name.matches('" + strings.Repeat("a", maxPattern+1) + "')")},
		{"a pattern of a large program", "condition", condition("service.name.matches('" + "(a{100}|b)" + "')")},
		{"a condition that is long", "condition", condition("service.name == '" + strings.Repeat("x", maxExpression) + "'")},
		{"very many parts", "condition", condition("[" + strings.Repeat("1,", 1500) + "1].size() > 0")},
		{"deep brackets", "condition", condition(strings.Repeat("(", 1500) + "true" + strings.Repeat(")", 1500))},
		{"no such fact", "fact", func(p *correlatorv1.Check) { p.Fact = "nothing" }},
		{"no such group", "group", func(p *correlatorv1.Check) { p.Group = "nothing" }},
		{"no severity", "severity", func(p *correlatorv1.Check) { p.Severity = 0 }},
		{"a severity that is none", "severity", func(p *correlatorv1.Check) { p.Severity = 77 }},
		{"an id with a slash", "id", func(p *correlatorv1.Check) { p.Id = "a/b" }},
		{"an id that ends its key", "id", func(p *correlatorv1.Check) { p.Id = "a#b" }},
		{"a long id", "id", func(p *correlatorv1.Check) { p.Id = strings.Repeat("a", 64) }},
		{"a title that turns the line around", "title", func(p *correlatorv1.Check) { p.Title = "a\u202eb" }},
		{"a summary that is no text", "summary", func(p *correlatorv1.Check) { p.Summary = "1" }},
		{"no remediation", "remediation", func(p *correlatorv1.Check) { p.Remediation = " " }},
		{"a reference that runs", "references", func(p *correlatorv1.Check) { p.References = []string{"javascript:alert(1)"} }},
		{"a CWE that is none", "cwe", func(p *correlatorv1.Check) { p.Cwe = []string{"<b>"} }},
		{"no examples", "holds", func(p *correlatorv1.Check) { p.Holds = nil }},
		{"no counter-example", "holds", func(p *correlatorv1.Check) { p.NotHolds = nil }},
		{"an example that does not hold", "holds", func(p *correlatorv1.Check) { p.Holds[0].Fact = p.NotHolds[0].Fact }},
		{"a counter-example that holds", "not_holds", func(p *correlatorv1.Check) { p.NotHolds[0].Fact = p.Holds[0].Fact }},
		{"an example of another fact", "holds", func(p *correlatorv1.Check) { p.Holds[0].Fact, _ = structpb.NewStruct(map[string]any{"nothing": 1}) }},
		{"a large example", "holds", func(p *correlatorv1.Check) {
			p.Holds[0].Fact, _ = structpb.NewStruct(map[string]any{"name": "telnet", "banner": strings.Repeat("x", maxCheckBytes)})
		}},
	} {
		_, _, err := tried(ownCheck(t, c.edit), all, start)
		if err == nil || fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "check is wrong: check."+c.field+":") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, edit := range []func(*correlatorv1.Check){
		func(*correlatorv1.Check) {}, condition("service.name.matches('^tel.{0,4}$') || service.banner.lowerAscii().contains('telnet')"),
		condition("service.name == 'telnet' && !service.cpe.exists(c, service.weak_algorithms.exists(w, w == c))"),
		condition("service.name == 'telnet' && service.version.olderThan('9') == false && now > timestamp('2020-01-01T00:00:00Z')"),
		factOn("match", "cve", "CVE-2024-1"), func(p *correlatorv1.Check) { p.Group = "remote-access" },
	} {
		p := ownCheck(t, edit)
		if p.GetFact() == "match" {
			p.Condition, p.Summary = "match.cve != '' && match.epss.probability < 0.9", "match.cve"
		}
		if _, _, err := tried(p, all, start); err != nil {
			t.Errorf("%s: %v", p.GetCondition(), err)
		}
	}
	if _, _, err := tried(ownCheck(t, condition(evil)), all, start); err == nil {
		t.Log("the nested repetition is small enough") // RE2 takes linear time: see TestEvilPatterns
	}
}

// evilPatterns are a hundred patterns of the kinds that end backtracking engines.
func evilPatterns() []string {
	bases := []string{
		"(a+)+$", "(a|aa)+$", "(a|a?)+$", "(.*a){10}$", "(.*)*x", "([a-z]+)*$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y", "(.*)(.*)(.*)(.*)[^a]$",
		"(?i)(a+)+$", "(\\\\w+\\\\s?)*$", "^(a?){20}a{20}$", "(a{1,30}){1,3}b", "((a|b)*c)*d", "(?:(?:a+)+)+$", "[^x]*[^x]*[^x]*y", ".*.*.*.*=.*", "(ab|a|b)*z", "(\\\\d+)*\\\\D$",
	}
	var out []string
	for _, b := range bases {
		for _, pre := range []string{"", "^", ".*", "a?", "(?s)"} {
			out = append(out, pre+b)
		}
	}
	return out
}

// TestEvilPatterns: whatever a tenant writes as a pattern is refused or takes time that grows with the text and not beyond it: twice the
// text costs at most a little more than twice, counted in steps of the engine's own budget, up to 64 KiB. BenchmarkEvilPatterns has times.
func TestEvilPatterns(t *testing.T) {
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	tried, accepted := 0, 0
	for i, pattern := range evilPatterns() {
		if testing.Short() && i%10 != 0 {
			continue // one goroutine evaluates: the race detector, which asks for the short run, learns nothing from each
		}
		tried++
		p, _, err := compileBounded(env, "condition", "service.banner.matches('"+pattern+"')", cel.BoolType)
		if err != nil {
			if fault.CodeOf(err) != fault.Invalid {
				t.Errorf("%s: %v", pattern, err)
			}
			continue
		}
		accepted++
		cost := func(n int) uint64 {
			_, details, err := p.Eval(map[string]any{"service": &modelv1.ServiceFact{Banner: strings.Repeat("a", n)}})
			if err != nil || details.ActualCost() == nil {
				t.Fatalf("%s: %v", pattern, err)
			}
			return *details.ActualCost()
		}
		if half, whole := cost(32<<10), cost(64<<10); whole > half*5/2 || whole > maxCost {
			t.Errorf("%s costs %d on 32 KiB and %d on 64 KiB", pattern, half, whole)
		}
	}
	if accepted < tried/2 {
		t.Errorf("%d of %d patterns are accepted: the test shows little", accepted, tried)
	}
}

func BenchmarkEvilPatterns(b *testing.B) {
	env, err := environment()
	if err != nil {
		b.Fatal(err)
	}
	fact := map[string]any{"service": &modelv1.ServiceFact{Banner: strings.Repeat("a", 64<<10)}}
	var worst float64
	for _, pattern := range evilPatterns() {
		p, _, err := compileBounded(env, "condition", "service.banner.matches('"+pattern+"')", cel.BoolType)
		if err != nil {
			continue
		}
		b.Run(pattern, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := p.Eval(fact); err != nil {
					b.Fatal(err)
				}
			}
			worst = max(worst, b.Elapsed().Seconds()*1000/float64(b.N))
			b.ReportMetric(worst, "worst-ms")
		})
	}
}

// BenchmarkCostUnit is what one unit of CEL's cost takes, for the bounds in custom.go.
func BenchmarkCostUnit(b *testing.B) {
	env, err := environment()
	if err != nil {
		b.Fatal(err)
	}
	p, _, err := compileBounded(env, "condition", "service.cpe.all(a, service.cpe.all(b, a.size() + b.size() > 0))", cel.BoolType)
	if err != nil {
		b.Fatal(err)
	}
	f := &modelv1.ServiceFact{}
	for i := range 90 {
		f.Cpe = append(f.Cpe, fmt.Sprint(i))
	}
	var units uint64
	for b.Loop() {
		_, details, err := p.Eval(map[string]any{"service": f})
		if err != nil {
			b.Fatal(err)
		}
		units += *details.ActualCost()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(units), "ns/unit")
}

// TestOwnChecks: a tenant's own check is evaluated on what is stored as soon as it is there, changes with it and goes with it; other
// tenants have none of it.
func TestOwnChecks(t *testing.T) {
	s := newStand(t)
	telnet := &modelv1.ServiceFact{Name: "telnet", Port: 23}
	asset := s.asset(t, "acme", "192.0.2.1", telnet)
	s.asset(t, "other", "192.0.2.1", telnet)
	ctx := as(t, "acme")
	made, err := s.CreateCheck(ctx, &correlatorv1.CreateCheckRequest{Check: ownCheck(t)})
	if err != nil || made.GetName() != "checks/custom/telnet-anywhere" || made.GetVersion() != 1 || !made.GetCustom() {
		t.Fatalf("%v, %v", made, err)
	}
	if _, err := s.CreateCheck(ctx, &correlatorv1.CreateCheckRequest{Check: ownCheck(t)}); !errors.Is(err, fault.AlreadyExists) {
		t.Errorf("made twice: %v", err)
	}
	s.drain(t)
	mine := func(tenant string) []*correlatorv1.Finding {
		res, err := s.ListFindings(as(t, tenant), &correlatorv1.ListFindingsRequest{Filter: `check = "custom/telnet-anywhere"`})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetFindings()
	}
	if f := mine("acme"); len(f) != 1 || f[0].GetSummary() != "Telnet at 192.0.2.1:1/tcp" || f[0].GetAsset() != asset || len(mine("other")) != 0 {
		t.Fatalf("findings %v, of the other tenant %v", f, mine("other"))
	}
	if got := s.scores(t, "acme", "custom/telnet-anywhere"); len(got) != 1 {
		t.Errorf("its risk: %v", got)
	}
	made.Title, made.Condition = "Telnet, still", "service.name == 'telnet' && service.port == 23u"
	if made, err = s.UpdateCheck(ctx, &correlatorv1.UpdateCheckRequest{Check: made}); err != nil || made.GetVersion() != 2 {
		t.Fatalf("%v, %v", made, err)
	}
	s.drain(t)
	if f := mine("acme"); len(f) != 1 || f[0].GetTitle() != "Telnet, still" || f[0].GetCheckVersion() != 2 {
		t.Fatalf("findings %v", f)
	}
	if _, err := s.UpdateCheck(as(t, "other"), &correlatorv1.UpdateCheckRequest{Check: made}); !errors.Is(err, fault.NotFound) {
		t.Errorf("another tenant updates it: %v", err)
	}
	if _, err := s.GetCheck(as(t, "other"), &correlatorv1.GetCheckRequest{Name: made.GetName()}); !errors.Is(err, fault.NotFound) {
		t.Errorf("another tenant reads it: %v", err)
	}
	if _, err := s.DeleteCheck(as(t, "other"), &correlatorv1.DeleteCheckRequest{Name: made.GetName()}); !errors.Is(err, fault.NotFound) {
		t.Errorf("another tenant deletes it: %v", err)
	}
	if off, err := s.DisableCheck(ctx, &correlatorv1.DisableCheckRequest{Name: made.GetName()}); err != nil || !off.GetDisabled() {
		t.Errorf("%v, %v", off, err)
	}
	s.drain(t)
	if f := mine("acme"); len(f) != 0 {
		t.Errorf("it is switched off and has %v", f)
	}
	if on, err := s.EnableCheck(ctx, &correlatorv1.EnableCheckRequest{Name: made.GetName()}); err != nil || on.GetDisabled() {
		t.Errorf("%v, %v", on, err)
	}
	s.drain(t)
	if f := mine("acme"); len(f) != 1 {
		t.Errorf("it is switched on and has %v", f)
	}
	if _, err := s.DeleteCheck(ctx, &correlatorv1.DeleteCheckRequest{Name: made.GetName()}); err != nil {
		t.Fatal(err)
	}
	s.drain(t)
	if f := mine("acme"); len(f) != 0 {
		t.Errorf("it is deleted and has %v", f)
	}
}

// TestShippedCheckOff: a shipped check is switched off for one tenant, whose findings of it go.
func TestShippedCheckOff(t *testing.T) {
	s := newStand(t)
	redis := &modelv1.ServiceFact{Name: "redis", Unauthenticated: true}
	for _, tenant := range []string{"acme", "other"} {
		s.asset(t, tenant, "192.0.2.1", redis)
	}
	if _, err := s.DisableCheck(as(t, "acme"), &correlatorv1.DisableCheckRequest{Name: "checks/service-redis-unauthenticated"}); err != nil {
		t.Fatal(err)
	}
	s.drain(t)
	for tenant, want := range map[string]int{"acme": 0, "other": 1} {
		res, err := s.ListFindings(as(t, tenant), &correlatorv1.ListFindingsRequest{Filter: `check = "service-redis-unauthenticated"`})
		if err != nil || len(res.GetFindings()) != want {
			t.Errorf("%s has %v, %v", tenant, res.GetFindings(), err)
		}
		list, err := s.ListChecks(as(t, tenant), &correlatorv1.ListChecksRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list.GetChecks() {
			if k.GetDisabled() != (k.GetId() == "service-redis-unauthenticated" && tenant == "acme") {
				t.Errorf("%s: %s is off: %v", tenant, k.GetId(), k.GetDisabled())
			}
		}
	}
	if _, err := s.DisableCheck(as(t, "acme"), &correlatorv1.DisableCheckRequest{Name: "checks/nothing"}); !errors.Is(err, fault.NotFound) {
		t.Errorf("a check that does not exist: %v", err)
	}
}

// TestFailingCheck: a check that fails on a stored fact breaks nothing, is told on the check, and what it found before stays not re-tested.
func TestFailingCheck(t *testing.T) {
	s := newStand(t)
	ctx := as(t, "acme")
	p := ownCheck(t, condition("service.name == 'telnet' && (service.details['mode'] == 'line')"))
	p.Holds[0].Fact, _ = structpb.NewStruct(map[string]any{"name": "telnet", "details": map[string]any{"mode": "line"}})
	if _, err := s.CreateCheck(ctx, &correlatorv1.CreateCheckRequest{Check: p}); err != nil {
		t.Fatal(err)
	}
	name := s.asset(t, "acme", "192.0.2.1", &modelv1.ServiceFact{Name: "telnet", Details: map[string]string{"mode": "line"}})
	s.world.states["acme"+name] = nextState(s.world.states["acme"+name], &modelv1.ServiceFact{Name: "telnet"})
	if _, err := s.evaluate(s.self(t.Context(), "acme"), "acme", name, false); err != nil {
		t.Fatal(err)
	}
	s.drain(t)
	res, err := s.GetAssetFindings(ctx, &correlatorv1.GetAssetFindingsRequest{Asset: name})
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string]*correlatorv1.Finding{}
	for _, f := range res.GetFindings() {
		checks[f.GetCheck()] = f
	}
	if f := checks["custom/telnet-anywhere"]; f.GetState() != correlatorv1.Finding_STATE_OPEN || !f.GetNotRetested() {
		t.Errorf("its finding: %v", f)
	}
	if len(checks) < 2 {
		t.Errorf("the other checks found nothing: %v", checks)
	}
	got, err := s.GetCheck(ctx, &correlatorv1.GetCheckRequest{Name: "checks/custom/telnet-anywhere"})
	if err != nil || !strings.Contains(got.GetProblem().GetMessage(), "no such key") || got.GetProblem().GetAsset() != name {
		t.Errorf("%v, %v", got.GetProblem(), err)
	}
}

func nextState(s *ingestv1.GetAssetStateResponse, facts ...*modelv1.ServiceFact) *ingestv1.GetAssetStateResponse {
	s = proto.CloneOf(s)
	s.Version++
	for i, f := range facts {
		set := serviceSet(s.GetSets()[i].GetLocation(), f)
		set.Observations[0].LastSeen, set.CompleteAt, set.ScannedAt = at(9), at(9), at(9)
		s.Sets[i] = set
	}
	return s
}

// TestBudget: checks that take long on a large fact are ended, each by its own bound and all by the evaluation's, and the shipped ones go on.
func TestBudget(t *testing.T) {
	all := catalogue(t)
	most := MaxCustomChecks
	if testing.Short() {
		most = 20 // twice what spends the whole budget: one goroutine evaluates, and the race detector slows CEL down by twenty
	}
	var own []*correlatorv1.Check
	for i := range most {
		own = append(own, ownCheck(t, func(p *correlatorv1.Check) {
			p.Id = fmt.Sprintf("slow-%d", i)
			p.Condition = "service.cpe.all(a, service.cpe.all(b, a != b + 'x'))"
		}))
	}
	huge := &modelv1.ServiceFact{Name: "redis", Unauthenticated: true}
	for i := range 5000 {
		huge.Cpe = append(huge.Cpe, fmt.Sprint(i))
	}
	joined := (&Service{}).join(t.Context(), all, own, nil)
	if len(joined.checks) != len(all.checks)+most {
		t.Fatalf("%d checks", len(joined.checks))
	}
	v, err := newEvaluation(Input{Asset: host, Sets: []*modelv1.ObservationSet{serviceSet("h:1/tcp", huge)}, Catalogue: joined, Now: start})
	if err == nil {
		err = v.hold()
	}
	if err != nil || v.spent > maxSpent+maxCost {
		t.Errorf("%v, spent %d", err, v.spent)
	}
	found := false
	for _, f := range v.held {
		found = found || f.GetCheck() == "service-redis-unauthenticated"
	}
	if !found || len(v.problems) != most {
		t.Errorf("the shipped check holds: %v; %d problems", found, len(v.problems))
	}
}

func TestAtMostSoMany(t *testing.T) {
	s := newStand(t)
	for i := range MaxCustomChecks + 1 {
		_, err := s.CreateCheck(as(t, "acme"), &correlatorv1.CreateCheckRequest{Check: ownCheck(t, func(p *correlatorv1.Check) { p.Id = fmt.Sprint("c-", i) })})
		if i < MaxCustomChecks && err != nil || i == MaxCustomChecks && !errors.Is(err, fault.ResourceExhausted) {
			t.Fatalf("check %d: %v", i, err)
		}
	}
}

// FuzzCustomCheck: whatever a tenant sends is refused or evaluated, within its bounds.
func FuzzCustomCheck(f *testing.F) {
	f.Add("service.name == 'telnet'", "'x'", "a")
	f.Add("service.cpe.exists(c, c.matches('(a+)+$'))", "service.banner + service.banner", "custom/b-1")
	f.Add(strings.Repeat("[", 500), "''", "")
	f.Fuzz(func(t *testing.T, condition, summary, id string) {
		all, err := shipped()
		if err != nil {
			t.Fatal(err)
		}
		k, err := customCheck(ownCheck(t, func(p *correlatorv1.Check) { p.Condition, p.Summary, p.Id = condition, summary, id }), all)
		if err != nil {
			return
		}
		if _, err := k.compiled(); err != nil {
			return
		}
		v := &evaluation{Input: Input{Asset: host, Now: start}}
		o := serviceSet("h:1/tcp", &modelv1.ServiceFact{Name: "telnet", Banner: strings.Repeat("a", 2048), Cpe: make([]string, 200)}).GetObservations()[0]
		_, _ = v.holdsWithin(k, newScene(o, host, start, &others{}))
		_ = k.summarise(newScene(o, host, start, &others{}))
		if v.spent > 2*maxCost {
			t.Fatalf("%q cost %d", condition, v.spent)
		}
	})
}
