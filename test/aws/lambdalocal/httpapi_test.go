package lambdalocal_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

// TestHTTPAPIEvent reads the event with AWS's own types.
func TestHTTPAPIEvent(t *testing.T) {
	var e events.APIGatewayV2HTTPRequest
	s := httptest.NewServer(lambdalocal.HTTPAPI{Function: "gateway:live", Invoke: func(_ context.Context, in lambdalocal.Invocation) (lambdalocal.Result, error) {
		if in.Function != "gateway:live" {
			t.Errorf("invoked %s", in.Function)
		}
		return lambdalocal.Result{Payload: []byte(`{"statusCode":201,"headers":{"x-own":"yes"},"cookies":["a=b"],"body":"aGk=","isBase64Encoded":true}`)},
			json.Unmarshal(in.Payload, &e)
	}})
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/assets/a%2Fb:attest?x=1&x=2&y=%20", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Add("X-Many", "1")
	req.Header.Add("X-Many", "2")
	req.Header.Set("Cookie", "k=v; l=w")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, _ := io.ReadAll(res.Body)
	if res.StatusCode != 201 || string(raw) != "hi" || res.Header.Get("X-Own") != "yes" || res.Header.Get("Set-Cookie") != "a=b" {
		t.Errorf("answer %s %q %v", res.Status, raw, res.Header)
	}
	c := e.RequestContext
	if e.Version != "2.0" || e.RawPath != "/v1/assets/a%2Fb:attest" || e.RawQueryString != "x=1&x=2&y=%20" || e.QueryStringParameters["x"] != "1,2" ||
		e.Headers["x-many"] != "1,2" || e.Headers["content-type"] == "" || len(e.Cookies) != 2 || e.Cookies[1] != "l=w" || e.Body != `{"a":1}` || e.IsBase64Encoded ||
		c.HTTP.Method != http.MethodPost || c.HTTP.SourceIP != "127.0.0.1" || c.Stage != "$default" || c.TimeEpoch == 0 ||
		!strings.HasPrefix(e.Headers["x-amzn-trace-id"], "Root=1-") {
		t.Errorf("event %+v", e)
	}
}

func TestHTTPAPIAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		result lambdalocal.Result
		err    error
		hang   bool
		status int
		body   string
	}{
		"plain JSON":      {result: lambdalocal.Result{Payload: []byte(`{"a":1}`)}, status: 200, body: `{"a":1}`},
		"function failed": {result: lambdalocal.Result{FunctionError: "Unhandled", Payload: []byte(`{"errorType":"secret"}`)}, status: 500, body: `{"message":"Internal Server Error"}`},
		"throttled":       {err: lambdalocal.ErrThrottled, status: 503, body: `{"message":"Service Unavailable"}`},
		"too slow":        {hang: true, status: 503, body: `{"message":"Service Unavailable"}`},
		"bad base64":      {result: lambdalocal.Result{Payload: []byte(`{"statusCode":200,"body":"%","isBase64Encoded":true}`)}, status: 500, body: `{"message":"Internal Server Error"}`},
	} {
		t.Run(name, func(t *testing.T) {
			var e events.APIGatewayV2HTTPRequest
			api := lambdalocal.HTTPAPI{Function: "f", Timeout: time.Second, Invoke: func(ctx context.Context, in lambdalocal.Invocation) (lambdalocal.Result, error) {
				if tt.hang {
					<-ctx.Done()
					return lambdalocal.Result{}, ctx.Err()
				}
				_ = json.Unmarshal(in.Payload, &e)
				return tt.result, tt.err
			}}
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader("\xff\x00")))
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if !tt.hang && (!e.IsBase64Encoded || e.Body != "/wA=") {
				t.Errorf("binary body came as %q", e.Body)
			}
		})
	}
	w := httptest.NewRecorder()
	lambdalocal.HTTPAPI{}.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader(strings.Repeat("x", 10<<20+1))))
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("11 MB: %d", w.Code)
	}
}
