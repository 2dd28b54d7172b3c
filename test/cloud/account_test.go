//go:build awstest

package cloud

import (
	"fmt"
	"net/http"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// zone is the domain whose records the account has. Nobody is asked about it.
const zone = "riskprofiler-lab.com"

// anybody is the policy of a resource that permits one action to everybody.
func anybody(action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":"*","Action":%q,"Resource":%q}]}`, action, resource)
}

// group makes a security group that admits ranges to TCP ports; port 0 is everything.
func (w *world) group(name, from string, ports ...int32) string {
	w.t.Helper()
	client := ec2.NewFromConfig(w.config)
	id := must(w, client.CreateSecurityGroup)(&ec2.CreateSecurityGroupInput{GroupName: sdk.String(name), Description: sdk.String(name)}).GroupId
	for _, port := range ports {
		rule := types.IpPermission{IpProtocol: sdk.String("tcp"), FromPort: sdk.Int32(port), ToPort: sdk.Int32(port), IpRanges: []types.IpRange{{CidrIp: sdk.String(from)}}}
		if port == 0 {
			rule.IpProtocol, rule.FromPort, rule.ToPort = sdk.String("-1"), nil, nil
		}
		must(w, client.AuthorizeSecurityGroupIngress)(&ec2.AuthorizeSecurityGroupIngressInput{GroupId: id, IpPermissions: []types.IpPermission{rule}})
	}
	return *id
}

// machine is one with a public address.
type machine struct{ id, arn, address string }

// launch starts a machine; metadata says whether its metadata asks for a token.
func (w *world) launch(name, group string, metadata types.HttpTokensState, profile string) machine {
	w.t.Helper()
	client := ec2.NewFromConfig(w.config)
	images := must(w, client.DescribeImages)(&ec2.DescribeImagesInput{MaxResults: sdk.Int32(5)})
	in := &ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), SecurityGroupIds: []string{group},
		MetadataOptions:   &types.InstanceMetadataOptionsRequest{HttpTokens: metadata},
		TagSpecifications: []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{{Key: sdk.String("Name"), Value: sdk.String(name)}}}},
	}
	if profile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &profile}
	}
	id := *must(w, client.RunInstances)(in).Instances[0].InstanceId
	out := must(w, client.DescribeInstances)(&ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	return machine{id, w.arn("ec2", "instance/"+id), sdk.ToString(out.Reservations[0].Instances[0].PublicIpAddress)}
}

func (w *world) arn(service, rest string) string {
	return strings.Join([]string{"arn:aws", service, region, w.account, rest}, ":")
}

// profile makes a role for machines. The client for IAM is no dependency of ours.
func (w *world) profile(name string) {
	w.t.Helper()
	keys, err := w.config.Credentials.Retrieve(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	body := strings.NewReader("Action=CreateInstanceProfile&Version=2010-05-08&InstanceProfileName=" + name)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://iam.amazonaws.com/", body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keys.AccessKeyID+"/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0")
	r.Header.Set("X-Amz-Security-Token", keys.SessionToken)
	res, err := w.config.HTTPClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("make an instance profile: %s", res.Status)
	}
}

