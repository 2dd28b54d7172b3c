package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

const (
	// certificateLifetime is more than any test takes.
	certificateLifetime = time.Hour
	// healthEvery is how often a process that starts is asked for its health, healthLimit for how long.
	healthEvery = 100 * time.Millisecond
	healthLimit = time.Minute
	// endLimit is how long a process may take to end after SIGTERM: stop_grace_period in deploy/compose/compose.yaml.
	endLimit = 35 * time.Second
	// provider makes the resources on stand-ins: the service `setup` in compose.yaml.
	provider = "standins"
)

// containerSpecs are the services that are one container each. The scanner's does all scan types.
func containerSpecs() []app.Spec {
	return []app.Spec{ingest.Spec, scheduler.Spec, all.Spec, correlator.Spec, reporter.Spec, gateway.Spec}
}

// containerPackages are the commands in images, but that with the embedded drivers.
func containerPackages() []string {
	out := []string{"./cmd/" + provider}
	for _, s := range containerSpecs() {
		out = append(out, "./services/"+s.Name+"/cmd/"+s.Name)
	}
	return out
}

// ContainerOptions say where containers are to live.
type ContainerOptions struct {
	// Backend is RISKPROFILER_BACKEND.
	Backend string
	// Settings are further settings of all services.
	Settings map[string]string
	// Binaries is the directory of [ContainerBinaries], Certificates one for certificates, Work an empty one that processes run in.
	Binaries, Certificates, Work string
}

// Containers are the services as they run in containers, without the containers: one process each of the binary in the image,
// with an environment that is its settings and nothing else, and with its own certificate.
type Containers struct {
	// Address is where the edge listens.
	Address string
	// Places are where services listen for their peers, by name.
	Places map[string]string
	// Log is what all processes print.
	Log *tail

	options ContainerOptions
	running map[string]*process
}

// process is one that runs. Its end is in err once ended is closed.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// NewContainers makes the certificates and the resources on the stand-ins.
func NewContainers(ctx context.Context, o ContainerOptions) (*Containers, error) {
	c := &Containers{Places: map[string]string{}, Log: &tail{}, options: o, running: map[string]*process{}}
	holders := map[string][]string{}
	for _, s := range containerSpecs() {
		holders[s.Name] = app.Identities(s)
	}
	if err := mtls.WriteDir(o.Certificates, holders, certificateLifetime); err != nil {
		return nil, err
	}
	free, err := freeAddresses(ctx, len(holders)+1)
	if err != nil {
		return nil, err
	}
	c.Address = free[0]
	for i, name := range slices.Sorted(maps.Keys(holders)) {
		c.Places[name] = free[i+1]
	}
	_, err = c.Run(ctx, provider)
	return c, err
}

// freeAddresses are loopback addresses with ports that nobody listens on. Another program may take one before it is used; a process
// then ends with an error that names the port.
func freeAddresses(ctx context.Context, n int) ([]string, error) {
	var out []string
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck,revive // all are open at once, so that they differ
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// environment is that of one service's process: what compose.yaml sets.
func (c *Containers) environment(service string) []string {
	var peers []string
	for _, name := range slices.Sorted(maps.Keys(c.Places)) {
		peers = append(peers, name+"="+c.Places[name])
	}
	files := mtls.In(c.options.Certificates, service)
	env := map[string]string{
		"RISKPROFILER_BACKEND": c.options.Backend, "RISKPROFILER_PEERS": strings.Join(peers, ","),
		"RISKPROFILER_PEER_LISTEN": c.Places[service], "RISKPROFILER_LISTEN": c.Address,
		"RISKPROFILER_TLS_CERT": files.Cert, "RISKPROFILER_TLS_KEY": files.Key, "RISKPROFILER_TLS_CA": files.CA,
		"AWS_ACCESS_KEY_ID": "stand-in", "AWS_SECRET_ACCESS_KEY": "stand-in", // the stand-ins take any, and the SDK wants some
	}
	maps.Copy(env, c.options.Settings)
	var out []string
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out
}

// Run runs a command of a binary to its end and returns what it printed.
func (c *Containers) Run(ctx context.Context, binary string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.options.Binaries, binary), args...)
	cmd.Dir, cmd.Env = c.options.Work, c.environment(binary)
	var out, why bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &why
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", binary, strings.Join(args, " "), err, strings.TrimSpace(why.String()))
	}
	return out.String(), nil
}

// Start starts a process for each service and returns when all say that they serve.
func (c *Containers) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	for name := range c.Places {
		cmd := exec.Command(filepath.Join(c.options.Binaries, name)) //nolint:noctx // ended by SIGTERM in Stop and not by a context's SIGKILL
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.options.Work, c.environment(name), c.Log, c.Log
		if err := cmd.Start(); err != nil {
			return err
		}
		p := &process{cmd: cmd, ended: make(chan struct{})}
		c.running[name] = p
		go func() {
			p.err = cmd.Wait()
			close(p.ended)
		}()
	}
	for _, name := range slices.Sorted(maps.Keys(c.running)) {
		if err := c.awaitHealth(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// awaitHealth asks as a container's health check does.
func (c *Containers) awaitHealth(ctx context.Context, service string) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for last := errors.New("it was not asked"); ; {
		_, err := c.Run(ctx, service, "health")
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not become healthy: %w: %w", service, ctx.Err(), last)
		case <-c.running[service].ended:
			return fmt.Errorf("%s ended before it was healthy: %w", service, last)
		case <-tick.C:
		}
	}
}

// Stop tells all processes to end by SIGTERM, at once, and returns an error for each that does not end with status 0 in time.
func (c *Containers) Stop() error {
	var errs []error
	for name, p := range c.running {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			errs = append(errs, fmt.Errorf("%s had ended before it was told to: %w", name, err))
		}
	}
	for name, p := range c.running {
		kill := time.AfterFunc(endLimit, func() { _ = p.cmd.Process.Kill() })
		<-p.ended
		kill.Stop()
		if p.err != nil {
			errs = append(errs, fmt.Errorf("%s ended with %w", name, p.err))
		}
	}
	clear(c.running)
	return errors.Join(errs...)
}
