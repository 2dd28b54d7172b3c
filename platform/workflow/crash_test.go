package workflow

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// sample uses every kind of step: calls and messages, tokens that are retried and caught, waits,
// loops, iterations, branches and the clock.
func sample(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/sample.asl.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sampleAnswers fail the jobs of item "b" once, and those of item "c" until they are given up.
func sampleAnswers(w *world) {
	w.answer = func(name string, request any) (any, error) {
		job, _ := request.(map[string]any)
		switch {
		case job["item"] == "c", job["item"] == "b" && fmt.Sprint(job["try"]) == "0":
			return nil, fault.New(fault.Unavailable, "not now")
		}
		return map[string]any{"did": request}, nil
	}
}

const sampleInput = `{"items":["a","b","c"],"wave":0}`

// runSample lets processes die, each with the write of its number, until one finishes.
func runSample(t *testing.T, definition string, deaths []int, lost bool) (output string, w *world, died int) {
	w = newWorld(t)
	sampleAnswers(w)
	machines := map[string]string{"sample": definition}
	ctx := context.Background()
	if err := NewClient(w.store.table()).Start(ctx, "sample", "one", []byte(sampleInput)); err != nil {
		t.Fatal(err)
	}
	for _, n := range deaths {
		if w.live(w.start(machines, n, lost), "sample", "one") {
			died++
		}
	}
	p := w.start(machines, 0, false)
	e := w.await("sample", "one")
	time.Sleep(time.Minute) // lets the runner clear away
	p.stop()
	w.complete.Wait()
	if e.Status != Succeeded {
		t.Fatalf("status %s: %s %s", e.Status, e.Error, e.Cause)
	}
	if left := w.store.keys("one/", stepPrefix); len(left) > 0 {
		t.Errorf("records were left: %v", left)
	}
	w.check()
	return string(e.Output), w, died
}

// stable takes out of an output what differs between two undisturbed runs: times.
func stable(output string) string {
	v, err := decode([]byte(output))
	if err != nil {
		return output
	}
	object := v.(map[string]any)
	delete(object, "entered")
	raw, _ := encode(object)
	return string(raw)
}

func TestCrashAtEveryWrite(t *testing.T) {
	definition := sample(t)
	var want string
	synctest.Test(t, func(t *testing.T) {
		output, w, _ := runSample(t, definition, nil, false)
		want = stable(output)
		for id, messages := range w.sent {
			if len(messages) != 1 {
				t.Errorf("%s was sent %d times without a crash", id, len(messages))
			}
		}
		for payload, n := range w.invoked {
			if n != 1 {
				t.Errorf("%s was invoked %d times without a crash", payload, n)
			}
		}
	})
	for _, lost := range []bool{false, true} {
		for n := 1; ; n++ {
			alive := false
			t.Run(fmt.Sprintf("lost=%v/%d", lost, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					output, w, died := runSample(t, definition, []int{n}, lost)
					alive = died == 0
					if diff := cmp.Diff(want, stable(output)); diff != "" {
						t.Errorf("output differs (-undisturbed +crashed):\n%s", diff)
					}
					repeats := 0
					for id, messages := range w.sent {
						repeats += len(messages) - 1
						if len(messages) > 2 {
							t.Errorf("%s was sent %d times", id, len(messages))
						}
					}
					again := 0
					for _, n := range w.invoked {
						again += n - 1
					}
					// At most what was between the effect and its record: two iterations or branches.
					if repeats+again > 2 {
						t.Errorf("%d messages were sent again and %d calls made again", repeats, again)
					}
				})
			})
			if alive || t.Failed() {
				t.Logf("%d crash points, last write lost: %v", n-1, lost)
				break
			}
		}
	}
}
