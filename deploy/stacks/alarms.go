package stacks

import (
	"fmt"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

// The topics that alarms go to.
const (
	// warn is for the working day, page is for now.
	warn = "warnings"
	page = "pages"
)

// alarms makes the alarms of one stack. docs/operations.md says of each what it means and what to do.
type alarms struct {
	stack awscdk.Stack
	names names
}

// metric is one metric with all its dimensions, in the order name, value.
type metric struct {
	namespace, name, stat string
	dimensions            []any
}

// alarm holds when sum over its metrics reaches threshold in every one of periods.
type alarm struct {
	id, topic, text string
	metrics         []metric
	threshold       float64
	// seconds is the length of a period.
	seconds, periods int
	// below turns the comparison around; nothing measured counts as zero then.
	below bool
}

func (a alarms) add(x alarm) {
	comparison, missing := "GreaterThanOrEqualToThreshold", "notBreaching"
	if x.below {
		comparison, missing = "LessThanThreshold", "breaching"
	}
	props := &awscloudwatch.CfnAlarmProps{
		AlarmName: jsii.String(a.names.of(x.id)), AlarmDescription: jsii.String(x.text + " See docs/operations.md."),
		AlarmActions: &[]any{a.names.topicArn(x.topic)}, OkActions: &[]any{a.names.topicArn(x.topic)},
		ComparisonOperator: jsii.String(comparison), Threshold: jsii.Number(x.threshold), TreatMissingData: jsii.String(missing),
		EvaluationPeriods: jsii.Number(float64(x.periods)), DatapointsToAlarm: jsii.Number(float64(x.periods)),
	}
	if len(x.metrics) == 1 {
		m := x.metrics[0]
		props.Namespace, props.MetricName, props.Period, props.Dimensions = jsii.String(m.namespace), jsii.String(m.name), jsii.Number(float64(x.seconds)), m.cfn()
		if m.stat == "p99" {
			props.ExtendedStatistic = jsii.String(m.stat)
		} else {
			props.Statistic = jsii.String(m.stat)
		}
	} else {
		props.Metrics = x.math()
	}
	awscloudwatch.NewCfnAlarm(a.stack, jsii.String("Alarm-"+x.id), props)
}

func (m metric) cfn() *[]*awscloudwatch.CfnAlarm_DimensionProperty {
	out := []*awscloudwatch.CfnAlarm_DimensionProperty{}
	for i := 0; i+1 < len(m.dimensions); i += 2 {
		out = append(out, &awscloudwatch.CfnAlarm_DimensionProperty{Name: dimensionValue(m.dimensions[i]), Value: dimensionValue(m.dimensions[i+1])})
	}
	return &out
}

func dimensionValue(v any) *string {
	if s, ok := v.(string); ok {
		return jsii.String(s)
	}
	s, ok := v.(*string)
	if !ok {
		panic(fmt.Sprintf("dimension %v is no text", v))
	}
	return s
}

// math is the sum of the metrics, which is at most ten: more an alarm does not take.
func (x alarm) math() *[]any {
	out := []any{&awscloudwatch.CfnAlarm_MetricDataQueryProperty{
		Id: jsii.String("total"), Expression: jsii.String("SUM(METRICS())"), Label: jsii.String(x.id), ReturnData: jsii.Bool(true),
	}}
	for i, m := range x.metrics {
		out = append(out, &awscloudwatch.CfnAlarm_MetricDataQueryProperty{
			Id: jsii.String(fmt.Sprintf("m%d", i)), ReturnData: jsii.Bool(false), MetricStat: &awscloudwatch.CfnAlarm_MetricStatProperty{
				Metric: &awscloudwatch.CfnAlarm_MetricProperty{Namespace: jsii.String(m.namespace), MetricName: jsii.String(m.name), Dimensions: m.cfn()},
				Period: jsii.Number(float64(x.seconds)), Stat: jsii.String(m.stat),
			},
		})
	}
	return &out
}

func (a alarms) queue(service string, q plan.Queue) {
	of := func(name, metricName, stat string) []metric {
		return []metric{{"AWS/SQS", metricName, stat, []any{"QueueName", name}}}
	}
	age := of(a.names.queue(q.Name), "ApproximateAgeOfOldestMessage", "Maximum")
	a.add(alarm{id: q.Name + "-age", topic: warn, metrics: age, threshold: 300, seconds: 60, periods: 5,
		text: "The oldest message of queue " + q.Name + " waits for more than 5 minutes."})
	a.add(alarm{id: q.Name + "-age-page", topic: page, metrics: age, threshold: 1800, seconds: 60, periods: 5,
		text: "The oldest message of queue " + q.Name + " waits for more than 30 minutes."})
	a.add(alarm{id: q.Name + "-dead", topic: page, metrics: of(a.names.deadLetterQueue(q.Name), "ApproximateNumberOfMessagesVisible", "Maximum"), threshold: 1, seconds: 60, periods: 1,
		text: "A message of queue " + q.Name + " went to the dead-letter queue: even parking it failed."})
	parked := []metric{{"RiskProfiler", "messaging.process.duration", "SampleCount", []any{"outcome", "park", "queue", q.Name, "service", service}}}
	a.add(alarm{id: q.Name + "-parked", topic: warn, metrics: parked, threshold: 1, seconds: 300, periods: 1,
		text: "A message of queue " + q.Name + " was parked after five failed attempts."})
	a.add(alarm{id: q.Name + "-busy", topic: warn, metrics: of(a.names.queue(q.Name), "ApproximateNumberOfGroupsWithInflightMessages", "Minimum"), threshold: float64(q.Concurrency * q.Batch), seconds: 60, periods: 10,
		text: fmt.Sprintf("Queue %s is at its limit of %d invocations for 10 minutes.", q.Name, q.Concurrency)})
}

func (a alarms) function(f plan.Function) {
	of := func(name, stat string) []metric {
		return []metric{{"AWS/Lambda", name, stat, []any{"FunctionName", a.names.of(f.Name)}}}
	}
	a.add(alarm{id: f.Name + "-errors", topic: warn, metrics: of("Errors", "Sum"), threshold: 1, seconds: 300, periods: 1,
		text: "Function " + f.Name + " ended with an error, a crash or a timeout."})
	a.add(alarm{id: f.Name + "-throttles", topic: warn, metrics: of("Throttles", "Sum"), threshold: 1, seconds: 300, periods: 1,
		text: "Invocations of function " + f.Name + " were refused for want of concurrency."})
	a.add(alarm{id: f.Name + "-slow", topic: warn, metrics: of("Duration", "Maximum"), threshold: float64(f.Spec.Timeout.Milliseconds()) * 0.8, seconds: 300, periods: 1,
		text: "An invocation of function " + f.Name + " took more than 80 % of its timeout."})
	group := func(name string) metric {
		return metric{"AWS/Logs", name, "Sum", []any{"LogGroupName", a.names.logGroup(f.Name)}}
	}
	a.add(alarm{id: f.Name + "-metrics", topic: warn, metrics: []metric{group("EMFParsingErrors"), group("EMFValidationErrors")}, threshold: 1, seconds: 300, periods: 1,
		text: "Metrics that function " + f.Name + " wrote to its log could not be read."})
	for _, s := range f.Spec.Schedules {
		schedule := func(name string) []metric {
			return []metric{{"AWS/Scheduler", name, "Sum", []any{"ScheduleGroup", a.names.of(f.Name)}}}
		}
		every := int(max(s.Every, time.Minute).Round(time.Minute).Seconds()) // no schedule ticks more often than each minute
		a.add(alarm{id: s.Name + "-late", topic: page, metrics: schedule("InvocationAttemptCount"), threshold: 1, seconds: every, periods: 3, below: true,
			text: "Schedule " + s.Name + " missed three ticks: what it begins does not begin."})
		a.add(alarm{id: s.Name + "-failed", topic: page, metrics: schedule("TargetErrorCount"), threshold: 1, seconds: every, periods: 3,
			text: "Schedule " + s.Name + " could not invoke its function three times."})
	}
}

// operations of a table that count system errors, as dynamotable makes them.
var operations = []string{"GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"}

func (a alarms) table(t plan.Table) {
	name := a.names.of(t.Name)
	var throttled, failed []metric
	for _, kind := range []string{"ReadThrottleEvents", "WriteThrottleEvents"} {
		throttled = append(throttled, metric{"AWS/DynamoDB", kind, "Sum", []any{"TableName", name}})
		for _, index := range t.Indexes {
			throttled = append(throttled, metric{"AWS/DynamoDB", kind, "Sum", []any{"TableName", name, "GlobalSecondaryIndexName", dynamotable.IndexName(index)}})
		}
	}
	for _, op := range operations {
		failed = append(failed, metric{"AWS/DynamoDB", "SystemErrors", "Sum", []any{"TableName", name, "Operation", op}})
	}
	a.add(alarm{id: t.Name + "-table-throttled", topic: warn, metrics: throttled, threshold: 1, seconds: 60, periods: 5,
		text: "Table " + t.Name + " or one of its indexes refused requests for 5 minutes."})
	a.add(alarm{id: t.Name + "-table-failed", topic: warn, metrics: failed, threshold: 1, seconds: 300, periods: 1,
		text: "DynamoDB failed on table " + t.Name + "."})
}

func (a alarms) machine(m plan.Machine) {
	of := func(name string) []metric {
		return []metric{{"AWS/States", name, "Sum", []any{"StateMachineArn", a.names.machineArn(m.Name)}}}
	}
	for _, x := range []struct{ id, metric, text string }{
		{"-failed", "ExecutionsFailed", "An execution of %s failed."},
		{"-timed-out", "ExecutionsTimedOut", "An execution of %s took longer than a day and was ended."},
		{"-throttled", "ExecutionThrottled", "State transitions of %s were delayed by the account's limit."},
	} {
		a.add(alarm{id: m.Name + x.id, topic: warn, metrics: of(x.metric), threshold: 1, seconds: 300, periods: 1, text: fmt.Sprintf(x.text, m.Name)})
	}
}

func (a alarms) api(name string, id *string) {
	of := func(metricName, stat string) []metric {
		return []metric{{"AWS/ApiGateway", metricName, stat, []any{"ApiId", id}}}
	}
	a.add(alarm{id: name + "-5xx", topic: page, metrics: of("5xx", "Sum"), threshold: 5, seconds: 300, periods: 1,
		text: "Five or more requests of " + name + " within 5 minutes were answered with an error of ours."})
	a.add(alarm{id: name + "-slow", topic: warn, metrics: of("Latency", "p99"), threshold: 3000, seconds: 300, periods: 3,
		text: "One request of " + name + " in a hundred takes 3 seconds or more, for 15 minutes."})
}
