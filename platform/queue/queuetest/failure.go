package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var failureCases = []testCase{
	{"PoisonIsParked", poisonIsParked},
	{"PoisonInManyGroups", poisonInManyGroups},
	{"PermanentParksAtOnce", permanentParksAtOnce},
	{"OnParkedIsRetried", onParkedIsRetried},
	{"LaterDoesNotCount", laterDoesNotCount},
	{"PanicIsAFailure", panicIsAFailure},
	{"DefaultBackoff", defaultBackoff},
	{"LostMessageIsParked", lostMessageIsParked},
	{"DamagedMessageIsParked", damagedMessageIsParked},
	{"ErrorTextIsBounded", errorTextIsBounded},
}

var errPoison = errors.New("cannot be done")

func poisonIsParked(t *testing.T, h Harness) {
	var j journal
	begin := time.Now()
	q := queue.New(h.Queue("jobs"), queue.Options{
		Name:    "jobs",
		Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Minute },
		OnParked: func(_ context.Context, m queue.Message, cause error) error {
			j.add("%s OnParked %s attempt %d: %v", time.Since(begin), m.Body, m.Attempt, cause)
			if !errors.Is(cause, errPoison) {
				j.add("the cause is not the handler's error")
			}
			return nil
		},
	})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2), message("h", 1)); err != nil {
		t.Fatal(err)
	}
	start(t, q, func(_ context.Context, m queue.Message) error {
		if m.Group == "h" {
			return nil
		}
		j.add("%s handler %s attempt %d", time.Since(begin), m.Body, m.Attempt)
		if string(m.Body) == "g/1" {
			return fmt.Errorf("handle: %w", errPoison)
		}
		return nil
	})
	time.Sleep(11 * time.Minute)
	j.want(t,
		"0s handler g/1 attempt 1",
		"1m0s handler g/1 attempt 2",
		"3m0s handler g/1 attempt 3",
		"6m0s handler g/1 attempt 4",
		"10m0s handler g/1 attempt 5",
		"10m0s OnParked g/1 attempt 5: handle: cannot be done",
		"10m0s handler g/2 attempt 1",
	)
	parked := parkedOf(t, q)
	if len(parked) != 1 {
		t.Fatalf("parked: %v", parked)
	}
	p := parked[0]
	p.ParkedAt = p.ParkedAt.Truncate(time.Second)
	if string(p.Body) != "g/1" || p.Attempt != queue.MaxAttempts || p.Error != "handle: cannot be done" || !p.ParkedAt.Equal(begin.Add(10*time.Minute)) {
		t.Errorf("parked message: %+v", p)
	}
	if got := depthOf(t, q); got != (queue.Depth{Parked: 1}) {
		t.Errorf("depth: %+v", got)
	}
}

// One poison message in each of many groups: all are parked, nothing is lost, and what is behind
// them waits for no more than their attempts.
func poisonInManyGroups(t *testing.T, h Harness) {
	const groups, each = 100, 3
	q := queue.New(h.Queue("jobs"), queue.Options{
		Name: "jobs", Concurrency: groups, Backoff: func(int) time.Duration { return time.Minute },
	})
	var messages []queue.Message
	for g := range groups {
		for n := range each {
			messages = append(messages, message(fmt.Sprint("g", g), n))
		}
	}
	if err := q.Send(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	var j journal
	begin := time.Now()
	start(t, q, func(_ context.Context, m queue.Message) error {
		if strings.HasSuffix(string(m.Body), "/1") {
			return errPoison
		}
		j.add("%s %s", time.Since(begin).Truncate(time.Minute), m.Body)
		return nil
	})
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	late := 0
	for _, line := range j.all() {
		if strings.HasPrefix(line, "4m0s") {
			late++
		}
	}
	if len(j.all()) != groups*(each-1) || late != groups {
		t.Errorf("%d messages were handled, want %d; %d of them after 4 minutes, want %d", len(j.all()), groups*(each-1), late, groups)
	}
	if got := depthOf(t, q); got != (queue.Depth{Parked: groups}) {
		t.Errorf("depth: %+v", got)
	}
}

func permanentParksAtOnce(t *testing.T, h Harness) {
	var j journal
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2), message("g", 3)); err != nil {
		t.Fatal(err)
	}
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("%s attempt %d", m.Body, m.Attempt)
		switch string(m.Body) {
		case "g/1":
			return queue.Permanent(errPoison)
		case "g/2":
			return fmt.Errorf("wrapped: %w", queue.Permanent(errPoison))
		}
		return queue.Permanent(nil)
	})
	j.want(t, "g/1 attempt 1", "g/2 attempt 1", "g/3 attempt 1")
	var got []string
	for _, p := range parkedOf(t, q) {
		got = append(got, fmt.Sprintf("%s attempt %d: %s", p.Body, p.Attempt, p.Error))
	}
	if diff := cmp.Diff([]string{"g/1 attempt 1: cannot be done", "g/2 attempt 1: wrapped: cannot be done"}, got); diff != "" {
		t.Errorf("parked (-want +got):\n%s", diff)
	}
}

