//go:build awstest

package cloud

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"testing"

	"github.com/riskprofiler/riskprofiler/lab"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/test"
)

// exportSetting says where spans go.
const exportSetting = "RISKPROFILER_OTLP_ENDPOINT"

// settings of all functions in the scenario.
func settings(o test.Options) map[string]string {
	return map[string]string{
		"RISKPROFILER_ALLOW_PRIVATE": "true", "RISKPROFILER_RESOLVER": o.Resolver, "RISKPROFILER_LOG_LEVEL": "warn",
		"RISKPROFILER_RESOLVER_RATE": fmt.Sprint(lab.ResolverRate),
		"RISKPROFILER_KEY_RATE":      "10000", "RISKPROFILER_TENANT_REQUEST_RATE": "10000",
	}
}

// startFunctions runs every function as a Lambda function, on a stand-in for the rest of AWS, with further settings.
func startFunctions(t testing.TB, o test.Options, more ...map[string]string) (*test.Platform, *World) {
	t.Helper()
	const key, secret = "test", "test"
	location, set := awstest.Location(t), settings(o)
	for _, m := range more {
		maps.Copy(set, m)
	}
	w, err := Deploy(t.Context(), Options{
		Config: awstest.Config(t, location), Location: location, Settings: set, AccessKeyID: key, SecretAccessKey: secret, Dir: t.TempDir(),
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the functions:\n%s", w.Log)
		}
	})
	p := &test.Platform{Key: bootstrap(t, w)}
	if p.Address, err = w.ServeEdge(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.AwaitReady(t)
	return p, w
}

// bootstrap makes the first key by a gateway in this process, which has the rights of whoever deploys.
func bootstrap(t testing.TB, w *World) string {
	t.Helper()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"} {
		before, set := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil { //nolint:usetesting // a benchmark calls it too
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if set {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		})
	}
	env := Environment(w.Place)
	delete(env, exportSetting) // spans of this process are no function's
	host, err := app.Build(t.Context(), app.Options{Drivers: drivers.AWS, Specs: []app.Spec{gateway.Spec}, Settings: env})
	if err != nil {
		t.Fatal(err)
	}
	key, err := gateway.Bootstrap(t.Context(), host.Conn(authn.ServiceGateway, authn.ServiceGateway), test.Tenant)
	if err != nil || key == "" {
		t.Fatalf("make the first key: %v", err)
	}
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	return key
}

// TestLambdaLeg: an assessment by Lambda functions says what one in a single process says.
func TestLambdaLeg(t *testing.T) {
	const network = "127.60.8.0/24"
	l := test.StartLab(t, network, lab.Options{})
	o := test.Options{Resolver: l.Resolver()}
	var want, got []string
	ran := t.Run("in process", func(t *testing.T) {
		want = test.Normalised(test.InProcess(t, o).Assess(t, test.LegTargets(network), l.Ports()).Report)
	})
	ran = ran && t.Run("functions", func(t *testing.T) {
		p, w := startFunctions(t, o)
		got = test.Normalised(p.Assess(t, test.LegTargets(network), l.Ports()).Report)
		for _, f := range Functions() {
			t.Logf("%-18s %d cold starts", f.Name, len(w.Lambda.ColdStarts(w.Place.Prefix+"-"+f.Name)))
		}
		for name, p := range w.Pollers {
			t.Logf("%-18s %+v", name, p.Stats())
		}
	})
	if !ran {
		return
	}
	if len(want) < 100 {
		t.Errorf("the report has only %d facts", len(want))
	}
	if d := test.Difference(want, got); d != "" {
		t.Errorf("the reports differ (- only in process, + only by functions):\n%s", d)
	}
}

// TestEveryFunctionStartsWithoutTheNetwork: an environment starts although nothing answers.
func TestEveryFunctionStartsWithoutTheNetwork(t *testing.T) {
	dir, err := Binaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Functions() {
		t.Run(f.Name, func(t *testing.T) {
			if took, used := coldStart(t, f.binary(dir)); took <= 0 || used <= 0 {
				t.Errorf("started in %s with %s of the processor", took, used)
			}
		})
	}
}
