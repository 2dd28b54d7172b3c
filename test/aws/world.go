package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	states "github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
	"github.com/riskprofiler/riskprofiler/test/aws/statesapi"
)

// account is the one that stands in ARNs here: that of moto.
const account = "123456789012"

const (
	// maxConcurrency bounds each event source mapping, and so the number of processes on this machine. AWS allows 2 at least.
	maxConcurrency = 4
	// maxInstances bounds the processes of one function.
	maxInstances = 24
	// pollEvery is how long a mapping waits on an empty queue: short, as a stand-in works while somebody waits.
	pollEvery = 300 * time.Millisecond
)

// Options of a world.
type Options struct {
	Config   aws.Config
	Location awsclient.Location
	// Settings of all functions.
	Settings map[string]string
	// Credentials of all functions.
	AccessKeyID, SecretAccessKey string
	// Dir is for the interpreter's table.
	Dir    string
	Logger *slog.Logger
}

// World is everything deployed and running.
type World struct {
	// Lambda has the functions, under their full names.
	Lambda *lambdalocal.Lambda
	// Place is where functions find everything.
	Place Place
	// Pollers by queue.
	Pollers map[string]*lambdalocal.Poller
	// Log is what the functions print.
	Log *tail

	options Options
	sqs     *sqs.Client
	states  *statesapi.Server
	db      *sqlitetable.DB
	servers []*http.Server
	stop    context.CancelFunc
	// triggers are what invokes functions, serving is what they call.
	triggers, serving sync.WaitGroup
	mu                sync.Mutex
	errs              []error
}

// Deploy makes the resources, deploys the functions and lets everything run that invokes them, but the edge: see ServeEdge.
func Deploy(ctx context.Context, o Options) (*World, error) {
	w := &World{options: o, Log: &tail{}, Pollers: map[string]*lambdalocal.Poller{}, sqs: sqsqueue.NewClient(o.Config, o.Location)}
	specs := []app.Spec{}
	for _, f := range Functions() {
		specs = append(specs, f.Spec)
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return Provision(ctx, o.Config, o.Location, specs) },
		w.addFunctions, w.addMachines, w.runMachines, w.addMappings,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

func (w *World) addFunctions(ctx context.Context) error {
	dir, err := Binaries(ctx)
	if err != nil {
		return err
	}
	w.Lambda = lambdalocal.New(lambdalocal.Options{
		Region: w.options.Location.Region, Account: account, Freeze: true,
		AccessKeyID: w.options.AccessKeyID, SecretAccessKey: w.options.SecretAccessKey,
	})
	// Where things are is known only once they are served; the map is filled in then, before anything runs.
	w.Place = Place{Prefix: w.options.Location.Prefix, Settings: w.options.Settings}
	address, err := w.listen(ctx, w.Lambda.Handler())
	if err != nil {
		return err
	}
	statesAddress, err := w.listen(ctx, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) { w.states.ServeHTTP(out, r) }))
	if err != nil {
		return err
	}
	l := w.options.Location
	w.Place.Backend = fmt.Sprintf("aws://%s/%s?endpoint=%s&lambda=%s&states=%s&account=%s", l.Region, l.Prefix, l.Endpoint, address, statesAddress, account)
	for _, f := range Functions() {
		env := Environment(w.Place)
		maps.Copy(env, app.CollectorSettings(f.Spec.MemoryMiB))
		if err := w.Lambda.Add(lambdalocal.Function{
			Name: l.Name(f.Name), Binary: f.binary(dir), Env: env, MemoryMiB: f.Spec.MemoryMiB, Timeout: f.Spec.Timeout,
			MaxInstances: maxInstances, Aliases: []string{live, workflow, events}, Log: w.Log,
		}); err != nil {
			return err
		}
	}
	return nil
}

