package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riskprofiler/riskprofiler/lab"
)

func newLab() *cobra.Command {
	var network string
	var hostile, truth bool
	c := &cobra.Command{
		Use:   "lab",
		Short: "Serve a small exposed network on loopback to try the assessment on",
		Long: "Serves a small deliberately exposed network on loopback addresses until interrupted: bad certificates, exposed files,\n" +
			"open data stores, bad mail records. Nothing of it can be reached from outside this machine.",
		Example: "  riskprofiler lab\n  riskprofiler lab --truth",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return serveLab(c.Context(), c.OutOrStdout(), network, hostile, truth)
		},
	}
	c.Flags().StringVar(&network, "network", "127.0.0.0/24", "loopback network to serve on")
	c.Flags().BoolVar(&hostile, "hostile", false, "also serve hostile targets: tarpit, endless banner, gzip bomb, redirect loop, terminal escapes")
	c.Flags().BoolVar(&truth, "truth", false, "print as JSON which findings a correct assessment has, and exit")
	return c
}

func serveLab(ctx context.Context, w io.Writer, network string, hostile, truth bool) error {
	prefix, err := netip.ParsePrefix(network)
	if err != nil {
		return usage(fmt.Errorf("--network %q is no network; use one such as 127.0.0.0/24", network))
	}
	l, err := lab.Start(ctx, lab.Options{Network: prefix, Hostile: hostile})
	if err != nil {
		return usage(err)
	}
	defer l.Close()
	if truth {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(l.Truth())
	}
	_, _ = fmt.Fprintf(w, "the lab is up; assess it with:\n\n  riskprofiler assess --allow-private --resolver %s --ports %s \\\n    %s\n\nend it with Ctrl-C\n",
		l.Resolver(), l.Ports(), strings.Join(l.Targets(), " "))
	<-ctx.Done()
	return nil
}
