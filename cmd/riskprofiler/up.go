package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/services/gateway"
)

// version of the program.
const version = app.Version

func newUp() *cobra.Command {
	f := platformFlags{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Run the platform on this machine: gRPC and REST on one port",
		Long: "Runs all six services in this process with everything in one data directory. The first start prints an API key once.\n" +
			"SIGTERM drains: no new work is taken, running work is finished or handed back, and the next start goes on.",
		Example: "  riskprofiler up --listen 127.0.0.1:8080 --data /var/lib/riskprofiler",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return f.up(c.Context(), c.OutOrStdout(), c.ErrOrStderr()) },
	}
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "address for gRPC and REST")
	c.Flags().StringVar(&f.data, "data", "riskprofiler-data", "directory for all data")
	c.Flags().BoolVar(&f.allowPrivate, "allow-private", false, "permit loopback and private addresses as targets")
	c.Flags().StringVar(&f.resolver, "resolver", "", "DNS server to ask, ADDRESS:PORT (default the system's)")
	c.Flags().Float64Var(&f.resolverRate, "resolver-rate", 0, "questions a second that the DNS server takes, for guessing names (default 800)")
	return c
}

func (f *platformFlags) up(ctx context.Context, stdout, stderr io.Writer) error {
	host, flush, err := f.open(ctx, "riskprofiler", stderr, slog.LevelInfo)
	if err != nil {
		return usage(err)
	}
	defer flush()
	host.OnReady(func(ctx context.Context) error {
		key, err := gateway.Bootstrap(ctx, conn(host, "gateway"), localTenant)
		if err != nil {
			return err
		}
		if key != "" {
			_, _ = fmt.Fprintf(stdout, "API key (shown this once): %s\n", key)
		}
		_, _ = fmt.Fprintf(stdout, "listening on http://%s (REST and gRPC; API description at /openapi.json)\n", f.listen)
		return nil
	})
	err = host.Run(ctx)
	if closeErr := host.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return usage(err)
	}
	return nil
}
