package workflow

import (
	"encoding/json"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Resources of Task states: the optimized integrations of AWS that are in the subset.
// https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html and connect-sqs.html
const (
	resourceInvoke    = "arn:aws:states:::lambda:invoke"
	resourceSend      = "arn:aws:states:::sqs:sendMessage"
	resourceSendToken = resourceSend + ".waitForTaskToken"
)

// Machine is a definition that was checked and compiled. It never changes.
type Machine struct {
	flow    *flow
	timeout time.Duration // 0: none
}

// flow is a StartAt with its States: of the machine, of a branch or of an item processor.
type flow struct {
	start  string
	states map[string]*state
}

type kind string

const (
	kindTask     kind = "Task"
	kindMap      kind = "Map"
	kindParallel kind = "Parallel"
	kindChoice   kind = "Choice"
	kindWait     kind = "Wait"
	kindPass     kind = "Pass"
	kindSucceed  kind = "Succeed"
	kindFail     kind = "Fail"
)

type state struct {
	name     string
	kind     kind
	input    selection // InputPath
	output   selection // OutputPath
	template node      // Parameters, nil if there are none
	selector node      // ResultSelector, nil if there is none
	result   *path     // ResultPath, nil if it is null
	next     string    // empty in an end state
	retriers []retrier
	catchers []catcher
	// usesClock: a path reads $$.State.EnteredTime, so the time has to be the same in a replay.
	usesClock bool

	constant *literal // Result of a Pass
	task     *task
	fan      *fan
	choice   *choice
	wait     *wait
	fail     *failState
}

// selection is an InputPath or OutputPath. The zero value is the empty object that null stands for.
type selection struct{ path *path }

type task struct {
	resource  string
	timeout   quantity // seconds
	heartbeat quantity // seconds
}

// awaits says that the task ends when its token is completed.
func (t *task) awaits() bool { return t.resource == resourceSendToken }

// fan is what Map and Parallel have in common: flows that run at the same time.
type fan struct {
	branches []*flow // of a Parallel
	iterator *flow   // of a Map, and the rest too
	items    *path
	selector node // ItemSelector
	limit    quantity
}

type choice struct {
	rules    []rule
	next     []string // for each rule
	fallback string   // Default
}

type wait struct {
	seconds quantity
	until   *time.Time
	path    *path // TimestampPath
}

type failState struct{ err, cause node } // nil: none

// quantity is a whole number that stands in the definition or is found by a path.
type quantity struct {
	set   bool
	fixed int
	path  *path
}

// longest number that is accepted for seconds, as TimeoutSeconds and Wait have on AWS.
const maxSeconds = 99999999

// in finds the quantity. Without one it is 0.
func (q quantity) in(s *scope, least int) (int, error) {
	if q.path == nil {
		return q.fixed, nil
	}
	v, ok := q.path.get(s)
	n, isNumber := v.(json.Number)
	if !ok || !isNumber {
		return 0, failed(ErrorRuntime, "path %s finds no number", q.path.text)
	}
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || f < float64(least) || f > maxSeconds {
		return 0, failed(ErrorRuntime, "path %s finds %s, a whole number from %d to %d is needed",
			q.path.text, n, least, maxSeconds)
	}
	return int(f), nil
}

func (q quantity) secondsIn(s *scope, least int) (time.Duration, error) {
	n, err := q.in(s, least)
	return time.Duration(n) * time.Second, err
}

// A step's path names one execution of one state: for every level the escaped name of the state,
// ":", how often this flow visited it before, ".", how often this visit was tried before; levels are
// joined by the number of the iteration or branch, as in "Wave:2.0[7]/Scan:0.1".
const (
	// counterBytes is room for both counters, the number of the iteration and the separators.
	counterBytes = 32
	// maxStepBytes bounds a path so that its key (MaxSortKeyBytes of table) and its token fit.
	maxStepBytes = 512
)

// ancestors are the paths of the Map and Parallel states around a step.
func ancestors(path string) []string {
	var out []string
	for i := range len(path) {
		if path[i] == '/' {
			out = append(out, path[:strings.LastIndexByte(path[:i], '[')])
		}
	}
	return out
}

// longestPath is how long the path of a step can get.
func (f *flow) longestPath() int {
	longest := 0
	for name, s := range f.states {
		n := len(url.PathEscape(name)) + counterBytes
		deeper := 0
		for _, inner := range s.flows() {
			deeper = max(deeper, inner.longestPath())
		}
		longest = max(longest, n+deeper)
	}
	return longest
}

// flows are the flows inside a state.
func (s *state) flows() []*flow {
	switch s.kind {
	case kindMap:
		return []*flow{s.fan.iterator}
	case kindParallel:
		return s.fan.branches
	}
	return nil
}

// successors are the states that may follow a state.
func (s *state) successors() []string {
	var out []string
	if s.next != "" {
		out = append(out, s.next)
	}
	for _, c := range s.catchers {
		out = append(out, c.next)
	}
	if s.choice != nil {
		out = append(out, s.choice.next...)
		if s.choice.fallback != "" {
			out = append(out, s.choice.fallback)
		}
	}
	return out
}

// Substitute replaces every ${Name} in a definition by the value under Name, as CloudFormation does
// with the DefinitionSubstitutions of the same file
// (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-stepfunctions-statemachine.html).
// A placeholder without a value is [fault.Invalid].
func Substitute(definition []byte, resources map[string]string) ([]byte, error) {
	rest := string(definition)
	var out strings.Builder
	for {
		before, after, found := strings.Cut(rest, "${")
		out.WriteString(before)
		if !found {
			return []byte(out.String()), nil
		}
		name, tail, closed := strings.Cut(after, "}")
		value, known := resources[name]
		if !closed || !known {
			return nil, fault.New(fault.Invalid, "substitute definition: no value for ${%s}", clip(name, 80))
		}
		raw, err := encode(value)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "substitute ${%s}", name)
		}
		out.Write(raw[1 : len(raw)-1]) // the placeholder stands inside a JSON string
		rest = tail
	}
}
