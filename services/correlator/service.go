// Package correlator turns what is known about an asset into findings and risks by one pure function, [Evaluate], and stores
// the difference. It holds no state between messages and counts no events: it computes again from facts.
//
// It refuses to look at targets and to change facts.
package correlator

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	name         = "correlator"
	tableName    = "correlator"
	changesQueue = "changes"
)

// Spec is what the correlator service is.
var Spec = app.Spec{
	Name: name, Trust: app.Core,
	Serves:    []string{correlatorv1.CorrelatorService_ServiceDesc.ServiceName},
	Consumes:  []app.Consumer{{Queue: changesQueue, Concurrency: 128, Visibility: time.Minute}},
	Tables:    []string{tableName},
	Indexes:   map[string][]string{tableName: {indexFindings, indexFindingsSeen, indexRisks, indexRisksDue}},
	Calls:     []string{"ingest"},
	MemoryMiB: 512, Timeout: 30 * time.Second,
	Build: build,
}

// Deps is what the service stands on.
type Deps struct {
	Table  *table.Table
	Ingest ingestv1.IngestServiceClient
	// Catalogue returns the checks; nil: the shipped ones.
	Catalogue func() (*Catalogue, error)
	Logger    *slog.Logger
	// Self puts the service's own name for a tenant into a context.
	Self func(ctx context.Context, tenant string) context.Context
}

// Service implements CorrelatorService and handles changes.
type Service struct {
	correlatorv1.UnimplementedCorrelatorServiceServer

	table     *table.Table
	ingest    ingestv1.IngestServiceClient
	catalogue func() (*Catalogue, error)
	log       *slog.Logger
	self      func(ctx context.Context, tenant string) context.Context
}

// New makes the service.
func New(d Deps) *Service {
	s := &Service{table: d.Table, ingest: d.Ingest, catalogue: d.Catalogue, log: d.Logger, self: d.Self}
	if s.catalogue == nil {
		s.catalogue = shipped
	}
	return s
}

func build(d app.Deps) (app.Service, error) {
	s := New(Deps{Table: d.Table(tableName), Ingest: ingestv1.NewIngestServiceClient(d.Peer("ingest")), Logger: d.Logger, Self: d.Context})
	return app.Service{
		Register: func(r grpc.ServiceRegistrar) { correlatorv1.RegisterCorrelatorServiceServer(r, s) },
		Handlers: map[string]queue.Handler{changesQueue: s.handleChange},
	}, nil
}
