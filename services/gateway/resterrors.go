package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// restError gives the errors that HTTP has a better word for their own status.
func restError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || strings.Contains(err.Error(), "request body too large") {
		err = &runtime.HTTPStatusError{
			HTTPStatus: http.StatusRequestEntityTooLarge,
			Err:        status.Errorf(codes.ResourceExhausted, "the request is larger than %d bytes; send less at a time", wire.MaxMessageBytes),
		}
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, err)
}

// routingError answers what no method of a contract does.
func routingError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if code != http.StatusMethodNotAllowed {
		runtime.DefaultRoutingErrorHandler(ctx, mux, m, w, r, code)
		return
	}
	runtime.HTTPError(ctx, mux, m, w, r, &runtime.HTTPStatusError{
		HTTPStatus: code, Err: status.Errorf(codes.Unimplemented, "%s is not allowed here; /openapi.json says what is", r.Method),
	})
}

// queryParser refuses query parameters that the request has no field for, as unknown fields of a body are refused, and says
// of wrong values what they should be.
type queryParser struct{ runtime.DefaultQueryParser }

// Parse fills the fields of a request from the query.
func (p *queryParser) Parse(m proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	fields := m.ProtoReflect().Descriptor().Fields()
	for key, texts := range values {
		name, _, _ := strings.Cut(strings.TrimSuffix(key, "[]"), ".")
		f := fields.ByJSONName(name)
		if f == nil {
			f = fields.ByTextName(name)
		}
		if f == nil {
			return fmt.Errorf("query parameter %q is not known", key)
		}
		if err := p.DefaultQueryParser.Parse(m, url.Values{key: texts}, filter); err != nil {
			return fmt.Errorf("query parameter %q takes %s", key, wanted(f))
		}
	}
	return nil
}

// wanted says what a field takes.
func wanted(f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.EnumKind:
		return "one of the values in /openapi.json"
	case protoreflect.StringKind:
		return "a text"
	case protoreflect.MessageKind:
		return "a value of " + string(f.Message().Name())
	}
	return "a number"
}
