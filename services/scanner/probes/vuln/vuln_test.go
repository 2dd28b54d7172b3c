package vuln

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// engineProgram is the engine of the tests.
var engineProgram string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vuln-test")
	if err != nil {
		panic(err)
	}
	engineProgram = filepath.Join(dir, "engine")
	if out, err := exec.Command("go", "build", "-o", engineProgram, "./testdata/engine").CombinedOutput(); err != nil {
		panic(string(out))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// shelf keeps evidence by its kind.
type shelf struct {
	mu   sync.Mutex
	kept [][]byte
}

func (s *shelf) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, slices.Clone(data))
	return &modelv1.Evidence{Blob: fmt.Sprintf("%s/%d", kind, len(s.kept))}, nil
}

// scene is an application to test and an engine that behaves as the mode says.
type scene struct {
	env     probes.Env
	job     *modelv1.ScanJob
	asked   atomic.Int64
	permits atomic.Int64
}

func newScene(t *testing.T, mode string, secure bool) *scene {
	t.Helper()
	s := &scene{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		_, _ = io.WriteString(w, r.UserAgent())
	})
	server := httptest.NewUnstartedServer(handler)
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(at.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	templates := t.TempDir()
	if err := os.WriteFile(filepath.Join(templates, "mode"), []byte(mode), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = probes.Env{
		Guard: netguard.New(netguard.Options{AllowPrivate: true}), Blobs: new(shelf), Contact: "https://example.com/scan",
		Nuclei: probes.EngineFiles{Program: engineProgram, Templates: templates},
		Permit: func(ctx context.Context, host string, cost int) error {
			if host != "127.0.0.1" {
				t.Errorf("permit for %q", host)
			}
			s.permits.Add(int64(cost))
			return ctx.Err()
		},
	}
	s.job = &modelv1.ScanJob{
		ScanType: modelv1.ScanType_SCAN_TYPE_VULN,
		Target: &modelv1.Target{
			Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: "app.example.test", Host: "app.example.test", Address: "127.0.0.1", Port: uint32(port),
			Transport: modelv1.Transport_TRANSPORT_TCP, Tls: secure, Technologies: []string{"WordPress", "nginx:1.18"},
		},
		Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD, Budget: durationpb.New(30 * time.Second)},
	}
	return s
}

