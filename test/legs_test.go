package test

import (
	"testing"

	"github.com/riskprofiler/riskprofiler/lab"
)

// TestLegs: where the services live makes no difference to what an assessment says.
func TestLegs(t *testing.T) {
	l := StartLab(t, "127.60.2.0/24", lab.Options{})
	targets := LegTargets("127.60.2.0/24")
	var want, got []string
	ran := t.Run("in process", func(t *testing.T) {
		want = Normalised(InProcess(t, Options{Resolver: l.Resolver()}).Assess(t, targets, l.Ports()).Report)
	})
	ran = ran && t.Run("processes", func(t *testing.T) {
		got = Normalised(Processes(t, Options{Resolver: l.Resolver()}).Assess(t, targets, l.Ports()).Report)
	})
	if !ran {
		return
	}
	if len(want) < 100 {
		t.Errorf("the report has only %d facts: %v", len(want), want)
	}
	if d := Difference(want, got); d != "" {
		t.Errorf("the reports differ (- only in process, + only in processes):\n%s", d)
	}
}
