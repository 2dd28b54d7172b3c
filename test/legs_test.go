package test

import (
	"cmp"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	"github.com/riskprofiler/riskprofiler/lab"
)

// TestLegs: where the services live makes no difference to what an assessment says.
func TestLegs(t *testing.T) {
	l := StartLab(t, "127.60.2.0/24", lab.Options{})
	// DNS, web, TLS, mail found through DNS, and plain services: each scan type and each way to be found, and no more.
	targets := []string{"acme.test", "www.acme.test", "legacy.acme.test", "login.acme.test", "127.60.2.60", "127.60.2.62"}
	var want, got []string
	ran := t.Run("in process", func(t *testing.T) {
		want = normalised(InProcess(t, Options{Resolver: l.Resolver()}).Assess(t, targets, l.Ports()).Report)
	})
	ran = ran && t.Run("processes", func(t *testing.T) {
		got = normalised(Processes(t, Options{Resolver: l.Resolver()}).Assess(t, targets, l.Ports()).Report)
	})
	if !ran {
		return
	}
	if len(want) < 100 {
		t.Errorf("the report has only %d facts: %v", len(want), want)
	}
	if d := difference(want, got); d != "" {
		t.Errorf("the reports differ (- only in process, + only in processes):\n%s", d)
	}
}

// normalised are the facts of a report without what differs from run to run: each as one line of JSON, sorted.
func normalised(doc *reporterv1.ReportDocument) []string {
	doc = proto.CloneOf(doc)
	var out []string
	add := func(kind string, m proto.Message) {
		forget(m.ProtoReflect())
		out = append(out, kind+" "+canonical(m))
	}
	for _, m := range doc.GetCoverage() {
		add("coverage", m)
	}
	for _, m := range doc.GetAssets() {
		add("asset", m)
	}
	for _, m := range doc.GetObservations() {
		add("observation", m)
	}
	for _, m := range doc.GetFindings() {
		slices.SortFunc(m.Evidence, func(a, b *correlatorv1.FindingEvidence) int { return cmp.Compare(canonical(a), canonical(b)) })
		add("finding", m)
	}
	for _, m := range doc.GetRisks() {
		add("risk", m)
	}
	slices.Sort(out)
	return out
}

// canonical is a message as JSON without the white space that protojson varies on purpose.
func canonical(m proto.Message) string {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return compact(raw)
}
