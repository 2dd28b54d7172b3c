package authn

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// contracts are the access option and a service that uses it, made here because the generated
// ones are not for this module to import.
type contracts struct {
	files *protoregistry.Files
	types *protoregistry.Types
}

func accessFile(t testing.TB, rolesType descriptorpb.FieldDescriptorProto_Type) protoreflect.FileDescriptor {
	t.Helper()
	field := func(n int32, name string, typ descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: &name, JsonName: &name, Number: &n, Type: &typ, Label: &label}
	}
	const (
		text     = descriptorpb.FieldDescriptorProto_TYPE_STRING
		boolean  = descriptorpb.FieldDescriptorProto_TYPE_BOOL
		optional = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		repeated = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	)
	extension := field(50801, "policy", descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, optional)
	extension.TypeName, extension.Extendee = proto.String(".riskprofiler.access.v1.Policy"), proto.String(".google.protobuf.MethodOptions")
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("riskprofiler/access/v1/access.proto"), Package: proto.String("riskprofiler.access.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/descriptor.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Policy"), Field: []*descriptorpb.FieldDescriptorProto{
			field(1, "roles", rolesType, repeated), field(2, "callers", text, repeated), field(3, "public", boolean, optional), field(4, "tenantless", boolean, optional),
		}}},
		Extension: []*descriptorpb.FieldDescriptorProto{extension},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// newContracts makes the service test.Service with one method for each policy; nil declares none.
