package stacks

import (
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

// What each kind of use needs, and no more. There is no wildcard among the actions, and dynamodb:Scan is nowhere: what is not
// allowed is denied. The drivers in platform/ say which calls they make.
var (
	readTable = []string{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"}
	// writeTable covers TransactWriteItems, whose parts are these.
	writeTable = []string{"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"}
	queryIndex = []string{"dynamodb:Query"}
	// sendQueue covers SendMessageBatch, which has no action of its own.
	sendQueue    = []string{"sqs:SendMessage", "sqs:GetQueueUrl"}
	consumeQueue = []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}
	inspectQueue = []string{"sqs:GetQueueAttributes"}
	// seeMissing makes S3 say of an object that is not there that it is not there. Without it, S3 says access denied:
	// https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
	seeMissing  = []string{"s3:ListBucket"}
	readSecret  = []string{"secretsmanager:GetSecretValue"}
	writeSecret = []string{"secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:DeleteSecret"}
	answerTask  = []string{"states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"}
	// useKey is what S3, SQS and DynamoDB do with the key for a caller. The conditions of the statement say that only they do.
	useKey = []string{"kms:Decrypt", "kms:GenerateDataKey"}
	// writeTraces is for the OTLP endpoint of X-Ray and for the segments of Lambda itself. X-Ray has no resources:
	// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
	writeTraces = []string{"xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:PutSpans", "xray:PutSpansForIndexing"}
	writeLogs   = []string{"logs:CreateLogStream", "logs:PutLogEvents"}
	invoke      = []string{"lambda:InvokeFunction"}
	enterCloud  = []string{"sts:AssumeRole"}
)

type policy struct {
	names names
	doc   awsiam.PolicyDocument
}

func newPolicy(n names) *policy { return &policy{names: n, doc: awsiam.NewPolicyDocument(nil)} }

func (p *policy) allow(actions []string, resources ...*string) { p.allowIf(nil, actions, resources...) }

func (p *policy) allowIf(conditions *map[string]any, actions []string, resources ...*string) {
	if len(resources) == 0 {
		return
	}
	p.doc.AddStatements(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Actions: jsii.Strings(actions...), Resources: &resources, Conditions: conditions,
	}))
}

// functionPolicy is what a function may do: what its Spec names, its logs and its traces.
func functionPolicy(n names, key *string, f plan.Function, machines []plan.Machine, queues, cloudRoles []string) awsiam.PolicyDocument {
	p := newPolicy(n)
	p.allow(writeLogs, arn("logs", "log-group:"+n.logGroup(f.Name)+":*"))
	p.allow(writeTraces, jsii.String("*"))
	p.tables(f)
	p.queues(f, queues)
	p.blobs(f)
	p.secrets(f)
	p.keys(f.Spec.Name)
	for _, name := range plan.Peers(f) {
		p.allow(invoke, n.functionArn(name, plan.Live))
	}
	p.workflows(f, machines)
	if f.Spec.EntersClouds {
		p.allow(enterCloud, *jsii.Strings(cloudRoles...)...)
	}
	p.encryption(key)
	return p.doc
}

func (p *policy) tables(f plan.Function) {
	for _, t := range plan.Tables(f.Spec) {
		p.allow(slices.Concat(readTable, writeTable), p.names.tableArn(t.Name))
		for _, index := range t.Indexes {
			p.allow(queryIndex, p.names.indexArn(t.Name, dynamotable.IndexName(index)))
		}
	}
}

// queues allows sending and taking, and of the table of attempts and parked messages the rows of the same queues: a row's
// partition begins with its queue.
func (p *policy) queues(f plan.Function, all []string) {
	rows := map[string]bool{}
	for _, name := range f.Spec.Sends {
		if f.Spec.InspectsQueues {
			break // below, with all queues
		}
		p.allow(sendQueue, p.names.queueArn(name))
	}
	for _, c := range f.Spec.Consumes {
		p.allow(consumeQueue, p.names.queueArn(c.Queue))
		rows[c.Queue] = true
	}
	if f.Spec.InspectsQueues {
		for _, name := range all {
			p.allow(slices.Concat(sendQueue, inspectQueue), p.names.queueArn(name))
			rows[name] = true
		}
	}
	var keys []string
	for _, name := range all {
		if rows[name] {
			keys = append(keys, plan.QueueRows(name)...)
		}
	}
	if len(keys) == 0 {
		return
	}
	p.allowIf(&map[string]any{"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": keys}, "Null": map[string]any{"dynamodb:LeadingKeys": "false"}},
		slices.Concat(readTable, writeTable), p.names.tableArn(plan.QueuesTable))
}

