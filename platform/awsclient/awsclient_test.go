package awsclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestParse(t *testing.T) {
	none := map[string]string{}
	for raw, want := range map[string]awsclient.Location{
		awsclient.Example:        {Region: "eu-west-1", Prefix: "rp-prod", Endpoints: none},
		"aws://us-gov-west-1/p/": {Region: "us-gov-west-1", Prefix: "p", Endpoints: none},
		"aws://eu-west-1/a1?account=123456789012&bucketsuffix=123456789012": {Region: "eu-west-1", Prefix: "a1", Endpoints: none,
			Account: "123456789012", BucketSuffix: "123456789012"},
		"aws://eu-west-1/p?states=table": {Region: "eu-west-1", Prefix: "p", Endpoints: none, TableWorkflow: true},
		"aws://eu-west-1/p?endpoint=http://127.0.0.1:5000&sqs=https://localhost:9324": {Region: "eu-west-1", Prefix: "p",
			Endpoint: "http://127.0.0.1:5000", Endpoints: map[string]string{"sqs": "https://localhost:9324"}},
	} {
		got, err := awsclient.Parse(raw)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", raw, err, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for raw, why := range map[string]string{
		"":                             "no URL of the form",
		"eu-west-1/rp":                 "no URL of the form",
		"https://eu-west-1/rp":         "no URL of the form",
		"aws:///rp":                    "no URL of the form",
		"aws://KEY:hidden@eu-west-1/p": "no URL of the form",
		"aws://eu-west-1/rp#x":         "no URL of the form",
		"aws://eu-west-1:80/rp":        "the region",
		"aws://EU-WEST-1/rp":           "the region",
		"aws://europe/rp":              "the region",
		"aws://eu-west-1":              "the prefix",
		"aws://eu-west-1/RP":           "the prefix",
		"aws://eu-west-1/a/b":          "the prefix",
		"aws://eu-west-1/-a":           "the prefix",
		"aws://eu-west-1/" + strings.Repeat("p", 25):  "the prefix",
		"aws://eu-west-1/p?regoin=x":                  "unknown parameter regoin",
		"aws://eu-west-1/p?sqs=localhost:9324":        "parameter sqs",
		"aws://eu-west-1/p?endpoint=":                 "parameter endpoint",
		"aws://eu-west-1/p?s3=http://u:p@h":           "parameter s3",
		"aws://eu-west-1/p?sqs=http://a&sqs=http://b": "sqs is there twice",
		"aws://eu-west-1/p?account=12":                "12 digits",
		"aws://eu-west-1/p?bucketsuffix=Upper":        "bucketsuffix",
		"aws://eu-west-1/p?bucketsuffix=":             "bucketsuffix",
		"aws://eu-west-1/p?a=%zz":                     "cannot be read",
	} {
		_, err := awsclient.Parse(raw)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), awsclient.Example) ||
			strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", raw, err, why)
		}
	}
}

// legal are the names of resources that AWS allows.
var legal = map[string]*regexp.Regexp{
	"bucket": regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`),
	"queue":  regexp.MustCompile(`^[a-zA-Z0-9_-]{1,75}\.fifo$`),
	"table":  regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`),
}

// FuzzParse: whatever is read makes legal names; whatever is refused is refused in one line.
func FuzzParse(f *testing.F) {
	for _, raw := range []string{awsclient.Example, "aws://eu-west-1/p?endpoint=http://127.0.0.1:1&bucketsuffix=1", "aws://a/b?c", "aws://KEY:SECRET@a-b/c", "%"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := awsclient.Parse(raw)
		if err != nil {
			if !errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v", err)
			}
			return
		}
		for kind, name := range map[string]string{"bucket": l.Bucket("evidence"), "queue": l.Name("scan-subdomain.fifo"), "table": l.Name("ingest")} {
			if !legal[kind].MatchString(name) {
				t.Errorf("%q makes %s %q", raw, kind, name)
			}
		}
	})
}

func TestEndpoints(t *testing.T) {
	l := awsclient.Location{}
	if e := l.EndpointOf("sqs"); e != nil {
		t.Errorf("AWS itself is at %s", *e)
	}
	l = awsclient.Location{Endpoint: "http://all", Endpoints: map[string]string{"sqs": "http://one"}}
	if one, all := aws.ToString(l.EndpointOf("sqs")), aws.ToString(l.EndpointOf("s3")); one != "http://one" || all != "http://all" {
		t.Errorf("got %s, %s", one, all)
	}
}

func api(code, message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }

func status(n int, err error) error {
	return &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{Response: &smithyhttp.Response{Response: &http.Response{StatusCode: n}}, Err: err}}
}

