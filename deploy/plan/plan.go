// Package plan derives what is to be deployed from the services' Specs: which functions there are, who owns which queue,
// table, bucket and state machine, and what everything is called. It is data and knows no AWS construct, so that the stacks,
// their tests and the documents read the same list.
//
// It refuses Specs that cannot be deployed: a queue that nobody takes from or that two services take from, a table of two
// owners, a call of a service that does not exist.
package plan

import (
	"cmp"
	"fmt"
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

// Resources that belong to no service: every service may use its own part of them.
const (
	// KeysBucket has the services' signing keys, private/<service> and public/<service>.
	KeysBucket = "keys"
	// MessagesBucket has bodies that are too large for a queue, spill/<queue>/<hash>.
	MessagesBucket = "messages"
	// QueuesTable has attempts, errors and parked messages of every queue.
	QueuesTable = "queues"
)

// The aliases of every function.
const (
	// Live is what peers and the edge invoke.
	Live = app.LiveAlias
	// Workflow is what the state machine invokes, and nobody else may.
	Workflow = app.WorkflowAlias
	// Events is what queues and schedules invoke, and nobody else may.
	Events = app.EventsAlias
)

// Edge is the name of the function behind the API.
const Edge = "gateway"

// Function is one Lambda function.
type Function struct {
	// Name is the function's own name: the service, and the scan type if it does only one.
	Name string
	// Binary is the command that it runs, below services/<service>/cmd.
	Binary string
	// Spec is the Spec of the binary, less what this function is not triggered by.
	Spec app.Spec
}

// Service is what one stack deploys.
type Service struct {
	Name      string
	Functions []Function
	// Queues, Tables, Buckets and Machines that the service owns.
	Queues   []Queue
	Tables   []Table
	Buckets  []string
	Machines []Machine
}

// Queue is a FIFO queue with its consumer.
type Queue struct {
	Name     string
	Function string
	// Concurrency bounds how many invocations handle the queue at a time.
	Concurrency int
	// Batch is the most messages that one invocation gets.
	Batch int
	// Visibility is six times the function's timeout, as
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html advises.
	Visibility time.Duration
}

// Machine is a state machine.
type Machine struct {
	Name       string
	Definition string
	// Calls are the functions that the definition invokes, Sends the queues that it sends to.
	Calls, Sends []string
}

const (
	// maxBatch is the most that the event source of a FIFO queue hands over:
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html
	maxBatch = 10
	// longJob is the timeout from which a batch is one message: such a function has no time for a second one.
	longJob = 10 * time.Minute
	// minConcurrency and maxConcurrency bound an event source's maximum concurrency (same page).
	minConcurrency, maxConcurrency = 2, 1000
	// visibilityFactor times the function's timeout is the queue's visibility timeout.
	visibilityFactor = 6
)

// Services are the services of this repository, each in a stack of its own.
func Services() ([]Service, error) { return derive(functions()) }

// functions are all functions, by the service that they belong to.
func functions() map[string][]Function {
	out := map[string][]Function{}
	for _, s := range []app.Spec{ingest.Spec, scheduler.Spec, correlator.Spec, reporter.Spec, gateway.Spec} {
		out[s.Name] = []Function{{Name: s.Name, Binary: s.Name, Spec: s}}
	}
	// The scanner that answers calls has all scan types, takes no jobs and so sends no results; each scan type has a function that
	// takes its jobs.
	caller := all.Spec
	caller.Consumes, caller.Sends, caller.Timeout = nil, nil, callTimeout
	out[caller.Name] = []Function{{Name: caller.Name, Binary: caller.Name, Spec: caller}}
	for _, p := range all.Probes() {
		name := caller.Name + "-" + strings.TrimPrefix(scanner.Queue(p.ScanType()), "scan-")
		out[caller.Name] = append(out[caller.Name], Function{Name: name, Binary: name, Spec: scanner.SpecFor(p)})
	}
	return out
}

// callTimeout is the timeout of a function that only answers calls from the edge, which itself gives up after 29 seconds. A call
// bounds its own scan by probes.DefaultBudget.
const callTimeout = 30 * time.Second

func derive(byService map[string][]Function) ([]Service, error) {
	var out []Service
	for _, name := range slices.Sorted(maps.Keys(byService)) {
		out = append(out, service(name, byService[name]))
	}
	return out, check(out)
}

func service(name string, functions []Function) Service {
	s := Service{Name: name, Functions: functions}
	for _, f := range functions {
		for _, c := range f.Spec.Consumes {
			s.Queues = append(s.Queues, queueOf(f, c))
		}
		for _, t := range Tables(f.Spec) {
			if !slices.ContainsFunc(s.Tables, func(known Table) bool { return known.Name == t.Name }) {
				s.Tables = append(s.Tables, t)
			}
		}
		for _, b := range f.Spec.Buckets {
			if !slices.Contains(s.Buckets, b) {
				s.Buckets = append(s.Buckets, b)
			}
		}
		for _, m := range slices.Sorted(maps.Keys(f.Spec.Workflows)) {
			s.Machines = append(s.Machines, machineOf(m, f.Spec))
		}
	}
	return s
}

func queueOf(f Function, c app.Consumer) Queue {
	q := Queue{
		Name: c.Queue, Function: f.Name, Batch: maxBatch, Visibility: visibilityFactor * f.Spec.Timeout,
		Concurrency: min(max(c.Concurrency, minConcurrency), maxConcurrency),
	}
	if f.Spec.Timeout >= longJob {
		q.Batch = 1
	}
	return q
}

// functionName finds the functions that a definition invokes: the placeholders that stand for a function.
var functionName = regexp.MustCompile(`"FunctionName"\s*:\s*"\$\{([a-z]+)\}"`)

func machineOf(name string, s app.Spec) Machine {
	m := Machine{Name: name, Definition: string(s.Workflows[name]), Sends: slices.Sorted(slices.Values(s.Sends))}
	found := map[string]bool{}
	for _, match := range functionName.FindAllStringSubmatch(m.Definition, -1) {
		found[match[1]] = true
	}
	m.Calls = slices.Sorted(maps.Keys(found))
	return m
}

// check refuses what cannot work once it is deployed.
func check(services []Service) error {
	functions, consumers, owners := map[string]bool{}, map[string]string{}, map[string]string{}
	for _, s := range services {
		for _, f := range s.Functions {
			functions[f.Name] = true
		}
		for _, q := range s.Queues {
			if other := consumers[q.Name]; other != "" {
				return fmt.Errorf("queue %s is taken from by %s and by %s: a FIFO queue has one consumer", q.Name, other, q.Function)
			}
			consumers[q.Name] = q.Function
		}
		for _, t := range s.Tables {
			if other := owners[t.Name]; other != "" {
				return fmt.Errorf("table %s is owned by %s and by %s: let one ask the other", t.Name, other, s.Name)
			}
			owners[t.Name] = s.Name
		}
	}
	for _, s := range services {
		for _, f := range s.Functions {
			if err := checkUses(f, functions, consumers); err != nil {
				return err
			}
		}
		for _, m := range s.Machines {
			for _, name := range m.Calls {
				if !functions[name] {
					return fmt.Errorf("state machine %s invokes %s, which is no function", m.Name, name)
				}
			}
		}
	}
	return nil
}

func checkUses(f Function, functions map[string]bool, consumers map[string]string) error {
	for _, name := range f.Spec.Calls {
		if !functions[name] {
			return fmt.Errorf("%s calls %s, which is no function", f.Name, name)
		}
	}
	for _, name := range f.Spec.Sends {
		if consumers[name] == "" {
			return fmt.Errorf("%s sends to queue %s, which nobody takes from", f.Name, name)
		}
	}
	return nil
}

// Machines are the state machines of all services.
func Machines(services []Service) []Machine {
	var out []Machine
	for _, s := range services {
		out = append(out, s.Machines...)
	}
	return out
}

// Queues are the names of all queues, sorted.
func Queues(services []Service) []string {
	var out []string
	for _, s := range services {
		for _, q := range s.Queues {
			out = append(out, q.Name)
		}
	}
	slices.Sort(out)
	return out
}

// Called are the functions that somebody else calls by RPC, in the order of their names.
func Called(services []Service) []string {
	found := map[string]bool{}
	for _, s := range services {
		for _, f := range s.Functions {
			for _, name := range Peers(f) {
				found[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Peers are the functions that f calls by RPC. A service that names itself calls within its own process.
func Peers(f Function) []string {
	out := slices.DeleteFunc(slices.Clone(f.Spec.Calls), func(name string) bool { return name == f.Spec.Name })
	slices.SortFunc(out, cmp.Compare)
	return out
}
