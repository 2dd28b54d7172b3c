// Package scanner looks at targets: one probe package for each scan type, run by one handler that checks scope again, takes
// rate permits, bounds time, keeps the raw evidence and sends the result.
//
// It is the only service that talks to targets, which are hostile. It has no table but the rate limits and no way to the
// network but the guarded dialer. It refuses to judge what it sees.
package scanner

import (
	"cmp"
	"context"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"google.golang.org/grpc"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/ratelimit"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

const (
	name           = "scanner"
	limitsTable    = "ratelimits"
	evidenceBucket = "evidence"
	resultsQueue   = "results"
	// concurrency is how many jobs of one scan type run at a time in one process. They mostly wait for targets.
	concurrency = 64
)

// SpecFor is a scanner of some scan types, so that each can be deployed with the memory it needs. Package all has them all.
func SpecFor(list ...probes.Probe) app.Spec {
	s := app.Spec{
		Name: name, Trust: app.HostileNetwork,
		Serves:       []string{scannerv1.ScannerService_ServiceDesc.ServiceName},
		Sends:        []string{resultsQueue},
		Tables:       []string{limitsTable},
		Buckets:      []string{evidenceBucket},
		Calls:        []string{"ingest"},
		Secrets:      secretsOf(list),
		EntersClouds: entersClouds(list),
		MemoryMiB:    512, Timeout: 15 * time.Minute,
		Build: func(d app.Deps) (app.Service, error) { return build(d, list) },
	}
	for _, p := range list {
		s.Consumes = append(s.Consumes, app.Consumer{Queue: Queue(p.ScanType()), Concurrency: concurrency, Visibility: 2 * time.Minute})
	}
	if len(list) == 1 {
		if own, ok := sizes[list[0].ScanType()]; ok {
			s.MemoryMiB, s.Timeout = own.memoryMiB, own.timeout
		}
	}
	return s
}

// sizes are memory and timeout of a function that does one scan type. What a scan may take is the scheduler's budget: ten minutes
// for the ports of a deep scan, a minute for the rest, and a batch may bring several jobs of one group, one after the other. What
// is not begun at 80 % of the timeout is handed back. Memory is share of a processor too: bodies of web pages need most.
var sizes = map[modelv1.ScanType]struct {
	memoryMiB int
	timeout   time.Duration
}{
	modelv1.ScanType_SCAN_TYPE_DNS: {256, 5 * time.Minute},
	// Subdomain and intel hold answers of third parties, which are at most 16 MiB as they come.
	modelv1.ScanType_SCAN_TYPE_SUBDOMAIN: {512, 5 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_INTEL:     {256, 5 * time.Minute},
	// Cloud holds the resources of an account, and up to some tens of answers of 16 MiB at most.
	modelv1.ScanType_SCAN_TYPE_CLOUD:   {1024, 11 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_PORT:    {512, 11 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_SERVICE: {512, 5 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_TLS:     {512, 5 * time.Minute},
	modelv1.ScanType_SCAN_TYPE_HTTP:    {1024, 5 * time.Minute},
	// The engine of vuln is a program of its own, which a function has not: it runs in containers and on one machine.
	modelv1.ScanType_SCAN_TYPE_VULN: {1024, 11 * time.Minute},
}

// settings of the service.
type settings struct {
	// AllowPrivate permits scans of loopback and private addresses.
	AllowPrivate bool `env:"RISKPROFILER_ALLOW_PRIVATE"`
	// Resolver is the DNS server to ask, host:port; empty: the system's.
	Resolver string `env:"RISKPROFILER_RESOLVER"`
	// ResolverRate is how many questions a second it takes from one process that guesses names.
	ResolverRate float64 `env:"RISKPROFILER_RESOLVER_RATE" envDefault:"800"`
	// The rates are connections a second: to one target host, to one host by all scan types but the port scan, to one network
	// (/24, /48), for one tenant, and in all. Loopback addresses are this machine and are not limited unless LimitLoopback.
	HostRate      float64 `env:"RISKPROFILER_HOST_RATE" envDefault:"200"`
	RequestRate   float64 `env:"RISKPROFILER_REQUEST_RATE" envDefault:"30"`
	NetworkRate   float64 `env:"RISKPROFILER_NETWORK_RATE" envDefault:"1000"`
	TenantRate    float64 `env:"RISKPROFILER_TENANT_RATE" envDefault:"2000"`
	GlobalRate    float64 `env:"RISKPROFILER_GLOBAL_RATE" envDefault:"10000"`
	LimitLoopback bool    `env:"RISKPROFILER_LIMIT_LOOPBACK"`
	// Contact is the page or mail address that every request names.
	Contact string `env:"RISKPROFILER_CONTACT"`
	// Nuclei is the program of the engine of vuln, and NucleiTemplates the folder of its templates; empty: it is not installed.
	Nuclei          string `env:"RISKPROFILER_NUCLEI"`
	NucleiTemplates string `env:"RISKPROFILER_NUCLEI_TEMPLATES"`
	// Chromium is the program that http takes screenshots with; empty: it takes none.
	Chromium string `env:"RISKPROFILER_CHROMIUM"`
	Third    thirdPartySettings
	Cloud    cloudSettings
}

// rates are the limits, or what is wrong with them.
func (c settings) rates() (Rates, error) {
	for name, rate := range map[string]float64{
		"RISKPROFILER_HOST_RATE": c.HostRate, "RISKPROFILER_REQUEST_RATE": c.RequestRate, "RISKPROFILER_NETWORK_RATE": c.NetworkRate,
		"RISKPROFILER_TENANT_RATE": c.TenantRate, "RISKPROFILER_GLOBAL_RATE": c.GlobalRate, "RISKPROFILER_RESOLVER_RATE": c.ResolverRate,
	} {
		if !(rate >= minRate && rate <= ratelimit.MaxRate) { // so written, NaN is caught
			return Rates{}, fault.New(fault.Invalid, "read settings: %s is %v, want %v to %v a second", name, rate, minRate, float64(ratelimit.MaxRate))
		}
	}
	return Rates{
		Host: c.HostRate, Request: c.RequestRate, Network: c.NetworkRate, Tenant: c.TenantRate, Global: c.GlobalRate, Loopback: c.LimitLoopback,
	}, nil
}

// minRate is one connection in a hundred seconds: with less no scan ends.
const minRate = 0.01

// contactForm is a page or a mail address that fits into a header.
var contactForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(https?://|mailto:)[!-'*-~]{1,200}$`) // printable, without the parentheses of a header's comment
})

func (c settings) contact() (string, error) {
	if c.Contact != "" && !contactForm().MatchString(c.Contact) {
		return "", fault.New(fault.Invalid, "read settings: RISKPROFILER_CONTACT is neither an http(s) URL nor mailto:address")
	}
	return c.Contact, nil
}

// Deps is what the service stands on.
type Deps struct {
	Probes []probes.Probe
	Guard  *netguard.Guard
	Limits *table.Table
	Rates  Rates
	// ResolverRate is how many questions a second the resolver takes; 0: the usual.
	ResolverRate float64
	// Contact is named by every request; empty: probes.DefaultContact.
	Contact string
	// Nuclei is the engine of vuln; empty: it is not installed.
	Nuclei probes.EngineFiles
	// Chromium takes the screenshots of http; empty: it is not installed.
	Chromium string
	// Cloud is what the operator says about cloud providers.
	Cloud probes.CloudSettings
	// CloudGuard is the way to the interfaces of cloud providers, which are no targets; nil: Guard.
	CloudGuard *netguard.Guard
	// Providers asks third parties; nil: nobody does.
	Providers *providers.Client
	Evidence  blob.Bucket
	Results   *queue.Queue
	Ingest    ingestv1.IngestServiceClient
	Logger    *slog.Logger
	// Metrics counts finished jobs. Nil: nobody counts.
	Metrics *telemetry.Metrics
	// Self puts the service's own name for a tenant into a context.
	Self func(ctx context.Context, tenant string) context.Context
}

// Service implements ScannerService and handles scan jobs.
type Service struct {
	scannerv1.UnimplementedScannerServiceServer

	probes  map[modelv1.ScanType]probes.Probe
	order   []probes.Probe
	guard   *netguard.Guard
	limiter *ratelimit.Limiter
	rates   Rates
	// resolverRate is 0 for the usual one.
	resolverRate float64
	contact      string
	tenants      tenantCount
	nuclei       probes.EngineFiles
	// chromium is empty where it is not installed.
	chromium string
	clouds   probes.CloudSettings
	// cloudGuard is the way to the interfaces of cloud providers.
	cloudGuard *netguard.Guard
	// providers is nil where no scan type asks third parties.
	providers *providers.Client
	evidence  blob.Bucket
	results   *queue.Queue
	ingest    ingestv1.IngestServiceClient
	log       *slog.Logger
	metrics   *telemetry.Metrics
	self      func(ctx context.Context, tenant string) context.Context
	watch     watcher
}

// New makes the service.
func New(d Deps) *Service {
	s := &Service{
		probes: map[modelv1.ScanType]probes.Probe{}, order: d.Probes, guard: d.Guard,
		limiter: ratelimit.New(ratelimit.Options{Table: d.Limits}), tenants: tenantCount{table: d.Limits}, rates: d.Rates, resolverRate: d.ResolverRate, contact: d.Contact,
		nuclei: d.Nuclei, chromium: d.Chromium, evidence: d.Evidence, results: d.Results, providers: d.Providers,
		ingest: d.Ingest, log: d.Logger, metrics: d.Metrics, self: d.Self,
	}
	s.clouds, s.cloudGuard = d.Cloud, cmp.Or(d.CloudGuard, d.Guard)
	s.watch = watcher{ingest: d.Ingest, self: d.Self, log: d.Logger}
	for _, p := range d.Probes {
		s.probes[p.ScanType()] = p
	}
	return s
}

func build(d app.Deps, list []probes.Probe) (app.Service, error) {
	var c settings
	if err := d.Settings(&c); err != nil {
		return app.Service{}, err
	}
	options := netguard.Options{AllowPrivate: c.AllowPrivate, Resolver: c.Resolver}
	if err := options.Validate(); err != nil {
		return app.Service{}, err
	}
	rates, err := c.rates()
	if err != nil {
		return app.Service{}, err
	}
	contact, err := c.contact()
	if err != nil {
		return app.Service{}, err
	}
	if err := c.Cloud.validate(); err != nil {
		return app.Service{}, err
	}
	asks, err := thirdParties(d, c, list, contact)
	if err != nil {
		return app.Service{}, err
	}
	s := New(Deps{
		Probes: list, Providers: asks, Guard: netguard.New(options), Limits: d.Table(limitsTable),
		Rates: rates, ResolverRate: c.ResolverRate, Contact: contact, Nuclei: probes.EngineFiles{Program: c.Nuclei, Templates: c.NucleiTemplates}, Chromium: c.Chromium, Evidence: d.Bucket(evidenceBucket),
		Cloud: probes.CloudSettings{URLs: c.Cloud.URLs, Regions: c.Cloud.Regions}, CloudGuard: c.Cloud.guard(options),
		Results: d.Queue(resultsQueue), Ingest: ingestv1.NewIngestServiceClient(d.Peer("ingest")), Logger: d.Logger, Metrics: d.Telemetry.Metrics, Self: d.Context,
	})
	service := app.Service{
		Register: func(r grpc.ServiceRegistrar) { scannerv1.RegisterScannerServiceServer(r, s) },
		Handlers: map[string]queue.Handler{}, Parked: map[string]func(context.Context, queue.Message, error) error{},
	}
	for _, p := range list {
		service.Handlers[Queue(p.ScanType())] = s.handle
		service.Parked[Queue(p.ScanType())] = s.parked
	}
	return service, nil
}
