package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/fileblob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/queuetest"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// cloud is backends as a function has them: queues in memory whose messages arrive in events, and other functions.
type cloud struct {
	dir       string
	queues    *queuetest.Memory
	functions map[string]func(context.Context, []byte) ([]byte, error)

	mu   sync.Mutex
	held map[string]queue.Delivery // by message id
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	app.Contracts()
	return &cloud{dir: t.TempDir(), queues: queuetest.NewMemory(), functions: map[string]func(context.Context, []byte) ([]byte, error){}, held: map[string]queue.Delivery{}}
}

func (c *cloud) open(context.Context, map[string]string) (app.Backends, error) { return c, nil }

func (c *cloud) Table(context.Context, string, []string) (table.Driver, error) {
	return nil, fault.New(fault.Unimplemented, "no tables here")
}

func (c *cloud) Bucket(ctx context.Context, _ string) (blob.Bucket, error) {
	return fileblob.Open(ctx, fileblob.Options{Dir: c.dir})
}

func (c *cloud) Workflow(context.Context, app.WorkflowRequest) (workflow.Engine, func(context.Context) error, error) {
	return nil, nil, nil
}

func (c *cloud) Keys() authn.KeyStore { return authn.FileKeys(c.dir + "/keys") }

func (c *cloud) Secrets() secret.Store { return &secret.Memory{} }

func (c *cloud) Close() error { return nil }

// Invoke calls another function through its alias "live", as a peer does.
func (c *cloud) Invoke(ctx context.Context, function string, payload []byte) ([]byte, error) {
	return c.functions[function](through(ctx, "live"), payload)
}

func (c *cloud) Queue(_ context.Context, name string, _ bool) (queue.Driver, error) {
	return source{c.queues.Queue(name), c}, nil
}

// source is a driver whose deliveries come in events.
type source struct {
	queue.Driver

	cloud *cloud
}

// FromEvent finds the deliveries by the ids of their messages. A record with a body "unreadable" is damaged, one with a body
// "outage" cannot be read now, one with a body "done" was parked before.
func (s source) FromEvent(_ context.Context, event []byte) ([]queue.Delivery, error) {
	var in struct {
		Records []struct{ MessageID, Body string }
	}
	if err := json.Unmarshal(event, &in); err != nil {
		return nil, err
	}
	s.cloud.mu.Lock()
	defer s.cloud.mu.Unlock()
	var out []queue.Delivery
	for _, r := range in.Records {
		d := s.cloud.held[r.MessageID]
		switch r.Body {
		case "outage":
			return nil, fault.New(fault.Unavailable, "the table of the queues is down")
		case "unreadable":
			d.Damaged = errors.New("it cannot be read")
		case "done":
			continue
		}
		out = append(out, d)
	}
	return out, nil
}

// deliver sends bodies "<group><n>" to a queue and gives the event in which the platform hands them over.
func (c *cloud) deliver(t *testing.T, name string, bodies ...string) []byte {
	t.Helper()
	d := c.queues.Queue(name)
	for _, body := range bodies {
		if err := d.Send(t.Context(), []queue.Message{{Group: body[:1], Body: []byte(body)}}); err != nil {
			t.Fatal(err)
		}
	}
	return c.receive(t, name)
}

func (c *cloud) receive(t *testing.T, name string) []byte {
	t.Helper()
	var records []map[string]any
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		got, err := c.queues.Queue(name).Receive(ctx, queue.MaxBatch, time.Hour)
		cancel()
		if err != nil {
			break
		}
		for _, d := range got {
			d.Message.ID = name + "-" + d.Message.ID // SQS's ids are unique
			c.mu.Lock()
			c.held[d.Message.ID] = d
			c.mu.Unlock()
			records = append(records, recordOf(name, d.Message.ID, string(d.Message.Body)))
		}
	}
	return eventOf(t, map[string]any{"Records": records})
}

func recordOf(name, id, body string) map[string]any {
	return map[string]any{
		"messageId": id, "body": body, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:rp-test-" + name + ".fifo",
	}
}

func eventOf(t testing.TB, event any) []byte {
	t.Helper()
	out, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// through is the context of an invocation through an alias.
func through(ctx context.Context, alias string) context.Context {
	arn := "arn:aws:lambda:eu-west-1:123456789012:function:rp-test-ingest"
	if alias != "" {
		arn += ":" + alias
	}
	return lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: "r1", InvokedFunctionArn: arn})
}

