package awsspan

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// service answers as a service of AWS does.
func service(t *testing.T, answers ...func(http.ResponseWriter)) aws.Config {
	t.Helper()
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("X-Amzn-Requestid", fmt.Sprint("request-", n))
		answers[min(n, len(answers)-1)](w)
		n++
	}))
	t.Cleanup(server.Close)
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.URL), HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
		APIOptions:  []func(*middleware.Stack) error{Middleware},
	}
}

func fine(w http.ResponseWriter) { _, _ = w.Write([]byte("{}")) }

func fails(status int, code string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"hunter2"}`, code)
	}
}

// spansOf runs f in a recorded span and gives all others.
func spansOf(t *testing.T, f func(context.Context)) []sdktrace.ReadOnlySpan {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	ctx, root := provider.Tracer("test").Start(t.Context(), "root")
	f(ctx)
	for _, s := range spans.Ended() {
		if s.Parent().SpanID() != root.SpanContext().SpanID() {
			t.Errorf("span %s is not the caller's", s.Name())
		}
	}
	return spans.Ended()
}

func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes() {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func get(ctx context.Context, c aws.Config) error {
	client := dynamodb.NewFromConfig(c, func(o *dynamodb.Options) {
		o.Retryer = aws.NopRetryer{}
		if c.Retryer != nil {
			o.Retryer = c.Retryer()
		}
	})
	_, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("t"), Key: map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: "hunter2"}}})
	return err
}

func TestOneSpanForOneCall(t *testing.T) {
	for name, c := range map[string]struct {
		answers []func(http.ResponseWriter)
		retry   bool
		want    map[string]string
	}{
		"fine": {[]func(http.ResponseWriter){fine}, false, map[string]string{"aws.request_id": "request-0"}},
		"refused": {[]func(http.ResponseWriter){fails(400, "ConditionalCheckFailedException")}, false, map[string]string{
			"aws.request_id": "request-0", "http.response.status_code": "400", "error.type": "ConditionalCheckFailedException"}},
		"again and again": {[]func(http.ResponseWriter){fails(500, "InternalServerError"), fails(500, "InternalServerError"), fine}, true, map[string]string{
			"aws.request_id": "request-2", "http.request.resend_count": "2"}},
	} {
		config := service(t, c.answers...)
		if c.retry {
			config.Retryer = func() aws.Retryer { return quick{} }
		}
		all := spansOf(t, func(ctx context.Context) {
			if err := get(ctx, config); (err != nil) != (c.want["error.type"] != "") {
				t.Errorf("%s: %v", name, err)
			}
		})
		if len(all) != 1 || all[0].Name() != "DynamoDB.GetItem" || all[0].SpanKind() != trace.SpanKindClient {
			t.Fatalf("%s: spans %v", name, all)
		}
		c.want["rpc.system"], c.want["rpc.service"], c.want["rpc.method"] = "aws-api", "DynamoDB", "GetItem"
		if diff := cmp.Diff(c.want, attributes(all[0])); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if text := fmt.Sprint(attributes(all[0]), all[0].Status(), all[0].Events()); strings.Contains(text, "hunter2") {
			t.Errorf("%s: the span quotes: %s", name, text)
		}
	}
}

// quick tries three times without a pause.
type quick struct{ aws.NopRetryer }

func (quick) IsErrorRetryable(error) bool                  { return true }
func (quick) MaxAttempts() int                             { return 3 }
func (quick) RetryDelay(int, error) (time.Duration, error) { return 0, nil }
func (quick) GetRetryToken(context.Context, error) (func(error) error, error) {
	return func(error) error { return nil }, nil
}

func TestOtherServicesAndCancelledCalls(t *testing.T) {
	c := service(t, fine)
	all := spansOf(t, func(ctx context.Context) {
		if _, err := sqs.NewFromConfig(c).GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("q")}); err != nil {
			t.Error(err)
		}
		if _, err := sfn.NewFromConfig(c).SendTaskSuccess(ctx, &sfn.SendTaskSuccessInput{TaskToken: aws.String("t"), Output: aws.String("{}")}); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if err := get(ctx, c); err == nil {
			t.Error("a call that was cancelled succeeded")
		}
	})
	if len(all) != 3 || all[0].Name() != "SQS.GetQueueUrl" || all[1].Name() != "SFN.SendTaskSuccess" || attributes(all[2])["error.type"] != "cancelled" {
		t.Errorf("spans %v", all)
	}
}

func TestNoSpanWithoutARecordedParent(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.NeverSample()))
	ctx, root := provider.Tracer("test").Start(t.Context(), "root")
	defer root.End()
	c := service(t, fine)
	for _, ctx := range []context.Context{ctx, t.Context()} {
		if err := get(ctx, c); err != nil {
			t.Error(err)
		}
	}
	if n := len(spans.Started()); n != 0 {
		t.Errorf("%d spans", n)
	}
}
