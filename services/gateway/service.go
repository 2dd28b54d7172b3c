// Package gateway is the edge: it proves who calls, limits them, and passes the same protobuf on to the service whose
// contract it is, over gRPC and REST on one port. It also keeps tenants and API keys, and shows the queues to operators.
//
// It refuses to know what a request means: all decisions about data are the services'.
package gateway

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	operationsv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/operations/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	name      = authn.ServiceGateway
	tableName = "gateway"
)

// routes say which service answers which contract.
var routes = []struct{ contract, service string }{
	{accessv1.AccessService_ServiceDesc.ServiceName, name},
	{operationsv1.OperationsService_ServiceDesc.ServiceName, name},
	{ingestv1.IngestService_ServiceDesc.ServiceName, "ingest"},
	{schedulerv1.SchedulerService_ServiceDesc.ServiceName, "scheduler"},
	{scannerv1.ScannerService_ServiceDesc.ServiceName, "scanner"},
	{correlatorv1.CorrelatorService_ServiceDesc.ServiceName, "correlator"},
	{reporterv1.ReporterService_ServiceDesc.ServiceName, "reporter"},
}

// peers are the services behind the edge; the gateway is one of them.
var peers = []string{name, "ingest", "scheduler", "scanner", "correlator", "reporter"}

// Spec is what the gateway service is.
var Spec = app.Spec{
	Name: name, Trust: app.Edge,
	Serves: []string{accessv1.AccessService_ServiceDesc.ServiceName, operationsv1.OperationsService_ServiceDesc.ServiceName},
	Exposes: []string{
		ingestv1.IngestService_ServiceDesc.ServiceName, schedulerv1.SchedulerService_ServiceDesc.ServiceName, scannerv1.ScannerService_ServiceDesc.ServiceName,
		correlatorv1.CorrelatorService_ServiceDesc.ServiceName, reporterv1.ReporterService_ServiceDesc.ServiceName,
	},
	// It looks at every queue, so it names them all.
	Sends: []string{
		"scan-dns", "scan-subdomain", "scan-port", "scan-service", "scan-tls", "scan-http", "scan-vuln", "scan-intel", "scan-cloud", "results", "changes",
	},
	Tables:         []string{tableName},
	Indexes:        map[string][]string{tableName: {indexKeys}},
	Calls:          peers,
	InspectsQueues: true,
	Secrets:        app.WritesSecrets,
	MemoryMiB:      512, Timeout: 29 * time.Second,
	Build: build,
}

// settings of the service.
type settings struct {
	// KeyRate is how many requests a second one API key may make, TenantRate one tenant; bursts are twice as many.
	KeyRate    float64 `env:"RISKPROFILER_KEY_RATE" envDefault:"200"`
	TenantRate float64 `env:"RISKPROFILER_TENANT_REQUEST_RATE" envDefault:"500"`
	// Drain bounds how long running requests may take after the process was told to end.
	Drain time.Duration `env:"RISKPROFILER_DRAIN" envDefault:"25s"`
	// SignOn lets people in by tokens of an issuer.
	SignOn oidcSettings
}

// Deps is what the service stands on.
type Deps struct {
	Table *table.Table
	// Secrets takes the tenants' keys for third parties.
	Secrets secret.Writer
	Queues  map[string]*queue.Queue
	// Conns are connections to the services by name, in the gateway's name.
	Conns  map[string]grpc.ClientConnInterface
	Logger *slog.Logger
}

// Service implements AccessService and OperationsService.
type Service struct {
	accessv1.UnimplementedAccessServiceServer
	operationsv1.UnimplementedOperationsServiceServer

	table   *table.Table
	secrets secret.Writer
	queues  map[string]*queue.Queue
	keys    *keyCache
	// tenants says which tenants exist and are not suspended.
	tenants *cache[bool]
	log     *slog.Logger
}

// New makes the service.
func New(d Deps) *Service {
	s := &Service{table: d.Table, secrets: d.Secrets, queues: d.Queues, log: d.Logger}
	s.keys, s.tenants = newKeyCache(s.readKey), newCache(s.readActive)
	return s
}

func build(d app.Deps) (app.Service, error) {
	var c settings
	if err := d.Settings(&c); err != nil {
		return app.Service{}, err
	}
	conns := map[string]grpc.ClientConnInterface{}
	for _, peer := range peers {
		conns[peer] = d.Peer(peer)
	}
	s := New(Deps{Table: d.Table(tableName), Secrets: d.SecretWriter(), Queues: d.Queues(), Conns: conns, Logger: d.Logger})
	e, err := newEdge(s, conns, d.Telemetry, c)
	if err != nil {
		return app.Service{}, err
	}
	return app.Service{
		Register: func(r grpc.ServiceRegistrar) {
			accessv1.RegisterAccessServiceServer(r, s)
			operationsv1.RegisterOperationsServiceServer(r, s)
		},
		HTTP:  e,
		Serve: e.serve,
	}, nil
}

// Bootstrap makes the first tenant and an operator's key for it, if there is no tenant yet, and returns the key's text; ""
// if there was one.
func Bootstrap(ctx context.Context, conn grpc.ClientConnInterface, tenant string) (string, error) {
	ctx = authn.NewContext(ctx, authn.Principal{Tenant: tenant, Subject: "bootstrap", Roles: []string{authn.RoleOperator}})
	client := accessv1.NewAccessServiceClient(conn)
	list, err := client.ListTenants(ctx, &accessv1.ListTenantsRequest{PageSize: 1})
	if err != nil || len(list.GetTenants()) > 0 {
		return "", err
	}
	if _, err := client.CreateTenant(ctx, &accessv1.CreateTenantRequest{TenantId: tenant, Tenant: &accessv1.Tenant{DisplayName: "Default tenant"}}); err != nil {
		return "", err
	}
	key, err := client.CreateKey(ctx, &accessv1.CreateKeyRequest{
		Tenant: "tenants/" + tenant, DisplayName: "first key",
		Roles: []accessv1.Role{accessv1.Role_ROLE_ADMIN, accessv1.Role_ROLE_OPERATOR},
	})
	return key.GetSecret(), err
}
