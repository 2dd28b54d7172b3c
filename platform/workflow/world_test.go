package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// world is all that is outside a runner's process: the table, the functions and the queue's workers.
// It outlives crashes.
type world struct {
	t     testing.TB
	store *memory
	// answer is what a function or a worker answers to a request; a worker that answers errSilent
	// says nothing.
	answer func(name string, request any) (any, error)

	mu       sync.Mutex
	sent     map[string][]sentMessage // by dedup id
	invoked  map[string]int
	trouble  []string
	complete sync.WaitGroup
}

type sentMessage struct {
	queue string
	m     queue.Message
}

var errSilent = errors.New("says nothing")

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, store: newMemory(), sent: map[string][]sentMessage{}, invoked: map[string]int{},
		answer: func(_ string, request any) (any, error) { return map[string]any{"did": request}, nil },
	}
	t.Cleanup(w.complete.Wait)
	return w
}

// process is one life of a runner.
type process struct {
	*Runner
	view   *mortal
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// start begins a process that dies with its write number dies (0: never).
func (w *world) start(machines map[string]string, dies int, lost bool, change ...func(*RunnerOptions)) *process {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cancel: cancel, ended: make(chan struct{})}
	p.view = &mortal{memory: w.store, dies: dies, lost: lost, death: cancel}
	o := RunnerOptions{
		Table:    table.New(p.view, table.Options{Name: "workflows"}),
		Machines: map[string][]byte{}, Resources: map[string]string{"Queue": "jobs", "Function": "worker"}, Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
		Invoke: func(ctx context.Context, name string, payload json.RawMessage) (json.RawMessage, error) {
			if p.view.isDead() {
				return nil, ctx.Err()
			}
			return w.invoke(ctx, name, payload)
		},
		Send: func(ctx context.Context, name string, m queue.Message) error {
			if p.view.isDead() {
				return ctx.Err()
			}
			return w.send(name, m)
		},
	}
	for name, text := range machines {
		o.Machines[name] = []byte(text)
	}
	for _, c := range change {
		c(&o)
	}
	r, err := NewRunner(o)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Runner = r
	go func() {
		defer close(p.ended)
		p.err = r.Run(ctx)
	}()
	return p
}

// stop ends the process in order.
func (p *process) stop() {
	p.cancel()
	<-p.ended
}

func (w *world) invoke(_ context.Context, name string, payload json.RawMessage) (json.RawMessage, error) {
	request, err := decode(payload)
	if err != nil {
		return nil, err
	}
	w.note(payload)
	reply, err := w.answer(name, request)
	if err != nil {
		return nil, err
	}
	return encode(reply)
}

// note checks that what is recorded as done is not asked for again.
func (w *world) note(payload json.RawMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.invoked[string(payload)]++
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for key, item := range w.store.items {
		rec := &record{}
		if strings.HasPrefix(key.Sort, stepPrefix) && json.Unmarshal(item.Value, rec) == nil && rec.Done && !rec.Failed &&
			strings.Contains(string(rec.Output), `"Payload":{"did":`+string(payload)+`}`) {
			w.trouble = append(w.trouble, fmt.Sprintf("%s was done again after %s recorded it", payload, key.Sort))
		}
	}
}

// send is the queue with a worker behind it: it drops repeats of a dedup id, and the worker
// completes the token in the message from another process.
func (w *world) send(name string, m queue.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	repeats := w.sent[m.DedupID]
	w.sent[m.DedupID] = append(repeats, sentMessage{name, m})
	if len(repeats) > 0 {
		if string(repeats[0].m.Body) != string(m.Body) {
			w.trouble = append(w.trouble, fmt.Sprintf("dedup id %s was sent with another body: %s, %s", m.DedupID, repeats[0].m.Body, m.Body))
		}
		return nil
	}
	body, err := decode(m.Body)
	if err != nil {
		return err
	}
	job, _ := body.(map[string]any)
	token, _ := job["token"].(string)
	delete(job, "token")
	w.complete.Go(func() {
		time.Sleep(time.Second)
		output, err := w.answer(name, job)
		client := NewClient(w.store.table())
		ctx := context.Background()
		switch {
		case errors.Is(err, errSilent) || token == "":
			return
		case err != nil:
			err = client.Fail(ctx, token, ErrorName(err), err.Error())
		default:
			raw, _ := encode(output)
			err = client.Complete(ctx, token, raw)
		}
		if err != nil {
			w.mu.Lock()
			w.trouble = append(w.trouble, fmt.Sprintf("settle %s: %v", m.DedupID, err))
			w.mu.Unlock()
		}
	})
	return nil
}

// await gives the execution when it has ended.
func (w *world) await(machine, name string) Execution {
	w.t.Helper()
	client := NewClient(w.store.table())
	for range 100000 {
		e, err := client.Describe(context.Background(), machine, name)
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Status != Running {
			return e
		}
		time.Sleep(250 * time.Millisecond)
	}
	w.t.Fatalf("execution %s did not end", name)
	return Execution{}
}

func (w *world) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.trouble {
		w.t.Error(s)
	}
}

// live lets the process work until it dies, or until the execution has ended and is cleared away.
func (w *world) live(p *process, machine, name string) (died bool) {
	w.t.Helper()
	defer p.stop()
	for grace := 240; grace > 0; {
		select {
		case <-p.ended:
			time.Sleep(7 * time.Second) // until somebody starts it again
			return true
		case <-time.After(250 * time.Millisecond):
		}
		e, err := NewClient(w.store.table()).Describe(context.Background(), machine, name)
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Status != Running {
			grace--
		}
	}
	return false
}
