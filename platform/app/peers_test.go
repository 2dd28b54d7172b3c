package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// answer is a handler that says who called.
func answer(ctx context.Context, method, text string) (string, error) {
	return app.Caller(ctx) + " " + method + " " + text, nil
}

// mesh is a set of hosts that share a data directory and certificates, and talk to each other over loopback as processes
// would.
type mesh struct {
	data, certs string
	addresses   map[string]string
	peers       []string
	running     int
}

// holders are the certificates of these tests.
var holders = map[string][]string{"ingest": {"ingest"}, "scheduler": {"scheduler", "workflow"}, "scanner": {"scanner"}}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	app.Contracts()
	m := &mesh{data: t.TempDir(), certs: t.TempDir(), addresses: map[string]string{}}
	for name := range holders {
		m.addresses[name] = free(t, "127.0.0.1")
		m.peers = append(m.peers, name+"="+m.addresses[name])
	}
	m.issue(t)
	for _, name := range []string{"ingest", "scheduler", "workflow", "scanner"} {
		// All keys are there before anybody looks: a ring looks once a second.
		if _, err := authn.LoadKeys(filepath.Join(m.data, "keys"), name); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *mesh) issue(t testing.TB) {
	t.Helper()
	if err := mtls.WriteDir(m.certs, holders, time.Hour); err != nil {
		t.Fatal(err)
	}
}

func free(t testing.TB, host string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// settings of the process that holds a service.
func (m *mesh) settings(name string) map[string]string {
	f := mtls.In(m.certs, name)
	m.running++
	return map[string]string{
		"RISKPROFILER_DATA": m.data, "RISKPROFILER_INSTANCE": fmt.Sprintf("%s-%d", name, m.running), "RISKPROFILER_LISTEN": "off",
		"RISKPROFILER_PEER_LISTEN": m.addresses[name], "RISKPROFILER_PEERS": strings.Join(m.peers, ","),
		"RISKPROFILER_TLS_CERT": f.Cert, "RISKPROFILER_TLS_KEY": f.Key, "RISKPROFILER_TLS_CA": f.CA,
	}
}

// process is a host that runs.
type process struct {
	*app.Host

	log  *lockedBuffer
	stop func() error
}

type lockedBuffer struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	wrote chan struct{} // closed by the next write, if somebody waits for one
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wrote != nil {
		close(b.wrote)
		b.wrote = nil
	}
	return b.buf.Write(p)
}

// says waits until something was written: a service writes its log while its caller already has the answer.
func (b *lockedBuffer) says(t testing.TB, want string) {
	t.Helper()
	never := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		if b.wrote == nil {
			b.wrote = make(chan struct{})
		}
		said, wrote := b.buf.String(), b.wrote
		b.mu.Unlock()
		if strings.Contains(said, want) {
			return
		}
		select {
		case <-wrote:
		case <-never:
			t.Errorf("the log does not say %q", want)
			return
		}
	}
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a service until the test ends or it is stopped, which has to go well.
func start(t testing.TB, settings map[string]string, spec app.Spec) *process {
	t.Helper()
	log := &lockedBuffer{}
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{Service: spec.Name, Writer: log, Level: slog.LevelInfo})
	if err != nil {
		t.Fatal(err)
	}
	host, err := app.Build(t.Context(), app.Options{Drivers: drivers.Embedded, Specs: []app.Spec{spec}, Settings: settings, Telemetry: tel})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	host.OnReady(func(context.Context) error { close(ready); return nil })
	go func() { ended <- host.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("%s: %v", spec.Name, err)
	}
	p := &process{Host: host, log: log}
	p.stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-ended, host.Close(), tel.Shutdown(context.Background()))
	})
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("%s ended with %v", spec.Name, err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", spec.Name, log)
		}
	})
	return p
}

