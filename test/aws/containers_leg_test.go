//go:build awstest

package cloud

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
	"github.com/riskprofiler/riskprofiler/test"
)

// newContainers makes everything that the services need and the first key, and starts nothing. Parameters are further ones of the
// backend's URL.
func newContainers(t testing.TB, o test.Options, parameters string) (*test.Platform, *Containers) {
	t.Helper()
	dir, err := ContainerBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := awstest.Location(t)
	c, err := NewContainers(t.Context(), ContainerOptions{
		Backend:  fmt.Sprintf("aws://%s/%s?endpoint=%s&account=%s&states=table%s", l.Region, l.Prefix, l.Endpoint, account, parameters),
		Settings: settings(o), Binaries: dir, Certificates: t.TempDir(), Work: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	said, err := c.Run(t.Context(), edge, "bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	_, key, ok := strings.Cut(said, "API key (shown this once): ")
	if !ok {
		t.Fatalf("bootstrap says %q", said)
	}
	return &test.Platform{Address: c.Address, Key: strings.TrimSpace(key)}, c
}

// startContainers runs the six services with certificates of an authority of their own until the test ends: then all end with
// status 0 and have written nothing where they ran, for a container's root is read-only.
func startContainers(t testing.TB, o test.Options, parameters string) (*test.Platform, *Containers) {
	t.Helper()
	p, c := newContainers(t, o, parameters)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(c.options.Work); err != nil || len(left) > 0 {
			t.Errorf("the services left %v where they ran, error %v", left, err)
		}
		if t.Failed() {
			t.Logf("log of the services:\n%s", c.Log)
		}
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, c
}

// TestContainersLeg: an assessment by services in containers, with mutual TLS between them, says what one in a single process says.
func TestContainersLeg(t *testing.T) {
	const network = "127.60.12.0/24"
	if _, err := ContainerBinaries(t.Context()); err != nil { // here, so that the time it takes is not a leg's
		t.Fatal(err)
	}
	l := test.StartLab(t, network, lab.Options{})
	o := test.Options{Resolver: l.Resolver()}
	targets := test.LegTargets(network)
	want := test.Normalised(test.InProcess(t, o).Assess(t, targets, l.Ports()).Report)
	if len(want) < 100 {
		t.Fatalf("the report has only %d facts", len(want))
	}
	same := func(t *testing.T, got test.Outcome) {
		t.Helper()
		if d := test.Difference(want, test.Normalised(got.Report)); d != "" {
			t.Errorf("the reports differ (- only in process, + only in containers):\n%s", d)
		}
	}
	t.Run("moto", func(t *testing.T) {
		p, c := startContainers(t, o, "")
		for name, address := range c.Places {
			refuses(t, name, address, mtls.In(c.options.Certificates, name))
		}
		same(t, p.Assess(t, targets, l.Ports()))
	})
	t.Run("all end and start again", func(t *testing.T) {
		p, c := startContainers(t, o, "")
		name := p.Begin(t, targets, l.Ports())
		before := awaitJobs(t, p, name, jobsBefore)
		began := time.Now()
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
		t.Logf("all ended after %s, with %v", time.Since(began).Round(time.Millisecond), before)
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		same(t, p.Finish(t, name))
	})
	t.Run("ElasticMQ", func(t *testing.T) {
		p, _ := startContainers(t, o, "&sqs="+awstest.ElasticMQ(t))
		same(t, p.Assess(t, targets, l.Ports()))
	})
}

// jobsBefore is how many scan jobs are done before everything ends: the first wave and some of the next.
const jobsBefore = 10

// awaitJobs waits until some scan jobs of an assessment are done and others are not.
func awaitJobs(t testing.TB, p *test.Platform, name string, jobs uint32) *schedulerv1.Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		a := &schedulerv1.Assessment{}
		if _, err := p.Call(ctx, p.Key, http.MethodGet, "/v1/"+name, nil, a); err != nil {
			t.Fatal(err)
		}
		progress := a.GetProgress()
		if a.GetClosed() || a.GetState() > schedulerv1.Assessment_STATE_RUNNING {
			t.Fatalf("%s ended before it could be interrupted", name)
		}
		if done := progress.GetJobsDone() + progress.GetJobsFailed(); done >= jobs && done < progress.GetJobsPlanned() {
			return progress
		}
		<-tick.C
	}
}

// refuses shows that a service answers who has a certificate, and nobody who has none.
func refuses(t testing.TB, service, address string, own mtls.Files) {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := knock(t.Context(), address, certificate); err != nil {
		t.Errorf("%s refuses a certificate of its authority: %v", service, err)
	}
	// In TLS 1.3 a client learns what the server thinks of it when it reads.
	if err := knock(t.Context(), address); err == nil || !strings.Contains(err.Error(), "remote error: tls: certificate required") {
		t.Errorf("%s without a certificate: %v", service, err)
	}
}

// knock connects as a client that believes everything, shows certificates, and reads the first byte of HTTP/2.
func knock(ctx context.Context, address string, certificates ...tls.Certificate) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d := &tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: certificates}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}
