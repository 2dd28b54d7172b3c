//go:build awstest

package query_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// theirs is how the SDK makes a call, and what of its input is sent.
type theirs struct {
	do   func(context.Context, sdk.Config) (any, error)
	form url.Values
}

var (
	text = sdk.String("a b+/=&ü")
	sent = *text
)

// generated are the SDK's own calls, by the names that answers has, with all that is used of their inputs.
var generated = map[string]theirs{
	"ec2 DescribeRegions": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	}, nil},
	"ec2 DescribeAddresses": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	}, nil},
	"ec2 DescribeImages": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, MaxResults: sdk.Int32(500), NextToken: text,
			Filters: []ec2types.Filter{{Name: sdk.String("is-public"), Values: []string{"true"}}}})
	}, url.Values{"Owner.1": {"self"}, "MaxResults": {"500"}, "NextToken": {sent}, "Filter.1.Name": {"is-public"}, "Filter.1.Value.1": {"true"}}},
	"ec2 DescribeSnapshots": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, RestorableByUserIds: []string{"all"}, MaxResults: sdk.Int32(500)})
	}, url.Values{"Owner.1": {"self"}, "RestorableBy.1": {"all"}, "MaxResults": {"500"}}},
	"ec2 DescribeNetworkAcls": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{MaxResults: sdk.Int32(500), NextToken: text})
	}, url.Values{"MaxResults": {"500"}, "NextToken": {sent}}},
	"ec2 DescribeInstances": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: sdk.Int32(500), NextToken: text})
	}, url.Values{"MaxResults": {"500"}, "NextToken": {sent}}},
	"ec2 DescribeSecurityGroups": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{MaxResults: sdk.Int32(500), NextToken: text})
	}, url.Values{"MaxResults": {"500"}, "NextToken": {sent}}},
	"ec2 DescribeNetworkInterfaces": {func(ctx context.Context, c sdk.Config) (any, error) {
		return ec2.NewFromConfig(c).DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{MaxResults: sdk.Int32(500), NextToken: text})
	}, url.Values{"MaxResults": {"500"}, "NextToken": {sent}}},
	"rds DescribeDBInstances": {func(ctx context.Context, c sdk.Config) (any, error) {
		return rds.NewFromConfig(c).DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Marker: text})
	}, url.Values{"Marker": {sent}}},
	"rds DescribeDBSnapshots": {func(ctx context.Context, c sdk.Config) (any, error) {
		return rds.NewFromConfig(c).DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{SnapshotType: sdk.String("manual"), Marker: text})
	}, url.Values{"SnapshotType": {"manual"}, "Marker": {sent}}},
	"rds DescribeDBSnapshotAttributes": {func(ctx context.Context, c sdk.Config) (any, error) {
		return rds.NewFromConfig(c).DescribeDBSnapshotAttributes(ctx, &rds.DescribeDBSnapshotAttributesInput{DBSnapshotIdentifier: text})
	}, url.Values{"DBSnapshotIdentifier": {sent}}},
	"rds DescribeDBClusterSnapshots": {func(ctx context.Context, c sdk.Config) (any, error) {
		return rds.NewFromConfig(c).DescribeDBClusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{SnapshotType: sdk.String("manual"), Marker: text})
	}, url.Values{"SnapshotType": {"manual"}, "Marker": {sent}}},
	"rds DescribeDBClusterSnapshotAttributes": {func(ctx context.Context, c sdk.Config) (any, error) {
		return rds.NewFromConfig(c).DescribeDBClusterSnapshotAttributes(ctx, &rds.DescribeDBClusterSnapshotAttributesInput{DBClusterSnapshotIdentifier: text})
	}, url.Values{"DBClusterSnapshotIdentifier": {sent}}},
	"redshift DescribeClusters": {func(ctx context.Context, c sdk.Config) (any, error) {
		return redshift.NewFromConfig(c).DescribeClusters(ctx, &redshift.DescribeClustersInput{Marker: text})
	}, url.Values{"Marker": {sent}}},
	"elbv2 DescribeLoadBalancers": {func(ctx context.Context, c sdk.Config) (any, error) {
		return elb.NewFromConfig(c).DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Marker: text})
	}, url.Values{"Marker": {sent}}},
	"elbv2 DescribeListeners": {func(ctx context.Context, c sdk.Config) (any, error) {
		return elb.NewFromConfig(c).DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: text, Marker: text})
	}, url.Values{"LoadBalancerArn": {sent}, "Marker": {sent}}},
	"elb DescribeLoadBalancers": {func(ctx context.Context, c sdk.Config) (any, error) {
		return classic.NewFromConfig(c).DescribeLoadBalancers(ctx, &classic.DescribeLoadBalancersInput{Marker: text})
	}, url.Values{"Marker": {sent}}},
	"elb DescribeLoadBalancerPolicies": {func(ctx context.Context, c sdk.Config) (any, error) {
		return classic.NewFromConfig(c).DescribeLoadBalancerPolicies(ctx, &classic.DescribeLoadBalancerPoliciesInput{LoadBalancerName: text})
	}, url.Values{"LoadBalancerName": {sent}}},
	"sns ListTopics": {func(ctx context.Context, c sdk.Config) (any, error) {
		return sns.NewFromConfig(c).ListTopics(ctx, &sns.ListTopicsInput{NextToken: text})
	}, url.Values{"NextToken": {sent}}},
	"sns GetTopicAttributes": {func(ctx context.Context, c sdk.Config) (any, error) {
		return sns.NewFromConfig(c).GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: text})
	}, url.Values{"TopicArn": {sent}}},
}

// What differs from one request to the next, and the version of the SDK's package in the user agent, which here is none.
var (
	version = regexp.MustCompile(`(api/[a-z0-9]+)#[0-9.]+`)
	varying = regexp.MustCompile(`Signature=[0-9a-f]{64}`)
)

// recorded writes each request that it answers, without what varies.
func recorded(into *[]string, by doer) doer {
	return func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		out := []string{r.Method + " " + r.URL.String() + " " + r.Host + " " + fmt.Sprint(r.ContentLength) + "\n" + string(body)}
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			value := strings.Join(r.Header[name], "|")
			switch name {
			case "Amz-Sdk-Invocation-Id", "X-Amz-Date":
				value = fmt.Sprint(len(value))
			case "User-Agent":
				value = version.ReplaceAllString(value, "$1")
			case "Authorization":
				value = varying.ReplaceAllString(value, "Signature=")
			case "Amz-Sdk-Request": // ttl is from the deadline, to the second
				value, _, _ = strings.Cut(value, "ttl=")
			}
			out = append(out, name+": "+value)
		}
		*into = append(*into, strings.Join(out, "\n"))
		return by(r)
	}
}

// A request is what the SDK sends: form, path, headers, signed headers and scope.
func TestRequestsAsTheSDK(t *testing.T) {
	for name, their := range generated {
		for _, base := range []*string{nil, sdk.String("http://127.0.0.1:5000/aws/")} {
			var want, got []string
			c := config(recorded(&want, always(200, answers[name])))
			c.BaseEndpoint = base
			_, wantErr := their.do(t.Context(), c)
			c.HTTPClient = recorded(&got, always(200, answers[name]))
			_, gotErr := operations[name](t.Context(), c, their.form)
			if wantErr != nil || gotErr != nil || len(want) != 1 || !slices.Equal(got, want) {
				t.Errorf("%s: %v\n%s\nthe SDK: %v\n%s", name, gotErr, strings.Join(got, "\n"), wantErr, strings.Join(want, "\n"))
			}
		}
	}
	if len(generated) != len(operations) {
		t.Errorf("%d calls of the SDK, %d operations", len(generated), len(operations))
	}
}

// So is each page of a listing, and each attempt, with the retryer that is really used and with the SDK's own.
func TestListingsAsTheSDK(t *testing.T) {
	pages := func() doer {
		n := 0
		return counted(&n, always(503, coded(ec2Error, "RequestLimitExceeded")), always(200, answers["ec2 DescribeImages"]), always(200, answers["ec2 DescribeImages"]), always(200, emptied("ec2 DescribeImages")))
	}
	for _, retryer := range []func() sdk.Retryer{config(nil).Retryer, nil, func() sdk.Retryer { return awsclient.NewRetryer() }} {
		var want, got []string
		c := config(recorded(&want, pages()))
		c.Retryer = retryer
		for p := ec2.NewDescribeImagesPaginator(ec2.NewFromConfig(c), &ec2.DescribeImagesInput{MaxResults: sdk.Int32(500)}); p.HasMorePages(); {
			if _, err := p.NextPage(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		c.HTTPClient = recorded(&got, pages())
		for p := query.List(query.New(c, query.EC2), query.DescribeImages, url.Values{"MaxResults": {"500"}}); p.HasMorePages(); {
			if _, err := p.NextPage(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(want) != 4 || !slices.Equal(got, want) {
			t.Errorf("%s\nthe SDK:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestEndpointsAsTheSDK(t *testing.T) {
	for _, region := range []string{
		"us-east-1", "eu-west-1", "ap-southeast-7", "mx-central-1", "il-central-1", "cn-north-1", "cn-northwest-1", "us-gov-east-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1",
		"us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "moon-base-1", "a/b", "a@b", "",
	} {
		for name, their := range generated {
			host := func(into *string) doer {
				return func(r *http.Request) (*http.Response, error) {
					*into = r.URL.Scheme + "://" + r.URL.Host
					return answer(200, answers[name]), nil
				}
			}
			var want, got string
			c := config(host(&want))
			c.Region = region
			_, wantErr := their.do(t.Context(), c)
			c.HTTPClient = host(&got)
			_, gotErr := operations[name](t.Context(), c, their.form)
			if got != want || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Errorf("%s in %q: %s %v, the SDK: %s %v", name, region, got, gotErr, want, wantErr)
			}
		}
	}
}

// An answer is read as the SDK reads it, and so is one in which an element is missing, empty, there twice, or says something else, unless the
// SDK cannot read it.
func TestAnswersAsTheSDK(t *testing.T) {
	compared := 0
	for name, their := range generated {
		for _, body := range append(changed(t, answers[name]), answers[name], emptied(name)) {
			c := config(always(200, body))
			want, err := their.do(t.Context(), c)
			if err != nil {
				continue
			}
			compared++
			got, err := operations[name](t.Context(), c, nil)
			if err != nil {
				t.Errorf("%s: %v, and the SDK can read\n%s", name, err, body)
				continue
			}
			if diff := differ(reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem()); diff != "" {
				t.Errorf("%s: %s in\n%s", name, diff, body)
			}
		}
	}
	if compared < 500 {
		t.Errorf("only %d answers were compared", compared)
	}
}

// element is one without elements within, with its text.
var element = regexp.MustCompile(`<([A-Za-z0-9]+)>([^<]*)</[A-Za-z0-9]+>`)

// outer is any element with all within, as far as its name is not there again within.
func outer(body string) [][]int {
	var out [][]int
	for _, at := range regexp.MustCompile(`<([A-Za-z0-9]+)>`).FindAllStringSubmatchIndex(body, -1) {
		end := "</" + body[at[2]:at[3]] + ">"
		if n := strings.Index(body[at[1]:], end); n >= 0 && !strings.Contains(body[at[1]:at[1]+n], body[at[0]:at[1]]) {
			out = append(out, []int{at[0], at[1], at[1] + n, at[1] + n + len(end)})
		}
	}
	return out
}

// changed are variants of an answer.
func changed(t *testing.T, body string) []string {
	t.Helper()
	var out []string
	for _, at := range outer(body) {
		before, begin, inner, end, after := body[:at[0]], body[at[0]:at[1]], body[at[1]:at[2]], body[at[2]:at[3]], body[at[3]:]
		out = append(out, before+after, before+begin+end+after, before+begin+inner+end+begin+inner+end+after, before+"<unknown><a/>x</unknown>"+begin+inner+end+after)
		if !element.MatchString(begin + inner + end) {
			continue
		}
		for _, other := range []string{"true", "FALSE", "1", "0", "-7", " 5 ", "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.123456789+02:00", "&lt;x&#10;&gt;", "<![CDATA[x&y]]>"} {
			out = append(out, before+begin+other+end+after)
		}
	}
	if len(out) < 20 {
		t.Fatalf("%d variants of %s", len(out), body)
	}
	return out
}

// differ says where a struct of ours is not what the SDK read: its fields have the SDK's names.
func differ(ours, theirs reflect.Value) string {
	if ours.Kind() == reflect.Pointer {
		if ours.IsNil() != theirs.IsNil() {
			return "missing or not"
		}
		if ours.IsNil() {
			return ""
		}
		return differ(ours.Elem(), theirs)
	}
	if theirs.Kind() == reflect.Pointer {
		if theirs.IsNil() {
			theirs = reflect.Zero(theirs.Type().Elem())
		} else {
			theirs = theirs.Elem()
		}
	}
	switch ours.Kind() {
	case reflect.String:
		return unequal(ours.String(), theirs.String())
	case reflect.Bool:
		return unequal(ours.Bool(), theirs.Bool())
	case reflect.Int32:
		return unequal(ours.Int(), theirs.Int())
	case reflect.Slice:
		if ours.Len() != theirs.Len() {
			return unequal(ours.Len(), theirs.Len())
		}
		for i := range ours.Len() {
			if diff := differ(ours.Index(i), theirs.Index(i)); diff != "" {
				return fmt.Sprintf("%d: %s", i, diff)
			}
		}
		return ""
	case reflect.Map:
		one, other := map[string]string{}, map[string]string{}
		for k, v := range ours.Seq2() {
			one[k.String()] = v.String()
		}
		for k, v := range theirs.Seq2() {
			other[k.String()] = v.String()
		}
		return unequal(fmt.Sprint(one), fmt.Sprint(other))
	}
	return structs(ours, theirs)
}

func structs(ours, theirs reflect.Value) string {
	if at, ok := theirs.Interface().(time.Time); ok {
		return unequal(ours.Interface().(query.Time).UnixNano(), at.UnixNano())
	}
	for i := range ours.NumField() {
		field := ours.Type().Field(i)
		if field.Anonymous {
			if diff := differ(ours.Field(i), theirs); diff != "" {
				return diff
			}
			continue
		}
		other := theirs.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, field.Name) })
		if !other.IsValid() {
			return field.Name + " is not in " + theirs.Type().String()
		}
		if diff := differ(ours.Field(i), other); diff != "" {
			return field.Name + ": " + diff
		}
	}
	return ""
}

func unequal[T comparable](ours, theirs T) string {
	if ours == theirs {
		return ""
	}
	return fmt.Sprintf("%v, the SDK has %v", ours, theirs)
}

// Errors read as the SDK's, have its types, and are tried as often.
func TestErrorsAsTheSDK(t *testing.T) {
	reset := func(*http.Request) (*http.Response, error) { return nil, &sdkConnectionError{} }
	for name, by := range map[string]doer{
		"denied":    always(403, coded(ec2Error, "UnauthorizedOperation")),
		"refused":   always(403, coded(otherError, "AccessDenied")),
		"throttled": always(400, coded(otherError, "Throttling")),
		"limited":   always(503, coded(ec2Error, "RequestLimitExceeded"), "Retry-After", "0"),
		"internal":  always(500, coded(otherError, "InternalFailure"), "X-Amzn-Requestid", "r"),
		"gateway":   always(502, "<html><body>Bad Gateway<br></body></html>"),
		"page":      always(503, "<html><body>tidy</body></html>"),
		"empty":     always(403, ""),
		"redirect":  always(307, "", "Location", "http://169.254.169.254/"),
		"cut":       always(400, coded(otherError, "Throttling")[:90]),
		"JSON":      always(400, `{"__type":"AccessDenied"}`),
		"no XML":    always(200, "{}"),
		"reset":     reset,
		"many":      always(429, ""),
	} {
		for _, operation := range []string{"ec2 DescribeRegions", "rds DescribeDBInstances", "sns ListTopics", "redshift DescribeClusters", "elb DescribeLoadBalancers", "elbv2 DescribeListeners"} {
			var wanted, asked int
			_, want := generated[operation].do(t.Context(), config(counted(&wanted, by)))
			_, got := operations[operation](t.Context(), config(counted(&asked, by)), nil)
			if name == "no XML" { // which the SDK takes for empty
				if got == nil {
					t.Errorf("%s: %v", name, got)
				}
				continue
			}
			if fmt.Sprint(got) != fmt.Sprint(want) || asked != wanted || awsclient.Code(got) != awsclient.Code(want) || status(got) != status(want) || kinds(got) != kinds(want) {
				t.Errorf("%s, %s:\n%d requests: %v %s\nthe SDK:\n%d requests: %v %s", operation, name, asked, got, kinds(got), wanted, want, kinds(want))
			}
		}
	}
}

func status(err error) int {
	var r *awshttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// kinds are the types of an error and all within.
func kinds(err error) string {
	out := ""
	for ; err != nil; err = errors.Unwrap(err) {
		out += fmt.Sprintf(" %T", err)
	}
	return out
}

// Codes that the SDK has types for are codes here.
func TestModelledErrorsAsTheSDK(t *testing.T) {
	for code, operation := range map[string]string{
		"DBSnapshotNotFound": "rds DescribeDBSnapshotAttributes", "DBClusterSnapshotNotFoundFault": "rds DescribeDBClusterSnapshotAttributes", "NotFound": "sns GetTopicAttributes",
		"AuthorizationError": "sns ListTopics", "LoadBalancerNotFound": "elbv2 DescribeListeners", "ClusterNotFound": "redshift DescribeClusters", "PolicyNotFound": "elb DescribeLoadBalancerPolicies",
	} {
		c := config(always(404, coded(otherError, code)))
		_, want := generated[operation].do(t.Context(), c)
		_, got := operations[operation](t.Context(), c, nil)
		var api smithy.APIError
		if awsclient.Code(want) != code || awsclient.Code(got) != code || !errors.As(got, &api) || api.ErrorMessage() != "You may not." {
			t.Errorf("%s: %v, the SDK: %v", code, got, want)
		}
	}
}

// Without credentials both say so in the same words.
func TestNoCredentialsAsTheSDK(t *testing.T) {
	c := config(always(200, ""))
	c.Credentials = failing{errors.New("no EC2 IMDS role found")}
	for name, their := range generated {
		_, want := their.do(t.Context(), c)
		if _, got := operations[name](t.Context(), c, their.form); want == nil || fmt.Sprint(got) != want.Error() {
			t.Errorf("%s: %v, the SDK: %v", name, got, want)
		}
	}
}

// A wrong clock is set right by the same answers.
func TestClockAsTheSDK(t *testing.T) {
	for _, ahead := range []time.Duration{0, 2 * time.Minute, 10 * time.Minute, -time.Hour} {
		for _, code := range []string{"AuthFailure", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "UnauthorizedOperation"} {
			var want, got []time.Duration
			by := func(into *[]time.Duration) doer {
				return func(r *http.Request) (*http.Response, error) {
					at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
					*into = append(*into, time.Until(at).Round(time.Minute))
					date := time.Now().Add(ahead).UTC().Format(http.TimeFormat)
					if len(*into) == 1 {
						return answer(403, coded(ec2Error, code), "Date", date), err
					}
					return answer(200, answers["ec2 DescribeRegions"], "Date", date), err
				}
			}
			their, our := ec2.NewFromConfig(config(by(&want))), query.New(config(by(&got)), query.EC2)
			for range 2 {
				_, wantErr := their.DescribeRegions(t.Context(), &ec2.DescribeRegionsInput{})
				_, gotErr := query.Call(t.Context(), our, query.DescribeRegions, nil)
				if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
					t.Errorf("%s %v: %v, the SDK: %v", code, ahead, gotErr, wantErr)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s %v: signed %v from now, the SDK %v", code, ahead, got, want)
			}
		}
	}
}
