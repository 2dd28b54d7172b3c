package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var settleCases = []testCase{
	{"AttemptCountsFailures", attemptCountsFailures},
	{"RetryDelay", retryDelay},
	{"Extend", extend},
	{"ExpiredReceipt", expiredReceipt},
	{"ReceiptIsForOneDelivery", receiptIsForOneDelivery},
	{"SettleManyAtOnce", settleManyAtOnce},
}

var parkCases = []testCase{
	{"ParkedGroupGoesOn", parkedGroupGoesOn},
	{"ParkedPages", parkedPages},
	{"Redrive", redrive},
	{"RedriveManyAtOnce", redriveManyAtOnce},
	{"RedriveTakesWhatIsParkedNow", redriveTakesWhatIsParkedNow},
}

func attemptCountsFailures(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	mustSend(t, d, message("g", 1), message("g", 2))
	type past struct {
		Attempt, Lost    int
		LastErr, TraceID string
	}
	steps := []struct {
		answer queue.Settlement // of the delivery before; no action: it is not answered
		want   past
	}{
		{queue.Settlement{Action: queue.Return}, past{Attempt: 1}},
		{queue.Settlement{Action: queue.Retry, Error: "one", TraceID: "t1"}, past{2, 0, "one", "t1"}},
		{queue.Settlement{Action: queue.Return}, past{2, 0, "one", "t1"}},
		{queue.Settlement{}, past{2, 1, "one", "t1"}},
		{queue.Settlement{Action: queue.Extend, After: time.Second}, past{2, 2, "one", "t1"}},
		{queue.Settlement{Action: queue.Retry, Error: "two"}, past{3, 2, "two", ""}},
	}
	last := mustReceive(t, d, "g/1")
	for i, step := range steps {
		if step.answer.Action != 0 {
			step.answer.Receipt = last.Receipt
			mustSettle(t, d, step.answer)
		}
		if step.answer.Action != queue.Retry && step.answer.Action != queue.Return {
			time.Sleep(visibility)
		}
		id := last.Message.ID
		last = mustReceive(t, d, "g/1")
		if diff := cmp.Diff(step.want, past{last.Message.Attempt, last.Lost, last.LastError, last.LastTraceID}); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
		if last.Message.ID != id {
			t.Errorf("step %d: the message id changed from %s to %s", i, id, last.Message.ID)
		}
	}
	ack(t, d, last)
	// The next of the group starts anew.
	next := mustReceive(t, d, "g/2")
	if next.Message.Attempt != 1 || next.Lost != 0 || next.LastError != "" {
		t.Errorf("the next message of the group has the past of the one before: %+v", next)
	}
}

func retryDelay(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	mustSend(t, d, message("g", 1))
	for _, action := range []queue.Action{queue.Retry, queue.Return} {
		for _, delay := range []time.Duration{0, 30 * time.Millisecond, time.Minute, queue.MaxVisibility} {
			got := mustReceive(t, d, "g/1")
			mustSettle(t, d, queue.Settlement{Receipt: got.Receipt, Action: action, After: delay})
			if delay == 0 {
				continue
			}
			time.Sleep(delay - 10*time.Millisecond)
			wantNothing(t, d, fmt.Sprintf("before its %s of %s was over", action, delay))
			time.Sleep(10 * time.Millisecond)
		}
	}
	mustReceive(t, d, "g/1")
}

func extend(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	mustSend(t, d, message("g", 1))
	got := mustReceive(t, d, "g/1")
	for range 3 {
		time.Sleep(visibility - 10*time.Millisecond)
		mustSettle(t, d, queue.Settlement{Receipt: got.Receipt, Action: queue.Extend, After: visibility})
	}
	time.Sleep(visibility - 10*time.Millisecond)
	wantNothing(t, d, "though its visibility was extended")
	// An extension counts from now, so it can shorten too.
	mustSettle(t, d, queue.Settlement{Receipt: got.Receipt, Action: queue.Extend, After: time.Second})
	time.Sleep(time.Second)
	again := mustReceive(t, d, "g/1")
	if again.Lost != 1 || again.Message.Attempt != 1 {
		t.Errorf("lost %d, attempt %d; want 1 and 1", again.Lost, again.Message.Attempt)
	}
}

func expiredReceipt(t *testing.T, h Harness) {
	for _, action := range []queue.Action{queue.Ack, queue.Retry, queue.Return, queue.Extend, queue.Park} {
		d := h.Queue("jobs-" + action.String())
		mustSend(t, d, message("g", 1))
		late := queue.Settlement{Receipt: mustReceive(t, d, "g/1").Receipt, Action: action, After: time.Hour, Error: "late"}
		time.Sleep(visibility)
		if settle(t, d, late) {
			t.Errorf("%s: an expired receipt settled though nobody else had the message yet", action)
		}
		present := mustReceive(t, d, "g/1")
		if settle(t, d, late) {
			t.Errorf("%s: the receipt of an earlier delivery settled", action)
		}
		wantDepth(t, d, queue.Depth{InFlight: 1, OldestSentAt: present.Message.SentAt})
		ack(t, d, present)
		if settle(t, d, late) {
			t.Errorf("%s: a receipt settled after the message was gone", action)
		}
		wantDepth(t, d, queue.Depth{})
	}
}

