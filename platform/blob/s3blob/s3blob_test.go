package s3blob_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/blob/s3blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

var location = awsclient.Location{Region: "eu-west-1", Prefix: "rp-test", BucketSuffix: "1", Endpoint: "http://s3.invalid"}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// openWith is the bucket "evidence" over a transport that stands in for AWS.
func openWith(next roundTripper) *s3blob.Bucket {
	return s3blob.Open(aws.Config{
		Region: location.Region, HTTPClient: &http.Client{Transport: next},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	}, location).Bucket("evidence")
}

func answer(status int, header http.Header, body io.Reader) (*http.Response, error) {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body), ContentLength: -1}, nil
}

func refuse(status int, code, message string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		return answer(status, http.Header{"Content-Type": {"application/xml"}},
			strings.NewReader("<Error><Code>"+code+"</Code><Message>"+message+"</Message></Error>"))
	}
}

func hash(data string) string {
	sum := sha256.Sum256([]byte(data))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// object answers HEAD or GET of a stored object.
func object(data, checksum string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		header := http.Header{"Content-Length": {fmt.Sprint(len(data))}}
		if checksum != "" {
			header.Set("x-amz-checksum-sha256", checksum)
		}
		return answer(http.StatusOK, header, strings.NewReader(data))
	}
}

type step struct {
	method string
	answer func() (*http.Response, error)
}

func script(t *testing.T, steps []step) (*s3blob.Bucket, *int) {
	n := 0
	return openWith(func(r *http.Request) (*http.Response, error) {
		if n == len(steps) || r.Method != steps[n].method {
			t.Errorf("request %d is %s %s", n, r.Method, r.URL)
			return refuse(http.StatusBadRequest, "Unexpected", "")()
		}
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		n++
		return steps[n-1].answer()
	}), &n
}

var (
	stored   = func() (*http.Response, error) { return answer(http.StatusOK, nil, strings.NewReader("")) }
	lost     = func() (*http.Response, error) { return nil, errors.New("read tcp: connection reset by peer") }
	taken    = refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	racing   = refuse(http.StatusConflict, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation")
	slowDown = refuse(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	notFound = refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
)

func TestPut(t *testing.T) {
	for name, c := range map[string]struct {
		steps []step
		want  fault.Code
	}{
		"new":                    {[]step{{"PUT", stored}}, fault.OK},
		"slow":                   {[]step{{"PUT", slowDown}, {"PUT", stored}}, fault.OK},
		"a race":                 {[]step{{"PUT", racing}, {"PUT", stored}}, fault.OK},
		"a race that we lost":    {[]step{{"PUT", racing}, {"PUT", taken}, {"HEAD", object("other", hash("other"))}}, fault.AlreadyExists},
		"lost answer":            {[]step{{"PUT", lost}, {"PUT", taken}, {"HEAD", object("data", hash("data"))}}, fault.OK},
		"there":                  {[]step{{"PUT", taken}, {"HEAD", object("data", hash("data"))}}, fault.OK},
		"other content":          {[]step{{"PUT", taken}, {"HEAD", object("date", hash("date"))}}, fault.AlreadyExists},
		"other length":           {[]step{{"PUT", taken}, {"HEAD", object("longer", "")}}, fault.AlreadyExists},
		"no checksum, there":     {[]step{{"PUT", taken}, {"HEAD", object("data", "")}, {"GET", object("data", "")}}, fault.OK},
		"no checksum, other":     {[]step{{"PUT", taken}, {"HEAD", object("date", "")}, {"GET", object("date", "")}}, fault.AlreadyExists},
		"deleted meanwhile":      {[]step{{"PUT", taken}, {"HEAD", notFound}, {"PUT", stored}}, fault.OK},
		"deleted at last":        {[]step{{"PUT", taken}, {"HEAD", object("data", "")}, {"GET", notFound}, {"PUT", stored}}, fault.OK},
		"changed on the way":     {[]step{{"PUT", refuse(http.StatusBadRequest, "BadDigest", "The checksum did not match")}}, fault.Internal},
		"compare is not allowed": {[]step{{"PUT", taken}, {"HEAD", refuse(http.StatusForbidden, "", "")}}, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, n := script(t, c.steps)
				if err := b.Put(t.Context(), "a/b", []byte("data")); fault.CodeOf(err) != c.want || *n != len(c.steps) {
					t.Errorf("%d of %d requests, error is %v, want %v", *n, len(c.steps), err, c.want)
				}
			})
		})
	}
}

// TestPutIsConditionalAndChecked: what S3 needs to refuse overwriting and damage is in every put.
func TestPutIsConditionalAndChecked(t *testing.T) {
	b := openWith(func(r *http.Request) (*http.Response, error) {
		for header, want := range map[string]string{"If-None-Match": "*", "X-Amz-Checksum-Sha256": hash("data")} {
			if got := r.Header.Get(header); got != want {
				t.Errorf("%s is %q, want %q", header, got, want)
			}
		}
		if r.URL.Path != "/rp-test-evidence-1/a/b" {
			t.Errorf("path is %s", r.URL.Path)
		}
		return stored()
	})
	if err := b.Put(t.Context(), "a/b", []byte("data")); err != nil {
		t.Error(err)
	}
}

// cut is a body whose connection breaks.
type cut struct{ io.Reader }

func (c cut) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func TestGet(t *testing.T) {
	broken := func() (*http.Response, error) { return answer(http.StatusOK, nil, cut{strings.NewReader("da")}) }
	endless := func() (*http.Response, error) { return answer(http.StatusOK, nil, forever{}) }
	huge := func() (*http.Response, error) {
		return answer(http.StatusOK, http.Header{"Content-Length": {fmt.Sprint(1 << 50)}}, forever{})
	}
	for name, c := range map[string]struct {
		steps []step
		want  fault.Code
	}{
		"there":           {[]step{{"GET", object("data", hash("data"))}}, fault.OK},
		"slow":            {[]step{{"GET", slowDown}, {"GET", object("data", "")}}, fault.OK},
		"absent":          {[]step{{"GET", notFound}}, fault.NotFound},
		"damaged":         {[]step{{"GET", object("date", hash("data"))}}, fault.DataLoss},
		"broken once":     {[]step{{"GET", broken}, {"GET", object("data", "")}}, fault.OK},
		"broken":          {[]step{{"GET", broken}, {"GET", broken}, {"GET", broken}}, fault.Unavailable},
		"endless":         {[]step{{"GET", endless}}, fault.DataLoss},
		"larger than any": {[]step{{"GET", huge}}, fault.DataLoss},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, n := script(t, c.steps)
				data, err := b.Get(t.Context(), "a/b")
				if fault.CodeOf(err) != c.want || *n != len(c.steps) || err == nil && string(data) != "data" {
					t.Errorf("%d of %d requests, got %d bytes, error is %v, want %v", *n, len(c.steps), len(data), err, c.want)
				}
			})
		})
	}
}

type forever struct{}

func (forever) Read(p []byte) (int, error) { return len(p), nil }

// TestListSkipsWhatIsNotOurs: a page of foreign keys is no end and no answer.
func TestListSkipsWhatIsNotOurs(t *testing.T) {
	pages := []string{
		`<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken><Contents><Key>A b</Key></Contents>`,
		`<IsTruncated>false</IsTruncated><Contents><Key>a//b</Key></Contents><Contents><Key>a/b</Key><Size>3</Size></Contents>`,
	}
	n := 0
	b := openWith(func(*http.Request) (*http.Response, error) {
		n++
		return answer(http.StatusOK, http.Header{"Content-Type": {"application/xml"}},
			strings.NewReader("<ListBucketResult>"+pages[n-1]+"</ListBucketResult>"))
	})
	got, next, err := b.List(t.Context(), "", "", 1)
	if err != nil || next != "" || len(got) != 1 || got[0].Key != "a/b" || got[0].Size != 3 || n != 2 {
		t.Errorf("%d requests: %v, %q, %v", n, got, next, err)
	}
}

// TestThrottling: as that of dynamotable.
func TestThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		requests, calls := 0, 0
		b := openWith(func(*http.Request) (*http.Response, error) {
			if requests++; random.Float64() < 0.3 {
				return slowDown()
			}
			return stored()
		})
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(200 * time.Millisecond) {
			calls++
			if err := b.Put(t.Context(), "a/b", []byte("data")); err != nil {
				t.Fatalf("call %d: %v", calls, err)
			}
		}
		t.Logf("%d calls, %d requests: amplification %.2f", calls, requests, float64(requests)/float64(calls))
		if float64(requests) > 1.5*float64(calls) {
			t.Errorf("%d calls made %d requests", calls, requests)
		}
	})
}

func TestWords(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	closed := func() (*http.Response, error) {
		r, _ := http.NewRequest(http.MethodGet, "http://"+l.Addr().String(), nil) //nolint:noctx // it is refused at once
		return transport.RoundTrip(r)
	}
	for name, c := range map[string]struct {
		answer func() (*http.Response, error)
		code   fault.Code
		words  string
	}{
		"missing bucket":    {refuse(404, "NoSuchBucket", "The specified bucket does not exist"), fault.Internal, "it does not exist there; deploy it"},
		"wrong credentials": {refuse(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."), fault.Internal, "check AWS_PROFILE"},
		"wrong secret":      {refuse(403, "SignatureDoesNotMatch", "x"), fault.Internal, "check AWS_PROFILE"},
		"other region":      {refuse(301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint."), fault.Internal, "correct the region in RISKPROFILER_BACKEND"},
		"malformed header":  {refuse(400, "AuthorizationHeaderMalformed", "the region 'eu-west-1' is wrong; expecting 'us-east-1'"), fault.Internal, "correct the region"},
		"no permission":     {refuse(403, "AccessDenied", "Access Denied"), fault.Internal, "give this role the actions that its stack lists"},
		"closed port":       {closed, fault.Unavailable, "AWS cannot be reached; check the network"},
		"throttled":         {slowDown, fault.Unavailable, "AWS throttles the requests"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := openWith(func(*http.Request) (*http.Response, error) { return c.answer() })
				_, get := b.Get(t.Context(), "a/b")
				_, _, list := b.List(t.Context(), "", "", 0)
				for what, err := range map[string]error{"get": get, "list": list, "put": b.Put(t.Context(), "a/b", nil), "delete": b.Delete(t.Context(), "a/b")} {
					text := fmt.Sprint(err)
					if fault.CodeOf(err) != c.code || strings.Contains(text, "\n") ||
						!strings.Contains(text, "bucket rp-test-evidence-1 in eu-west-1") || !strings.Contains(text, c.words) {
						t.Errorf("%s: %v, %v, want %v: %s", what, fault.CodeOf(err), err, c.code, c.words)
					}
				}
			})
		})
	}
}
