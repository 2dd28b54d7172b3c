package providers

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/secret/filesecret"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers/providerstest"
)

// workerEnv makes this test binary a worker of its own process.
const workerEnv = "RISKPROFILER_TEST_WORKER"

// order is what a worker process is to do.
type order struct {
	Dir      string
	Bases    map[string]string
	Provider testProvider
	// Ask is how many different subjects are asked about, one after the other, from From on.
	Ask, From int
	// Patience bounds all of it.
	Patience time.Duration
}

// testProvider is Shodan with other limits.
type testProvider struct{ Limits Limits }

func (p testProvider) make() *Provider {
	out := *Shodan
	out.limits, out.timeout = p.Limits, 10*time.Second
	return &out
}

func TestMain(m *testing.M) {
	if text := os.Getenv(workerEnv); text != "" {
		if err := work(text); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// work asks and prints the state of each answer.
func work(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	w := &world{dir: o.Dir, bases: o.Bases, secrets: filesecret.New(filesecret.Options{Dir: filepath.Join(o.Dir, "secrets")})}
	options, closeAll, err := w.options(context.Background(), os.Stderr)
	if err != nil {
		return err
	}
	defer func() { _ = closeAll() }()
	ctx, cancel := context.WithTimeout(context.Background(), o.Patience)
	defer cancel()
	desk := New(options).For("acme", "assessments/1", 0)
	provider := o.Provider.make()
	for i := range o.Ask {
		n := o.From + i
		q := HostQuestion(netip.AddrFrom4([4]byte{8, 8, byte(n >> 8), byte(n)}))
		q.Provider = provider
		answer, _ := Ask(ctx, desk, q)
		fmt.Println(answer.Report.GetState(), answer.Report.GetRequests(), answer.Report.GetProblem())
	}
	return nil
}

// outcome is what the workers saw.
type outcome struct {
	mu                     sync.Mutex
	ok, limited, otherwise int
	lines                  []string
}

// run starts worker processes and waits for them.
func run(t *testing.T, workers, each int, o order) *outcome {
	t.Helper()
	out := &outcome{}
	var all sync.WaitGroup
	for i := range workers {
		o.From = i * each
		o.Ask = each
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), workerEnv+"="+string(text))
		var log journal
		cmd.Stderr = &log
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			var said []string
			for lines := bufio.NewScanner(pipe); lines.Scan(); {
				said = append(said, lines.Text())
				out.note(lines.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("worker %d: %v: %s\n%s", i, err, log.String(), strings.Join(said, "\n"))
			}
			clean(t, "a worker's log", log.String())
		})
	}
	all.Wait()
	for _, line := range out.lines {
		clean(t, "a worker's output", line)
	}
	return out
}

func (o *outcome) note(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
	switch {
	case strings.HasPrefix(line, modelv1.SourceReport_STATE_OK.String()):
		o.ok++
	case strings.HasPrefix(line, limited.String()):
		o.limited++
	default:
		o.otherwise++
	}
}

// shared is a world whose secrets are on disk, for other processes.
func shared(t *testing.T, server *providerstest.Server) order {
	t.Helper()
	w := &world{dir: t.TempDir(), bases: server.Bases()}
	w.secrets = filesecret.New(filesecret.Options{Dir: filepath.Join(w.dir, "secrets")})
	w.key(t, "acme", "shodan", providerstest.Key, nil)
	w.client(t) // holds the store open, so that no worker has to recover what another is beginning to write
	return order{Dir: w.dir, Bases: w.bases, Patience: 2 * time.Minute}
}

const workers = 8

// Eight workers, each a process with its own connections to one table, never exceed a quota in any window, as the server counts
// it: not the window's and not the day's. And what the quota allows is used.
func TestWorkersKeepTheQuota(t *testing.T) {
	server := providerstest.New(t)
	o := shared(t, server)
	o.Provider = testProvider{Limits{Requests: 4, Window: 2 * time.Second, Day: 20}}
	// The server would say 429 to the first one too many, and count it.
	server.Limit("shodan", providerstest.Limit{Requests: 4, Window: 2 * time.Second})
	started := time.Now().UTC()
	got := run(t, workers, 5, o)
	if got.otherwise > 0 || got.ok+got.limited != workers*5 {
		t.Errorf("%d answered, %d limited, %d otherwise:\n%s", got.ok, got.limited, got.otherwise, strings.Join(got.lines, "\n"))
	}
	if most := server.Most("shodan", 2*time.Second); most > 4 {
		t.Errorf("%d requests in one window of 2 s, the limit is 4", most)
	}
	days := map[string]int{}
	for _, a := range server.Arrivals("shodan") {
		days[a.At.UTC().Format(dayForm)]++
	}
	for day, n := range days {
		if n > 20 {
			t.Errorf("%d requests on %s, the limit is 20", n, day)
		}
	}
	if started.Day() == time.Now().UTC().Day() && len(server.Arrivals("shodan")) != 20 {
		t.Errorf("%d requests were made of 20 that the quota allows", len(server.Arrivals("shodan")))
	}
	t.Logf("%d requests by %d processes, at most %d in 2 s, took %v", len(server.Arrivals("shodan")), workers, server.Most("shodan", 2*time.Second), time.Since(started))
}

// Shodan's own limit: one a second.
func TestOneASecond(t *testing.T) {
	server := providerstest.New(t)
	o := shared(t, server)
	o.Provider = testProvider{Limits{Requests: 1, Window: time.Second}}
	got := run(t, workers, 1, o)
	if got.ok != workers {
		t.Errorf("%d answered of %d:\n%s", got.ok, workers, strings.Join(got.lines, "\n"))
	}
	if most := server.Most("shodan", time.Second); most != 1 {
		t.Errorf("%d requests in one second", most)
	}
}

// When the server says that it is too much, no worker asks again before the time it named.
func TestWorkersHeed429(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		quiet  time.Duration
	}{"with Retry-After": {"2", 2 * time.Second}, "without": {"", 15 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := providerstest.New(t)
			server.Fail("shodan", providerstest.TooMany(c.header))
			o := shared(t, server)
			o.Provider, o.Patience = testProvider{Limits{Requests: 1000, Window: time.Second}}, 6*time.Second
			run(t, workers, 2, o)
			arrivals := server.Arrivals("shodan")
			// Those that were under way when the first answer came are no disobedience.
			first := arrivals[0].At
			for i, a := range arrivals {
				if i >= workers && a.At.Sub(arrivals[i-workers].At) < c.quiet/2 {
					t.Errorf("request %d came %v after the first", i, a.At.Sub(first))
				}
			}
			if c.header == "" && len(arrivals) > workers {
				t.Errorf("%d requests: it was asked again at once", len(arrivals))
			}
		})
	}
}
