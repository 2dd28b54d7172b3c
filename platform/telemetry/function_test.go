package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry/tracetest"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

const lambdaHeader = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled="

func TestFunctionResource(t *testing.T) {
	got := map[string]string{}
	for _, a := range FunctionResource(map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME": "rp-prod-ingest", "AWS_LAMBDA_FUNCTION_VERSION": "7", "AWS_REGION": "eu-west-1",
		"AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/02/[7]abc", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_SECRET_ACCESS_KEY": "hunter2",
	}) {
		got[string(a.Key)] = a.Value.String()
	}
	want := map[string]string{
		"cloud.provider": "aws", "cloud.platform": "aws_lambda", "cloud.region": "eu-west-1", "faas.name": "rp-prod-ingest",
		"faas.version": "7", "faas.instance": "2026/01/02/[7]abc", "faas.max_memory": "536870912",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := FunctionResource(map[string]string{"AWS_REGION": "eu-west-1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "x"}); got != nil {
		t.Errorf("outside of a function: %v", got)
	}
	r := tracetest.New()
	tel, _ := setup(t, Options{SpanProcessors: []sdktrace.SpanProcessor{r}, Resource: FunctionResource(map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "f"})})
	_, span := tel.For("ingest").TracerProvider.Tracer("x").Start(t.Context(), "work")
	span.End()
	if text := r.Spans()[0].Resource().String(); !strings.Contains(text, "faas.name=f") || !strings.Contains(text, "service.name=ingest") {
		t.Errorf("resource %s", text)
	}
}

func TestInvocations(t *testing.T) {
	metadata := func() map[string][]string {
		return map[string][]string{"traceparent": {someParent}, "tracestate": {someState}, "kept": {"1"}}
	}
	for name, c := range map[string]struct {
		in     Invocation
		joined bool // is in the trace of someParent, which is the header's too
	}{
		"a caller's trace":            {Invocation{Trigger: TriggerOther, Metadata: metadata(), XRay: strings.Replace(lambdaHeader, "0af7", "0bf7", 1) + "1"}, true},
		"AWS's trace":                 {Invocation{Trigger: TriggerTimer, XRay: lambdaHeader + "1"}, true},
		"not sampled by AWS":          {Invocation{Trigger: TriggerTimer, XRay: lambdaHeader + "0"}, false},
		"broken header":               {Invocation{Trigger: TriggerOther, XRay: "Root=1;Sampled=1"}, false},
		"two parents":                 {Invocation{Trigger: TriggerOther, Metadata: map[string][]string{"traceparent": {someParent, someParent}}}, false},
		"a stranger's":                {Invocation{Trigger: TriggerHTTP, XRay: lambdaHeader + "1"}, false},
		"a batch has many parents":    {Invocation{Trigger: TriggerMessages, XRay: lambdaHeader + "1"}, false},
		"nothing at all":              {Invocation{Trigger: TriggerOther}, false},
		"metadata without any header": {Invocation{Trigger: TriggerOther, Metadata: map[string][]string{}}, false},
	} {
		tel, r, _ := recording(t)
		outer, stranger := tel.TracerProvider.Tracer("x").Start(t.Context(), "the process") // whatever else is in the context
		c.in.ID, c.in.Resource = "8476a536", "arn:aws:lambda:eu-west-1:123456789012:function:rp-prod-ingest:live"
		ctx, end := tel.For("ingest").Invoke(outer, c.in)
		end(nil)
		stranger.End()
		s := r.Spans()[0]
		joined := s.SpanContext().TraceID().String() == strings.Split(someParent, "-")[1]
		if joined != c.joined || s.SpanContext().TraceID() == stranger.SpanContext().TraceID() || s.SpanKind() != trace.SpanKindServer || s.Name() != "ingest" {
			t.Errorf("%s: %s %s in trace %s", name, s.SpanKind(), s.Name(), s.SpanContext().TraceID())
		}
		attrs := map[string]string{}
		for _, a := range s.Attributes() {
			attrs[string(a.Key)] = a.Value.String()
		}
		want := map[string]string{"faas.coldstart": "true", "faas.trigger": string(c.in.Trigger), "faas.invocation_id": c.in.ID, "cloud.resource_id": c.in.Resource}
		if diff := cmp.Diff(want, attrs); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if c.in.Metadata != nil && (len(c.in.Metadata["traceparent"]) != 1 || c.in.Metadata["traceparent"][0] != formatParent(trace.SpanContextFromContext(ctx))) {
			t.Errorf("%s: the request's span will not be part of the invocation: %v", name, c.in.Metadata)
		}
	}
}

func TestColdStartIsTheFirstInvocationOfAProcess(t *testing.T) {
	tel, r, _ := recording(t)
	for range 2 {
		for _, service := range []string{"ingest", "scheduler"} {
			_, end := tel.For(service).Invoke(t.Context(), Invocation{Trigger: TriggerOther})
			end(fault.New(fault.Unavailable, "hunter2"))
		}
	}
	for i, s := range r.Spans() {
		for _, a := range s.Attributes() {
			if a.Key == "faas.coldstart" && a.Value.AsBool() != (i == 0) {
				t.Errorf("invocation %d: %v", i, a)
			}
			if strings.Contains(a.Value.String(), "hunter2") {
				t.Errorf("the span quotes the error: %v", a)
			}
		}
	}
	if got := r.Tree(tracetest.Options{}); strings.Count(got, "server !\n") != 4 {
		t.Errorf("spans:\n%s", got)
	}
}

