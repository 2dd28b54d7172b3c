package app

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"

	"google.golang.org/grpc"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/wire"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// WorkflowRequest is what a driver needs to give out a workflow engine.
type WorkflowRequest struct {
	// Machines are the definitions that this process runs; none: it only starts and completes.
	Machines map[string][]byte
	// Resources are the values of the placeholders in the definitions.
	Resources map[string]string
	Invoke    func(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error)
	Send      func(ctx context.Context, queue string, m queue.Message) error
	// Telemetry is where spans go.
	Telemetry *telemetry.Telemetry
}

// Backends hand out the opened resources of one set of drivers.
type Backends interface {
	// Table opens a table with these indexes.
	Table(ctx context.Context, name string, indexes []string) (table.Driver, error)
	// Queue opens a queue; consumer says whether this process takes messages from it.
	Queue(ctx context.Context, name string, consumer bool) (queue.Driver, error)
	Bucket(ctx context.Context, name string) (blob.Bucket, error)
	// Workflow returns the engine, and what has to run in this process, if anything.
	Workflow(ctx context.Context, r WorkflowRequest) (workflow.Engine, func(context.Context) error, error)
	// Keys is where the services' signing keys lie.
	Keys() authn.KeyStore
	// Secrets is where the secrets of tenants lie.
	Secrets() secret.Store
	Close() error
}

// XRaySigner makes the transport that signs what is sent to X-Ray in a region. Backends that are one let spans go to X-Ray
// itself: see telemetry.Options.XRay.
type XRaySigner interface {
	XRay(region string) http.RoundTripper
}

// Drivers open backends from settings.
type Drivers func(ctx context.Context, settings map[string]string) (Backends, error)

// Options make a host.
type Options struct {
	Drivers Drivers
	Specs   []Spec
	// Settings replace the environment if set.
	Settings map[string]string
	// Telemetry replaces what the settings say, for tests.
	Telemetry *telemetry.Telemetry
	// Secrets replace the drivers' if set, for a run that keeps none.
	Secrets secret.Store
}

// Host is a wired process.
type Host struct {
	specs     []Spec
	services  map[string]Service
	settings  map[string]string
	config    Settings
	telemetry *telemetry.Telemetry
	named     map[string]*telemetry.Telemetry
	backends  Backends
	mux       *wire.Mux
	server    wire.MuxOptions
	admit     []grpc.UnaryServerInterceptor // before validate, everywhere
	validate  grpc.UnaryServerInterceptor
	tls       *mtls.Source // nil: no certificate is set
	signers   map[string]*authn.Signer
	conns     map[string]grpc.ClientConnInterface
	dialed    []*grpc.ClientConn
	tables    map[string]*table.Table
	senders   map[string]*queue.Queue
	consumers map[string]*queue.Queue
	buckets   map[string]blob.Bucket
	secrets   secret.Store
	sources   map[string]eventSource // the consumed queues whose driver takes events
	// stateMachine signs for calls of a state machine, in a function.
	stateMachine ownWorkflow
	engine       workflow.Engine
	runner       func(context.Context) error
	closers      []func() error
	ready        func(context.Context) error
}

// Build wires the process: it opens handles and starts nothing. If it fails, what was opened is closed.
func Build(ctx context.Context, o Options) (*Host, error) {
	h := &Host{
		specs: o.Specs, settings: o.Settings, telemetry: o.Telemetry, secrets: o.Secrets,
		named: map[string]*telemetry.Telemetry{}, services: map[string]Service{}, signers: map[string]*authn.Signer{}, conns: map[string]grpc.ClientConnInterface{},
		tables: map[string]*table.Table{}, senders: map[string]*queue.Queue{}, consumers: map[string]*queue.Queue{},
		buckets: map[string]blob.Bucket{}, sources: map[string]eventSource{},
	}
	if h.settings == nil {
		h.settings = Environment()
	}
	if err := h.build(ctx, o.Drivers); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Host) build(ctx context.Context, drivers Drivers) error {
	if err := decode(h.settings, &h.config); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) (err error) { h.backends, err = drivers(ctx, h.settings); return err },
		h.openTelemetry,
		h.openKeys, h.openTLS, h.openStores, h.openQueues, h.openWorkflow, h.openPeers, h.buildServices,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openKeys gets one signing key for each service here: nobody can speak in the name of a service that is not in this process.
func (h *Host) openKeys(ctx context.Context) error {
	store := h.backends.Keys()
	for _, s := range h.specs {
		var err error
		if h.signers[s.Name], err = store.Signer(ctx, s.Name); err != nil {
			return err
		}
	}
	keys := store.Keys()
	if h.config.RuntimeAPI != "" {
		h.stateMachine = newOwnWorkflow()
		keys = authn.JoinKeys(h.stateMachine, keys)
	}
	verifier := authn.NewVerifier(authn.VerifierOptions{Keys: keys})
	policies := authn.NewPolicySource(authn.PolicyOptions{})
	h.admit = []grpc.UnaryServerInterceptor{
		h.telemetry.UnaryServerInterceptor(telemetry.ServerOptions{Services: h.owners()}), authn.UnaryServerInterceptor(verifier, policies),
	}
	h.validate = validate()
	h.server = wire.MuxOptions{Logger: h.telemetry.Logger, Interceptors: append(slices.Clone(h.admit), h.validate)}
	h.mux = wire.NewMux(h.server)
	return nil
}

