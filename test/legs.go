package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Specs are the six services.
func Specs() []app.Spec {
	return []app.Spec{ingest.Spec, scheduler.Spec, all.Spec, correlator.Spec, reporter.Spec, gateway.Spec}
}

// LegTargets are what the legs of the scenario assess in a lab on a network: DNS, web, TLS, mail found through DNS, and plain
// services: each scan type and each way to be found, and no more.
func LegTargets(network string) []string {
	at := strings.TrimSuffix(network, "0/24")
	return []string{"acme.test", "www.acme.test", "legacy.acme.test", "login.acme.test", at + "60", at + "62"}
}

// startLimit is how long a platform may take to answer: a process that starts on a busy machine.
const startLimit = time.Minute

// settings that both legs share.
func settings(o Options, data, listen string) map[string]string {
	out := map[string]string{
		"RISKPROFILER_DATA": data, "RISKPROFILER_ALLOW_PRIVATE": "true", "RISKPROFILER_RESOLVER": o.Resolver, "RISKPROFILER_RESOLVER_RATE": fmt.Sprint(lab.ResolverRate),
		"RISKPROFILER_LISTEN": listen, "RISKPROFILER_LOG_LEVEL": "warn", "RISKPROFILER_KEY_RATE": "10000", "RISKPROFILER_TENANT_REQUEST_RATE": "10000",
	}
	maps.Copy(out, o.Settings)
	return out
}

// InProcess runs the six services in this process.
func InProcess(t testing.TB, o Options) *Platform {
	t.Helper()
	log := &lockedBuffer{}
	p := &Platform{Address: freeAddress(t), Data: t.TempDir(), Log: log.String}
	options := telemetry.Options{Service: "riskprofiler", Writer: log, Level: slog.LevelWarn}
	if o.Verbose {
		options.Level = slog.LevelDebug
	}
	if o.Spans != nil {
		options.SpanProcessors = []sdktrace.SpanProcessor{o.Spans}
	}
	tel, err := telemetry.Setup(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	host, err := app.Build(t.Context(), app.Options{Drivers: drivers.Embedded, Specs: Specs(), Settings: settings(o, p.Data, p.Address), Telemetry: tel})
	if err != nil {
		t.Fatal(err)
	}
	p.Key, p.Host = bootstrap(t, host), host
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- host.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the platform ended with %v", err)
		}
		if err := host.Close(); err != nil {
			t.Errorf("the platform closed with %v", err)
		}
		_ = tel.Shutdown(context.Background())
		if t.Failed() {
			t.Logf("log of the platform:\n%s", log)
		}
	})
	p.AwaitReady(t)
	return p
}

// bootstrap makes the first tenant and returns its operator's key.
func bootstrap(t testing.TB, host *app.Host) string {
	t.Helper()
	key, err := gateway.Bootstrap(t.Context(), host.Conn(authn.ServiceGateway, authn.ServiceGateway), Tenant)
	if err != nil || key == "" {
		t.Fatalf("make the first key: %v", err)
	}
	return key
}

// AwaitReady waits until the edge answers.
func (p *Platform) AwaitReady(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := p.Call(ctx, p.Key, http.MethodGet, "/v1/scanTypes", nil, nil)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the platform does not answer: %v", err)
		case <-tick.C:
		}
	}
}

// Processes runs each of the six services as a process of its own on one data directory.
func Processes(t testing.TB, o Options) *Platform {
	t.Helper()
	p := &Platform{Address: freeAddress(t)}
	env := settings(o, t.TempDir(), p.Address)
	addresses, list := map[string]string{}, []string{}
	for _, s := range Specs() {
		addresses[s.Name] = freeAddress(t)
		list = append(list, s.Name+"="+addresses[s.Name])
	}
	env["RISKPROFILER_PEERS"] = strings.Join(list, ",")
	// The first key is made before anything runs, by a host of the gateway alone on the same data.
	host, err := app.Build(t.Context(), app.Options{Drivers: drivers.Embedded, Specs: []app.Spec{gateway.Spec}, Settings: env})
	if err != nil {
		t.Fatal(err)
	}
	p.Key = bootstrap(t, host)
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	bin := binaries(t)
	for _, s := range Specs() {
		env["RISKPROFILER_INSTANCE"], env["RISKPROFILER_PEER_LISTEN"] = s.Name, addresses[s.Name]
		startService(t, filepath.Join(bin, s.Name), env)
	}
	p.AwaitReady(t)
	return p
}

// startService starts one process, and ends it with SIGTERM when the test is over: it has to end by itself and well.
func startService(t testing.TB, path string, env map[string]string) {
	t.Helper()
	log := &lockedBuffer{}
	cmd := exec.Command(path) //nolint:noctx // built by this test; ended by SIGTERM below and not by a context's SIGKILL
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=512MiB")
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s had ended before it was told to: %v", filepath.Base(path), err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", filepath.Base(path), err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(path), log)
		}
	})
}

// built is where the binaries of this test run lie.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// binaries builds the six services once for all tests of this package and returns the directory they lie in. Call
// [removeBinaries] at the end.
func binaries(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "riskprofiler-test-"); built.err != nil {
			return
		}
		args := []string{"build", "-o", built.dir + "/"}
		for _, s := range Specs() {
			args = append(args, "./services/"+s.Name+"/cmd/"+s.Name)
		}
		cmd := exec.Command("go", args...) //nolint:noctx // fixed arguments
		cmd.Dir = ".."
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build the services: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.dir
}

// removeBinaries removes what [binaries] built.
func removeBinaries() error {
	if built.dir == "" {
		return nil
	}
	return os.RemoveAll(built.dir)
}

// lockedBuffer keeps the end of a log that several goroutines write to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// maxLog bounds what is kept of a log.
const maxLog = 1 << 20

var _ io.Writer = (*lockedBuffer)(nil)

// Write keeps p, unless the log is full.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() < maxLog {
		b.buf.Write(p)
	}
	return len(p), nil
}

// String is what was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