// host builds the process of a service as it is under the Lambda runtime.
func (c *cloud) host(t testing.TB, spec app.Spec, o telemetry.Options) *app.Host {
	t.Helper()
	o.Service = spec.Name
	if o.Writer == nil {
		o.Writer = io.Discard
	}
	o.Level = slog.LevelDebug
	tel, err := telemetry.Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	host, err := app.Build(t.Context(), app.Options{Drivers: c.open, Specs: []app.Spec{spec}, Telemetry: tel, Settings: map[string]string{
		"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "RISKPROFILER_PEERS": "ingest=lambda:rp-test-ingest:live",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	return host
}

// with adds to what a spec builds.
func with(s app.Spec, add func(*app.Service)) app.Spec {
	build := s.Build
	s.Build = func(d app.Deps) (app.Service, error) {
		out, err := build(d)
		add(&out)
		return out, err
	}
	return s
}

// callOf is a call as a state machine writes it.
func callOf(t testing.TB, method, text string, md map[string][]string) []byte {
	t.Helper()
	return eventOf(t, map[string]any{"method": app.MethodOf("ingest", method), "metadata": md, "message": text})
}

// nameOf is the type of a function error and its message, "" if err is none.
func nameOf(err error) (name, message string) {
	var made messages.InvokeResponse_Error
	if errors.As(err, &made) {
		return made.Type, made.Message
	}
	return fmt.Sprintf("%T", err), ""
}

func TestFunctionServesPeers(t *testing.T) {
	c := newCloud(t)
	c.functions["rp-test-ingest:live"] = app.Function(c.host(t, app.SpecOf("ingest", func(ctx context.Context, method, text string) (string, error) {
		if text == "fail" {
			return "", fault.New(fault.NotFound, "no such thing")
		}
		return answer(ctx, method, text)
	}), telemetry.Options{}))
	peer := c.host(t, app.SpecOf("scheduler", answer, "ingest"), telemetry.Options{}).Conn("scheduler", "ingest")
	call := func(ctx context.Context, method, text string) (string, error) {
		out := &wrapperspb.StringValue{}
		err := peer.Invoke(ctx, app.MethodOf("ingest", method), wrapperspb.String(text), out)
		return out.GetValue(), err
	}
	if got, err := call(t.Context(), app.MethodGet, "x"); err != nil || got != "scheduler GetThing x" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := call(t.Context(), app.MethodGet, "fail"); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v, want the handler's NotFound", err)
	}
	if _, err := call(t.Context(), app.MethodNext, "x"); !errors.Is(err, fault.PermissionDenied) {
		t.Errorf("a method for the workflow: %v, want PermissionDenied", err)
	}
	// Whoever names a tenant without being a workflow is refused, however well it proves who it is.
	ctx := metadata.AppendToOutgoingContext(t.Context(), app.TenantMetadata, "t1")
	if _, err := call(ctx, app.MethodGet, "x"); !errors.Is(err, fault.PermissionDenied) {
		t.Errorf("a peer that names a tenant: %v, want PermissionDenied", err)
	}
}

// who is a handler that says for whom it works and with what proof.
func who(ctx context.Context, _, _ string) (string, error) {
	p, _ := authn.FromContext(ctx)
	return fmt.Sprintf("%s for %s: %s", p.Issuer, p.Tenant, strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), ",")), nil
}

