package scanner

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is n scanners that know of each other only by a table in a file.
func fleet(t *testing.T, n int, rates Rates) []*Service {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "scanner")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var all []*Service
	for range n {
		db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: filepath.Join(dir, "limits.db")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		all = append(all, New(Deps{
			Guard: netguard.New(netguard.Options{AllowPrivate: true}), Rates: rates, Logger: slog.New(slog.DiscardHandler),
			Limits: table.New(db.Table("ratelimits"), table.Options{Name: "ratelimits"}),
		}))
	}
	return all
}

// visited is a server that hears from each visitor when it was sent, by the visitor's clock: that of the test's bubble, in
// which nothing is late because the machine is busy. The server itself runs outside of the bubble.
type visited struct {
	address string
	mu      sync.Mutex
	times   []int64
	answer  byte
}

func newVisited(t *testing.T) *visited {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &visited{address: l.Addr().String(), answer: 'k'}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { v.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); group.Wait() })
	return v
}

func (v *visited) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var at [8]byte
	if _, err := io.ReadFull(conn, at[:]); err != nil {
		return
	}
	v.mu.Lock()
	v.times = append(v.times, int64(binary.BigEndian.Uint64(at[:])))
	answer := v.answer
	v.mu.Unlock()
	_, _ = conn.Write([]byte{answer})
}

// most is the largest number of visits in any second.
func most(times []int64) int {
	slices.Sort(times)
	n, first := 0, 0
	for i, at := range times {
		for at-times[first] >= int64(time.Second) {
			first++
		}
		n = max(n, i-first+1)
	}
	return n
}

// visitor is a probe that visits as often as it may until its time is up.
type visitor struct {
	scanType modelv1.ScanType
	address  string
	costs    []int
	answered func(ctx context.Context, env probes.Env, answer byte)
}

func (v *visitor) ScanType() modelv1.ScanType { return v.scanType }
func (v *visitor) Version() string            { return "visitor/1" }

func (v *visitor) Scan(ctx context.Context, env probes.Env, job *modelv1.ScanJob) (*probes.Result, error) {
	for i := 0; ; i++ {
		cost := min(v.costs[i%len(v.costs)], env.Batch("127.0.0.1"))
		if err := env.TakePermits(ctx, "127.0.0.1", cost); err != nil {
			return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_PARTIAL, Reason: err.Error()}, nil //nolint:nilerr // a probe's way to end
		}
		for range cost {
			answer, err := v.visit(env)
			if err != nil {
				return nil, err
			}
			if v.answered != nil {
				v.answered(ctx, env, answer)
			}
		}
		if i%7 == 3 {
			time.Sleep(time.Duration(i%5) * 30 * time.Millisecond) // what was taken must not gather
		}
	}
}

func (v *visitor) visit(env probes.Env) (byte, error) {
	conn, err := env.Guard.DialContext(context.Background(), "tcp", v.address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	var answer [1]byte
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(conn, answer[:])
	return answer[0], err
}

func visitJob(tenant string, t modelv1.ScanType) *modelv1.ScanJob {
	return &modelv1.ScanJob{Id: "j", Tenant: tenant, ScanType: t, Target: &modelv1.Target{Value: "127.0.0.1", Address: "127.0.0.1"}}
}

// Eight workers with four jobs each want all they can get of one target, and the target sees what was promised to it: in no
// second more than the rate, its burst, and what was taken just before; and over the whole time the rate, most of it used.
func TestTargetSeesThePromisedRate(t *testing.T) {
	port, http, tls := modelv1.ScanType_SCAN_TYPE_PORT, modelv1.ScanType_SCAN_TYPE_HTTP, modelv1.ScanType_SCAN_TYPE_TLS
	none := 1e5
	tests := []struct {
		name    string
		rates   Rates
		types   []modelv1.ScanType
		tenants []string
		rate    float64
		burst   float64
		length  time.Duration
	}{
		{"one a second", Rates{Host: 1, Network: none, Tenant: none, Global: none}, []modelv1.ScanType{port, http}, []string{"a"}, 1, 1, 40 * time.Second},
		{"twenty a second", Rates{Host: 20, Network: none, Tenant: none, Global: none}, []modelv1.ScanType{port, http}, []string{"a", "b"}, 20, 4, 15 * time.Second},
		{"the default", Rates{Host: 200, Request: 30, Network: 1000, Tenant: 2000, Global: 10000}, []modelv1.ScanType{port, http}, []string{"a"}, 200, 40, 4 * time.Second},
		{"requests", Rates{Host: 200, Request: 30, Network: 1000, Tenant: 2000, Global: 10000}, []modelv1.ScanType{tls, http}, []string{"a"}, 30, 6, 10 * time.Second},
		{"network", Rates{Host: none, Network: 10, Tenant: none, Global: none}, []modelv1.ScanType{port, http}, []string{"a"}, 10, 2, 15 * time.Second},
		{"tenant", Rates{Host: none, Network: none, Tenant: 10, Global: none}, []modelv1.ScanType{port, http}, []string{"a"}, 10, 10, 15 * time.Second},
		{"global", Rates{Host: none, Network: none, Tenant: none, Global: 10}, []modelv1.ScanType{port, http}, []string{"a", "b", "c"}, 10, 10, 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := newVisited(t)
			tt.rates.Loopback = true
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.length)
				defer cancel()
				var jobs sync.WaitGroup
				for w, s := range fleet(t, 8, tt.rates) {
					for j := range 4 {
						scanType := tt.types[j%len(tt.types)]
						probe := &visitor{scanType: scanType, address: server.address, costs: []int{1, 1, 3, 1 << (w % 5)}}
						jobs.Go(func() {
							for ctx.Err() == nil {
								if _, err := s.run(ctx, s.guard, probe, visitJob(tt.tenants[(w+j)%len(tt.tenants)], scanType)); err != nil {
									t.Error(err)
									return
								}
								time.Sleep(50 * time.Millisecond) // the next job of a queue
							}
						})
					}
				}
				jobs.Wait()
			})
			seen := most(server.times)
			limit := int(math.Floor(tt.burst + tt.rate*(1+blockLife.Seconds())))
			t.Logf("%d visits in %v, at most %d in a second, limit %d", len(server.times), tt.length, seen, limit)
			if seen > limit {
				t.Errorf("the target saw %d in one second, promised are %d", seen, limit)
			}
			want := tt.rate * tt.length.Seconds()
			if n := float64(len(server.times)); n > want*1.02+tt.burst+1 || n < want*0.7 {
				t.Errorf("%v visits, want about %v and not more", n, want)
			}
		})
	}
}

