package app

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/riskprofiler/riskprofiler/platform/authn"
)

// The contracts of these tests: one service of three methods for each name. They are made here because the generated ones
// are not for this module to import.
const (
	PackageOfTest = "riskprofiler.apptest.v1"
	// MethodGet may be called twice by its name; MethodChange may not; only the workflow may call MethodNext.
	MethodGet, MethodChange, MethodNext = "GetThing", "ChangeThing", "NextThing"
)

// CallersOf are the callers of the methods.
var CallersOf = map[string][]string{
	MethodGet: {"scheduler", "scanner", "ingest"}, MethodChange: {"scheduler"}, MethodNext: {"workflow"},
}

// MethodOf is the full name of a method of a service's contract.
func MethodOf(service, method string) string { return "/" + ContractOf(service) + "/" + method }

// ContractOf is the full name of a service's contract.
func ContractOf(service string) string {
	return PackageOfTest + "." + map[string]string{"ingest": "Ingest", "scheduler": "Scheduler", "scanner": "Scanner"}[service] + "Service"
}

// Contracts registers the contracts once in this process.
var Contracts = sync.OnceFunc(func() {
	field := func(n int32, name string, typ descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: &name, JsonName: &name, Number: &n, Type: &typ, Label: &label}
	}
	const (
		text, boolean      = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BOOL
		optional, repeated = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	)
	extension := field(50801, "policy", descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, optional)
	extension.TypeName, extension.Extendee = proto.String(".riskprofiler.access.v1.Policy"), proto.String(".google.protobuf.MethodOptions")
	access := register(&descriptorpb.FileDescriptorProto{
		Name: proto.String("apptest/access.proto"), Package: proto.String("riskprofiler.access.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/descriptor.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Policy"), Field: []*descriptorpb.FieldDescriptorProto{
			field(1, "roles", text, repeated), field(2, "callers", text, repeated), field(3, "public", boolean, optional), field(4, "tenantless", boolean, optional),
		}}},
		Extension: []*descriptorpb.FieldDescriptorProto{extension},
	})
	xt := dynamicpb.NewExtensionType(access.Extensions().ByName("policy"))
	if err := protoregistry.GlobalTypes.RegisterExtension(xt); err != nil {
		panic(err)
	}
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("apptest/things.proto"), Package: proto.String(PackageOfTest), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto", "apptest/access.proto"},
	}
	for _, name := range []string{"ingest", "scheduler", "scanner"} {
		s := &descriptorpb.ServiceDescriptorProto{Name: proto.String(ContractOf(name)[len(PackageOfTest)+1:])}
		for method, callers := range CallersOf {
			m := xt.New().Message()
			list := m.Mutable(m.Descriptor().Fields().ByName("callers")).List()
			for _, c := range callers {
				list.Append(protoreflect.ValueOfString(c))
			}
			m.Set(m.Descriptor().Fields().ByName("tenantless"), protoreflect.ValueOfBool(true))
			options := &descriptorpb.MethodOptions{}
			proto.SetExtension(options, xt, m.Interface())
			s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
				Name: &method, InputType: proto.String(".google.protobuf.StringValue"), OutputType: proto.String(".google.protobuf.StringValue"), Options: options,
			})
		}
		file.Service = append(file.Service, s)
	}
	register(file)
})

func register(file *descriptorpb.FileDescriptorProto) protoreflect.FileDescriptor {
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(fd)
	}
	if err != nil {
		panic(err)
	}
	return fd
}

// Handler answers a call of any method of a contract.
type Handler func(ctx context.Context, method, text string) (string, error)

// SpecOf is a service that answers its contract with handle.
func SpecOf(name string, handle Handler, calls ...string) Spec {
	desc := &grpc.ServiceDesc{ServiceName: ContractOf(name), HandlerType: (*any)(nil)}
	for method := range CallersOf {
		full := MethodOf(name, method)
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: method, Handler: func(_ any, ctx context.Context, dec func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.StringValue{}
			if err := dec(in); err != nil {
				return nil, err
			}
			return i(ctx, in, &grpc.UnaryServerInfo{FullMethod: full}, func(ctx context.Context, _ any) (any, error) {
				out, err := handle(ctx, method, in.GetValue())
				return wrapperspb.String(out), err
			})
		}})
	}
	desc.Streams = []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { return nil }}}
	s := Spec{Name: name, Trust: Core, Serves: []string{ContractOf(name)}, Calls: calls}
	s.Build = func(Deps) (Service, error) {
		return Service{Register: func(r grpc.ServiceRegistrar) { r.RegisterService(desc, nil) }}, nil
	}
	return s
}

// Caller is in whose name a call is made.
func Caller(ctx context.Context) string {
	p, _ := authn.FromContext(ctx)
	return p.Issuer
}