// TestStrangersRequestIsPartOfItsInvocation: whatever trace a stranger names, the request is in that of the invocation it came by.
func TestStrangersRequestIsPartOfItsInvocation(t *testing.T) {
	tel, r, _ := recording(t)
	gateway := tel.For("gateway")
	ctx, end := gateway.Invoke(t.Context(), Invocation{Trigger: TriggerHTTP})
	ctx = metadata.NewIncomingContext(trace.ContextWithSpanContext(ctx, remote(t, someParent, someState)), metadata.Pairs("traceparent", someParent))
	serve := gateway.UnaryServerInterceptor(ServerOptions{Untrusted: true})
	if _, err := serve(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, func(context.Context, any) (any, error) { return nil, nil }); err != nil { //nolint:nilnil // nobody reads it
		t.Fatal(err)
	}
	end(nil)
	if got, want := r.Tree(tracetest.Options{}), "gateway server\n  a.B/C server\n"; got != want {
		t.Errorf("spans:\n%s\nwant:\n%s", got, want)
	}
}

// TestInvocationsOfQuietFunctions: without an exporter an invocation still has ids, and passes its caller's on.
func TestInvocationsOfQuietFunctions(t *testing.T) {
	tel, log := setup(t, Options{})
	ctx, end := tel.Invoke(t.Context(), Invocation{Trigger: TriggerOther, Metadata: map[string][]string{"traceparent": {someParent}}})
	tel.Logger.InfoContext(WithAssessment(ctx, "assessments/a1"), "hello")
	end(errors.New("x"))
	line := log.lines(t)[0]
	if line["trace_id"] != strings.Split(someParent, "-")[1] || line["span_id"] == strings.Split(someParent, "-")[2] || line["assessment"] != "assessments/a1" {
		t.Errorf("log: %v", line)
	}
}

// TestSpansOfEachServiceHaveItsName: one server for several services, as in one process.
func TestSpansOfEachServiceHaveItsName(t *testing.T) {
	tel, r, log := recording(t)
	gateway, ingest := tel.For("gateway"), tel.For("ingest")
	m := wire.NewMux(wire.MuxOptions{Interceptors: []grpc.UnaryServerInterceptor{tel.UnaryServerInterceptor(ServerOptions{
		Level: slog.LevelInfo, Services: map[string]*Telemetry{"grpc.testing.TestService": ingest},
	})}})
	testpb.RegisterTestServiceServer(m, impl{unary: ok})
	client := testpb.NewTestServiceClient(wire.NewConn(m, wire.ConnOptions{Interceptors: []grpc.UnaryClientInterceptor{gateway.UnaryClientInterceptor()}}))
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	const want = "grpc.testing.TestService/UnaryCall client @gateway\n  grpc.testing.TestService/UnaryCall server @ingest\n"
	if got := r.Tree(tracetest.Options{Service: true}); got != want {
		t.Errorf("got\n%s", got)
	}
	if line := log.lines(t)[0]; line["service"] != "ingest" {
		t.Errorf("log: %v", line)
	}
	for _, method := range []string{"", "/", "/other.Service/M", "grpc.testing.TestService"} {
		if o := (ServerOptions{Services: map[string]*Telemetry{"x": ingest}}); o.owner(tel, method) != tel {
			t.Errorf("%q has another owner", method)
		}
	}
}

// stuck is an exporter that never ends.
type stuck struct {
	sdktrace.SpanProcessor

	released chan struct{}
}

func (s stuck) ForceFlush(ctx context.Context) error { <-s.released; return ctx.Err() }

func (stuck) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (stuck) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (stuck) Shutdown(context.Context) error                  { return nil }

func TestFlushIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		tel, log := setup(t, Options{SpanProcessors: []sdktrace.SpanProcessor{stuck{released: released}}, Level: slog.LevelDebug})
		for name, c := range map[string]struct {
			deadline, want time.Duration
		}{"no deadline": {0, FlushTimeout}, "late deadline": {time.Minute, FlushTimeout}, "early deadline": {50 * time.Millisecond, 50 * time.Millisecond}, "over": {-time.Second, 0}} {
			ctx, cancel := context.WithCancel(t.Context())
			if c.deadline != 0 {
				ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(c.deadline))
			}
			began := time.Now()
			tel.Flush(ctx)
			if took := time.Since(began); took != c.want {
				t.Errorf("%s: took %s, want %s", name, took, c.want)
			}
			cancel()
		}
		close(released)
		for _, line := range log.lines(t) {
			if line["level"] != "DEBUG" {
				t.Errorf("log: %v", line)
			}
		}
	})
}

func FuzzParseXRay(f *testing.F) {
	f.Add(lambdaHeader + "1")
	f.Add("Self=1-67891234-12456789abcdef012345678;Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=?;Lineage=1:a87bd80c:0")
	f.Add(";;Root=;Parent")
	f.Fuzz(func(t *testing.T, text string) {
		sc, ok := ParseXRay(text)
		if ok != sc.IsValid() && ok {
			t.Fatalf("%q: %v", text, sc)
		}
		if !ok {
			return
		}
		again, ok := ParseXRay(FormatXRay(sc))
		if !ok || !again.Equal(sc) || len(text) > maxXRay {
			t.Fatalf("%q became %v, then %v", text, sc, again)
		}
	})
}
