package app

import "context"

// Function answers events as the process of h would under the Lambda runtime.
func Function(h *Host) func(ctx context.Context, payload []byte) ([]byte, error) {
	return newFunction(h).Invoke
}

// StoppingFunction is a Function that was told to end.
func StoppingFunction(h *Host) func(ctx context.Context, payload []byte) ([]byte, error) {
	f := newFunction(h)
	f.drain(0)
	return f.Invoke
}
