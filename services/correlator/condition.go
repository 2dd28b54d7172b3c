package correlator

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"google.golang.org/protobuf/reflect/protoreflect"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// maxSummary bounds the line that a check fills in.
const maxSummary = 300

// environment is what conditions can name: the fact under its name, the asset, the observation, now, and a few functions.
// Making it takes milliseconds, so it is made when the first condition is compiled.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.Container("riskprofiler.model.v1"),
		cel.Types(&modelv1.Observation{}, &modelv1.Asset{}, &correlatorv1.VulnerabilityMatch{}, &correlatorv1.OtherFacts{}),
		cel.Variable("asset", cel.ObjectType("riskprofiler.model.v1.Asset")),
		cel.Variable("observation", cel.ObjectType("riskprofiler.model.v1.Observation")),
		cel.Variable("now", cel.TimestampType),
		// What else is known about the asset.
		cel.Variable(othersName, cel.ObjectType("riskprofiler.correlator.v1.OtherFacts")),
		// All vulnerabilities of the product, worst first; in a summary those of the finding.
		cel.Variable("matches", cel.ListType(cel.ObjectType("riskprofiler.correlator.v1.VulnerabilityMatch"))),
		ext.Strings(),
		cel.Function("olderThan", cel.MemberOverload("string_older_than_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				v, ok1 := a.Value().(string)
				w, ok2 := b.Value().(string)
				return types.Bool(ok1 && ok2 && olderThan(v, w))
			}))),
	}
	for name, f := range facts {
		options = append(options, cel.Variable(name, cel.ObjectType(string(f.message.ProtoReflect().Descriptor().FullName()))))
	}
	return cel.NewEnv(options...)
})

func compile(k *check) (*program, error) {
	env, err := environment()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "make condition environment")
	}
	holds, condition, err := compileOne(env, k.Condition, cel.BoolType)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "condition of %s", k.ID)
	}
	summary, _, err := compileOne(env, k.Summary, cel.StringType)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "summary of %s", k.ID)
	}
	quick := screenOf(condition.NativeRep().Expr(), k.Fact, facts[k.Fact].message.ProtoReflect().Descriptor())
	return &program{screen: quick, holds: holds, summary: summary, joined: joinedScans(condition.NativeRep().Expr())}, nil
}

func compileOne(env *cel.Env, text string, want *cel.Type) (cel.Program, *cel.Ast, error) {
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, nil, issues.Err()
	}
	if !ast.OutputType().IsExactType(want) {
		return nil, nil, fault.New(fault.Invalid, "it gives %s and not %s", ast.OutputType(), want)
	}
	// No cost limit: the shipped conditions are ours, CEL has no loops but over lists, and the lists of facts are bounded.
	// Counting costs would double the time of every evaluation.
	p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	return p, ast, err
}

// scene is what a condition sees.
type scene struct {
	name      string
	fact      protoreflect.Message
	variables map[string]any
}

// newScene makes the scene of one observation, for all the checks that read it. What it is joined with is computed when a condition asks
// for it.
func newScene(o *modelv1.Observation, asset *modelv1.Asset, now time.Time, beside *others) scene {
	name, fact := factOf(o)
	if fact == nil {
		return scene{}
	}
	return scene{name: name, fact: fact.ProtoReflect(), variables: map[string]any{
		name: fact, "asset": asset, "observation": o, "now": now, othersName: func() any { return beside.about(o) },
	}}
}

// holds evaluates a check on one fact.
func (k *check) holds(s scene) (bool, error) {
	p, err := k.compiled()
	if err != nil {
		return false, err
	}
	if passes := p.screen.passes(s.fact); !passes || p.screen.whole {
		return passes, nil
	}
	out, _, err := p.holds.Eval(s.variables)
	if err != nil {
		return false, fault.Wrap(fault.Internal, err, "evaluate check %s", k.ID)
	}
	held, _ := out.Value().(bool)
	return held, nil
}

// summarise fills in a check's line. A line that cannot be filled in is the title: it never stops a finding.
func (k *check) summarise(s scene) string {
	p, err := k.compiled()
	if err != nil {
		return k.Title
	}
	out, _, err := p.summary.Eval(s.variables)
	if err != nil {
		return k.Title
	}
	text, ok := out.Value().(string)
	if !ok || text == "" {
		return k.Title
	}
	return cut(text, maxSummary)
}

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// olderThan compares versions by their numbers, as "7.2p2" with "8.0": digits are compared as numbers, everything else
// separates. A version without a number is older than nothing: nothing is known about it.
func olderThan(a, b string) bool {
	x, y := numbers(a), numbers(b)
	if len(x) == 0 {
		return false
	}
	for i := range max(len(x), len(y)) {
		var m, n int
		if i < len(x) {
			m = x[i]
		}
		if i < len(y) {
			n = y[i]
		}
		if m != n {
			return m < n
		}
	}
	return false
}

func numbers(v string) []int {
	var out []int
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return out
		}
		out = append(out, n)
	}
	return out
}
