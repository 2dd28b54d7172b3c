package providers

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

var root = netip.MustParseAddr("198.41.0.4") // a root name server's: public, and never asked for here

func TestAsk(t *testing.T) {
	server := providerstest.New(t)
	server.Host("198.41.0.4", `"ports": [443, 53], "hostnames": ["a.example.com"], "org": "ICANN", "last_update": "2026-11-20T08:49:35.190817"`)
	w := newWorld(t, server)
	desk := w.client(t).For("acme", "assessments/1", 0)

	first, err := Ask(t.Context(), desk, HostQuestion(root))
	if err != nil || first.Value == nil || first.Value.Organisation != "ICANN" || first.Report.GetRequests() != 1 || first.Report.GetState() != modelv1.SourceReport_STATE_OK {
		t.Fatalf("%+v %v", first, err)
	}
	if first.Evidence.GetBlob() == "" || first.Report.GetAskedAt() == nil {
		t.Errorf("no evidence, or no time: %v", first)
	}
	// Another worker takes the answer from the table, with its age.
	again, err := Ask(t.Context(), w.client(t).For("acme", "assessments/2", 0), HostQuestion(root))
	if err != nil || again.Value == nil || again.Report.GetRequests() != 0 || !again.Report.GetAskedAt().AsTime().Equal(first.Report.GetAskedAt().AsTime()) {
		t.Fatalf("%+v %v", again, err)
	}
	// What one tenant asked, another does not see.
	w.key(t, "other", "shodan", providerstest.Key, nil)
	if other, err := Ask(t.Context(), w.client(t).For("other", "", 0), HostQuestion(root)); err != nil || other.Report.GetRequests() != 1 {
		t.Fatalf("%+v %v", other, err)
	}
	arrivals := server.Arrivals("shodan")
	if len(arrivals) != 2 {
		t.Fatalf("%d requests", len(arrivals))
	}
	for _, a := range arrivals {
		if !strings.HasPrefix(a.Agent, "RiskProfiler/") || !strings.Contains(a.Agent, "+https://") {
			t.Errorf("user agent %q names nobody", a.Agent)
		}
	}
}

// What is not known is an answer, and is remembered as one.
func TestAbsent(t *testing.T) {
	server := providerstest.New(t)
	desk := newWorld(t, server).client(t).For("acme", "", 0)
	for range 2 {
		got, err := Ask(t.Context(), desk, HostQuestion(root))
		if err != nil || got.Value != nil || got.Report.GetState() != modelv1.SourceReport_STATE_OK {
			t.Fatalf("%+v %v", got, err)
		}
	}
	if n := len(server.Arrivals("shodan")); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Who is not to be asked is not asked.
func TestUnasked(t *testing.T) {
	server := providerstest.New(t)
	w := newWorld(t, server)
	c := w.client(t, func(o *Options) { o.Disabled = []string{"internetdb"} })
	desk, stranger := c.For("acme", "", 0), c.For("stranger", "", 0)
	for name, ask := range map[string]func() (*modelv1.SourceReport, error){
		"a reserved name": func() (*modelv1.SourceReport, error) {
			a, err := Ask(t.Context(), desk, CrtShQuestion("lab.test"))
			return a.Report, err
		},
		"a private address": func() (*modelv1.SourceReport, error) {
			a, err := Ask(t.Context(), desk, HostQuestion(netip.MustParseAddr("10.0.0.1")))
			return a.Report, err
		},
		"switched off": func() (*modelv1.SourceReport, error) {
			a, err := Ask(t.Context(), desk, InternetDBQuestion(root))
			return a.Report, err
		},
		"no key": func() (*modelv1.SourceReport, error) {
			a, err := Ask(t.Context(), stranger, HostQuestion(root))
			return a.Report, err
		},
	} {
		report, err := ask()
		var p *Problem
		if !Unasked(err) || !errors.As(err, &p) || report.GetState() != unavailable || report.GetProblem() == "" {
			t.Errorf("%s: %v %v", name, report, err)
		}
	}
	if got, err := Ask(t.Context(), nil, HostQuestion(root)); err == nil || got.Report.GetState() != unavailable {
		t.Errorf("without a client: %v %v", got, err)
	}
	for _, p := range All() {
		if n := len(server.Arrivals(p.Name)); n != 0 {
			t.Errorf("%s was asked %d times", p.Name, n)
		}
	}
}

// However a provider fails, the question is unanswered, never empty; and nowhere is the key.
func TestFailures(t *testing.T) {
	elsewhere := providerstest.New(t)
	for name, c := range map[string]struct {
		fault providerstest.Fault
		state modelv1.SourceReport_State
		says  string
	}{
		"500":         {providerstest.Status(500), failed, "(500)"},
		"401":         {providerstest.Status(401), failed, "does not accept the key"},
		"403":         {providerstest.Status(403), failed, "(403)"},
		"402":         {providerstest.Status(402), failed, "(402)"},
		"418":         {providerstest.Status(418), failed, "418"},
		"429":         {providerstest.TooMany("60"), limited, "too many requests"},
		"429 no time": {providerstest.TooMany(""), limited, "too many requests"},
		"hang up":     {providerstest.Hangup, failed, "cannot be reached"},
		"silent":      {providerstest.Silent, failed, "did not answer in time"},
		"drip":        {providerstest.Drip, failed, "in time"},
		"giant":       {providerstest.Giant, failed, "longer than 1 MiB"},
		"no JSON":     {providerstest.Body("<html>maintenance " + providerstest.Key + "</html>"), failed, "cannot be read"},
		"cut":         {providerstest.Body(`{"ip_str": "198.41.0.4", "ports": [`), failed, "cannot be read"},
		"two values":  {providerstest.Body(`{"ip_str": "198.41.0.4"} {}`), failed, "cannot be read"},
		"null":        {providerstest.Body(`null`), failed, "cannot be read"},
		"empty":       {providerstest.Body(``), failed, "cannot be read"},
		"wrong type":  {providerstest.Body(`{"ip_str": "198.41.0.4", "ports": "443"}`), failed, "cannot be read"},
		"another":     {providerstest.Body(`{"ip_str": "198.41.0.5", "ports": [443]}`), failed, "cannot be read"},
		"a port":      {providerstest.Body(`{"ip_str": "198.41.0.4", "ports": [70000]}`), failed, "cannot be read"},
		"redirect":    {providerstest.Elsewhere(elsewhere.Bases()["shodan"]), failed, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			server := providerstest.New(t)
			server.Fail("shodan", c.fault)
			w := newWorld(t, server)
			q := HostQuestion(root)
			quick := *Shodan
			quick.timeout, quick.maxBody = 2*time.Second, 1<<20
			q.Provider = &quick
			got, err := Ask(t.Context(), w.client(t).For("acme", "", 0), q)
			if err == nil || got.Value != nil || got.Report.GetState() != c.state || !strings.Contains(got.Report.GetProblem(), c.says) || Unasked(err) {
				t.Fatalf("%v %v", got.Report, err)
			}
			clean(t, "the error", err.Error())
			clean(t, "the report", got.Report.String())
			clean(t, "the log", w.log.String())
		})
	}
	if n := len(elsewhere.Arrivals("shodan")); n != 0 {
		t.Errorf("the key went elsewhere, %d times", n)
	}
}

