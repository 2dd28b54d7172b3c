package providers

import (
	"context"
	"time"
)

// Share is a context for asking third parties that leaves the rest of the scan's time for what the scan does itself: part is
// from 0 to 1.
func Share(ctx context.Context, part float64) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(float64(time.Until(deadline))*part))
}
