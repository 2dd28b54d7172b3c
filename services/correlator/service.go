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
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	name         = "correlator"
	tableName    = "correlator"
	changesQueue = "changes"
	// intelQueue announces snapshots of vulnerability knowledge, intelBucket holds them; both belong to ingest.
	intelQueue  = "intel"
	intelBucket = "intel"
	// reevaluationsQueue holds one step of a re-evaluation for each tenant.
	reevaluationsQueue = "reevaluations"
	tickEvery          = time.Minute
	// scheduleCatalogue looks whether the checks changed.
	scheduleCatalogue = "catalogue"
)

// Spec is what the correlator service is.
var Spec = app.Spec{
	Name: name, Trust: app.Core,
	Serves: []string{correlatorv1.CorrelatorService_ServiceDesc.ServiceName},
	Consumes: []app.Consumer{
		{Queue: changesQueue, Concurrency: 128, Visibility: time.Minute},
		{Queue: intelQueue, Concurrency: 2, Visibility: time.Minute},
		{Queue: reevaluationsQueue, Concurrency: 16, Visibility: time.Minute},
	},
	Sends:     []string{changesQueue, reevaluationsQueue},
	Reads:     []string{intelBucket},
	Schedules: []app.Schedule{{Name: scheduleCatalogue, Every: tickEvery}},
	Tables:    []string{tableName},
	Indexes:   map[string][]string{tableName: {indexFindings, indexFindingsSeen, indexRisks, indexRisksDue}},
	Calls:     []string{"ingest"},
	MemoryMiB: 512, Timeout: 30 * time.Second,
	Build: build,
}

// settings of the service.
type settings struct {
	Data string `env:"RISKPROFILER_DATA" envDefault:"riskprofiler-data"`
	// Cache is the directory for the files of vulnerability knowledge; empty: below the data directory, or one of this process alone.
	Cache string `env:"RISKPROFILER_INTEL_CACHE"`
}

// Deps is what the service stands on.
type Deps struct {
	Table  *table.Table
	Ingest ingestv1.IngestServiceClient
	// Changes and Reevaluations are sent to when rules change.
	Changes, Reevaluations *queue.Queue
	// Lists holds what does not fit into an announcement: the bucket of snapshots.
	Lists blob.Bucket
	// library holds the vulnerability knowledge; nil: there is none.
	library *library
	// Catalogue returns the checks; nil: the shipped ones.
	Catalogue func() (*Catalogue, error)
	Logger    *slog.Logger
	// Self puts the service's own name for a tenant into a context.
	Self func(ctx context.Context, tenant string) context.Context
}

// Service implements CorrelatorService and handles changes.
type Service struct {
	correlatorv1.UnimplementedCorrelatorServiceServer

	table         *table.Table
	ingest        ingestv1.IngestServiceClient
	changes       *queue.Queue
	reevaluations *queue.Queue
	lists         blob.Bucket
	library       *library
	registry      registry
	catalogues    catalogues
	problems      problems
	catalogue     func() (*Catalogue, error)
	log           *slog.Logger
	self          func(ctx context.Context, tenant string) context.Context
}

// New makes the service.
func New(d Deps) *Service {
	s := &Service{
		table: d.Table, ingest: d.Ingest, changes: d.Changes, reevaluations: d.Reevaluations, lists: d.Lists, library: d.library,
		catalogue: d.Catalogue, log: d.Logger, self: d.Self,
	}
	if s.catalogue == nil {
		s.catalogue = shipped
	}
	return s
}

func build(d app.Deps) (app.Service, error) {
	var set settings
	if err := d.Settings(&set); err != nil {
		return app.Service{}, err
	}
	ingest, bucket := ingestv1.NewIngestServiceClient(d.Peer("ingest")), d.Bucket(intelBucket)
	directory, remove := cacheDirectory(set.Cache, set.Data)
	s := New(Deps{
		Table: d.Table(tableName), Ingest: ingest, Changes: d.Queue(changesQueue), Reevaluations: d.Queue(reevaluationsQueue), Lists: bucket,
		library: bucketLibrary(bucket, ingest, d.Context, directory, d.Logger), Logger: d.Logger, Self: d.Context,
	})
	return app.Service{
		Register: func(r grpc.ServiceRegistrar) { correlatorv1.RegisterCorrelatorServiceServer(r, s) },
		Handlers: map[string]queue.Handler{
			changesQueue: s.handleChange, intelQueue: s.handleIntel, reevaluationsQueue: s.handleReevaluation,
		},
		Schedules: map[string]func(context.Context) error{scheduleCatalogue: s.tick},
		Close: func() error {
			s.library.stop()
			return remove()
		},
	}, nil
}