func receiptIsForOneDelivery(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	mustSend(t, d, message("g", 1), message("g", 2))
	first := mustReceive(t, d, "g/1")
	mustSettle(t, d, queue.Settlement{Receipt: first.Receipt, Action: queue.Return})
	second := mustReceive(t, d, "g/1")
	if first.Receipt == second.Receipt {
		t.Fatal("two deliveries have one receipt")
	}
	if settle(t, d, queue.Settlement{Receipt: first.Receipt, Action: queue.Ack}) {
		t.Error("a receipt settled twice")
	}
	ack(t, d, second)
	third := mustReceive(t, d, "g/2")
	for _, receipt := range []string{first.Receipt, second.Receipt, "", "x", "1.1.1", "-1.-1.-1", third.Receipt + "0", strings.Repeat("9", 400)} {
		if settle(t, d, queue.Settlement{Receipt: receipt, Action: queue.Ack}) {
			t.Errorf("receipt %q settled", receipt)
		}
	}
	ack(t, d, third)
	// A group that was empty begins anew, and old receipts mean nothing there.
	mustSend(t, d, message("g", 3))
	fourth := mustReceive(t, d, "g/3")
	for _, old := range []queue.Delivery{first, second, third} {
		if old.Receipt == fourth.Receipt || settle(t, d, queue.Settlement{Receipt: old.Receipt, Action: queue.Ack}) {
			t.Errorf("receipt %q is valid again", old.Receipt)
		}
	}
	ack(t, d, fourth)
}

func settleManyAtOnce(t *testing.T, h Harness) {
	const n = 40
	d := h.Queue("jobs")
	for i := range n {
		mustSend(t, d, message(fmt.Sprint("g", i), 1))
	}
	var settlements []queue.Settlement
	for len(settlements) < n {
		for _, one := range receive(t, d, n) {
			settlements = append(settlements, queue.Settlement{Receipt: one.Receipt, Action: queue.Ack})
		}
	}
	settlements[7].Receipt, settlements[33].Action, settlements[33].After = "gone", queue.Return, time.Hour
	expired, err := d.Settle(t.Context(), settlements)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{7}, expired); diff != "" {
		t.Errorf("positions of expired receipts (-want +got):\n%s", diff)
	}
	wantDepth(t, d, queue.Depth{InFlight: 1, Delayed: 1, OldestSentAt: now()})
}

func parkedGroupGoesOn(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	sent := queue.Message{Group: "g", DedupID: "d", Body: []byte("poison"), Attributes: map[string]string{"a": "b"}}
	mustSend(t, d, sent, message("g", 2))
	at := now()
	time.Sleep(time.Second)
	got := mustReceive(t, d, "poison")
	mustSettle(t, d, queue.Settlement{Receipt: got.Receipt, Action: queue.Retry, Error: "first"})
	got = mustReceive(t, d, "poison")
	mustSettle(t, d, queue.Settlement{Receipt: got.Receipt, Action: queue.Park, Error: "it is pöison", TraceID: "0af7651916cd43dd8448eb211c80319c"})
	if settle(t, d, queue.Settlement{Receipt: got.Receipt, Action: queue.Ack}) {
		t.Error("the receipt of a parked message settled")
	}
	ack(t, d, mustReceive(t, d, "g/2"))
	wantNothing(t, d, "after the message was parked")
	found, err := d.Inspect(t.Context(), queue.Inspect{Limit: 10})
	if err != nil || len(found.Parked) != 1 {
		t.Fatalf("Inspect lists %v, error %v", found.Parked, err)
	}
	want := queue.ParkedMessage{Message: sent, Error: "it is pöison", TraceID: "0af7651916cd43dd8448eb211c80319c", ParkedAt: at.Add(time.Second)}
	want.ID, want.SentAt, want.Attempt = got.Message.ID, at, 2
	parked := found.Parked[0]
	parked.SentAt, parked.ParkedAt = parked.SentAt.UTC(), parked.ParkedAt.UTC().Truncate(time.Second)
	if diff := cmp.Diff(want, parked); diff != "" {
		t.Errorf("parked message (-want +got):\n%s", diff)
	}
}

