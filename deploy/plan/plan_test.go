package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/app"
)

// The services of this repository can be deployed, and there is one function for each scan type.
func TestServices(t *testing.T) {
	services, err := Services()
	if err != nil {
		t.Fatal(err)
	}
	want := "correlator gateway ingest reporter scanner scanner-dns scanner-subdomain scanner-intel scanner-cloud scanner-port scanner-service scanner-tls scanner-http scanner-vuln scheduler"
	var got, machines []string
	for _, s := range services {
		for _, f := range s.Functions {
			got = append(got, f.Name)
			if f.Spec.MemoryMiB == 0 || f.Spec.Timeout == 0 || f.Spec.Timeout > 15*time.Minute {
				t.Errorf("%s has %d MiB and %s, which Lambda does not take", f.Name, f.Spec.MemoryMiB, f.Spec.Timeout)
			}
		}
		for _, q := range s.Queues {
			if q.Visibility > 12*time.Hour {
				t.Errorf("queue %s hides for %s, which SQS does not take", q.Name, q.Visibility)
			}
		}
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("functions are %s, want %s", s, want)
	}
	for _, m := range Machines(services) {
		machines = append(machines, m.Name+" "+strings.Join(m.Calls, ",")+" "+strings.Join(m.Sends, ","))
	}
	if s := strings.Join(machines, ";"); s != "assessment correlator,reporter,scheduler scan-cloud,scan-dns,scan-http,scan-intel,scan-port,scan-service,scan-subdomain,scan-tls,scan-vuln" {
		t.Errorf("machines are %s", s)
	}
}

// A table whose indexes nobody declared is a table without indexes; one that is declared twice is refused.
func TestRefusals(t *testing.T) {
	function := func(s app.Spec) []Function { return []Function{{Name: s.Name, Binary: s.Name, Spec: s}} }
	consumes := func(queue string) []app.Consumer { return []app.Consumer{{Queue: queue, Concurrency: 1}} }
	for _, c := range []struct {
		name, wrong string
		specs       []app.Spec
	}{
		{"a queue without a consumer", "nobody takes from", []app.Spec{{Name: "a", Sends: []string{"q"}}}},
		{"a queue of two consumers", "one consumer", []app.Spec{{Name: "a", Consumes: consumes("q")}, {Name: "b", Consumes: consumes("q")}}},
		{"a table of two owners", "owned by", []app.Spec{{Name: "a", Tables: []string{"t"}}, {Name: "b", Tables: []string{"t"}}}},
		{"a call to nobody", "no function", []app.Spec{{Name: "a", Calls: []string{"b"}}}},
		{"a machine that invokes nobody", "no function", []app.Spec{{Name: "a", Workflows: map[string][]byte{"m": []byte(`{"FunctionName": "${b}"}`)}}}},
		{"what fits together", "", []app.Spec{{Name: "a", Sends: []string{"q"}, Calls: []string{"b"}}, {Name: "b", Consumes: consumes("q")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := map[string][]Function{}
			for _, s := range c.specs {
				all[s.Name] = function(s)
			}
			_, err := derive(all)
			if (c.wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("the error is %v, want one that says %q", err, c.wrong)
			}
		})
	}
}

func TestQueueOf(t *testing.T) {
	for _, c := range []struct {
		timeout                       time.Duration
		concurrency, batch, wantLimit int
	}{
		{time.Minute, 64, 10, 64}, {10 * time.Minute, 1, 1, 2}, {15 * time.Minute, 5000, 1, 1000},
	} {
		q := queueOf(Function{Spec: app.Spec{Timeout: c.timeout}}, app.Consumer{Concurrency: c.concurrency})
		if q.Batch != c.batch || q.Concurrency != c.wantLimit || q.Visibility != 6*c.timeout {
			t.Errorf("%s and %d: %+v", c.timeout, c.concurrency, q)
		}
	}
}

func TestRate(t *testing.T) {
	for every, want := range map[time.Duration]string{
		time.Second: "rate(1 minute)", time.Minute: "rate(1 minute)", 61 * time.Second: "rate(2 minutes)", time.Hour: "rate(60 minutes)",
	} {
		if got := Rate(every); got != want {
			t.Errorf("every %s: %s, want %s", every, got, want)
		}
	}
}
