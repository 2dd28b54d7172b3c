package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/footprint"
)

// Run serves until ctx ends, then drains: it stops taking work, lets running work finish within the drain time, and
// returns nil if all of it did.
func (h *Host) Run(ctx context.Context) error {
	tuneCollector()
	listeners, err := h.listen(ctx)
	if err != nil {
		return err
	}
	if h.ready != nil {
		if err := h.ready(ctx); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, start := range listeners {
		g.Go(func() error { return start(ctx) })
	}
	h.consume(ctx, g)
	h.tick(ctx, g)
	g.Go(func() error {
		footprint.Keep(ctx)
		return nil
	})
	if h.runner != nil {
		g.Go(func() error { return h.runner(ctx) })
	}
	return ended(ctx, g.Wait())
}

// collectorPercent is how far the heap of a long-running process may grow before it is collected: twice Go's default, because the
// live heap is a few megabytes and collecting it so often takes a tenth of the processor under load.
const collectorPercent = 200

// tuneCollector leaves an operator's own setting alone (https://pkg.go.dev/runtime#hdr-Environment_Variables).
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent)
	}
}

// ended turns the end that was asked for into success.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, fault.Cancelled)) {
		return nil
	}
	return err
}

// listen opens all listeners before anything is served, so that a busy port is one clear error and nothing else.
func (h *Host) listen(ctx context.Context) ([]func(context.Context) error, error) {
	var starts []func(context.Context) error
	var open []net.Listener
	add := func(setting, address string, serve func(context.Context, net.Listener) error) error {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			for _, o := range open {
				_ = o.Close()
			}
			return fault.New(fault.FailedPrecondition, "listen on %s: %s; choose another address with %s", address, cause(err), setting)
		}
		open = append(open, l)
		starts = append(starts, func(ctx context.Context) error { return serve(ctx, l) })
		return nil
	}
	for _, s := range h.specs {
		if serve := h.services[s.Name].Serve; serve != nil && h.config.Listen != ListenOff {
			if err := add("--listen or RISKPROFILER_LISTEN", h.config.Listen, serve); err != nil {
				return nil, err
			}
		}
	}
	if h.config.PeerListen != "" {
		if err := add("RISKPROFILER_PEER_LISTEN", h.config.PeerListen, h.servePeers); err != nil {
			return nil, err
		}
	}
	return starts, nil
}

// cause is why listening failed, without the address, which the message names already.
func cause(err error) string {
	var sys syscall.Errno
	if errors.As(err, &sys) {
		return sys.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

// ServeGRPC serves on l until ctx ends, then lets running calls finish within drain.
func ServeGRPC(ctx context.Context, server *grpc.Server, l net.Listener, drain time.Duration) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		force := time.AfterFunc(drain, server.Stop)
		defer force.Stop()
		server.GracefulStop()
	})
	err := server.Serve(l)
	if !stop() {
		<-done
	}
	if err != nil && ctx.Err() == nil {
		return fault.Wrap(fault.Unavailable, err, "serve gRPC on %s", l.Addr())
	}
	return nil
}

func (h *Host) consume(ctx context.Context, g *errgroup.Group) {
	for _, s := range h.specs {
		for _, c := range s.Consumes {
			handler := h.services[s.Name].Handlers[c.Queue]
			g.Go(func() error { return ended(ctx, h.consumers[c.Queue].Run(ctx, handler)) })
		}
	}
}

// tick calls schedules until ctx ends. A tick that fails is logged and tried again at the next one: what it does must be
// found by the next tick too.
func (h *Host) tick(ctx context.Context, g *errgroup.Group) {
	for _, s := range h.specs {
		for _, schedule := range s.Schedules {
			work := h.services[s.Name].Schedules[schedule.Name]
			if work == nil {
				continue
			}
			g.Go(func() error {
				for due := time.Now(); ; {
					h.late(ctx, schedule.Name, due)
					if err := work(ctx); err != nil && ctx.Err() == nil {
						h.telemetry.Logger.WarnContext(ctx, "schedule failed", slog.String("service", s.Name), slog.String("schedule", schedule.Name), slog.Any("error", err))
					}
					pause := jitter(schedule.Every)
					due = time.Now().Add(pause)
					if !sleep(ctx, pause) {
						return nil
					}
				}
			})
		}
	}
}

// jitter spreads ticks of several processes: 90 to 110 % of d.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // spreads load, guards nothing
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Main is the whole main function of a service: it builds the process, runs it until SIGTERM or SIGINT, and returns the
// exit code: 0, or 1 after one line on stderr. Under the Lambda runtime it serves invocations instead of listening. With
// the argument "health" or "version" it says that and ends: see [Probe].
func Main(stderr io.Writer, drivers Drivers, specs ...Spec) int {
	if code, asked := command(commandLine(), os.Stdout, stderr, Environment(), specs); asked {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if api := os.Getenv(runtimeAPI); api != "" {
		return functionMain(ctx, api, stderr, drivers, specs)
	}
	host, err := Build(ctx, Options{Drivers: drivers, Specs: specs})
	if err == nil {
		err = host.Run(ctx)
		err = errors.Join(err, host.Close())
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", specs[0].Name, err)
		return 1
	}
	return 0
}
