package queuetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/queue"
)

// fate is what a handler does with a message, delivery by delivery.
type fate int

const (
	succeeds    fate = iota
	fails            // an error: a failed attempt
	panics           // the same
	handsBack        // Later
	givesUp          // Permanent
	takesLong        // longer than the visibility, then success
	failsLately      // longer than the visibility, then an error
)

// scenario is one random run.
type scenario struct {
	groups, messages, consumers, concurrency int
	repeats, abandons, restarts              int
	fates                                    map[string][]fate // by body, the last one stays
}

func drawScenario(r *rapid.T) scenario {
	s := scenario{
		groups:      rapid.IntRange(1, 5).Draw(r, "groups"),
		messages:    rapid.IntRange(1, 8).Draw(r, "messages"),
		consumers:   rapid.IntRange(1, 3).Draw(r, "consumers"),
		concurrency: rapid.IntRange(1, 4).Draw(r, "concurrency"),
		repeats:     rapid.IntRange(0, 3).Draw(r, "repeats"),
		abandons:    rapid.IntRange(0, 6).Draw(r, "abandons"),
		restarts:    rapid.IntRange(0, 3).Draw(r, "restarts"),
		fates:       map[string][]fate{},
	}
	for g := range s.groups {
		for n := range s.messages {
			body := string(message(fmt.Sprint("g", g), n).Body)
			s.fates[body] = rapid.SliceOfN(rapid.SampledFrom([]fate{
				succeeds, succeeds, succeeds, fails, fails, panics, handsBack, givesUp, takesLong, failsLately,
			}), 1, 7).Draw(r, body)
		}
	}
	return s
}

// world is a scenario while it runs, and what was seen of it.
type world struct {
	scenario
	mu        sync.Mutex
	delivered map[string]int
	done      map[string]int // times that the handler returned nil
	parked    map[string]int // times that OnParked was called
	last      map[string]int // by group: the last message that was begun
	running   map[string]bool
	wrong     []string
}

func (w *world) handle(_ context.Context, m queue.Message) error {
	body := string(m.Body)
	step, n := w.begin(m, body)
	defer w.end(m.Group)
	switch step {
	case fails:
		return fmt.Errorf("delivery %d of %s", n, body)
	case panics:
		panic(body)
	case handsBack:
		return queue.Later(7*time.Second, nil)
	case givesUp:
		return queue.Permanent(fmt.Errorf("delivery %d of %s", n, body))
	case failsLately:
		time.Sleep(3 * time.Minute)
		return fmt.Errorf("delivery %d of %s", n, body)
	case takesLong:
		time.Sleep(3 * time.Minute)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[body]++
	return nil
}

func (w *world) begin(m queue.Message, body string) (step fate, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var number int
	if _, err := fmt.Sscanf(body, m.Group+"/%d", &number); err != nil {
		w.wrong = append(w.wrong, "message "+body+" came in group "+m.Group)
	}
	if w.running[m.Group] {
		w.wrong = append(w.wrong, body+" began while another of its group was handled")
	}
	if number < w.last[m.Group] {
		w.wrong = append(w.wrong, fmt.Sprintf("%s came after %d of its group", body, w.last[m.Group]))
	}
	if w.done[body] > 0 || m.Attempt > queue.MaxAttempts {
		w.wrong = append(w.wrong, fmt.Sprintf("%s came again, done %d times, attempt %d", body, w.done[body], m.Attempt))
	}
	w.running[m.Group], w.last[m.Group] = true, number
	n = w.delivered[body]
	w.delivered[body]++
	fates := w.fates[body]
	step = fates[min(n, len(fates)-1)]
	if (step == handsBack) && n >= len(fates)-1 {
		step = succeeds // it would never end
	}
	return step, n
}

func (w *world) end(group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[group] = false
}

func (w *world) onParked(_ context.Context, m queue.Message, _ error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parked[string(m.Body)]++
	if w.parked[string(m.Body)] == 1 && len(m.Body)%2 == 0 {
		return fmt.Errorf("OnParked fails at first for some")
	}
	return nil
}

// modelOfDisorder lets handlers fail in all ways, senders repeat themselves, consumers start and
// stop, and receivers die with messages in their hands. Whatever happens: within a group messages
// begin in order and one at a time, each is done at least once or parked after OnParked, and none
// is lost. (No delivery ends unanswered after its handler succeeded here, so 'at least once' is
// 'once'.)
func modelOfDisorder(t *testing.T, newHarness func(t *testing.T) Harness) {
	rapid.Check(t, func(r *rapid.T) {
		w := &world{
			scenario: drawScenario(r), delivered: map[string]int{}, done: map[string]int{},
			parked: map[string]int{}, last: map[string]int{}, running: map[string]bool{},
		}
		// Each run has a bubble and a storage of its own.
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			w.play(t, h)
			w.judge(t, queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"}))
		})
		for _, wrong := range w.wrong {
			r.Error(wrong)
		}
	})
}

// play sends, consumes and disturbs until everything must be over.
func (w *world) play(t *testing.T, h Harness) {
	sender := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	for n := range w.messages {
		var batch []queue.Message
		for g := range w.groups {
			for range 1 + w.repeats {
				batch = append(batch, message(fmt.Sprint("g", g), n))
			}
		}
		if err := sender.Send(t.Context(), batch...); err != nil {
			t.Fatalf("Send: %v", err)
		}
	}
	var stops []func()
	begin := func() {
		stops = append(stops, start(t, queue.New(h.Queue("jobs"), queue.Options{
			Name: "jobs", Concurrency: w.concurrency, Visibility: time.Minute, OnParked: w.onParked,
			Backoff: func(int) time.Duration { return 5 * time.Second },
		}), w.handle))
	}
	for range w.consumers {
		begin()
	}
	dying := h.Queue("jobs")
	for n := range w.abandons {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, _ = dying.Receive(ctx, 2, visibility) // and never answered
		cancel()
		if n < w.restarts {
			stops[n%len(stops)]()
			begin()
		}
	}
	eventually(t, "all messages are done or parked", 6*time.Hour, func() bool {
		d := depthOf(t, sender)
		return d.Visible+d.InFlight+d.Delayed == 0
	})
	for _, stop := range stops {
		stop()
	}
}

// judge compares what happened with what was promised.
func (w *world) judge(t *testing.T, q *queue.Queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := depthOf(t, q); d.Visible+d.InFlight+d.Delayed != 0 {
		w.wrong = append(w.wrong, fmt.Sprintf("messages are left: %+v", d))
	}
	isParked := map[string]bool{}
	for _, p := range parkedOf(t, q) {
		isParked[string(p.Body)] = true
	}
	for body := range w.fates {
		switch {
		case isParked[body] && (w.done[body] > 0 || w.parked[body] == 0):
			w.wrong = append(w.wrong, fmt.Sprintf("%s is parked; done %d times, OnParked %d times", body, w.done[body], w.parked[body]))
		case !isParked[body] && w.done[body] != 1:
			w.wrong = append(w.wrong, fmt.Sprintf("%s is not parked; done %d times of %d", body, w.done[body], w.delivered[body]))
		}
	}
}
