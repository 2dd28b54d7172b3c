//go:build awstest

package asl

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is one of the examples that platform/workflow holds our interpreter to.
type golden struct {
	About      string
	Definition json.RawMessage
	Input      json.RawMessage
	Answers    map[string][]outcome
	Concurrent bool
	Want       struct {
		Status  string
		Output  json.RawMessage
		Error   string
		Cause   string
		States  []string
		Elapsed int
	}
}

// differences are the examples in which the other interpreter does otherwise, with what it does and who is right.
var differences = map[string]string{
	"data/a Pass without fields copies its input": "it reads numbers as JavaScript does and loses digits beyond 2^53; " +
		"the States Language leaves the precision to the interpreter",
	"data/a payload template takes values from input, context and functions": "it has no negative indexes, no $$.State and no " +
		"$$.StateMachine; Step Functions has",
	"data/a path in a template that finds nothing": "it reports States.Runtime, the States Language says " +
		"States.ParameterPathFailure; no definition of ours catches either",
	"data/an intrinsic function that fails":   "it reports States.Runtime, the States Language says States.IntrinsicFailure",
	"errors/MaxDelaySeconds limits the pause": "it has no $$.State.RetryCount; times and order agree",
	"errors/a missed heartbeat is a States.Timeout that can be told apart": "it has no heartbeats, and it reads TimeoutSecondsPath " +
		"from what Parameters made, where we read the state's input: to confirm on a real account, no definition of ours uses it",
	"errors/failures of templates are retried and caught as those of tasks": "it reports States.Runtime for them, which nothing catches",
	"flow/Fail with texts from the input":                                   "it takes no intrinsic function in CausePath; Step Functions does",
	"flow/nested Maps show their own item, and Parameters is the old name of ItemSelector": "it shows $$.Map only to ItemSelector, " +
		"not to the states inside; Step Functions shows it to both",
	"flow/a failing iteration fails the Map": "its States.TaskFailed catches only what a Task itself reports; Step Functions says it " +
		"matches every error but States.Timeout",
}

// TestGolden holds the other interpreter to the examples of ours, which were written from the text of the States Language.
func TestGolden(t *testing.T) {
	o := theOracle(t)
	files, err := filepath.Glob("../../platform/workflow/testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	agreed := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []golden
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range cases {
			name := strings.TrimSuffix(filepath.Base(file), ".json") + "/" + g.About
			t.Run(name, func(t *testing.T) {
				diff := o.differs(t, g)
				why, known := differences[name]
				switch {
				case known && diff == "":
					t.Errorf("the other interpreter does not differ any more: %s", why)
				case !known && diff != "":
					t.Errorf("the other interpreter differs (-ours +other):\n%s", diff)
				case diff == "":
					agreed++
				}
			})
		}
	}
	t.Logf("both agree in %d examples and differ in %d that have a name", agreed, len(differences))
}

func (o *oracle) differs(t *testing.T, g golden) string {
	if why := o.validate(t, g.Definition); why != "" {
		return "asl-validator: " + why
	}
	input := g.Input
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	got := o.run(t, g.Definition, input, g.script())
	want := result{
		Status: g.Want.Status, Output: canonical(t, g.Want.Output), Error: g.Want.Error, Cause: g.Want.Cause,
		States: g.Want.States, Seconds: float64(g.Want.Elapsed),
	}
	got.Seconds = float64(int(got.Seconds))
	if g.Concurrent {
		slices.Sort(got.States)
		slices.Sort(want.States)
	}
	if want.Cause == "" || strings.HasPrefix(want.Error, "States.") {
		got.Cause, want.Cause = "", "" // free text
	}
	if want.Error == "" {
		got.Error = ""
	}
	got.Calls = nil
	return cmp.Diff(want, got, cmp.AllowUnexported(result{}), cmp.FilterPath(func(p cmp.Path) bool {
		return p.String() == "fan"
	}, cmp.Ignore()))
}

func (g golden) script() *script {
	return &script{decide: func(name, request string) outcome {
		if len(g.Answers[name]) == 0 {
			return outcome{Output: json.RawMessage(request)}
		}
		a := g.Answers[name][0]
		g.Answers[name] = g.Answers[name][1:]
		return a
	}}
}
