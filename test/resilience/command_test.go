package resilience

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// patience bounds every wait for something that has to come, so that a defect ends a test with its story and not with the
// whole package's time-out. Nothing is measured by it.
const patience = 3 * time.Minute

// buildDir holds the command while the package's tests run.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "riskprofiler-resilience-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// build makes the command once for all tests.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "riskprofiler")
	out, err := exec.Command("go", "build", "-o", path, "github.com/riskprofiler/riskprofiler/cmd/riskprofiler").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the command: %w\n%s", err, out)
	}
	return path, nil
})

func command(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// transcript keeps what a child wrote, for the story of a failure: the end of it, if it is much.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxTranscript = 256 << 10

// Write implements io.Writer.
func (r *transcript) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over := r.text.Len() + len(p) - maxTranscript; over > 0 {
		r.text.Next(over)
	}
	return r.text.Write(p)
}

func (r *transcript) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// platform is a data directory with the process that runs on it, which is killed and started again.
type platform struct {
	t        *testing.T
	data     string
	resolver string
	said     *transcript

	process *exec.Cmd
	key     string
	conn    *grpc.ClientConn
}

func newPlatform(t *testing.T, resolver string) *platform {
	p := &platform{t: t, data: t.TempDir(), resolver: resolver, said: &transcript{}}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("what the processes wrote last:\n%s", p.said)
		}
	})
	return p
}

// start starts the process and returns when it listens.
func (p *platform) start() {
	p.t.Helper()
	address := freeAddress(p.t)
	p.process = exec.Command(command(p.t), "up", "--data", p.data, "--listen", address, "--allow-private", "--resolver", p.resolver)
	p.process.Stderr = p.said
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.process.Start(); err != nil {
		p.t.Fatal(err)
	}
	_, _ = fmt.Fprintf(p.said, "--- process %d\n", p.process.Process.Pid)
	silence := time.AfterFunc(patience, func() { _ = p.process.Process.Kill() })
	defer silence.Stop()
	lines := bufio.NewScanner(io.TeeReader(stdout, p.said))
	for lines.Scan() {
		if _, key, ok := strings.Cut(lines.Text(), "API key (shown this once): "); ok {
			p.key = key
		}
		if strings.Contains(lines.Text(), "listening on ") {
			p.connect(address)
			return
		}
	}
	p.t.Fatalf("the process ended before it listened: %v", p.process.Wait())
}

func (p *platform) connect(address string) {
	p.t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.conn = conn
}

// kill ends the process as a power cut does, if it runs.
func (p *platform) kill() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
	if p.process == nil {
		return
	}
	_ = p.process.Process.Kill()
	_ = p.process.Wait() // it was killed
	p.process = nil
}

// caller is a context with the API key that ends with the test's patience.
func (p *platform) caller() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.key), cancel
}

// freeAddress is an address on loopback where nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
