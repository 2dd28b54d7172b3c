package wire

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// errStream is the answer to a call of a streaming method.
func errStream(full, twin string) error {
	if twin == "" {
		return status.Errorf(codes.Unimplemented, "%s is a stream, which this connection does not carry", full)
	}
	return status.Errorf(codes.Unimplemented, "%s is a stream, which this connection does not carry: call %s", full, twin)
}

// unaryTwin finds the paged twin that every server stream of our contracts has: the unary method
// of the same service whose reply lists what the stream sends. It is "" if there is none or the
// service is not linked in.
func unaryTwin(service, stream string) string {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return ""
	}
	sd, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return ""
	}
	methods := sd.Methods()
	sent := methods.ByName(protoreflect.Name(stream))
	if sent == nil {
		return ""
	}
	for i := range methods.Len() {
		m := methods.Get(i)
		if !m.IsStreamingClient() && !m.IsStreamingServer() && lists(m.Output(), sent.Output()) {
			return "/" + service + "/" + string(m.Name())
		}
	}
	return ""
}

func lists(page, element protoreflect.MessageDescriptor) bool {
	fields := page.Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.IsList() && f.Message() != nil && f.Message().FullName() == element.FullName() {
			return true
		}
	}
	return false
}

// splitMethod takes "/service/method" apart; what has another form gives a service that nobody has.
func splitMethod(full string) (service, name string) {
	rest, _ := strings.CutPrefix(full, "/")
	service, name, _ = strings.Cut(rest, "/")
	return service, name
}