func onParkedIsRetried(t *testing.T, h Harness) {
	var j journal
	calls := 0
	q := queue.New(h.Queue("jobs"), queue.Options{
		Name:    "jobs",
		Backoff: func(int) time.Duration { return time.Minute },
		OnParked: func(_ context.Context, m queue.Message, cause error) error {
			calls++
			j.add("OnParked %s: %v", m.Body, cause)
			switch calls {
			case 1:
				return errors.New("the table is down")
			case 2:
				panic("at the second")
			}
			return nil
		},
	})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2)); err != nil {
		t.Fatal(err)
	}
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("handler %s", m.Body)
		if string(m.Body) == "g/1" {
			return errPoison
		}
		return nil
	})
	five := []string{"handler g/1", "handler g/1", "handler g/1", "handler g/1", "handler g/1", "OnParked g/1: cannot be done"}
	time.Sleep(4*time.Minute + time.Second)
	j.want(t, five...)
	if got := depthOf(t, q); got.Parked != 0 || got.Delayed != 1 || got.Visible != 1 {
		t.Errorf("depth while OnParked fails: %+v", got)
	}
	time.Sleep(time.Minute)
	j.want(t, append(five, "OnParked g/1: cannot be done")...)
	time.Sleep(time.Minute)
	j.want(t, append(five, "OnParked g/1: cannot be done", "OnParked g/1: cannot be done", "handler g/2")...)
	if parked := parkedOf(t, q); len(parked) != 1 || parked[0].Error != "cannot be done" {
		t.Errorf("parked: %+v", parked)
	}
}

func laterDoesNotCount(t *testing.T, h Harness) {
	var j journal
	begin := time.Now()
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Backoff: func(int) time.Duration { return time.Second }})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2)); err != nil {
		t.Fatal(err)
	}
	calls := 0
	start(t, q, func(_ context.Context, m queue.Message) error {
		if string(m.Body) == "g/2" {
			j.add("%s %s", time.Since(begin), m.Body)
			return nil
		}
		calls++
		switch {
		case m.Attempt > 2:
			j.add("attempt %d", m.Attempt)
		case calls == 10:
			return errPoison // the only attempt that counts
		case calls <= 20:
			return fmt.Errorf("no permit: %w", queue.Later(time.Minute, errPoison))
		}
		j.add("%s %s attempt %d", time.Since(begin), m.Body, m.Attempt)
		return nil
	})
	time.Sleep(20 * time.Minute)
	j.want(t, "19m1s g/1 attempt 2", "19m1s g/2")
	if parked := parkedOf(t, q); len(parked) != 0 {
		t.Errorf("parked: %+v", parked)
	}
	for d, want := range map[time.Duration]string{
		-time.Second:   "try again in 0s",
		time.Minute:    "try again in 1m0s",
		24 * time.Hour: "try again in 12h0m0s",
	} {
		if got := queue.Later(d, nil).Error(); got != want {
			t.Errorf("Later(%s, nil) reads %q, want %q", d, got, want)
		}
	}
}

func panicIsAFailure(t *testing.T, h Harness) {
	var j journal
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs", Backoff: func(int) time.Duration { return time.Second }})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2)); err != nil {
		t.Fatal(err)
	}
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("%s attempt %d", m.Body, m.Attempt)
		if string(m.Body) == "g/1" {
			panic("no such thing")
		}
		return nil
	})
	time.Sleep(time.Minute)
	j.want(t, "g/1 attempt 1", "g/1 attempt 2", "g/1 attempt 3", "g/1 attempt 4", "g/1 attempt 5", "g/2 attempt 1")
	if parked := parkedOf(t, q); len(parked) != 1 || !strings.Contains(parked[0].Error, "no such thing") {
		t.Errorf("parked: %+v", parked)
	}
}

