//go:build awstest

package aws_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws"
)

// accounts makes an account of its own for each test, so that none sees another's resources.
var accounts atomic.Int64

// world is one account on moto, with clients that are in it.
type world struct {
	account string
	env     probes.Env
	access  *modelv1.CloudAccess
	// config is of somebody who may do everything in the account.
	config sdk.Config
}

// forward sends requests to moto as they would go to AWS.
type forward struct{ to *url.URL }

func (f forward) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Scheme, r.URL.Host = r.URL.Host, f.to.Scheme, f.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

func newWorld(t *testing.T, regions ...string) *world {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	endpoint := awstest.Moto(t)
	w := &world{account: fmt.Sprintf("9%011d", accounts.Add(1))}
	w.access = &modelv1.CloudAccess{Role: "arn:aws:iam::" + w.account + ":role/RiskProfiler", ExternalId: "external"}
	w.env = probes.Env{
		Guard: netguard.New(netguard.Options{AllowPrivate: true}), Cloud: probes.CloudSettings{URLs: map[string]string{"aws": endpoint}, Regions: regions},
	}
	to, _ := url.Parse(endpoint)
	w.config = sdk.Config{
		Region: "eu-west-1", HTTPClient: &http.Client{Transport: forward{to}}, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
	out, err := sts.NewFromConfig(w.config).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: sdk.String(w.access.GetRole()), RoleSessionName: sdk.String("setup")})
	if err != nil {
		t.Fatal(err)
	}
	w.config.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	return w
}

// read takes the inventory, and fails if anything could not be read but what moto does not play.
func (w *world) read(t *testing.T) map[string]cloud.Resource {
	t.Helper()
	out := map[string]cloud.Resource{}
	gaps, err := aws.New().Inventory(t.Context(), w.env, w.account, w.access, func(r cloud.Resource) error {
		out[r.Fact.GetType()+" "+r.Fact.GetName()] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gaps {
		if !notPlayed[g.API] {
			t.Errorf("gap: %+v", g)
		}
	}
	return out
}

// notPlayed are calls that moto does not answer as AWS does; local servers play them in other tests.
var notPlayed = map[string]bool{}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestMotoInstances(t *testing.T) {
	w := newWorld(t, "eu-west-1")
	client := ec2.NewFromConfig(w.config)
	images := must[*ec2.DescribeImagesOutput](t)(client.DescribeImages(t.Context(), &ec2.DescribeImagesInput{}))
	group := must[*ec2.CreateSecurityGroupOutput](t)(client.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: sdk.String("open"), Description: sdk.String("open")}))
	must[*ec2.AuthorizeSecurityGroupIngressOutput](t)(client.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: group.GroupId, IpPermissions: []ec2types.IpPermission{{
			IpProtocol: sdk.String("tcp"), FromPort: sdk.Int32(22), ToPort: sdk.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: sdk.String("0.0.0.0/0")}},
		}},
	}))
	must[*ec2.RunInstancesOutput](t)(client.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), SecurityGroupIds: []string{*group.GroupId},
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: "instance", Tags: []ec2types.Tag{{Key: sdk.String("Name"), Value: sdk.String("web")}}}},
	}))
	must[*ec2.AllocateAddressOutput](t)(client.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{Domain: "vpc"}))

	found := w.read(t)
	web := found["ec2:instance web"]
	if f := web.Fact; !f.GetPublic() || !web.Dedicated || len(f.GetAddresses()) != 1 || len(f.GetIngress()) != 1 || f.GetIngress()[0].GetFromPort() != 22 || f.GetRegion() != "eu-west-1" {
		t.Errorf("instance: %+v", web)
	}
	if f := found["ec2:security-group open"].Fact; !f.GetPublic() || f.GetSettings()[cloud.SettingAttachedPublic] != cloud.Yes || !strings.Contains(f.GetPublicReason(), "tcp 22") {
		t.Errorf("group: %v", f)
	}
	if r := found["ec2:elastic-ip "]; r.Fact.GetSettings()[cloud.SettingAttached] != cloud.No || r.Dedicated {
		t.Errorf("address: %+v", r)
	}
}

// The role of another account, and an account that is not the role's, are refused.
func TestMotoProof(t *testing.T) {
	w := newWorld(t)
	if err := aws.New().ProveRole(t.Context(), w.env, w.account, w.access); err != nil {
		t.Errorf("own: %v", err)
	}
	if err := aws.New().ProveRole(t.Context(), w.env, "900000000999", w.access); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("another account's role: %v", err)
	}
	_, err := aws.New().Inventory(context.Background(), w.env, w.account, nil, nil)
	if !errors.Is(err, fault.FailedPrecondition) || !strings.Contains(err.Error(), "nobody made a role") {
		t.Errorf("without role: %v", err)
	}
}
