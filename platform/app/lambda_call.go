package app

import (
	"context"
	"maps"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"google.golang.org/grpc/status"

	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/platform/wire"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
)

// call serves a call: a state machine's in the workflow's name for the tenant that it gives, a peer's by the token that it
// sends. A failure is a reply that carries the status; who sends a message in JSON form is a state machine, which retries by
// name, and gets it as a function error.
func (f *function) call(ctx context.Context, payload []byte, byStateMachine bool) ([]byte, error) {
	c := &wire.Call{}
	reply, err := f.reply(ctx, c, payload, byStateMachine)
	if err != nil {
		reply = failedReply(err)
	}
	byName := byStateMachine || c.Message != nil
	if reply.Status.GetCode() != 0 && byName {
		return nil, messages.InvokeResponse_Error{Type: workflow.ErrorName(reply.Err()), Message: reply.Status.GetMessage()}
	}
	out, err := reply.MarshalJSON()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "answer %s", c.Method)
	}
	if len(out) <= wire.MaxEnvelopeBytes {
		return out, nil
	}
	err = fault.New(fault.ResourceExhausted, "the answer has %d bytes, the most is %d", len(out), wire.MaxEnvelopeBytes)
	if byName {
		return nil, err
	}
	return failedReply(err).MarshalJSON()
}

func (f *function) reply(ctx context.Context, c *wire.Call, payload []byte, byStateMachine bool) (reply *wire.Reply, err error) {
	if len(payload) > wire.MaxEnvelopeBytes {
		return nil, fault.New(fault.ResourceExhausted, "the call has %d bytes, the most is %d", len(payload), wire.MaxEnvelopeBytes)
	}
	if err := c.UnmarshalJSON(payload); err != nil {
		return nil, fault.New(fault.Invalid, "payload is no call") // not err's own words: they quote the payload
	}
	if c.Metadata == nil {
		c.Metadata = map[string][]string{}
	}
	if err := f.identify(ctx, c, byStateMachine); err != nil {
		return nil, err
	}
	ctx, end := f.begin(ctx, telemetry.Invocation{Trigger: telemetry.TriggerOther, Metadata: c.Metadata, XRay: traceHeader(ctx)})
	if reply, err = f.host.mux.RoundTrip(ctx, c); err == nil {
		end(reply.Err())
	} else {
		end(err)
	}
	return reply, err
}

// identify turns the tenant that a state machine names into a token in the workflow's name. Nobody else may name one: IAM lets
// the state machine alone invoke the function through the alias by which it is known here. Of a state machine's metadata
// nothing else is kept but the trace.
func (f *function) identify(ctx context.Context, c *wire.Call, byStateMachine bool) error {
	tenants, named := c.Metadata[TenantMetadata]
	if !byStateMachine {
		if named {
			return fault.New(fault.PermissionDenied, "only a workflow may name a tenant")
		}
		return nil
	}
	tenant := ""
	switch len(tenants) {
	case 0:
	case 1:
		tenant = tenants[0]
	default:
		return fault.New(fault.Invalid, "the call names %d tenants", len(tenants))
	}
	own, err := f.host.stateMachine()
	if err != nil {
		return err
	}
	token, err := own.signer.Mint(ctx, authn.ForService(workflowService, tenant))
	if err != nil {
		return err
	}
	maps.DeleteFunc(c.Metadata, func(name string, _ []string) bool { return name != "traceparent" && name != "tracestate" })
	c.Metadata["authorization"] = []string{"Bearer " + token}
	return nil
}

// failedReply is the reply to a call that failed before a handler could answer it.
func failedReply(err error) *wire.Reply {
	if s, ok := status.FromError(err); ok {
		return &wire.Reply{Status: s.Proto()}
	}
	return &wire.Reply{Status: fault.From(err).GRPCStatus().Proto()}
}
