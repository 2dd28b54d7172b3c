package correlator

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/ast"
	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// customPrefix begins the ids of checks that a tenant made.
const customPrefix = "custom/"

// Bounds of a tenant's own checks. A condition comes from outside and runs in our process, beside those of others.
const (
	// MaxCustomChecks bounds the checks of one tenant.
	MaxCustomChecks = 100
	// maxExpression bounds a condition and a summary in characters, maxText every other text.
	maxExpression = 4096
	maxText       = 4096
	maxTitle      = 200
	maxList       = 20
	// maxCheckBytes bounds a check with its examples.
	maxCheckBytes = 64 << 10
	// maxNodes bounds the parts of an expression.
	maxNodes = 1000
	// maxPattern bounds a regular expression in characters and maxInstructions its compiled program: RE2 takes time proportional to the
	// program times the text, and repetitions make a long program of a short pattern. 60 steps over 64 KiB take 35 ms here
	// (BenchmarkEvilPatterns).
	maxPattern      = 256
	maxInstructions = 60
	// maxEstimate bounds what a condition may cost on a large fact by CEL's own estimate, and maxCost what one evaluation really takes
	// before it is ended: about 70 ms here, as a unit takes up to 0.7 us (BenchmarkCostUnit).
	maxEstimate = 1_000_000
	maxCost     = 100_000
	// maxSpent bounds all custom checks of one evaluation of one asset together.
	maxSpent = 1_000_000
	// Sizes that the estimate counts with: of texts and of lists in facts. Longer ones are met by maxCost.
	estimatedText = 128
	estimatedList = 128
)

// allowed are the functions beside operators and macros that a tenant's own check may use. Left out is what makes long texts of short
// ones without a cost: replace, join, format, split and the like.
var allowed = map[string]bool{
	"contains": true, "startsWith": true, "endsWith": true, "matches": true, "size": true, "olderThan": true, "lowerAscii": true, "upperAscii": true,
	"trim": true, "indexOf": true, "string": true, "int": true, "uint": true, "double": true, "timestamp": true, "duration": true, "getFullYear": true,
	"getMonth": true, "getDate": true, "getDayOfWeek": true, "getHours": true, "type": true, "dyn": true,
}

