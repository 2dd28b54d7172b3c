package lambdalocal

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Tick plays a schedule of EventBridge Scheduler whose target is a function: it invokes it with {"schedule": name, "time": when
// it was due} at every interval until ctx ends. The time is what <aws.scheduler.scheduled-time> in an input is replaced by
// (https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html). AWS's shortest interval is a minute. A tick that failed is told and not repeated: the next one
// comes anyway.
func Tick(ctx context.Context, invoke Invoker, function, name string, every time.Duration, log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		var due time.Time
		select {
		case <-ctx.Done():
			return
		case due = <-ticker.C:
		}
		payload, err := json.Marshal(map[string]string{"schedule": name, "time": due.UTC().Format(time.RFC3339)})
		if err != nil {
			log.ErrorContext(ctx, "schedule cannot be written", "schedule", name, "error", err)
			return
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
