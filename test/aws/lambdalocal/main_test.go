package lambdalocal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	runtimelib "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/riskprofiler/riskprofiler/test/aws/lambdalocal"
)

// TestMain is the function too: as under Lambda the same file is started, with AWS_LAMBDA_RUNTIME_API set.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		os.Exit(m.Run())
	}
	switch os.Getenv("MODE") {
	case "no-start":
		os.Exit(3)
	case "sigterm":
		runtimelib.StartWithOptions(serve, runtimelib.WithEnableSIGTERM(func() {
			fmt.Println("told to end")
			os.Exit(0)
		}))
	case "stubborn":
		runtimelib.StartWithOptions(serve, runtimelib.WithEnableSIGTERM(func() {}))
	}
	runtimelib.Start(serve)
}

// request tells the function what to do.
type request struct {
	Do    string          `json:"do"`
	Bytes int             `json:"bytes"`
	Echo  json.RawMessage `json:"echo"`
}

// seen is what the function knows about its invocation.
type seen struct {
	Pid       int
	Count     int
	RequestID string
	ARN       string
	Trace     string
	Client    string
	Left      time.Duration
	Env       map[string]string
	Slept     time.Duration
}

var (
	count   int
	last    = time.Now()
	ticking time.Duration // the longest pause between two ticks of a goroutine that runs on between invocations
	beat    sync.Once
	beatMu  sync.Mutex
)

// failure is an error with a name of its own: the runtime library takes the name of the type.
type Unavailable struct{}

func (Unavailable) Error() string { return "come again" }

func serve(ctx context.Context, raw json.RawMessage) (any, error) {
	var r request
	_ = json.Unmarshal(raw, &r)
	count++
	switch r.Do {
	case "fail":
		return nil, Unavailable{}
	case "error":
		return nil, errors.New("plain")
	case "panic":
		panic("at the disco")
	case "exit":
		os.Exit(7)
	case "hang":
		time.Sleep(time.Hour)
	case "wait": // until the time is nearly over
		<-ctx.Done()
	case "large":
		return strings.Repeat("x", r.Bytes), nil
	case "echo":
		return r.Echo, nil
	case "pause":
		time.Sleep(300 * time.Millisecond)
	}
	beat.Do(func() { go watch() })
	beatMu.Lock()
	defer beatMu.Unlock()
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	s := seen{Pid: os.Getpid(), Count: count, RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn, Left: time.Until(deadline),
		Trace: os.Getenv("_X_AMZN_TRACE_ID"), Client: lc.ClientContext.Custom["who"], Env: map[string]string{}, Slept: ticking}
	for _, e := range os.Environ() {
		name, value, _ := strings.Cut(e, "=")
		s.Env[name] = value
	}
	return s, nil
}

// watch notices when the process does not run.
func watch() {
	for {
		time.Sleep(5 * time.Millisecond)
		beatMu.Lock()
		ticking = max(ticking, time.Since(last))
		last = time.Now()
		beatMu.Unlock()
	}
}

// start makes a Lambda with one function "f" that is this binary.
func start(t *testing.T, f lambdalocal.Function, o lambdalocal.Options) *lambdalocal.Lambda {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if f.Name == "" {
		f.Name = "f"
	}
	f.Binary = path
	l := lambdalocal.New(o)
	if err := l.Add(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func invoke(t *testing.T, l *lambdalocal.Lambda, in lambdalocal.Invocation) lambdalocal.Result {
	t.Helper()
	if in.Function == "" {
		in.Function = "f"
	}
	r, err := l.Invoke(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func look(t *testing.T, l *lambdalocal.Lambda, in lambdalocal.Invocation) seen {
	t.Helper()
	r := invoke(t, l, in)
	var s seen
	if err := json.Unmarshal(r.Payload, &s); err != nil || r.FunctionError != "" {
		t.Fatalf("%s: %s %v", r.FunctionError, r.Payload, err)
	}
	return s
}

// output is what a function prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
