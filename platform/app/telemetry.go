package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// The values of RISKPROFILER_METRICS.
const (
	metricsAuto = "auto"
	metricsEMF  = "emf"
	metricsOff  = "off"
)

func (h *Host) openTelemetry(ctx context.Context) error {
	if h.telemetry != nil {
		return nil
	}
	name := "riskprofiler"
	if len(h.specs) == 1 {
		name = h.specs[0].Name
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(h.config.LogLevel)); err != nil {
		return fault.New(fault.Invalid, "read settings: RISKPROFILER_LOG_LEVEL is %q; use debug, info, warn or error", h.config.LogLevel)
	}
	o := telemetry.Options{Service: name, Level: level, OTLPEndpoint: h.config.OTLP, Resource: telemetry.FunctionResource(h.settings)}
	if signs, ok := h.backends.(XRaySigner); ok {
		o.XRay = signs.XRay
	}
	embedded, err := h.config.embeddedMetrics()
	if err != nil {
		return err
	}
	if embedded {
		o.EMF = os.Stdout
	}
	t, err := telemetry.Setup(ctx, o)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "read settings: RISKPROFILER_OTLP_ENDPOINT")
	}
	h.telemetry = t
	h.closers = append(h.closers, func() error { return t.Shutdown(context.WithoutCancel(ctx)) })
	return nil
}

// embeddedMetrics reports whether metrics go to standard output in CloudWatch's format. By default they do
// where that is read: in a function, and where spans go to X-Ray, which takes no metrics.
func (s Settings) embeddedMetrics() (bool, error) {
	switch s.Metrics {
	case metricsAuto:
		return s.RuntimeAPI != "" || strings.HasPrefix(s.OTLP, "xray:"), nil
	case metricsEMF:
		return true, nil
	case metricsOff:
		return false, nil
	default:
		return false, fault.New(fault.Invalid, "read settings: RISKPROFILER_METRICS is %q; use auto, emf or off", s.Metrics)
	}
}

// telemetryOf is the telemetry in a service's name. There is one for each while the host is built.
func (h *Host) telemetryOf(service string) *telemetry.Telemetry {
	if h.named[service] == nil {
		h.named[service] = h.telemetry.For(service)
	}
	return h.named[service]
}

// owners are the telemetries of the services here by the gRPC services they serve.
func (h *Host) owners() map[string]*telemetry.Telemetry {
	out := map[string]*telemetry.Telemetry{}
	for _, s := range h.specs {
		for _, name := range s.Serves {
			out[name] = h.telemetryOf(s.Name)
		}
	}
	return out
}

// measured counts the starts of workflows.
type measured struct {
	workflow.Engine

	metrics *telemetry.Metrics
}

// Start starts an execution and counts that.
func (m measured) Start(ctx context.Context, machine, name string, input json.RawMessage) error {
	err := m.Engine.Start(ctx, machine, name, input)
	outcome := "ok"
	if err != nil {
		outcome = fault.CodeOf(err).String()
	}
	m.metrics.WorkflowStart(ctx, machine, outcome)
	return err
}

// scheduledAt is when an event's schedule was due, if the event says so.
func scheduledAt(event map[string]json.RawMessage) time.Time {
	var text string
	if json.Unmarshal(event["time"], &text) != nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// late records how much later than planned a schedule runs. A zero time is not known.
func (h *Host) late(ctx context.Context, schedule string, due time.Time) {
	if !due.IsZero() {
		h.telemetry.Metrics.ScheduleLag(ctx, schedule, time.Since(due))
	}
}
