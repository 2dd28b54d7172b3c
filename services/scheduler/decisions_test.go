package scheduler

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

func TestDefinitionIsInTheSubset(t *testing.T) {
	resources := map[string]string{"scheduler": "s", "correlator": "c", "reporter": "r", "QueuePrefix": "", "QueueSuffix": ""}
	raw, err := workflow.Substitute(definition, resources)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := workflow.Parse(raw); err != nil {
		t.Fatal(err)
	}
}

func TestNextRun(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	cases := []struct{ cron, zone, after, want string }{
		{"0 3 * * *", "", "2026-11-01T02:59:00Z", "2026-11-01T03:00:00Z"},
		{"0 3 * * *", "", "2026-11-01T03:00:00Z", "2026-11-02T03:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-07-01T00:30:00Z", "2026-07-01T01:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-12-01T00:30:00Z", "2026-12-01T02:00:00Z"},
		{"*/15 * * * 1", "UTC", "2026-11-01T12:00:00Z", "2026-11-02T00:00:00Z"},
	}
	for _, c := range cases {
		got, err := nextRun(&schedulerv1.Plan{Cron: c.cron, TimeZone: c.zone}, at(c.after))
		if err != nil || !got.Equal(at(c.want)) {
			t.Errorf("%s %s after %s: %v %v, want %s", c.cron, c.zone, c.after, got.UTC(), err, c.want)
		}
	}
	for _, p := range []*schedulerv1.Plan{{Cron: "every day"}, {Cron: "61 * * * *"}, {Cron: "0 3 * * *", TimeZone: "Mars/Olympus"}, {Cron: "0 3 * * *", TimeZone: "Local"}} {
		if _, err := nextRun(p, at("2026-11-01T00:00:00Z")); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q %q: %v, want invalid", p.GetCron(), p.GetTimeZone(), err)
		}
	}
}

func TestDueTypesByCadence(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	p := &schedulerv1.Plan{
		ScanTypes: []modelv1.ScanType{dnsType, tlsType},
		Cadence:   []*schedulerv1.Cadence{{ScanType: tlsType, Every: durationpb.New(24 * time.Hour), LastRunTime: timestamppb.New(now.Add(-time.Hour))}},
	}
	if types, ok := dueTypes(p, allTypes(), now); !ok || len(types) != 1 || types[0] != dnsType {
		t.Errorf("an hour later: %v %v, want dns alone", types, ok)
	}
	if types, ok := dueTypes(p, allTypes(), now.Add(24*time.Hour)); !ok || len(types) != 2 {
		t.Errorf("a day later: %v %v, want both", types, ok)
	}
	if got := p.GetCadence()[0].GetLastRunTime().AsTime(); !got.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("the run is not marked: %v", got)
	}
	p.ScanTypes = []modelv1.ScanType{tlsType}
	if types, ok := dueTypes(p, allTypes(), now.Add(25*time.Hour)); ok {
		t.Errorf("nothing is due, got %v", types)
	}
}

func TestFinish(t *testing.T) {
	now := time.Now()
	all, some := &schedulerv1.Progress{JobsDone: 5}, &schedulerv1.Progress{JobsDone: 5, JobsFailed: 1}
	running := func() *schedulerv1.Assessment {
		return &schedulerv1.Assessment{State: schedulerv1.Assessment_STATE_RUNNING}
	}
	a := running()
	finish(a, &schedulerv1.FinishAssessmentRequest{Scanned: true}, all, now)
	if a.GetState() != schedulerv1.Assessment_STATE_SUCCEEDED || a.GetClosed() {
		t.Errorf("scanned: %v closed %v", a.GetState(), a.GetClosed())
	}
	finish(a, &schedulerv1.FinishAssessmentRequest{Report: "reports/x"}, all, now)
	if !a.GetClosed() || a.GetReport() != "reports/x" || a.GetState() != schedulerv1.Assessment_STATE_SUCCEEDED {
		t.Errorf("reported: %v", a)
	}
	if finish(a, &schedulerv1.FinishAssessmentRequest{Error: "late"}, all, now) {
		t.Error("a closed assessment changed")
	}
	a = running()
	finish(a, &schedulerv1.FinishAssessmentRequest{Scanned: true}, some, now)
	if a.GetState() != schedulerv1.Assessment_STATE_INCOMPLETE || a.GetReason() == "" {
		t.Errorf("a failed job: %v %q", a.GetState(), a.GetReason())
	}
	a = running()
	finish(a, &schedulerv1.FinishAssessmentRequest{Error: "States.Timeout"}, all, now)
	if a.GetState() != schedulerv1.Assessment_STATE_FAILED || !a.GetClosed() {
		t.Errorf("an error: %v", a)
	}
	a = &schedulerv1.Assessment{State: schedulerv1.Assessment_STATE_CANCELLED}
	if finish(a, &schedulerv1.FinishAssessmentRequest{Scanned: true}, all, now) {
		t.Error("a cancelled assessment changed")
	}
}

func TestResolveTargets(t *testing.T) {
	seeds, err := resolve([]string{"Example.com", "example.com:8443", "192.0.2.1:22", "192.0.2.1:80", "https://www.example.com/x"}, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"example.com ", "192.0.2.1 22,80", "www.example.com 443"}
	for i, s := range seeds {
		if got := s.GetValue() + " " + s.GetPorts(); i >= len(want) || got != want[i] {
			t.Errorf("seed %d is %q, want %q", i, got, want)
		}
	}
	if len(seeds) != len(want) {
		t.Errorf("%d seeds, want %d", len(seeds), len(want))
	}
	_, err = resolve([]string{"ok.example", "not ok", "10.0.0.0/2"}, "0-99999")
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("wrong targets and ports: %v", err)
	}
}

func TestFellShort(t *testing.T) {
	quick, standard := modelv1.Profile_PROFILE_QUICK, modelv1.Profile_PROFILE_STANDARD
	partial, failed := modelv1.Outcome_OUTCOME_PARTIAL, modelv1.Outcome_OUTCOME_FAILED
	for _, c := range []struct {
		scanType modelv1.ScanType
		outcome  modelv1.Outcome
		profile  modelv1.Profile
		want     bool
	}{
		{httpType, partial, quick, false}, {httpType, partial, standard, true}, {httpType, failed, quick, true}, {portType, partial, quick, false}, {portType, failed, standard, true}, {serviceType, partial, standard, true},
		{intelType, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, standard, false}, {subdomainType, partial, standard, false}, {intelType, failed, standard, true},
		{dnsType, modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE, standard, true},
		{tlsType, modelv1.Outcome_OUTCOME_COMPLETE, standard, false}, {tlsType, modelv1.Outcome_OUTCOME_NOT_PERMITTED, standard, true},
	} {
		if got := fellShort(&modelv1.Coverage{ScanType: c.scanType, Outcome: c.outcome}, c.profile); got != c.want {
			t.Errorf("%v %v %v: %v", c.scanType, c.outcome, c.profile, got)
		}
	}
}
