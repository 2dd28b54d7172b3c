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
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// one is a call as all operations have it.
type one func(context.Context, sdk.Config, url.Values) (any, error)

func calling[O any](s query.Service, o query.Operation[O]) one {
	return func(ctx context.Context, config sdk.Config, input url.Values) (any, error) {
		return query.Call(ctx, query.New(config, s), o, input)
	}
}

// operations are all, by the names that answers has.
var operations = map[string]one{
	"ec2 DescribeRegions":                     calling(query.EC2, query.DescribeRegions),
	"ec2 DescribeAddresses":                   calling(query.EC2, query.DescribeAddresses),
	"ec2 DescribeImages":                      calling(query.EC2, query.DescribeImages),
	"ec2 DescribeSnapshots":                   calling(query.EC2, query.DescribeSnapshots),
	"ec2 DescribeNetworkAcls":                 calling(query.EC2, query.DescribeNetworkACLs),
	"ec2 DescribeInstances":                   calling(query.EC2, query.DescribeInstances),
	"ec2 DescribeSecurityGroups":              calling(query.EC2, query.DescribeSecurityGroups),
	"ec2 DescribeNetworkInterfaces":           calling(query.EC2, query.DescribeNetworkInterfaces),
	"rds DescribeDBInstances":                 calling(query.RDS, query.DescribeDBInstances),
	"rds DescribeDBSnapshots":                 calling(query.RDS, query.DescribeDBSnapshots),
	"rds DescribeDBSnapshotAttributes":        calling(query.RDS, query.DescribeDBSnapshotAttributes),
	"rds DescribeDBClusterSnapshots":          calling(query.RDS, query.DescribeDBClusterSnapshots),
	"rds DescribeDBClusterSnapshotAttributes": calling(query.RDS, query.DescribeDBClusterSnapshotAttributes),
	"redshift DescribeClusters":               calling(query.Redshift, query.DescribeClusters),
	"elbv2 DescribeLoadBalancers":             calling(query.ELB, query.DescribeLoadBalancers),
	"elbv2 DescribeListeners":                 calling(query.ELB, query.DescribeListeners),
	"elb DescribeLoadBalancers":               calling(query.ClassicELB, query.DescribeClassicBalancers),
	"elb DescribeLoadBalancerPolicies":        calling(query.ClassicELB, query.DescribeLoadBalancerPolicies),
	"sns ListTopics":                          calling(query.SNS, query.ListTopics),
	"sns GetTopicAttributes":                  calling(query.SNS, query.GetTopicAttributes),
}

// doer answers requests without a network.
type doer func(*http.Request) (*http.Response, error)

// Do is what a client of HTTP does.
func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// answer is one of a server: a status, a body, and pairs of headers.
func answer(status int, body string, headers ...string) *http.Response {
	out := &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	for i := 0; i < len(headers); i += 2 {
		out.Header.Set(headers[i], headers[i+1])
	}
	return out
}

// always answers each request alike.
func always(status int, body string, headers ...string) doer {
	return func(*http.Request) (*http.Response, error) { return answer(status, body, headers...), nil }
}

// config is one whose requests a doer answers. It retries without waiting.
func config(by sdk.HTTPClient) sdk.Config {
	return sdk.Config{
		Region: "eu-west-1", AppID: "riskprofiler", HTTPClient: by, Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", "token"),
		Retryer: func() sdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	}
}

func TestAnswers(t *testing.T) {
	for name, do := range operations {
		got, err := do(t.Context(), config(always(200, answers[name])), nil)
		if err != nil || reflect.ValueOf(got).Elem().IsZero() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got, err = do(t.Context(), config(always(200, emptied(name))), nil); err != nil || !reflect.ValueOf(got).Elem().IsZero() {
			t.Errorf("%s, empty: %+v, %v", name, got, err)
		}
	}
	if len(operations) != len(answers) {
		t.Errorf("%d operations, %d answers", len(operations), len(answers))
	}
}

// emptied is the answer of an operation that has nothing to tell.
func emptied(name string) string {
	service, operation, _ := strings.Cut(name, " ")
	if service == "ec2" {
		return "<" + operation + "Response/>"
	}
	return "<" + operation + "Response><" + operation + "Result/></" + operation + "Response>"
}

// What is missing is not what is zero.
func TestMissing(t *testing.T) {
	ports, err := query.Call(t.Context(), query.New(config(always(200, answers["ec2 DescribeNetworkAcls"])), query.EC2), query.DescribeNetworkACLs, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := ports.NetworkACLs[0].Entries
	if e[0].PortRange != nil || e[1].PortRange == nil || *e[1].PortRange.From != 49152 || e[2].PortRange == nil || e[2].PortRange.From != nil || e[3].PortRange.From != nil || *e[3].PortRange.To != 7 {
		t.Errorf("ports: %+v", e)
	}
	machines, err := query.Call(t.Context(), query.New(config(always(200, answers["ec2 DescribeInstances"])), query.EC2), query.DescribeInstances, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := machines.Reservations[0].Instances[0], machines.Reservations[0].Instances[1], machines.Reservations[1].Instances[0]
	if first.MetadataOptions == nil || first.MetadataOptions.HTTPTokens != "optional" || second.MetadataOptions == nil || third.MetadataOptions != nil {
		t.Errorf("metadata: %+v %+v %+v", first.MetadataOptions, second.MetadataOptions, third.MetadataOptions)
	}
	if first.IamInstanceProfile == nil || second.IamInstanceProfile == nil || second.IamInstanceProfile.Arn != "" || third.IamInstanceProfile != nil {
		t.Errorf("profiles: %+v %+v %+v", first.IamInstanceProfile, second.IamInstanceProfile, third.IamInstanceProfile)
	}
	if want := time.Date(2018, 5, 8, 16, 46, 19, 0, time.UTC); !first.LaunchTime.Equal(want) || !second.LaunchTime.Equal(want) || !third.LaunchTime.IsZero() {
		t.Errorf("times: %v %v %v", first.LaunchTime, second.LaunchTime, third.LaunchTime)
	}
}

// What is no whole answer to what was asked is an error, and never an empty list or a shorter one.
func TestBrokenAnswers(t *testing.T) {
	regions, topics := answers["ec2 DescribeRegions"], answers["sns ListTopics"]
	for name, c := range map[string]struct{ operation, body string }{
		"nothing":               {"ec2 DescribeRegions", ""},
		"space":                 {"ec2 DescribeRegions", " \n"},
		"only a declaration":    {"ec2 DescribeRegions", `<?xml version="1.0"?>`},
		"HTML":                  {"ec2 DescribeRegions", "<!DOCTYPE html><html><head><meta charset=utf-8></head></html>"},
		"tidy HTML":             {"ec2 DescribeRegions", "<html><body>Service is fine</body></html>"},
		"JSON":                  {"ec2 DescribeRegions", `{"Regions":[]}`},
		"another's answer":      {"ec2 DescribeRegions", answers["ec2 DescribeImages"]},
		"an error":              {"ec2 DescribeRegions", `<Response><Errors><Error><Code>InternalError</Code></Error></Errors></Response>`},
		"no result":             {"sns ListTopics", `<ListTopicsResponse><ResponseMetadata/></ListTopicsResponse>`},
		"another's result":      {"sns ListTopics", `<ListTopicsResponse><ListQueuesResult/></ListTopicsResponse>`},
		"only the result":       {"sns ListTopics", `<ListTopicsResult/>`},
		"not well-formed":       {"ec2 DescribeRegions", strings.Replace(regions, "</item>", "</itme>", 1)},
		"no number":             {"ec2 DescribeNetworkAcls", strings.Replace(answers["ec2 DescribeNetworkAcls"], ">100<", "><", 1)},
		"a long number":         {"ec2 DescribeNetworkAcls", strings.Replace(answers["ec2 DescribeNetworkAcls"], ">100<", ">4294967396<", 1)},
		"no boolean":            {"ec2 DescribeImages", strings.Replace(answers["ec2 DescribeImages"], ">true<", ">yes<", 1)},
		"an empty number":       {"ec2 DescribeSecurityGroups", strings.Replace(answers["ec2 DescribeSecurityGroups"], ">80<", "><", 1)},
		"an empty boolean":      {"ec2 DescribeImages", strings.Replace(answers["ec2 DescribeImages"], ">true<", "><", 1)},
		"an empty time":         {"ec2 DescribeInstances", strings.Replace(answers["ec2 DescribeInstances"], ">2018-05-08T16:46:19.000Z<", "><", 1)},
		"no time":               {"redshift DescribeClusters", strings.Replace(answers["redshift DescribeClusters"], "2013-01-22T", "yesterday ", 1)},
		"another character set": {"ec2 DescribeRegions", `<?xml version="1.0" encoding="UTF-16"?><DescribeRegionsResponse/>`},
		"cut after the result":  {"sns ListTopics", topics[:strings.Index(topics, "<ResponseMetadata>")]},
	} {
		got, err := operations[c.operation](t.Context(), config(always(200, c.body)), nil)
		var broken *smithy.DeserializationError
		var response *awshttp.ResponseError
		if !errors.As(err, &broken) || !errors.As(err, &response) || response.HTTPStatusCode() != 200 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// An answer that ends anywhere before its own end is an error.
func TestCutAnswers(t *testing.T) {
	for name, do := range operations {
		whole := answers[name]
		for at := 0; at < len(whole); at += 7 {
			if got, err := do(t.Context(), config(always(200, whole[:at])), nil); err == nil {
				t.Errorf("%s, %d bytes: %+v", name, at, got)
			}
		}
		if got, err := do(t.Context(), config(always(200, whole[:len(whole)-1])), nil); err == nil {
			t.Errorf("%s, without the last byte: %+v", name, got)
		}
	}
}

// Deep and wide texts are read within their own size.
func TestBombs(t *testing.T) {
	const many = 300_000
	deep := strings.Repeat("<a>", many) + strings.Repeat("</a>", many)
	for name, body := range map[string]string{
		"deep":        "<DescribeRegionsResponse>" + deep + "</DescribeRegionsResponse>",
		"deep within": "<DescribeRegionsResponse><regionInfo><item><regionName>x" + deep + "</regionName></item></regionInfo></DescribeRegionsResponse>",
		"alike":       "<DescribeRegionsResponse>" + strings.Repeat("<regionInfo>", many) + strings.Repeat("</regionInfo>", many) + "</DescribeRegionsResponse>",
		"never ended": "<DescribeRegionsResponse>" + strings.Repeat("<regionInfo><item>", many),
		"entities":    `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><DescribeRegionsResponse><regionInfo><item><regionName>&b;</regionName></item></regionInfo></DescribeRegionsResponse>`,
	} {
		got, err := operations["ec2 DescribeRegions"](t.Context(), config(always(200, body)), nil)
		if out, ok := got.(*query.Regions); err == nil && (!ok || len(out.Regions) > 1) || err != nil && name[:4] == "deep" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

// FuzzAnswer: no text makes it panic; one that is cut is an error, or all of it was read.
func FuzzAnswer(f *testing.F) {
	names := slices.Sorted(maps.Keys(operations))
	for i, name := range names {
		f.Add(byte(i), answers[name], uint(len(answers[name])/2))
		f.Add(byte(i), answers[name], uint(len(answers[name])-1))
		f.Add(byte(i), emptied(name), uint(3))
	}
	f.Fuzz(func(t *testing.T, which byte, body string, at uint) {
		name := names[int(which)%len(names)]
		do, cut := operations[name], int(at%uint(len(body)+1))
		whole, err := do(t.Context(), config(always(200, body)), nil)
		part, cutErr := do(t.Context(), config(always(200, body[:cut])), nil)
		if cutErr == nil && (err != nil || !reflect.DeepEqual(whole, part)) {
			t.Fatalf("cut at %d: %+v; whole: %+v, %v", cut, part, whole, err)
		}
		if err == nil && !strings.Contains(body, strings.Fields(name)[1]+"Response") {
			t.Fatalf("answered by another: %+v", whole)
		}
	})
}
