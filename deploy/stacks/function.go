package stacks

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/app"
)

// rootsFile is where the layer puts the certificate authorities that scanners judge chains by.
const rootsFile = "/opt/roots.pem"

// built is a function with its aliases.
type built struct {
	plan.Function

	live, workflow, events awslambda.Alias
}

// newFunction makes a function with role, logs, a version that stays when the next one comes, and the three aliases.
func (s *serviceStack) newFunction(f plan.Function) built {
	id := func(kind string) *string { return jsii.String(kind + "-" + f.Name) }
	logs := newLogGroup(s.stack, "Logs-"+f.Name, s.names.logGroup(f.Name), s.config)
	own, fixed := role(s.stack, "Role-"+f.Name, "lambda.amazonaws.com", "What "+f.Name+" may do: what its Spec names.",
		functionPolicy(s.names, s.keyArn, f, s.machines, s.allQueues, s.config.CloudRoles))
	suppress(own, ownRole(f)...)
	props := &awslambda.FunctionProps{
		FunctionName: jsii.String(s.names.of(f.Name)), Description: jsii.String("RiskProfiler: " + f.Name),
		Runtime: awslambda.Runtime_PROVIDED_AL2023(), Handler: jsii.String("bootstrap"), Architecture: architecture(s.config.Arch),
		Code:       awslambda.Code_FromAsset(jsii.String(filepath.Join(s.config.Assets, s.config.Arch, f.Binary+".zip")), nil),
		MemorySize: jsii.Number(float64(f.Spec.MemoryMiB)), Timeout: awscdk.Duration_Seconds(jsii.Number(f.Spec.Timeout.Seconds())),
		Role: fixed, LogGroup: logs, Tracing: awslambda.Tracing_ACTIVE, Environment: s.environment(f),
		CurrentVersionOptions: &awslambda.VersionOptions{RemovalPolicy: awscdk.RemovalPolicy_RETAIN},
	}
	if f.Spec.Trust == app.HostileNetwork {
		props.Layers = &[]awslambda.ILayerVersion{s.roots()}
	}
	if f.Name == plan.Edge && s.config.EdgeConcurrency > 0 {
		props.ReservedConcurrentExecutions = jsii.Number(float64(s.config.EdgeConcurrency))
	}
	function := awslambda.NewFunction(s.stack, id("Function"), props)
	// The version, and not the function, is what is deployed: its grants must be there first.
	function.CurrentVersion().Node().AddDependency(own)
	alias := func(name string, provisioned int) awslambda.Alias {
		p := &awslambda.AliasProps{AliasName: jsii.String(name), Version: function.CurrentVersion()}
		if provisioned > 0 {
			p.ProvisionedConcurrentExecutions = jsii.Number(float64(provisioned))
		}
		return awslambda.NewAlias(s.stack, jsii.String("Alias-"+f.Name+"-"+name), p)
	}
	provisioned := 0
	if f.Name == plan.Edge {
		provisioned = s.config.Provisioned
	}
	b := built{Function: f, live: alias(plan.Live, provisioned), workflow: alias(plan.Workflow, 0), events: alias(plan.Events, 0)}
	s.schedules(b)
	return b
}

