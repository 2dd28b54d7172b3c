package query_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// Errors as EC2 and as all others write them (docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
// docs.aws.amazon.com/sns/latest/api/CommonErrors.html).
const (
	ec2Error   = `<?xml version="1.0"?><Response><Errors><Error><Code>CODE</Code><Message>You may not.</Message></Error></Errors><RequestID>ea966190-f9aa-478e-9ede-example</RequestID></Response>`
	otherError = `<ErrorResponse xmlns="http://x/"><Error><Type>Sender</Type><Code>CODE</Code><Message>You may not.</Message></Error><RequestId>42d59b56-7407-4c4a-be0f-4c88daeea257</RequestId></ErrorResponse>`
)

func coded(text, code string) string { return strings.Replace(text, "CODE", code, 1) }

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		operation string
		status    int
		body      string
		code      string // "": none is given
		id        string
	}{
		"denied by EC2":       {"ec2 DescribeRegions", 403, coded(ec2Error, "UnauthorizedOperation"), "UnauthorizedOperation", "ea966190-f9aa-478e-9ede-example"},
		"denied by RDS":       {"rds DescribeDBInstances", 403, coded(otherError, "AccessDenied"), "AccessDenied", "42d59b56-7407-4c4a-be0f-4c88daeea257"},
		"throttled by EC2":    {"ec2 DescribeImages", 503, coded(ec2Error, "RequestLimitExceeded"), "RequestLimitExceeded", "ea966190-f9aa-478e-9ede-example"},
		"throttled by SNS":    {"sns ListTopics", 400, coded(otherError, "Throttling"), "Throttling", "42d59b56-7407-4c4a-be0f-4c88daeea257"},
		"no code":             {"ec2 DescribeRegions", 403, "<Response/>", "UnknownError", ""},
		"no body":             {"ec2 DescribeRegions", 403, "", "UnknownError", ""},
		"a tidy page":         {"sns ListTopics", 502, "<html><body>Bad Gateway</body></html>", "UnknownError", ""},
		"a page":              {"sns ListTopics", 502, "<html><body>Bad Gateway<br></body></html>", "", ""},
		"a cut error":         {"ec2 DescribeRegions", 403, coded(ec2Error, "UnauthorizedOperation")[:70], "", ""},
		"a redirect":          {"ec2 DescribeRegions", 307, "", "UnknownError", ""},
		"the other's dialect": {"rds DescribeDBInstances", 403, coded(ec2Error, "UnauthorizedOperation"), "UnknownError", ""},
	} {
		got, err := operations[c.operation](t.Context(), config(always(c.status, c.body, "Location", "http://169.254.169.254/")), nil)
		var api smithy.APIError
		var response *awshttp.ResponseError
		if err == nil || !errors.As(err, &response) || response.HTTPStatusCode() != c.status || response.ServiceRequestID() != c.id {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		if code := ""; errors.As(err, &api) {
			if code = api.ErrorCode(); code != c.code {
				t.Errorf("%s: code %s, want %s", name, code, c.code)
			}
		} else if c.code != "" {
			t.Errorf("%s: no code: %v", name, err)
		}
	}
}

// counted answers in turn, the last one ever after, and counts.
func counted(n *int, turns ...func(*http.Request) (*http.Response, error)) doer {
	return func(r *http.Request) (*http.Response, error) {
		*n++
		return turns[min(*n, len(turns))-1](r)
	}
}

func TestRetries(t *testing.T) {
	throttled, denied := always(503, coded(ec2Error, "RequestLimitExceeded")), always(403, coded(ec2Error, "UnauthorizedOperation"))
	for name, c := range map[string]struct {
		turns []func(*http.Request) (*http.Response, error)
		want  int
		fails bool
	}{
		"throttled once":   {[]func(*http.Request) (*http.Response, error){throttled, always(200, answers["ec2 DescribeRegions"])}, 2, false},
		"throttled always": {[]func(*http.Request) (*http.Response, error){throttled}, 3, true},
		"denied":           {[]func(*http.Request) (*http.Response, error){denied}, 1, true},
		"a wrong answer":   {[]func(*http.Request) (*http.Response, error){always(200, "<html/>")}, 1, true},
		"down":             {[]func(*http.Request) (*http.Response, error){always(500, ""), always(502, "<html>"), always(200, answers["ec2 DescribeRegions"])}, 3, false},
	} {
		n := 0
		var bodies []string
		by := counted(&n, c.turns...)
		_, err := operations["ec2 DescribeRegions"](t.Context(), config(doer(func(r *http.Request) (*http.Response, error) {
			raw, _ := io.ReadAll(r.Body)
			bodies = append(bodies, string(raw))
			return by(r)
		})), nil)
		if n != c.want || err != nil != c.fails {
			t.Errorf("%s: %d requests, %v", name, n, err)
		}
		for _, b := range bodies {
			if b != "Action=DescribeRegions&Version=2016-11-15" {
				t.Errorf("%s: sent %q", name, b)
			}
		}
	}
}

