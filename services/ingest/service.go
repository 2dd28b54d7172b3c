// Package ingest is the door for all that becomes known: assets and who authorised them, what scanners saw, what other
// tools report. It turns results into observations and coverage, decides what is in scope, and announces changes.
//
// It refuses to judge: what a fact means is the correlator's business.
package ingest

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// Names of what the service owns and uses.
const (
	tableName    = "ingest"
	resultsQueue = "results"
	changesQueue = "changes"
)

// Spec is what the ingest service is.
var Spec = app.Spec{
	Name: "ingest", Trust: app.Core,
	Serves:         []string{ingestv1.IngestService_ServiceDesc.ServiceName},
	Consumes:       []app.Consumer{{Queue: resultsQueue, Concurrency: 128, Visibility: time.Minute}},
	Sends:          []string{changesQueue},
	Tables:         []string{tableName},
	Indexes:        map[string][]string{tableName: {indexAssets, indexSeeds, indexCoverage}},
	CompletesTasks: true,
	MemoryMiB:      512, Timeout: 30 * time.Second,
	Build: build,
}

// Settings of the service.
type settings struct {
	// AllowPrivate permits ownership proofs to be fetched from loopback and private addresses.
	AllowPrivate bool `env:"RISKPROFILER_ALLOW_PRIVATE"`
	// Resolver is the DNS server to ask, host:port; empty: the system's.
	Resolver string `env:"RISKPROFILER_RESOLVER"`
}

// Deps is what the service stands on.
type Deps struct {
	Table    *table.Table
	Changes  *queue.Queue
	Workflow workflow.Engine
	Guard    *netguard.Guard
	Logger   *slog.Logger
}

// Service implements IngestService.
type Service struct {
	ingestv1.UnimplementedIngestServiceServer

	table    *table.Table
	changes  *queue.Queue
	workflow workflow.Engine
	guard    *netguard.Guard
	log      *slog.Logger
}

// New makes the service.
func New(d Deps) *Service {
	return &Service{table: d.Table, changes: d.Changes, workflow: d.Workflow, guard: d.Guard, log: d.Logger}
}

func build(d app.Deps) (app.Service, error) {
	var s settings
	if err := d.Settings(&s); err != nil {
		return app.Service{}, err
	}
	options := netguard.Options{AllowPrivate: s.AllowPrivate, Resolver: s.Resolver}
	if err := options.Validate(); err != nil {
		return app.Service{}, err
	}
	service := New(Deps{
		Table: d.Table(tableName), Changes: d.Queue(changesQueue), Workflow: d.Workflow,
		Guard: netguard.New(options), Logger: d.Logger,
	})
	return app.Service{
		Register: func(r grpc.ServiceRegistrar) { ingestv1.RegisterIngestServiceServer(r, service) },
		Handlers: map[string]queue.Handler{resultsQueue: service.handleResult},
		Parked:   map[string]func(context.Context, queue.Message, error) error{resultsQueue: service.parkedResult},
	}, nil
}
