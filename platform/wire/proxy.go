package wire

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// RegisterProxy registers every unary method of the service sd with reg, so that it forwards to
// conn. It is how one service shows another's contract. See [ProxyDesc].
func RegisterProxy(reg grpc.ServiceRegistrar, sd protoreflect.ServiceDescriptor, conn grpc.ClientConnInterface) error {
	desc, err := ProxyDesc(sd, conn)
	if err != nil {
		return err
	}
	reg.RegisterService(desc, nil)
	return nil
}

// ProxyDesc describes a service whose unary methods forward to conn. Streams may be added to the
// result before it is registered with a nil implementation.
//
// Requests and replies have the generated types, so interceptors on both sides see what they see
// for any other service. Status and details come back as conn gave them; metadata is not forwarded
// in either direction, that is for interceptors. It fails if the generated types are not linked in.
func ProxyDesc(sd protoreflect.ServiceDescriptor, conn grpc.ClientConnInterface) (*grpc.ServiceDesc, error) {
	desc := &grpc.ServiceDesc{
		ServiceName: string(sd.FullName()),
		HandlerType: (*any)(nil),
		Metadata:    sd.ParentFile().Path(),
	}
	methods := sd.Methods()
	for i := range methods.Len() {
		md := methods.Get(i)
		if md.IsStreamingClient() || md.IsStreamingServer() {
			continue
		}
		in, err := protoregistry.GlobalTypes.FindMessageByName(md.Input().FullName())
		if err != nil {
			return nil, fmt.Errorf("proxy %s: request type: %w", md.FullName(), err)
		}
		out, err := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName())
		if err != nil {
			return nil, fmt.Errorf("proxy %s: reply type: %w", md.FullName(), err)
		}
		full := "/" + desc.ServiceName + "/" + string(md.Name())
		desc.Methods = append(desc.Methods, grpc.MethodDesc{
			MethodName: string(md.Name()),
			Handler:    forward(full, in, out, conn),
		})
	}
	return desc, nil
}

func forward(full string, in, out protoreflect.MessageType, conn grpc.ClientConnInterface) grpc.MethodHandler {
	invoke := func(ctx context.Context, req any) (any, error) {
		reply := out.New().Interface()
		if err := conn.Invoke(ctx, full, req, reply); err != nil {
			return nil, err
		}
		return reply, nil
	}
	return func(srv any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		req := in.New().Interface()
		if err := dec(req); err != nil {
			return nil, err
		}
		if interceptor == nil {
			return invoke(ctx, req)
		}
		return interceptor(ctx, req, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, invoke)
	}
}