// blobs allows the service's own buckets, and of the bucket for large messages the folders of its queues: who sends puts, who
// takes gets and deletes.
func (p *policy) blobs(f plan.Function) {
	for _, name := range f.Spec.Buckets {
		p.allow([]string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}, p.names.objectsArn(name, "*"))
		p.allow(seeMissing, p.names.bucketArn(name))
	}
	for _, name := range f.Spec.Reads {
		p.allow([]string{"s3:GetObject"}, p.names.objectsArn(name, "*"))
		p.allow(seeMissing, p.names.bucketArn(name))
	}
	for _, name := range f.Spec.Sends {
		// Reading is for a put whose answer was lost: the driver looks whether what is there is what it put.
		p.allow([]string{"s3:PutObject", "s3:GetObject"}, p.names.objectsArn(plan.MessagesBucket, "spill/"+name+"/*"))
	}
	for _, c := range f.Spec.Consumes {
		p.allow([]string{"s3:GetObject", "s3:DeleteObject"}, p.names.objectsArn(plan.MessagesBucket, "spill/"+c.Queue+"/*"))
	}
	if len(f.Spec.Consumes) > 0 {
		p.allow(seeMissing, p.names.bucketArn(plan.MessagesBucket))
	}
}

// secrets allows reading the tenants' secrets or writing them, and nobody both. They are encrypted under the account's own key for
// Secrets Manager, which whoever may use a secret may use with it:
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
func (p *policy) secrets(f plan.Function) {
	switch f.Spec.Secrets {
	case app.ReadsSecrets:
		p.allow(readSecret, p.names.secretsArn())
	case app.WritesSecrets:
		p.allow(writeSecret, p.names.secretsArn())
	}
}

// keys allows a service its own signing key, which it cannot delete, and everybody's public one.
func (p *policy) keys(service string) {
	p.allow([]string{"s3:GetObject", "s3:PutObject"}, p.names.objectsArn(plan.KeysBucket, "private/"+service))
	p.allow([]string{"s3:PutObject", "s3:DeleteObject"}, p.names.objectsArn(plan.KeysBucket, "public/"+service))
	p.allow([]string{"s3:GetObject"}, p.names.objectsArn(plan.KeysBucket, "public/*"))
	p.allow(seeMissing, p.names.bucketArn(plan.KeysBucket))
}

func (p *policy) workflows(f plan.Function, machines []plan.Machine) {
	for _, m := range machines {
		if _, owned := f.Spec.Workflows[m.Name]; owned {
			p.allow([]string{"states:StartExecution"}, p.names.machineArn(m.Name))
			p.allow([]string{"states:DescribeExecution", "states:StopExecution"}, p.names.executionsArn(m.Name))
		}
		if f.Spec.CompletesTasks {
			p.allow(answerTask, p.names.machineArn(m.Name))
		}
	}
}

// encryption allows the key's use, and only through the services that store.
func (p *policy) encryption(key *string) {
	p.allowIf(&map[string]any{"StringEquals": map[string]any{"kms:ViaService": []*string{
		join("dynamodb.", awscdk.Aws_REGION(), ".", awscdk.Aws_URL_SUFFIX()),
		join("s3.", awscdk.Aws_REGION(), ".", awscdk.Aws_URL_SUFFIX()),
		join("sqs.", awscdk.Aws_REGION(), ".", awscdk.Aws_URL_SUFFIX()),
	}}}, useKey, key)
}

// role makes a role with one inline policy. Constructs that would add to it are kept from it: the policy here is all there is.
func role(scope constructs.Construct, id, principal, description string, doc awsiam.PolicyDocument) (awsiam.Role, awsiam.IRole) {
	r := awsiam.NewRole(scope, jsii.String(id), &awsiam.RoleProps{
		AssumedBy:      awsiam.NewServicePrincipal(jsii.String(principal), nil),
		Description:    jsii.String(description),
		InlinePolicies: &map[string]awsiam.PolicyDocument{"own": doc},
	})
	return r, r.WithoutPolicyUpdates(nil)
}
