package load

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

// cloud is the simulated AWS of one bubble: tables, queues and buckets, with one bill.
type cloud struct {
	bill   *bill
	faults *faults
	// steps is the table of the workflow engine: on AWS that is Step Functions, so it is on no bill and has no faults.
	steps *items

	mu     sync.Mutex
	tables map[string]*items
	queues map[string]*fifo
	blobs  *bucket
	keys   *keys
}

func newCloud(f *faults) *cloud {
	b := &bill{}
	return &cloud{
		bill: b, faults: f, steps: newItems(&bill{}, nil), tables: map[string]*items{}, queues: map[string]*fifo{},
		blobs: &bucket{bill: b, objects: map[string][]byte{}}, keys: newKeys(),
	}
}

// Table implements [app.Backends].
func (c *cloud) Table(_ context.Context, name string, _ []string) (table.Driver, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tables[name] == nil {
		c.tables[name] = newItems(c.bill, c.faults)
	}
	return c.tables[name], nil
}

func (c *cloud) queue(name string) *fifo {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queues[name] == nil {
		c.queues[name] = newFIFO(c.bill, c.faults)
		c.queues[name].scan = strings.HasPrefix(name, "scan-")
	}
	return c.queues[name]
}

// Queue implements [app.Backends].
func (c *cloud) Queue(_ context.Context, name string, _ bool) (queue.Driver, error) {
	return c.queue(name).open(), nil
}

// Bucket implements [app.Backends].
func (c *cloud) Bucket(context.Context, string) (blob.Bucket, error) { return c.blobs, nil }

// Keys implements [app.Backends].
func (c *cloud) Keys() authn.KeyStore { return c.keys }

// Secrets implements [app.Backends].
func (c *cloud) Secrets() secret.Store { return &secret.Memory{} }

// Close implements [app.Backends].
func (c *cloud) Close() error { return nil }

// Workflow implements [app.Backends]: the machine of the scheduler by our interpreter, as Step Functions would execute it.
func (c *cloud) Workflow(_ context.Context, r app.WorkflowRequest) (workflow.Engine, func(context.Context) error, error) {
	runner, err := workflow.NewRunner(workflow.RunnerOptions{
		Table: table.New(c.steps, table.Options{Name: "steps"}), Machines: r.Machines, Resources: r.Resources, Poll: -1,
		MaxExecutions: 5000, MaxEvents: 1_000_000,
		Invoke: func(ctx context.Context, function string, payload rawJSON) (rawJSON, error) {
			c.bill.invocations.Add(1)
			c.bill.steps.Add(transitions(payload))
			return r.Invoke(ctx, function, payload)
		},
		Send: func(ctx context.Context, name string, m queue.Message) error {
			c.bill.steps.Add(2) // Scan and ScanDone
			return r.Send(ctx, name, m)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return forgetful{runner, c.faults}, runner.Run, nil
}

// transitions counts the states that are entered with a call: the caller and what surrounds it in services/scheduler/assessment.asl.json.
func transitions(payload []byte) int64 {
	switch text := string(payload); {
	case strings.Contains(text, "/NextWave"):
		return 3 // NextWave, Decide, and Jobs, Pause or SeedDone
	case strings.Contains(text, "/EvaluateAssessment"):
		return 2 // Correlate and AllCorrelated
	case strings.Contains(text, "/CreateReport"):
		return 4 // Report, and once: Seeds, NoFailure, Evaluate
	}
	return 1
}

// bucket is S3 in memory.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	bill    *bill
}

// Put implements [blob.Bucket].
func (b *bucket) Put(_ context.Context, key string, data []byte) error {
	b.bill.blobs.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.objects[key]; ok && !slices.Equal(old, data) {
		return fault.New(fault.AlreadyExists, "object %s exists", key)
	}
	b.objects[key] = slices.Clone(data)
	return nil
}

// Get implements [blob.Bucket].
func (b *bucket) Get(_ context.Context, key string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if data, ok := b.objects[key]; ok {
		return slices.Clone(data), nil
	}
	return nil, fault.New(fault.NotFound, "object %s does not exist", key)
}

// List implements [blob.Bucket]; the services list nothing under load.
func (b *bucket) List(context.Context, string, string, int) ([]blob.Object, string, error) {
	return nil, "", nil
}

// Delete implements [blob.Bucket].
func (b *bucket) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	return nil
}

// SignedURL implements [blob.Bucket].
func (b *bucket) SignedURL(context.Context, string, time.Duration) (string, error) {
	return "", fault.New(fault.FailedPrecondition, "no links here")
}

// keys are the services' signing keys.
type keys struct {
	mu      sync.Mutex
	private map[string]ed25519.PrivateKey
	public  authn.StaticKeys
}

func newKeys() *keys {
	return &keys{private: map[string]ed25519.PrivateKey{}, public: authn.StaticKeys{}}
}

// Signer implements [authn.KeyStore].
func (k *keys) Signer(_ context.Context, service string) (*authn.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.private[service] == nil {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		k.private[service], k.public[service] = private, []ed25519.PublicKey{public}
	}
	return authn.NewSigner(authn.SignerOptions{Service: service, Key: k.private[service]})
}

// Keys implements [authn.KeyStore].
func (k *keys) Keys() authn.Keys { return k.public }

// platform is the six services over the simulated cloud, with probes that take their time and look at nothing.
type platform struct {
	*cloud
	host *app.Host
	stop func()
}

func startPlatform(t testing.TB, c *cloud, workers int, list ...probes.Probe) *platform {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	scans := scanner.SpecFor(list...)
	for i := range scans.Consumes {
		scans.Consumes[i].Concurrency = workers // function instances at a time: the mapping's maximum concurrency
	}
	tel, err := telemetry.Setup(ctx, telemetry.Options{Service: "riskprofiler", Writer: io.Discard, Level: slog.LevelError})
	if err != nil {
		t.Fatal(err)
	}
	host, err := app.Build(ctx, app.Options{
		Drivers: func(context.Context, map[string]string) (app.Backends, error) { return c, nil },
		Specs:   []app.Spec{ingest.Spec, scheduler.Spec, scans, correlator.Spec, reporter.Spec, gateway.Spec},
		Settings: map[string]string{
			"RISKPROFILER_LISTEN": app.ListenOff, "RISKPROFILER_LOG_LEVEL": "error", "RISKPROFILER_ALLOW_PRIVATE": "true",
		},
		Telemetry: tel,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- host.Run(ctx) }()
	var once sync.Once
	p := &platform{cloud: c, host: host}
	p.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the platform ended with %v", err)
			}
			_ = host.Close()
			_ = tel.Shutdown(context.Background())
		})
	}
	t.Cleanup(p.stop)
	return p
}

// as is the context of a tenant's operator.
func as(tenant string) context.Context {
	return authn.NewContext(context.Background(), authn.Principal{
		Tenant: tenant, Subject: "user:test", Roles: []string{authn.RoleOperator, authn.RoleAdmin},
	})
}

// percentile is the value below which a part of all lies.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[min(len(all)-1, int(p*float64(len(all))))]
}

func tenantOf(group string) string {
	tenant, _, _ := strings.Cut(group, "#")
	return tenant
}

func tenantName(n int) string { return fmt.Sprintf("tenant-%04d", n) }

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }
