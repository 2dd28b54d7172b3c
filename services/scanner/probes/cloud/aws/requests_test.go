//go:build awstest

package aws_test

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/redshift"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/cloudtest"
)

// querying are the hosts of the services that are asked without the SDK's own packages for them.
var querying = []string{"ec2.", "rds.", "redshift.", "elasticloadbalancing.", "sns."}

// asked are requests of the protocol Query: host, path and form.
type asked struct {
	mu  sync.Mutex
	all map[string]bool
}

// add keeps a request, and gives it back as it was.
func (a *asked) add(r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(raw)))
	if form, err := url.ParseQuery(string(raw)); err == nil && slices.ContainsFunc(querying, func(p string) bool { return strings.HasPrefix(r.Host, p) }) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all[r.Method+" "+r.Host+r.URL.Path+" "+form.Encode()] = true
	}
}

// RoundTrip keeps a request and answers it with an error that is not retried.
func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Host = r.URL.Host
	a.add(r)
	return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}, nil
}

// An inventory asks what the SDK asks with the same words, page by page.
func TestRequestsAsTheSDK(t *testing.T) {
	f := newFake(t)
	got := &asked{all: map[string]bool{}}
	next := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.add(r)
		next.ServeHTTP(w, r)
	})
	paged := func(key, parameter, first, second string) {
		f.Answer(key, func(w http.ResponseWriter, r *http.Request) {
			content := first
			if r.PostForm.Get(parameter) != "" {
				content = second
			}
			cloudtest.WriteXML(w, r.PostForm.Get("Action"), content)
		})
	}
	for _, operation := range []string{"DescribeImages", "DescribeSnapshots", "DescribeNetworkAcls", "DescribeInstances", "DescribeSecurityGroups", "DescribeNetworkInterfaces"} {
		paged("ec2 "+operation, "NextToken", "<nextToken>n +</nextToken>", "")
	}
	for _, operation := range []string{"rds DescribeDBInstances", "rds DescribeDBSnapshots", "rds DescribeDBClusterSnapshots", "redshift DescribeClusters"} {
		_, name, _ := strings.Cut(operation, " ")
		content := map[string]string{
			"DescribeDBSnapshots":        "<DBSnapshots><DBSnapshot><DBSnapshotIdentifier>d/1</DBSnapshotIdentifier></DBSnapshot></DBSnapshots>",
			"DescribeDBClusterSnapshots": "<DBClusterSnapshots><DBClusterSnapshot><DBClusterSnapshotIdentifier>c/1</DBClusterSnapshotIdentifier></DBClusterSnapshot></DBClusterSnapshots>",
		}[name]
		paged(operation, "Marker", "<"+name+"Result>"+content+"<Marker>n +</Marker></"+name+"Result>", "<"+name+"Result/>")
	}
	paged("sns ListTopics", "NextToken", "<ListTopicsResult><Topics><member><TopicArn>arn:t</TopicArn></member></Topics><NextToken>n +</NextToken></ListTopicsResult>", "<ListTopicsResult/>")
	paged("elasticloadbalancing DescribeListeners", "Marker", "<DescribeListenersResult><NextMarker>n +</NextMarker></DescribeListenersResult>", "<DescribeListenersResult/>")
	paged("elasticloadbalancing DescribeLoadBalancers", "Marker", `<DescribeLoadBalancersResult><NextMarker>n +</NextMarker>
		<LoadBalancers><member><LoadBalancerArn>arn:b</LoadBalancerArn><Scheme>internet-facing</Scheme></member></LoadBalancers>
		<LoadBalancerDescriptions><member><LoadBalancerName>old</LoadBalancerName><Scheme>internet-facing</Scheme><ListenerDescriptions><member><PolicyNames><member>p</member></PolicyNames>
		<Listener><Protocol>SSL</Protocol></Listener></member></ListenerDescriptions></member></LoadBalancerDescriptions></DescribeLoadBalancersResult>`, "<DescribeLoadBalancersResult/>")
	if _, gaps := f.inventory(t); len(gaps) > 0 {
		t.Errorf("gaps %+v", gaps)
	}
	if want := wanted(t); !maps.Equal(got.all, want) {
		t.Errorf("asked for\n%s\nwant\n%s", strings.Join(slices.Sorted(maps.Keys(got.all)), "\n"), strings.Join(slices.Sorted(maps.Keys(want)), "\n"))
	}
}

// wanted are the requests of the SDK.
func wanted(t *testing.T) map[string]bool {
	t.Helper()
	out, ctx := &asked{all: map[string]bool{}}, t.Context()
	c := sdk.Config{Region: "eu-west-1", HTTPClient: &http.Client{Transport: out}, Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", "")}
	home := c.Copy()
	home.Region = "us-east-1"
	_, _ = ec2.NewFromConfig(home).DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	most := sdk.Int32(500)
	machines, databases := ec2.NewFromConfig(c), rds.NewFromConfig(c)
	_, _ = machines.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{})
	for _, token := range []*string{nil, sdk.String("n +")} {
		_, _ = machines.DescribeImages(ctx, &ec2.DescribeImagesInput{
			Owners: []string{"self"}, Filters: []ec2types.Filter{{Name: sdk.String("is-public"), Values: []string{"true"}}}, MaxResults: most, NextToken: token,
		})
		_, _ = machines.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, RestorableByUserIds: []string{"all"}, MaxResults: most, NextToken: token})
		_, _ = machines.DescribeNetworkAcls(ctx, &ec2.DescribeNetworkAclsInput{MaxResults: most, NextToken: token})
		_, _ = machines.DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: most, NextToken: token})
		_, _ = machines.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{MaxResults: most, NextToken: token})
		_, _ = machines.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{MaxResults: most, NextToken: token})
		_, _ = databases.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{Marker: token})
		_, _ = databases.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{SnapshotType: sdk.String("manual"), Marker: token})
		_, _ = databases.DescribeDBClusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{SnapshotType: sdk.String("manual"), Marker: token})
		_, _ = redshift.NewFromConfig(c).DescribeClusters(ctx, &redshift.DescribeClustersInput{Marker: token})
		_, _ = elb.NewFromConfig(c).DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Marker: token})
		_, _ = elb.NewFromConfig(c).DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: sdk.String("arn:b"), Marker: token})
		_, _ = classic.NewFromConfig(c).DescribeLoadBalancers(ctx, &classic.DescribeLoadBalancersInput{Marker: token})
		_, _ = sns.NewFromConfig(c).ListTopics(ctx, &sns.ListTopicsInput{NextToken: token})
	}
	_, _ = databases.DescribeDBSnapshotAttributes(ctx, &rds.DescribeDBSnapshotAttributesInput{DBSnapshotIdentifier: sdk.String("d/1")})
	_, _ = databases.DescribeDBClusterSnapshotAttributes(ctx, &rds.DescribeDBClusterSnapshotAttributesInput{DBClusterSnapshotIdentifier: sdk.String("c/1")})
	_, _ = classic.NewFromConfig(c).DescribeLoadBalancerPolicies(ctx, &classic.DescribeLoadBalancerPoliciesInput{LoadBalancerName: sdk.String("old")})
	_, _ = sns.NewFromConfig(c).GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: sdk.String("arn:t")})
	return out.all
}
