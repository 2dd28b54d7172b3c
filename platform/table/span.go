package table

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// instrumentation is the scope name of the spans.
const instrumentation = "github.com/riskprofiler/riskprofiler/platform/table"

// span records one operation as a child of a recorded span, by the semantic conventions for
// database clients (https://opentelemetry.io/docs/specs/semconv/database/database-spans/). Without
// a recorded parent it costs nothing: these operations are too many to be roots.
func (t *Table) span(ctx context.Context, operation string) (context.Context, func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := parent.TracerProvider().Tracer(instrumentation).Start(ctx, operation+" "+t.name,
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			attribute.String("db.operation.name", operation),
			attribute.String("db.collection.name", t.name),
		))
	return ctx, func(err error) {
		defer span.End()
		switch code := fault.CodeOf(err); code {
		case fault.OK, fault.NotFound, fault.Conflict:
			// Answers, not failures.
			span.SetAttributes(attribute.String("db.response.status_code", code.String()))
		default:
			// The code only: the text of an error may hold keys.
			span.SetAttributes(attribute.String("error.type", code.String()))
			span.SetStatus(codes.Error, code.String())
		}
	}
}
