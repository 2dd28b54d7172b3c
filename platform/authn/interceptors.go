package authn

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	authorization = "authorization"
	bearerPrefix  = "Bearer "
)

// UnaryClientInterceptor sends with every call a token of signer's: for the principal that the
// context works for, or for the service itself, without a tenant, if it works for none.
func UnaryClientInterceptor(signer *Signer) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, err := signer.attach(ctx)
		if err != nil {
			return err
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}

// attach puts the token into the outgoing metadata, in place of any other.
func (s *Signer) attach(ctx context.Context) (context.Context, error) {
	p, ok := ctx.Value(contextKey{}).(*Principal)
	if !ok {
		self := ForService(s.service, "")
		p = &self
	}
	bearer, err := s.bearer(ctx, p)
	if err != nil {
		return nil, err
	}
	if len(metadata.ValueFromOutgoingContext(ctx, authorization)) > 0 {
		md, _ := metadata.FromOutgoingContext(ctx)
		md.Set(authorization, bearer)
		return metadata.NewOutgoingContext(ctx, md), nil
	}
	return metadata.AppendToOutgoingContext(ctx, authorization, bearer), nil
}

// UnaryServerInterceptor lets a call through to its handler if the method's policy permits it, with
// the principal in the context. It is default-deny: see [PolicySource.Policy]. Missing or wrong
// credentials are Unauthenticated, a principal that may not call is PermissionDenied.
func UnaryServerInterceptor(v *Verifier, policies *PolicySource) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := admit(ctx, v, policies, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// StreamServerInterceptor is [UnaryServerInterceptor] for streaming methods.
func StreamServerInterceptor(v *Verifier, policies *PolicySource) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, err := admit(stream.Context(), v, policies, info.FullMethod)
		if err != nil {
			return err
		}
		return handler(srv, &serverStream{ServerStream: stream, ctx: ctx})
	}
}

// serverStream is a stream with another context.
type serverStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // grpc.ServerStream is made this way
}

// Context is the stream's context with the principal in it.
func (s *serverStream) Context() context.Context { return s.ctx }

func admit(ctx context.Context, v *Verifier, policies *PolicySource, method string) (context.Context, error) {
	policy, err := policies.policy(method)
	if err != nil {
		return nil, err
	}
	if policy.Public {
		return ctx, nil
	}
	p, err := v.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	if err := policy.Permit(*p); err != nil {
		return nil, err
	}
	return context.WithValue(ctx, contextKey{}, p), nil
}

// authenticate verifies the one token that a call must have. Two would leave open who is meant.
func (v *Verifier) authenticate(ctx context.Context) (*Principal, error) {
	values := metadata.ValueFromIncomingContext(ctx, authorization)
	if len(values) == 0 {
		return nil, fault.New(fault.Unauthenticated, "missing credentials")
	}
	token, ok := strings.CutPrefix(values[0], bearerPrefix)
	if !ok || len(values) > 1 {
		return nil, errToken()
	}
	return v.verify(ctx, token)
}
