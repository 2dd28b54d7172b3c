package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

const (
	// runtimeAPI is the setting in which Lambda says where its Runtime API is
	// (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html).
	runtimeAPI = "AWS_LAMBDA_RUNTIME_API"
	// shutdownTime is what running work and closing may take after SIGTERM, each: SIGKILL follows 500 ms behind it where an
	// internal extension is registered (docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html, shutdown phase).
	shutdownTime = 200 * time.Millisecond
	// initErrorTime bounds the report of a failed start.
	initErrorTime = time.Second
)

// functionMain is Main under the Lambda runtime.
func functionMain(ctx context.Context, api string, stderr io.Writer, drivers Drivers, specs []Spec) int {
	host, err := Build(ctx, Options{Drivers: drivers, Specs: specs})
	if err == nil {
		err = host.serveFunction(ctx)
		err = errors.Join(err, within(shutdownTime, host.Close))
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", specs[0].Name, err)
		reportStart(context.WithoutCancel(ctx), api, err)
		return 1
	}
	return 0
}

// within gives f some time and does not wait longer: the process ends then.
func within(d time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		return nil
	}
}

// reportStart tells the Runtime API why the function cannot start, so that whoever invoked it is told too
// (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html, initialization error).
func reportStart(ctx context.Context, api string, err error) {
	ctx, cancel := context.WithTimeout(ctx, initErrorTime)
	defer cancel()
	name := workflow.ErrorName(err)
	body, _ := json.Marshal(messages.InvokeResponse_Error{Type: name, Message: oneLine(err)}) // texts can always be written
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+api+"/2018-06-01/runtime/init/error", bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Lambda-Runtime-Function-Error-Type", name)
	client := &http.Client{Transport: &http.Transport{Proxy: nil}}
	if res, err := client.Do(req); err == nil {
		_ = res.Body.Close()
	}
}

// ownWorkflow is the key with which this process vouches for calls of a state machine. Nobody else knows it, and no other process
// accepts it. It is made at the first such call: the first key of a process costs a millisecond, which a cold start need not pay.
type ownWorkflow func() (*ownKey, error)

type ownKey struct {
	public ed25519.PublicKey
	signer *authn.Signer
}

func newOwnWorkflow() ownWorkflow {
	return sync.OnceValues(func() (*ownKey, error) {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, err, "make key of the workflow")
		}
		signer, err := authn.NewSigner(authn.SignerOptions{Service: workflowService, Key: private})
		return &ownKey{public, signer}, err
	})
}

// Find knows the key by its id, and no other.
func (o ownWorkflow) Find(kid string) (ed25519.PublicKey, string, bool) {
	if !strings.HasPrefix(kid, workflowService+".") {
		return nil, "", false
	}
	own, err := o()
	if err != nil {
		return nil, "", false
	}
	return authn.StaticKeys{workflowService: {own.public}}.Find(kid)
}

// serveFunction serves invocations until ctx ends (SIGTERM), which is between two invocations or never.
func (h *Host) serveFunction(ctx context.Context) error {
	if h.runner != nil {
		return fault.New(fault.FailedPrecondition, "serve as a function: these drivers run workflows in the process, which a function cannot do; build with -tags aws")
	}
	if h.ready != nil {
		if err := h.ready(ctx); err != nil {
			return err
		}
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	f := newFunction(h)
	// The runtime client's own lines join the log in its form.
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(h.telemetry.Logger.Handler(), slog.LevelWarn).Writer())
	// It never returns: when its loop ends, it ends the process.
	go lambda.StartWithOptions(f, lambda.WithContext(base), lambda.WithEnableSIGTERM())
	<-ctx.Done()
	f.drain(shutdownTime)
	return nil
}