func TestOnlyAWorkflowNamesATenant(t *testing.T) {
	c := newCloud(t)
	invoke := app.Function(c.host(t, app.SpecOf("ingest", who), telemetry.Options{}))
	tenant := map[string][]string{app.TenantMetadata: {"t1"}}
	for name, test := range map[string]struct {
		alias    string
		metadata map[string][]string
		want     string // the answer's start, or the error
	}{
		"workflow":                 {"workflow", tenant, "workflow for t1: "},
		"workflow, no tenant":      {"workflow", nil, "workflow for : "},
		"workflow, other proof":    {"workflow", map[string][]string{app.TenantMetadata: {"t1"}, "authorization": {"Bearer x"}}, "workflow for t1: "},
		"workflow, two tenants":    {"workflow", map[string][]string{app.TenantMetadata: {"t1", "t2"}}, "RiskProfiler.Invalid"},
		"workflow, strange tenant": {"workflow", map[string][]string{app.TenantMetadata: {"t\n1"}}, "RiskProfiler.Internal"},
		"live":                     {"live", tenant, "RiskProfiler.PermissionDenied"},
		"no alias":                 {"", tenant, "RiskProfiler.PermissionDenied"},
		"version":                  {"7", tenant, "RiskProfiler.PermissionDenied"},
		"almost":                   {"workflow:7", tenant, "RiskProfiler.PermissionDenied"},
		"upper case":               {"live", map[string][]string{"RP-TENANT": {"t1"}}, "RiskProfiler.Unauthenticated"},
		"live, no tenant":          {"live", nil, "RiskProfiler.Unauthenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := invoke(through(t.Context(), test.alias), callOf(t, app.MethodNext, "x", test.metadata))
			if got, message := nameOf(err); err != nil && got != test.want && (name != "upper case" || got != "RiskProfiler.Internal") {
				t.Errorf("got %s (%s), want %s", got, message, test.want)
			}
			var reply struct{ Message string }
			if err == nil && (json.Unmarshal(out, &reply) != nil || !strings.HasPrefix(reply.Message, test.want)) {
				t.Errorf("got %s, want %s", out, test.want)
			}
		})
	}
	// The proof is good in this process and nowhere else.
	out, err := invoke(through(t.Context(), "workflow"), callOf(t, app.MethodNext, "x", tenant))
	if err != nil {
		t.Fatal(err)
	}
	_, token, ok := strings.Cut(strings.TrimSuffix(strings.TrimSpace(string(out)), `"}`), "Bearer ")
	if !ok {
		t.Fatalf("no token in %s", out)
	}
	proof := map[string][]string{"authorization": {"Bearer " + token}}
	if _, err := invoke(through(t.Context(), "live"), callOf(t, app.MethodNext, "x", proof)); err != nil {
		t.Errorf("here: %v", err)
	}
	other := app.Function(c.host(t, app.SpecOf("ingest", who), telemetry.Options{}))
	if got, _ := nameOf(second(other(through(t.Context(), "live"), callOf(t, app.MethodNext, "x", proof)))); got != "RiskProfiler.Unauthenticated" {
		t.Errorf("elsewhere: %s, want RiskProfiler.Unauthenticated", got)
	}
}

func second[A, B any](_ A, b B) B { return b }

// What a state machine retries by name in assessment.asl.json has that name.
func TestFunctionErrorNames(t *testing.T) {
	failures := map[string]error{
		"RiskProfiler.Unavailable": fault.New(fault.Unavailable, "the words"), "RiskProfiler.DeadlineExceeded": fault.New(fault.DeadlineExceeded, "the words"),
		"RiskProfiler.Conflict": fault.New(fault.Conflict, "the words"), "RiskProfiler.ResourceExhausted": fault.New(fault.ResourceExhausted, "the words"),
		"RiskProfiler.Invalid": fault.New(fault.Invalid, "the words"), "RiskProfiler.NotFound": fault.New(fault.NotFound, "the words"),
	}
	c := newCloud(t)
	log := &lockedBuffer{}
	invoke := app.Function(c.host(t, app.SpecOf("ingest", func(_ context.Context, _, text string) (string, error) {
		switch text {
		case "panic":
			panic("secret")
		case "plain":
			return "", errors.New("secret")
		}
		return "", failures[text]
	}), telemetry.Options{Writer: log}))
	md := map[string][]string{app.TenantMetadata: {"t1"}}
	for name := range failures {
		if got, message := nameOf(second(invoke(through(t.Context(), "workflow"), callOf(t, app.MethodNext, name, md)))); got != name || message != "the words" {
			t.Errorf("got %s (%s), want %s", got, message, name)
		}
	}
	for _, text := range []string{"panic", "plain"} {
		if got, message := nameOf(second(invoke(through(t.Context(), "workflow"), callOf(t, app.MethodNext, text, md)))); got != "RiskProfiler.Internal" || strings.Contains(message, "secret") {
			t.Errorf("%s: got %s (%s), want RiskProfiler.Internal without the cause", text, got, message)
		}
	}
	for want, event := range map[string]string{
		"RiskProfiler.Unimplemented": `{"method":"/riskprofiler.apptest.v1.IngestService/Nothing","message":{}}`,
		"RiskProfiler.Invalid":       `{"method":"/riskprofiler.apptest.v1.IngestService/NextThing","message":"x","body":"eA=="}`,
	} {
		if got, _ := nameOf(second(invoke(through(t.Context(), "workflow"), []byte(event)))); got != want {
			t.Errorf("%s: got %s, want %s", event, got, want)
		}
	}
}

func TestFunctionRefusesOtherEvents(t *testing.T) {
	c := newCloud(t)
	ran := false
	spec := with(app.SpecOf("ingest", answer), func(s *app.Service) {
		s.Schedules = map[string]func(context.Context) error{"tick": func(context.Context) error { ran = true; return nil }}
	})
	invoke := app.Function(c.host(t, spec, telemetry.Options{}))
	for name, event := range map[string]string{
		"nothing": "", "no JSON": "hello", "null": "null", "array": "[]", "empty": "{}", "text": `"x"`,
		"two kinds": `{"schedule":"tick","Records":[]}`, "wrong type": `{"schedule":7}`, "schedule unknown": `{"schedule":"nightly"}`,
		"records are text": `{"Records":"x"}`, "upper case": `{"Schedule":"tick"}`,
		"SNS": `{"version":"1.0","records":[]}`, "REST API": `{"version":"1.0","requestContext":{"http":{}}}`,
		"authorizer": `{"version":"2.0","type":"REQUEST","requestContext":{"http":{"method":"GET"}}}`,
	} {
		for _, alias := range []string{"", "live", "events", "workflow"} {
			if got, _ := nameOf(second(invoke(through(t.Context(), alias), []byte(event)))); got != "RiskProfiler.Invalid" {
				t.Errorf("%s through %q: got %s, want RiskProfiler.Invalid", name, alias, got)
			}
		}
	}
	request := `{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`
	for alias, events := range map[string][]string{
		"live": {`{"schedule":"tick"}`, `{"Records":[]}`}, "workflow": {`{"schedule":"tick"}`, `{"Records":[]}`, request},
		"events": {request, string(callOf(t, app.MethodNext, "x", nil))},
	} {
		for _, event := range events {
			if got, _ := nameOf(second(invoke(through(t.Context(), alias), []byte(event)))); got != "RiskProfiler.Invalid" {
				t.Errorf("%s through the alias %s: got %s, want RiskProfiler.Invalid", event, alias, got)
			}
		}
	}
	if ran {
		t.Error("a refused event was acted on")
	}
	if got, _ := nameOf(second(invoke(through(t.Context(), ""), []byte(`{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`)))); got != "RiskProfiler.Unimplemented" {
		t.Errorf("a request to a service without HTTP: %s", got)
	}
}

func TestFunctionSchedules(t *testing.T) {
	c := newCloud(t)
	var failure error
	spec := with(app.SpecOf("ingest", answer), func(s *app.Service) {
		s.Schedules = map[string]func(context.Context) error{"tick": func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the schedule has no deadline")
			}
			if failure != nil && failure.Error() == "panic" {
				panic("secret")
			}
			return failure
		}}
	})
	invoke := app.Function(c.host(t, spec, telemetry.Options{}))
	tick := []byte(`{"schedule":"tick"}`)
	if out, err := invoke(t.Context(), tick); err != nil || string(out) != "{}" {
		t.Errorf("got %s, %v", out, err)
	}
	failure = fault.New(fault.Unavailable, "not now")
	if got, _ := nameOf(second(invoke(t.Context(), tick))); got != "RiskProfiler.Unavailable" {
		t.Errorf("got %s", got)
	}
	failure = errors.New("panic")
	if got, message := nameOf(second(invoke(t.Context(), tick))); got != "RiskProfiler.Internal" || strings.Contains(message, "secret") {
		t.Errorf("got %s (%s)", got, message)
	}
}