// network makes machines and their rules. It returns those on which ports may be seen to answer.
func (w *world) network() (web, quiet machine) {
	w.t.Helper()
	client := ec2.NewFromConfig(w.config)
	web = w.launch("web", w.group("web", "0.0.0.0/0", 22, 443, 3389, 5432), types.HttpTokensStateRequired, "")
	w.holds("web", "cloud-sensitive-port-open", web.address, web.arn)
	quiet = w.launch("quiet", w.group("quiet", "0.0.0.0/0", 6379), types.HttpTokensStateRequired, "")
	w.holds("quiet", "cloud-sensitive-port-open", quiet.address, quiet.arn)
	wide := w.launch("wide", w.group("wide", "0.0.0.0/0", 0), types.HttpTokensStateRequired, "")
	w.holds("wide", "cloud-all-ports-open", wide.address, wide.arn)
	w.profile("application")
	https := w.group("https", "0.0.0.0/0", 443)
	old := w.launch("old", https, types.HttpTokensStateOptional, "application")
	w.holds("old", "cloud-metadata-credentials", old.arn, "")
	w.launch("closed", w.group("office", "198.51.100.0/24", 22, 3389), types.HttpTokensStateOptional, "application")
	w.launch("modern", https, types.HttpTokensStateRequired, "application")

	idle := must(w, client.AllocateAddress)(&ec2.AllocateAddressInput{Domain: "vpc"})
	w.holds("idle address", "cloud-address-unassigned", w.arn("ec2", "elastic-ip/"+*idle.AllocationId), "")
	w.record("idle", "A", *idle.PublicIp, "cloud-dns-idle-address")
	used := must(w, client.AllocateAddress)(&ec2.AllocateAddressInput{Domain: "vpc"})
	must(w, client.AssociateAddress)(&ec2.AssociateAddressInput{AllocationId: used.AllocationId, InstanceId: &quiet.id})
	w.moved(&quiet, *used.PublicIp)

	volume := must(w, client.CreateVolume)(&ec2.CreateVolumeInput{AvailabilityZone: sdk.String(region + "a"), Size: sdk.Int32(1)}).VolumeId
	public := must(w, client.CreateSnapshot)(&ec2.CreateSnapshotInput{VolumeId: volume}).SnapshotId
	must(w, client.CreateSnapshot)(&ec2.CreateSnapshotInput{VolumeId: volume})
	must(w, client.ModifySnapshotAttribute)(&ec2.ModifySnapshotAttributeInput{
		SnapshotId: public, Attribute: types.SnapshotAttributeNameCreateVolumePermission, OperationType: types.OperationTypeAdd, GroupNames: []string{"all"},
	})
	w.holds("snapshot", "cloud-snapshot-public", w.arn("ec2", "snapshot/"+*public), "")
	image := must(w, client.CreateImage)(&ec2.CreateImageInput{InstanceId: &web.id, Name: sdk.String("golden")}).ImageId
	must(w, client.CreateImage)(&ec2.CreateImageInput{InstanceId: &web.id, Name: sdk.String("ours")})
	must(w, client.ModifyImageAttribute)(&ec2.ModifyImageAttributeInput{
		ImageId: image, LaunchPermission: &types.LaunchPermissionModifications{Add: []types.LaunchPermission{{Group: "all"}}},
	})
	w.holds("image", "cloud-image-public", w.arn("ec2", "image/"+*image), "")
	return web, quiet
}

// moved is a machine after it got another address.
func (w *world) moved(m *machine, address string) {
	for about, lines := range w.truth {
		for i, l := range lines {
			w.truth[about][i] = strings.ReplaceAll(l, m.address, address)
		}
	}
	m.address = address
}

