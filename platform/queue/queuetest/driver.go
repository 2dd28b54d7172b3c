package queuetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riskprofiler/riskprofiler/platform/queue"
)

var driverCases = []testCase{
	{"MessageComesAsItWasSent", messageComesAsItWasSent},
	{"OrderWithinGroup", orderWithinGroup},
	{"GroupIsExclusive", groupIsExclusive},
	{"GroupsDoNotWait", groupsDoNotWait},
	{"GroupsTakeTurns", groupsTakeTurns},
	{"LargeGroupHidesNoOther", largeGroupHidesNoOther},
	{"QueuesAreSeparate", queuesAreSeparate},
	{"DedupWindow", dedupWindow},
	{"DedupScope", dedupScope},
}

func messageComesAsItWasSent(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	full := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
	for i := range queue.MaxAttributes {
		full[fmt.Sprintf("a-%d_%s", i, strings.Repeat("n", 200))] = strings.Repeat("välue", 100)
	}
	sent := []queue.Message{
		{Group: "g1"},
		{Group: "g2", DedupID: "d", Body: every, Attributes: map[string]string{"kind": "a \"b\" \u2028 \U0001F600"}},
		{Group: strings.Repeat("g", queue.MaxGroupBytes), DedupID: strings.Repeat("!", queue.MaxDedupBytes), Body: []byte("x"), Attributes: full},
		{Group: "tenant#~!\"$%&'()*+,-./:;<=>?@[]^_`{|}", Body: bytes.Repeat(every, queue.MaxBodyBytes/256)},
	}
	mustSend(t, d, sent...)
	at := now()
	time.Sleep(time.Hour)
	ids := map[string]bool{}
	for _, want := range sent {
		got := receive(t, d, 1)
		if len(got) != 1 {
			t.Fatalf("Receive returned %d messages, want the one of group %s", len(got), want.Group)
		}
		m := got[0].Message
		if m.ID == "" || ids[m.ID] {
			t.Errorf("message id %q is empty or not unique", m.ID)
		}
		ids[m.ID] = true
		want.ID, want.Attempt, want.SentAt = m.ID, 1, at
		m.SentAt = m.SentAt.UTC()
		if len(m.Body) == 0 {
			m.Body = nil
		}
		if len(m.Attributes) == 0 {
			m.Attributes = nil
		}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("message (-sent +received):\n%s", diff)
		}
		if got[0].Lost != 0 || got[0].LastError != "" || got[0].LastTraceID != "" || got[0].Damaged != nil {
			t.Errorf("a first delivery has a past: %+v", got[0])
		}
		ack(t, d, got[0])
	}
	wantNothing(t, d, "after all were acknowledged")
}