// call makes one call in the name of a service.
func call(ctx context.Context, conn grpc.ClientConnInterface, service, method string) (string, error) {
	out := &wrapperspb.StringValue{}
	err := conn.Invoke(ctx, app.MethodOf(service, method), wrapperspb.String("x"), out)
	return out.GetValue(), err
}

// TestMesh runs three services as processes would with a certificate each, and shows that each may do what the contracts
// say and nothing else.
func TestMesh(t *testing.T) {
	m := newMesh(t)
	machines := app.SpecOf("scheduler", answer, "ingest")
	machines.Workflows = map[string][]byte{"m": []byte(`{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Parameters":{"FunctionName":"${ingest}","Payload":{}},"End":true}}}`)}
	start(t, m.settings("ingest"), app.SpecOf("ingest", answer))
	scheduler := start(t, m.settings("scheduler"), machines)
	scanner := start(t, m.settings("scanner"), app.SpecOf("scanner", answer, "ingest", "scheduler"))
	for _, c := range []struct {
		host             *process
		from, to, method string
		want             fault.Code
	}{
		{scheduler, "scheduler", "ingest", app.MethodGet, fault.OK},
		{scheduler, "scheduler", "ingest", app.MethodChange, fault.OK},
		{scheduler, "scheduler", "ingest", app.MethodNext, fault.PermissionDenied},
		{scheduler, "workflow", "ingest", app.MethodNext, fault.OK},
		{scheduler, "workflow", "ingest", app.MethodGet, fault.PermissionDenied},
		{scheduler, "workflow", "scheduler", app.MethodNext, fault.OK},
		{scanner, "scanner", "ingest", app.MethodGet, fault.OK},
		{scanner, "scanner", "ingest", app.MethodChange, fault.PermissionDenied},
		{scanner, "scanner", "scheduler", app.MethodNext, fault.PermissionDenied},
	} {
		got, err := call(t.Context(), c.host.Conn(c.from, c.to), c.to, c.method)
		if fault.CodeOf(err) != c.want {
			t.Errorf("%s to %s, %s: %v", c.from, c.to, c.method, err)
		}
		if want := c.from + " " + c.method + " x"; err == nil && got != want {
			t.Errorf("%s to %s, %s: the service saw %q", c.from, c.to, c.method, got)
		}
	}
	for name := range holders {
		if err := app.Probe(t.Context(), m.settings(name), app.SpecOf(name, answer)); err != nil {
			t.Errorf("health of %s: %v", name, err)
		}
	}
}