// What is stored shows no key, though the provider's answer repeats it.
func TestStoredWithoutKey(t *testing.T) {
	server := providerstest.New(t)
	server.Fail("shodan", providerstest.Body(`{"ip_str": "198.41.0.4", "org": "you asked with `+providerstest.Key+`"}`))
	w := newWorld(t, server)
	got, err := Ask(t.Context(), w.client(t).For("acme", "", 0), HostQuestion(root))
	if err != nil || got.Value.Organisation != "you asked with [key]" {
		t.Fatalf("%+v %v", got.Value, err)
	}
	files := 0
	err = filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		raw, err := os.ReadFile(path)
		clean(t, path, string(raw))
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files, %v", files, err)
	}
}

// A provider that fails is left alone, by all workers, and tried again by one of them.
func TestBreaker(t *testing.T) {
	server := providerstest.New(t)
	server.Fail("virustotal", providerstest.Status(http.StatusInternalServerError))
	w := newWorld(t, server)
	w.key(t, "acme", "virustotal", providerstest.Key, &modelv1.ProviderLimits{RequestsPerMinute: 1000})
	workers := []*Client{w.client(t), w.client(t), w.client(t)}
	for i := range 12 {
		got, err := Ask(t.Context(), workers[i%3].For("acme", "", 0), VirusTotalDomainQuestion("example.com"))
		if err == nil || i >= breakAfter && (got.Report.GetState() != unavailable || !strings.Contains(got.Report.GetProblem(), "because it failed")) {
			t.Fatalf("%d: %v %v", i, got.Report, err)
		}
	}
	if n := len(server.Arrivals("virustotal")); n != breakAfter {
		t.Errorf("%d requests, want %d", n, breakAfter)
	}
	// One bad key does not blind another.
	w.key(t, "other", "virustotal", "another-key-of-somebody", nil)
	if _, err := Ask(t.Context(), workers[0].For("other", "", 0), VirusTotalDomainQuestion("example.com")); err == nil {
		t.Error("no error")
	}
	if n := len(server.Arrivals("virustotal")); n != breakAfter+1 {
		t.Errorf("%d requests: the other tenant's key was not tried", n)
	}
}

// A worker that is held up between the refusal and the wait finds that the moment has passed: that is no reason to fall over.
func TestWait(t *testing.T) {
	for _, c := range []struct{ until, least, most time.Duration }{
		{-time.Hour, time.Millisecond, time.Millisecond},
		{-time.Microsecond, time.Millisecond, time.Millisecond},
		{0, time.Millisecond, time.Millisecond},
		{1, time.Millisecond, time.Millisecond},
		{800 * time.Millisecond, 850 * time.Millisecond, 900 * time.Millisecond},
		{time.Minute, time.Minute + 500*time.Millisecond, time.Minute + time.Second},
	} {
		for range 100 {
			if got := wait(c.until); got < c.least || got > c.most {
				t.Fatalf("a moment in %s is waited for %s, want %s to %s", c.until, got, c.least, c.most)
			}
		}
	}
}
