package correlator

import (
	"testing"

	"cel.dev/cel-go/cel"
	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// TestScreenAgreesWithCEL: leaving CEL out never changes an answer, whatever the fact.
func TestScreenAgreesWithCEL(t *testing.T) {
	catalogue, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"": true, "unknown": true}
	screened := 0
	for _, k := range catalogue.byFact["service"] {
		p, err := k.compiled()
		if err != nil {
			t.Fatal(err)
		}
		for _, t := range p.screen.terms {
			for _, v := range t.values {
				names[v] = true
			}
		}
		if len(p.screen.terms) > 0 {
			screened++
		}
	}
	if all := len(catalogue.byFact["service"]); screened < all*3/4 {
		t.Errorf("%d of %d service checks have a screen", screened, all)
	}
	choices := make([]string, 0, len(names))
	for n := range names {
		choices = append(choices, n)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := newScene(&modelv1.Observation{Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{
			Name: rapid.SampledFrom(choices).Draw(t, "name"), Unauthenticated: rapid.Bool().Draw(t, "open"), Tls: rapid.Bool().Draw(t, "tls"),
			Product: rapid.SampledFrom([]string{"", "OpenSSH", "Redis"}).Draw(t, "product"),
			Version: rapid.SampledFrom([]string{"", "7.2", "9.9"}).Draw(t, "version"),
		}}}, &modelv1.Asset{}, start, &others{})
		for _, k := range catalogue.byFact["service"] {
			p, err := k.compiled()
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := p.holds.Eval(s.variables)
			if err != nil {
				t.Fatal(err)
			}
			got, err := k.holds(s)
			if err != nil || got != out.Value().(bool) {
				t.Fatalf("%s: %v, %v; CEL says %v", k.ID, got, err, out.Value())
			}
		}
	})
}

// TestScreenOf: what is and is not taken for a screen.
func TestScreenOf(t *testing.T) {
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		condition string
		terms     int
		whole     bool
	}{
		{"service.name == 'ssh' && service.tls", 2, true},
		{"service.tls && service.name in ['a', 'b']", 2, true},
		{"service.name != 'a' && !service.tls && !(service.name in ['b'])", 3, true},
		{"service.name == 'a' && service.port == 1u", 1, false},
		{"service.name in ['a', service.product]", 0, false},
		{"service.name == 'a' || service.tls", 0, false},
		{"asset.value == 'a'", 0, false},
		{"service.name in []", 0, false},
		{"service.tls && (service.weak_algorithms.size() > 0 && service.name == 'x')", 2, false},
	} {
		_, ast, err := compileOne(env, c.condition, cel.BoolType)
		if err != nil {
			t.Fatal(err)
		}
		got := screenOf(ast.NativeRep().Expr(), "service", (&modelv1.ServiceFact{}).ProtoReflect().Descriptor())
		if len(got.terms) != c.terms || got.whole != c.whole {
			t.Errorf("%s: %d terms, whole %v; want %d, %v", c.condition, len(got.terms), got.whole, c.terms, c.whole)
		}
	}
}
