package app

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/mtls"
)

// Identities are the names that a process with this spec speaks in towards others: its own, and the workflow's where it
// runs. Its certificate has to name them.
func Identities(s Spec) []string {
	if len(s.Workflows) > 0 {
		return []string{s.Name, workflowService}
	}
	return []string{s.Name}
}

// openTLS reads the certificate, if one is set.
func (h *Host) openTLS(context.Context) error {
	var services []string
	for _, s := range h.specs {
		services = append(services, Identities(s)...)
	}
	var err error
	h.tls, err = openTLS(h.config, mtls.Options{Services: services, Logger: h.telemetry.Logger})
	if err != nil {
		return err
	}
	if h.tls == nil && h.config.PeerListen != "" && !local(h.config.PeerListen) {
		return fault.New(fault.Invalid, "read settings: RISKPROFILER_PEER_LISTEN is %s, which others reach, and no certificate is set; set RISKPROFILER_TLS_CERT, _KEY and _CA, or listen on 127.0.0.1", h.config.PeerListen)
	}
	return nil
}

func openTLS(c Settings, o mtls.Options) (*mtls.Source, error) {
	o.Files = mtls.Files{Cert: c.TLSCert, Key: c.TLSKey, CA: c.TLSCA}
	switch {
	case o.Files == mtls.Files{}:
		return nil, nil
	case c.TLSCert == "" || c.TLSKey == "" || c.TLSCA == "":
		return nil, fault.New(fault.Invalid, "read settings: of RISKPROFILER_TLS_CERT, RISKPROFILER_TLS_KEY and RISKPROFILER_TLS_CA some are set and some are not; set all three")
	}
	return mtls.Open(o)
}

// bind lets a call through if the service whose token it carries is the one that its connection belongs to. Then the
// method's list of callers, which was applied to the token, has been applied to the connection too: a stolen token is of
// use only to who has the thief's victim's certificate as well.
func bind(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	services, err := mtls.Identities(ctx)
	if err != nil {
		return nil, err
	}
	p, ok := authn.FromContext(ctx)
	if ok && !slices.Contains(services, p.Issuer) {
		return nil, fault.New(fault.PermissionDenied, "the credentials are not those of the service that shows them")
	}
	// Without a principal the method is public: see authn.UnaryServerInterceptor.
	return handler(ctx, req)
}
