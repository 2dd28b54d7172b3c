package app

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Settings are what every process can be told. Each is an environment variable; the zero configuration works.
type Settings struct {
	// Data is the directory of the embedded drivers.
	Data string `env:"RISKPROFILER_DATA" envDefault:"riskprofiler-data"`
	// Listen is the address the edge listens on.
	Listen string `env:"RISKPROFILER_LISTEN" envDefault:"127.0.0.1:8080"`
	// PeerListen is the address on which this process serves its services to the others. Empty: all are in this process.
	PeerListen string `env:"RISKPROFILER_PEER_LISTEN"`
	// Peers says where services live that are not in this process: "ingest=127.0.0.1:9001,scheduler=127.0.0.1:9002";
	// "ingest=lambda:NAME" is a function.
	Peers map[string]string `env:"RISKPROFILER_PEERS" envSeparator:"," envKeyValSeparator:"="`
	// TLSCert, TLSKey and TLSCA are PEM files, or PEM texts: this process's certificate, its key, and whose certificates it believes. With
	// them all calls to and from other processes are over mutual TLS; without them such calls cannot leave this machine.
	TLSCert string `env:"RISKPROFILER_TLS_CERT"`
	TLSKey  string `env:"RISKPROFILER_TLS_KEY"`
	TLSCA   string `env:"RISKPROFILER_TLS_CA"`
	// LameDuck is how long the process says that it is not healthy, and still serves, before it ends: what a balancer that
	// asks for health from outside needs to notice.
	LameDuck time.Duration `env:"RISKPROFILER_LAME_DUCK" envDefault:"0s"`
	// OTLP is the address of an OpenTelemetry collector (http), or xray://REGION for X-Ray itself. Empty: spans are not recorded.
	OTLP string `env:"RISKPROFILER_OTLP_ENDPOINT"`
	// Metrics is emf for metrics on standard output in CloudWatch's embedded metric format, off for none there, or auto: emf in a
	// function and where spans go to X-Ray. A collector gets metrics in any case.
	Metrics string `env:"RISKPROFILER_METRICS" envDefault:"auto"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `env:"RISKPROFILER_LOG_LEVEL" envDefault:"info"`
	// Drain bounds how long the process waits for running work after it was told to end.
	Drain time.Duration `env:"RISKPROFILER_DRAIN" envDefault:"25s"`
	// RuntimeAPI is set by Lambda: the process serves invocations instead of listening.
	RuntimeAPI string `env:"AWS_LAMBDA_RUNTIME_API"`
}

// ListenOff as the listen address means that nothing is served to the outside.
const ListenOff = "off"

// Environment is the process's environment as a map.
func Environment() map[string]string {
	all := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			all[k] = v
		}
	}
	return all
}

// decode fills the struct that into points to from settings by its env tags.
func decode(settings map[string]string, into any) error {
	err := env.ParseWithOptions(into, env.Options{Environment: settings})
	var wrong env.ParseError
	if errors.As(err, &wrong) {
		if field, ok := reflect.TypeOf(into).Elem().FieldByName(wrong.Name); ok {
			name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
			return fault.New(fault.Invalid, "read settings: %s is %q, which cannot be read: %s", name, settings[name], oneLine(innermost(wrong.Err)))
		}
	}
	if err != nil {
		return fault.New(fault.Invalid, "read settings: %s", oneLine(err))
	}
	return nil
}

// innermost is the cause of all causes: those around it name functions of the program.
func innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }
