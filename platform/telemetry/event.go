package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// maxEventAttrs bounds what is added to one event.
const maxEventAttrs = 24

// event collects what the code below an interceptor adds to the request's one log line.
type event struct {
	mu    sync.Mutex
	attrs []slog.Attr
}

type eventKey struct{}

// Annotate adds attrs to the one log line that the request gets when it is over: what it was for,
// how much it found, what it decided. A later value for a key replaces the earlier one; beyond 24
// keys, and where no request is served, it does nothing.
func Annotate(ctx context.Context, attrs ...slog.Attr) {
	e, ok := ctx.Value(eventKey{}).(*event)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range attrs {
		at := slices.IndexFunc(e.attrs, func(have slog.Attr) bool { return have.Key == a.Key })
		switch {
		case at >= 0:
			e.attrs[at] = a
		case len(e.attrs) < maxEventAttrs:
			e.attrs = append(e.attrs, a)
		}
	}
}

func (e *event) list() []slog.Attr {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.attrs)
}
