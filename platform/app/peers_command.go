package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
)

// Version of the program.
const Version = "0.1.0"

// probeLimit is how long a process may take to answer about its health: below the 5 s after which ECS counts a probe as
// failed (docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html).
const probeLimit = 3 * time.Second

// command does what a service's binary can do beside serving, and reports whether it was asked to: "health" and "version".
// Anything else is refused: a service takes settings and no arguments.
func command(args []string, stdout, stderr io.Writer, settings map[string]string, specs []Spec) (code int, asked bool) {
	if len(args) == 0 {
		return 0, false
	}
	name := specs[0].Name
	var err error
	switch {
	case len(args) == 1 && args[0] == "version":
		_, err = fmt.Fprintln(stdout, name, VersionLine())
	case len(args) == 1 && args[0] == "health":
		if err = Probe(context.Background(), settings, specs...); err == nil {
			_, err = fmt.Fprintf(stdout, "%s: serving\n", name)
		}
	default:
		err = fault.New(fault.Invalid, "%.100q is no command; start without arguments to serve, or use health or version", strings.Join(args, " "))
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1, true
	}
	return 0, true
}

// VersionLine is the version, what it was built with, and the revision if the build knew it.
func VersionLine() string {
	line := fmt.Sprintf("%s (%s %s/%s", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				line += " " + s.Value
			}
		}
	}
	return line + ")"
}

// Probe asks the process that runs with these settings on this machine whether it serves. It is how an image without a
// shell finds out about itself.
func Probe(ctx context.Context, settings map[string]string, specs ...Spec) error {
	var c Settings
	if err := decode(settings, &c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	asked := false
	for _, s := range specs {
		if s.Trust == Edge && c.Listen != ListenOff {
			asked = true
			if err := probeEdge(ctx, c.Listen); err != nil {
				return err
			}
		}
	}
	if c.PeerListen != "" {
		return probePeer(ctx, c, specs[0].Name)
	}
	if !asked {
		return fault.New(fault.FailedPrecondition, "nothing listens that could be asked; set RISKPROFILER_PEER_LISTEN as for the service")
	}
	return nil
}

// probeEdge asks over HTTP.
func probeEdge(ctx context.Context, listen string) error {
	address, err := here(listen)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "ask %s", address)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "%s does not answer: %s", address, cause(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fault.New(fault.Unavailable, "%s answers with status %d", address, res.StatusCode)
	}
	return nil
}

// probePeer asks over gRPC, as the service that it asks.
func probePeer(ctx context.Context, c Settings, service string) error {
	address, err := here(c.PeerListen)
	if err != nil {
		return err
	}
	proof := insecure.NewCredentials()
	source, err := openTLS(c, mtls.Options{Services: []string{service}})
	if err != nil {
		return err
	}
	if source != nil {
		proof = source.ClientCredentials(service)
	}
	cc, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(proof), grpc.WithNoProxy())
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "ask %s", address)
	}
	defer func() { _ = cc.Close() }()
	reply, err := healthv1.NewHealthClient(cc).Check(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		return fault.New(fault.Unavailable, "%s does not answer: %s", address, oneLine(err))
	}
	if s := reply.GetStatus(); s != healthv1.HealthCheckResponse_SERVING {
		return fault.New(fault.Unavailable, "%s is %s", address, strings.ToLower(strings.ReplaceAll(s.String(), "_", " ")))
	}
	return nil
}

// here is how this machine reaches what listens on an address: one that means all interfaces becomes loopback.
func here(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fault.New(fault.Invalid, "%q is no address and port", listen)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// Once builds a process of these specs, does one thing with it, closes it, and returns the exit code: 0, or 1 after one
// line on stderr. Nothing is served meanwhile.
func Once(stderr io.Writer, drivers Drivers, do func(context.Context, *Host) error, specs ...Spec) int {
	ctx := context.Background()
	settings := Environment()
	delete(settings, "RISKPROFILER_PEER_LISTEN")
	host, err := Build(ctx, Options{Drivers: drivers, Specs: specs, Settings: settings})
	if err == nil {
		err = errors.Join(do(ctx, host), host.Close())
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", specs[0].Name, oneLine(err))
		return 1
	}
	return 0
}

// commandLine is what the process was started with.
func commandLine() []string { return os.Args[1:] }