// buckets makes buckets that let anybody write, list, read, and nobody anything.
func (w *world) buckets() {
	w.t.Helper()
	client := s3.NewFromConfig(w.config)
	create := func(name string, acl s3types.BucketCannedACL) *string {
		bucket := sdk.String(name + "-of-" + w.account)
		must(w, client.CreateBucket)(&s3.CreateBucketInput{
			Bucket: bucket, ACL: acl, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(region)},
		})
		return bucket
	}
	let := func(bucket *string, action, what string) {
		must(w, client.PutBucketPolicy)(&s3.PutBucketPolicyInput{Bucket: bucket, Policy: sdk.String(anybody(action, "arn:aws:s3:::"+*bucket+what))})
	}
	drop := create("drop", "")
	everybody := sdk.String(`uri="http://acs.amazonaws.com/groups/global/AllUsers"`)
	must(w, client.PutBucketAcl)(&s3.PutBucketAclInput{Bucket: drop, GrantRead: everybody, GrantWrite: everybody})
	w.holds("drop", "cloud-bucket-writable", "arn:aws:s3:::"+*drop, "")
	w.holds("drop", "cloud-bucket-listable", "arn:aws:s3:::"+*drop, "")
	index := create("index", "")
	let(index, "s3:ListBucket", "")
	w.holds("index", "cloud-bucket-listable", "arn:aws:s3:::"+*index, "")
	assets := create("assets", "")
	let(assets, "s3:GetObject", "/*")
	w.holds("assets", "cloud-bucket-readable", "arn:aws:s3:::"+*assets, "")
	site := create("site", "")
	let(site, "s3:GetObject", "/*")
	must(w, client.PutBucketWebsite)(&s3.PutBucketWebsiteInput{
		Bucket: site, WebsiteConfiguration: &s3types.WebsiteConfiguration{IndexDocument: &s3types.IndexDocument{Suffix: sdk.String("index.html")}},
	})
	blocked := create("blocked", s3types.BucketCannedACLPublicRead)
	must(w, client.PutPublicAccessBlock)(&s3.PutPublicAccessBlockInput{
		Bucket: blocked, PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
			BlockPublicAcls: sdk.Bool(true), BlockPublicPolicy: sdk.Bool(true), IgnorePublicAcls: sdk.Bool(true), RestrictPublicBuckets: sdk.Bool(true),
		},
	})
	create("private", "")
	w.holds("account", "cloud-account-access-block", "aws:"+w.account, "")
}

// policies makes resources whose own policies let anybody in, and some that do not.
func (w *world) policies() {
	w.t.Helper()
	queues := sqs.NewFromConfig(w.config)
	for name, policy := range map[string]string{"orders": anybody("sqs:SendMessage", w.arn("sqs", "orders")), "inner": ""} {
		made := must(w, queues.CreateQueue)(&sqs.CreateQueueInput{QueueName: &name})
		if policy != "" {
			must(w, queues.SetQueueAttributes)(&sqs.SetQueueAttributesInput{QueueUrl: made.QueueUrl, Attributes: map[string]string{"Policy": policy}})
		}
	}
	w.holds("queue", "cloud-messaging-public", w.arn("sqs", "orders"), "")
	topics := sns.NewFromConfig(w.config)
	must(w, topics.CreateTopic)(&sns.CreateTopicInput{Name: sdk.String("alarms")}) // with the policy that SNS writes by itself
	news := must(w, topics.CreateTopic)(&sns.CreateTopicInput{Name: sdk.String("news")}).TopicArn
	must(w, topics.SetTopicAttributes)(&sns.SetTopicAttributesInput{TopicArn: news, AttributeName: sdk.String("Policy"), AttributeValue: sdk.String(anybody("sns:Publish", *news))})
	w.holds("topic", "cloud-messaging-public", *news, "")
	secrets := secretsmanager.NewFromConfig(w.config)
	key := must(w, secrets.CreateSecret)(&secretsmanager.CreateSecretInput{Name: sdk.String("key"), SecretString: sdk.String("correct horse")}).ARN
	must(w, secrets.PutResourcePolicy)(&secretsmanager.PutResourcePolicyInput{SecretId: key, ResourcePolicy: sdk.String(anybody("secretsmanager:GetSecretValue", "*"))})
	must(w, secrets.CreateSecret)(&secretsmanager.CreateSecretInput{Name: sdk.String("other"), SecretString: sdk.String("battery")})
	w.holds("secret", "cloud-secret-public", *key, "")
	images := ecr.NewFromConfig(w.config)
	app := must(w, images.CreateRepository)(&ecr.CreateRepositoryInput{RepositoryName: sdk.String("app")}).Repository
	must(w, images.CreateRepository)(&ecr.CreateRepositoryInput{RepositoryName: sdk.String("inner")})
	must(w, images.SetRepositoryPolicy)(&ecr.SetRepositoryPolicyInput{
		RepositoryName: app.RepositoryName, PolicyText: sdk.String(`{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`),
	})
	w.holds("registry", "cloud-registry-public", *app.RepositoryArn, "")
}