// TestFunctionSchedulesSayHowLate: the event has the time for which EventBridge Scheduler planned it, in its form.
func TestFunctionSchedulesSayHowLate(t *testing.T) {
	c := newCloud(t)
	reader := sdkmetric.NewManualReader()
	spec := with(app.SpecOf("ingest", answer), func(s *app.Service) {
		s.Schedules = map[string]func(context.Context) error{"tick": func(context.Context) error { return nil }}
	})
	invoke := app.Function(c.host(t, spec, telemetry.Options{MetricReaders: []sdkmetric.Reader{reader}}))
	for _, due := range []string{time.Now().Add(-90 * time.Second).UTC().Format("2006-01-02T15:04:05Z"), "", "<aws.scheduler.scheduled-time>"} {
		event, err := json.Marshal(map[string]string{"schedule": "tick", "time": due})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := invoke(t.Context(), event); err != nil || string(out) != "{}" {
			t.Errorf("due %q: got %s, %v", due, out, err)
		}
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			lag, ok := m.Data.(metricdata.Histogram[float64])
			if m.Name != "riskprofiler.schedule.lag" || !ok {
				continue
			}
			if p := lag.DataPoints[0]; p.Count != 1 || p.Sum < 90 || p.Sum > 120 {
				t.Errorf("%d ticks were %f s late together, want one by 90", p.Count, p.Sum)
			}
			return
		}
	}
	t.Error("no lag was recorded")
}

// consuming is a service that consumes queues with one handler.
func consuming(handle queue.Handler, queues ...string) app.Spec {
	spec := with(app.SpecOf("ingest", answer), func(s *app.Service) {
		s.Handlers = map[string]queue.Handler{}
		for _, name := range queues {
			s.Handlers[name] = handle
		}
	})
	for _, name := range queues {
		spec.Consumes = append(spec.Consumes, app.Consumer{Queue: name})
	}
	return spec
}

// failuresIn are the bodies of the messages that a batch's answer names, in order; the ids where there was no such message.
func (c *cloud) failuresIn(t *testing.T, out []byte, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatalf("a batch failed as a whole: %v", err)
	}
	var answer struct {
		BatchItemFailures *[]struct{ ItemIdentifier string }
	}
	if err := json.Unmarshal(out, &answer); err != nil || answer.BatchItemFailures == nil {
		t.Fatalf("answer %s, %v", out, err)
	}
	ids := []string{}
	for _, f := range *answer.BatchItemFailures {
		id := f.ItemIdentifier
		if d, ok := c.held[id]; ok {
			id = string(d.Message.Body)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func TestFunctionBatchFailsByGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		var mu sync.Mutex
		seen := map[string]int{}
		invoke := app.Function(c.host(t, consuming(func(_ context.Context, m queue.Message) error {
			time.Sleep(time.Second)
			mu.Lock()
			seen[string(m.Body)] = m.Attempt
			mu.Unlock()
			if string(m.Body) == "a2" && m.Attempt == 1 {
				panic("poison")
			}
			return nil
		}, "jobs", "scan-jobs"), telemetry.Options{}))
		begin := time.Now()
		out, err := invoke(through(t.Context(), "events"), c.deliver(t, "jobs", "a1", "a2", "a3", "b1", "b2", "c1"))
		if got, want := c.failuresIn(t, out, err), []string{"a2", "a3"}; !slices.Equal(got, want) {
			t.Errorf("failures %v, want %v", got, want)
		}
		if took := time.Since(begin); took > 2100*time.Millisecond {
			t.Errorf("took %s: the groups waited for each other", took)
		}
		if _, ok := seen["a3"]; ok {
			t.Error("a3 was handled before a2 was done")
		}
		time.Sleep(time.Minute)
		out, err = invoke(through(t.Context(), "events"), c.receive(t, "jobs"))
		if got := c.failuresIn(t, out, err); len(got) != 0 || seen["a2"] != 2 || seen["a3"] != 1 {
			t.Errorf("failures %v and attempts %v after the second time", got, seen)
		}
	})
}

func TestFunctionBatchIsolatesWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		handled := map[string]bool{}
		var mu sync.Mutex
		log := &lockedBuffer{}
		invoke := app.Function(c.host(t, consuming(func(_ context.Context, m queue.Message) error {
			mu.Lock()
			defer mu.Unlock()
			handled[string(m.Body)] = true
			return nil
		}, "jobs", "scan-jobs"), telemetry.Options{Writer: log}))
		records := func(event []byte) []map[string]any {
			var in struct{ Records []map[string]any }
			if err := json.Unmarshal(event, &in); err != nil {
				t.Fatal(err)
			}
			return in.Records
		}
		all := records(c.deliver(t, "jobs", "a1", "b1", "g1"))
		for _, r := range all {
			if r["body"] == "a1" {
				r["body"] = "unreadable"
			}
			if r["body"] == "g1" {
				r["body"] = "done"
			}
		}
		down := records(c.deliver(t, "scan-jobs", "c1", "d1"))
		down[0]["body"] = "outage"
		all = append(all, down...)
		strange := recordOf("else", "e1", "x")
		other := recordOf("jobs", "f1", "x")
		other["eventSource"] = "aws:kinesis"
		out, err := invoke(through(t.Context(), "events"), eventOf(t, map[string]any{"Records": append(anys(all), strange, other, "no record", map[string]any{})}))
		if got, want := c.failuresIn(t, out, err), []string{"c1", "d1", "e1", "f1"}; !slices.Equal(got, want) {
			t.Errorf("failures %v, want %v", got, want)
		}
		if want := map[string]bool{"b1": true}; !maps.Equal(handled, want) {
			t.Errorf("handled %v, want %v", handled, want)
		}
		d, err := queue.New(c.queues.Queue("jobs"), queue.Options{Name: "jobs"}).Depth(t.Context())
		if err != nil || d.Parked != 1 || d.InFlight != 1 {
			t.Errorf("depth %+v, %v: want the unreadable message parked and the one that was done left alone", d, err)
		}
		if !strings.Contains(log.String(), "does not consume") {
			t.Error("the log does not name the queue that nobody consumes")
		}
	})
}

func anys[T any](in []T) []any {
	var out []any
	for _, v := range in {
		out = append(out, v)
	}
	return out
}

// At 80 % of the time nothing more is begun, and what runs ends before the function does.
func TestFunctionBatchEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		begin := time.Now()
		var mu sync.Mutex
		began := map[string]time.Duration{}
		invoke := app.Function(c.host(t, consuming(func(ctx context.Context, m queue.Message) error {
			mu.Lock()
			began[string(m.Body)] = time.Since(begin)
			mu.Unlock()
			if m.Group == "b" {
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(27 * time.Second)
			return nil
		}, "jobs"), telemetry.Options{}))
		event := c.deliver(t, "jobs", "a1", "a2", "a3", "b1", "b2")
		ctx, cancel := context.WithTimeout(through(t.Context(), "events"), 60*time.Second)
		defer cancel()
		begin = time.Now()
		out, err := invoke(ctx, event)
		if got, want := c.failuresIn(t, out, err), []string{"a3", "b1", "b2"}; !slices.Equal(got, want) {
			t.Errorf("failures %v, want %v", got, want)
		}
		if want := map[string]time.Duration{"a1": 0, "a2": 27 * time.Second, "b1": 0}; !maps.Equal(began, want) {
			t.Errorf("began %v, want %v: a3 would have begun at 54 s of 60", began, want)
		}
		if took := time.Since(begin); took != 58*time.Second {
			t.Errorf("took %s, want 58 s: the handlers have to end 2 s before the function", took)
		}
	})
}

func TestFunctionThatEndsBeginsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		invoke := app.StoppingFunction(c.host(t, consuming(func(context.Context, queue.Message) error {
			t.Error("a message was begun")
			return nil
		}, "jobs"), telemetry.Options{}))
		out, err := invoke(through(t.Context(), "events"), c.deliver(t, "jobs", "a1", "b1"))
		if got, want := c.failuresIn(t, out, err), []string{"a1", "b1"}; !slices.Equal(got, want) {
			t.Errorf("failures %v, want %v", got, want)
		}
	})
}

// hanging is a span processor that never gets rid of its spans.
type hanging struct{ sdktrace.SpanProcessor }

func (hanging) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (hanging) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (hanging) Shutdown(context.Context) error                  { return nil }
func (hanging) ForceFlush(context.Context) error {
	time.Sleep(time.Hour)
	return errors.New("lost")
}

func TestFunctionFlushIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		invoke := app.Function(c.host(t, app.SpecOf("ingest", who), telemetry.Options{SpanProcessors: []sdktrace.SpanProcessor{hanging{}}}))
		for range 3 {
			begin := time.Now()
			_, err := invoke(through(t.Context(), "workflow"), callOf(t, app.MethodNext, "x", nil))
			if took := time.Since(begin); err != nil || took > telemetry.FlushTimeout {
				t.Errorf("took %s, %v", took, err)
			}
		}
		time.Sleep(3 * time.Hour)
	})
}

// flushed says whether an ended span was flushed before the answer.
type flushed struct {
	hanging

	mu          sync.Mutex
	ended, sent int
}

func (f *flushed) OnEnd(sdktrace.ReadOnlySpan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended++
}

func (f *flushed) ForceFlush(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = f.ended
	return nil
}

func TestFunctionTraces(t *testing.T) {
	const header, parent = "Root=1-65f0c0de-00112233445566778899aabb;Parent=0123456789abcdef;Sampled=1;Lineage=1:a:0", "00-65f0c0de000000000000000000000001-00000000000000aa-01"
	c := newCloud(t)
	f := &flushed{}
	invoke := app.Function(c.host(t, app.SpecOf("ingest", func(ctx context.Context, _, _ string) (string, error) {
		return trace.SpanContextFromContext(ctx).TraceID().String(), nil
	}), telemetry.Options{SpanProcessors: []sdktrace.SpanProcessor{f}}))
	for name, test := range map[string]struct {
		header   string
		metadata map[string][]string
		want     string
	}{
		"X-Ray":        {header, nil, "65f0c0de00112233445566778899aabb"},
		"the caller's": {header, map[string][]string{"traceparent": {parent}}, "65f0c0de000000000000000000000001"},
		"no X-Ray":     {"", map[string][]string{"traceparent": {parent}}, "65f0c0de000000000000000000000001"},
	} {
		ctx := context.WithValue(through(t.Context(), "workflow"), "x-amzn-trace-id", test.header) //nolint:revive,staticcheck // the runtime client's key
		out, err := invoke(ctx, callOf(t, app.MethodNext, "x", test.metadata))
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("%s: %s, %v; want the trace %s", name, out, err, test.want)
		}
		if f.ended == 0 || f.sent != f.ended {
			t.Errorf("%s: %d spans ended, %d were sent before the answer", name, f.ended, f.sent)
		}
	}
}