// environment is what the function is told: where its resources and its peers are. Nothing in it is secret.
func (s *serviceStack) environment(f plan.Function) *map[string]*string {
	env := map[string]*string{
		"RISKPROFILER_BACKEND":   s.names.backend(),
		"RISKPROFILER_LOG_LEVEL": jsii.String(s.config.LogLevel),
		// Spans go to X-Ray's own OTLP endpoint: no collector, no layer.
		"RISKPROFILER_OTLP_ENDPOINT": join("xray://", awscdk.Aws_REGION()),
	}
	for name, v := range app.CollectorSettings(f.Spec.MemoryMiB) {
		env[name] = jsii.String(v)
	}
	var peers []string
	for _, name := range plan.Peers(f) {
		peers = append(peers, s.names.peer(name))
	}
	if len(peers) > 0 {
		env["RISKPROFILER_PEERS"] = jsii.String(strings.Join(peers, ","))
	}
	if f.Spec.EntersClouds && s.config.CloudRegions != "" {
		env["RISKPROFILER_CLOUD_REGIONS"] = jsii.String(s.config.CloudRegions)
	}
	if f.Name == plan.Edge {
		for name, v := range map[string]string{
			"ISSUER": s.config.Issuer, "AUDIENCE": s.config.Audience, "TENANT_CLAIM": s.config.TenantClaim, "ROLES_CLAIM": s.config.RolesClaim,
		} {
			if v != "" {
				env["RISKPROFILER_OIDC_"+name] = jsii.String(v)
			}
		}
	}
	if f.Spec.Trust == app.HostileNetwork {
		// https://pkg.go.dev/crypto/x509#SystemCertPool
		env["SSL_CERT_FILE"] = jsii.String(rootsFile)
	}
	return &env
}

// roots is the layer with the certificate authorities, one for all functions of the stack.
func (s *serviceStack) roots() awslambda.ILayerVersion {
	if s.layer == nil {
		s.layer = awslambda.NewLayerVersion(s.stack, jsii.String("Roots"), &awslambda.LayerVersionProps{
			LayerVersionName: jsii.String(s.names.of("roots")), Description: jsii.String("Certificate authorities that scanners judge chains by."),
			Code:                    awslambda.Code_FromAsset(jsii.String(filepath.Join(s.config.Assets, "roots.zip")), nil),
			CompatibleArchitectures: &[]awslambda.Architecture{architecture(s.config.Arch)},
			RemovalPolicy:           awscdk.RemovalPolicy_RETAIN,
		})
	}
	return s.layer
}

// consume lets the alias for events take from a queue.
func (s *serviceStack) consume(b built, q plan.Queue) {
	awslambda.NewCfnEventSourceMapping(s.stack, jsii.String("Source-"+q.Name), &awslambda.CfnEventSourceMappingProps{
		FunctionName: b.events.FunctionArn(), EventSourceArn: s.names.queueArn(q.Name), Enabled: jsii.Bool(true),
		BatchSize: jsii.Number(float64(q.Batch)), FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
		ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(float64(q.Concurrency))},
	}).AddResourceDependency(cfnOf(s.queueConstructs[q.Name]), jsii.String("the queue comes first"))
}

// schedules makes a tick for each schedule of the Spec. EventBridge Scheduler knows whole minutes, so a shorter period becomes one
// minute. A tick that fails is not tried again: the next one does the same work.
func (s *serviceStack) schedules(b built) {
	if len(b.Spec.Schedules) == 0 {
		return
	}
	p := newPolicy(s.names)
	p.allow(invoke, b.events.FunctionArn())
	caller, _ := role(s.stack, "ScheduleRole-"+b.Name, "scheduler.amazonaws.com", "Invokes "+b.Name+" by the clock.", p.doc)
	group := awsscheduler.NewCfnScheduleGroup(s.stack, jsii.String("Schedules-"+b.Name), &awsscheduler.CfnScheduleGroupProps{Name: jsii.String(s.names.of(b.Name))})
	for _, schedule := range b.Spec.Schedules {
		awsscheduler.NewCfnSchedule(s.stack, jsii.String("Schedule-"+schedule.Name), &awsscheduler.CfnScheduleProps{
			Name: jsii.String(s.names.of(schedule.Name)), GroupName: group.Ref(), State: jsii.String("ENABLED"),
			ScheduleExpression: jsii.String(plan.Rate(schedule.Every)),
			FlexibleTimeWindow: &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: jsii.String("OFF")},
			Target: &awsscheduler.CfnSchedule_TargetProperty{
				Arn: b.events.FunctionArn(), RoleArn: caller.RoleArn(),
				// The Scheduler fills in when the tick was due
				// (https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html).
				Input:       jsii.String(`{"schedule":"` + schedule.Name + `","time":"<aws.scheduler.scheduled-time>"}`),
				RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{MaximumRetryAttempts: jsii.Number(0), MaximumEventAgeInSeconds: jsii.Number(60)},
			},
		})
	}
	b.events.ConfigureAsyncInvoke(&awslambda.EventInvokeConfigOptions{
		RetryAttempts: jsii.Number(0), MaxEventAge: awscdk.Duration_Seconds(jsii.Number(60)),
	})
}

