package workflow

import (
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel/propagation"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// What every [Engine] does with its arguments, whatever executes the machines.

// CheckNames is fault.Invalid unless machine and name are names that Step Functions takes and can log: 1 to 80 of a-z, A-Z, 0-9,
// '-', '_' and '.' (https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html).
func CheckNames(machine, name string) error {
	for _, s := range []string{machine, name} {
		if !validName(s) {
			return fault.New(fault.Invalid, "name %q must be 1 to %d of a-z, A-Z, 0-9, '-', '_' and '.'", clip(s, maxNameBytes), maxNameBytes)
		}
	}
	return nil
}

// StartInput is the input with which an execution begins: compact, {} for nil, and with the W3C trace context of ctx in the field
// "trace" of an object that has none. What is no JSON text, or longer than [MaxDataBytes], is fault.Invalid.
func StartInput(ctx context.Context, input json.RawMessage) (json.RawMessage, error) {
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	v, err := decode(input)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "start execution: input is no JSON text")
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	if object, ok := v.(map[string]any); ok && len(carrier) > 0 && object["trace"] == nil {
		fields := map[string]any{}
		for name, value := range carrier {
			fields[name] = value
		}
		object["trace"] = fields
	}
	return compact(v, "start execution: input")
}

// TaskOutput is the output of a task in compact form. What is no JSON text, or longer than [MaxDataBytes], is fault.Invalid.
func TaskOutput(output json.RawMessage) (json.RawMessage, error) {
	v, err := decode(output)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "complete task: output is no JSON text")
	}
	return compact(v, "complete task: output")
}

func compact(v any, what string) (json.RawMessage, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%s", what)
	}
	if len(raw) > MaxDataBytes {
		return nil, fault.New(fault.Invalid, "%s has %d bytes, at most %d are allowed", what, len(raw), MaxDataBytes)
	}
	return raw, nil
}

// TaskFailure is name and cause of a failed task, within the limits of [ClipError]; without a name it is States.TaskFailed.
func TaskFailure(errName, cause string) (name, text string) {
	if errName == "" {
		errName = ErrorTaskFailed
	}
	return ClipError(errName, cause)
}

// ClipError cuts name and cause of an error to the 256 and 32,768 bytes that Step Functions takes
// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html).
func ClipError(errName, cause string) (name, text string) {
	return clip(errName, maxErrorBytes), clip(cause, maxCauseBytes)
}
