package workflow

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// golden is one example: what a definition does with an input, by the text of the States Language.
type golden struct {
	About      string
	Definition json.RawMessage
	Input      json.RawMessage
	// Answers are what the functions and queues answer, one after the other. Without one they give
	// back what they were given.
	Answers map[string][]struct {
		Output       json.RawMessage
		Error, Cause string
		Hangs        bool
	}
	// Concurrent: the order of the states is not determined.
	Concurrent bool
	Want       struct {
		Status Status
		Output json.RawMessage
		Error  string
		Cause  string
		States []string
		// Elapsed is in whole seconds.
		Elapsed int
	}
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []golden
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range cases {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json")+"/"+g.About, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { runGolden(t, g) })
			})
		}
	}
}

func runGolden(t *testing.T, g golden) {
	w := newWorld(t)
	var mu sync.Mutex
	w.answer = func(name string, request any) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(g.Answers[name]) == 0 {
			return request, nil
		}
		a := g.Answers[name][0]
		g.Answers[name] = g.Answers[name][1:]
		if a.Hangs {
			return nil, errSilent
		}
		if a.Error != "" {
			return nil, &TaskError{Name: a.Error, Cause: a.Cause}
		}
		return decode(a.Output)
	}
	spans := tracetest.NewSpanRecorder()
	p := w.start(map[string]string{"golden": string(g.Definition)}, 0, false, func(o *RunnerOptions) {
		o.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	})
	synctest.Wait()
	if err := p.Start(context.Background(), "golden", "one", g.Input); err != nil {
		t.Fatal(err)
	}
	e := w.await("golden", "one")
	p.stop()
	w.complete.Wait()
	var states []string
	for _, s := range spans.Started() {
		if name, ok := strings.CutPrefix(s.Name(), "state "); ok {
			states = append(states, name)
		}
	}
	if g.Concurrent {
		slices.Sort(states)
		slices.Sort(g.Want.States)
	}
	if diff := cmp.Diff(g.Want.States, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if e.Status != g.Want.Status || e.Error != g.Want.Error || g.Want.Cause != "" && e.Cause != g.Want.Cause {
		t.Errorf("ended as %s %q %q, want %s %q %q", e.Status, e.Error, e.Cause, g.Want.Status, g.Want.Error, g.Want.Cause)
	}
	if diff := cmp.Diff(canonical(t, g.Want.Output), canonical(t, e.Output)); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if got := int(e.StoppedAt.Sub(e.StartedAt).Seconds()); got != g.Want.Elapsed {
		t.Errorf("took %d s, want %d s", got, g.Want.Elapsed)
	}
}

func canonical(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	if len(raw) == 0 {
		return ""
	}
	v, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
