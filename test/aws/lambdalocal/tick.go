package lambdalocal

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Tick plays a schedule of EventBridge Scheduler whose target is a function: it invokes it with {"schedule": name} at every
// interval until ctx ends. AWS's shortest interval is a minute. A tick that failed is told and not repeated: the next one
// comes anyway.
func Tick(ctx context.Context, invoke Invoker, function, name string, every time.Duration, log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	payload, err := json.Marshal(map[string]string{"schedule": name})
	if err != nil {
		log.ErrorContext(ctx, "schedule cannot be written", "schedule", name, "error", err)
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		r, err := invoke(ctx, Invocation{Function: function, Payload: payload})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.WarnContext(ctx, "schedule could not invoke its function", "function", function, "error", err)
		case r.FunctionError != "":
			log.WarnContext(ctx, "scheduled function failed", "function", function, "error", string(clip(r.Payload)))
		}
	}
}