func defaultBackoff(t *testing.T, h Harness) {
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	if err := q.Send(t.Context(), message("g", 1)); err != nil {
		t.Fatal(err)
	}
	var at []time.Time
	stop := start(t, q, func(context.Context, queue.Message) error {
		at = append(at, time.Now())
		return errPoison
	})
	time.Sleep(time.Minute)
	stop()
	if len(at) != queue.MaxAttempts {
		t.Fatalf("%d attempts, want %d", len(at), queue.MaxAttempts)
	}
	for i, want := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 8 * time.Second, 32 * time.Second} {
		if pause := at[i+1].Sub(at[i]); pause < want/2 || pause > want+2*time.Millisecond {
			t.Errorf("pause %d is %s, want between %s and %s", i+1, pause, want/2, want)
		}
	}
}

// A message whose deliveries never come to an answer may be what kills the process.
func lostMessageIsParked(t *testing.T, h Harness) {
	var j journal
	d := h.Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs", OnParked: func(_ context.Context, m queue.Message, cause error) error {
		j.add("OnParked %s: %v", m.Body, cause)
		return nil
	}})
	if err := q.Send(t.Context(), message("g", 1), message("g", 2)); err != nil {
		t.Fatal(err)
	}
	for n := range queue.MaxLost {
		if got := mustReceive(t, d, "g/1"); got.Lost != n || got.Message.Attempt != 1 {
			t.Fatalf("delivery %d: lost %d, attempt %d", n+1, got.Lost, got.Message.Attempt)
		}
		time.Sleep(visibility)
	}
	start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("handler %s", m.Body)
		return nil
	})
	why := fmt.Sprintf("%d deliveries ended without an answer: the handler may be ending the process or never return", queue.MaxLost)
	j.want(t, "OnParked g/1: "+why, "handler g/2")
	if parked := parkedOf(t, q); len(parked) != 1 || parked[0].Error != why {
		t.Errorf("parked: %+v", parked)
	}
}

func damagedMessageIsParked(t *testing.T, h Harness) {
	var j journal
	d := &damaging{h.Queue("jobs")}
	q := queue.New(d, queue.Options{Name: "jobs", OnParked: func(_ context.Context, m queue.Message, cause error) error {
		j.add("OnParked %s: %v", m.Group, fault.CodeOf(cause))
		return nil
	}})
	if err := q.Send(t.Context(), message("bad", 1), message("good", 1)); err != nil {
		t.Fatal(err)
	}
	stop := start(t, q, func(_ context.Context, m queue.Message) error {
		j.add("handler %s", m.Body)
		return nil
	})
	synctest.Wait()
	stop()
	if got := fmt.Sprint(j.all()); !strings.Contains(got, "OnParked bad: data loss") || !strings.Contains(got, "handler good/1") || strings.Contains(got, "handler bad") {
		t.Errorf("what happened: %s", got)
	}
	if parked := parkedOf(t, q); len(parked) != 1 {
		t.Errorf("parked: %+v", parked)
	}
}

// damaging is a driver that finds the messages of one group damaged.
type damaging struct{ queue.Driver }

// Receive damages what it got.
func (d *damaging) Receive(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	got, err := d.Driver.Receive(ctx, limit, visibility)
	for i := range got {
		if got[i].Message.Group == "bad" {
			got[i].Damaged = fault.New(fault.DataLoss, "read message: it is damaged")
		}
	}
	return got, err
}

func errorTextIsBounded(t *testing.T, h Harness) {
	q := queue.New(h.Queue("jobs"), queue.Options{Name: "jobs"})
	texts := []string{strings.Repeat("x", queue.MaxErrorBytes), strings.Repeat("€", queue.MaxErrorBytes), "no UTF-8: \xff\xfe", ""}
	for n := range texts {
		if err := q.Send(t.Context(), message("g", n)); err != nil {
			t.Fatal(err)
		}
	}
	start(t, q, func(_ context.Context, m queue.Message) error {
		return queue.Permanent(errors.New(texts[m.Body[2]-'0']))
	})
	synctest.Wait()
	parked := parkedOf(t, q)
	if len(parked) != len(texts) {
		t.Fatalf("%d messages are parked, want %d", len(parked), len(texts))
	}
	for i, p := range parked {
		if len(p.Error) > queue.MaxErrorBytes || !utf8.ValidString(p.Error) {
			t.Errorf("error text %d has %d bytes, valid UTF-8: %t", i, len(p.Error), utf8.ValidString(p.Error))
		}
	}
	if parked[0].Error != texts[0] || !strings.HasSuffix(parked[1].Error, "€…") || len(parked[1].Error) < queue.MaxErrorBytes-6 {
		t.Errorf("error texts at and above the limit: %q, %q", parked[0].Error, parked[1].Error)
	}
}
