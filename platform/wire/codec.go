package wire

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The texts of the errors below are grpc-go's, so that a failure reads the same on every transport.

// encode marshals a message that generated code passed as any.
func encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	m, ok := v.(proto.Message)
	if !ok {
		return nil, status.Errorf(codes.Internal, "grpc: error while marshaling: proto: failed to marshal, message is %T, want proto.Message", v)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	return b, nil
}

func decode(b []byte, into any) error {
	m, ok := into.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: message is %T, want proto.Message", into)
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	return nil
}

// decodeCall gives a handler its request.
func decodeCall(c *Call, into any) error {
	if c.Message == nil {
		return decode(c.Body, into)
	}
	m, ok := into.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: message is %T, want proto.Message", into)
	}
	if err := protojson.Unmarshal(c.Message, m); err != nil {
		// Not err's own words: they quote the message.
		return status.Errorf(codes.InvalidArgument, "message is no JSON form of %s", m.ProtoReflect().Descriptor().FullName())
	}
	return nil
}

// encodeReply puts a handler's answer into the reply, in the form that the call has.
func encodeReply(c *Call, r *Reply, out any) error {
	body, err := encode(out)
	if err != nil {
		return err
	}
	if len(body) > MaxMessageBytes {
		return status.Errorf(codes.ResourceExhausted, "trying to send message larger than max (%d vs. %d)", len(body), MaxMessageBytes)
	}
	if c.Message == nil {
		r.Body = body
		return nil
	}
	m, ok := out.(proto.Message)
	if !ok {
		r.Message = []byte("{}")
		return nil
	}
	// With default values written out: a state machine's path that names an absent field fails.
	if r.Message, err = (protojson.MarshalOptions{EmitDefaultValues: true}).Marshal(m); err != nil {
		return status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	return nil
}

func checkReplyMetadata(r *Reply) error {
	if err := checkMetadata(metadata.MD(r.Header)); err != nil {
		r.Header = nil
		return err
	}
	if err := checkMetadata(metadata.MD(r.Trailer)); err != nil {
		r.Trailer = nil
		return err
	}
	return nil
}

func tooLarge(size int) error {
	return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", size, MaxMessageBytes)
}