// park sends and parks messages of group g.
func park(t testing.TB, d queue.Driver, n int) (ids []string) {
	t.Helper()
	for i := range n {
		mustSend(t, d, queue.Message{Group: "g", Body: fmt.Appendf(nil, "g/%d", i+1)})
		got := mustReceive(t, d, fmt.Sprintf("g/%d", i+1))
		mustSettle(t, d, queue.Settlement{Receipt: got.Receipt, Action: queue.Park, Error: "bad"})
		ids = append(ids, got.Message.ID)
	}
	return ids
}

func parkedPages(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	ids := park(t, d, 7)
	park(t, h.Queue("other"), 2)
	for _, limit := range []int{1, 2, 3, 7, 10} {
		var got []string
		token := ""
		for {
			page, err := d.Inspect(t.Context(), queue.Inspect{Limit: limit, PageToken: token})
			if err != nil {
				t.Fatalf("Inspect in pages of %d: %v", limit, err)
			}
			if len(page.Parked) > limit {
				t.Fatalf("a page of %d has %d messages", limit, len(page.Parked))
			}
			for _, m := range page.Parked {
				got = append(got, m.ID)
			}
			if token = page.NextPageToken; token == "" {
				break
			}
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Errorf("parked messages in pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	for _, token := range []string{"!", "bm90IGEgbnVtYmVy", strings.Repeat("A", 1000)} {
		_, err := d.Inspect(t.Context(), queue.Inspect{Limit: 1, PageToken: token})
		wantCode(t, "Inspect with page token "+token, err, fault.Invalid)
	}
	q := queue.New(d, queue.Options{Name: "jobs"})
	for _, limit := range []int{-1, queue.MaxPage + 1} {
		_, _, err := q.Parked(t.Context(), "", limit)
		wantCode(t, fmt.Sprintf("Parked with limit %d", limit), err, fault.Invalid)
	}
}

func redrive(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs"})
	ids := park(t, d, 3)
	park(t, h.Queue("other"), 1)
	mustSend(t, d, message("g", 10))
	time.Sleep(time.Hour)
	n, err := q.Redrive(t.Context(), ids[1], "unknown", ids[1], "")
	if err != nil || n != 1 {
		t.Fatalf("Redrive of one: %d, %v", n, err)
	}
	n, err = q.Redrive(t.Context(), ids[1])
	if err != nil || n != 0 {
		t.Fatalf("Redrive of what is not parked any more: %d, %v", n, err)
	}
	mustSend(t, d, message("g", 11))
	n, err = q.Redrive(t.Context())
	if err != nil || n != 2 {
		t.Fatalf("Redrive of the rest: %d, %v", n, err)
	}
	for _, want := range []string{"g/10", "g/2", "g/11", "g/1", "g/3"} {
		got := mustReceive(t, d, want)
		if got.Message.Attempt != 1 || got.Lost != 0 || got.LastError != "" {
			t.Errorf("message %s comes with a past: %+v", want, got)
		}
		ack(t, d, got)
	}
	wantDepth(t, d, queue.Depth{})
	wantDepth(t, h.Queue("other"), queue.Depth{Parked: 1})
	if n, err = q.Redrive(t.Context()); err != nil || n != 0 {
		t.Errorf("Redrive of nothing: %d, %v", n, err)
	}
	if _, err := q.Redrive(t.Context(), ids...); err != nil && !errors.Is(err, fault.Invalid) {
		t.Errorf("Redrive of ids that are gone: %v", err)
	}
}

// What fails again while the rest is still being sent waits for the next call.
func redriveTakesWhatIsParkedNow(t *testing.T, h Harness) {
	const n = 1000
	d := h.Queue("jobs")
	q := queue.New(d, queue.Options{Name: "jobs", Concurrency: 200})
	var messages []queue.Message
	for i := range n {
		messages = append(messages, message(fmt.Sprint("g", i), 1))
	}
	if err := q.Send(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	start(t, q, func(context.Context, queue.Message) error { return queue.Permanent(errPoison) })
	eventually(t, "all messages are parked", time.Minute, func() bool { return depthOf(t, q).Parked == n })
	if got, err := q.Redrive(t.Context()); err != nil || got != n {
		t.Errorf("Redrive: %d, %v; want %d", got, err, n)
	}
	eventually(t, "all messages are parked again", time.Minute, func() bool { return depthOf(t, q) == queue.Depth{Parked: n} })
}

func redriveManyAtOnce(t *testing.T, h Harness) {
	const n = 250
	d := h.Queue("jobs")
	ids := park(t, d, n)
	if got, err := d.Redrive(t.Context(), ids[:120]); err != nil || got != 120 {
		t.Fatalf("Redrive of 120 ids: %d, %v", got, err)
	}
	if got, err := d.Redrive(t.Context(), nil); err != nil || got != n-120 {
		t.Fatalf("Redrive of the rest: %d, %v", got, err)
	}
	for i := range n {
		ack(t, d, mustReceive(t, d, fmt.Sprintf("g/%d", i+1)))
	}
	wantDepth(t, d, queue.Depth{})
}