// databases makes one that the internet reaches, one that only has an address, and one that is inside; and copies of one.
func (w *world) databases() {
	w.t.Helper()
	client := rds.NewFromConfig(w.config)
	for name, group := range map[string]string{"customers": w.group("db", "0.0.0.0/0", 5432), "waiting": w.group("dbinner", "10.0.0.0/8", 5432), "inner": w.group("dbwide", "0.0.0.0/0", 5432)} {
		must(w, client.CreateDBInstance)(&rds.CreateDBInstanceInput{
			DBInstanceIdentifier: &name, DBInstanceClass: sdk.String("db.t3.micro"), Engine: sdk.String("postgres"), PubliclyAccessible: sdk.Bool(name != "inner"),
			VpcSecurityGroupIds: []string{group}, AllocatedStorage: sdk.Int32(20), MasterUsername: sdk.String("admin1"), MasterUserPassword: sdk.String("very-secret-1"),
		})
	}
	w.holds("database", "cloud-database-public", w.arn("rds", "db:customers"), "")
	w.holds("waiting database", "cloud-database-address", w.arn("rds", "db:waiting"), "")
	for _, name := range []string{"shared", "kept"} {
		must(w, client.CreateDBSnapshot)(&rds.CreateDBSnapshotInput{DBInstanceIdentifier: sdk.String("customers"), DBSnapshotIdentifier: &name})
	}
	must(w, client.ModifyDBSnapshotAttribute)(&rds.ModifyDBSnapshotAttributeInput{
		DBSnapshotIdentifier: sdk.String("shared"), AttributeName: sdk.String("restore"), ValuesToAdd: []string{"all"},
	})
	w.holds("database copy", "cloud-snapshot-public", w.arn("rds", "snapshot:shared"), "")
}

// balancers makes one that serves without encryption and one that sends everybody to encryption.
func (w *world) balancers() {
	w.t.Helper()
	network := must(w, ec2.NewFromConfig(w.config).DescribeSubnets)(&ec2.DescribeSubnetsInput{})
	client := elb.NewFromConfig(w.config)
	open := w.group("balancers", "0.0.0.0/0", 80)
	target := must(w, client.CreateTargetGroup)(&elb.CreateTargetGroupInput{
		Name: sdk.String("shop"), Protocol: elbtypes.ProtocolEnumHttp, Port: sdk.Int32(80), VpcId: network.Subnets[0].VpcId,
	}).TargetGroups[0].TargetGroupArn
	for name, action := range map[string]elbtypes.Action{
		"shop":  {Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: target},
		"moved": {Type: elbtypes.ActionTypeEnumRedirect, RedirectConfig: &elbtypes.RedirectActionConfig{Protocol: sdk.String("HTTPS"), Port: sdk.String("443"), StatusCode: "HTTP_301"}},
	} {
		made := must(w, client.CreateLoadBalancer)(&elb.CreateLoadBalancerInput{
			Name: &name, Scheme: elbtypes.LoadBalancerSchemeEnumInternetFacing, Subnets: []string{*network.Subnets[0].SubnetId, *network.Subnets[1].SubnetId}, SecurityGroups: []string{open},
		}).LoadBalancers[0]
		must(w, client.CreateListener)(&elb.CreateListenerInput{
			LoadBalancerArn: made.LoadBalancerArn, Protocol: elbtypes.ProtocolEnumHttp, Port: sdk.Int32(80), DefaultActions: []elbtypes.Action{action},
		})
		w.holds("firewall", "cloud-no-waf", *made.LoadBalancerArn, "")
		if name == "shop" {
			w.holds("balancer", "cloud-plain-http", *made.LoadBalancerArn, "")
			w.record("shop", "CNAME", *made.DNSName, "")
		}
	}
}