var customID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`) })

// checkName is the resource name of a check.
func checkName(id string) string { return "checks/" + id }

// idOf is the id of a tenant's own check: with its prefix, whether it was given with it or not.
func idOf(p *correlatorv1.Check) string {
	id := p.GetId()
	if id == "" {
		id = strings.TrimPrefix(p.GetName(), "checks/")
	}
	return customPrefix + strings.TrimPrefix(id, customPrefix)
}

// wrong is the error about one field of a check.
func wrong(field, format string, args ...any) error {
	return fault.WithField(fault.New(fault.Invalid, "check is wrong"), "check."+field, fmt.Sprintf(format, args...))
}

// customCheck makes a check of what a tenant wrote, and refuses what is wrong with it but for its expressions, which compile judges.
func customCheck(p *correlatorv1.Check, shipped *Catalogue) (*check, error) {
	k := &check{
		ID: idOf(p), Version: max(p.GetVersion(), 1), Title: p.GetTitle(), Fact: p.GetFact(), Condition: p.GetCondition(), Summary: p.GetSummary(),
		Group: p.GetGroup(), Inferred: p.GetInferred(), Description: p.GetDescription(), Remediation: p.GetRemediation(), CWE: p.GetCwe(),
		References: p.GetReferences(), severity: p.GetSeverity(), custom: true,
	}
	k.Severity = severityText(k.severity)
	if k.Group == "" || k.Group == k.ID {
		k.Group = k.ID // a decision of its own
	} else if shipped.groups[k.Group] == nil {
		return nil, wrong("group", "%q is not known; leave it empty, or use one of %s", k.Group, strings.Join(slices.Sorted(maps.Keys(shipped.groups)), ", "))
	}
	if err := checkTexts(p); err != nil {
		return nil, err
	}
	switch {
	case !customID().MatchString(strings.TrimPrefix(k.ID, customPrefix)) || len(k.ID) > 64:
		return nil, wrong("id", "it has letters a to z, digits and single hyphens, at most %d", 64-len(customPrefix))
	case modelv1.Severity_name[int32(k.severity)] == "" || k.severity == modelv1.Severity_SEVERITY_UNSPECIFIED:
		return nil, wrong("severity", "use SEVERITY_INFO, LOW, MEDIUM, HIGH or CRITICAL")
	case facts[k.Fact] == nil:
		return nil, wrong("fact", "%q is none of %s", k.Fact, strings.Join(slices.Sorted(maps.Keys(facts)), ", "))
	case len(k.CWE) > maxList || len(k.References) > maxList:
		return nil, wrong("references", "there are at most %d", maxList)
	case proto.Size(p) > maxCheckBytes:
		return nil, wrong("holds", "with its examples the check has %d bytes, the most is %d", proto.Size(p), maxCheckBytes)
	}
	k.compiled = sync.OnceValues(func() (*program, error) { return compileCustom(k) })
	return k, nil
}

func checkTexts(p *correlatorv1.Check) error {
	for _, f := range []struct {
		name, text string
		most       int
		optional   bool
	}{
		{"title", p.GetTitle(), maxTitle, false}, {"condition", p.GetCondition(), maxExpression, false}, {"summary", p.GetSummary(), maxExpression, false},
		{"description", p.GetDescription(), maxText, false}, {"remediation", p.GetRemediation(), maxText, false},
	} {
		switch {
		case strings.TrimSpace(f.text) == "" && !f.optional:
			return wrong(f.name, "it is needed")
		case len(f.text) > f.most:
			return wrong(f.name, "it has %d bytes, the most is %d", len(f.text), f.most)
		case strings.ContainsFunc(f.text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Cf, r) }):
			return wrong(f.name, "it has control characters")
		}
	}
	for _, r := range p.GetReferences() {
		if !strings.HasPrefix(r, "https://") || len(r) > maxTitle*2 || strings.ContainsFunc(r, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			return wrong("references", "%q is no https address", r)
		}
	}
	for _, c := range p.GetCwe() {
		if !strings.HasPrefix(c, "CWE-") || len(c) > 12 {
			return wrong("cwe", "%q is no CWE id such as CWE-306", c)
		}
	}
	return nil
}

// compileCustom compiles a tenant's own check within its bounds.
func compileCustom(k *check) (*program, error) {
	env, err := environment()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "make condition environment")
	}
	holds, joined, err := compileBounded(env, "condition", k.Condition, cel.BoolType)
	if err != nil {
		return nil, err
	}
	summary, _, err := compileBounded(env, "summary", k.Summary, cel.StringType)
	if err != nil {
		return nil, err
	}
	return &program{holds: holds, summary: summary, joined: joined}, nil
}

func compileBounded(env *cel.Env, field, text string, want *cel.Type) (cel.Program, []modelv1.ScanType, error) {
	if len(text) > maxExpression {
		return nil, nil, wrong(field, "it has %d bytes, the most is %d", len(text), maxExpression)
	}
	a, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, nil, wrong(field, "%s", oneLine(issues.Err().Error()))
	}
	if !a.OutputType().IsExactType(want) {
		return nil, nil, wrong(field, "it gives %s and not %s", a.OutputType(), want)
	}
	if err := checkNodes(field, a.NativeRep().Expr()); err != nil {
		return nil, nil, err
	}
	cost, err := env.EstimateCost(a, sizes{})
	if err != nil {
		return nil, nil, wrong(field, "what it may cost cannot be told: %s", oneLine(err.Error()))
	}
	if cost.Max > maxEstimate {
		return nil, nil, wrong(field, "it may cost %d on a large fact, the most is %d; go over lists inside of lists less", cost.Max, maxEstimate)
	}
	p, err := env.Program(a, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, nil, wrong(field, "%s", oneLine(err.Error()))
	}
	return p, joinedScans(a.NativeRep().Expr()), nil
}

// estimate is what a condition may cost on a large fact.
func estimate(text string) (uint64, error) {
	env, err := environment()
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "make condition environment")
	}
	a, issues := env.Compile(text)
	if issues.Err() != nil {
		return 0, wrong("condition", "%s", oneLine(issues.Err().Error()))
	}
	cost, err := env.EstimateCost(a, sizes{})
	return cost.Max, err
}

// checkNodes refuses functions that are not allowed, and patterns that are long, compiled large, or not written down.
func checkNodes(field string, e ast.Expr) error {
	nodes := 0
	var problem error
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if nodes++; problem != nil || e.Kind() != ast.CallKind {
			return
		}
		name := e.AsCall().FunctionName()
		operator := strings.ContainsAny(name, "_@!-") // those of the language: _&&_, !_, -_, @in, _[_], _?_:_
		switch {
		case !operator && !allowed[name]:
			problem = wrong(field, "%s is not allowed; use %s", name, strings.Join(slices.Sorted(maps.Keys(allowed)), ", "))
		case name == "matches":
			problem = checkPattern(field, e.AsCall())
		}
	}))
	if problem == nil && nodes > maxNodes {
		problem = wrong(field, "it has %d parts, the most is %d", nodes, maxNodes)
	}
	return problem
}

func checkPattern(field string, call ast.CallExpr) error {
	args := call.Args()
	last := texts(args[len(args)-1])
	if len(last) != 1 {
		return wrong(field, "the pattern of matches must be written down as a text")
	}
	if len(last[0]) > maxPattern {
		return wrong(field, "a pattern has %d characters, the most is %d", len(last[0]), maxPattern)
	}
	re, err := syntax.Parse(last[0], syntax.Perl)
	if err != nil {
		return wrong(field, "pattern %q: %s", last[0], oneLine(err.Error()))
	}
	p, err := syntax.Compile(re.Simplify())
	if err != nil {
		return wrong(field, "pattern %q: %s", last[0], oneLine(err.Error()))
	}
	if len(p.Inst) > maxInstructions {
		return wrong(field, "pattern %q becomes a program of %d steps, the most is %d; repeat less in it", last[0], len(p.Inst), maxInstructions)
	}
	return nil
}

func oneLine(text string) string { return cut(strings.Join(strings.Fields(text), " "), maxSummary) }

// sizes tells the estimate how large facts are.
type sizes struct{}

// EstimateSize is by type: all texts and lists of facts are bounded where they are made.
func (sizes) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	switch n.Type().Kind() {
	case cel.StringKind, cel.BytesKind:
		return &checker.SizeEstimate{Min: 0, Max: estimatedText}
	case cel.ListKind, cel.MapKind:
		return &checker.SizeEstimate{Min: 0, Max: estimatedList}
	}
	return nil
}

// EstimateCallCost leaves the functions of the language to CEL and counts ours by the texts that they read.
func (sizes) EstimateCallCost(function, _ string, _ *checker.AstNode, args []checker.AstNode) *checker.CallEstimate {
	if function == "olderThan" || function == "lowerAscii" || function == "upperAscii" || function == "trim" || function == "indexOf" {
		return &checker.CallEstimate{CostEstimate: checker.CostEstimate{Min: 1, Max: estimatedText * uint64(max(1, len(args)))}}
	}
	return nil
}

// holdsWithin evaluates a tenant's own check within the bounds of its cost and of the evaluation's.
func (v *evaluation) holdsWithin(k *check, s scene) (bool, error) {
	p, err := k.compiled()
	if err != nil {
		return false, err
	}
	if v.spent >= maxSpent {
		return false, fault.New(fault.ResourceExhausted, "the checks of the tenant cost more than %d on this asset", maxSpent)
	}
	out, details, err := p.holds.Eval(s.variables)
	if cost := details.ActualCost(); cost != nil {
		v.spent += *cost
	}
	if err != nil {
		v.spent += maxCost / 100 // an error costs too
		return false, fault.New(fault.Invalid, "%s", oneLine(err.Error()))
	}
	held, _ := out.Value().(bool)
	return held, nil
}
