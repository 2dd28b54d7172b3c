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
	var hostile, truth, assess bool
	var reportFile string
	c := &cobra.Command{
		Use:   "lab",
		Short: "Serve a small exposed network on loopback to try the assessment on",
		Long: "Serves a small deliberately exposed network on loopback addresses until interrupted: bad certificates, exposed files,\n" +
			"open data stores, bad mail records. Nothing of it can be reached from outside this machine.",
		Example: "  riskprofiler lab\n  riskprofiler lab --truth",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := startLab(c.Context(), network, hostile)
			if err != nil {
				return usage(err)
			}
			defer l.Close()
			switch {
			case truth:
				return printTruth(c.OutOrStdout(), l)
			case assess:
				return assessLab(c.Context(), l, reportFile, c.OutOrStdout(), c.ErrOrStderr())
			}
			return serveLab(c.Context(), c.OutOrStdout(), l)
		},
	}
	c.Flags().StringVar(&network, "network", "127.0.0.0/24", "loopback network to serve on")
	c.Flags().BoolVar(&hostile, "hostile", false, "also serve hostile targets: tarpit, endless banner, gzip bomb, redirect loop, terminal escapes")
	c.Flags().BoolVar(&truth, "truth", false, "print as JSON which findings a correct assessment has, and exit")
	c.Flags().BoolVar(&assess, "assess", false, "assess the lab, print the ranked risks, and exit")
	c.Flags().StringVar(&reportFile, "report-file", "", "with --assess: write the whole report as HTML to this file")
	return c
}

func startLab(ctx context.Context, network string, hostile bool) (*lab.Lab, error) {
	prefix, err := netip.ParsePrefix(network)
	if err != nil {
		return nil, fmt.Errorf("--network %q is no network; use one such as 127.0.0.0/24", network)
	}
	return lab.Start(ctx, lab.Options{Network: prefix, Hostile: hostile})
}

func printTruth(w io.Writer, l *lab.Lab) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(l.Truth())
}

// assessLab assesses the lab as `assess` does with the flags that the lab prints.
func assessLab(ctx context.Context, l *lab.Lab, reportFile string, stdout, stderr io.Writer) error {
	f := assessFlags{
		platformFlags: platformFlags{allowPrivate: true, resolver: l.Resolver(), resolverRate: lab.ResolverRate},
		profile:       "standard", ports: l.Ports(), output: "table", reportFile: reportFile,
	}
	return f.run(ctx, l.Targets(), stdout, stderr)
}

func serveLab(ctx context.Context, w io.Writer, l *lab.Lab) error {
	_, _ = fmt.Fprintf(w, "the lab is up; assess it with:\n\n  riskprofiler assess --allow-private --resolver %s --resolver-rate %d --ports %s \\\n    %s\n\nend it with Ctrl-C\n",
		l.Resolver(), lab.ResolverRate, l.Ports(), strings.Join(l.Targets(), " "))
	<-ctx.Done()
	return nil
}
