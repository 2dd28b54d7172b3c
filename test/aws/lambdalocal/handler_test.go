package lambdalocal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

// client is the SDK's client of a served Lambda. It tries once, so that errors are seen.
func client(t *testing.T, l *lambdalocal.Lambda) *lambda.Client {
	t.Helper()
	s := httptest.NewServer(l.Handler())
	t.Cleanup(s.Close)
	return lambda.New(lambda.Options{
		Region: "us-east-1", BaseEndpoint: &s.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AK", "SK", ""),
	})
}

func TestSDKInvokes(t *testing.T) {
	l := start(t, lambdalocal.Function{Aliases: []string{"workflow"}, Timeout: 20 * time.Second}, lambdalocal.Options{})
	c := client(t, l)
	for _, in := range []*lambda.InvokeInput{
		{FunctionName: aws.String("f"), Qualifier: aws.String("workflow")},
		{FunctionName: aws.String("f:workflow")},
		{FunctionName: aws.String("arn:aws:lambda:us-east-1:123456789012:function:f:workflow")},
	} {
		in.ClientContext = aws.String(base64.StdEncoding.EncodeToString([]byte(`{"custom":{"who":"sdk"}}`)))
		out, err := c.Invoke(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: %v", *in.FunctionName, err)
		}
		var s seen
		if err := json.Unmarshal(out.Payload, &s); err != nil {
			t.Fatal(err)
		}
		if out.StatusCode != http.StatusOK || out.FunctionError != nil || aws.ToString(out.ExecutedVersion) != "1" || s.Client != "sdk" ||
			!strings.HasSuffix(s.ARN, ":f:workflow") || s.Count == 0 {
			t.Errorf("%s: %d %v %v %+v", *in.FunctionName, out.StatusCode, out.FunctionError, out.ExecutedVersion, s)
		}
	}
	out, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`{"do":"fail"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.FunctionError) != "Unhandled" || string(out.Payload) != `{"errorMessage":"come again","errorType":"Unavailable"}` {
		t.Errorf("got %v %s", out.FunctionError, out.Payload)
	}
	large := append(append([]byte(`{"do":"echo","echo":"`), bytes.Repeat([]byte("x"), 5<<20)...), `"}`...)
	if out, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), Payload: large}); err != nil || len(out.Payload) != 5<<20+2 {
		t.Errorf("5 MB: %v", err)
	}
}

func TestSDKErrors(t *testing.T) {
	l := start(t, lambdalocal.Function{MaxInstances: 1, Timeout: 20 * time.Second}, lambdalocal.Options{})
	c := client(t, l)
	_, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("g")})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) || aws.ToString(missing.Message) != "Function not found: arn:aws:lambda:us-east-1:123456789012:function:g" {
		t.Errorf("unknown function: %v", err)
	}
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), Payload: make([]byte, lambdalocal.MaxPayloadBytes+1)})
	var large *types.RequestTooLargeException
	if !errors.As(err, &large) {
		t.Errorf("too large: %v", err)
	}
	_, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), InvocationType: types.InvocationTypeEvent})
	var invalid *types.InvalidParameterValueException
	if !errors.As(err, &invalid) {
		t.Errorf("asynchronous: %v", err)
	}
	// Of two at the same time on one instance one is refused: both last longer than a process takes to start.
	refused := make(chan bool, 2)
	for range cap(refused) {
		go func() {
			_, err := c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("f"), Payload: []byte(`{"do":"pause"}`)})
			var own *types.TooManyRequestsException
			refused <- errors.As(err, &own) && own.Reason == types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded
		}()
	}
	if a, b := <-refused, <-refused; a == b {
		t.Errorf("of two invocations at a time on one instance both had the same end, refused: %v", a)
	}
	s := httptest.NewServer(l.Handler())
	defer s.Close()
	res, err := http.Post(s.URL+"/2015-03-31/functions/f/invocations", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("an unsigned request was answered with %s", res.Status)
	}
}
