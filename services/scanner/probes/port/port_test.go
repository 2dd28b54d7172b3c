package port

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/ranges"
)

// shelf keeps evidence by its hash.
type shelf struct {
	mu   sync.Mutex
	data map[string][]byte
	err  error
}

func (s *shelf) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	sum := sha256.Sum256(data)
	key := kind + "/" + hex.EncodeToString(sum[:])
	if s.data == nil {
		s.data = make(map[string][]byte)
	}
	s.data[key] = slices.Clone(data)
	return &modelv1.Evidence{Blob: key}, nil
}

func portJob(address string, ports ...uint16) *modelv1.ScanJob {
	return &modelv1.ScanJob{
		ScanType: modelv1.ScanType_SCAN_TYPE_PORT,
		Target:   &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address},
		Options:  &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD, Ports: portlist.Of(ports...).String()},
	}
}

func TestProbeReportsOpenPorts(t *testing.T) {
	first, _ := listen(t, "127.0.4.1:0")
	second, _ := listen(t, "127.0.4.1:0")
	ports := around([]uint16{first, second}, 200)
	blobs := new(shelf)
	result, err := New().Scan(t.Context(), probes.Env{Guard: private(), Blobs: blobs}, portJob("127.0.4.1", ports...))
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || result.Reason != "" || len(result.Observations) != 1 {
		t.Fatalf("%+v", result)
	}
	observation := result.Observations[0]
	fact := observation.GetPorts()
	for _, port := range []uint16{first, second} {
		if !slices.Contains(fact.GetOpen(), uint32(port)) {
			t.Errorf("port %d is not in %v", port, fact.GetOpen())
		}
	}
	if int(fact.GetScanned()) != len(ports) || int(fact.GetClosed())+len(fact.GetOpen()) != len(ports) || fact.GetPorts() != portlist.Of(ports...).String() || fact.GetAllOpen() {
		t.Errorf("%v", fact)
	}
	if observation.GetAsset() != probes.AssetName(modelv1.AssetKind_ASSET_KIND_IP, "127.0.4.1") || observation.GetLocation() != "" || observation.GetKey() != "ports/tcp" {
		t.Errorf("%v", observation)
	}
	raw := blobs.data[observation.GetEvidence().GetBlob()]
	if !strings.Contains(string(raw), strconv.Itoa(int(first))) || observation.GetEvidence().GetExcerpt() == "" {
		t.Errorf("evidence %q, excerpt %q", raw, observation.GetEvidence().GetExcerpt())
	}
	if len(result.Leads) != len(fact.GetOpen()) {
		t.Fatalf("%d leads for %d open ports", len(result.Leads), len(fact.GetOpen()))
	}
	want := &modelv1.Lead{
		Target: &modelv1.Target{
			Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: "127.0.4.1", Address: "127.0.4.1",
			Port: fact.GetOpen()[0], Transport: modelv1.Transport_TRANSPORT_TCP,
		},
		ScanTypes: []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_SERVICE},
		Relation:  "open port",
	}
	if diff := cmp.Diff(want, result.Leads[0], protocmp.Transform()); diff != "" {
		t.Errorf("lead (-want +got):\n%s", diff)
	}
}

