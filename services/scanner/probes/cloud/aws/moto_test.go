//go:build awstest

package aws_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws"
)

// accounts makes an account of its own for each test, so that none sees another's resources.
var accounts atomic.Int64

// world is one account on moto. What moto does not play is answered as if it were empty.
type world struct {
	*fakeAWS

	account string
	access  *modelv1.CloudAccess
	// config is of somebody who may do everything in the account.
	config sdk.Config
}

// forward sends requests as they would go to AWS.
type forward struct{ to *url.URL }

func (f forward) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Scheme, r.URL.Host = r.URL.Host, f.to.Scheme, f.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{fakeAWS: newFake(t), account: fmt.Sprintf("9%011d", accounts.Add(1))}
	w.access = &modelv1.CloudAccess{Role: "arn:aws:iam::" + w.account + ":role/RiskProfiler", ExternalId: "external"}
	to, _ := url.Parse(awstest.Moto(t))
	w.Next = &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to); p.Out.Host = p.In.Host }}
	for _, ours := range []string{"sts GetCallerIdentity", "sts AssumeRole", "ec2 DescribeRegions"} {
		w.Answer(ours, nil)
	}
	for _, service := range []string{"lightsail", "ecr-public"} { // moto would pass them on to AWS
		w.JSON(service, "{}")
	}
	w.JSON("wafv2 ListResourcesForWebACL", "{}")
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

// in is the way for the provider, to some regions.
func (w *world) in(regions ...string) probes.Env {
	env := w.env()
	env.Cloud.Regions = regions
	return env
}

// warm has moto load what it plays: that takes longer than a call may, once, on a busy machine.
var warm sync.Once

// read takes the inventory, and fails if anything could not be read.
func (w *world) read(t *testing.T) map[string]cloud.Resource {
	t.Helper()
	warm.Do(func() {
		for range 3 { // what was too slow is ready at the next look
			gaps, err := aws.New().Inventory(t.Context(), w.in("eu-west-1"), w.account, w.access, func(cloud.Resource) error { return nil })
			if err == nil && len(gaps) == 0 {
				return
			}
		}
	})
	out := map[string]cloud.Resource{}
	gaps, err := aws.New().Inventory(t.Context(), w.in("eu-west-1"), w.account, w.access, func(r cloud.Resource) error {
		out[r.Fact.GetType()+" "+r.Fact.GetName()] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gaps {
		if g.Why != cloud.GapUnwanted { // the other regions
			t.Errorf("gap: %+v", g)
		}
	}
	return out
}

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
	w := newWorld(t)
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
	if err := aws.New().ProveRole(t.Context(), w.in("eu-west-1"), w.account, w.access); err != nil {
		t.Errorf("own: %v", err)
	}
	if err := aws.New().ProveRole(t.Context(), w.in(), "900000000999", w.access); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("another account's role: %v", err)
	}
	_, err := aws.New().Inventory(context.Background(), w.in("eu-west-1"), w.account, nil, nil)
	if !errors.Is(err, fault.FailedPrecondition) || !strings.Contains(err.Error(), "nobody made a role") {
		t.Errorf("without role: %v", err)
	}
}

