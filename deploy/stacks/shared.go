package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

// administer and delegate are what the account itself may do with the key: look after it, and let its IAM policies allow its use.
// They are what `kms:*`, the usual statement, comes to here, less deleting by mistake being one call.
var (
	administer = []string{
		"kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:GetKeyRotationStatus", "kms:EnableKeyRotation", "kms:DisableKeyRotation",
		"kms:RotateKeyOnDemand", "kms:ListKeyRotations", "kms:EnableKey", "kms:DisableKey", "kms:UpdateKeyDescription", "kms:TagResource", "kms:UntagResource",
		"kms:ListResourceTags", "kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias", "kms:ListGrants", "kms:RevokeGrant", "kms:ScheduleKeyDeletion",
		"kms:CancelKeyDeletion", "kms:ListKeyPolicies",
	}
	delegate = []string{
		"kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:CreateGrant",
	}
)

// newSharedStack makes what belongs to no service: the key, the buckets of signing keys, large messages and access logs, the
// table of the queues, the topics of the alarms, and the dashboard. It is deployed first.
func newSharedStack(scope constructs.Construct, c Config, all []plan.Service) awscdk.Stack {
	n := names{c.Prefix}
	stack := awscdk.NewStack(scope, jsii.String(n.of("shared")), stackProps(c, "what all services share"))
	key := newKey(stack, n)
	logs := newAccessLogs(stack, n)
	for name, o := range map[string]bucketOptions{
		plan.KeysBucket:     {Versioned: true, Retain: true},
		plan.MessagesBucket: {Days: retentionDays + 1, Prefix: "spill/", Retain: true},
	} {
		newBucket(stack, n, key, name, o).Node().AddDependency(logs)
	}
	table := plan.Table{Name: plan.QueuesTable}
	newTable(stack, n, key, table)
	a := alarms{stack: stack, names: n}
	a.table(table)
	for _, name := range []string{warn, page} {
		awssns.NewTopic(stack, jsii.String("Topic-"+name), &awssns.TopicProps{TopicName: jsii.String(n.of(name)), MasterKey: key, EnforceSSL: jsii.Bool(true)})
	}
	newDashboard(stack, n, all)
	return stack
}

func newKey(stack awscdk.Stack, n names) awskms.Key {
	statement := func(actions []string, principal awsiam.IPrincipal, conditions *map[string]any) awsiam.PolicyStatement {
		return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
			Actions: jsii.Strings(actions...), Principals: &[]awsiam.IPrincipal{principal}, Resources: jsii.Strings("*"), Conditions: conditions,
		})
	}
	root := awsiam.NewAccountRootPrincipal()
	key := awskms.NewKey(stack, jsii.String("Key"), &awskms.KeyProps{
		Alias: jsii.String("alias/" + n.prefix), Description: jsii.String("RiskProfiler " + n.prefix + ": tables, queues, buckets, topics"),
		EnableKeyRotation: jsii.Bool(true), RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		Policy: awsiam.NewPolicyDocument(&awsiam.PolicyDocumentProps{Statements: &[]awsiam.PolicyStatement{
			statement(administer, root, nil), statement(delegate, root, nil),
			// Alarms reach encrypted topics only if CloudWatch may use the key:
			// https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
			statement(useKey, awsiam.NewServicePrincipal(jsii.String("cloudwatch.amazonaws.com"), nil),
				&map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()}}),
		}}),
	})
	awsssm.NewStringParameter(stack, jsii.String("KeyArn"), &awsssm.StringParameterProps{
		ParameterName: jsii.String(n.keyParameter()), StringValue: key.KeyArn(), Description: jsii.String("The key of all stacks of " + n.prefix),
	})
	return key
}

// newAccessLogs makes the bucket that S3 writes the others' access logs to. Such a bucket can only be encrypted with S3's own key:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
func newAccessLogs(stack awscdk.Stack, n names) awss3.Bucket {
	bucket := awss3.NewBucket(stack, jsii.String("Bucket-logs"), &awss3.BucketProps{
		BucketName: n.bucket("logs"), BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(), EnforceSSL: jsii.Bool(true), MinimumTLSVersion: jsii.Number(1.2),
		Encryption: awss3.BucketEncryption_S3_MANAGED, ObjectOwnership: awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		LifecycleRules: &[]*awss3.LifecycleRule{{Id: jsii.String("age"), Expiration: awscdk.Duration_Days(jsii.Number(90))}}, RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	})
	bucket.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Actions: jsii.Strings("s3:PutObject"), Resources: &[]*string{bucket.ArnForObjects(jsii.String("*"))},
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(jsii.String("logging.s3.amazonaws.com"), nil)},
		Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()}},
	}))
	suppress(bucket, reason{"AwsSolutions-S1", "This is the bucket of access logs: logging its own accesses would never end.", nil})
	return bucket
}
