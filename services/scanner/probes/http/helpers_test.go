package http

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// quiet takes what servers say about clients that hang up.
var quiet = log.New(io.Discard, "", 0)

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "--headless") {
		pretendBrowser() // this binary is run as one: see screenshot_test.go
	}
	goleak.VerifyTestMain(m)
}

// memory keeps evidence for the length of one test.
type memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

func (m *memory) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blobs == nil {
		m.blobs = make(map[string][]byte)
	}
	sum := sha256.Sum256(data)
	key := kind + "/" + hex.EncodeToString(sum[:])
	m.blobs[key] = slices.Clone(data)
	return &modelv1.Evidence{Blob: key}, nil
}

// lab is a world whose guard lets loopback through and counts what was dialled.
type lab struct {
	probes.Env
	mu     sync.Mutex
	dialed []string
}

func newLab() *lab {
	l := &lab{}
	l.Env = probes.Env{Blobs: &memory{}, Guard: netguard.New(netguard.Options{
		AllowPrivate: true,
		OnDial: func(_ context.Context, d netguard.Dial) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.dialed = append(l.dialed, d.Host)
		},
	})}
	return l
}

// jobFor asks for the application at address (host:port), by the name host if it has one.
func jobFor(address, host string, secure bool) *modelv1.ScanJob {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	target := &modelv1.Target{
		Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: at.IP.String(), Host: host, Address: at.IP.String(), Port: uint32(at.Port), Tls: secure,
	}
	if host != "" {
		target.Kind, target.Value = modelv1.AssetKind_ASSET_KIND_HOST, host
	}
	return &modelv1.ScanJob{ScanType: modelv1.ScanType_SCAN_TYPE_HTTP, Target: target, Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD}}
}

// serve starts a real server with handler; secure with TLS.
func serve(t testing.TB, secure bool, handler nethttp.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = quiet
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

func scan(t testing.TB, p *Probe, env probes.Env, job *modelv1.ScanJob) *probes.Result {
	t.Helper()
	result, err := p.Scan(t.Context(), env, job)
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return result
}

// factsOf scans and wants a complete result: the fact of the application and its exposures as "kind path".
func factsOf(t testing.TB, job *modelv1.ScanJob) (*modelv1.HttpFact, []string) {
	t.Helper()
	result := scan(t, New(Options{}), newLab().Env, job)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) == 0 || len(result.Leads) != 1 {
		t.Fatalf("got %v (%s) with %d observations, want a complete scan with some", result.Outcome, result.Reason, len(result.Observations))
	}
	return result.Observations[0].GetHttp(), exposuresOf(result)
}

func exposuresOf(result *probes.Result) []string {
	var out []string
	for _, o := range result.Observations {
		if e := o.GetExposure(); e != nil {
			out = append(out, e.GetKind()+" "+e.GetPath())
		}
	}
	return out
}

// withLimits makes the time limits short enough for a test to wait for.
func (p *Probe) withLimits(every time.Duration) *Probe {
	p.limits.dial, p.limits.quickDial, p.limits.handshake, p.limits.firstByte, p.limits.slowAfter = every, every, every, every, every
	return p
}

// listen runs handle for every raw connection until the test ends, and waits for all of them.
func listen(t testing.TB, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			all.Go(func() {
				defer func() {
					_ = conn.Close()
					mu.Lock()
					delete(open, conn)
					mu.Unlock()
				}()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return listener.Addr().String()
}

// request reads one request head.
func request(conn net.Conn) bool {
	var head strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(head.String(), "\r\n\r\n") {
		n, err := conn.Read(buffer)
		if err != nil {
			return false
		}
		head.Write(buffer[:n])
	}
	return true
}
