package aws

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// actions are all permissions that the role is used with, in order. docs/cloud.md has the same list for the role's policy; a test
// compares both, and what is called. sts:GetCallerIdentity needs none.
var actions = []string{
	"acm:DescribeCertificate", "acm:ListCertificates", "apigateway:GET", "cloudfront:ListDistributions", "ec2:DescribeAddresses",
	"ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces", actionRegions,
	"ec2:DescribeSecurityGroups", "ec2:DescribeSnapshots", "ecr-public:DescribeRepositories", "ecr:DescribeRepositories",
	"ecr:GetRepositoryPolicy", "ecs:DescribeServices", "ecs:ListClusters", "ecs:ListServices", "eks:DescribeCluster", "eks:ListClusters",
	"elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancerPolicies",
	"elasticloadbalancing:DescribeLoadBalancers", "es:DescribeDomains", "es:ListDomainNames", "events:ListEventBuses",
	"kafka:ListClustersV2", "lambda:GetPolicy", "lambda:ListFunctionUrlConfigs", "lambda:ListFunctions", "lightsail:GetInstances",
	"lightsail:GetLoadBalancers", "lightsail:GetRelationalDatabases", "lightsail:GetStaticIps", "mq:DescribeBroker", "mq:ListBrokers",
	"rds:DescribeDBClusterSnapshotAttributes", "rds:DescribeDBClusterSnapshots", "rds:DescribeDBInstances",
	"rds:DescribeDBSnapshotAttributes", "rds:DescribeDBSnapshots", "redshift:DescribeClusters", "route53:ListHostedZones",
	"route53:ListResourceRecordSets", "route53domains:ListDomains", "s3:GetAccountPublicAccessBlock", "s3:GetBucketAcl",
	"s3:GetBucketPolicy", "s3:GetBucketPolicyStatus", "s3:GetBucketPublicAccessBlock", "s3:GetBucketWebsite", "s3:ListAllMyBuckets",
	"s3:ListBucket", "secretsmanager:GetResourcePolicy", "secretsmanager:ListSecrets", "sns:GetTopicAttributes", "sns:ListTopics",
	"sqs:GetQueueAttributes", "sqs:ListQueues", "wafv2:ListResourcesForWebACL", "wafv2:ListWebACLs",
}

// Actions are all permissions that the role is used with.
func Actions() []string { return slices.Clone(actions) }

// services are those whose resources have another first word in their types than in their actions.
var services = map[string]string{"elasticloadbalancing": "elb", "es": "opensearch"}

// kindsOf says how the types of the resources begin that may be missing where an action failed: all of its service's, because what a
// second call would have told may decide whether a resource is shown. Without the list of regions any may be missing.
func kindsOf(action string) []string {
	service, _, _ := strings.Cut(action, ":")
	if action == actionRegions {
		return nil
	}
	if name := services[service]; name != "" {
		service = name
	}
	return []string{service + ":"}
}

// maxSessionPolicy is the longest session policy (docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, Policy).
const maxSessionPolicy = 2048

// sessionPolicy narrows the credentials to what we call, whatever the role may do besides: a session policy takes away and never adds
// (docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session). The actions would be too long; those of one service
// that begin alike are written with a wildcard, where all that begin so read settings and no content.
var sessionPolicy = sync.OnceValue(func() string {
	wide := []string{"ec2:Describe", "elasticloadbalancing:Describe", "rds:Describe"}
	var list []string
	for _, a := range actions {
		for _, w := range wide {
			if strings.HasPrefix(a, w) {
				a = w + "*"
			}
		}
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	text, err := json.Marshal(map[string]any{
		"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Action": list, "Resource": "*"}},
	})
	if err != nil || len(text) > maxSessionPolicy {
		panic("aws: the session policy is too long") // a test makes it
	}
	return string(text)
})
