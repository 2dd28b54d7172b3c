package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/rpcconv"
)

// Outcome is what became of a message.
type Outcome string

// The outcomes.
const (
	// Handled: the handler returned nil.
	Handled Outcome = "handled"
	// Failed: the handler failed, and the message comes again.
	Failed Outcome = "failed"
	// Parked: the message failed for good and waits for a person.
	Parked Outcome = "parked"
)

// Metrics are the instruments that several packages share. No attribute may have more values than
// a person could list: never a tenant, a host, a target or an id.
type Metrics struct {
	enabled  bool
	server   metric.Float64Histogram
	client   metric.Float64Histogram
	messages metric.Int64Counter
	scanJobs metric.Int64Counter
	findings metric.Int64Counter
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
	if out.messages, err = m.Int64Counter("riskprofiler.queue.messages",
		metric.WithUnit("{message}"), metric.WithDescription("Deliveries of messages by queue and outcome.")); err != nil {
		return nil, err
	}
	if out.scanJobs, err = m.Int64Counter("riskprofiler.scan_jobs",
		metric.WithUnit("{job}"), metric.WithDescription("Finished scan jobs by scan type and coverage outcome.")); err != nil {
		return nil, err
	}
	if out.findings, err = m.Int64Counter("riskprofiler.findings",
		metric.WithUnit("{finding}"), metric.WithDescription("Changes of findings by severity and change.")); err != nil {
		return nil, err
	}
	return out, nil
}

// Message counts one delivery of a message.
func (m *Metrics) Message(ctx context.Context, queue string, outcome Outcome) {
	if !m.enabled {
		return
	}
	m.messages.Add(ctx, 1, metric.WithAttributes(attribute.String("queue", queue), attribute.String("outcome", string(outcome))))
}

// ScanJob counts one finished scan job, by its scan type and the outcome of its coverage.
func (m *Metrics) ScanJob(ctx context.Context, scanType, outcome string) {
	if !m.enabled {
		return
	}
	m.scanJobs.Add(ctx, 1, metric.WithAttributes(attribute.String("scan_type", scanType), attribute.String("outcome", outcome)))
}

// Findings counts n findings that changed in the same way ("opened", "closed", "reopened").
func (m *Metrics) Findings(ctx context.Context, n int, severity, change string) {
	if !m.enabled {
		return
	}
	m.findings.Add(ctx, int64(n), metric.WithAttributes(attribute.String("severity", severity), attribute.String("change", change)))
}
