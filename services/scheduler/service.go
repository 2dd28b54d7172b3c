// Package scheduler decides what is scanned when: it accepts assessments, starts their workflow, tells the workflow wave by
// wave which scan jobs are worth doing, and starts plans that fall due.
//
// It refuses to own progress: that is the workflow's, and what is known is ingest's.
package scheduler

import (
	"context"
	_ "embed" // the workflow definition
	"log/slog"
	"time"

	"google.golang.org/grpc"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

const (
	name      = "scheduler"
	tableName = "scheduler"
	// machine is the name of the workflow.
	machine = "assessment"
	// tickEvery is how often what fell due is looked for: a plan starts at most this late.
	tickEvery = 10 * time.Second
)

//go:embed assessment.asl.json
var definition []byte

// The workflow calls these contracts by name; importing them links in the message types that it needs.
var _ = []grpc.ServiceDesc{correlatorv1.CorrelatorService_ServiceDesc, reporterv1.ReporterService_ServiceDesc}

// Spec is what the scheduler service is.
var Spec = app.Spec{
	Name: name, Trust: app.Core,
	Serves:    []string{schedulerv1.SchedulerService_ServiceDesc.ServiceName},
	Sends:     scanQueues(),
	Tables:    []string{tableName},
	Indexes:   map[string][]string{tableName: {indexOpen, indexDue}},
	Calls:     []string{"ingest", "scanner"},
	Schedules: []app.Schedule{{Name: "tick", Every: tickEvery}},
	Workflows: map[string][]byte{machine: definition},
	MemoryMiB: 256, Timeout: 30 * time.Second,
	Build: build,
}

// Settings of the service.
type settings struct {
	// Nuclei is where the engine of vuln is; empty: it is not installed, and vuln does not run.
	Nuclei string `env:"RISKPROFILER_NUCLEI"`
}

// Deps is what the service stands on.
type Deps struct {
	Table    *table.Table
	Workflow workflow.Engine
	Ingest   ingestv1.IngestServiceClient
	// Scanner says which scan types there are scanners for.
	Scanner scannerv1.ScannerServiceClient
	// Nuclei: the operator has installed the engine that vuln runs.
	Nuclei bool
	Logger *slog.Logger
	// Self puts the service's own name for a tenant into a context.
	Self func(ctx context.Context, tenant string) context.Context
}

// Service implements SchedulerService.
type Service struct {
	schedulerv1.UnimplementedSchedulerServiceServer

	table    *table.Table
	workflow workflow.Engine
	ingest   ingestv1.IngestServiceClient
	scanner  scannerv1.ScannerServiceClient
	scanners scanners
	nuclei   bool
	log      *slog.Logger
	self     func(ctx context.Context, tenant string) context.Context
}

// New makes the service.
func New(d Deps) *Service {
	return &Service{
		table: d.Table, workflow: d.Workflow, ingest: d.Ingest, scanner: d.Scanner, nuclei: d.Nuclei, log: d.Logger, self: d.Self,
	}
}

func build(d app.Deps) (app.Service, error) {
	var c settings
	if err := d.Settings(&c); err != nil {
		return app.Service{}, err
	}
	s := New(Deps{
		Table: d.Table(tableName), Workflow: d.Workflow, Ingest: ingestv1.NewIngestServiceClient(d.Peer("ingest")),
		Scanner: scannerv1.NewScannerServiceClient(d.Peer("scanner")), Nuclei: c.Nuclei != "", Logger: d.Logger, Self: d.Context,
	})
	return app.Service{
		Register: func(r grpc.ServiceRegistrar) { schedulerv1.RegisterSchedulerServiceServer(r, s) },
		Schedules: map[string]func(context.Context) error{"tick": func(ctx context.Context) error {
			_, err := s.Tick(ctx, &schedulerv1.TickRequest{})
			return err
		}},
	}, nil
}
