// Package awstest starts the servers that stand in for AWS in tests: moto for all services, ElasticMQ as the second opinion on SQS
// FIFO. tools/standins.sh installs them. A server belongs to the process of the tests and ends with it.
//
// What the stand-ins get wrong is listed in docs/aws-stand-ins.md.
package awstest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
)

// Region is where the tests think they are.
const Region = "eu-west-1"

// root is the top of the repository.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

func installed(t testing.TB, path ...string) string {
	t.Helper()
	p := filepath.Join(append([]string{root(), ".tools", "standins"}, path...)...)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("the AWS stand-ins are not installed (%v): run tools/standins.sh, or make test-aws, which does", err)
	}
	return p
}

var moto = sync.OnceValues(startMoto)

// server is a running moto.
type server struct {
	endpoint string
	// lifeline is its standard input: kept, since a pipe that nobody refers to is closed.
	lifeline io.Closer
}

// startMoto starts one moto for the whole process. It ends when its standard input does, which is when this process ends.
func startMoto() (server, error) {
	python := filepath.Join(root(), ".tools", "standins", "venv", "bin", "python")
	cmd := exec.Command(python, filepath.Join(root(), "tools", "standins", "moto_server.py"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return server{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return server{}, err
	}
	if err := cmd.Start(); err != nil {
		return server{}, err
	}
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return server{}, fmt.Errorf("moto did not start: %w", err)
	}
	return server{"http://127.0.0.1:" + strings.TrimSpace(port), in}, nil
}

// Moto is the endpoint of the moto server of this process.
func Moto(t testing.TB) string {
	t.Helper()
	installed(t, "venv", "bin", "python")
	s, err := moto()
	if err != nil {
		t.Fatal(err)
	}
	return s.endpoint
}

var prefixes atomic.Int64

// Location is a place on moto with a prefix that no other test of this process has.
func Location(t testing.TB) awsclient.Location {
	t.Helper()
	return awsclient.Location{Region: Region, Prefix: "t" + strconv.FormatInt(prefixes.Add(1), 10), Endpoint: Moto(t)}
}

// Config is an SDK configuration with credentials of a test and a client whose connections belong to the caller: inside a bubble
// of testing/synctest call it inside. The server's clock follows the bubble's.
func Config(t testing.TB, l awsclient.Location) aws.Config {
	t.Helper()
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := awsclient.Load(context.Background(), l,
		config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		})))
	if err != nil {
		t.Fatal(err)
	}
	c.HTTPClient = &http.Client{Transport: clock{transport}}
	return c
}

// clock tells the server what time it is here.
type clock struct{ next http.RoundTripper }

// RoundTrip adds the header that tools/standins/moto_server.py reads.
func (c clock) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Clock", strconv.FormatFloat(float64(time.Now().UnixMicro())/1e6, 'f', 6, 64))
	return c.next.RoundTrip(r)
}

// ElasticMQ starts an ElasticMQ for this test and returns its endpoint. Its clock is the machine's.
func ElasticMQ(t testing.TB) string {
	t.Helper()
	jars := installed(t, "elasticmq")
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing to cancel
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = l.Close()
	cmd := exec.Command("java", "-Xmx256m", "-Dport="+port, "-Dconfig.file="+filepath.Join(root(), "tools", "standins", "elasticmq.conf"),
		"-cp", filepath.Join(jars, "*"), "org.elasticmq.server.Main")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	await(t, address)
	return "http://" + address
}

// await returns when the address takes connections.
func await(t testing.TB, address string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil { //nolint:noctx // bounded by the loop
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nothing answers on %s after a minute", address)
}
