package scanner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Version tells results of unequal scanners apart.
const Version = "scanner/1"

// maxReason bounds the line that says why a scan is not complete.
const maxReason = 512

// Queue is the name of the queue of a scan type.
func Queue(t modelv1.ScanType) string {
	return "scan-" + strings.ToLower(strings.TrimPrefix(t.String(), "SCAN_TYPE_"))
}

// handle does one scan job. Doing it again scans again and sends a result that ingest recognises.
func (s *Service) handle(ctx context.Context, m queue.Message) error {
	task, err := readTask(m)
	if err != nil {
		return queue.Permanent(err)
	}
	ctx = telemetry.WithAssessment(s.self(ctx, task.GetJob().GetTenant()), task.GetJob().GetAssessment())
	result, err := s.scan(ctx, task.GetJob())
	if err != nil {
		return err
	}
	return s.send(ctx, task, result)
}

func readTask(m queue.Message) (*modelv1.ScanTask, error) {
	task := &modelv1.ScanTask{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(m.Body, task); err != nil {
		return nil, fault.New(fault.Invalid, "read scan job: the message is no scan task")
	}
	if task.GetJob().GetTenant() == "" || task.GetJob().GetTarget() == nil {
		return nil, fault.New(fault.Invalid, "read scan job: it names no tenant or no target")
	}
	return task, nil
}

// parked sends a result that says that the job failed, so that the workflow goes on and the coverage is honest.
func (s *Service) parked(ctx context.Context, m queue.Message, cause error) error {
	task, err := readTask(m)
	if err != nil {
		s.log.WarnContext(ctx, "gave up a message that is no scan job", slog.Any("error", err))
		return nil // nobody waits for what cannot be read
	}
	now := timestamppb.Now()
	return s.send(ctx, task, &modelv1.ScanCompleted{
		Job: task.GetJob(), Outcome: modelv1.Outcome_OUTCOME_FAILED, Reason: clip("given up after repeated failures: "+cause.Error(), maxReason),
		StartedAt: now, CompletedAt: now, ScannerVersion: Version,
	})
}

// send puts a result on the results queue: one group for each asset, so that what is known about it changes in order.
func (s *Service) send(ctx context.Context, task *modelv1.ScanTask, r *modelv1.ScanCompleted) error {
	r.TaskToken = task.GetTaskToken()
	body, err := proto.Marshal(r)
	if err != nil {
		return fault.Wrap(fault.Internal, err, "encode result")
	}
	t := r.GetJob().GetTarget()
	asset := assetid.Name(int32(t.GetKind()), t.GetValue())
	token := sha256.Sum256([]byte(task.GetTaskToken()))
	err = s.results.Send(ctx, queue.Message{
		Group: r.GetJob().GetTenant() + "#" + strings.TrimPrefix(asset, "assets/"),
		// A step that is tried again has a new token, and its result must not be dropped as a repeat of the first.
		DedupID: r.GetJob().GetId() + "-" + hex.EncodeToString(token[:8]), Body: body,
	})
	if err == nil {
		s.metrics.ScanJob(ctx, strings.TrimPrefix(Queue(r.GetJob().GetScanType()), "scan-"), strings.ToLower(strings.TrimPrefix(r.GetOutcome().String(), "OUTCOME_")))
	}
	return err
}

// scan checks scope, runs the probe and returns what it learned. The error says that it could not start and may be tried
// again; everything else is in the result.
func (s *Service) scan(ctx context.Context, job *modelv1.ScanJob) (*modelv1.ScanCompleted, error) {
	r := &modelv1.ScanCompleted{Job: job, StartedAt: timestamppb.Now(), ScannerVersion: Version}
	probe := s.probes[job.GetScanType()]
	if probe == nil {
		return nil, queue.Permanent(fault.New(fault.Unimplemented, "this scanner has no probe for %s", job.GetScanType()))
	}
	permitted, err := s.inScope(ctx, job)
	if err != nil {
		return nil, err
	}
	if !permitted.allowed {
		r.Outcome, r.Reason, r.CompletedAt = modelv1.Outcome_OUTCOME_NOT_PERMITTED, clip(permitted.reason, maxReason), timestamppb.Now()
		return r, nil
	}
	ctx, done := s.watch.follow(ctx, job)
	defer done()
	ctx, span := telemetry.Start(ctx, "scan "+strings.TrimPrefix(Queue(job.GetScanType()), "scan-"), attribute.String("riskprofiler.job", job.GetId()))
	defer span.End()
	found, err := s.run(ctx, s.guardOf(job, permitted.guard), probe, job)
	if found, err = stopped(ctx, found, err); err != nil {
		return nil, err
	}
	r.Outcome, r.Reason = found.Outcome, clip(probes.SafeText([]byte(found.Reason), maxReason), maxReason)
	r.Observations, r.Leads, r.CompletedAt = found.Observations, found.Leads, timestamppb.Now()
	r.Reached, r.Unread = found.Reached, found.Unread
	traceID := trace.SpanContextFromContext(ctx).TraceID().String()
	for _, o := range r.GetObservations() {
		o.Source, o.TraceId = probe.Version(), traceID
	}
	span.SetAttributes(attribute.String("riskprofiler.outcome", r.GetOutcome().String()), attribute.Int("riskprofiler.observations", len(r.GetObservations())))
	return r, nil
}

// stopped is what a scan learned, unless its target may no longer be touched: then it says so, and keeps the facts that it has.
func stopped(ctx context.Context, found *probes.Result, err error) (*probes.Result, error) {
	var stop *stoppedError
	cause := context.Cause(ctx)
	switch {
	case errors.As(cause, &stop):
		out := &probes.Result{Outcome: modelv1.Outcome_OUTCOME_NOT_PERMITTED, Reason: stop.reason}
		if found != nil {
			out.Observations, out.Reached = found.Observations, found.Reached
		}
		return out, nil
	case errors.Is(cause, fault.Unavailable):
		return nil, cause
	}
	return found, err
}

// run runs a probe within its budget. A panic is a failed scan and never takes the process down: targets choose what
// probes read.
func (s *Service) run(ctx context.Context, guard *netguard.Guard, p probes.Probe, job *modelv1.ScanJob) (result *probes.Result, err error) {
	allowed := s.permits(job)
	ctx, cancel := probes.WithPatience(ctx, probes.Budget(job, probes.DefaultBudget)+time.Second, &allowed.waits)
	defer cancel()
	leave := s.tenants.enter(job.GetTenant())
	defer leave()
	err = together.Safely(func() (err error) {
		result, err = p.Scan(ctx, s.env(guard, job, allowed), job)
		return err
	})()
	var mistake *together.Panic
	if errors.As(err, &mistake) {
		s.log.ErrorContext(ctx, "probe panicked", slog.String("probe", p.Version()), slog.String("job", job.GetId()), slog.String("panic", mistake.Text()), slog.String("stack", string(mistake.Stack)))
		return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_FAILED, Reason: "the probe broke on what the target sent"}, nil
	}
	if err == nil && result == nil {
		return nil, fault.New(fault.Internal, "probe %s returned nothing", p.Version())
	}
	return result, err
}

// env is what a job's probe works with.
func (s *Service) env(guard *netguard.Guard, job *modelv1.ScanJob, allowed *permits) probes.Env {
	return probes.Env{
		Guard: guard, Blobs: &sink{bucket: s.evidence, tenant: job.GetTenant()}, Contact: s.contact, Providers: s.desk(job), Credential: s.credential(job.GetTenant()),
		Permit: allowed.take, Batch: allowed.batch, Rate: allowed.rate, Pause: allowed.pause, Nuclei: s.nuclei, Chromium: s.chromium, Cloud: s.clouds,
		Holders: s.holders(job), ResolverRate: s.resolverRate,
	}
}

// sink stores evidence of one tenant.
type sink struct {
	bucket blob.Bucket
	tenant string
}

// Put stores data under its content hash.
func (k *sink) Put(ctx context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	key := blob.ContentKey(k.tenant, kind, data)
	if err := k.bucket.Put(ctx, key, data); err != nil {
		return nil, fmt.Errorf("store evidence: %w", err)
	}
	return &modelv1.Evidence{Blob: key}, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}
