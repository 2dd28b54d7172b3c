package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// doer answers requests without a network.
type doer func(*http.Request) (*http.Response, error)

// Do is what a client of HTTP does.
func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func answering(status int, body string) doer {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// without finds no credentials.
type without struct{}

func (without) Retrieve(context.Context) (sdk.Credentials, error) {
	return sdk.Credentials{}, errors.New("no EC2 IMDS role found")
}

// querying is a client whose requests a doer answers, once.
func querying(by doer, from sdk.CredentialsProvider) *query.Client {
	return query.New(sdk.Config{Region: "eu-west-1", HTTPClient: by, Credentials: from, Retryer: func() sdk.Retryer { return sdk.NopRetryer{} }}, query.EC2)
}

// Why a call of the protocol Query failed is known as for the SDK's own.
func TestReasons(t *testing.T) {
	keys := credentials.NewStaticCredentialsProvider("AKIA1", "secret", "")
	coded := func(status int, code string) doer {
		return answering(status, "<Response><Errors><Error><Code>"+code+"</Code><Message>arn:aws:sts::1:assumed-role/us may not</Message></Error></Errors></Response>")
	}
	failing := func(err error) doer { return func(*http.Request) (*http.Response, error) { return nil, err } }
	for name, c := range map[string]struct {
		by     doer
		from   sdk.CredentialsProvider
		kind   cloud.GapKind
		detail string // the reason that people read where the kind does not say it
		absent bool
	}{
		"denied":             {coded(403, "UnauthorizedOperation"), keys, deniedGap, "", false},
		"denied without":     {answering(403, "<html></html>"), keys, deniedGap, "", false},
		"throttled":          {coded(503, "RequestLimitExceeded"), keys, throttledGap, "", false},
		"too many":           {answering(429, "<x><br></x>"), keys, throttledGap, "", false},
		"failed":             {coded(500, "InternalError"), keys, failedGap, "AWS answered InternalError", false},
		"late":               {failing(context.DeadlineExceeded), keys, timeGap, "there was no answer in time", false},
		"a page":             {answering(200, "<html></html>"), keys, failedGap, "its answer could not be read", false},
		"a cut answer":       {answering(200, "<DescribeRegionsResponse><regionInfo>"), keys, failedGap, "its answer could not be read", false},
		"silent":             {failing(&net.OpError{Op: "dial", Err: errors.New("refused")}), keys, failedGap, "it does not answer", false},
		"no keys":            {answering(200, ""), without{}, failedGap, "this process has no credentials", false},
		"no such service":    {failing(fault.New(fault.NotFound, "no such host")), keys, failedGap, "it cannot be reached from here", true},
		"a service's answer": {coded(404, "NotFound"), keys, failedGap, "AWS answered NotFound", false},
	} {
		_, err := query.Call(t.Context(), querying(c.by, c.from), query.DescribeRegions, nil)
		if err == nil || gapOf(err) != c.kind || c.detail != "" && oneLine(err) != c.detail || notOffered(err) != c.absent || noCredentials(err) != (c.from == without{}) {
			t.Errorf("%s: %v: %v %q, not offered %v, no credentials %v", name, err, gapOf(err), oneLine(err), notOffered(err), noCredentials(err))
		}
	}
}

// An answer longer than is read is that, and not an answer that cannot be read.
func TestLongAnswer(t *testing.T) {
	client := querying(func(*http.Request) (*http.Response, error) {
		endless := io.MultiReader(strings.NewReader("<DescribeRegionsResponse><regionInfo>"), repeated("<item></item>"))
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: &boundedBody{ReadCloser: io.NopCloser(endless), left: 1 << 20}}, nil
	}, credentials.NewStaticCredentialsProvider("AKIA1", "secret", ""))
	if _, err := query.Call(t.Context(), client, query.DescribeRegions, nil); !errors.Is(err, errLong) || oneLine(err) != errLong.Error() {
		t.Errorf("%v", err)
	}
}

// repeated is a text without end.
type repeated string

func (r repeated) Read(p []byte) (int, error) {
	n := 0
	for n+len(r) <= len(p) {
		n += copy(p[n:], r)
	}
	if n == 0 {
		n = copy(p, r)
	}
	return n, nil
}

// A listing whose every page names a next one is read to the bound, and that is told.
func TestEndlessListing(t *testing.T) {
	for name, page := range map[string]func(n int) string{
		"always the same": func(int) string { return "again" },
		"always another":  func(n int) string { return fmt.Sprint(n) },
	} {
		calls, read := 0, 0
		client := querying(func(r *http.Request) (*http.Response, error) {
			calls++
			return answering(200, "<DescribeImagesResponse><imagesSet><item/></imagesSet><nextToken>"+page(calls)+"</nextToken></DescribeImagesResponse>")(r)
		}, credentials.NewStaticCredentialsProvider("AKIA1", "secret", ""))
		in := newInventory(&session{env: probes.Env{}})
		whole := list(t.Context(), in, place{"ec2:DescribeImages", "eu-west-1"}, query.List(client, query.DescribeImages, nil), func(out *query.Images) { read += len(out.Images) })
		if whole || calls != cloud.MaxPages || read != cloud.MaxPages || len(in.gaps) != 1 || in.gaps[0].Why != cloud.GapCut {
			t.Errorf("%s: whole %v, %d calls, %d read, gaps %+v", name, whole, calls, read, in.gaps)
		}
	}
}

// Whoever waits no longer ends a listing at once.
func TestListingInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	in := newInventory(&session{})
	client := querying(answering(200, "<DescribeImagesResponse/>"), credentials.NewStaticCredentialsProvider("AKIA1", "secret", ""))
	if list(ctx, in, place{"ec2:DescribeImages", "eu-west-1"}, query.List(client, query.DescribeImages, nil), func(*query.Images) {}) || len(in.gaps) != 1 || in.gaps[0].Why != timeGap {
		t.Errorf("gaps %+v", in.gaps)
	}
}
