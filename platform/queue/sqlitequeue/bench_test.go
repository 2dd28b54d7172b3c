package sqlitequeue_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
)

const (
	benchGroups = 64
	benchBody   = 512
)

// bench sends b.N messages to 64 groups and consumes them at the same time.
func bench(b *testing.B, backlog int, dedup bool) {
	db := open(b, sqlitequeue.Options{Path: file(b)})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	body := bytes.Repeat([]byte("x"), benchBody)
	waiting := queue.New(db.Queue("backlog"), queue.Options{Name: "backlog"})
	for n := 0; n < backlog; n += 100 {
		messages := make([]queue.Message, 0, 100)
		for i := range 100 {
			messages = append(messages, queue.Message{Group: fmt.Sprint("w", (n+i)%10_000), Body: body})
		}
		if err := waiting.Send(ctx, messages...); err != nil {
			b.Fatal(err)
		}
	}
	q := queue.New(db.Queue("jobs"), queue.Options{Name: "jobs", Concurrency: benchGroups})
	var handled, next atomic.Int64
	done := make(chan struct{})
	b.ResetTimer()
	for range 8 {
		go func() {
			for {
				end := next.Add(queue.MaxBatch)
				messages := make([]queue.Message, 0, queue.MaxBatch)
				for n := end - queue.MaxBatch; n < min(end, int64(b.N)); n++ {
					m := queue.Message{Group: fmt.Sprint("g", n%benchGroups), Body: body}
					if dedup {
						m.DedupID = fmt.Sprint(n)
					}
					messages = append(messages, m)
				}
				if len(messages) == 0 {
					return
				}
				if err := q.Send(ctx, messages...); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	ended := make(chan error, 1)
	go func() {
		ended <- q.Run(ctx, func(context.Context, queue.Message) error {
			if handled.Add(1) == int64(b.N) {
				close(done)
			}
			return nil
		})
	}()
	<-done
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkQueue is send, receive and acknowledge of one message of 512 bytes. Compare with
// BenchmarkFloor.
func BenchmarkQueue(b *testing.B) { bench(b, 0, false) }

// BenchmarkQueueDedup is the same with dedup ids.
func BenchmarkQueueDedup(b *testing.B) { bench(b, 0, true) }

// BenchmarkQueueBacklog is the same beside a queue with 100,000 messages in 10,000 groups.
func BenchmarkQueueBacklog(b *testing.B) { bench(b, 100_000, false) }

// BenchmarkSteps is the driver alone, one call after the other: send 10, receive 10, settle 10.
func BenchmarkSteps(b *testing.B) {
	d := open(b, sqlitequeue.Options{Path: file(b)}).Queue("jobs")
	messages := make([]queue.Message, queue.MaxBatch)
	for i := range messages {
		messages[i] = queue.Message{Group: fmt.Sprint("g", i), Body: bytes.Repeat([]byte("x"), benchBody)}
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += len(messages) {
		if err := d.Send(b.Context(), messages); err != nil {
			b.Fatal(err)
		}
		got, err := d.Receive(b.Context(), len(messages), time.Minute)
		if err != nil || len(got) != len(messages) {
			b.Fatal(len(got), err)
		}
		settlements := make([]queue.Settlement, len(got))
		for i, one := range got {
			settlements[i] = queue.Settlement{Receipt: one.Receipt, Action: queue.Ack}
		}
		if expired, err := d.Settle(b.Context(), settlements); err != nil || len(expired) > 0 {
			b.Fatal(expired, err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkFloor is the least that a durable queue in SQLite can do: a transaction that inserts 10
// rows of the same size and one that deletes them, with the same journal and syncing.
func BenchmarkFloor(b *testing.B) {
	db, err := sql.Open("sqlite", filepath.Join(b.TempDir(), "floor.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE message (seq INTEGER PRIMARY KEY, body BLOB)`); err != nil {
		b.Fatal(err)
	}
	insert, err := db.Prepare(`INSERT INTO message (seq, body) VALUES (?, ?)`)
	if err != nil {
		b.Fatal(err)
	}
	defer insert.Close()
	remove, err := db.Prepare(`DELETE FROM message WHERE seq = ?`)
	if err != nil {
		b.Fatal(err)
	}
	defer remove.Close()
	body := bytes.Repeat([]byte("x"), benchBody)
	exec := func(_ sql.Result, err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += queue.MaxBatch {
		exec(db.Exec("BEGIN"))
		for i := range queue.MaxBatch {
			exec(insert.Exec(n+i, body))
		}
		exec(db.Exec("COMMIT"))
		exec(db.Exec("BEGIN"))
		for i := range queue.MaxBatch {
			exec(remove.Exec(n + i))
		}
		exec(db.Exec("COMMIT"))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
