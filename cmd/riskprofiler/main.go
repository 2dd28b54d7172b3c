// Command riskprofiler assesses the attack surface of targets, runs the platform on one machine, and talks to a running one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of the command.
const (
	exitDone       = 0
	exitFailOn     = 1
	exitUsage      = 2
	exitIncomplete = 3
)

// exitError ends the command with a code; its text, if any, is one line on stderr.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error { return &exitError{exitUsage, err} }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		// Not ours: cobra's, about the command's name or its arguments.
		exit = &exitError{exitUsage, fmt.Errorf("%w; see `%s --help`", err, command.CommandPath())}
	}
	if text := exit.Error(); text != "" {
		_, _ = fmt.Fprintln(os.Stderr, "riskprofiler:", oneLine(text))
	}
	return exit.code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "riskprofiler",
		Short: "Watch what you expose: discover, scan, rank the risks",
		Long: "riskprofiler assesses the attack surface of names, addresses, ranges and URLs and ranks the risks it finds.\n\n" +
			"Assess only what you own or are authorised to test.",
		Example: "  riskprofiler assess example.com\n" +
			"  riskprofiler assess 192.0.2.10 www.example.com:8443 --output html --output-file report.html\n" +
			"  riskprofiler up",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see `%s --help`", err, c.CommandPath()))
	})
	root.AddCommand(newAssess(), newUp(), newLab(), newImport(), newIntel(), newCerts(), newHealth(), newVersion())
	root.AddCommand(clientCommands()...)
	return root
}
