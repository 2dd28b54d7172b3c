package sqlitequeue_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/queuetest"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		child(path)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, o sqlitequeue.Options) *sqlitequeue.DB {
	t.Helper()
	db, err := sqlitequeue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "queue.db") }

func message(group string, n int) queue.Message {
	return queue.Message{Group: group, DedupID: fmt.Sprintf("%s-%d", group, n), Body: fmt.Appendf(nil, "%s/%d", group, n)}
}

// receive returns the bodies and receipts of what is there.
func receive(t testing.TB, d queue.Driver, limit int) (bodies []string, got []queue.Delivery) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	got, err := d.Receive(ctx, limit, time.Minute)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for _, one := range got {
		bodies = append(bodies, string(one.Message.Body))
	}
	return bodies, got
}

func send(t testing.TB, d queue.Driver, messages ...queue.Message) {
	t.Helper()
	if err := d.Send(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		return queuetest.Harness{Queue: open(t, sqlitequeue.Options{Path: file(t)}).Queue}
	})
}

// The same suite with every handle on its own connection to the file, as separate processes are.
func TestConformanceOfManyProcesses(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		path := file(t)
		var n atomic.Int64
		return queuetest.Harness{Queue: func(name string) queue.Driver {
			return open(t, sqlitequeue.Options{Path: path, Consumer: fmt.Sprint("process-", n.Add(1))}).Queue(name)
		}}
	})
}

// rawSQL changes the file behind the driver's back.
func rawSQL(t testing.TB, path, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, path, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDamagedRows(t *testing.T) {
	damages := map[string]string{
		"body":       `UPDATE message SET body = x'ff' WHERE seq = 1`,
		"no body":    `UPDATE message SET body = NULL WHERE seq = 1`,
		"attributes": `UPDATE message SET attributes = '{"step":"8"}' WHERE seq = 1`,
		"dedup id":   `UPDATE message SET dedup = 'x' WHERE seq = 1`,
		"group":      `UPDATE lane SET name = 'h' WHERE name = 'g'`,
		"sum":        `UPDATE message SET sum = sum + 1 WHERE seq = 1`,
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := file(t)
				db := open(t, sqlitequeue.Options{Path: path})
				bad := message("g", 1)
				bad.Attributes = map[string]string{"step": "7"}
				send(t, db.Queue("jobs"), bad, message("other", 1))
				rawSQL(t, path, strings.ReplaceAll(damage, `'{"step":"8"}'`, `CAST('{"step":"8"}' AS BLOB)`))
				var handled []string
				ctx, cancel := context.WithCancel(t.Context())
				q := queue.New(db.Queue("jobs"), queue.Options{Name: "jobs", OnParked: func(_ context.Context, m queue.Message, err error) error {
					if !errors.Is(err, fault.DataLoss) || m.Body != nil || m.Attributes != nil {
						t.Errorf("OnParked got %+v and %v", m, err)
					}
					return nil
				}})
				done := make(chan error, 1)
				go func() {
					done <- q.Run(ctx, func(_ context.Context, m queue.Message) error {
						handled = append(handled, string(m.Body))
						return nil
					})
				}()
				synctest.Wait()
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(handled) != "[other/1]" {
					t.Errorf("handled: %v", handled)
				}
				parked, _, err := q.Parked(t.Context(), "", 0)
				if err != nil || len(parked) != 1 || !strings.Contains(parked[0].Error, "damaged") {
					t.Errorf("parked: %+v, error %v", parked, err)
				}
			})
		})
	}
}

// A full disk refuses new messages and nothing else: what is there can be worked off, and then
// there is room again.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, sqlitequeue.Options{Path: file(t), MaxBytes: 1 << 20}).Queue("jobs")
		sent := 0
		for ; sent < 1000; sent++ {
			m := message(fmt.Sprint("g", sent%3), sent)
			m.Body = append(make([]byte, 20_000), m.Body...)
			if err := d.Send(t.Context(), []queue.Message{m}); err != nil {
				if !errors.Is(err, fault.ResourceExhausted) {
					t.Fatalf("Send to a full file: %v", err)
				}
				break
			}
		}
		if sent < 20 || sent == 1000 {
			t.Fatalf("%d messages of 20 KB went into 1 MiB", sent)
		}
		for n := 0; n < sent; {
			_, got := receive(t, d, 3)
			if len(got) == 0 {
				t.Fatalf("after %d of %d acknowledged messages nothing comes", n, sent)
			}
			for _, one := range got {
				if expired, err := d.Settle(t.Context(), []queue.Settlement{{Receipt: one.Receipt, Action: queue.Ack}}); err != nil || len(expired) > 0 {
					t.Fatalf("Settle in a full file: %v, %v", expired, err)
				}
				n++
			}
		}
		m := message("g", 1000)
		m.Body = make([]byte, 20_000)
		send(t, d, m)
	})
}

// Dedup ids do not pile up.
func TestOldDedupIDsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := file(t)
		d := open(t, sqlitequeue.Options{Path: path}).Queue("jobs")
		for n := range 300 {
			send(t, d, message("g", n), message("h", n))
			time.Sleep(time.Second)
		}
		if n := count(t, path, `SELECT count(*) FROM dedup`); n != 600 {
			t.Errorf("inside the window %d ids are kept, want 600", n)
		}
		time.Sleep(queue.DedupWindow + 2*time.Minute)
		for n := range 30 {
			send(t, d, message("i", n))
		}
		if n := count(t, path, `SELECT count(*) FROM dedup`); n != 30 {
			t.Errorf("after the window %d ids are kept, want 30", n)
		}
	})
}

func TestForeignFile(t *testing.T) {
	path := file(t)
	rawSQL(t, path, `CREATE TABLE something (a)`)
	if _, err := sqlitequeue.Open(t.Context(), sqlitequeue.Options{Path: path}); !errors.Is(err, fault.FailedPrecondition) || !strings.Contains(err.Error(), path) {
		t.Errorf("Open of another program's file: %v", err)
	}
}

// Message ids of a file that was made anew are not those of the old one.
func TestIDsOfANewFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[string]bool{}
		for range 2 {
			d := open(t, sqlitequeue.Options{Path: file(t)}).Queue("jobs")
			send(t, d, message("g", 1))
			_, got := receive(t, d, 1)
			if seen[got[0].Message.ID] {
				t.Errorf("message id %s was used before", got[0].Message.ID)
			}
			seen[got[0].Message.ID] = true
		}
	})
}

// Closing the file ends everything that uses it.
func TestCloseEndsConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t, sqlitequeue.Options{Path: file(t)})
		q := queue.New(db.Queue("jobs"), queue.Options{Name: "jobs"})
		if err := q.Send(t.Context(), message("g", 1)); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			done <- q.Run(t.Context(), func(ctx context.Context, _ queue.Message) error {
				<-ctx.Done() // Run must end it: its answer could not be taken any more
				return ctx.Err()
			})
		}()
		synctest.Wait()
		closed := time.Now()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Run: %v, want ErrClosed", err)
		}
		if took := time.Since(closed); took > 0 {
			t.Errorf("Run took %s to end", took)
		}
		if err := q.Send(t.Context(), message("g", 2)); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Send: %v, want ErrClosed", err)
		}
	})
}
