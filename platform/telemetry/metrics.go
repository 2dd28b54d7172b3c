package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
)

// Metrics are the instruments that several packages share. These are all metrics of the platform, with
// their attributes and, in brackets, the dimensions they have in CloudWatch beside service:
//
//	rpc.server.call.duration        s        rpc.method, rpc.response.status_code [method, outcome]
//	rpc.client.call.duration        s        the same
//	messaging.client.sent.messages  count    messaging.destination.name [queue]
//	messaging.process.duration      s        messaging.destination.name, riskprofiler.queue.outcome [queue, outcome]
//	riskprofiler.queue.age          s        messaging.destination.name [queue]: how long a message lay before its first attempt
//	riskprofiler.scan_jobs          count    scan_type, outcome
//	riskprofiler.provider.requests  count    provider, outcome: what third parties answered
//	riskprofiler.workflow.starts    count    workflow, outcome
//	riskprofiler.schedule.lag       s        schedule: how much later than planned a schedule ran
//
// The outcomes of messaging.process.duration are ack (handled), retry (failed, comes again), return
// (handed back, uncounted) and park (given up).
//
// No attribute may have more values than a person could list: never a tenant, a host, an asset or an
// id. That is enforced: what is not in the list above is taken off before anything is counted
// ([Dimensions]), and an instrument keeps at most 500 combinations.
//
// A nil *Metrics counts nothing.
type Metrics struct {
	enabled   bool
	server    metric.Float64Histogram
	client    metric.Float64Histogram
	scanJobs  metric.Int64Counter
	providers metric.Int64Counter
	workflows metric.Int64Counter
	lag       metric.Float64Histogram
}

// maxCombinations bounds what one instrument keeps, whatever is recorded. What is beyond is counted
// together, as otel.metric.overflow.
const maxCombinations = 500

// dimensionOf is the dimension that an attribute becomes in CloudWatch, "" for none. Each value of one is
// a metric that is paid for.
func dimensionOf(key attribute.Key) string {
	switch key {
	case "rpc.method":
		return "method"
	case "messaging.destination.name":
		return "queue"
	case "rpc.response.status_code", "riskprofiler.queue.outcome", "outcome":
		return "outcome"
	case "scan_type", "provider", "workflow", "schedule":
		return string(key)
	default:
		return ""
	}
}

// allowed reports whether an attribute may be counted by: the dimensions, and what has one value in a
// process anyway.
func allowed(kv attribute.KeyValue) bool {
	switch kv.Key {
	case "rpc.system.name", "messaging.system", "messaging.operation.name", "otel.metric.overflow":
		return true
	default:
		return dimensionOf(kv.Key) != ""
	}
}

// Dimensions takes all attributes off measurements that are not in the list of [Metrics], whichever
// package made the instrument.
func Dimensions() sdkmetric.View {
	return sdkmetric.NewView(sdkmetric.Instrument{Name: "*"}, sdkmetric.Stream{AttributeFilter: allowed})
}

func newMetrics(m metric.Meter, enabled bool) (*Metrics, error) {
	out := &Metrics{enabled: enabled}
	server, err := rpcconv.NewServerCallDuration(m)
	if err != nil {
		return nil, err
	}
	client, err := rpcconv.NewClientCallDuration(m)
	if err != nil {
		return nil, err
	}
	out.server, out.client = server.Inst(), client.Inst()
	for _, c := range []struct {
		into               *metric.Int64Counter
		name, unit, counts string
	}{
		{&out.scanJobs, "riskprofiler.scan_jobs", "{job}", "Finished scan jobs by scan type and coverage outcome."},
		{&out.providers, "riskprofiler.provider.requests", "{request}", "Requests to third parties by provider and outcome."},
		{&out.workflows, "riskprofiler.workflow.starts", "{execution}", "Starts of workflows by workflow and outcome."},
	} {
		if *c.into, err = m.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.counts)); err != nil {
			return nil, err
		}
	}
	out.lag, err = m.Float64Histogram("riskprofiler.schedule.lag", metric.WithUnit("s"),
		metric.WithDescription("How much later than planned a schedule ran."),
		metric.WithExplicitBucketBoundaries(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800))
	return out, err
}

// ScanJob counts one finished scan job, by its scan type and the outcome of its coverage.
func (m *Metrics) ScanJob(ctx context.Context, scanType, outcome string) {
	if m.on() {
		count(ctx, m.scanJobs, "scan_type", scanType, outcome)
	}
}

// Provider counts one request to a third party, by its name ("shodan") and what became of it: "ok", or
// the code of the fault.
func (m *Metrics) Provider(ctx context.Context, provider, outcome string) {
	if m.on() {
		count(ctx, m.providers, "provider", provider, outcome)
	}
}

// WorkflowStart counts one start of a workflow. The outcome is "ok" or the code of the fault.
func (m *Metrics) WorkflowStart(ctx context.Context, workflow, outcome string) {
	if m.on() {
		count(ctx, m.workflows, "workflow", workflow, outcome)
	}
}

// ScheduleLag records how much later than planned a schedule ran.
func (m *Metrics) ScheduleLag(ctx context.Context, schedule string, lag time.Duration) {
	if m.on() {
		m.lag.Record(ctx, max(lag, 0).Seconds(), metric.WithAttributes(attribute.String("schedule", schedule)))
	}
}

// on reports whether anything is counted.
func (m *Metrics) on() bool { return m != nil && m.enabled }

func count(ctx context.Context, counter metric.Int64Counter, key, value, outcome string) {
	counter.Add(ctx, 1, metric.WithAttributes(attribute.String(key, value), attribute.String("outcome", outcome)))
}