// Method options that were made by another program are unknown bytes to this one: raw says so.
func newContracts(t testing.TB, policies map[string]*Policy, raw bool) contracts {
	t.Helper()
	access := accessFile(t, descriptorpb.FieldDescriptorProto_TYPE_STRING)
	xt := dynamicpb.NewExtensionType(access.Extensions().ByName("policy"))
	c := contracts{files: &protoregistry.Files{}, types: &protoregistry.Types{}}
	if err := c.types.RegisterExtension(xt); err != nil {
		t.Fatal(err)
	}
	service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Service")}
	for name, p := range policies {
		m := &descriptorpb.MethodDescriptorProto{Name: proto.String(name), InputType: proto.String(".test.Message"), OutputType: proto.String(".test.Message")}
		if p != nil {
			m.Options = options(t, xt, p, raw)
		}
		service.Method = append(service.Method, m)
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Package: proto.String("test"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Message")}}, Service: []*descriptorpb.ServiceDescriptorProto{service},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.files.RegisterFile(fd); err != nil {
		t.Fatal(err)
	}
	return c
}

func options(t testing.TB, xt protoreflect.ExtensionType, p *Policy, raw bool) *descriptorpb.MethodOptions {
	t.Helper()
	m := xt.New().Message()
	fields := m.Descriptor().Fields()
	for name, values := range map[protoreflect.Name][]string{"roles": p.Roles, "callers": p.Callers} {
		for _, v := range values {
			m.Mutable(fields.ByName(name)).List().Append(protoreflect.ValueOfString(v))
		}
	}
	m.Set(fields.ByName("public"), protoreflect.ValueOfBool(p.Public))
	m.Set(fields.ByName("tenantless"), protoreflect.ValueOfBool(p.Tenantless))
	out := &descriptorpb.MethodOptions{}
	proto.SetExtension(out, xt, m.Interface())
	if !raw {
		return out
	}
	data, err := proto.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	unknown := &descriptorpb.MethodOptions{}
	if err := (proto.UnmarshalOptions{Resolver: &protoregistry.Types{}}).Unmarshal(data, unknown); err != nil {
		t.Fatal(err)
	}
	return unknown
}

func (c contracts) source() *PolicySource {
	return NewPolicySource(PolicyOptions{Files: c.files, Types: c.types})
}

func TestPolicyIsReadFromTheContract(t *testing.T) {
	want := map[string]*Policy{
		"Roles":      {Roles: []string{RoleAdmin, RoleAnalyst}},
		"Callers":    {Callers: []string{"scheduler", "ingest"}, Tenantless: true},
		"Both":       {Roles: []string{RoleViewer}, Callers: []string{"reporter"}},
		"Public":     {Public: true},
		"Undeclared": nil,
		"Nobody":     {}, "Tenantless": {Tenantless: true}, "UnknownRole": {Roles: []string{"root"}}, "RoleInOtherCase": {Roles: []string{"Admin"}},
		"EmptyRole": {Roles: []string{""}}, "OddCaller": {Callers: []string{"*"}}, "PublicForSome": {Public: true, Roles: []string{RoleAdmin}},
	}
	denied := []string{"EmptyRole", "Nobody", "OddCaller", "PublicForSome", "RoleInOtherCase", "Tenantless", "Undeclared", "UnknownRole"}
	for _, raw := range []bool{false, true} {
		s := newContracts(t, want, raw).source()
		for range 2 { // the second time from the cache
			for name, p := range want {
				got, err := s.Policy("/test.Service/" + name)
				if slices.Contains(denied, name) {
					if !errors.Is(err, fault.PermissionDenied) {
						t.Errorf("%s: %v, %v", name, got, err)
					}
					continue
				}
				if diff := cmp.Diff(*p, got); err != nil || diff != "" {
					t.Errorf("%s: %v\n%s", name, err, diff)
				}
			}
		}
		undeclared := s.Undeclared("test.Service")
		slices.Sort(undeclared)
		var full []string
		for _, name := range denied {
			full = append(full, "/test.Service/"+name)
		}
		if diff := cmp.Diff(full, undeclared); diff != "" {
			t.Errorf("undeclared (-want +got):\n%s", diff)
		}
	}
}

func TestOddMethodNamesHaveNoPolicy(t *testing.T) {
	s := newContracts(t, map[string]*Policy{"Get": {Public: true}}, false).source()
	for _, name := range []string{
		"", "/", "//", "test.Service/Get", "/test.Service", "/test.Service/", "/test.Service/get", "/test.Service/GET", "/test.service/Get", "/Test.Service/Get",
		"//test.Service/Get", "/test.Service//Get", "/test.Service/Get/", "/test.Service/Get ", "/test.Service/./Get", "/test/Get", "/test.Message/Get", "/test.Service.Get/Get",
		"/test.Service/Get\x00", "/Service/Get", "/.test.Service/Get", "/test.Service/%47et", "/grpc.health.v1.Health/Check",
	} {
		if p, err := s.Policy(name); !errors.Is(err, fault.Unimplemented) {
			t.Errorf("%q: %v, %v", name, p, err)
		}
	}
	if n := len(*s.known.Load()); n != 0 {
		t.Errorf("%d unknown names are remembered", n)
	}
	if got := s.Undeclared("test.Nothing"); len(got) != 1 {
		t.Errorf("undeclared methods of no service: %v", got)
	}
}

func TestContractsWithoutTheOptionAreDenied(t *testing.T) {
	c := newContracts(t, map[string]*Policy{"Get": {Public: true}}, false)
	c.types = &protoregistry.Types{}
	if _, err := c.source().Policy("/test.Service/Get"); !errors.Is(err, fault.PermissionDenied) {
		t.Errorf("the option is not linked in: %v", err)
	}
	xt := dynamicpb.NewExtensionType(accessFile(t, descriptorpb.FieldDescriptorProto_TYPE_BYTES).Extensions().ByName("policy"))
	if err := c.types.RegisterExtension(xt); err != nil {
		t.Fatal(err)
	}
	if _, err := c.source().Policy("/test.Service/Get"); !errors.Is(err, fault.PermissionDenied) {
		t.Errorf("the option has another shape: %v", err)
	}
}

func TestFixedPolicies(t *testing.T) {
	c := newContracts(t, map[string]*Policy{"Check": nil, "Other": nil}, false)
	s := NewPolicySource(PolicyOptions{Files: c.files, Types: c.types, Fixed: map[string]Policy{"/test.Service/Check": {Public: true}, "/test.Service/Gone": {Public: true}}})
	if p, err := s.Policy("/test.Service/Check"); err != nil || !p.Public {
		t.Errorf("got %v, %v", p, err)
	}
	if _, err := s.Policy("/test.Service/Other"); !errors.Is(err, fault.PermissionDenied) {
		t.Errorf("another method: %v", err)
	}
	if _, err := s.Policy("/test.Service/Gone"); !errors.Is(err, fault.Unimplemented) {
		t.Errorf("a method that does not exist: %v", err)
	}
}

func TestPolicyCacheUnderConcurrency(t *testing.T) {
	policies := map[string]*Policy{}
	for i := range 50 {
		policies[fmt.Sprint("M", i)] = &Policy{Callers: []string{fmt.Sprint("s", i)}}
	}
	s := newContracts(t, policies, false).source()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				if p, err := s.Policy(fmt.Sprint("/test.Service/M", i)); err != nil || p.Callers[0] != fmt.Sprint("s", i) {
					t.Errorf("M%d: %v, %v", i, p, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(*s.known.Load()); n != 50 {
		t.Errorf("%d methods are remembered", n)
	}
}

func TestPermit(t *testing.T) {
	user := func(issuer, tenant string, roles ...string) Principal {
		return Principal{Tenant: tenant, Subject: "user:a", Roles: roles, Issuer: issuer}
	}
	service := func(name, tenant string) Principal {
		p := ForService(name, tenant)
		p.Issuer = name
		return p
	}
	carried := service("scheduler", "t1")
	carried.Issuer = "scanner"
	for _, c := range []struct {
		name   string
		policy Policy
		who    Principal
		want   bool
	}{
		{"role through the gateway", Policy{Roles: []string{RoleViewer, RoleAdmin}}, user("gateway", "t1", RoleAdmin), true},
		{"one of several roles", Policy{Roles: []string{RoleAdmin}}, user("gateway", "t1", RoleViewer, RoleAdmin), true},
		{"another role", Policy{Roles: []string{RoleAdmin}}, user("gateway", "t1", RoleViewer), false},
		{"no role implies another", Policy{Roles: []string{RoleViewer}}, user("gateway", "t1", RoleAdmin), false},
		{"role in other case", Policy{Roles: []string{RoleAdmin}}, user("gateway", "t1", "Admin"), false},
		{"no roles", Policy{Roles: []string{RoleAdmin}}, user("gateway", "t1"), false},
		{"method for services only", Policy{Callers: []string{"gateway"}}, user("gateway", "t1", RoleAdmin), false},
		{"person through another service", Policy{Roles: []string{RoleAdmin}}, user("scheduler", "t1", RoleAdmin), false},
		{"person through a caller", Policy{Roles: []string{RoleAdmin}, Callers: []string{"scheduler"}}, user("scheduler", "t1", RoleAdmin), true},
		{"person without role through a caller", Policy{Roles: []string{RoleAdmin}, Callers: []string{"scheduler"}}, user("scheduler", "t1", RoleViewer), false},
		{"person of no issuer", Policy{Roles: []string{RoleAdmin}}, user("", "t1", RoleAdmin), false},
		{"person without tenant", Policy{Roles: []string{RoleOperator}}, user("gateway", "", RoleOperator), false},
		{"person without tenant where that is right", Policy{Roles: []string{RoleOperator}, Tenantless: true}, user("gateway", "", RoleOperator), true},
		{"person with tenant where none is needed", Policy{Roles: []string{RoleOperator}, Tenantless: true}, user("gateway", "t1", RoleOperator), true},
		{"service", Policy{Callers: []string{"scheduler"}}, service("scheduler", "t1"), true},
		{"another service", Policy{Callers: []string{"scheduler"}}, service("scanner", "t1"), false},
		{"gateway for itself", Policy{Roles: []string{RoleAdmin}}, service("gateway", "t1"), false},
		{"service without tenant", Policy{Callers: []string{"scheduler"}}, service("scheduler", ""), false},
		{"service without tenant where that is right", Policy{Callers: []string{"scheduler"}, Tenantless: true}, service("scheduler", ""), true},
		{"service carried on by a service that may not", Policy{Callers: []string{"scheduler"}}, carried, false},
		{"nobody, public", Policy{Public: true}, Principal{}, true},
		{"nobody", Policy{Roles: []string{RoleViewer}, Callers: []string{"scheduler"}, Tenantless: true}, Principal{}, false},
		{"zero policy", Policy{}, user("gateway", "t1", RoleAdmin), false},
	} {
		err := c.policy.Permit(c.who)
		if (err == nil) != c.want || (err != nil && !errors.Is(err, fault.PermissionDenied)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