func (h *Host) openStores(ctx context.Context) error {
	for _, s := range h.specs {
		if s.Secrets != "" && h.secrets == nil {
			h.secrets = h.backends.Secrets()
		}
		for _, name := range s.Tables {
			if h.tables[name] != nil {
				continue
			}
			d, err := h.backends.Table(ctx, name, s.Indexes[name])
			if err != nil {
				return err
			}
			h.tables[name] = table.New(d, table.Options{Name: name, Indexes: append([]string{}, s.Indexes[name]...)})
		}
		for _, name := range slices.Concat(s.Buckets, s.Reads) {
			b, err := h.backends.Bucket(ctx, name)
			if err != nil {
				return err
			}
			h.buckets[name] = b
		}
	}
	return nil
}

func (h *Host) openQueues(ctx context.Context) error {
	spill, err := h.backends.Bucket(ctx, spillBucket)
	if err != nil {
		return err
	}
	for _, s := range h.specs {
		for _, name := range s.Sends {
			if h.senders[name] == nil {
				if h.senders[name], err = h.openQueue(ctx, s.Name, Consumer{Queue: name}, spill, nil); err != nil {
					return err
				}
			}
		}
		for _, c := range s.Consumes {
			parked := func(ctx context.Context, m queue.Message, cause error) error {
				if f := h.services[s.Name].Parked[c.Queue]; f != nil {
					return f(ctx, m, cause)
				}
				return nil
			}
			if h.consumers[c.Queue], err = h.openQueue(ctx, s.Name, c, spill, parked); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *Host) openQueue(ctx context.Context, service string, c Consumer, spill blob.Bucket, parked func(context.Context, queue.Message, error) error) (*queue.Queue, error) {
	t := h.telemetryOf(service)
	d, err := h.backends.Queue(ctx, c.Queue, parked != nil)
	if err != nil {
		return nil, err
	}
	if source, ok := d.(eventSource); ok && parked != nil {
		h.sources[c.Queue] = source
	}
	return queue.New(d, queue.Options{
		Name: c.Queue, Spill: spill, Concurrency: c.Concurrency, Visibility: c.Visibility, OnParked: parked,
		TracerProvider: t.TracerProvider, MeterProvider: t.MeterProvider, Logger: t.Logger, OwnTraces: t.Bounded(),
	}), nil
}

// openPeers connects every service here with the ones it calls: over the mux if they are in this process, else by gRPC.
func (h *Host) openPeers(ctx context.Context) error {
	for _, s := range h.specs {
		if err := h.connect(s.Name, s.Calls); err != nil {
			return err
		}
		if len(s.Workflows) == 0 || h.runner == nil {
			continue // a workflow that runs elsewhere calls the services by itself
		}
		var err error
		if h.signers[workflowService], err = h.backends.Keys().Signer(ctx, workflowService); err != nil {
			return err
		}
		if err := h.connect(workflowService, append(workflowCalls(s), s.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) conn(from, to string) grpc.ClientConnInterface { return h.conns[from+">"+to] }

// Conn is a connection to a service in the name of another one of this process, for the command line and for tests.
func (h *Host) Conn(from, to string) grpc.ClientConnInterface { return h.conn(from, to) }

// OnReady sets what is done once all listeners are open and before anything is served. An error ends Run.
func (h *Host) OnReady(f func(context.Context) error) { h.ready = f }

// Telemetry is where the process's spans, metrics and logs go.
func (h *Host) Telemetry() *telemetry.Telemetry { return h.telemetry }

func (h *Host) buildServices(context.Context) error {
	for i := range h.specs {
		s := &h.specs[i]
		d := Deps{
			spec: s, host: h, Telemetry: h.telemetryOf(s.Name), Logger: h.telemetryOf(s.Name).Logger, Signer: h.signers[s.Name],
		}
		if len(s.Workflows) > 0 || s.CompletesTasks {
			d.Workflow = measured{h.engine, h.telemetryOf(s.Name).Metrics}
		}
		service, err := s.Build(d)
		if err != nil {
			return fault.Wrap(fault.CodeOf(err), err, "build service %s", s.Name)
		}
		if service.Close != nil {
			h.closers = append(h.closers, service.Close)
		}
		for _, c := range s.Consumes {
			if service.Handlers[c.Queue] == nil {
				return fault.New(fault.Internal, "build service %s: no handler for queue %s", s.Name, c.Queue)
			}
		}
		h.services[s.Name] = service
		if service.Register != nil {
			service.Register(h.mux)
		}
	}
	return nil
}

// Close releases everything in reverse order of opening.
func (h *Host) Close() error {
	var errs []error
	for _, c := range slices.Backward(h.closers) {
		errs = append(errs, c())
	}
	h.closers = nil
	if h.backends != nil {
		errs = append(errs, h.backends.Close())
		h.backends = nil
	}
	return errors.Join(errs...)
}

// DataPath joins a path below the data directory of the settings.
func DataPath(settings map[string]string, elem ...string) (string, error) {
	var c Settings
	if err := decode(settings, &c); err != nil {
		return "", err
	}
	return filepath.Join(append([]string{c.Data}, elem...)...), nil
}