func TestFault(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for name, c := range map[string]struct {
		err  error
		code fault.Code
		says string
	}{
		"missing":       {api("ResourceNotFoundException", "Requested resource not found"), fault.Internal, "does not exist there; deploy it"},
		"missing queue": {api("AWS.SimpleQueueService.NonExistentQueue", "x"), fault.Internal, "does not exist there"},
		"denied":        {api("AccessDeniedException", "x"), fault.Internal, "refused the permission"},
		"credentials":   {api("UnrecognizedClientException", "The security token is invalid"), fault.Internal, "does not accept the credentials"},
		"region":        {api("PermanentRedirect", "x"), fault.Internal, "it is in another region"},
		"scope":         {api("InvalidSignatureException", "Credential should be scoped to a valid region, not 'eu-west-1'."), fault.Internal, "it is in another region"},
		"throttled":     {api("ProvisionedThroughputExceededException", "x"), fault.Unavailable, "throttles"},
		"down":          {api("InternalServerError", "x"), fault.Unavailable, "could not answer"},
		"no keys":       {errors.New("get identity: get credentials: no EC2 IMDS role found"), fault.Internal, "no AWS credentials were found; set AWS_PROFILE"},
		"refused":       {fmt.Errorf("send: %w", refused), fault.Unavailable, "cannot be reached; check the network"},
		"no name":       {&net.DNSError{Err: "no such host", Name: "dynamodb.eu-wset-1.amazonaws.com", IsNotFound: true}, fault.Unavailable, "check the network, the region"},
		"403":           {status(403, errors.New("x")), fault.Internal, "refused the permission"},
		"301":           {status(301, errors.New("x")), fault.Internal, "another region"},
		"429":           {status(429, errors.New("x")), fault.Unavailable, "throttles"},
		"502":           {status(502, errors.New("x")), fault.Unavailable, "could not answer"},
		"400":           {status(400, api("ValidationException", "x")), fault.Internal, "AWS refused the request with ValidationException"},
		"no status":     {status(0, refused), fault.Unavailable, "cannot be reached"},
		"two lines":     {errors.Join(api("ThrottlingException", "x"), errors.New("retry quota exceeded")), fault.Unavailable, "x retry quota exceeded"},
		"cancelled":     {fmt.Errorf("send: %w", context.Canceled), fault.Cancelled, "read item"},
		"late":          {fmt.Errorf("send: %w", context.DeadlineExceeded), fault.DeadlineExceeded, "read item"},
	} {
		t.Run(name, func(t *testing.T) {
			err := awsclient.Fault(c.err, "read item", awsclient.Resource{Kind: "table", Name: "rp-prod-assets", Region: "eu-west-1"})
			if !errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %v: %s", err, c.code, c.says)
			}
			named := strings.Contains(err.Error(), "table rp-prod-assets in eu-west-1")
			if ended := c.code == fault.Cancelled || c.code == fault.DeadlineExceeded; named == ended {
				t.Errorf("the resource is named: %v: %v", named, err)
			}
			var f *fault.Error
			if !errors.As(err, &f) || strings.Contains(f.Public(), "rp-prod") {
				t.Errorf("a tenant reads %q", f.Public())
			}
			if code := awsclient.Code(c.err); code != "" && awsclient.Code(err) != code {
				t.Errorf("code of %v is %q, want %q", err, awsclient.Code(err), code)
			}
		})
	}
	if err := awsclient.Fault(nil, "x", awsclient.Resource{}); err != nil {
		t.Error(err)
	}
	known := fault.New(fault.NotFound, "item not found")
	if err := awsclient.Fault(known, "x", awsclient.Resource{}); !errors.Is(err, known) || err.Error() != known.Error() {
		t.Error(err)
	}
}

// TestLoadCallsNothing: where credentials come from is not asked before they are needed.
func TestLoadCallsNothing(t *testing.T) {
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/never")
	t.Setenv("AWS_REGION", "us-east-1")
	cfg, err := awsclient.Load(t.Context(), awsclient.Location{Region: "eu-west-1", Prefix: "p"})
	if err != nil || cfg.Region != "eu-west-1" {
		t.Errorf("region %s, %v", cfg.Region, err)
	}
	t.Setenv("AWS_PROFILE", "there-is-none")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	if _, err := awsclient.Load(t.Context(), awsclient.Location{Region: "eu-west-1"}); !errors.Is(err, fault.FailedPrecondition) || strings.Contains(err.Error(), "\n") {
		t.Errorf("wrong profile: %v", err)
	}
}