// raw is a connection with a certificate and a token that need not be of one service.
func (m *mesh) raw(t testing.TB, f mtls.Files, certOf, tokenOf, to string) grpc.ClientConnInterface {
	t.Helper()
	source, err := mtls.Open(mtls.Options{Files: f, Services: []string{certOf}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m.dial(t, source.ClientCredentials(to), tokenOf, to)
}

func (m *mesh) dial(t testing.TB, proof credentials.TransportCredentials, tokenOf, to string) grpc.ClientConnInterface {
	t.Helper()
	key, err := authn.LoadKeys(filepath.Join(m.data, "keys"), tokenOf)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := authn.NewSigner(authn.SignerOptions{Service: tokenOf, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	cc, err := grpc.NewClient("passthrough:///"+m.addresses[to], append(wire.GRPCDialOptions(wire.ConnOptions{
		Interceptors: []grpc.UnaryClientInterceptor{authn.UnaryClientInterceptor(signer)},
	}), grpc.WithTransportCredentials(proof))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// TestThief shows that a token is good only over a connection of the service that signed it, and that a certificate is
// good only with a token of its own service.
func TestThief(t *testing.T) {
	m := newMesh(t)
	ingest := start(t, m.settings("ingest"), app.SpecOf("ingest", answer))
	strangers, expired := t.TempDir(), t.TempDir()
	if err := mtls.WriteDir(strangers, holders, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(copyCerts(expired, m.certs), mtls.WriteDir(expired, holders, -time.Minute)); err != nil {
		t.Fatal(err)
	}
	ours := func(name string) mtls.Files { return mtls.In(m.certs, name) }
	for _, c := range []struct {
		name           string
		files          mtls.Files
		cert, token    string
		method         string
		want           fault.Code
		say, serverLog string
	}{
		{"both its own", ours("scheduler"), "scheduler", "scheduler", app.MethodChange, fault.OK, "", ""},
		{"a scanner with a scheduler's token", ours("scanner"), "scanner", "scheduler", app.MethodChange, fault.PermissionDenied, "not those of the service that shows them", ""},
		{"a scanner with a workflow's token", ours("scanner"), "scanner", "workflow", app.MethodNext, fault.PermissionDenied, "not those of the service that shows them", ""},
		{"a scheduler with a scanner's token", ours("scheduler"), "scheduler", "scanner", app.MethodGet, fault.PermissionDenied, "not those of the service that shows them", ""},
		{"a service that nobody lists", ours("scanner"), "scanner", "scanner", app.MethodChange, fault.PermissionDenied, "service scanner may not call this method", ""},
		{"an unknown authority", withCA(mtls.In(strangers, "scheduler"), ours("scheduler"), t), "scheduler", "scheduler", app.MethodGet, fault.Unavailable, "", "is not of an authority that is believed here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := call(t.Context(), m.raw(t, c.files, c.cert, c.token, "ingest"), "ingest", c.method)
			if fault.CodeOf(err) != c.want || err != nil && !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want %v: %s", err, c.want, c.say)
			}
			ingest.log.says(t, c.serverLog)
		})
	}
	t.Run("streams are refused", func(t *testing.T) {
		conn := m.raw(t, ours("scheduler"), "scheduler", "scheduler", "ingest")
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/"+app.ContractOf("ingest")+"/Watch")
		if err == nil {
			_ = stream.CloseSend()
			err = stream.RecvMsg(&wrapperspb.StringValue{})
		}
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("got %v", err)
		}
	})
	t.Run("expired", func(t *testing.T) {
		settings := m.settings("scheduler")
		settings["RISKPROFILER_TLS_CERT"], settings["RISKPROFILER_TLS_KEY"] = mtls.In(expired, "scheduler").Cert, mtls.In(expired, "scheduler").Key
		_, err := app.Build(t.Context(), app.Options{Drivers: drivers.Embedded, Specs: []app.Spec{app.SpecOf("scheduler", answer, "ingest")}, Settings: settings})
		if err == nil || !strings.Contains(err.Error(), "certificate of spiffe://riskprofiler/scheduler and spiffe://riskprofiler/workflow expired on ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v", err)
		}
	})
}

// copyCerts copies a directory of certificates.
func copyCerts(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	keys, err := filepath.Glob(filepath.Join(to, "*", "*.key"))
	for _, k := range keys {
		err = errors.Join(err, os.Chmod(k, 0o600))
	}
	return err
}

// withCA is a certificate that believes the authorities of another one.
func withCA(f, other mtls.Files, t testing.TB) mtls.Files {
	t.Helper()
	own, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	more, err := os.ReadFile(other.CA)
	if err != nil {
		t.Fatal(err)
	}
	f.CA = filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(f.CA, append(own, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestWrongPeer: what answers at the address of a service is not that service. The caller learns no address, the log says
// what is wrong.
func TestWrongPeer(t *testing.T) {
	m := newMesh(t)
	start(t, m.settings("scanner"), app.SpecOf("scanner", answer))
	settings := m.settings("scheduler")
	settings["RISKPROFILER_PEERS"] = "ingest=" + m.addresses["scanner"] + ",scanner=" + m.addresses["ingest"]
	scheduler := start(t, settings, app.SpecOf("scheduler", answer, "ingest", "scanner"))
	for _, peer := range []string{"ingest", "scanner"} { // somebody else there, and nobody there
		_, err := call(t.Context(), scheduler.Conn("scheduler", peer), peer, app.MethodChange)
		var f *fault.Error
		if !errors.As(err, &f) || f.FaultCode() != fault.Unavailable || f.Public() != peer+" cannot be reached" {
			t.Errorf("%s: got %v", peer, err)
		}
	}
	scheduler.log.says(t, "the server is spiffe://riskprofiler/scanner and not spiffe://riskprofiler/ingest")
}

// TestRotationOfAll replaces authority and certificates while a service runs: who starts after that is taken by it.
func TestRotationOfAll(t *testing.T) {
	m := newMesh(t)
	start(t, m.settings("ingest"), app.SpecOf("ingest", answer))
	before := start(t, m.settings("scheduler"), app.SpecOf("scheduler", answer, "ingest"))
	if _, err := call(t.Context(), before.Conn("scheduler", "ingest"), "ingest", app.MethodGet); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(before.stop(), os.RemoveAll(filepath.Join(m.certs, mtls.AuthorityDir))); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	if err := copyCerts(old, m.certs); err != nil {
		t.Fatal(err)
	}
	m.issue(t)
	after := start(t, m.settings("scheduler"), app.SpecOf("scheduler", answer, "ingest"))
	if _, err := call(t.Context(), after.Conn("scheduler", "ingest"), "ingest", app.MethodGet); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t.Context(), m.raw(t, withCA(mtls.In(old, "scanner"), mtls.In(m.certs, "scanner"), t), "scanner", "scanner", "ingest"), "ingest", app.MethodGet); err == nil {
		t.Error("a certificate of the authority that is gone is taken")
	}
}

// TestSettingsOfPeers: calls in the clear stay on this machine, and a wrong setting is one line that says what to do.
func TestSettingsOfPeers(t *testing.T) {
	m := newMesh(t)
	for name, c := range map[string]struct {
		change map[string]string
		say    string
	}{
		"clear, all interfaces":   {map[string]string{"RISKPROFILER_PEER_LISTEN": ":0"}, "set RISKPROFILER_TLS_CERT, _KEY and _CA, or listen on 127.0.0.1"},
		"clear, another machine":  {map[string]string{"RISKPROFILER_PEERS": "ingest=192.0.2.1:9000"}, "calls leave this machine and no certificate is set"},
		"clear, a name":           {map[string]string{"RISKPROFILER_PEERS": "ingest=ingest.internal:9000"}, "calls leave this machine and no certificate is set"},
		"clear, another resolver": {map[string]string{"RISKPROFILER_PEERS": "ingest=dns://127.0.0.1:53/localhost:9000"}, "calls leave this machine and no certificate is set"},
		"a function":              {map[string]string{"RISKPROFILER_PEERS": "ingest=lambda:x"}, "these drivers call no functions"},
		"nowhere":                 {map[string]string{"RISKPROFILER_PEERS": ""}, "RISKPROFILER_PEERS does not say where it is"},
		"half":                    {map[string]string{"RISKPROFILER_TLS_CERT": "x"}, "set all three"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := m.settings("scheduler")
			for _, k := range []string{"CERT", "KEY", "CA"} {
				delete(settings, "RISKPROFILER_TLS_"+k)
			}
			maps.Copy(settings, c.change)
			_, err := app.Build(t.Context(), app.Options{Drivers: drivers.Embedded, Specs: []app.Spec{app.SpecOf("scheduler", answer, "ingest")}, Settings: settings})
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, c.say)
			}
		})
	}
}

// nameServer answers every A question with addresses.
func nameServer(t testing.TB, addresses ...string) string {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(q)
		for _, a := range addresses {
			if q.Question[0].Qtype == dns.TypeA {
				reply.Answer = append(reply.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(a)})
			}
		}
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return conn.LocalAddr().String()
}

// TestBalancing: calls go to all instances of a service in turn, and to those that are left when one goes.
func TestBalancing(t *testing.T) {
	m := newMesh(t)
	_, port, err := net.SplitHostPort(m.addresses["ingest"])
	if err != nil {
		t.Fatal(err)
	}
	var counts [2]atomic.Int64
	var instances [2]*process
	for i, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		settings := m.settings("ingest")
		settings["RISKPROFILER_PEER_LISTEN"] = net.JoinHostPort(ip, port)
		instances[i] = start(t, settings, app.SpecOf("ingest", func(context.Context, string, string) (string, error) {
			counts[i].Add(1)
			return "", nil
		}))
	}
	settings := m.settings("scheduler")
	settings["RISKPROFILER_PEERS"] = "ingest=dns://" + nameServer(t, "127.0.0.1", "127.0.0.2") + "/ingest.internal:" + port
	conn := start(t, settings, app.SpecOf("scheduler", answer, "ingest")).Conn("scheduler", "ingest")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n := 0
	for counts[0].Load() == 0 || counts[1].Load() == 0 {
		if _, err := call(ctx, conn, "ingest", app.MethodGet); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		n++
	}
	before := [2]int64{counts[0].Load(), counts[1].Load()}
	for range 100 {
		if _, err := call(ctx, conn, "ingest", app.MethodGet); err != nil {
			t.Fatal(err)
		}
	}
	for i := range counts {
		if got := counts[i].Load() - before[i]; got != 50 {
			t.Errorf("instance %d took %d of 100 calls", i, got)
		}
	}
	// One goes while calls are made. None fails.
	var gone atomic.Bool
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for !gone.Load() {
				if _, err := call(ctx, conn, "ingest", app.MethodGet); err != nil {
					t.Errorf("while an instance ends: %v", err)
					return
				}
			}
		})
	}
	if err := instances[0].stop(); err != nil {
		t.Error(err)
	}
	gone.Store(true)
	calls.Wait()
	left := counts[0].Load()
	for range 20 {
		if _, err := call(ctx, conn, "ingest", app.MethodGet); err != nil {
			t.Errorf("after an instance ended: %v", err)
		}
	}
	if counts[0].Load() != left {
		t.Error("a process that ended was called")
	}
}

