package cloud

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

// Aliases of every function: for peers and the HTTP API, for the state machine, for queues and schedules.
const (
	live     = app.LiveAlias
	workflow = app.WorkflowAlias
	events   = app.EventsAlias
)

const (
	// edge is the function behind the HTTP API.
	edge = "gateway"
	// longJob is the timeout from which an invocation gets one message: it has no time for a second one.
	longJob = 10 * time.Minute
	// callTimeout is that of a function that only answers calls.
	callTimeout = 30 * time.Second
)

// Resources that belong to no service.
const (
	keysBucket     = "keys"
	messagesBucket = "messages"
	queuesTable    = "queues"
)

// Function is one function as it is deployed.
type Function struct {
	// Name is that of the service, and of the scan type if the function does only one.
	Name string
	// Package is the command that it runs, from the top of the repository.
	Package string
	// Spec is the Spec of the binary, less what this function is not triggered by.
	Spec app.Spec
}

// Functions are all functions.
func Functions() []Function {
	var out []Function
	for _, s := range []app.Spec{ingest.Spec, scheduler.Spec, correlator.Spec, reporter.Spec, gateway.Spec} {
		out = append(out, Function{Name: s.Name, Package: "./services/" + s.Name + "/cmd/" + s.Name, Spec: s})
	}
	caller := all.Spec
	caller.Consumes, caller.Sends, caller.Timeout = nil, nil, callTimeout
	out = append(out, Function{Name: caller.Name, Package: "./services/scanner/cmd/scanner", Spec: caller})
	for _, p := range all.Probes() {
		name := "scanner-" + strings.TrimPrefix(scanner.Queue(p.ScanType()), "scan-")
		out = append(out, Function{Name: name, Package: "./services/scanner/cmd/" + name, Spec: scanner.SpecFor(p)})
	}
	return out
}

// batchSize is how many messages an invocation gets at most.
func (f Function) batchSize() int {
	if f.Spec.Timeout >= longJob {
		return 1
	}
	return 10
}

var functionName = regexp.MustCompile(`"FunctionName"\s*:\s*"\$\{([a-z]+)\}"`)

// invokes are the functions that a definition invokes.
func invokes(definition []byte) []string {
	found := map[string]bool{}
	for _, m := range functionName.FindAllSubmatch(definition, -1) {
		found[string(m[1])] = true
	}
	return slices.Sorted(maps.Keys(found))
}
