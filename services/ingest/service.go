// Package ingest is the door for all that becomes known: assets and who authorised them, what scanners saw, what other
// tools report. It turns results into observations and coverage, decides what is in scope, and announces changes.
//
// It refuses to judge: what a fact means is the correlator's business.
package ingest

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob"
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
	importsQueue = "imports"
	// reportsBucket holds the reports that are being imported.
	reportsBucket = "imports"

	scheduleRecheck = "recheck"
)

// Spec is what the ingest service is.
var Spec = app.Spec{
	Name: "ingest", Trust: app.Core,
	Serves: []string{ingestv1.IngestService_ServiceDesc.ServiceName},
	Consumes: []app.Consumer{
		{Queue: resultsQueue, Concurrency: 128, Visibility: time.Minute}, {Queue: importsQueue, Concurrency: 4, Visibility: 2 * time.Minute},
	},
	Sends:          []string{changesQueue, importsQueue, intelQueue},
	Tables:         []string{tableName},
	Buckets:        []string{reportsBucket, intelBucket},
	Indexes:        map[string][]string{tableName: {indexAssets, indexSeeds, indexCoverage, indexRecheck}},
	Calls:          []string{"scanner"},
	Schedules:      []app.Schedule{{Name: scheduleRecheck, Every: recheckEvery}, {Name: scheduleIntel, Every: intelEvery}},
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
	// DoNotScan is a file of what nobody may touch: a name, address or range on each line.
	DoNotScan string `env:"RISKPROFILER_DO_NOT_SCAN"`
	// ProofPort is where files that prove ownership are looked for. Ports from 1024 on are anybody's who has an account on a
	// machine: another one than 80 is for networks of the operator's own.
	ProofPort uint16 `env:"RISKPROFILER_PROOF_PORT" envDefault:"80"`
}

// Deps is what the service stands on.
type Deps struct {
	Table    *table.Table
	Changes  *queue.Queue
	Workflow workflow.Engine
	Guard    *netguard.Guard
	Logger   *slog.Logger
	// Imports takes slices of imports, Reports the reports themselves.
	Imports *queue.Queue
	Reports blob.Bucket
	// CloudRole assumes roles of cloud accounts. Nil: accounts are attested.
	CloudRole CloudRole
	// Intel keeps vulnerability knowledge. Nil: there is none, and its methods must not be called.
	Intel *Intel
	// DoNotScan is a file of what nobody may touch; empty: there is none.
	DoNotScan string
	// WebPort is where file proofs are looked for; 0: 80.
	WebPort int
	// Self puts the service's own name for a tenant into a context.
	Self func(ctx context.Context, tenant string) context.Context
}

// Service implements IngestService.
type Service struct {
	ingestv1.UnimplementedIngestServiceServer

	table    *table.Table
	changes  *queue.Queue
	workflow workflow.Engine
	guard    *netguard.Guard
	log      *slog.Logger

	slices  *queue.Queue
	reports blob.Bucket
	global  global
	scopes  scopes

	intel     *Intel
	cloudRole CloudRole
	doNotScan *doNotScanFile
	webPort   int
	self      func(ctx context.Context, tenant string) context.Context
}

// New makes the service. The error says that the do-not-scan list cannot be read.
func New(d Deps) (*Service, error) {
	list, err := newDoNotScanFile(d.DoNotScan, d.Logger)
	if err != nil {
		return nil, err
	}
	return &Service{
		table: d.Table, changes: d.Changes, workflow: d.Workflow, guard: d.Guard, log: d.Logger, intel: d.Intel, cloudRole: d.CloudRole, doNotScan: list, slices: d.Imports, reports: d.Reports,
		webPort: cmp.Or(d.WebPort, webPort), self: d.Self,
	}, nil
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
	knowledge, err := newIntel(d)
	if err != nil {
		return app.Service{}, err
	}
	scanner := scannerv1.NewScannerServiceClient(d.Peer("scanner"))
	service, err := New(Deps{
		Table: d.Table(tableName), Changes: d.Queue(changesQueue), Workflow: d.Workflow, Imports: d.Queue(importsQueue), Reports: d.Bucket(reportsBucket),
		Guard: netguard.New(options), Logger: d.Logger, DoNotScan: s.DoNotScan, WebPort: int(s.ProofPort), Self: d.Context, Intel: knowledge,
		CloudRole: func(ctx context.Context, account string, access *modelv1.CloudAccess) error {
			caller, _ := authn.FromContext(ctx)
			// In our own name: the person who asks may have the proof looked at, and may not have roles assumed.
			_, err := scanner.ProveCloudRole(d.Context(ctx, caller.Tenant), &scannerv1.ProveCloudRoleRequest{Account: account, Access: access})
			return err
		},
	})
	if err != nil {
		return app.Service{}, err
	}
	return app.Service{
		Register:  func(r grpc.ServiceRegistrar) { ingestv1.RegisterIngestServiceServer(r, service) },
		Handlers:  map[string]queue.Handler{resultsQueue: service.handleResult, importsQueue: service.handleImport},
		Parked:    map[string]func(context.Context, queue.Message, error) error{resultsQueue: service.parkedResult, importsQueue: service.parkedImport},
		Schedules: map[string]func(context.Context) error{scheduleRecheck: service.recheck, scheduleIntel: service.syncIntel},
		Close:     knowledge.store.Close,
	}, nil
}
