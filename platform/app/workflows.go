package app

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

const (
	// workflowService is in whose name a workflow calls services.
	workflowService = "workflow"
	// spillBucket takes message bodies that are too large for a queue.
	spillBucket = "messages"
	// TenantMetadata names the tenant in the metadata of a workflow's call. Only a workflow may set it: the host turns it
	// into a token.
	TenantMetadata = "rp-tenant"
)

var placeholder = regexp.MustCompile(`"FunctionName"\s*:\s*"\$\{([a-z]+)\}"`)

// workflowCalls are the services that the definitions of a spec invoke.
func workflowCalls(s Spec) []string {
	found := map[string]bool{}
	for _, definition := range s.Workflows {
		for _, m := range placeholder.FindAllSubmatch(definition, -1) {
			found[string(m[1])] = true
		}
	}
	delete(found, s.Name)
	return slices.Sorted(maps.Keys(found))
}

func (h *Host) openWorkflow(ctx context.Context) error {
	machines, needed := map[string][]byte{}, false
	for _, s := range h.specs {
		maps.Copy(machines, s.Workflows)
		needed = needed || len(s.Workflows) > 0 || s.CompletesTasks
	}
	if !needed {
		return nil
	}
	// Here functions and queues go by their own names.
	resources := map[string]string{"QueuePrefix": "", "QueueSuffix": ""}
	for _, s := range h.specs {
		for _, function := range append(workflowCalls(s), s.Name) {
			resources[function] = function
		}
	}
	var err error
	h.engine, h.runner, err = h.backends.Workflow(ctx, WorkflowRequest{
		Machines: machines, Resources: resources, Invoke: h.invoke, Send: h.send, Telemetry: h.telemetryOf(workflowService),
	})
	return err
}

// invoke is a workflow's call of a service: the same envelope that a state machine hands to a function.
func (h *Host) invoke(ctx context.Context, function string, payload json.RawMessage) (json.RawMessage, error) {
	var call wire.Call
	if err := json.Unmarshal(payload, &call); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read workflow call of %s", function)
	}
	conn := h.conn(workflowService, function)
	if conn == nil {
		return nil, fault.New(fault.Invalid, "workflow calls %s, which is no service", function)
	}
	tenant := ""
	if v := call.Metadata[TenantMetadata]; len(v) == 1 {
		tenant = v[0]
	}
	ctx = authn.NewContext(ctx, authn.ForService(workflowService, tenant))
	message, err := invokeJSON(ctx, conn, call.Method, call.Message)
	if err != nil {
		return nil, err
	}
	return json.Marshal(&wire.Reply{Message: message})
}

// invokeJSON calls a method with a request in protobuf's JSON form and returns the reply in that form, with default values
// written out: a path of a state machine that names an absent field fails.
func invokeJSON(ctx context.Context, conn grpc.ClientConnInterface, method string, message []byte) ([]byte, error) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "find method %s", method)
	}
	md, ok := found.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fault.New(fault.Invalid, "find method %s: it is no method", method)
	}
	in, err := newMessage(md.Input())
	if err != nil {
		return nil, err
	}
	out, err := newMessage(md.Output())
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(message, in); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read request of %s", method)
	}
	if err := conn.Invoke(ctx, method, in, out); err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(out)
}

func newMessage(d protoreflect.MessageDescriptor) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "find message %s", d.FullName())
	}
	return t.New().Interface(), nil
}

func (h *Host) send(ctx context.Context, name string, m queue.Message) error {
	q := h.senders[name]
	if q == nil {
		return fault.New(fault.Invalid, "workflow sends to queue %s, which no service here names", name)
	}
	return q.Send(ctx, m)
}