// TestRetries: what may be done twice is, what may not is not, and a service that is down is not flooded.
func TestRetries(t *testing.T) {
	m := newMesh(t)
	var attempts, fail atomic.Int64
	start(t, m.settings("ingest"), app.SpecOf("ingest", func(context.Context, string, string) (string, error) {
		attempts.Add(1)
		if fail.Add(-1) >= 0 {
			return "", fault.New(fault.Unavailable, "the provider rests")
		}
		return "", nil
	}))
	host := start(t, m.settings("scheduler"), app.SpecOf("scheduler", answer, "ingest"))
	conn := host.Conn("scheduler", "ingest")
	try := func(method string, failures int64) (int64, error) {
		attempts.Store(0)
		fail.Store(failures)
		_, err := call(t.Context(), conn, "ingest", method)
		return attempts.Load(), err
	}
	if n, err := try(app.MethodGet, 2); n != 3 || err != nil {
		t.Errorf("a method that may be done twice: %d attempts, %v", n, err)
	}
	n, err := try(app.MethodChange, 1)
	var f *fault.Error
	if n != 1 || fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "the provider rests") || errors.As(err, &f) {
		t.Errorf("a method that may not: %d attempts, %v", n, err)
	}
	const calls = 30
	attempts.Store(0)
	fail.Store(1 << 30)
	for range calls {
		if _, err := call(t.Context(), conn, "ingest", app.MethodGet); err == nil {
			t.Fatal("no failure")
		}
	}
	if n := attempts.Load(); n > calls+10 {
		t.Errorf("%d attempts for %d calls to a service that is down", n, calls)
	}
}