// A host that answers 429 is left alone by every worker for as long as it says, whoever heard it.
func TestEveryWorkerBacksOff(t *testing.T) {
	server := newVisited(t)
	var until time.Time
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var mu sync.Mutex
		calm := true
		probe := &visitor{scanType: modelv1.ScanType_SCAN_TYPE_HTTP, address: server.address, costs: []int{1}}
		probe.answered = func(ctx context.Context, env probes.Env, _ byte) {
			mu.Lock()
			first := calm && time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) > 5*time.Second
			if first {
				calm, until = false, time.Now().Add(30*time.Second)
			}
			mu.Unlock()
			if first && !env.Courtesy("127.0.0.1").Answered(ctx, 429, "30") {
				t.Error("429 is no request for less")
			}
		}
		var jobs sync.WaitGroup
		for _, s := range fleet(t, 8, Rates{Host: 50, Network: 1000, Tenant: 1000, Global: 1000, Loopback: true}) {
			jobs.Go(func() {
				job := visitJob("a", probe.scanType)
				for ctx.Err() == nil {
					if r, err := s.run(ctx, s.guard, probe, job); err != nil || r.Outcome != modelv1.Outcome_OUTCOME_PARTIAL {
						t.Errorf("%v %v", r, err)
					}
					time.Sleep(time.Second)
				}
			})
		}
		jobs.Wait()
	})
	before, during, after := 0, 0, 0
	for _, at := range server.times {
		switch at := time.Unix(0, at); {
		// What a worker had taken before it could know may still come: its block.
		case at.Before(until.Add(blockLife - 30*time.Second)):
			before++
		case at.Before(until):
			during++
		default:
			after++
		}
	}
	if before == 0 || during > 0 || after == 0 {
		t.Errorf("%d visits before the 429, %d while the host was to be left alone, %d after", before, during, after)
	}
}

// A tenant with one job has its part, however many jobs the other has, on the same worker and on others.
func TestOneTenantLeavesRoomForAnother(t *testing.T) {
	for _, workers := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			const rate, length = 40.0, 60 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			var mu sync.Mutex
			seen := map[string]int{}
			take := func(s *Service, tenant string, host string) {
				defer s.tenants.enter(tenant)()
				p := s.permits(visitJob(tenant, modelv1.ScanType_SCAN_TYPE_PORT))
				for p.take(ctx, host, 1) == nil {
					mu.Lock()
					seen[tenant]++
					mu.Unlock()
				}
			}
			var jobs sync.WaitGroup
			for i, s := range fleet(t, workers, Rates{Host: 1000, Network: 1000, Tenant: rate, Global: rate}) {
				for range 64 / workers {
					jobs.Go(func() { take(s, "busy", "192.0.2.1") })
				}
				if i == 0 {
					jobs.Go(func() { take(s, "quiet", "198.51.100.1") })
				}
			}
			jobs.Wait()
			t.Logf("%d workers: %v of %v", workers, seen, rate*length.Seconds())
			if half := rate / 2 * length.Seconds(); float64(seen["quiet"]) < half*0.85 || float64(seen["busy"]) < half*0.7 {
				t.Errorf("%d workers: %v of %v", workers, seen, rate*length.Seconds())
			}
		})
	}
}