// What was read of an answer before its connection broke is not in the answer to the next attempt.
func TestAttemptsAreApart(t *testing.T) {
	whole := answers["ec2 DescribeRegions"]
	n := 0
	broken := func(*http.Request) (*http.Response, error) {
		r := answer(200, "")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(whole[:len(whole)-40]), iotest.ErrReader(&sdkConnectionError{})))
		return r, nil
	}
	got, err := operations["ec2 DescribeRegions"](t.Context(), config(counted(&n, broken, always(200, whole))), nil)
	if out, ok := got.(*query.Regions); err != nil || n != 2 || !ok || len(out.Regions) != 2 {
		t.Errorf("%d requests: %+v, %v", n, got, err)
	}
}

// sdkConnectionError is one that the SDK takes for a broken connection.
type sdkConnectionError struct{}

func (*sdkConnectionError) Error() string         { return "connection reset by peer" }
func (*sdkConnectionError) ConnectionError() bool { return true }

// A request is signed as it is sent: with its body, its headers and its moment.
func TestSignature(t *testing.T) {
	var got, want string
	_, err := operations["sns GetTopicAttributes"](t.Context(), config(doer(func(r *http.Request) (*http.Response, error) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			return nil, err
		}
		got = r.Header.Get("Authorization")
		again := r.Clone(t.Context())
		again.Header.Del("Authorization")
		hash := sha256.Sum256(raw)
		err = v4.NewSigner().SignHTTP(t.Context(), sdk.Credentials{AccessKeyID: "AKIA1", SecretAccessKey: "secret", SessionToken: "token"}, again, hex.EncodeToString(hash[:]), "sns", "eu-west-1", at)
		want = again.Header.Get("Authorization")
		return answer(200, answers["sns GetTopicAttributes"]), err
	})), url.Values{"TopicArn": {"arn:aws:sns:us-east-2:123456789012:My-Topic"}})
	if err != nil || got == "" || got != want {
		t.Errorf("%v: %s, want %s", err, got, want)
	}
}

// A process whose clock is wrong signs by the service's once it was told, at the next attempt and at the next call.
func TestClock(t *testing.T) {
	const ahead = 20 * time.Minute
	var signed []time.Duration
	n := 0
	answered := func(status int, body string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			if err != nil {
				return nil, err
			}
			signed = append(signed, time.Until(at).Round(time.Minute))
			return answer(status, body, "Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat)), nil
		}
	}
	client := query.New(config(counted(&n, answered(403, coded(ec2Error, "AuthFailure")), answered(200, answers["ec2 DescribeRegions"]))), query.EC2)
	for range 2 {
		if _, err := query.Call(t.Context(), client, query.DescribeRegions, nil); err != nil {
			t.Error(err)
		}
	}
	if len(signed) != 3 || signed[0] != 0 || signed[1] != ahead || signed[2] != ahead {
		t.Errorf("signed for %v from now", signed)
	}
}

type failing struct{ err error }

// Retrieve finds none.
func (f failing) Retrieve(context.Context) (sdk.Credentials, error) { return sdk.Credentials{}, f.err }

func TestNoCredentials(t *testing.T) {
	none := errors.New("no EC2 IMDS role found")
	n := 0
	c := config(counted(&n, always(200, "")))
	for _, from := range []sdk.CredentialsProvider{failing{none}, nil} {
		c.Credentials = from
		_, err := operations["ec2 DescribeRegions"](t.Context(), c, nil)
		if err == nil || !strings.Contains(err.Error(), "get identity: get credentials: ") || c.Credentials != nil && !errors.Is(err, none) {
			t.Errorf("%v", err)
		}
	}
	if n != 0 {
		t.Errorf("%d requests without a signature", n)
	}
}

