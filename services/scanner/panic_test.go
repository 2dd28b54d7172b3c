package scanner

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// fragile is a probe that breaks on what the target sent.
type fragile struct {
	knocker
	scan func()
}

func stumble() { panic("words of a target") }

func (f *fragile) Scan(context.Context, probes.Env, *modelv1.ScanJob) (*probes.Result, error) {
	f.scan()
	return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE}, nil
}

// A panic is a failed scan, in whichever goroutine of the probe it happens, and the log tells where; the words of the target, which
// the panic may hold, are in neither.
func TestPanicIsAFailedScan(t *testing.T) {
	for name, scan := range map[string]func(){
		"in the scan's goroutine": stumble,
		"in another": func() {
			var g together.Group
			g.Go(stumble)
			g.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := watchedScanner(t, &gate{}, &fragile{scan: scan})
			var log bytes.Buffer
			s.log = slog.New(slog.NewJSONHandler(&log, nil))
			r, err := s.scan(t.Context(), watchedJob("192.0.2.1", time.Minute))
			if err != nil || r.GetOutcome() != modelv1.Outcome_OUTCOME_FAILED || r.GetReason() != "the probe broke on what the target sent" || len(r.GetObservations()) != 0 {
				t.Errorf("got %v, %v", r, err)
			}
			if !strings.Contains(log.String(), "scanner.stumble") || strings.Contains(log.String(), "words of a target") {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}
