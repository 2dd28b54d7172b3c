package workflow

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// tree writes spans as "name <- name of the parent".
func tree(spans []sdktrace.ReadOnlySpan) (out []string) {
	names := map[trace.SpanID]string{}
	for _, s := range spans {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	for _, s := range spans {
		name := names[s.Parent().SpanID()]
		if name == "" && s.Parent().IsRemote() {
			name = "remote"
		}
		out = append(out, s.Name()+" <- "+name)
	}
	return out
}

func TestExecutionIsOneTraceOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := silent(t)
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		var mu sync.Mutex
		var carried []trace.SpanContext
		note := func(ctx context.Context) {
			mu.Lock()
			defer mu.Unlock()
			carried = append(carried, trace.SpanContextFromContext(ctx))
		}
		definition := `{"StartAt": "First", "States": {
			"First": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f"}, "ResultPath": null, "Next": "Each"},
			"Each": {"Type": "Map", "ItemsPath": "$.items", "ItemProcessor": ` + strings.Replace(waits, "$$.Execution.Name", "$", 1) + `, "Next": "Last"},
			"Last": {"Type": "Succeed"}}}`
		observed := func(o *RunnerOptions) {
			o.TracerProvider = provider
			invoke, send := o.Invoke, o.Send
			o.Invoke = func(ctx context.Context, name string, payload json.RawMessage) (json.RawMessage, error) {
				note(ctx)
				_, _ = invoke(ctx, name, payload)
				return payload, nil
			}
			o.Send = func(ctx context.Context, name string, m queue.Message) error {
				note(ctx)
				return send(ctx, name, m)
			}
		}
		ctx, root := provider.Tracer("test").Start(context.Background(), "POST /v1/assessments")
		p := w.start(map[string]string{"m": definition}, 0, false, observed)
		must(t, p.Start(ctx, "m", "one", json.RawMessage(`{"items":["a"]}`)))
		root.End()
		token := w.token("a")
		e, err := p.Describe(ctx, "m", "one")
		must(t, err)
		if want := fmt.Sprintf(`"trace":{"traceparent":"00-%s-%s-01"}`, root.SpanContext().TraceID(), root.SpanContext().SpanID()); !strings.Contains(string(e.Input), want) {
			t.Errorf("input is %s, without %s", e.Input, want)
		}
		p.stop()
		p = w.start(map[string]string{"m": definition}, 0, false, observed)
		synctest.Wait()
		must(t, p.Complete(ctx, token, json.RawMessage(`1`)))
		w.await("m", "one")
		p.stop()

		for _, c := range carried {
			if c.TraceID() != root.SpanContext().TraceID() {
				t.Errorf("a task was called in trace %s, want %s", c.TraceID(), root.SpanContext().TraceID())
			}
		}
		for _, s := range spans.Ended() {
			if s.SpanContext().TraceID() != root.SpanContext().TraceID() {
				t.Errorf("span %s is in trace %s", s.Name(), s.SpanContext().TraceID())
			}
		}
		if diff := cmp.Diff([]string{
			"POST /v1/assessments <- ", "write workflows <- POST /v1/assessments",
			"workflow m <- remote", "state First <- workflow m", "state Each <- workflow m", "state Job <- state Each",
			"workflow m <- remote", "state Each <- workflow m", "state Job <- state Each", "state Last <- workflow m",
		}, remote(tree(started(spans)))); diff != "" {
			t.Errorf("spans (-want +got):\n%s", diff)
		}
	})
}

// remote replaces the name of a remote parent, which is a span of the same test.
func remote(lines []string) []string {
	for i, line := range lines {
		if strings.HasPrefix(line, "workflow m <- ") {
			lines[i] = "workflow m <- remote"
		}
	}
	return lines
}

func started(r *tracetest.SpanRecorder) (out []sdktrace.ReadOnlySpan) {
	for _, s := range r.Started() {
		out = append(out, s)
	}
	return out
}

func TestTraceOfTheInputIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		spans := tracetest.NewSpanRecorder()
		p := w.start(map[string]string{"m": `{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E"}}}`}, 0, false,
			func(o *RunnerOptions) {
				o.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
			})
		defer p.stop()
		ctx, _ := sdktrace.NewTracerProvider().Tracer("test").Start(context.Background(), "other")
		const id = "0af7651916cd43dd8448eb211c80319c"
		must(t, p.Start(ctx, "m", "one", json.RawMessage(`{"trace":{"traceparent":"00-`+id+`-b7ad6b7169203331-01","tracestate":"a=b"}}`)))
		w.await("m", "one")
		time.Sleep(time.Second)
		for _, s := range spans.Ended() {
			if s.SpanContext().TraceID().String() != id || s.SpanContext().TraceState().String() != "a=b" {
				t.Errorf("span %s is in trace %s", s.Name(), s.SpanContext().TraceID())
			}
			if s.Status().Code != codes.Error {
				t.Errorf("span %s has status %v", s.Name(), s.Status())
			}
		}
		if len(spans.Ended()) != 2 {
			t.Errorf("%d spans", len(spans.Ended()))
		}
	})
}

// TestMessageCarriesTheTraceOfItsDefinition: a definition says where the trace is, as Step Functions sends nothing else. The
// runner's own span in the same trace takes its place.
func TestMessageCarriesTheTraceOfItsDefinition(t *testing.T) {
	const definition = `{"StartAt": "Tell", "States": {"Tell": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": true,
		"Parameters": {"QueueUrl": "${Queue}", "MessageGroupId": "g", "MessageDeduplicationId": "d", "MessageBody": {}, "MessageAttributes": {
			"kind": {"DataType": "String", "StringValue": "told"},
			"traceparent": {"DataType": "String", "StringValue.$": "$.trace.traceparent"}}}}}}`
	const request, other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-11111111111111111111111111111111-2222222222222222-01"
	for name, tt := range map[string]struct {
		input  string
		traced bool
		want   string
	}{
		"no spans are made":     {`{"trace":{"traceparent":"` + request + `"}}`, false, request},
		"spans are made":        {`{"trace":{"traceparent":"` + request + `"}}`, true, ""},
		"no trace":              {`{"trace":{"traceparent":"00-00000000000000000000000000000000-0000000000000000-00"}}`, true, "00-00000000000000000000000000000000-0000000000000000-00"},
		"another trace is kept": {`{"trace":{"traceparent":"` + request + `"},"other":"` + other + `"}`, true, other},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := silent(t)
				text := definition
				if strings.Contains(tt.input, "other") {
					text = strings.Replace(text, "$.trace.traceparent", "$.other", 1)
				}
				p := w.start(map[string]string{"m": text}, 0, false, func(o *RunnerOptions) {
					if tt.traced {
						o.TracerProvider = sdktrace.NewTracerProvider()
					}
				})
				must(t, p.Start(context.Background(), "m", "one", json.RawMessage(tt.input)))
				if e := w.await("m", "one"); e.Status != Succeeded {
					t.Errorf("ended as %s %s", e.Error, e.Cause)
				}
				p.stop()
				w.mu.Lock()
				defer w.mu.Unlock()
				if got := w.sent["d"][0].m.Attributes; got["traceparent"] != tt.want || got["kind"] != "told" {
					t.Errorf("attributes are %v, want traceparent %q", got, tt.want)
				}
			})
		})
	}
}
