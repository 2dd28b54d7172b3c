package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

// newDashboard makes the one page that shows whether assessments flow: the edge, the workflow, the queues, the functions, the
// tables, from the outside in.
func newDashboard(stack awscdk.Stack, n names, all []plan.Service) {
	d := dashboard{names: n}
	var functions, queues, tables []string
	for _, s := range all {
		for _, f := range s.Functions {
			functions = append(functions, f.Name)
		}
		for _, q := range s.Queues {
			queues = append(queues, q.Name)
		}
		for _, t := range s.Tables {
			tables = append(tables, t.Name)
		}
	}
	tables = append(tables, plan.QueuesTable)
	queueName := func(name string) any { return n.queue(name) }
	dead := func(name string) any { return n.deadLetterQueue(name) }
	named := func(name string) any { return n.of(name) }
	function := []string{plan.Edge}
	var machines []string
	for _, m := range plan.Machines(all) {
		machines = append(machines, m.Name)
	}
	machine := func(name string) any { return n.machineArn(name) }
	rows := [][]awscloudwatch.IWidget{
		{
			d.graph("Edge: invocations and errors", "AWS/Lambda", []string{"Invocations", "Errors", "Throttles"}, "Sum", "FunctionName", function, named),
			d.graph("Edge: milliseconds, p99", "AWS/Lambda", []string{"Duration"}, "p99", "FunctionName", function, named),
			d.graph("Assessments", "AWS/States", []string{"ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut"}, "Sum", "StateMachineArn", machines, machine),
		},
		{
			d.graph("Queues: seconds that the oldest waits", "AWS/SQS", []string{"ApproximateAgeOfOldestMessage"}, "Maximum", "QueueName", queues, queueName),
			d.graph("Queues: waiting", "AWS/SQS", []string{"ApproximateNumberOfMessagesVisible"}, "Maximum", "QueueName", queues, queueName),
			d.graph("Dead letters", "AWS/SQS", []string{"ApproximateNumberOfMessagesVisible"}, "Maximum", "QueueName", queues, dead),
		},
		{
			d.graph("Functions: errors", "AWS/Lambda", []string{"Errors"}, "Sum", "FunctionName", functions, named),
			d.graph("Functions: milliseconds, p99", "AWS/Lambda", []string{"Duration"}, "p99", "FunctionName", functions, named),
			d.graph("Functions: at a time", "AWS/Lambda", []string{"ConcurrentExecutions"}, "Maximum", "FunctionName", functions, named),
		},
		{
			d.graph("Tables: write units", "AWS/DynamoDB", []string{"ConsumedWriteCapacityUnits"}, "Sum", "TableName", tables, named),
			d.graph("Tables: read units", "AWS/DynamoDB", []string{"ConsumedReadCapacityUnits"}, "Sum", "TableName", tables, named),
			d.graph("Tables: refused", "AWS/DynamoDB", []string{"ReadThrottleEvents", "WriteThrottleEvents"}, "Sum", "TableName", tables, named),
		},
	}
	page := awscloudwatch.NewDashboard(stack, jsii.String("Dashboard"), &awscloudwatch.DashboardProps{DashboardName: jsii.String(n.prefix)})
	for _, row := range rows {
		page.AddWidgets(row...)
	}
}

type dashboard struct{ names names }

// graph draws metrics of several resources that are named by one dimension.
func (d dashboard) graph(title, namespace string, metrics []string, stat, dimension string, resources []string, value func(string) any) awscloudwatch.GraphWidget {
	var lines []awscloudwatch.IMetric
	for _, r := range resources {
		for _, m := range metrics {
			label := r
			if len(metrics) > 1 {
				label = m
			}
			lines = append(lines, awscloudwatch.NewMetric(&awscloudwatch.MetricProps{
				Namespace: jsii.String(namespace), MetricName: jsii.String(m), Statistic: jsii.String(stat), Label: jsii.String(label),
				Period: awscdk.Duration_Minutes(jsii.Number(1)), DimensionsMap: &map[string]*string{dimension: dimensionValue(value(r))},
			}))
		}
	}
	return awscloudwatch.NewGraphWidget(&awscloudwatch.GraphWidgetProps{Title: jsii.String(title), Left: &lines, Width: jsii.Number(8), Height: jsii.Number(6)})
}