func TestEndpoints(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1": "https://ec2.eu-west-1.amazonaws.com/", "cn-north-1": "https://ec2.cn-north-1.amazonaws.com.cn/", "us-gov-west-1": "https://ec2.us-gov-west-1.amazonaws.com/",
		"": "", "evil.example.com/": "", "a@b": "", "x#": "", "eu-west-1.evil": "", "a:80": "", "é": "",
	} {
		got := ""
		c := config(doer(func(r *http.Request) (*http.Response, error) {
			got = r.URL.String()
			return answer(200, answers["ec2 DescribeRegions"]), nil
		}))
		c.Region = region
		_, err := operations["ec2 DescribeRegions"](t.Context(), c, nil)
		if got != want || err == nil != (want != "") {
			t.Errorf("%q: %q, %v", region, got, err)
		}
		c.BaseEndpoint = sdk.String("http://127.0.0.1:5000/")
		if _, err = operations["ec2 DescribeRegions"](t.Context(), c, nil); region != "" && err == nil != (want != "") || err == nil && got != "http://127.0.0.1:5000/" {
			t.Errorf("%q, elsewhere: %q, %v", region, got, err)
		}
	}
}

// Whoever stops waiting is answered at once, and the reason is in the error.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_, err := operations["ec2 DescribeRegions"](ctx, config(counted(&n, func(r *http.Request) (*http.Response, error) {
		cancel()
		return nil, r.Context().Err()
	})), nil)
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("%d requests, %v", n, err)
	}
}

func TestPages(t *testing.T) {
	for name, c := range map[string]struct {
		read  func(sdk.Config) (int, error)
		token string // what the parameter is called
		page  func(next string) string
	}{
		"EC2": {reading(query.EC2, query.DescribeImages), "NextToken", func(next string) string {
			return "<DescribeImagesResponse><nextToken>" + next + "</nextToken></DescribeImagesResponse>"
		}},
		"RDS": {reading(query.RDS, query.DescribeDBInstances), "Marker", func(next string) string {
			return "<DescribeDBInstancesResponse><DescribeDBInstancesResult><Marker>" + next + "</Marker></DescribeDBInstancesResult></DescribeDBInstancesResponse>"
		}},
		"Redshift": {reading(query.Redshift, query.DescribeClusters), "Marker", func(next string) string {
			return "<DescribeClustersResponse><DescribeClustersResult><Marker>" + next + "</Marker></DescribeClustersResult></DescribeClustersResponse>"
		}},
		"ELB": {reading(query.ELB, query.DescribeListeners), "Marker", func(next string) string {
			return "<DescribeListenersResponse><DescribeListenersResult><NextMarker>" + next + "</NextMarker></DescribeListenersResult></DescribeListenersResponse>"
		}},
		"classic ELB": {reading(query.ClassicELB, query.DescribeClassicBalancers), "Marker", func(next string) string {
			return "<DescribeLoadBalancersResponse><DescribeLoadBalancersResult><NextMarker>" + next + "</NextMarker></DescribeLoadBalancersResult></DescribeLoadBalancersResponse>"
		}},
		"SNS": {reading(query.SNS, query.ListTopics), "NextToken", func(next string) string {
			return "<ListTopicsResponse><ListTopicsResult><NextToken>" + next + "</NextToken></ListTopicsResult></ListTopicsResponse>"
		}},
	} {
		var asked []string
		following := map[string]string{"none": "a b+/=", "a b+/=": "c", "c": ""}
		n, err := c.read(config(doer(func(r *http.Request) (*http.Response, error) {
			raw, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(raw))
			token := "none"
			if form.Has(c.token) {
				token = form.Get(c.token)
			}
			asked = append(asked, token+" "+form.Get("Kept"))
			return answer(200, c.page(following[token])), nil
		})))
		if want := "none x,a b+/= x,c x"; err != nil || n != 3 || strings.Join(asked, ",") != want {
			t.Errorf("%s: %d pages, %v, asked for %q", name, n, err, asked)
		}
	}
}

// reading counts the pages of a listing.
func reading[O query.Page](s query.Service, o query.Operation[O]) func(sdk.Config) (int, error) {
	return func(c sdk.Config) (n int, err error) {
		input := url.Values{"Kept": {"x"}}
		for p := query.List(query.New(c, s), o, input); p.HasMorePages() && n < 10; n++ {
			if _, err = p.NextPage(context.Background()); err != nil {
				return n, err
			}
		}
		if len(input) != 1 { // others list with the same
			err = fmt.Errorf("the input became %v", input)
		}
		return n, err
	}
}

// A page that failed is asked for again.
func TestPageAgain(t *testing.T) {
	n := 0
	p := query.List(query.New(config(counted(&n, always(403, coded(otherError, "AccessDenied")), always(200, emptied("sns ListTopics")))), query.SNS), query.ListTopics, nil)
	if _, err := p.NextPage(t.Context()); err == nil || !p.HasMorePages() {
		t.Errorf("%v", err)
	}
	if _, err := p.NextPage(t.Context()); err != nil || p.HasMorePages() {
		t.Errorf("%v", err)
	}
}
