package tracetest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/trace"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxUpload bounds one upload, compressed and not: X-Ray's limit of a call
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html).
const maxUpload = 5_000_000

// Collector takes spans of other processes by OTLP over HTTP, as protobuf, plain or by gzip
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp), and keeps them. Metrics are taken and dropped. It may be used concurrently.
type Collector struct {
	// Check refuses an upload of spans with 403, for example one that is not signed. Nil: all are taken.
	Check func(r *http.Request, body []byte) error

	mu      sync.Mutex
	spans   map[trace.SpanID]Span
	refused []string
	uploads int
}

// Span is a span that arrived.
type Span struct {
	Name  string
	Scope string
	Kind  trace.SpanKind
	Trace trace.TraceID
	ID    trace.SpanID
	// Parent is zero for the first span of a trace.
	Parent trace.SpanID
	Links  []trace.SpanContext
	// Attributes and Resource are what is said about the span and about the process that made it, as text.
	Attributes, Resource map[string]string
	Failed               bool
	// Dropped is how many attributes, events and links were left out.
	Dropped int
}

// ServeHTTP takes an upload.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == "/v1/metrics" {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxUpload))
		return
	}
	spans, err := c.read(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uploads++
	if err != nil {
		c.refused = append(c.refused, err.Error())
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if c.spans == nil {
		c.spans = map[trace.SpanID]Span{}
	}
	for _, s := range spans {
		c.spans[s.ID] = s
	}
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer is a whole one
}

// Spans are the spans that arrived so far, in no order. One that came twice is there once.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.spans))
}

// Uploads is how many uploads of spans came, and why some of them were refused.
func (c *Collector) Uploads() (n int, refused []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uploads, slices.Clone(c.refused)
}

func (c *Collector) read(r *http.Request) ([]Span, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxUpload+1))
	if err != nil {
		return nil, fmt.Errorf("read upload: %w", err)
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || len(body) > maxUpload {
		return nil, fmt.Errorf("%s %s of %d bytes of %s is no upload", r.Method, r.URL.Path, len(body), r.Header.Get("Content-Type"))
	}
	if c.Check != nil {
		if err := c.Check(r, body); err != nil {
			return nil, err
		}
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = unzip(body); err != nil {
			return nil, err
		}
	}
	in := &collectortrace.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(body, in); err != nil {
		return nil, fmt.Errorf("read upload: %w", err)
	}
	return spansOf(in)
}

func unzip(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("unpack upload: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, maxUpload+1))
	if err != nil || len(out) > maxUpload {
		return nil, fmt.Errorf("unpack upload: over %d bytes or broken: %w", maxUpload, err)
	}
	return out, nil
}

func spansOf(in *collectortrace.ExportTraceServiceRequest) ([]Span, error) {
	var out []Span
	for _, resource := range in.GetResourceSpans() {
		about := texts(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span, err := spanOf(s)
				if err != nil {
					return nil, err
				}
				span.Resource, span.Scope = about, scope.GetScope().GetName()
				out = append(out, span)
			}
		}
	}
	return out, nil
}

// kinds are the kinds by OTLP's numbers.
var kinds = map[tracepb.Span_SpanKind]trace.SpanKind{
	tracepb.Span_SPAN_KIND_INTERNAL: trace.SpanKindInternal, tracepb.Span_SPAN_KIND_SERVER: trace.SpanKindServer,
	tracepb.Span_SPAN_KIND_CLIENT: trace.SpanKindClient, tracepb.Span_SPAN_KIND_PRODUCER: trace.SpanKindProducer,
	tracepb.Span_SPAN_KIND_CONSUMER: trace.SpanKindConsumer,
}

func spanOf(s *tracepb.Span) (Span, error) {
	out := Span{
		Name: s.GetName(), Kind: kinds[s.GetKind()], Attributes: texts(s.GetAttributes()),
		Failed:  s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
		Dropped: int(s.GetDroppedAttributesCount() + s.GetDroppedEventsCount() + s.GetDroppedLinksCount()),
	}
	if len(s.GetParentSpanId()) > 0 {
		if len(s.GetParentSpanId()) != len(out.Parent) {
			return out, fmt.Errorf("span %q has a parent of %d bytes", out.Name, len(s.GetParentSpanId()))
		}
		out.Parent = trace.SpanID(s.GetParentSpanId())
	}
	self, err := contextOf(s.GetTraceId(), s.GetSpanId())
	if err != nil {
		return out, fmt.Errorf("span %q: %w", out.Name, err)
	}
	out.Trace, out.ID = self.TraceID(), self.SpanID()
	for _, l := range s.GetLinks() {
		to, err := contextOf(l.GetTraceId(), l.GetSpanId())
		if err != nil {
			return out, fmt.Errorf("link of span %q: %w", out.Name, err)
		}
		out.Links = append(out.Links, to)
	}
	return out, nil
}

func contextOf(traceID, spanID []byte) (trace.SpanContext, error) {
	var c trace.SpanContextConfig
	if len(traceID) != len(c.TraceID) || len(spanID) != len(c.SpanID) {
		return trace.SpanContext{}, fmt.Errorf("ids have %d and %d bytes", len(traceID), len(spanID))
	}
	c.TraceID, c.SpanID = trace.TraceID(traceID), trace.SpanID(spanID)
	sc := trace.NewSpanContext(c)
	if !sc.IsValid() {
		return sc, fmt.Errorf("ids %s and %s are not valid", hex.EncodeToString(traceID), hex.EncodeToString(spanID))
	}
	return sc, nil
}

// texts are attributes as text; lists and maps are left out.
func texts(attributes []*commonpb.KeyValue) map[string]string {
	out := make(map[string]string, len(attributes))
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		case *commonpb.AnyValue_BoolValue:
			out[a.GetKey()] = fmt.Sprint(v.BoolValue)
		case *commonpb.AnyValue_IntValue:
			out[a.GetKey()] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_DoubleValue:
			out[a.GetKey()] = fmt.Sprint(v.DoubleValue)
		}
	}
	return out
}

// Causes leads from spans back to what they were made for: over parents and, where a trace begins, over links.
type Causes struct {
	spans map[trace.SpanID]Span
}

// NewCauses orders spans. Ids of spans are unique enough to be keys.
func NewCauses(spans []Span) Causes {
	c := Causes{spans: make(map[trace.SpanID]Span, len(spans))}
	for _, s := range spans {
		c.spans[s.ID] = s
	}
	return c
}

// Of are the spans that s was made for directly: its parent and what it links to, as far as they were recorded under the same trace
// id that s knows them by.
func (c Causes) Of(s Span) []Span {
	var out []Span
	if p, ok := c.spans[s.Parent]; ok && p.Trace == s.Trace {
		out = append(out, p)
	}
	for _, l := range s.Links {
		if p, ok := c.spans[l.SpanID()]; ok && p.Trace == l.TraceID() {
			out = append(out, p)
		}
	}
	return out
}

// Path is the shortest way from the span root down to s, both among it; nil if s does not come from there.
func (c Causes) Path(root, s Span) []Span {
	below := map[trace.SpanID]trace.SpanID{s.ID: {}}
	for queue := []Span{s}; len(queue) > 0; queue = queue[1:] {
		if queue[0].ID == root.ID {
			var path []Span
			for at := root.ID; at.IsValid(); at = below[at] {
				path = append(path, c.spans[at])
			}
			return path
		}
		for _, p := range c.Of(queue[0]) {
			if _, seen := below[p.ID]; !seen {
				below[p.ID] = queue[0].ID
				queue = append(queue, p)
			}
		}
	}
	return nil
}
