// Command deploy is the CDK app: it writes the CloudFormation templates of all stacks. The CDK's command line runs it (see
// cdk.json); run by itself it synthesises, and ends with 1 if cdk-nag finds fault.
//
// It refuses to synthesise without the functions' archives, unless -placeholders says that the templates are for checks only.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/archive"
	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/deploy/stacks"
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	jsii.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

// run is main with an error.
func run(args []string, out io.Writer) error {
	given := map[string]string{}
	flags := flag.NewFlagSet("deploy", flag.ContinueOnError)
	outdir := flags.String("outdir", "", "where the templates go; empty: where the CDK's command line says")
	placeholders := flags.Bool("placeholders", false, "stand-ins for the functions' archives: for checks, not for deploying")
	flags.Func("c", "option as name=value, as the CDK's command line takes it:\n"+strings.Join(stacks.Options(), "\n"), func(v string) error {
		name, value, ok := strings.Cut(v, "=")
		given[name] = value
		if !ok {
			return fmt.Errorf("write it as name=value")
		}
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	services, err := plan.Services()
	if err != nil {
		return err
	}
	props := &awscdk.AppProps{AnalyticsReporting: jsii.Bool(false)}
	if *outdir != "" {
		props.Outdir = outdir
	}
	app := awscdk.NewApp(props)
	config, err := stacks.Read(func(name string) string { return option(app, given, name) })
	if err != nil {
		return err
	}
	if *placeholders {
		if config.Assets, err = archive.Placeholders(services); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(config.Assets) }()
	} else if err := archive.Complete(config.Assets, config.Arch, services); err != nil {
		return err
	}
	list := stacks.Add(app, config, services)
	app.Synth(nil)
	return report(list, out)
}

// option is an option as it was given here, or by the CDK's command line as context.
func option(app awscdk.App, given map[string]string, name string) string {
	if v, ok := given[name]; ok {
		return v
	}
	if v := app.Node().TryGetContext(jsii.String(name)); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// report prints the stacks and fails on what cdk-nag found.
func report(list []awscdk.Stack, out io.Writer) error {
	faults := 0
	for _, s := range list {
		fmt.Fprintln(out, *s.StackName())
		for _, fault := range stacks.Faults(s) {
			fmt.Fprintln(out, "  "+fault)
			faults++
		}
	}
	if faults > 0 {
		return fmt.Errorf("cdk-nag found %d faults", faults)
	}
	return nil
}
