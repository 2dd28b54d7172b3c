package wire

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// callJSON is the JSON form of a Call. Bodies are base64, and so are the values of "-bin" metadata,
// which need not be text. The message form is what a state machine writes.
type callJSON struct {
	Method   string              `json:"method"`
	Metadata map[string][]string `json:"metadata,omitempty"`
	Body     []byte              `json:"body,omitempty"`
	Message  json.RawMessage     `json:"message,omitempty"`
	Deadline time.Time           `json:"deadline,omitzero"`
}

// replyJSON is the JSON form of a Reply. Code and Error repeat the status in words, for people and
// state machines; only Status is read back.
type replyJSON struct {
	Code    string              `json:"code,omitempty"`
	Error   string              `json:"error,omitempty"`
	Status  []byte              `json:"status,omitempty"`
	Header  map[string][]string `json:"header,omitempty"`
	Trailer map[string][]string `json:"trailer,omitempty"`
	Body    []byte              `json:"body,omitempty"`
	Message json.RawMessage     `json:"message,omitempty"`
}

// MarshalJSON gives the form that a Lambda Invoke carries.
func (c *Call) MarshalJSON() ([]byte, error) {
	return json.Marshal(callJSON{
		Method: c.Method, Metadata: encodeBinary(c.Metadata), Body: c.Body, Message: c.Message, Deadline: c.Deadline,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Call) UnmarshalJSON(data []byte) error {
	var j callJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("read call: %w", err)
	}
	md, err := decodeBinary(j.Metadata)
	if err != nil {
		return fmt.Errorf("read call: %w", err)
	}
	if j.Body != nil && j.Message != nil {
		return fmt.Errorf("read call: both body and message are set")
	}
	*c = Call{Method: j.Method, Metadata: md, Body: j.Body, Message: j.Message, Deadline: j.Deadline}
	return nil
}

// MarshalJSON gives the form that a Lambda Invoke carries.
func (r *Reply) MarshalJSON() ([]byte, error) {
	j := replyJSON{Header: encodeBinary(r.Header), Trailer: encodeBinary(r.Trailer), Body: r.Body, Message: r.Message}
	if code := r.Status.GetCode(); code != 0 {
		b, err := proto.Marshal(r.Status)
		if err != nil {
			return nil, fmt.Errorf("write reply: %w", err)
		}
		j.Status, j.Code, j.Error = b, codes.Code(code).String(), r.Status.GetMessage()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Reply) UnmarshalJSON(data []byte) error {
	var j replyJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("read reply: %w", err)
	}
	out := Reply{Body: j.Body, Message: j.Message}
	if j.Status != nil {
		out.Status = &spb.Status{}
		if err := proto.Unmarshal(j.Status, out.Status); err != nil {
			return fmt.Errorf("read reply: status: %w", err)
		}
	}
	var err error
	if out.Header, err = decodeBinary(j.Header); err != nil {
		return fmt.Errorf("read reply: header: %w", err)
	}
	if out.Trailer, err = decodeBinary(j.Trailer); err != nil {
		return fmt.Errorf("read reply: trailer: %w", err)
	}
	*r = out
	return nil
}

// encodeBinary gives md with the values of "-bin" names in base64. md itself is left alone.
func encodeBinary(md map[string][]string) map[string][]string {
	if !hasBinary(md) {
		return md
	}
	out := make(map[string][]string, len(md))
	for name, values := range md {
		if isBinary(name) {
			values = slices.Clone(values)
			for i, v := range values {
				values[i] = base64.StdEncoding.EncodeToString([]byte(v))
			}
		}
		out[name] = values
	}
	return out
}

// decodeBinary undoes encodeBinary, in place.
func decodeBinary(md map[string][]string) (map[string][]string, error) {
	for name, values := range md {
		if !isBinary(name) {
			continue
		}
		for i, v := range values {
			b, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return nil, fmt.Errorf("metadata %q is no base64", name)
			}
			values[i] = string(b)
		}
	}
	return md, nil
}

func isBinary(name string) bool { return strings.HasSuffix(name, "-bin") }

func hasBinary(md map[string][]string) bool {
	for name := range md {
		if isBinary(name) {
			return true
		}
	}
	return false
}

// JSONTransport is the calling half of a transport that carries JSON payloads, as Lambda's Invoke
// does. The other half is [Mux.ServeJSON].
type JSONTransport struct {
	// Invoke sends a payload and returns the answer's. It must return when ctx ends.
	Invoke func(ctx context.Context, payload []byte) ([]byte, error)
}

// RoundTrip sends one call.
func (t JSONTransport) RoundTrip(ctx context.Context, c *Call) (*Reply, error) {
	payload, err := c.MarshalJSON() // not json.Marshal, which would read it all once more
	if err != nil {
		return nil, status.Errorf(codes.Internal, "write call: %v", err)
	}
	if len(payload) > MaxEnvelopeBytes {
		return nil, tooLarge(len(payload))
	}
	answer, err := t.Invoke(ctx, payload)
	if err != nil {
		return nil, err
	}
	reply := &Reply{}
	if err := reply.UnmarshalJSON(answer); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "call %s", c.Method)
	}
	return reply, nil
}

// ServeJSON serves one call in its JSON form and gives the reply in its own. What is no call is
// answered with InvalidArgument, what is too large for an Invoke with ResourceExhausted; an error
// means that ctx ended first.
func (m *Mux) ServeJSON(ctx context.Context, payload []byte) ([]byte, error) {
	if len(payload) > MaxEnvelopeBytes {
		return (&Reply{Status: statusProto(tooLarge(len(payload)))}).MarshalJSON()
	}
	c := &Call{}
	if err := c.UnmarshalJSON(payload); err != nil {
		// Not err's own words: they quote the payload.
		return (&Reply{Status: statusProto(fault.New(fault.Invalid, "payload is no call"))}).MarshalJSON()
	}
	reply, err := m.RoundTrip(ctx, c)
	if err != nil {
		return nil, err
	}
	out, err := reply.MarshalJSON()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "answer %s", c.Method)
	}
	if len(out) > MaxEnvelopeBytes {
		return (&Reply{Status: statusProto(tooLarge(len(out)))}).MarshalJSON()
	}
	return out, nil
}
