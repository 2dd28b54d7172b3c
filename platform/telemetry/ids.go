package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// xrayIDs makes trace ids whose first four bytes are the time in seconds, as X-Ray's are
// (https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-traceids);
// it refuses others when they are over 30 days old. The rest is random; nothing is protected by an
// id being hard to guess.
type xrayIDs struct{}

// NewIDs makes the ids of a new trace and its first span.
func (xrayIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	binary.BigEndian.PutUint32(id[0:4], uint32(time.Now().Unix()))
	binary.BigEndian.PutUint32(id[4:8], rand.Uint32())  //nolint:gosec // see xrayIDs
	binary.BigEndian.PutUint64(id[8:16], rand.Uint64()) //nolint:gosec // see xrayIDs
	return id, xrayIDs{}.NewSpanID(ctx, id)
}

// NewSpanID makes the id of one more span. Zero is not valid.
func (xrayIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // see xrayIDs
	}
	return id
}
