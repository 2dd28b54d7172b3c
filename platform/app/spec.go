// Package app makes a process out of services. A service says what it is in a [Spec], which is data, and builds itself from
// [Deps]; drivers say where tables, queues, blobs and workflows live; [Build] joins the two. One service alone and all of
// them in one process differ in the length of the list and in nothing else.
//
// It refuses to know any service, any driver and any contract by name.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// Trust says what a service is exposed to; permissions and placement follow from it.
type Trust string

// The three trusts.
const (
	// Edge faces callers from outside.
	Edge Trust = "edge"
	// HostileNetwork talks to targets, which are hostile.
	HostileNetwork Trust = "hostile network"
	// Core is everything else.
	Core Trust = "core"
)

// SecretAccess says what a service may do with the secrets of tenants. None may do both: who writes them never reads them.
type SecretAccess string

// The accesses. The zero value is none.
const (
	// ReadsSecrets is for the services that use them.
	ReadsSecrets SecretAccess = "reads"
	// WritesSecrets is for the services that take them from people.
	WritesSecrets SecretAccess = "writes"
)

// Consumer is a queue that a service takes messages from.
type Consumer struct {
	Queue string
	// Concurrency is how many messages are handled at a time in one process.
	Concurrency int
	// Visibility is how long a handler may be silent before another may get the message.
	Visibility time.Duration
}

// Schedule is something a service does again and again.
type Schedule struct {
	Name  string
	Every time.Duration
}

// Spec says what a service is. It is declared once and used to wire a process, to deploy, and for the table in the README.
type Spec struct {
	Name  string
	Trust Trust
	// Serves are full names of gRPC services.
	Serves []string
	// Exposes are full names of gRPC services of others that this service shows to the outside (Edge only).
	Exposes  []string
	Consumes []Consumer
	// Sends are queues this service sends to.
	Sends []string
	// Tables and Buckets that this service owns. RateLimits is a table shared by all scanners.
	Tables  []string
	Buckets []string
	// Reads are buckets that other services own and this one only reads: large data that no call could carry.
	Reads []string
	// Indexes are the names of the secondary indexes of each table, 3 to 57 characters each. An index that is not named here
	// cannot be used.
	Indexes map[string][]string
	// Secrets says what the service may do with the secrets of tenants.
	Secrets SecretAccess
	// EntersClouds says that the service assumes the roles that tenants made for it in their accounts.
	EntersClouds bool
	// Calls are names of other services.
	Calls []string
	// Schedules that this service wants to be called by.
	Schedules []Schedule
	// Workflows are definitions in Amazon States Language by name, which this service owns and starts.
	Workflows map[string][]byte
	// CompletesTasks: the service answers task tokens.
	CompletesTasks bool
	// InspectsQueues: the service may look at and redrive every queue.
	InspectsQueues bool
	// MemoryMiB and Timeout are for one invocation where the platform asks for them.
	MemoryMiB int
	Timeout   time.Duration
	// Build makes the service. It opens nothing and starts nothing.
	Build func(Deps) (Service, error)
}

// Service is a built service: what the host calls.
type Service struct {
	// Register adds the service's gRPC services.
	Register func(grpc.ServiceRegistrar)
	// Handlers by queue of Spec.Consumes.
	Handlers map[string]queue.Handler
	// Parked by queue: what to do when a message is given up.
	Parked map[string]func(context.Context, queue.Message, error) error
	// Schedules by name of Spec.Schedules.
	Schedules map[string]func(context.Context) error
	// HTTP is what Serve serves as HTTP, for a function behind an API gateway (Edge only).
	HTTP http.Handler
	// Serve faces the outside on a listener until ctx ends, then drains (Edge only).
	Serve func(context.Context, net.Listener) error
	// Close releases what Build opened, if anything.
	Close func() error
}

// Deps is all that a service gets. What its Spec does not name it does not get: asking for it panics, because it is a
// mistake in the program and is found by the first test that builds the service.
type Deps struct {
	spec *Spec
	host *Host

	Logger *slog.Logger
	// Telemetry makes spans and metrics in the service's name.
	Telemetry *telemetry.Telemetry
	// Workflow starts, stops and completes workflows; nil unless the Spec has Workflows or CompletesTasks.
	Workflow workflow.Engine
	// Signer vouches for the principals this service acts for.
	Signer *authn.Signer
}

func (d Deps) must(ok bool, kind, name string) {
	if !ok {
		panic(fmt.Sprintf("service %s uses %s %q, which its Spec does not name", d.spec.Name, kind, name))
	}
}

// Table is one of Spec.Tables.
func (d Deps) Table(name string) *table.Table {
	d.must(slices.Contains(d.spec.Tables, name), "table", name)
	return d.host.tables[name]
}

// Queue is one of Spec.Sends, for sending.
func (d Deps) Queue(name string) *queue.Queue {
	d.must(slices.Contains(d.spec.Sends, name), "queue", name)
	return d.host.senders[name]
}

// Queues are all queues of the process by name, for services that inspect them.
func (d Deps) Queues() map[string]*queue.Queue {
	d.must(d.spec.InspectsQueues, "queue", "*")
	return d.host.senders
}

// Bucket is one of Spec.Buckets or of Spec.Reads.
func (d Deps) Bucket(name string) blob.Bucket {
	d.must(slices.Contains(d.spec.Buckets, name) || slices.Contains(d.spec.Reads, name), "bucket", name)
	return d.host.buckets[name]
}

// SecretReader reads secrets, if Spec.Secrets says so.
func (d Deps) SecretReader() secret.Reader {
	d.must(d.spec.Secrets == ReadsSecrets, "secrets", string(ReadsSecrets))
	return d.host.secrets
}

// SecretWriter writes secrets, if Spec.Secrets says so.
func (d Deps) SecretWriter() secret.Writer {
	d.must(d.spec.Secrets == WritesSecrets, "secrets", string(WritesSecrets))
	return d.host.secrets
}

// Peer is a connection to one of Spec.Calls, in the name of this service.
func (d Deps) Peer(name string) grpc.ClientConnInterface {
	d.must(slices.Contains(d.spec.Calls, name), "peer", name)
	return d.host.conn(d.spec.Name, name)
}

// Settings fills the struct that into points to from the process's settings by its `env` tags. Unknown values are errors
// that name the setting; absent ones keep their default.
func (d Deps) Settings(into any) error { return decode(d.host.settings, into) }

// Context returns ctx in the name of this service for one tenant.
func (d Deps) Context(ctx context.Context, tenant string) context.Context {
	return authn.NewContext(ctx, authn.ForService(d.spec.Name, tenant))
}
