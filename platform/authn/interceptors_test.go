package authn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// mesh is a gateway, a scheduler and a scanner with a verifier and the policies of test.Service.
type mesh struct {
	signers  map[string]*Signer
	verifier *Verifier
	policies *PolicySource
}

func newMesh(t testing.TB) mesh {
	t.Helper()
	dir := t.TempDir()
	m := mesh{signers: map[string]*Signer{}, verifier: NewVerifier(VerifierOptions{Keys: OpenKeyRing(dir)})}
	for service, key := range writeRing(t, dir, "gateway", "scheduler", "scanner") {
		s, err := NewSigner(SignerOptions{Service: service, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		m.signers[service] = s
	}
	m.policies = newContracts(t, map[string]*Policy{
		"Create": {Roles: []string{RoleAdmin}}, "Tick": {Callers: []string{"scheduler"}, Tenantless: true}, "Version": {Public: true}, "Secret": nil,
		"Check": {Roles: []string{RoleAdmin}, Callers: []string{"scheduler"}},
	}, false).source()
	return m
}

// call sends a call through the client's interceptor into the server's, and gives the principal
// that the handler saw.
func (m mesh) call(ctx context.Context, signer *Signer, method string) (Principal, error) {
	var seen Principal
	err := UnaryClientInterceptor(signer)(ctx, method, nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		md, _ := metadata.FromOutgoingContext(ctx)
		var err error
		seen, err = m.serve(md, method)
		return err
	})
	return seen, err
}

func (m mesh) serve(md metadata.MD, method string) (Principal, error) {
	var seen Principal
	ran := false
	info := &grpc.UnaryServerInfo{FullMethod: method}
	ctx := metadata.NewIncomingContext(context.Background(), md)
	_, err := UnaryServerInterceptor(m.verifier, m.policies)(ctx, nil, info, func(ctx context.Context, _ any) (any, error) {
		ran = true
		seen, _ = FromContext(ctx)
		return nil, nil
	})
	stream := &fakeStream{ctx: ctx}
	streamRan := false
	streamErr := StreamServerInterceptor(m.verifier, m.policies)(nil, stream, &grpc.StreamServerInfo{FullMethod: method}, func(_ any, s grpc.ServerStream) error {
		streamRan = true
		if p, _ := FromContext(s.Context()); !cmp.Equal(p, seen) {
			return fmt.Errorf("stream saw %v, unary saw %v", p, seen)
		}
		return nil
	})
	if fmt.Sprint(err) != fmt.Sprint(streamErr) || ran != streamRan || ran != (err == nil) {
		return seen, fmt.Errorf("unary: %v (ran %v), stream: %v (ran %v)", err, ran, streamErr, streamRan)
	}
	return seen, err
}

type fakeStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *fakeStream) Context() context.Context { return s.ctx }

func TestInterceptors(t *testing.T) {
	m := newMesh(t)
	admin := Principal{Tenant: "t1", Subject: "user:ann", Roles: []string{RoleAdmin}}
	as := func(p Principal) context.Context { return NewContext(t.Context(), p) }
	for _, c := range []struct {
		name    string
		ctx     context.Context
		service string
		method  string
		want    fault.Code
		subject string
	}{
		{"person through the gateway", as(admin), "gateway", "Create", fault.OK, "user:ann"},
		{"and on by a caller", as(admin), "scheduler", "Check", fault.OK, "user:ann"},
		{"and on by another", as(admin), "scanner", "Check", fault.PermissionDenied, ""},
		{"person through another", as(admin), "scanner", "Create", fault.PermissionDenied, ""},
		{"service for itself", t.Context(), "scheduler", "Tick", fault.OK, "service:scheduler"},
		{"another for itself", t.Context(), "scanner", "Tick", fault.PermissionDenied, ""},
		{"service for a tenant", as(ForService("scheduler", "t1")), "scheduler", "Check", fault.OK, "service:scheduler"},
		{"service without tenant", t.Context(), "scheduler", "Check", fault.PermissionDenied, ""},
		{"public", t.Context(), "scanner", "Version", fault.OK, ""},
		{"undeclared", as(admin), "gateway", "Secret", fault.PermissionDenied, ""},
		{"unknown", as(admin), "gateway", "Nothing", fault.Unimplemented, ""},
		{"principal that cannot be minted", as(Principal{Subject: "service:gateway"}), "scanner", "Tick", fault.Internal, ""},
	} {
		seen, err := m.call(c.ctx, m.signers[c.service], "/test.Service/"+c.method)
		if fault.CodeOf(err) != c.want || seen.Subject != c.subject {
			t.Errorf("%s: %v, %v", c.name, seen, err)
		}
		if c.subject != "" && seen.Issuer != c.service {
			t.Errorf("%s: issued by %q", c.name, seen.Issuer)
		}
	}
}

func TestCredentialsOfACall(t *testing.T) {
	m := newMesh(t)
	token, err := m.signers["gateway"].Mint(t.Context(), Principal{Tenant: "t1", Subject: "user:ann", Roles: []string{RoleAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string][]string{
		"none": nil, "empty": {""}, "no scheme": {token}, "other scheme": {"Basic " + token}, "scheme in other case": {"bearer " + token},
		"two spaces": {"Bearer  " + token}, "two tokens": {"Bearer " + token, "Bearer " + token}, "garbage behind": {"Bearer " + token + " x"},
		"garbage": {"Bearer x"}, "second is garbage": {"Bearer " + token, "x"},
	} {
		if _, err := m.serve(metadata.MD{"authorization": values}, "/test.Service/Create"); !errors.Is(err, fault.Unauthenticated) || strings.Contains(err.Error(), token[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.serve(metadata.MD{"authorization": {"Bearer " + token}}, "/test.Service/Create"); err != nil {
		t.Errorf("the right form: %v", err)
	}
	// A token that came in from outside is not what goes out.
	ctx := metadata.AppendToOutgoingContext(t.Context(), "Authorization", "Bearer stolen", "other", "kept")
	err = UnaryClientInterceptor(m.signers["scheduler"])(ctx, "/x/y", nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		md, _ := metadata.FromOutgoingContext(ctx)
		if len(md["authorization"]) != 1 || strings.Contains(md["authorization"][0], "stolen") || md["other"][0] != "kept" {
			t.Errorf("sent %v", md)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkAdmit is all that the server's interceptor does for a call, with everything remembered.
func BenchmarkAdmit(b *testing.B) {
	m := newMesh(b)
	token, err := m.signers["gateway"].Mint(b.Context(), Principal{Tenant: "t1", Subject: "user:ann", Roles: []string{RoleAdmin}})
	if err != nil {
		b.Fatal(err)
	}
	ctx := metadata.NewIncomingContext(b.Context(), metadata.MD{"authorization": {"Bearer " + token}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := admit(ctx, m.verifier, m.policies, "/test.Service/Create"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAttach is all that the client's interceptor does for a call.
func BenchmarkAttach(b *testing.B) {
	m := newMesh(b)
	ctx := NewContext(b.Context(), Principal{Tenant: "t1", Subject: "user:ann", Roles: []string{RoleAdmin}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.signers["scheduler"].attach(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
