//go:build awstest

package cloud

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/test"
)

// saw stores what a complete scan of ports would have seen at an address: no address on moto may be asked.
func (w *world) saw(address string, open ...uint32) {
	w.t.Helper()
	now := timestamppb.Now()
	target := &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address}
	result := &modelv1.ScanCompleted{
		Job:     &modelv1.ScanJob{Id: fmt.Sprint("ports", time.Now().UnixNano()), Tenant: test.Tenant, ScanType: modelv1.ScanType_SCAN_TYPE_PORT, Target: target},
		Outcome: modelv1.Outcome_OUTCOME_COMPLETE, StartedAt: now, CompletedAt: now,
		Observations: []*modelv1.Observation{{
			Key: "ports/tcp", AssetValue: address, AssetKind: target.GetKind(), LastSeen: now,
			Fact: &modelv1.Observation_Ports{Ports: &modelv1.PortsFact{Address: address, Transport: modelv1.Transport_TRANSPORT_TCP, Open: open, Ports: "1-65535"}},
		}},
	}
	ctx := authn.NewContext(w.t.Context(), authn.ForService("scanner", test.Tenant))
	if _, err := ingestv1.NewIngestServiceClient(w.platform.Host.Conn("scanner", "ingest")).SubmitResult(ctx, &ingestv1.SubmitResultRequest{Result: result}); err != nil {
		w.t.Fatal(err)
	}
}

// TestTruthOfJoins: what the rules of a machine admit, put beside what answered at its address, is one finding with the evidence of both; and
// it ends when nothing answers any more.
func TestTruthOfJoins(t *testing.T) {
	w := newWorld(t, "950000000002")
	web, quiet := w.network()
	w.holds("account", "cloud-account-access-block", "aws:"+w.account, "")
	w.start()
	w.compare("before anything answered", w.all(), w.assess(modelv1.Outcome_OUTCOME_COMPLETE).GetFindings())

	w.saw(web.address, 22, 443, 3389, 5432, 8080)
	w.saw(quiet.address)
	want := w.all("web")
	for _, check := range answering {
		want = append(want, line(check, web.address, web.arn))
	}
	slices.Sort(want)
	findings := w.findings()
	w.compare("what answers", want, findings)
	for _, f := range findings {
		if !slices.Contains(answering, f.GetCheck()) {
			continue
		}
		for _, scan := range []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_CLOUD, modelv1.ScanType_SCAN_TYPE_PORT} {
			if !slices.ContainsFunc(f.GetEvidence(), func(e *correlatorv1.FindingEvidence) bool { return e.GetScanType() == scan }) {
				t.Errorf("%s has no evidence of %s: %v", f.GetCheck(), scan, f.GetEvidence())
			}
		}
		if !strings.Contains(f.GetSummary(), web.address) || !strings.Contains(f.GetSummary(), "answer") {
			t.Errorf("%s: %s", f.GetCheck(), f.GetSummary())
		}
	}

	w.saw(web.address, 443)
	w.compare("nothing answers any more", w.all(), w.findings())
}
