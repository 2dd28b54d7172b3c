package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsstepfunctions"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

// deliverLogs lets Step Functions write its log. CloudWatch Logs has no resources for log delivery:
// https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy
var deliverLogs = []string{
	"logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
	"logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
}

// machine makes a state machine from the very file that the embedded runner runs: only its placeholders are filled in.
func (s *serviceStack) machine(m plan.Machine) {
	p := newPolicy(s.names)
	p.allow(deliverLogs, jsii.String("*"))
	p.allow(writeTraces, jsii.String("*"))
	substitutions := map[string]*string{"QueuePrefix": s.names.queueURLPrefix(), "QueueSuffix": jsii.String(queueURLSuffix)}
	for _, name := range m.Calls {
		p.allow(invoke, s.names.functionArn(name, plan.Workflow))
		substitutions[name] = s.names.functionArn(name, plan.Workflow)
	}
	for _, name := range m.Sends {
		p.allow([]string{"sqs:SendMessage"}, s.names.queueArn(name))
	}
	p.allowIf(&map[string]any{"StringEquals": map[string]any{"kms:ViaService": []*string{
		join("sqs.", awscdk.Aws_REGION(), ".", awscdk.Aws_URL_SUFFIX()),
	}}}, useKey, s.keyArn)
	own, fixed := role(s.stack, "MachineRole-"+m.Name, "states.amazonaws.com", "What the state machine "+m.Name+" may do: what its definition names.", p.doc)
	suppress(own, reason{"AwsSolutions-IAM5", "X-Ray and the delivery of logs have no resources that a policy could name.", []string{"Resource::*"}})

	// Step Functions delivers only to groups whose policy has room; those named vendedlogs share one policy.
	logs := newLogGroup(s.stack, "MachineLogs-"+m.Name, "/aws/vendedlogs/states/"+s.names.of(m.Name), s.config)
	awsstepfunctions.NewStateMachine(s.stack, jsii.String("Machine-"+m.Name), &awsstepfunctions.StateMachineProps{
		StateMachineName: jsii.String(s.names.of(m.Name)), StateMachineType: awsstepfunctions.StateMachineType_STANDARD, Role: fixed,
		DefinitionBody: awsstepfunctions.DefinitionBody_FromString(jsii.String(m.Definition)), DefinitionSubstitutions: &substitutions,
		// Data of executions names customers' hosts: it stays in Step Functions and out of the log.
		Logs:           &awsstepfunctions.LogOptions{Destination: logs, Level: awsstepfunctions.LogLevel_ALL, IncludeExecutionData: jsii.Bool(false)},
		TracingEnabled: jsii.Bool(true), RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	}).Node().AddDependency(own)
	s.alarms.machine(m)
}
