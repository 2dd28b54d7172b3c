package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
)

// maxCertDays bounds how long a certificate lives: a year, which is as long as public ones ever lived.
const maxCertDays = 365

func newCerts() *cobra.Command {
	var dir string
	var days int
	c := &cobra.Command{
		Use:   "certs",
		Short: "Make certificates with which services on this machine trust each other",
		Long: "Makes a certificate for each service, in a folder of its name, and the authority that signs them, in the folder ca.\n" +
			"The same call again renews the certificates; services that run take them without a restart.\n\n" +
			"This is for one machine and for tests: whoever has the folder ca can be any service. Keep it away from the services.",
		Example: "  riskprofiler certs --dir certs",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if days < 1 || days > maxCertDays {
				return usage(fmt.Errorf("--days %d is not 1 to %d", days, maxCertDays))
			}
			holders := map[string][]string{}
			for _, s := range specs() {
				holders[s.Name] = app.Identities(s)
			}
			if err := mtls.WriteDir(dir, holders, time.Duration(days)*24*time.Hour); err != nil {
				return usage(err)
			}
			f := mtls.In(dir, "SERVICE")
			_, _ = fmt.Fprintf(c.OutOrStdout(), "%d certificates in %s, good for %d days\nRISKPROFILER_TLS_CERT=%s RISKPROFILER_TLS_KEY=%s RISKPROFILER_TLS_CA=%s\n",
				len(holders), filepath.Clean(dir), days, f.Cert, f.Key, f.CA)
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "certs", "directory for the certificates")
	c.Flags().IntVar(&days, "days", 90, "for how many days they are good")
	return c
}

func newHealth() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Ask the platform that runs on this machine whether it serves",
		Long:  "Asks the process that `riskprofiler up` started, at the address in RISKPROFILER_LISTEN. Ends with 0 if it serves.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := app.Probe(c.Context(), app.Environment(), specs()...); err != nil {
				return &exitError{exitFailOn, err}
			}
			_, _ = fmt.Fprintln(c.OutOrStdout(), "riskprofiler: serving")
			return nil
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, _ = fmt.Fprintln(c.OutOrStdout(), "riskprofiler", app.VersionLine())
			return nil
		},
	}
}