// A declared account: everything that is public in it is found to be, and nothing else.
func TestMotoDeclared(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const anybody = `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":"*","Action":"%s","Resource":"%s"}]}`
	policy := func(action, resource string) *string { return sdk.String(fmt.Sprintf(anybody, action, resource)) }

	buckets := s3.NewFromConfig(w.config)
	for _, name := range []string{"assets-of-acme", "private-of-acme"} {
		must[*s3.CreateBucketOutput](t)(buckets.CreateBucket(ctx, &s3.CreateBucketInput{
			Bucket: sdk.String(name), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"},
		}))
	}
	must[*s3.PutBucketPolicyOutput](t)(buckets.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{
		Bucket: sdk.String("assets-of-acme"), Policy: policy("s3:GetObject", "arn:aws:s3:::assets-of-acme/*"),
	}))
	must[*s3.PutPublicAccessBlockOutput](t)(buckets.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: sdk.String("private-of-acme"), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
			BlockPublicAcls: sdk.Bool(true), BlockPublicPolicy: sdk.Bool(true), IgnorePublicAcls: sdk.Bool(true), RestrictPublicBuckets: sdk.Bool(true),
		},
	}))
	queues := sqs.NewFromConfig(w.config)
	queue := must[*sqs.CreateQueueOutput](t)(queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: sdk.String("orders")}))
	must[*sqs.SetQueueAttributesOutput](t)(queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, Attributes: map[string]string{"Policy": *policy("sqs:SendMessage", "arn:aws:sqs:eu-west-1:"+w.account+":orders")},
	}))
	must[*sns.CreateTopicOutput](t)(sns.NewFromConfig(w.config).CreateTopic(ctx, &sns.CreateTopicInput{Name: sdk.String("alarms")}))
	secrets := secretsmanager.NewFromConfig(w.config)
	must[*secretsmanager.CreateSecretOutput](t)(secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: sdk.String("key"), SecretString: sdk.String(secretKey)}))
	must[*secretsmanager.PutResourcePolicyOutput](t)(secrets.PutResourcePolicy(ctx, &secretsmanager.PutResourcePolicyInput{
		SecretId: sdk.String("key"), ResourcePolicy: policy("secretsmanager:GetSecretValue", "*"),
	}))
	images := ecr.NewFromConfig(w.config)
	must[*ecr.CreateRepositoryOutput](t)(images.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: sdk.String("app")}))
	must[*ecr.SetRepositoryPolicyOutput](t)(images.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{
		RepositoryName: sdk.String("app"), PolicyText: sdk.String(`{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`),
	}))
	w.balancer(t)
	must[*rds.CreateDBInstanceOutput](t)(rds.NewFromConfig(w.config).CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: sdk.String("customers"), DBInstanceClass: sdk.String("db.t3.micro"), Engine: sdk.String("postgres"), PubliclyAccessible: sdk.Bool(true),
		AllocatedStorage: sdk.Int32(20), MasterUsername: sdk.String("admin1"), MasterUserPassword: sdk.String("very-secret-1"),
	}))
	w.snapshot(t)

	found := w.read(t)
	for key, want := range map[string]map[string]string{
		"s3:bucket assets-of-acme":  {cloud.SettingPublicRead: cloud.Yes, cloud.SettingPublicList: cloud.No, cloud.SettingPublicWrite: cloud.No, cloud.SettingAccessBlock: cloud.BlockNone},
		"s3:bucket private-of-acme": {cloud.SettingPublicRead: cloud.No, cloud.SettingAccessBlock: cloud.BlockAll},
		"sqs:queue orders":          {cloud.SettingPolicy: cloud.PolicyPublic, cloud.SettingPolicyActions: "sqs:SendMessage"},
		"secretsmanager:secret key": {cloud.SettingPolicy: cloud.PolicyPublic},
		"ecr:repository app":        {cloud.SettingPolicy: cloud.PolicyPublic, cloud.SettingPolicyActions: "ecr:BatchGetImage"},
		"elb:load-balancer shop":    {cloud.SettingPlainHTTP: cloud.Yes, cloud.SettingWebACL: cloud.None, cloud.SettingScheme: "internet-facing"},
		"rds:instance customers":    {cloud.SettingPubliclyAccessible: cloud.Yes},
		"ec2:snapshot ":             {cloud.SettingSharedWith: cloud.Everybody},
	} {
		r, ok := found[key]
		if !ok {
			t.Errorf("%s was not found", key)
			continue
		}
		for name, value := range want {
			if got := r.Fact.GetSettings()[name]; got != value {
				t.Errorf("%s: %s is %q, want %q", key, name, got, value)
			}
		}
		if strings.Contains(r.Fact.String(), secretKey) || strings.Contains(r.Fact.String(), "very-secret") {
			t.Errorf("%s shows a secret", key)
		}
	}
	if _, ok := found["sns:topic alarms"]; ok {
		t.Error("a topic with the policy that SNS writes by itself is not public")
	}
}

func (w *world) balancer(t *testing.T) {
	t.Helper()
	network := ec2.NewFromConfig(w.config)
	subnets := must[*ec2.DescribeSubnetsOutput](t)(network.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{}))
	client := elb.NewFromConfig(w.config)
	made := must[*elb.CreateLoadBalancerOutput](t)(client.CreateLoadBalancer(t.Context(), &elb.CreateLoadBalancerInput{
		Name: sdk.String("shop"), Scheme: elbtypes.LoadBalancerSchemeEnumInternetFacing, Subnets: []string{*subnets.Subnets[0].SubnetId, *subnets.Subnets[1].SubnetId},
	}))
	target := must[*elb.CreateTargetGroupOutput](t)(client.CreateTargetGroup(t.Context(), &elb.CreateTargetGroupInput{
		Name: sdk.String("shop"), Protocol: elbtypes.ProtocolEnumHttp, Port: sdk.Int32(80), VpcId: subnets.Subnets[0].VpcId,
	}))
	must[*elb.CreateListenerOutput](t)(client.CreateListener(t.Context(), &elb.CreateListenerInput{
		LoadBalancerArn: made.LoadBalancers[0].LoadBalancerArn, Protocol: elbtypes.ProtocolEnumHttp, Port: sdk.Int32(80),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: target.TargetGroups[0].TargetGroupArn}},
	}))
}

func (w *world) snapshot(t *testing.T) {
	t.Helper()
	client := ec2.NewFromConfig(w.config)
	volume := must[*ec2.CreateVolumeOutput](t)(client.CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: sdk.String("eu-west-1a"), Size: sdk.Int32(1)}))
	for _, public := range []bool{false, true} {
		made := must[*ec2.CreateSnapshotOutput](t)(client.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: volume.VolumeId}))
		if public {
			must[*ec2.ModifySnapshotAttributeOutput](t)(client.ModifySnapshotAttribute(t.Context(), &ec2.ModifySnapshotAttributeInput{
				SnapshotId: made.SnapshotId, CreateVolumePermission: &ec2types.CreateVolumePermissionModifications{Add: []ec2types.CreateVolumePermission{{Group: "all"}}},
			}))
		}
	}
}
