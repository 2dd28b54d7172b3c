package lambdalocal

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Limits of Lambda: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const (
	// MaxPayloadBytes bounds the payload of a synchronous invocation and its answer: 6 MB each.
	MaxPayloadBytes = 6 << 20
	// MaxTimeout is the longest timeout of a function.
	MaxTimeout = 15 * time.Minute
	// MaxMemoryMiB is the most memory of a function.
	MaxMemoryMiB = 10240
	// MinMemoryMiB is the least.
	MinMemoryMiB = 128
)

const (
	// initLimit is how long a process may take to its first poll:
	// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
	initLimit = 10 * time.Second
	// shutdownLimit is how long a process with an internal extension has after SIGTERM, before SIGKILL (the same page).
	shutdownLimit = 500 * time.Millisecond
	// version is the published version that aliases point to. The functions here are never deployed twice.
	version = "1"
	// latest is the version that is invoked without a qualifier.
	latest = "$LATEST"
)

// Function is a function as it is deployed.
type Function struct {
	// Name without account and region, 1 to 64 characters.
	Name string
	// Binary is the file that is started: what a zip for an OS-only runtime holds as `bootstrap`.
	Binary string
	// Env is the function's own environment. Nothing of this process's environment is passed on.
	Env map[string]string
	// MemoryMiB is told to the process and not enforced. 0: 128.
	MemoryMiB int
	// Timeout of one invocation; the process is killed when it passes. 0: 3 s, as on AWS.
	Timeout time.Duration
	// MaxInstances is the reserved concurrency: how many invocations run at a time. 0: 10.
	MaxInstances int
	// Aliases are the qualifiers by which the function may be invoked, besides none at all.
	Aliases []string
	// Log takes what the processes print. nil: nothing is kept.
	Log io.Writer
}

// withDefaults checks a function and fills in what is absent.
func (f Function) withDefaults() (Function, error) {
	if f.MemoryMiB == 0 {
		f.MemoryMiB = MinMemoryMiB
	}
	if f.Timeout == 0 {
		f.Timeout = 3 * time.Second
	}
	if f.MaxInstances == 0 {
		f.MaxInstances = 10
	}
	if f.Log == nil {
		f.Log = io.Discard
	}
	switch {
	case f.Name == "" || len(f.Name) > 64:
		return f, fault.New(fault.Invalid, "add function %q: a name has 1 to 64 characters", f.Name)
	case f.Timeout < 0 || f.Timeout > MaxTimeout:
		return f, fault.New(fault.Invalid, "add function %s: timeout %s is not in 1s to %s", f.Name, f.Timeout, MaxTimeout)
	case f.MemoryMiB < MinMemoryMiB || f.MemoryMiB > MaxMemoryMiB:
		return f, fault.New(fault.Invalid, "add function %s: memory %d MiB is not in %d to %d", f.Name, f.MemoryMiB, MinMemoryMiB, MaxMemoryMiB)
	case f.MaxInstances < 0:
		return f, fault.New(fault.Invalid, "add function %s: %d instances", f.Name, f.MaxInstances)
	}
	path, err := filepath.Abs(f.Binary)
	if err != nil {
		return f, fault.Wrap(fault.Invalid, err, "add function %s", f.Name)
	}
	f.Binary = path
	return f, nil
}

// environment is what a process of the function finds in its environment:
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime. AWS_EXECUTION_ENV is
// absent there too for an OS-only runtime.
func (f Function) environment(o Options, runtimeAPI, stream string) []string {
	env := map[string]string{
		"AWS_REGION": o.Region, "AWS_DEFAULT_REGION": o.Region,
		"AWS_ACCESS_KEY_ID": o.AccessKeyID, "AWS_SECRET_ACCESS_KEY": o.SecretAccessKey, "AWS_SESSION_TOKEN": o.SessionToken,
		"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
		"LANG":                     "en_US.UTF-8", "TZ": ":UTC", "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
	}
	if o.SessionToken == "" {
		delete(env, "AWS_SESSION_TOKEN")
	}
	maps.Copy(env, f.Env)
	// What follows is reserved: a function cannot set it.
	maps.Copy(env, map[string]string{
		"AWS_LAMBDA_RUNTIME_API": runtimeAPI, "_HANDLER": "bootstrap", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.MemoryMiB),
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + f.Name, "AWS_LAMBDA_LOG_STREAM_NAME": stream,
		"LAMBDA_TASK_ROOT": filepath.Dir(f.Binary), "LAMBDA_RUNTIME_DIR": "/var/runtime",
	})
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// arn is the function's ARN with a qualifier, if there is one.
func (o Options) arn(name, qualifier string) string {
	arn := fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", o.Region, o.Account, name)
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}