func orderWithinGroup(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	var sent []queue.Message
	want := map[string][]string{}
	for i := range 30 {
		m := message(fmt.Sprint("g", i%3), i)
		sent = append(sent, m)
		want[m.Group] = append(want[m.Group], string(m.Body))
	}
	mustSend(t, d, sent...)
	got := map[string][]string{}
	for range sent {
		for _, one := range receive(t, d, 4) {
			got[one.Message.Group] = append(got[one.Message.Group], string(one.Message.Body))
			ack(t, d, one)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order within groups (-sent +received):\n%s", diff)
	}
}

func groupIsExclusive(t *testing.T, h Harness) {
	d, other := h.Queue("jobs"), h.Queue("jobs")
	mustSend(t, d, message("g", 1), message("g", 2), message("g", 3))
	first := mustReceive(t, d, "g/1")
	wantNothing(t, d, "while the first of its group is in flight")
	wantNothing(t, other, "while another consumer has the first of its group")
	mustSettle(t, d, queue.Settlement{Receipt: first.Receipt, Action: queue.Retry, After: 10 * time.Second})
	time.Sleep(10*time.Second - 10*time.Millisecond)
	wantNothing(t, other, "while the first of its group waits for its next attempt")
	time.Sleep(10 * time.Millisecond)
	first = mustReceive(t, other, "g/1")
	mustSettle(t, other, queue.Settlement{Receipt: first.Receipt, Action: queue.Return, After: 10 * time.Second})
	time.Sleep(10*time.Second - 10*time.Millisecond)
	wantNothing(t, d, "while the first of its group is handed back")
	time.Sleep(10 * time.Millisecond)
	ack(t, d, mustReceive(t, d, "g/1"))
	ack(t, d, mustReceive(t, d, "g/2"))
	ack(t, other, mustReceive(t, other, "g/3"))
}

func groupsDoNotWait(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	mustSend(t, d, message("a", 1), message("b", 1), message("c", 1))
	held := mustReceive(t, d, "a/1")
	delayed := mustReceive(t, d, "b/1")
	mustSettle(t, d, queue.Settlement{Receipt: delayed.Receipt, Action: queue.Retry, After: time.Hour})
	ack(t, d, mustReceive(t, d, "c/1"))
	mustSend(t, d, message("d", 1))
	ack(t, d, mustReceive(t, d, "d/1"))
	ack(t, d, held)
}

func groupsTakeTurns(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	const groups, each = 4, 5
	for n := range each {
		for g := range groups {
			mustSend(t, d, message(fmt.Sprint("g", g), n))
		}
	}
	mustSend(t, d, message("g0", 100), message("g0", 101), message("g0", 102))
	for n := range each {
		round := map[string]bool{}
		for range groups {
			got := receive(t, d, 1)
			if len(got) != 1 {
				t.Fatalf("round %d: Receive returned %d messages", n, len(got))
			}
			if round[got[0].Message.Group] {
				t.Fatalf("round %d: group %s was served again before others were", n, got[0].Message.Group)
			}
			round[got[0].Message.Group] = true
			ack(t, d, got[0])
		}
	}
}

func largeGroupHidesNoOther(t *testing.T, h Harness) {
	const large = 10_000
	d := h.Queue("jobs")
	var senders sync.WaitGroup
	for s := range 8 {
		senders.Go(func() {
			var batch []queue.Message
			for n := s; n < large; n += 8 {
				batch = append(batch, queue.Message{Group: "large", Body: []byte("x")})
			}
			mustSend(t, d, batch...)
		})
	}
	senders.Wait()
	wantDepth(t, d, queue.Depth{Visible: large, OldestSentAt: now()})
	for range 20 {
		for _, one := range receive(t, d, 10) {
			ack(t, d, one)
		}
	}
	mustSend(t, d, message("small", 1))
	for try := 1; ; try++ {
		got := receive(t, d, 10)
		if slices.Contains(bodies(got), "small/1") {
			return
		}
		if try == 3 {
			t.Fatalf("after %d receives the message of the small group is still hidden behind %d of another", try, large)
		}
		for _, one := range got {
			ack(t, d, one)
		}
	}
}

func queuesAreSeparate(t *testing.T, h Harness) {
	a, b := h.Queue("a"), h.Queue("b")
	at := now()
	mustSend(t, a, message("g", 1))
	wantNothing(t, b, "that was sent to another queue")
	mustSend(t, b, message("g", 1))
	inA, inB := mustReceive(t, a, "g/1"), mustReceive(t, b, "g/1")
	if settle(t, b, queue.Settlement{Receipt: inA.Receipt, Action: queue.Ack}) && inA.Receipt != inB.Receipt {
		t.Error("a receipt of one queue settled in another")
	}
	wantDepth(t, a, queue.Depth{InFlight: 1, OldestSentAt: at})
	ack(t, a, inA)
	wantDepth(t, a, queue.Depth{})
}

func dedupWindow(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	send := func(body string) {
		mustSend(t, d, queue.Message{Group: "g", DedupID: "same", Body: []byte(body)})
	}
	for _, offset := range []time.Duration{0, 17 * time.Second, 59*time.Second + 999*time.Millisecond} {
		time.Sleep(offset)
		begin := time.Now()
		send("first")
		send("at once")
		ack(t, d, mustReceive(t, d, "first"))
		send("after it was acknowledged")
		time.Sleep(queue.DedupWindow - time.Millisecond - time.Since(begin))
		send("at the end of the window")
		wantDepth(t, d, queue.Depth{})
		time.Sleep(time.Millisecond)
		send("after the window of the first, which repeats do not extend")
		ack(t, d, mustReceive(t, d, "after the window of the first, which repeats do not extend"))
		time.Sleep(queue.DedupWindow)
	}
}

func dedupScope(t *testing.T, h Harness) {
	d := h.Queue("jobs")
	mustSend(t, d,
		queue.Message{Group: "a", DedupID: "x", Body: []byte("a1")},
		queue.Message{Group: "a", DedupID: "x", Body: []byte("repeat in one batch")},
		queue.Message{Group: "b", DedupID: "x", Body: []byte("b1")},
		queue.Message{Group: "a", DedupID: "y", Body: []byte("a2")},
		queue.Message{Group: "ax", DedupID: "", Body: []byte("ax1")},
		queue.Message{Group: "ax", DedupID: "", Body: []byte("ax2")},
	)
	var got []string
	for range 10 {
		for _, one := range receive(t, d, 1) {
			got = append(got, string(one.Message.Body))
			ack(t, d, one)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a1", "a2", "ax1", "ax2", "b1"}, got); diff != "" {
		t.Errorf("what came (-want +got):\n%s", diff)
	}
}