func (s *scene) scan(t *testing.T, p *Probe) *probes.Result {
	t.Helper()
	r, err := p.Scan(t.Context(), s.env, s.job)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func factsOf(r *probes.Result) map[string]*modelv1.VulnerabilityFact {
	out := map[string]*modelv1.VulnerabilityFact{}
	for _, o := range r.Observations {
		out[o.GetVulnerability().GetRule()] = o.GetVulnerability()
	}
	return out
}

func TestEngineFindsWeaknesses(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-in-the-environment")
	for _, secure := range []bool{false, true} {
		s := newScene(t, "good", secure)
		r := s.scan(t, New())
		if r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || r.Reason != "" || len(r.Observations) != 4 {
			t.Fatalf("%v %q, %d facts", r.Outcome, r.Reason, len(r.Observations))
		}
		facts := factsOf(r)
		f := facts["CVE-2026-1234"]
		if f.GetEngine() != "nuclei" || f.GetSeverity() != modelv1.Severity_SEVERITY_CRITICAL || !slices.Equal(f.GetCve(), []string{"CVE-2026-1234"}) ||
			!slices.Equal(f.GetCwe(), []string{"CWE-79"}) || !f.GetVerified() || !strings.HasSuffix(f.GetMatchedAt(), "/vulnerable") ||
			!slices.Equal(f.GetReferences(), []string{"https://example.com/advisory"}) || !slices.Equal(f.GetExtracted(), []string{"1.2.3 [2J"}) {
			t.Errorf("%v", f)
		}
		if tech := facts["tech-detect:nginx"]; tech.GetVerified() || tech.GetSeverity() != modelv1.Severity_SEVERITY_INFO {
			t.Errorf("a technology is no proof: %v", tech)
		}
		seen := strings.Join(facts["seen"].GetExtracted(), "\n")
		for _, want := range []string{"tags=kev,exposure,misconfig,wordpress,nginx", "excluded=dos,intrusive,", "agent=RiskProfiler/1 (+https://example.com/scan)"} {
			if !strings.Contains(seen, want) {
				t.Errorf("the engine saw\n%s\nwant %q", seen, want)
			}
		}
		for _, o := range r.Observations {
			if o.GetEvidence().GetBlob() == "" || o.GetLocation() != probes.Location(s.job.GetTarget()) || strings.Contains(o.String(), "canary") {
				t.Errorf("%v", o)
			}
		}
		if s.permits.Load() < s.asked.Load() || s.asked.Load() == 0 {
			t.Errorf("%d requests with %d permits", s.asked.Load(), s.permits.Load())
		}
		again := newScene(t, "good", secure)
		again.job.Target.Port = s.job.GetTarget().GetPort()
		for i, o := range s.scan(t, New()).Observations {
			if o.GetKey() != r.Observations[i].GetKey() {
				t.Errorf("key %s of the same fact, before %s", o.GetKey(), r.Observations[i].GetKey())
			}
		}
	}
}

func TestEngineOutcomes(t *testing.T) {
	small := defaultLimits
	small.outputBytes, small.lines, small.events, small.grace = 1<<20, 2000, 50, 200*time.Millisecond
	small.fileBytes = 4 << 20
	tests := []struct {
		mode    string
		limits  limits
		outcome modelv1.Outcome
		reason  string
		facts   int
	}{
		{"clean", small, modelv1.Outcome_OUTCOME_COMPLETE, "", 0},
		{"unreached", small, modelv1.Outcome_OUTCOME_FAILED, "reached the target not once", 0},
		{"bad", small, modelv1.Outcome_OUTCOME_PARTIAL, "7 lines of nuclei were no results", 1},
		{"endless", small, modelv1.Outcome_OUTCOME_PARTIAL, "more than 1 MiB", 0},
		{"longline", small, modelv1.Outcome_OUTCOME_PARTIAL, "more than 1 MiB", 0},
		{"many", small, modelv1.Outcome_OUTCOME_PARTIAL, "more than 50 weaknesses", 50},
		{"crash", small, modelv1.Outcome_OUTCOME_FAILED, "templates are broken [2J", 0},
		{"file", small, modelv1.Outcome_OUTCOME_FAILED, "nuclei failed", 0},
		{"unknown", small, modelv1.Outcome_OUTCOME_FAILED, "mode", 0},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			r := newScene(t, tt.mode, false).scan(t, &Probe{limits: tt.limits})
			if r.Outcome != tt.outcome || !strings.Contains(r.Reason, tt.reason) || (tt.reason == "") != (r.Reason == "") || len(r.Observations) != tt.facts {
				t.Errorf("%v %q with %d facts, want %v %q with %d", r.Outcome, r.Reason, len(r.Observations), tt.outcome, tt.reason, tt.facts)
			}
			if strings.ContainsAny(r.Reason, "\x1b\n") {
				t.Errorf("reason %q is not one safe line", r.Reason)
			}
		})
	}
}

// Memory beyond the limit ends the engine and nothing else.
func TestEngineMemoryIsBounded(t *testing.T) {
	l := defaultLimits
	l.memory = 768 << 20
	r := newScene(t, "greedy", false).scan(t, &Probe{limits: l})
	if r.Outcome != modelv1.Outcome_OUTCOME_FAILED || strings.Contains(r.Reason, "nothing stopped it") {
		t.Errorf("%v %q", r.Outcome, r.Reason)
	}
}

func TestEngineThatHangsEndsWithTheBudget(t *testing.T) {
	s := newScene(t, "hang", false)
	s.job.Options.Budget = durationpb.New(1500 * time.Millisecond)
	started := time.Now()
	r := s.scan(t, New())
	if r.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(r.Reason, "time was up") || len(r.Observations) != 1 {
		t.Errorf("%v %q with %d facts", r.Outcome, r.Reason, len(r.Observations))
	}
	if took := time.Since(started); took > 20*time.Second {
		t.Errorf("ended after %v", took)
	}
}