// addMachines deploys the state machines: their definitions with the names of what is here.
func (w *World) addMachines(ctx context.Context) (err error) {
	if w.db, err = sqlitetable.Open(ctx, sqlitetable.Options{Path: filepath.Join(w.options.Dir, "states.db")}); err != nil {
		return err
	}
	machines := map[string][]byte{}
	for _, f := range Functions() {
		for name, definition := range f.Spec.Workflows {
			if machines[w.options.Location.Name(name)], err = w.substitute(ctx, f.Spec, definition); err != nil {
				return err
			}
		}
	}
	w.states, err = statesapi.New(statesapi.Options{
		Region: w.options.Location.Region, Account: account, Machines: machines, Invoke: w.Lambda.Invoke, SQS: w.sqs, Logger: w.options.Logger,
		Table: table.New(w.db.Table("states"), table.Options{Name: "states"}),
	})
	return err
}

func (w *World) substitute(ctx context.Context, s app.Spec, definition []byte) ([]byte, error) {
	l := w.options.Location
	resources := map[string]string{"QueuePrefix": "", "QueueSuffix": ".fifo"}
	for _, function := range invokes(definition) {
		resources[function] = fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s:%s", l.Region, account, l.Name(function), workflow)
	}
	if len(s.Sends) > 0 {
		url, _, err := queueURL(ctx, w.sqs, l, account, s.Sends[0])
		if err != nil {
			return nil, err
		}
		resources["QueuePrefix"] = strings.TrimSuffix(url, s.Sends[0]+".fifo")
	}
	return states.Substitute(definition, resources)
}

// runMachines starts the interpreter and the schedules.
func (w *World) runMachines(ctx context.Context) error {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.triggers.Go(func() { w.failed(w.states.Run(ctx)) })
	for _, f := range Functions() {
		for _, s := range f.Spec.Schedules {
			w.triggers.Go(func() {
				lambdalocal.Tick(ctx, w.Lambda.Invoke, w.options.Location.Name(f.Name)+":"+events, s.Name, s.Every, w.options.Logger)
			})
		}
	}
	return nil
}

func (w *World) addMappings(ctx context.Context) error {
	l := w.options.Location
	polling, stop := context.WithCancel(context.WithoutCancel(ctx))
	before := w.stop
	w.stop = func() { stop(); before() }
	for _, f := range Functions() {
		for _, c := range f.Spec.Consumes {
			url, arn, err := queueURL(ctx, w.sqs, l, account, c.Queue)
			if err != nil {
				return err
			}
			p, err := lambdalocal.NewPoller(lambdalocal.Mapping{
				Source: lambdalocal.NewSource(w.sqs, url), QueueARN: arn, Invoke: w.Lambda.Invoke, Function: l.Name(f.Name) + ":" + events,
				BatchSize: f.batchSize(), MaxConcurrency: maxConcurrency, Visibility: sqsqueue.DefaultVisibilityTimeout, Wait: pollEvery,
				Logger: w.options.Logger,
			})
			if err != nil {
				return err
			}
			w.Pollers[c.Queue] = p
			w.triggers.Go(func() { p.Run(polling) })
		}
	}
	return nil
}

// listen serves a handler on a loopback port until Close.
func (w *World) listen(ctx context.Context, h http.Handler) (url string, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	w.servers = append(w.servers, s)
	w.serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.failed(err)
		}
	})
	return "http://" + l.Addr().String(), nil
}

// ServeEdge serves the HTTP API and gives its host and port.
func (w *World) ServeEdge(ctx context.Context) (string, error) {
	url, err := w.listen(ctx, lambdalocal.HTTPAPI{Invoke: w.Lambda.Invoke, Function: w.options.Location.Name(edge) + ":" + live})
	return strings.TrimPrefix(url, "http://"), err
}

func (w *World) failed(err error) {
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.errs = append(w.errs, err)
	}
}

// Close ends everything in the order in which it depends on each other: what triggers first, functions last.
func (w *World) Close() error {
	if w.stop != nil {
		w.stop()
	}
	w.triggers.Wait()
	if w.Lambda != nil {
		w.failed(w.Lambda.Close())
	}
	for _, s := range w.servers {
		w.failed(s.Close())
	}
	w.serving.Wait()
	if w.db != nil {
		w.failed(w.db.Close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.errs...)
}
