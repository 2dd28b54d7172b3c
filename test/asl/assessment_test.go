//go:build awstest

package asl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// assessment is the machine that the scheduler deploys, as it is.
func assessment(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../services/scheduler/assessment.asl.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err = workflow.Substitute(text, map[string]string{
		"scheduler": "scheduler", "correlator": "correlator", "reporter": "reporter",
		"QueuePrefix": "https://sqs.test/rp-", "QueueSuffix": ".fifo",
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestTheValidatorTakesOurDefinitions and refuses what is broken about them.
func TestTheValidatorTakesOurDefinitions(t *testing.T) {
	o, text := theOracle(t), assessment(t)
	if why := o.validate(t, text); why != "" {
		t.Error(why)
	}
	for what, broken := range map[string][]byte{
		"a state that is not there":  bytes.Replace(text, []byte(`"Next": "Decide"`), []byte(`"Next": "Nowhere"`), 1),
		"an operator that is none":   bytes.Replace(text, []byte(`BooleanEquals`), []byte(`BooleanIs`), 1),
		"a path that is none":        bytes.Replace(text, []byte(`"ItemsPath": "$.seeds"`), []byte(`"ItemsPath": "seeds"`), 1),
		"a state of an unknown type": bytes.Replace(text, []byte(`"Type": "Pass"`), []byte(`"Type": "Pause"`), 1),
	} {
		if bytes.Equal(broken, text) {
			t.Fatalf("%s: nothing was replaced", what)
		}
		if o.validate(t, broken) == "" {
			t.Errorf("the validator takes %s", what)
		}
	}
}

// services answers an assessment's calls: two seeds, each with two waves of jobs and a pause between them. fails gives the outcome of
// a call of a method ("Scan" for a job), or of its attempt number n for this request, counted from 1.
func services(fails func(method, request string, n int) outcome) *script {
	seen := map[string]int{}
	waves := map[string]int{}
	return &script{decide: func(name, request string) outcome {
		seen[name+request]++
		var call struct {
			Method  string
			Message struct{ Seed, PageToken string }
		}
		_ = json.Unmarshal([]byte(request), &call)
		method := call.Method[strings.LastIndex(call.Method, "/")+1:]
		if method == "" {
			method = "Scan"
		}
		if a := fails(method, request, seen[name+request]); a.Error != "" || a.Hangs {
			return a
		}
		body := `{}`
		switch method {
		case "Scan":
			return outcome{Output: json.RawMessage(`{"observations":3}`)}
		case "NextWave":
			waves[call.Message.Seed]++
			body = wave(call.Message.Seed, waves[call.Message.Seed])
		case "EvaluateAssessment":
			body = `{"done":false,"nextPageToken":"second"}`
			if call.Message.PageToken == "second" {
				body = `{"done":true,"nextPageToken":""}`
			}
		case "CreateReport":
			body = `{"name":"tenants/acme/reports/1"}`
		}
		return outcome{Output: json.RawMessage(`{"message":` + body + `}`)}
	}}
}

func wave(seed string, n int) string {
	job := func(queue, id string) string {
		return fmt.Sprintf(`{"queue":%q,"group":"acme-0","job":{"id":"%s-%s","target":%q}}`, queue, seed, id, seed)
	}
	switch n {
	case 1:
		return `{"done":false,"waiting":false,"jobs":[` + job("scan-dns", "dns") + `,` + job("scan-port", "port") + `]}`
	case 2:
		return `{"done":false,"waiting":true,"jobs":[]}`
	case 3:
		return `{"done":false,"waiting":false,"jobs":[` + job("scan-http", "http") + `]}`
	}
	return `{"done":true,"waiting":false,"jobs":[]}`
}

// TestAssessment runs the machine that is deployed through both interpreters.
func TestAssessment(t *testing.T) {
	o, text := theOracle(t), assessment(t)
	unavailable := outcome{Error: "RiskProfiler.Unavailable", Cause: "not now"}
	for name, c := range map[string]struct {
		fails  func(method, request string, n int) outcome
		status string
		// pauses: retries have a random pause, so that their time is not compared.
		pauses bool
	}{
		"all goes well": {fails: func(string, string, int) outcome { return outcome{} }, status: "SUCCEEDED"},
		"every function is unavailable twice": {fails: func(method, _ string, n int) outcome {
			if method != "Scan" && n <= 2 {
				return unavailable
			}
			return outcome{}
		}, status: "SUCCEEDED", pauses: true},
		"a scan fails, one does not answer": {fails: func(method, request string, _ int) outcome {
			switch {
			case method == "Scan" && strings.Contains(request, "a.test-dns"):
				return outcome{Error: "RiskProfiler.Unavailable", Cause: "parked after five attempts"}
			case method == "Scan" && strings.Contains(request, "b.test-http"):
				return outcome{Hangs: true}
			}
			return outcome{}
		}, status: "SUCCEEDED"},
		"planning does not work": {fails: func(method, _ string, _ int) outcome {
			if method == "NextWave" {
				return outcome{Error: "RiskProfiler.Invalid", Cause: "no such seed"}
			}
			return outcome{}
		}, status: "SUCCEEDED"},
		"planning hangs": {fails: func(method, request string, n int) outcome {
			return outcome{Hangs: method == "NextWave" && n == 1 && strings.Contains(request, "a.test")}
		}, status: "SUCCEEDED", pauses: true},
		"correlation does not work": {fails: func(method, _ string, _ int) outcome {
			if method == "EvaluateAssessment" {
				return unavailable
			}
			return outcome{}
		}, status: "FAILED", pauses: true},
		"notification does not work": {fails: func(method, _ string, _ int) outcome {
			if method == "Notify" {
				return unavailable
			}
			return outcome{}
		}, status: "SUCCEEDED", pauses: true},
		"nothing can be closed": {fails: func(method, _ string, _ int) outcome {
			if method == "FinishAssessment" {
				return outcome{Error: "Lambda.Unknown", Cause: "out of memory"}
			}
			return outcome{}
		}, status: "FAILED", pauses: true},
	} {
		t.Run(name, func(t *testing.T) {
			input := json.RawMessage(`{"tenant":"acme","assessment":"tenants/acme/assessments/1","seeds":["a.test","b.test"]}`)
			want := ours(t, text, input, services(c.fails))
			got := o.run(t, text, input, services(c.fails))
			if want.Status != c.status {
				t.Errorf("ended as %s %q %q, want %s", want.Status, want.Error, want.Cause, c.status)
			}
			compare(t, want, got, c.pauses)
			t.Logf("%s after %.0f s and %d calls", want.Status, want.Seconds, len(want.Calls))
		})
	}
}

// freeText is the cause of an error that the interpreter itself reports, in the words of each.
var freeText = regexp.MustCompile(`("[cC]ause"):"(?:[^"\\]|\\.)*",("[eE]rror":"States\.)`)

// withoutFreeText is JSON with sorted names without these words: neither what a task is asked nor what it answers may depend on them.
func withoutFreeText(text string) string { return freeText.ReplaceAllString(text, `$1:"",$2`) }

// compare expects the same end after the same calls. Iterations run side by side, so that their calls have no order.
func compare(t interface {
	Helper()
	Errorf(format string, args ...any)
}, want, got result, pauses bool,
) {
	t.Helper()
	for _, r := range []*result{&want, &got} {
		r.Calls = slices.Clone(r.Calls)
		slices.Sort(r.Calls)
		r.Output = withoutFreeText(r.Output)
		r.States = nil // ours are compared by the golden examples
		if pauses {
			r.Seconds = 0
		}
		if strings.HasPrefix(r.Error, "States.") {
			r.Cause = "" // free text
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(result{})); diff != "" {
		t.Errorf("(-ours +other):\n%s", diff)
	}
}
