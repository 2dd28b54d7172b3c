package telemetry

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// keptSpans is how many spans wait for another upload at most, as many as the SDK's own queue takes.
const keptSpans = 2048

// patient sends what ran out of time with the next upload: the first flush of a function has to connect, and to
// find credentials for X-Ray, and its spans, those of the cold start, are worth having. A span can arrive twice then,
// under the same id. What a collector refuses is lost.
type patient struct {
	otlptrace.Client
	backlog
}

// UploadTraces sends spans, and before them what is left of uploads before.
func (p *patient) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	all := append(p.take(), spans...)
	if len(all) == 0 {
		return nil
	}
	err := p.Client.UploadTraces(ctx, all)
	if err != nil && ctx.Err() != nil {
		p.keep(all)
	}
	return err
}

// Stop sends what is left.
func (p *patient) Stop(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	return errors.Join(p.UploadTraces(bounded, nil), p.Client.Stop(ctx))
}

// backlog is spans that wait for another upload.
type backlog struct {
	mu   sync.Mutex
	kept []*tracepb.ResourceSpans
}

func (b *backlog) take() []*tracepb.ResourceSpans {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.kept
	b.kept = nil
	return out
}

// keep puts spans aside, and forgets the oldest where there are too many.
func (b *backlog) keep(spans []*tracepb.ResourceSpans) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = append(b.kept, spans...)
	count := 0
	for i, resource := range slices.Backward(b.kept) {
		if count += spansIn(resource); count > keptSpans {
			b.kept = slices.Clone(b.kept[i+1:])
			return
		}
	}
}

func spansIn(resource *tracepb.ResourceSpans) (n int) {
	for _, scope := range resource.GetScopeSpans() {
		n += len(scope.GetSpans())
	}
	return n
}
