// Package reporter makes the report of an assessment, renders it, and tells what changed since the one before. It reads the
// other services by their contracts and owns nothing but what it rendered.
//
// It refuses to judge: what stands in a report was decided by the correlator.
package reporter

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	name       = "reporter"
	tableName  = "reporter"
	bucketName = "reports"
)

// Spec is what the reporter service is.
var Spec = app.Spec{
	Name: name, Trust: app.Core,
	Serves:    []string{reporterv1.ReporterService_ServiceDesc.ServiceName},
	Tables:    []string{tableName},
	Buckets:   []string{bucketName},
	Calls:     []string{"ingest", "scheduler", "correlator"},
	MemoryMiB: 1024, Timeout: time.Minute,
	Build: build,
}

// Deps is what the service stands on.
type Deps struct {
	Table      *table.Table
	Reports    blob.Bucket
	Ingest     ingestv1.IngestServiceClient
	Scheduler  schedulerv1.SchedulerServiceClient
	Correlator correlatorv1.CorrelatorServiceClient
	Logger     *slog.Logger
	// Self puts the service's own name for a tenant into a context.
	Self func(ctx context.Context, tenant string) context.Context
}

// Service implements ReporterService.
type Service struct {
	reporterv1.UnimplementedReporterServiceServer

	table      *table.Table
	reports    blob.Bucket
	ingest     ingestv1.IngestServiceClient
	scheduler  schedulerv1.SchedulerServiceClient
	correlator correlatorv1.CorrelatorServiceClient
	log        *slog.Logger
	self       func(ctx context.Context, tenant string) context.Context
}

// New makes the service.
func New(d Deps) *Service {
	return &Service{
		table: d.Table, reports: d.Reports, ingest: d.Ingest, scheduler: d.Scheduler, correlator: d.Correlator, log: d.Logger, self: d.Self,
	}
}

func build(d app.Deps) (app.Service, error) {
	s := New(Deps{
		Table: d.Table(tableName), Reports: d.Bucket(bucketName), Ingest: ingestv1.NewIngestServiceClient(d.Peer("ingest")),
		Scheduler: schedulerv1.NewSchedulerServiceClient(d.Peer("scheduler")), Correlator: correlatorv1.NewCorrelatorServiceClient(d.Peer("correlator")),
		Logger: d.Logger, Self: d.Context,
	})
	return app.Service{Register: func(r grpc.ServiceRegistrar) { reporterv1.RegisterReporterServiceServer(r, s) }}, nil
}
