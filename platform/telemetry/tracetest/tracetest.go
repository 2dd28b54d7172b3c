// Package tracetest records the spans of a system under test and shows them as a tree of text, so
// that a test can say what one assessment's story is and compare.
//
// Hand a [Recorder] to telemetry.Setup as a span processor, run the scenario, [Recorder.Await] the
// last span, and compare [Recorder.Tree]:
//
//	POST /v1/assessments
//	  riskprofiler.scheduler.v1.SchedulerService/CreateAssessment client
//	    riskprofiler.scheduler.v1.SchedulerService/CreateAssessment server
//	      send scan-jobs producer
//	        process scan-jobs consumer <- send scan-jobs
//
// A span is under its parent; "<-" names the spans that it links to. Names and kinds only: ids and
// times differ from run to run.
//
// Spans of other processes come by OTLP: serve a [Collector] and follow them with [Causes].
package tracetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Recorder keeps every span that ended. It is a span processor and may be used concurrently.
type Recorder struct {
	mu      sync.Mutex
	spans   []sdktrace.ReadOnlySpan
	changed chan struct{} // closed and replaced whenever a span is added
}

// New makes an empty recorder.
func New() *Recorder { return &Recorder{changed: make(chan struct{})} }

// OnStart is part of the span processor.
func (r *Recorder) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd keeps the span.
func (r *Recorder) OnEnd(s sdktrace.ReadOnlySpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, s)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Shutdown is part of the span processor. What was recorded stays.
func (r *Recorder) Shutdown(context.Context) error { return nil }

// ForceFlush is part of the span processor.
func (r *Recorder) ForceFlush(context.Context) error { return nil }

// Spans are the spans that ended so far, in the order in which they ended.
func (r *Recorder) Spans() []sdktrace.ReadOnlySpan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Reset forgets all spans.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = nil
}

// Find gives the spans that ended with this name.
func (r *Recorder) Find(name string) []sdktrace.ReadOnlySpan {
	return slices.DeleteFunc(r.Spans(), func(s sdktrace.ReadOnlySpan) bool { return s.Name() != name })
}

// Await returns when n spans of this name have ended. If ctx ends first, its error says what was
// recorded instead.
func (r *Recorder) Await(ctx context.Context, name string, n int) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		have := len(r.Find(name))
		if have >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d spans %q, have %d: %w; recorded:\n%s", n, name, have, ctx.Err(), r.Tree(Options{}))
		}
	}
}

// Options say what a tree shows beside names, kinds and links.
type Options struct {
	// Service shows the service that made the span, as "@gateway".
	Service bool
	// Attributes shows the values of these attributes, as "key=value", where a span has them.
	Attributes []string
	// Trace limits the tree to the spans of one trace. Zero: all.
	Trace trace.TraceID
	// Fold shows siblings that look alike, with everything under them, once: with "x3" behind.
	Fold bool
	// Ignore leaves out spans, and lifts what is under them to their parent.
	Ignore func(sdktrace.ReadOnlySpan) bool
}

// Tree shows the spans as indented text. Siblings are in the order of their text, so that what ran
// concurrently does not make two runs differ. A failed span ends with "!". A span whose parent was
// not recorded is at the outer edge, marked "(parent not recorded)".
func (r *Recorder) Tree(o Options) string {
	t := newTree(r.Spans(), o)
	var b strings.Builder
	for _, text := range t.render(trace.SpanID{}) {
		b.WriteString(text)
	}
	return b.String()
}

// tree is the spans by their parents. Span ids are unique enough for a test to be a key.
type tree struct {
	o        Options
	names    map[trace.SpanID]string
	children map[trace.SpanID][]sdktrace.ReadOnlySpan
	orphan   map[trace.SpanID]bool
}

func newTree(spans []sdktrace.ReadOnlySpan, o Options) *tree {
	t := &tree{
		o: o, names: map[trace.SpanID]string{}, children: map[trace.SpanID][]sdktrace.ReadOnlySpan{},
		orphan: map[trace.SpanID]bool{},
	}
	byID := map[trace.SpanID]sdktrace.ReadOnlySpan{}
	for _, s := range spans {
		t.names[s.SpanContext().SpanID()] = s.Name()
		byID[s.SpanContext().SpanID()] = s
	}
	for _, s := range spans {
		if t.ignored(s) || (o.Trace.IsValid() && s.SpanContext().TraceID() != o.Trace) {
			continue
		}
		parent := s.Parent().SpanID()
		for at, ok := byID[parent]; ok && t.ignored(at); at, ok = byID[parent] {
			parent = at.Parent().SpanID()
		}
		if _, recorded := byID[parent]; parent.IsValid() && !recorded {
			t.orphan[s.SpanContext().SpanID()] = true
			parent = trace.SpanID{}
		}
		t.children[parent] = append(t.children[parent], s)
	}
	return t
}

func (t *tree) ignored(s sdktrace.ReadOnlySpan) bool { return t.o.Ignore != nil && t.o.Ignore(s) }

// render gives one text for each child of parent, with everything under it.
func (t *tree) render(parent trace.SpanID) []string {
	var out []string
	for _, s := range t.children[parent] {
		text := t.line(s) + "\n"
		for _, below := range t.render(s.SpanContext().SpanID()) {
			text += indent(below)
		}
		out = append(out, text)
	}
	slices.Sort(out)
	if t.o.Fold {
		out = fold(out)
	}
	return out
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

// fold counts equal neighbors.
func fold(sorted []string) []string {
	var out []string
	for i := 0; i < len(sorted); {
		n := 1
		for i+n < len(sorted) && sorted[i+n] == sorted[i] {
			n++
		}
		text := sorted[i]
		if n > 1 {
			first, rest, _ := strings.Cut(text, "\n")
			text = fmt.Sprintf("%s x%d\n%s", first, n, rest)
		}
		out = append(out, text)
		i += n
	}
	return out
}

func (t *tree) line(s sdktrace.ReadOnlySpan) string {
	parts := []string{s.Name()}
	if k := s.SpanKind(); k != trace.SpanKindInternal {
		parts = append(parts, k.String())
	}
	if t.o.Service {
		parts = append(parts, "@"+service(s))
	}
	for _, key := range t.o.Attributes {
		for _, kv := range s.Attributes() {
			if string(kv.Key) == key {
				parts = append(parts, key+"="+kv.Value.String())
			}
		}
	}
	if links := t.links(s); links != "" {
		parts = append(parts, "<- "+links)
	}
	if s.Status().Code == otelcodes.Error {
		parts = append(parts, "!")
	}
	if t.orphan[s.SpanContext().SpanID()] {
		parts = append(parts, "(parent not recorded)")
	}
	return strings.Join(parts, " ")
}

func (t *tree) links(s sdktrace.ReadOnlySpan) string {
	var names []string
	for _, l := range s.Links() {
		names = append(names, cmp.Or(t.names[l.SpanContext.SpanID()], "(not recorded)"))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func service(s sdktrace.ReadOnlySpan) string {
	if r := s.Resource(); r != nil {
		if v, ok := r.Set().Value(attribute.Key("service.name")); ok {
			return v.AsString()
		}
	}
	return "?"
}