// TestDeadlinesShrink: over two hops each handler has less time than its caller, by what the way back needs at least.
func TestDeadlinesShrink(t *testing.T) {
	m := newMesh(t)
	left := func(ctx context.Context) time.Duration {
		deadline, ok := ctx.Deadline()
		if !ok {
			t.Error("a handler without a deadline")
		}
		return time.Until(deadline)
	}
	var first, second time.Duration
	start(t, m.settings("ingest"), app.SpecOf("ingest", func(ctx context.Context, _, _ string) (string, error) {
		second = left(ctx)
		return "", nil
	}))
	var middle *process
	middle = start(t, m.settings("scanner"), app.SpecOf("scanner", func(ctx context.Context, _, _ string) (string, error) {
		first = left(ctx)
		_, err := call(ctx, middle.Conn("scanner", "ingest"), "ingest", app.MethodGet)
		return "", err
	}, "ingest"))
	outer := start(t, m.settings("scheduler"), app.SpecOf("scheduler", answer, "scanner"))
	const given = 10 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), given)
	defer cancel()
	if _, err := call(ctx, outer.Conn("scheduler", "scanner"), "scanner", app.MethodGet); err != nil {
		t.Fatal(err)
	}
	if first > given-wire.ReturnOverhead || second > first-wire.ReturnOverhead || second <= 0 {
		t.Errorf("given %s, then %s, then %s", given, first, second)
	}
	// A call without a deadline gets one.
	if _, err := call(t.Context(), outer.Conn("scheduler", "scanner"), "scanner", app.MethodGet); err != nil || first > 20*time.Second {
		t.Errorf("%v, %s", err, first)
	}
	// What comes too late is not begun.
	first = 0
	late, cancel := context.WithTimeout(t.Context(), wire.MinTimeLeft)
	defer cancel()
	if _, err := call(late, outer.Conn("scheduler", "scanner"), "scanner", app.MethodChange); fault.CodeOf(err) != fault.DeadlineExceeded || first != 0 {
		t.Errorf("%v, the handler had %s", err, first)
	}
}

