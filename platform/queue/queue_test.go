package queue_test

import (
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/queuetest"
)

// What the port promises is tested by the suite in queuetest, on every driver.

func TestNewPanics(t *testing.T) {
	d := queuetest.NewMemory().Queue("jobs")
	tests := map[string]struct {
		driver  queue.Driver
		options queue.Options
		panics  bool
	}{
		"valid":               {d, queue.Options{Name: "jobs"}, false},
		"longest name":        {d, queue.Options{Name: strings.Repeat("a", queue.MaxNameBytes)}, false},
		"all characters":      {d, queue.Options{Name: "a-z_09"}, false},
		"longest visibility":  {d, queue.Options{Name: "jobs", Visibility: queue.MaxVisibility}, false},
		"no driver":           {nil, queue.Options{Name: "jobs"}, true},
		"no name":             {d, queue.Options{}, true},
		"name too long":       {d, queue.Options{Name: strings.Repeat("a", queue.MaxNameBytes+1)}, true},
		"upper case":          {d, queue.Options{Name: "Jobs"}, true},
		"dots":                {d, queue.Options{Name: "../jobs"}, true},
		"negative visibility": {d, queue.Options{Name: "jobs", Visibility: -1}, true},
		"long visibility":     {d, queue.Options{Name: "jobs", Visibility: queue.MaxVisibility + time.Second}, true},
		"no concurrency":      {d, queue.Options{Name: "jobs", Concurrency: -1}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); (p != nil) != test.panics {
					t.Errorf("New panicked with %v, want a panic: %t", p, test.panics)
				}
			}()
			queue.New(test.driver, test.options)
		})
	}
}

func TestActionNames(t *testing.T) {
	seen := map[string]bool{}
	for a := queue.Ack; a <= queue.Park; a++ {
		if s := a.String(); s == "unknown" || seen[s] {
			t.Errorf("action %d has the name %q", a, s)
		}
		seen[a.String()] = true
	}
	if s := queue.Action(0).String(); s != "unknown" {
		t.Errorf("no action has the name %q", s)
	}
}
