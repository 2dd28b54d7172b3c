package stacks

import (
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/app"
)

// serviceStack is what the parts of one service's stack share while they are made.
type serviceStack struct {
	stack           awscdk.Stack
	config          Config
	names           names
	keyArn          *string
	key             awskms.IKey
	machines        []plan.Machine
	allQueues       []string
	queueConstructs map[string]constructs.IConstruct
	layer           awslambda.LayerVersion
	alarms          alarms
}

// newServiceStack makes the stack of one service: what it owns, its functions, what triggers them, and its alarms.
func newServiceStack(scope constructs.Construct, c Config, service plan.Service, all []plan.Service) awscdk.Stack {
	n := names{c.Prefix}
	stack := awscdk.NewStack(scope, jsii.String(n.of(service.Name)), stackProps(c, "the service "+service.Name))
	s := &serviceStack{
		stack: stack, config: c, names: n, keyArn: n.key(stack), machines: plan.Machines(all), allQueues: plan.Queues(all),
		queueConstructs: map[string]constructs.IConstruct{}, alarms: alarms{stack: stack, names: n},
	}
	s.key = awskms.Key_FromKeyArn(stack, jsii.String("Key"), s.keyArn)
	service.Queues = limited(service, c.ScanConcurrency)
	s.store(service)
	functions := map[string]built{}
	for _, f := range service.Functions {
		functions[f.Name] = s.newFunction(f)
		s.alarms.function(f)
	}
	for _, q := range service.Queues {
		s.consume(functions[q.Function], q)
	}
	for _, m := range service.Machines {
		s.machine(m)
	}
	if edge, ok := functions[plan.Edge]; ok {
		s.api(edge)
	}
	return stack
}

// limited are the service's queues with the operator's own limit for those of scanners.
func limited(service plan.Service, concurrency int) []plan.Queue {
	queues := slices.Clone(service.Queues)
	for i := range queues {
		for _, f := range service.Functions {
			if concurrency > 0 && f.Name == queues[i].Function && f.Spec.Trust == app.HostileNetwork {
				queues[i].Concurrency = concurrency
			}
		}
	}
	return queues
}

// store makes what the service keeps.
func (s *serviceStack) store(service plan.Service) {
	for _, t := range service.Tables {
		newTable(s.stack, s.names, s.key, t)
		s.alarms.table(t)
	}
	for _, b := range service.Buckets {
		newBucket(s.stack, s.names, s.key, b, bucketRules(b, s.config))
	}
	for _, q := range service.Queues {
		queue, _ := newQueue(s.stack, s.names, s.key, q)
		s.queueConstructs[q.Name] = queue
		s.alarms.queue(service.Name, q)
	}
}

// bucketRules say how long what a bucket holds is kept. A report is the customer's and stays; evidence is read again only while
// its finding is looked at.
func bucketRules(name string, c Config) bucketOptions {
	if name == "evidence" {
		return bucketOptions{Days: c.EvidenceDays, Retain: true}
	}
	return bucketOptions{Versioned: true, Retain: true}
}

func stackProps(c Config, what string) *awscdk.StackProps {
	return &awscdk.StackProps{
		Description: jsii.String("RiskProfiler " + c.Prefix + ": " + what), TerminationProtection: jsii.Bool(true),
		Tags: &map[string]*string{"riskprofiler": jsii.String(c.Prefix)},
	}
}
