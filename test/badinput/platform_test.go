// Package badinput throws what is wrong at the edge and at the disk: whatever comes in, the answer says what is wrong with it
// and nothing about the inside, and the platform goes on.
package badinput

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

// freeAddress is a loopback address with a port that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// platform runs all six services in this process until the test ends; it returns the address of the edge and a key.
func platform(t *testing.T) (address, key string) {
	t.Helper()
	address = freeAddress(t)
	quiet, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "badinput", Writer: io.Discard, Level: slog.LevelError})
	if err != nil {
		t.Fatal(err)
	}
	host, err := app.Build(t.Context(), app.Options{
		Drivers: drivers.Embedded, Telemetry: quiet,
		Specs:    []app.Spec{ingest.Spec, scheduler.Spec, all.Spec, correlator.Spec, reporter.Spec, gateway.Spec},
		Settings: map[string]string{"RISKPROFILER_DATA": t.TempDir(), "RISKPROFILER_LISTEN": address},
	})
	if err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	host.OnReady(func(ctx context.Context) error {
		defer close(ready)
		var err error
		key, err = gateway.Bootstrap(ctx, host.Conn("gateway", "gateway"), "acme")
		return err
	})
	ctx, stop := context.WithCancel(context.Background())
	go func() { done <- host.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("the platform did not start: %v", err)
	}
	return address, key
}
