package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// What X-Ray's OTLP endpoint takes; it refuses the whole call otherwise
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html). Sizes are
// before compression; the page's MB and KB are read as powers of ten.
const (
	xrayCallBytes     = 5_000_000
	xrayCallSpans     = 10_000
	xraySpanBytes     = 200_000
	xrayResourceBytes = 16_000
	xrayPast          = 14 * 24 * time.Hour
	xrayFuture        = 2 * time.Hour
	xraySpread        = 24 * time.Hour
	// xrayMargin is left free: clocks differ, and time passes between the look and the arrival.
	xrayMargin = 10 * time.Minute
	// fieldBytes is at least what the fields around a message take: a tag and a length.
	fieldBytes = 8
)

// limited keeps uploads within X-Ray's limits: it splits calls, empties spans that are too large of
// their events and attributes, and drops what cannot be sent, saying how much that was.
//
// Calls that ran out of time are made again with the next upload.
type limited struct {
	otlptrace.Client
	backlog
}

// UploadTraces sends spans in as many calls as they need. One call that fails does not keep back the others.
func (l *limited) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	calls, dropped := split(append(l.take(), spans...), time.Now())
	if dropped > 0 {
		otel.Handle(fmt.Errorf("%d spans are too large, too old or too far in the future for X-Ray", dropped))
	}
	var errs []error
	for _, c := range calls {
		err := ctx.Err()
		if err == nil {
			err = l.Client.UploadTraces(ctx, c)
		}
		if err != nil && ctx.Err() != nil {
			l.keep(c)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Stop sends what is left.
func (l *limited) Stop(ctx context.Context) error {
	return errors.Join(l.UploadTraces(ctx, nil), l.Client.Stop(ctx))
}

// call is one upload while it is filled.
type call struct {
	spans            []*tracepb.ResourceSpans
	bytes, count     int
	earliest, latest time.Time
}

// split divides spans into calls.
func split(all []*tracepb.ResourceSpans, now time.Time) (calls [][]*tracepb.ResourceSpans, dropped int) {
	c := &call{}
	for _, resource := range all {
		trimResource(resource.GetResource())
		for _, scope := range resource.GetScopeSpans() {
			around := proto.Size(resource.GetResource()) + proto.Size(scope.GetScope()) + len(resource.GetSchemaUrl()) + len(scope.GetSchemaUrl()) + 4*fieldBytes
			open := false // whether c has this resource and scope
			for _, span := range scope.GetSpans() {
				start := time.Unix(0, int64(span.GetStartTimeUnixNano()))
				if !trimSpan(span) || !inWindow(start, now) {
					dropped++
					continue
				}
				size := proto.Size(span) + fieldBytes
				if !c.takes(size+around, start) {
					calls, c, open = append(calls, c.spans), &call{}, false
				}
				if !open {
					c.open(resource, scope, around)
					open = true
				}
				c.add(span, size, start)
			}
		}
	}
	if c.count > 0 {
		calls = append(calls, c.spans)
	}
	return calls, dropped
}

// takes reports whether a span of this size fits. An empty call takes every span.
func (c *call) takes(size int, start time.Time) bool {
	if c.count == 0 {
		return true
	}
	near := start.Sub(c.earliest) < xraySpread-xrayMargin && c.latest.Sub(start) < xraySpread-xrayMargin
	return near && c.count < xrayCallSpans && c.bytes+size <= xrayCallBytes
}

func (c *call) open(resource *tracepb.ResourceSpans, scope *tracepb.ScopeSpans, size int) {
	c.spans = append(c.spans, &tracepb.ResourceSpans{
		Resource: resource.GetResource(), SchemaUrl: resource.GetSchemaUrl(),
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: scope.GetScope(), SchemaUrl: scope.GetSchemaUrl()}},
	})
	c.bytes += size
}

func (c *call) add(span *tracepb.Span, size int, start time.Time) {
	last := c.spans[len(c.spans)-1].ScopeSpans[0]
	last.Spans = append(last.Spans, span)
	if c.count == 0 || start.Before(c.earliest) {
		c.earliest = start
	}
	if c.count == 0 || start.After(c.latest) {
		c.latest = start
	}
	c.bytes += size
	c.count++
}

func inWindow(start, now time.Time) bool {
	return start.After(now.Add(-xrayPast+xrayMargin)) && start.Before(now.Add(xrayFuture-xrayMargin))
}

// trimSpan makes a span fit: first its events go, then what is said about its links, then its own
// attributes from the largest on. It is false if the span's name alone is too much.
func trimSpan(s *tracepb.Span) bool {
	if proto.Size(s) <= xraySpanBytes {
		return true
	}
	s.DroppedEventsCount += uint32(len(s.GetEvents()))
	s.Events = nil
	for _, link := range s.GetLinks() {
		link.DroppedAttributesCount += uint32(len(link.GetAttributes()))
		link.Attributes, link.TraceState = nil, ""
	}
	for len(s.GetAttributes()) > 0 && proto.Size(s) > xraySpanBytes {
		largest := 0
		for i, a := range s.GetAttributes() {
			if proto.Size(a) > proto.Size(s.GetAttributes()[largest]) {
				largest = i
			}
		}
		s.Attributes = slices.Delete(s.Attributes, largest, largest+1)
		s.DroppedAttributesCount++
	}
	return proto.Size(s) <= xraySpanBytes
}

// trimResource makes a resource fit. What names the service goes last.
func trimResource(r *resourcepb.Resource) {
	const room = xrayResourceBytes - 1000 // for the scope, which is ours
	if proto.Size(r) <= room {
		return
	}
	have := len(r.GetAttributes())
	r.Attributes = slices.DeleteFunc(r.Attributes, func(a *commonpb.KeyValue) bool {
		return !strings.HasPrefix(a.GetKey(), "service.") || proto.Size(a) > maxSpanAttributeBytes
	})
	r.DroppedAttributesCount += uint32(have - len(r.Attributes))
}