func architecture(name string) awslambda.Architecture {
	if name == "amd64" {
		return awslambda.Architecture_X86_64()
	}
	return awslambda.Architecture_ARM_64()
}

func newLogGroup(scope constructs.Construct, id, name string, c Config) awslogs.LogGroup {
	group := awslogs.NewLogGroup(scope, jsii.String(id), &awslogs.LogGroupProps{LogGroupName: jsii.String(name), RemovalPolicy: awscdk.RemovalPolicy_DESTROY})
	cfn, ok := group.Node().DefaultChild().(awslogs.CfnLogGroup)
	if !ok {
		panic("a log group's default child is no CfnLogGroup: the CDK changed")
	}
	cfn.SetRetentionInDays(jsii.Number(float64(c.LogDays)))
	return group
}

// cfnOf is the CloudFormation resource of a construct.
func cfnOf(c constructs.IConstruct) awscdk.CfnResource {
	r, ok := c.Node().DefaultChild().(awscdk.CfnResource)
	if !ok {
		panic("a construct's default child is no CfnResource: the CDK changed")
	}
	return r
}

// ownRole are the wildcards among the resources of a function's role, each with its reason.
func ownRole(f plan.Function) []reason {
	out := []reason{
		{"AwsSolutions-IAM5", "Log streams are named by Lambda: the wildcard is below the function's own log group.", []string{"/^Resource::arn:.*:log-group:.*:\\*$/"}},
		{"AwsSolutions-IAM5", "X-Ray has no resources that a policy could name.", []string{"Resource::*"}},
		{"AwsSolutions-IAM5", "Keys of other services are public: the wildcard is below the folder public.", []string{"/^Resource::arn:.*\\/public\\/\\*$/"}},
	}
	if len(f.Spec.Buckets) > 0 {
		out = append(out, reason{"AwsSolutions-IAM5", "Objects are named by their content: the wildcard is within the service's own bucket.", []string{"/^Resource::arn:.*\\/\\*$/"}})
	}
	if len(f.Spec.Reads) > 0 {
		out = append(out, reason{"AwsSolutions-IAM5", "Objects are named by their content: the wildcard is within a bucket that the service only reads.", []string{"/^Resource::arn:.*\\/\\*$/"}})
	}
	if len(f.Spec.Sends)+len(f.Spec.Consumes) > 0 {
		out = append(out, reason{"AwsSolutions-IAM5", "Large bodies are named by their content: the wildcard is below the queue's own folder.", []string{"/^Resource::arn:.*\\/spill\\/.*\\/\\*$/"}})
	}
	if f.Spec.Secrets != "" {
		out = append(out, reason{"AwsSolutions-IAM5", "Secrets are named by tenant and provider: the wildcard is below the deployment's folder of them.", []string{"/^Resource::arn:.*:secret:.*\\/tenants\\/\\*$/"}})
	}
	if f.Spec.EntersClouds {
		out = append(out, reason{"AwsSolutions-IAM5", "Roles in tenants' accounts are not known beforehand: the wildcards are the option cloudRoles.", []string{"/^Resource::arn:.*:iam::.*:role\\/.*\\*.*$/"}})
	}
	if len(f.Spec.Workflows) > 0 {
		out = append(out, reason{"AwsSolutions-IAM5", "Executions are named by their assessment: the wildcard is below the service's own state machine.", []string{"/^Resource::arn:.*:execution:.*:\\*$/"}})
	}
	return slices.Clip(out)
}