func TestFunctionServesHTTP(t *testing.T) {
	c := newCloud(t)
	var got *http.Request
	var body []byte
	respond := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }
	spec := with(app.SpecOf("ingest", answer), func(s *app.Service) {
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			respond(w, r)
		})
	})
	invoke := app.Function(c.host(t, spec, telemetry.Options{}))
	request := func(change func(e, rc map[string]any)) map[string]any {
		rc := map[string]any{"stage": "$default", "domainName": "api.example.com", "http": map[string]any{"method": "POST", "sourceIp": "192.0.2.7", "protocol": "HTTP/1.1"}}
		e := map[string]any{
			"version": "2.0", "routeKey": "$default", "rawPath": "/v1/a%20b/c", "rawQueryString": "x=1&x=2&y=%26", "cookies": []string{"a=1", "b=2"},
			"headers": map[string]string{"content-type": "application/json", "x-api-key": "k", "accept": "a, b", "x-amzn-trace-id": "Root=1-1-1", "content-length": "999", "host": "api.example.com"},
			"body":    "eyJ4IjoxfQ==", "isBase64Encoded": true, "requestContext": rc,
		}
		change(e, rc)
		out, err := invoke(through(t.Context(), "live"), eventOf(t, e))
		if err != nil {
			t.Fatal(err)
		}
		var answer map[string]any
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	none := func(_, _ map[string]any) {}
	answer := request(none)
	if answer["statusCode"] != 200.0 || answer["body"] != "ok" || answer["isBase64Encoded"] != any(false) {
		t.Errorf("answer %v", answer)
	}
	want := http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {"k"}, "Accept": {"a, b"}, "Cookie": {"a=1; b=2"}}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("header (-want +got)\n%s", diff)
	}
	if got.Method != "POST" || got.URL.Path != "/v1/a b/c" || got.URL.RequestURI() != "/v1/a%20b/c?x=1&x=2&y=%26" || got.Host != "api.example.com" ||
		got.ContentLength != 7 || string(body) != `{"x":1}` || !slices.Equal(got.URL.Query()["x"], []string{"1", "2"}) {
		t.Errorf("request %+v with body %s", got, body)
	}
	if a, err := netip.ParseAddrPort(got.RemoteAddr); err != nil || a.Addr().String() != "192.0.2.7" {
		t.Errorf("remote address %s, %v", got.RemoteAddr, err)
	}
	request(func(e, rc map[string]any) { rc["stage"], e["rawPath"] = "prod", "/prod/v1/x" })
	if got.URL.Path != "/v1/x" {
		t.Errorf("path %s with a stage in front", got.URL.Path)
	}
	request(func(e, _ map[string]any) { e["rawPath"] = "no%zzslash" })
	if got.URL.Path != "/no%zzslash" {
		t.Errorf("path %s", got.URL.Path)
	}
	if answer = request(func(e, _ map[string]any) { e["body"] = "%" }); answer["statusCode"] != 400.0 {
		t.Errorf("a body that is no base64: %v", answer)
	}

	respond = func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := w.(http.Flusher); ok {
			t.Error("the answer looks as if it could be streamed")
		}
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header()["Vary"] = []string{"A", "B"}
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
		w.Header().Set("Late", "x")
		_, _ = w.Write([]byte{0xff, 0x00})
	}
	wantAnswer := map[string]any{
		"statusCode": 418.0, "body": "/wA=", "isBase64Encoded": true, "cookies": []any{"a=1", "b=2"},
		"headers": map[string]any{"Vary": "A, B", "Content-Type": "application/octet-stream"},
	}
	if diff := cmp.Diff(wantAnswer, request(none)); diff != "" {
		t.Errorf("answer (-want +got)\n%s", diff)
	}
	for name, write := range map[string]func(http.ResponseWriter){
		"many bytes": func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 7<<20)) },
		"endless": func(w http.ResponseWriter) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"long as JSON": func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte{1}, 2<<20)) },
	} {
		respond = func(w http.ResponseWriter, _ *http.Request) { write(w) }
		if answer := request(none); answer["statusCode"] != 500.0 || !strings.Contains(answer["body"].(string), "larger than") {
			t.Errorf("%s: %.200v", name, answer)
		}
	}
}

// Whatever arrives, a function answers with JSON or an error that has a name.
func FuzzFunction(f *testing.F) {
	for _, seed := range []string{
		`{"schedule":"tick","time":"2026-01-02T03:04:05Z"}`, `{"Records":[{"messageId":"1","eventSource":"aws:sqs","eventSourceARN":"a:jobs.fifo"}]}`,
		`{"Records":[null,1,{"messageId":""}]}`, `{"method":"/riskprofiler.apptest.v1.IngestService/NextThing","message":"x","metadata":{"rp-tenant":["t"]}}`,
		`{"version":"2.0","rawPath":"%zz","rawQueryString":"%","headers":{"":"","a b":"\n"},"cookies":["a"],"requestContext":{"stage":"s","http":{"method":"G T","sourceIp":"::"}}}`,
		`{"version":"2.0","requestContext":{"http":{"method":"GET"}},"body":"=","isBase64Encoded":true}`, `[]`, ``, `{"method":null}`,
	} {
		f.Add([]byte(seed), "live")
		f.Add([]byte(seed), "workflow")
	}
	c := newCloud(f)
	spec := with(consuming(func(context.Context, queue.Message) error { return nil }, "jobs"), func(s *app.Service) {
		s.HTTP = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
			_, _ = io.WriteString(w, r.URL.String()+r.URL.Query().Encode()+r.RemoteAddr)
		})
		s.Schedules = map[string]func(context.Context) error{"tick": func(context.Context) error { return nil }}
	})
	invoke := app.Function(c.host(f, spec, telemetry.Options{}))
	f.Fuzz(func(t *testing.T, payload []byte, alias string) {
		out, err := invoke(through(t.Context(), alias), payload)
		if name, _ := nameOf(err); err != nil && !strings.HasPrefix(name, "RiskProfiler.") {
			t.Errorf("error %s: %v", name, err)
		}
		if err == nil && !json.Valid(out) {
			t.Errorf("answer %q", out)
		}
	})
}