// A process that the engine leaves behind is ended, and keeps nobody waiting.
func TestEngineThatForks(t *testing.T) {
	note := filepath.Join(t.TempDir(), "pid")
	r := newScene(t, "fork "+note, false).scan(t, New())
	if r.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(r.Reason, "left processes behind") || len(r.Observations) != 1 {
		t.Errorf("%v %q with %d facts", r.Outcome, r.Reason, len(r.Observations))
	}
	text, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	// Killed, but perhaps not yet waited for by whoever inherited it.
	for range 200 {
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there: %v", pid, syscall.Kill(pid, 0))
}

// What is not the target cannot be reached through the proxy: other hosts, other ports, metadata, the proxy itself.
func TestEngineReachesNothingElse(t *testing.T) {
	var touched atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { touched.Add(1) }))
	defer other.Close()
	metadata := "http://169.254.169.254/latest/meta-data/"
	s := newScene(t, strings.Join([]string{
		"forbidden", other.URL, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), metadata, "https://169.254.169.254/", "http://[::1]:1/",
		strings.Replace(other.URL, "http://127.0.0.1", "http://app.example.test", 1), "http://app.example.test.evil.test/", "http://0x7f000001/", "http://2130706433/",
	}, " "), false)
	r := s.scan(t, New())
	if r.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(r.Observations) != 9 {
		t.Fatalf("%v %q with %d facts", r.Outcome, r.Reason, len(r.Observations))
	}
	for _, o := range r.Observations {
		said := strings.Join(o.GetVulnerability().GetExtracted(), " ")
		if !strings.HasPrefix(said, "403 not permitted") && !strings.Contains(said, "Forbidden") {
			t.Errorf("%s: %q", o.GetVulnerability().GetMatchedAt(), said)
		}
	}
	if touched.Load() != 0 {
		t.Errorf("another server was reached %d times", touched.Load())
	}
}

// The guard is asked too: a target whose address is not permitted is not touched, whatever the engine does.
func TestEngineDoesNotRunAgainstRefusedTargets(t *testing.T) {
	s := newScene(t, "good", false)
	s.env.Guard = netguard.New(netguard.Options{})
	if r := s.scan(t, New()); r.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED || s.asked.Load() != 0 {
		t.Errorf("%v %q after %d requests", r.Outcome, r.Reason, s.asked.Load())
	}
	s = newScene(t, "good", false)
	s.job.Options.Profile = modelv1.Profile_PROFILE_PASSIVE
	if r := s.scan(t, New()); r.Outcome != modelv1.Outcome_OUTCOME_NOT_PERMITTED || s.asked.Load() != 0 {
		t.Errorf("%v %q after %d requests", r.Outcome, r.Reason, s.asked.Load())
	}
	s = newScene(t, "good", false)
	s.env.Permit = func(context.Context, string, int) error { return context.DeadlineExceeded }
	if r := s.scan(t, New()); r.Outcome != modelv1.Outcome_OUTCOME_FAILED || s.asked.Load() != 0 {
		t.Errorf("%v %q after %d requests", r.Outcome, r.Reason, s.asked.Load())
	}
}

func TestWithoutTheEngine(t *testing.T) {
	s := newScene(t, "good", false)
	for name, files := range map[string]probes.EngineFiles{
		"no setting":       {},
		"no program":       {Program: "/nonexistent/nuclei", Templates: s.env.Nuclei.Templates},
		"a folder":         {Program: t.TempDir(), Templates: s.env.Nuclei.Templates},
		"no templates":     {Program: engineProgram},
		"templates a file": {Program: engineProgram, Templates: engineProgram},
	} {
		s.env.Nuclei = files
		r := s.scan(t, New())
		if r.Outcome != modelv1.Outcome_OUTCOME_SOURCE_UNAVAILABLE || !strings.HasPrefix(r.Reason, "nuclei ") {
			t.Errorf("%s: %v %q", name, r.Outcome, r.Reason)
		}
	}
}

func TestTargetsThatAreNoApplications(t *testing.T) {
	for name, change := range map[string]func(*modelv1.Target){
		"no port": func(t *modelv1.Target) { t.Port = 0 },
		"udp":     func(t *modelv1.Target) { t.Transport = modelv1.Transport_TRANSPORT_UDP },
		"nothing": func(t *modelv1.Target) { t.Host, t.Address = "", "" },
		"address": func(t *modelv1.Target) { t.Address = "no\x1baddress" },
	} {
		s := newScene(t, "good", false)
		change(s.job.GetTarget())
		if r := s.scan(t, New()); r.Outcome != modelv1.Outcome_OUTCOME_FAILED || s.asked.Load() != 0 || strings.Contains(r.Reason, "\x1b") {
			t.Errorf("%s: %v %q", name, r.Outcome, r.Reason)
		}
	}
	six, err := placeOf(&modelv1.Target{Address: "2001:db8::1", Port: 8443, Tls: true})
	if err != nil || six.url != "https://[2001:db8::1]:8443/" {
		t.Errorf("%+v %v", six, err)
	}
	if _, err := six.holds("https://[2001:db8::1]:8443/x"); err != nil {
		t.Error(err)
	}
}