// TestDrain: whoever watches is told first, running calls are finished, and no more are taken.
func TestDrain(t *testing.T) {
	m := newMesh(t)
	running, release := make(chan struct{}), make(chan struct{})
	ingest := start(t, m.settings("ingest"), app.SpecOf("ingest", func(context.Context, string, string) (string, error) {
		close(running)
		<-release
		return "done", nil
	}))
	files := mtls.In(m.certs, "scanner")
	conn := m.raw(t, files, "scanner", "scanner", "ingest")
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{Service: app.ContractOf("ingest")})
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{Service: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	told := func(stream grpc.ServerStreamingClient[healthv1.HealthCheckResponse], want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if r, err := stream.Recv(); err != nil || r.GetStatus() != want {
			t.Fatalf("told %v, %v", r, err)
		}
	}
	told(watch, healthv1.HealthCheckResponse_SERVING)
	told(unknown, healthv1.HealthCheckResponse_SERVICE_UNKNOWN)
	finished := make(chan error, 1)
	go func() {
		got, err := call(t.Context(), conn, "ingest", app.MethodGet)
		if err == nil && got != "done" {
			err = errors.New(got)
		}
		finished <- err
	}()
	<-running
	ended := make(chan error, 1)
	go func() { ended <- ingest.stop() }()
	told(watch, healthv1.HealthCheckResponse_NOT_SERVING)
	for _, w := range []grpc.ServerStreamingClient[healthv1.HealthCheckResponse]{watch, unknown} {
		if _, err := w.Recv(); err == nil {
			t.Error("a watcher holds up the end")
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("ended before the call that runs: %v", err)
	default:
	}
	close(release)
	if err := errors.Join(<-finished, <-ended); err != nil {
		t.Error(err)
	}
	if err := app.Probe(t.Context(), m.settings("ingest"), app.SpecOf("ingest", answer)); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("health of what has ended: %v", err)
	}
}
