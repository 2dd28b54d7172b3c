package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
	"github.com/riskprofiler/riskprofiler/platform/secret/awssecret"
)

// names makes names and ARNs. All are fixed by the prefix, so that a stack can name what another one owns without depending on
// it: CloudFormation exports would chain the stacks together.
type names struct{ prefix string }

func (n names) of(resource string) string          { return n.prefix + "-" + resource }
func (n names) queue(name string) string           { return n.of(name) + ".fifo" }
func (n names) deadLetterQueue(name string) string { return n.queue(sqsqueue.DeadLetterName(name)) }

// bucket ends with account and region, because bucket names are unique in the whole world.
func (n names) bucket(name string) *string {
	return join(n.of(name), "-", awscdk.Aws_ACCOUNT_ID(), "-", awscdk.Aws_REGION())
}

// bucketSuffix is that end as the services are told it.
func bucketSuffix() *string { return join(awscdk.Aws_ACCOUNT_ID(), "-", awscdk.Aws_REGION()) }

func (n names) keyParameter() string { return "/" + n.prefix + "/key-arn" }

// arn is an ARN in this account and region.
func arn(service, resource string) *string {
	return join("arn:", awscdk.Aws_PARTITION(), ":"+service+":", awscdk.Aws_REGION(), ":", awscdk.Aws_ACCOUNT_ID(), ":"+resource)
}

func (n names) tableArn(name string) *string { return arn("dynamodb", "table/"+n.of(name)) }
func (n names) indexArn(table, index string) *string {
	return arn("dynamodb", "table/"+n.of(table)+"/index/"+index)
}
func (n names) queueArn(name string) *string { return arn("sqs", n.queue(name)) }
func (n names) functionArn(name, alias string) *string {
	return arn("lambda", "function:"+n.of(name)+":"+alias)
}
func (n names) machineArn(name string) *string { return arn("states", "stateMachine:"+n.of(name)) }
func (n names) executionsArn(name string) *string {
	return arn("states", "execution:"+n.of(name)+":*")
}
func (n names) topicArn(name string) *string { return arn("sns", n.of(name)) }

// secretsArn are the secrets of all tenants: Secrets Manager adds a dash and six characters to each name.
func (n names) secretsArn() *string {
	return arn("secretsmanager", "secret:"+n.prefix+awssecret.Folder+"*")
}

func (n names) bucketArn(name string) *string {
	return join("arn:", awscdk.Aws_PARTITION(), ":s3:::", *n.bucket(name))
}
func (n names) objectsArn(bucket, pattern string) *string {
	return join(*n.bucketArn(bucket), "/"+pattern)
}

// queueURLPrefix and queueURLSuffix are what stands around a queue's name in its URL.
func (n names) queueURLPrefix() *string {
	return join("https://sqs.", awscdk.Aws_REGION(), ".", awscdk.Aws_URL_SUFFIX(), "/", awscdk.Aws_ACCOUNT_ID(), "/"+n.prefix+"-")
}

const queueURLSuffix = ".fifo"

// logGroup is the log group of a function.
func (n names) logGroup(function string) string { return "/aws/lambda/" + n.of(function) }

// backend is the setting RISKPROFILER_BACKEND.
func (n names) backend() *string {
	return join("aws://", awscdk.Aws_REGION(), "/"+n.prefix+"?account=", awscdk.Aws_ACCOUNT_ID(), "&bucketsuffix=", *bucketSuffix())
}

// peer is one entry of the setting RISKPROFILER_PEERS.
func (n names) peer(function string) string {
	return function + "=lambda:" + n.of(function) + ":" + plan.Live
}

// key is the shared KMS key's ARN, read when the stack is deployed from the parameter that the shared stack wrote.
func (n names) key(scope constructs.Construct) *string {
	return awscdk.NewCfnParameter(scope, jsii.String("KeyArn"), &awscdk.CfnParameterProps{
		Type: jsii.String("AWS::SSM::Parameter::Value<String>"), Default: jsii.String(n.keyParameter()),
		Description: jsii.String("Where the shared stack wrote the ARN of the key."),
	}).ValueAsString()
}

// join puts texts and tokens together.
func join(parts ...any) *string {
	list := make([]*string, 0, len(parts))
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			list = append(list, jsii.String(v))
		case *string:
			list = append(list, v)
		}
	}
	return awscdk.Fn_Join(jsii.String(""), &list)
}
