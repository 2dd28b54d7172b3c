package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os/user"
	"strconv"

	"google.golang.org/grpc"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	scanners "github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

// specs are the six services.
func specs() []app.Spec {
	return []app.Spec{ingest.Spec, scheduler.Spec, scanners.Spec, correlator.Spec, reporter.Spec, gateway.Spec}
}

// platformFlags are what both assess and up can be told.
type platformFlags struct {
	data         string
	allowPrivate bool
	resolver     string
	resolverRate float64
	listen       string
	// secrets replace those of the data directory; nil: they do not.
	secrets secret.Store
}

// settings are the flags as settings of the process, on top of its environment.
func (f platformFlags) settings(env map[string]string) map[string]string {
	set := func(key, value string) {
		if value != "" {
			env[key] = value
		}
	}
	set("RISKPROFILER_DATA", f.data)
	set("RISKPROFILER_RESOLVER", f.resolver)
	set("RISKPROFILER_LISTEN", f.listen)
	if f.resolverRate != 0 {
		env["RISKPROFILER_RESOLVER_RATE"] = strconv.FormatFloat(f.resolverRate, 'g', -1, 64)
	}
	if f.allowPrivate {
		env["RISKPROFILER_ALLOW_PRIVATE"] = strconv.FormatBool(true)
	}
	return env
}

// open wires the whole platform in this process. Its log goes to w, from level up.
func (f platformFlags) open(ctx context.Context, name string, w io.Writer, level slog.Level) (*app.Host, func(), error) {
	if _, err := netip.ParseAddrPort(f.resolver); f.resolver != "" && err != nil {
		return nil, nil, fmt.Errorf("--resolver %q is no address and port; use one such as 192.0.2.53:53", f.resolver)
	}
	env := f.settings(app.Environment())
	t, err := telemetry.Setup(ctx, telemetry.Options{Service: name, Version: version, Writer: w, Level: level, OTLPEndpoint: env["RISKPROFILER_OTLP_ENDPOINT"]})
	if err != nil {
		return nil, nil, err
	}
	flush := func() { _ = t.Shutdown(context.WithoutCancel(ctx)) }
	host, err := app.Build(ctx, app.Options{Drivers: drivers.Embedded, Specs: specs(), Settings: env, Telemetry: t, Secrets: f.secrets})
	if err != nil {
		flush()
		return nil, nil, err
	}
	return host, flush, nil
}

// operator is the person at this machine: whoever runs the platform on it may do everything on it.
func operator(ctx context.Context, tenant string) context.Context {
	subject := "local"
	if u, err := user.Current(); err == nil && u.Username != "" {
		subject = "local:" + u.Username
	}
	return authn.NewContext(ctx, authn.Principal{
		Tenant: tenant, Subject: subject, Roles: []string{authn.RoleAnalyst, authn.RoleAdmin, authn.RoleOperator},
	})
}

// conns are connections to the services in the gateway's name.
func conn(host *app.Host, service string) grpc.ClientConnInterface {
	return host.Conn(authn.ServiceGateway, service)
}
