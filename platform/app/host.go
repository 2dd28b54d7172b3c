package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
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
	Table(ctx context.Context, name string) (table.Driver, error)
	// Queue opens a queue; consumer says whether this process takes messages from it.
	Queue(ctx context.Context, name string, consumer bool) (queue.Driver, error)
	Bucket(ctx context.Context, name string) (blob.Bucket, error)
	// Workflow returns the engine, and what has to run in this process, if anything.
	Workflow(ctx context.Context, r WorkflowRequest) (workflow.Engine, func(context.Context) error, error)
	// KeysDir is where the services' signing keys lie.
	KeysDir() string
	Close() error
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
}

// Host is a wired process.
type Host struct {
	specs     []Spec
	services  map[string]Service
	settings  map[string]string
	config    Settings
	telemetry *telemetry.Telemetry
	backends  Backends
	mux       *wire.Mux
	server    wire.MuxOptions
	signers   map[string]*authn.Signer
	conns     map[string]grpc.ClientConnInterface
	dialed    []*grpc.ClientConn
	tables    map[string]*table.Table
	senders   map[string]*queue.Queue
	consumers map[string]*queue.Queue
	buckets   map[string]blob.Bucket
	engine    workflow.Engine
	runner    func(context.Context) error
	closers   []func() error
	ready     func(context.Context) error
}

// Build wires the process: it opens handles and starts nothing. If it fails, what was opened is closed.
func Build(ctx context.Context, o Options) (*Host, error) {
	h := &Host{
		specs: o.Specs, settings: o.Settings, telemetry: o.Telemetry,
		services: map[string]Service{}, signers: map[string]*authn.Signer{}, conns: map[string]grpc.ClientConnInterface{},
		tables: map[string]*table.Table{}, senders: map[string]*queue.Queue{}, consumers: map[string]*queue.Queue{},
		buckets: map[string]blob.Bucket{},
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
		h.openTelemetry,
		func(ctx context.Context) (err error) { h.backends, err = drivers(ctx, h.settings); return err },
		h.openKeys, h.openStores, h.openQueues, h.openPeers, h.openWorkflow, h.buildServices,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) openTelemetry(ctx context.Context) error {
	if h.telemetry != nil {
		return nil
	}
	name := "riskprofiler"
	if len(h.specs) == 1 {
		name = h.specs[0].Name
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(h.config.LogLevel)); err != nil {
		return fault.New(fault.Invalid, "read settings: RISKPROFILER_LOG_LEVEL is %q; use debug, info, warn or error", h.config.LogLevel)
	}
	t, err := telemetry.Setup(ctx, telemetry.Options{Service: name, Level: level, OTLPEndpoint: h.config.OTLP})
	if err != nil {
		return err
	}
	h.telemetry = t
	h.closers = append(h.closers, func() error { return t.Shutdown(context.WithoutCancel(ctx)) })
	return nil
}

// openKeys loads one signing key for each service here, and one for the workflow where it runs: nobody can speak in the
// name of a service that is not in this process.
func (h *Host) openKeys(context.Context) error {
	dir := h.backends.KeysDir()
	names := []string{}
	for _, s := range h.specs {
		names = append(names, s.Name)
		if len(s.Workflows) > 0 {
			names = append(names, workflowService)
		}
	}
	for _, name := range names {
		key, err := authn.LoadKeys(dir, name)
		if err != nil {
			return err
		}
		if h.signers[name], err = authn.NewSigner(authn.SignerOptions{Service: name, Key: key}); err != nil {
			return err
		}
	}
	verifier := authn.NewVerifier(authn.VerifierOptions{Keys: authn.OpenKeyRing(dir)})
	policies := authn.NewPolicySource(authn.PolicyOptions{})
	validator, err := protovalidate.New()
	if err != nil {
		return fault.Wrap(fault.Internal, err, "make validator")
	}
	h.server = wire.MuxOptions{Logger: h.telemetry.Logger, Interceptors: []grpc.UnaryServerInterceptor{
		h.telemetry.UnaryServerInterceptor(telemetry.ServerOptions{}), authn.UnaryServerInterceptor(verifier, policies), validate(validator),
	}}
	h.mux = wire.NewMux(h.server)
	return nil
}

func (h *Host) openStores(ctx context.Context) error {
	for _, s := range h.specs {
		for _, name := range s.Tables {
			if h.tables[name] != nil {
				continue
			}
			d, err := h.backends.Table(ctx, name)
			if err != nil {
				return err
			}
			h.tables[name] = table.New(d, table.Options{Name: name})
		}
		for _, name := range s.Buckets {
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
				if h.senders[name], err = h.openQueue(ctx, Consumer{Queue: name}, spill, nil); err != nil {
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
			if h.consumers[c.Queue], err = h.openQueue(ctx, c, spill, parked); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *Host) openQueue(ctx context.Context, c Consumer, spill blob.Bucket, parked func(context.Context, queue.Message, error) error) (*queue.Queue, error) {
	d, err := h.backends.Queue(ctx, c.Queue, parked != nil)
	if err != nil {
		return nil, err
	}
	return queue.New(d, queue.Options{
		Name: c.Queue, Spill: spill, Concurrency: c.Concurrency, Visibility: c.Visibility, OnParked: parked,
		TracerProvider: h.telemetry.TracerProvider, MeterProvider: h.telemetry.MeterProvider, Logger: h.telemetry.Logger,
	}), nil
}

// openPeers connects every service here with the ones it calls: over the mux if they are in this process, else by gRPC.
func (h *Host) openPeers(context.Context) error {
	for _, s := range h.specs {
		if err := h.connect(s.Name, s.Calls); err != nil {
			return err
		}
		if len(s.Workflows) > 0 {
			if err := h.connect(workflowService, append(workflowCalls(s), s.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *Host) connect(from string, to []string) error {
	options := wire.ConnOptions{Interceptors: []grpc.UnaryClientInterceptor{
		h.telemetry.UnaryClientInterceptor(), deadline(), authn.UnaryClientInterceptor(h.signers[from]),
	}}
	for _, peer := range to {
		key := from + ">" + peer
		if slices.ContainsFunc(h.specs, func(s Spec) bool { return s.Name == peer }) {
			h.conns[key] = wire.NewConn(h.mux, options)
			continue
		}
		addr, ok := h.config.Peers[peer]
		if !ok {
			return fault.New(fault.Invalid, "connect %s to %s: the service is not in this process and RISKPROFILER_PEERS does not say where it is", from, peer)
		}
		cc, err := grpc.NewClient("dns:///"+addr, append(wire.GRPCDialOptions(options), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err != nil {
			return fault.Wrap(fault.Invalid, err, "connect %s to %s", from, peer)
		}
		h.conns[key] = cc
		h.dialed = append(h.dialed, cc)
		h.closers = append(h.closers, cc.Close)
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
			spec: s, host: h, Telemetry: h.telemetry.For(s.Name), Logger: h.telemetry.For(s.Name).Logger, Signer: h.signers[s.Name],
		}
		if len(s.Workflows) > 0 || s.CompletesTasks {
			d.Workflow = h.engine
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
