package sqlitequeue_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
)

func TestReleaseOnOpen(t *testing.T) {
	tests := []struct {
		name   string
		reopen sqlitequeue.Options
		want   string // what can be received at once
	}{
		{"of the same consumer", sqlitequeue.Options{Consumer: "a", ReleaseOnOpen: true}, "[a1/1 a2/1]"},
		{"of the other consumer", sqlitequeue.Options{Consumer: "b", ReleaseOnOpen: true}, "[b1/1]"},
		{"of an unknown consumer", sqlitequeue.Options{ReleaseOnOpen: true}, "[]"},
		{"not asked for", sqlitequeue.Options{Consumer: "a"}, "[]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := file(t)
				for _, consumer := range []string{"a", "b"} {
					db, err := sqlitequeue.Open(t.Context(), sqlitequeue.Options{Path: path, Consumer: consumer})
					if err != nil {
						t.Fatal(err)
					}
					send(t, db.Queue("jobs"), message(consumer+"1", 1))
					if consumer == "a" {
						send(t, db.Queue("jobs"), message("a2", 1), message("a2", 2))
					}
					if _, got := receive(t, db.Queue("jobs"), 5); len(got) == 0 {
						t.Fatal("nothing was received")
					}
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
				}
				test.reopen.Path = path
				d := open(t, test.reopen).Queue("jobs")
				bodies, got := receive(t, d, 10)
				if fmt.Sprint(bodies) != test.want {
					t.Errorf("after opening %v can be received, want %s", bodies, test.want)
				}
				for _, one := range got {
					if one.Lost != 1 || one.Message.Attempt != 1 {
						t.Errorf("%s: lost %d, attempt %d; want 1 and 1", one.Message.Body, one.Lost, one.Message.Attempt)
					}
				}
				// The others come when their visibility ends.
				time.Sleep(time.Minute)
				if bodies, _ := receive(t, d, 10); len(bodies) != 3 {
					t.Errorf("after the visibility %v can be received, want all 3", bodies)
				}
			})
		})
	}
}

// A consumer in another process is woken by polling, within the slow poll's interval, for new
// messages as for ones that are handed back early.
func TestOtherProcessIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := file(t)
		here, there := open(t, sqlitequeue.Options{Path: path}).Queue("jobs"), open(t, sqlitequeue.Options{Path: path}).Queue("jobs")
		wait := func() (time.Duration, string) {
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
			defer cancel()
			got, err := there.Receive(ctx, 1, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return time.Since(begin), string(got[0].Message.Body)
		}
		time.Sleep(time.Hour)
		go func() {
			time.Sleep(10*time.Minute + 33*time.Millisecond)
			send(t, here, message("g", 1), message("g", 2))
		}()
		took, body := wait()
		if late := took - 10*time.Minute - 33*time.Millisecond; body != "g/1" || late < 0 || late > 100*time.Millisecond {
			t.Errorf("%s came %s after it was sent", body, late)
		}
		_, got := receive(t, here, 1)
		if len(got) != 0 {
			t.Fatal("the group is in flight")
		}
		send(t, here, message("h", 1))
		if _, got = receive(t, here, 1); len(got) != 1 {
			t.Fatal("h/1 is not there")
		}
		go func() {
			time.Sleep(10 * time.Second)
			if _, err := here.Settle(t.Context(), []queue.Settlement{{Receipt: got[0].Receipt, Action: queue.Return}}); err != nil {
				t.Error(err)
			}
		}()
		took, body = wait()
		if late := took - 10*time.Second; body != "h/1" || late < 0 || late > 101*time.Millisecond {
			t.Errorf("%s came %s after it was handed back", body, late)
		}
	})
}

// Also the very first receive of a process is woken, on a queue that nobody had used before.
func TestFirstReceiveIsWoken(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			path := file(t)
			here, there := open(t, sqlitequeue.Options{Path: path}).Queue("jobs"), open(t, sqlitequeue.Options{Path: path}).Queue("jobs")
			begin := time.Now()
			took := make(chan time.Duration, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := there.Receive(ctx, 1, time.Minute); err != nil {
					t.Error(err)
				}
				took <- time.Since(begin)
			}()
			synctest.Wait()
			send(t, here, message("g", 1))
			if late := <-took; late > 100*time.Millisecond {
				t.Errorf("the message came %s after it was sent", late)
			}
		})
	}
}

// Saying wrongly that nobody else uses the file costs some seconds and no message.
func TestExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := file(t)
		here := open(t, sqlitequeue.Options{Path: path, Exclusive: true}).Queue("jobs")
		there := open(t, sqlitequeue.Options{Path: path, Exclusive: true}).Queue("jobs")
		took := make(chan time.Duration, 1)
		receive := func() {
			begin := time.Now()
			if _, err := there.Receive(t.Context(), 1, time.Minute); err != nil {
				t.Error(err)
			}
			took <- time.Since(begin)
		}
		go receive()
		time.Sleep(time.Minute)
		send(t, there, message("g", 1))
		if own := <-took; own != time.Minute {
			t.Errorf("a message of the same process came after %s, want at once", own-time.Minute)
		}
		go receive()
		time.Sleep(time.Minute)
		send(t, here, message("h", 1))
		if late := <-took - time.Minute; late > 5*time.Second {
			t.Errorf("a message of another process came after %s", late)
		}
	})
}