// Without the table nothing is sent, and a wait that cannot end in time is not begun.
func TestPermitsFailClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fleet(t, 1, Rates{Host: 1, Network: 1, Tenant: 1, Global: 1})[0]
		p := s.permits(visitJob("a", modelv1.ScanType_SCAN_TYPE_PORT))
		if err := p.take(t.Context(), "192.0.2.1", 1); err != nil {
			t.Fatal(err)
		}
		if err := p.pause(t.Context(), "192.0.2.1", time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		started := time.Now()
		if err := p.take(ctx, "192.0.2.1", 1); !errors.Is(err, fault.ResourceExhausted) || time.Since(started) > time.Second {
			t.Errorf("%v after %v, want it to say at once that the time is too short", err, time.Since(started))
		}
		if err := p.take(ctx, "127.0.0.1", 1000); err != nil {
			t.Errorf("this machine is limited: %v", err)
		}
	})
}

// What jobs took and did not use is void soon: when they go on together, the target sees one burst and not what they gathered.
func TestLeftoversAreVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := Rates{Host: 200, Network: 1e5, Tenant: 1e5, Global: 1e5}
		s := fleet(t, 1, rates)[0]
		var jobs []*permits
		for range 10 {
			p := s.permits(visitJob("a", modelv1.ScanType_SCAN_TYPE_PORT))
			if err := p.take(t.Context(), "192.0.2.1", 1); err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, p)
		}
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		given := 0
		for _, p := range jobs {
			for p.take(ctx, "192.0.2.1", 1) == nil {
				given++
			}
		}
		if burst := rates.hostLimit("").size(); given > burst || given == 0 {
			t.Errorf("%d permits at one instant, want at most the burst of %d", given, burst)
		}
	})
}

func TestSettingsOfPoliteness(t *testing.T) {
	good := settings{HostRate: 1, RequestRate: 1, NetworkRate: 1, TenantRate: 1, GlobalRate: 1, ResolverRate: 1}
	for name, change := range map[string]func(*settings){
		"zero host":        func(c *settings) { c.HostRate = 0 },
		"negative network": func(c *settings) { c.NetworkRate = -1 },
		"no number":        func(c *settings) { c.GlobalRate = math.NaN() },
		"too much":         func(c *settings) { c.TenantRate = math.Inf(1) },
		"no questions":     func(c *settings) { c.ResolverRate = 0 },
	} {
		bad := good
		change(&bad)
		if _, err := bad.rates(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, err := good.rates(); err != nil || r.Network != 1 {
		t.Errorf("%+v %v", r, err)
	}
	for contact, ok := range map[string]bool{
		"": true, "https://example.com/scanning": true, "mailto:abuse@example.com": true,
		"example.com": false, "javascript:alert(1)": false, "https://example.com/a b": false, "https://example.com/)\r\nX: y": false,
	} {
		if _, err := (settings{Contact: contact}).contact(); (err == nil) != ok {
			t.Errorf("contact %q: %v", contact, err)
		}
	}
	if got := probes.UserAgent(probes.Env{Contact: "https://example.com/s"}); got != "RiskProfiler/1 (+https://example.com/s)" {
		t.Error(got)
	}
}

func TestMachineBehindAName(t *testing.T) {
	p := (&Service{}).permits(&modelv1.ScanJob{Target: &modelv1.Target{Host: "www.example.com", Value: "www.example.com", Address: "192.0.2.9"}})
	for host, want := range map[string]string{"www.example.com": "192.0.2.9", "::ffff:192.0.2.1": "192.0.2.1", "other.example.com": "other.example.com"} {
		if got := p.machine(host); got != want {
			t.Errorf("%s is at %s, want %s", host, got, want)
		}
	}
	for host, want := range map[string]string{"192.0.2.200": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48", "example.com": ""} {
		if got, ok := networkOf(host); got != want || ok != (want != "") {
			t.Errorf("network of %s: %q", host, got)
		}
	}
}

// The note of the tenants is another worker's, and whatever lies there is read within bounds.
func FuzzNotes(f *testing.F) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	f.Add(writeNotes(map[uint64]int64{1: now.Unix()}, []uint64{2, 3}, now))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, value []byte) {
		notes := readNotes(value, now)
		if len(notes) > maxTenants {
			t.Fatalf("%d notes", len(notes))
		}
		again := readNotes(writeNotes(notes, nil, now), now)
		if len(again) != len(notes) {
			t.Fatalf("%d notes of %d written", len(again), len(notes))
		}
	})
}
