package stacks

import (
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

// retentionDays is how long messages are kept, those in a dead-letter queue too.
const retentionDays = int(sqsqueue.Retention / (24 * time.Hour))

// newTable makes a table as platform/table/dynamotable reads it. It outlives its stack and cannot be deleted by mistake.
func newTable(scope constructs.Construct, n names, key awskms.IKey, t plan.Table) {
	text := func(name string) *awsdynamodb.Attribute {
		return &awsdynamodb.Attribute{Name: jsii.String(name), Type: awsdynamodb.AttributeType_STRING}
	}
	table := awsdynamodb.NewTable(scope, jsii.String("Table-"+t.Name), &awsdynamodb.TableProps{
		TableName: jsii.String(n.of(t.Name)), PartitionKey: text(plan.PartitionKey), SortKey: text(plan.SortKey),
		BillingMode: awsdynamodb.BillingMode_PAY_PER_REQUEST, TimeToLiveAttribute: jsii.String(plan.TTLAttribute),
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: jsii.Bool(true)},
		DeletionProtection:               jsii.Bool(true), RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		Encryption: awsdynamodb.TableEncryption_CUSTOMER_MANAGED, EncryptionKey: key,
	})
	for _, index := range t.Indexes {
		partition, sort := dynamotable.IndexKeys(index)
		table.AddGlobalSecondaryIndex(&awsdynamodb.GlobalSecondaryIndexProps{
			IndexName: jsii.String(dynamotable.IndexName(index)), PartitionKey: text(partition), SortKey: text(sort), ProjectionType: awsdynamodb.ProjectionType_ALL,
		})
	}
}

// newQueue makes a queue and the dead-letter queue below it. Our own count parks a message after five failed attempts or ten lost
// deliveries; the dead-letter queue gets what even parking failed for. When, says the driver: a message that waits for a permit is
// received again and again without having failed.
func newQueue(scope constructs.Construct, n names, key awskms.IKey, q plan.Queue) (queue, dead awssqs.Queue) {
	props := func(name string, visibility awscdk.Duration, below *awssqs.DeadLetterQueue) *awssqs.QueueProps {
		return &awssqs.QueueProps{
			QueueName: jsii.String(name), Fifo: jsii.Bool(true),
			// High throughput: ids and quota by message group.
			// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/high-throughput-fifo.html
			DeduplicationScope: awssqs.DeduplicationScope_MESSAGE_GROUP, FifoThroughputLimit: awssqs.FifoThroughputLimit_PER_MESSAGE_GROUP_ID,
			VisibilityTimeout: visibility, RetentionPeriod: awscdk.Duration_Days(jsii.Number(float64(retentionDays))),
			Encryption: awssqs.QueueEncryption_KMS, EncryptionMasterKey: key, DataKeyReuse: awscdk.Duration_Hours(jsii.Number(1)),
			EnforceSSL: jsii.Bool(true), DeadLetterQueue: below, RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		}
	}
	visibility := awscdk.Duration_Seconds(jsii.Number(q.Visibility.Seconds()))
	dead = awssqs.NewQueue(scope, jsii.String("Dead-"+q.Name), props(n.deadLetterQueue(q.Name), awscdk.Duration_Minutes(jsii.Number(1)), nil))
	queue = awssqs.NewQueue(scope, jsii.String("Queue-"+q.Name), props(n.queue(q.Name), visibility, &awssqs.DeadLetterQueue{Queue: dead, MaxReceiveCount: jsii.Number(float64(sqsqueue.MaxReceiveCount))}))
	return queue, dead
}

// bucketOptions say how a bucket differs from the others.
type bucketOptions struct {
	// Versioned keeps what was overwritten or deleted for 30 days: for what cannot be made again.
	Versioned bool
	// Days after which an object is deleted; 0: never. Prefix narrows that.
	Days   int
	Prefix string
	// Retain keeps the bucket when its stack is deleted.
	Retain bool
}

// newBucket makes a private, encrypted bucket whose accesses are logged to the bucket "logs" of the shared stack.
func newBucket(scope constructs.Construct, n names, key awskms.IKey, name string, o bucketOptions) awss3.Bucket {
	day := func(n int) awscdk.Duration { return awscdk.Duration_Days(jsii.Number(float64(n))) }
	rules := []*awss3.LifecycleRule{{Id: jsii.String("unfinished-uploads"), AbortIncompleteMultipartUploadAfter: day(1)}}
	if o.Days > 0 {
		rule := &awss3.LifecycleRule{Id: jsii.String("age"), Expiration: day(o.Days)}
		if o.Prefix != "" {
			rule.Prefix = jsii.String(o.Prefix)
		}
		rules = append(rules, rule)
	}
	if o.Versioned {
		rules = append(rules, &awss3.LifecycleRule{Id: jsii.String("old-versions"), NoncurrentVersionExpiration: day(30)})
	}
	bucket := awss3.NewBucket(scope, jsii.String("Bucket-"+name), &awss3.BucketProps{
		BucketName: n.bucket(name), BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(), EnforceSSL: jsii.Bool(true), MinimumTLSVersion: jsii.Number(1.2),
		Encryption: awss3.BucketEncryption_KMS, EncryptionKey: key, BucketKeyEnabled: jsii.Bool(true), Versioned: jsii.Bool(o.Versioned),
		ObjectOwnership: awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED, LifecycleRules: &rules, RemovalPolicy: removal(o.Retain),
	})
	cfn, ok := bucket.Node().DefaultChild().(awss3.CfnBucket)
	if !ok {
		panic("a bucket's default child is no CfnBucket: the CDK changed")
	}
	// Named and not referred to: the bucket of logs belongs to another stack.
	cfn.SetLoggingConfiguration(&awss3.CfnBucket_LoggingConfigurationProperty{DestinationBucketName: n.bucket("logs"), LogFilePrefix: jsii.String(name + "/")})
	return bucket
}

func removal(retain bool) awscdk.RemovalPolicy {
	if retain {
		return awscdk.RemovalPolicy_RETAIN
	}
	return awscdk.RemovalPolicy_DESTROY
}