func TestProbeOutcomes(t *testing.T) {
	open, _ := listen(t, "127.0.4.2:0")
	job := func(change func(*modelv1.ScanJob)) *modelv1.ScanJob {
		j := portJob("127.0.4.2", open, 9)
		change(j)
		return j
	}
	gone := func(context.Context, string, int) error { return errors.New("the bucket is gone") }
	tests := []struct {
		name    string
		env     probes.Env
		job     *modelv1.ScanJob
		outcome modelv1.Outcome
		reason  string
	}{
		{"complete", probes.Env{Guard: private()}, job(func(*modelv1.ScanJob) {}), modelv1.Outcome_OUTCOME_COMPLETE, ""},
		{"refused address", probes.Env{Guard: netguard.New(netguard.Options{})}, job(func(*modelv1.ScanJob) {}), modelv1.Outcome_OUTCOME_NOT_PERMITTED, "127.0.4.2"},
		{"passive", probes.Env{Guard: private()}, job(func(j *modelv1.ScanJob) { j.Options.Profile = modelv1.Profile_PROFILE_PASSIVE }), modelv1.Outcome_OUTCOME_NOT_PERMITTED, "passive"},
		{"no address", probes.Env{Guard: private()}, job(func(j *modelv1.ScanJob) { j.Target = &modelv1.Target{Value: "www.example.com\x1b[2J"} }), modelv1.Outcome_OUTCOME_FAILED, `"www.example.com [2J" is not an address`},
		{"bad ports", probes.Env{Guard: private()}, job(func(j *modelv1.ScanJob) { j.Options.Ports = "22,http" }), modelv1.Outcome_OUTCOME_FAILED, `"http" is not a port`},
		{"no permits", probes.Env{Guard: private(), Permit: gone}, job(func(*modelv1.ScanJob) {}), modelv1.Outcome_OUTCOME_FAILED, "the bucket is gone"},
		{"one port permitted", probes.Env{Guard: netguard.New(netguard.Options{AllowExact: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.4.2"), open)}})},
			job(func(*modelv1.ScanJob) {}), modelv1.Outcome_OUTCOME_PARTIAL, "1 of 2 ports are not permitted"},
		{"value without address", probes.Env{Guard: private()}, job(func(j *modelv1.ScanJob) { j.Target.Address = "" }), modelv1.Outcome_OUTCOME_COMPLETE, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, err := New().Scan(t.Context(), tt.env, tt.job)
			if err != nil {
				t.Fatal(err)
			}
			if result.Outcome != tt.outcome || !strings.Contains(result.Reason, tt.reason) || (tt.reason == "") != (result.Reason == "") {
				t.Errorf("%v %q, want %v with %q", result.Outcome, result.Reason, tt.outcome, tt.reason)
			}
			if strings.ContainsAny(result.Reason, "\n\x1b") {
				t.Errorf("reason %q is not one safe line", result.Reason)
			}
		})
	}
}

func TestProbeNeedsItsEvidence(t *testing.T) {
	open, _ := listen(t, "127.0.4.3:0")
	full := errors.New("disk full")
	_, err := New().Scan(t.Context(), probes.Env{Guard: private(), Blobs: &shelf{err: full}}, portJob("127.0.4.3", open))
	if !errors.Is(err, full) {
		t.Errorf("%v, want the error of the evidence store", err)
	}
}

func TestProbeBudget(t *testing.T) {
	tests := []struct {
		ports int
		want  time.Duration
	}{{100, probes.DefaultBudget}, {1000, probes.DefaultBudget}, {65535, 10*time.Second + 196605*time.Millisecond}}
	for _, tt := range tests {
		if got := defaultBudget(tt.ports); got != tt.want {
			t.Errorf("budget of %d ports: %v, want %v", tt.ports, got, tt.want)
		}
	}
	for profile, want := range map[modelv1.Profile]string{
		modelv1.Profile_PROFILE_QUICK: "top100", modelv1.Profile_PROFILE_STANDARD: "top1000",
		modelv1.Profile_PROFILE_DEEP: "all", modelv1.Profile_PROFILE_UNSPECIFIED: "top1000",
	} {
		if set, err := wantedPorts(&modelv1.ScanOptions{Profile: profile}); err != nil || set.String() != want {
			t.Errorf("%v: %v %v, want %s", profile, set, err, want)
		}
	}
}

// serve runs handle for each connection to a new port of address, until the test ends.
func serve(t testing.TB, address string, handle func(net.Conn)) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			group.Go(func() { handle(conn); _ = conn.Close() })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// mute takes what is sent and says nothing.
func mute(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func TestProbeCollapsesHostsThatAnswerEverywhere(t *testing.T) {
	const address = "127.0.4.4:0"
	var controls, ports []uint16
	for range controlPorts {
		controls = append(controls, serve(t, address, mute))
	}
	for range fewPorts {
		ports = append(ports, serve(t, address, mute))
	}
	speaking := []uint16{
		serve(t, address, func(conn net.Conn) { _, _ = conn.Write([]byte("SSH-2.0-x\r\n")) }),
		webServer(t, address, false),
		webServer(t, address, true),
	}
	slices.Sort(speaking)
	probe := New()
	probe.controls = func() []uint16 { return controls }
	result, err := probe.Scan(t.Context(), probes.Env{Guard: private()}, portJob("127.0.4.4", append(ports, speaking...)...))
	if err != nil {
		t.Fatal(err)
	}
	fact := result.Observations[0].GetPorts()
	if diff := cmp.Diff(widen(speaking), fact.GetOpen()); diff != "" || !fact.GetAllOpen() {
		t.Errorf("all open %v; ports that spoke (-want +got):\n%s", fact.GetAllOpen(), diff)
	}
	if len(result.Leads) != len(speaking) || result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE {
		t.Errorf("%d leads, %v %q", len(result.Leads), result.Outcome, result.Reason)
	}
}

func webServer(t *testing.T, address string, secure bool) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	_ = server.Listener.Close()
	server.Listener = listener
	if secure {
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// A host that even speaks on ports that nobody uses proves nothing by speaking: few ports are kept, and flagged.
func TestProbeKeepsFewPortsOfABabbler(t *testing.T) {
	const address = "127.0.4.5:0"
	babble := func(conn net.Conn) { _, _ = conn.Write([]byte("220 hello\r\n")) }
	var controls, ports []uint16
	for range controlPorts {
		controls = append(controls, serve(t, address, babble))
	}
	for range fewPorts + 10 {
		ports = append(ports, serve(t, address, babble))
	}
	probe := New()
	probe.controls = func() []uint16 { return controls }
	result, err := probe.Scan(t.Context(), probes.Env{Guard: private()}, portJob("127.0.4.5", ports...))
	if err != nil {
		t.Fatal(err)
	}
	if fact := result.Observations[0].GetPorts(); !fact.GetAllOpen() || len(fact.GetOpen()) != babbleKept || len(result.Leads) != babbleKept {
		t.Errorf("%d ports, %d leads, all open %v", len(fact.GetOpen()), len(result.Leads), fact.GetAllOpen())
	}
}

func TestTooManyOpen(t *testing.T) {
	tests := []struct {
		open, closed int
		want         bool
	}{{1, 0, false}, {100, 0, false}, {199, 0, false}, {200, 0, true}, {200, 800, false}, {600, 400, true}, {1001, 60000, true}}
	for _, tt := range tests {
		host := &HostResult{Open: make([]uint16, tt.open), Closed: tt.closed}
		if got := tooManyOpen(host); got != tt.want {
			t.Errorf("%d open, %d closed: %v", tt.open, tt.closed, got)
		}
	}
}

func TestControlPortsAreUnlikely(t *testing.T) {
	likely := portlist.Top1000()
	for range 100 {
		ports := randomPorts()
		if len(ports) != controlPorts || portlist.Of(ports...).Len() != controlPorts {
			t.Fatalf("%v", ports)
		}
		for _, port := range ports {
			if likely.Contains(port) || port < 10000 {
				t.Fatalf("control port %d", port)
			}
		}
	}
}

// An address of a content delivery network is not the target's: only the web is asked there, and the coverage says so. Ports that
// somebody lists, and a deep scan, are asked all the same.
func TestProbeAsksLittleOfAFront(t *testing.T) {
	cdn := ranges.Owner{CDN: "fastly", Cloud: "aws"}
	tests := []struct {
		name    string
		owner   ranges.Owner
		options *modelv1.ScanOptions
		ports   string
		note    bool
	}{
		{"standard at a CDN", cdn, &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD}, "80,443", true},
		{"quick at a WAF", ranges.Owner{WAF: "cloudflare"}, &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_QUICK}, "80,443", true},
		{"listed at a CDN", cdn, &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD, Ports: "9,80,443,8443"}, "9,80,443,8443", false},
		{"deep at a CDN", cdn, &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_DEEP}, "all", false},
		{"standard in a cloud", ranges.Owner{Cloud: "aws"}, &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD}, "top1000", false},
		{"standard elsewhere", ranges.Owner{}, &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD}, "top1000", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			probe := New()
			probe.owner = func(netip.Addr) ranges.Owner { return tt.owner }
			probe.udp = func() []udpProtocol { return []udpProtocol{at("quic", 443)} }
			job := portJob("127.0.4.9")
			job.Options = tt.options
			result, err := probe.Scan(t.Context(), probes.Env{Guard: private(), Blobs: new(shelf)}, job)
			if err != nil {
				t.Fatal(err)
			}
			fact := result.Observations[0].GetPorts()
			if fact.GetPorts() != tt.ports || fact.GetCdn() != tt.owner.CDN || fact.GetWaf() != tt.owner.WAF || fact.GetCloud() != tt.owner.Cloud {
				t.Errorf("%v", fact)
			}
			if (fact.GetRangesDate() != "") != (tt.owner != ranges.Owner{}) {
				t.Errorf("date %q", fact.GetRangesDate())
			}
			if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || tt.note != strings.Contains(result.Reason, "only ports 80 and 443") {
				t.Errorf("%v %q", result.Outcome, result.Reason)
			}
		})
	}
}
