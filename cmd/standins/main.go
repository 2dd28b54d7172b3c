// Command standins makes the tables, queues and buckets that the services name, in servers that stand in for AWS: for the
// compose file and for tests. Where they are says RISKPROFILER_BACKEND. What is there already is left as it is.
//
// It refuses to work without an endpoint: on AWS the deployment makes them, with encryption, recovery and access rules, which
// this does not.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/blob/s3blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

// limit is how long everything may take, the start of the stand-ins included.
const limit = 3 * time.Minute

func main() { os.Exit(start()) }

func start() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx, os.Getenv("RISKPROFILER_BACKEND")); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "standins:", err)
		return 1
	}
	return 0
}

// resources are all that the services name, and what the drivers need besides.
type resources struct {
	tables          map[string][]string
	queues, buckets []string
}

func needed(specs []app.Spec) resources {
	// Named by platform/drivers: attempts of messages, and executions of workflows.
	r := resources{tables: map[string][]string{"queues": nil, "workflow": {"workflow"}}, buckets: []string{"keys", "messages"}}
	for _, s := range specs {
		for _, name := range s.Tables {
			r.tables[name] = s.Indexes[name]
		}
		r.queues = append(r.queues, s.Sends...)
		for _, c := range s.Consumes {
			r.queues = append(r.queues, c.Queue)
		}
		r.buckets = append(r.buckets, s.Buckets...)
	}
	r.queues = slices.Compact(slices.Sorted(slices.Values(r.queues)))
	r.buckets = slices.Compact(slices.Sorted(slices.Values(r.buckets)))
	return r
}

func run(ctx context.Context, backend string) error {
	l, err := awsclient.Parse(backend)
	if err != nil {
		return err
	}
	for _, service := range []string{"dynamodb", "sqs", "s3"} {
		if l.EndpointOf(service) == nil {
			return fault.New(fault.Invalid, "RISKPROFILER_BACKEND names no endpoint for %s: this is for stand-ins only; deploy/ makes the resources on AWS", service)
		}
	}
	config, err := awsclient.Load(ctx, l)
	if err != nil {
		return err
	}
	return provide(ctx, config, l, needed([]app.Spec{ingest.Spec, scheduler.Spec, all.Spec, correlator.Spec, reporter.Spec, gateway.Spec}))
}

func provide(ctx context.Context, config aws.Config, l awsclient.Location, r resources) error {
	tables := dynamotable.Open(config, l).Client()
	for _, name := range slices.Sorted(maps.Keys(r.tables)) {
		if err := patiently(ctx, func() error { return dynamotable.Create(ctx, tables, l.Name(name), r.tables[name]) }); err != nil {
			return err
		}
	}
	queues := sqsqueue.NewClient(config, l)
	for _, name := range r.queues {
		if err := patiently(ctx, func() error { return sqsqueue.Create(ctx, queues, l, name) }); err != nil {
			return err
		}
	}
	buckets := s3blob.Open(config, l).Client()
	for _, name := range r.buckets {
		if err := patiently(ctx, func() error { return s3blob.Create(ctx, buckets, l.Bucket(name)) }); err != nil {
			return err
		}
	}
	_, _ = fmt.Printf("standins: %d tables, %d queues, %d buckets\n", len(r.tables), len(r.queues), len(r.buckets))
	return nil
}

// patiently tries again while a server cannot be reached, because it starts at the same time.
func patiently(ctx context.Context, try func() error) error {
	for {
		err := try()
		if fault.CodeOf(err) != fault.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}