// record makes a record of the zone, of which a check holds, or none.
func (w *world) record(name, kind, value, check string) {
	w.t.Helper()
	client := route53.NewFromConfig(w.config)
	zones := must(w, client.ListHostedZones)(&route53.ListHostedZonesInput{})
	if len(zones.HostedZones) == 0 {
		must(w, client.CreateHostedZone)(&route53.CreateHostedZoneInput{Name: sdk.String(zone), CallerReference: sdk.String("x")})
		zones = must(w, client.ListHostedZones)(&route53.ListHostedZonesInput{})
	}
	id := *zones.HostedZones[0].Id
	w.change(r53types.ChangeActionCreate, name, kind, value)
	if check == "" {
		return
	}
	full := name + "." + zone
	arn := "arn:aws:route53:::" + strings.TrimPrefix(id, "/") + "/" + full + "/" + kind
	if strings.HasPrefix(full, "*") { // no asset
		w.holds("record "+name, check, arn, "")
		return
	}
	w.holds("record "+name, check, full, arn)
}

// change changes a record.
func (w *world) change(action r53types.ChangeAction, name, kind, value string) {
	w.t.Helper()
	client := route53.NewFromConfig(w.config)
	zones := must(w, client.ListHostedZones)(&route53.ListHostedZonesInput{})
	must(w, client.ChangeResourceRecordSets)(&route53.ChangeResourceRecordSetsInput{
		HostedZoneId: zones.HostedZones[0].Id, ChangeBatch: &r53types.ChangeBatch{Changes: []r53types.Change{{Action: action, ResourceRecordSet: &r53types.ResourceRecordSet{
			Name: sdk.String(name + "." + zone), Type: r53types.RRType(kind), TTL: sdk.Int64(300), ResourceRecords: []r53types.ResourceRecord{{Value: &value}},
		}}}},
	})
}

// names makes records of which some lead to what the account has not any more. The first address is of a range of AWS.
func (w *world) names() {
	w.t.Helper()
	w.record("old", "A", "3.5.140.3", "cloud-dns-dangling-address")
	w.record("*.dev", "A", "3.5.140.4", "cloud-dns-dangling-address")
	w.record("partner", "A", "198.51.100.7", "")
	w.record("site", "CNAME", "site."+zone+".s3-website-eu-west-1.amazonaws.com", "cloud-dns-missing-bucket")
	w.record("cdn", "CNAME", "d9gone.cloudfront.net", "cloud-dns-not-held")
	w.record("app", "CNAME", "app-1.eu-west-1.elb.amazonaws.com", "cloud-dns-not-held")
}

// distribution makes one whose bucket is gone.
func (w *world) distribution() {
	w.t.Helper()
	made := must(w, cloudfront.NewFromConfig(w.config).CreateDistribution)(&cloudfront.CreateDistributionInput{DistributionConfig: &cftypes.DistributionConfig{
		CallerReference: sdk.String("x"), Comment: sdk.String("shop"), Enabled: sdk.Bool(true),
		Origins: &cftypes.Origins{Quantity: sdk.Int32(1), Items: []cftypes.Origin{{
			Id: sdk.String("b"), DomainName: sdk.String("gone-of-" + w.account + ".s3.eu-west-1.amazonaws.com"), S3OriginConfig: &cftypes.S3OriginConfig{OriginAccessIdentity: sdk.String("")},
		}}},
		DefaultCacheBehavior: &cftypes.DefaultCacheBehavior{TargetOriginId: sdk.String("b"), ViewerProtocolPolicy: cftypes.ViewerProtocolPolicyAllowAll},
	}}).Distribution
	w.holds("origin", "cloud-origin-missing", *made.ARN, "")
	w.holds("distribution", "cloud-plain-http", *made.ARN, "")
	w.holds("firewall", "cloud-no-waf", *made.ARN, "")
	w.record("www", "CNAME", *made.DomainName, "")
}
