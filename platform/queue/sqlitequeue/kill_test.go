package sqlitequeue_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqlitequeue"
)

// childEnv makes this binary the process that TestKill kills; its value is the file. startEnv says
// with which number it begins to send.
const (
	childEnv = "SQLITEQUEUE_TEST_CHILD"
	startEnv = "SQLITEQUEUE_TEST_START"

	killGroups = 7
)

// child sends to some groups and handles what comes, until it is killed. It prints "sent <n>" after
// n was acknowledged in every group, and "<group> <n>" when a message is handled. A line is one
// write to the pipe, so none is lost with the process.
func child(path string) {
	ctx := context.Background()
	db, err := sqlitequeue.Open(ctx, sqlitequeue.Options{Path: path, ReleaseOnOpen: true})
	if err != nil {
		panic(err)
	}
	q := queue.New(db.Queue("jobs"), queue.Options{Name: "jobs", Concurrency: 4})
	var mu sync.Mutex
	say := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := os.Stdout.WriteString(line + "\n"); err != nil {
			os.Exit(1)
		}
	}
	// The sender stays a little ahead of the handler and not more.
	ahead := make(chan struct{}, 10*killGroups)
	go func() {
		start, err := strconv.Atoi(os.Getenv(startEnv))
		if err != nil {
			panic(err)
		}
		for n := start; ; n++ {
			var messages []queue.Message
			for g := range killGroups {
				ahead <- struct{}{}
				messages = append(messages, message(fmt.Sprint("g", g), n))
			}
			if err := q.Send(ctx, messages...); err != nil {
				panic(err)
			}
			say(fmt.Sprint("sent ", n))
		}
	}()
	panic(q.Run(ctx, func(_ context.Context, m queue.Message) error {
		say(strings.Replace(string(m.Body), "/", " ", 1))
		select {
		case <-ahead:
		default: // what an earlier process sent
		}
		return nil
	}))
}

// tally is what the children said.
type tally struct {
	sent    int // the last number that was acknowledged in every group
	handled map[string][]int
}

func (y *tally) read(t *testing.T, line string) {
	t.Helper()
	name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("a child said %q", line)
	}
	if name == "sent" {
		y.sent = n
		return
	}
	y.handled[name] = append(y.handled[name], n)
}

// A process that sends and consumes is killed again and again. What it acknowledged is not lost,
// what it had in flight comes at once when it is back, and every group stays in order.
func TestKill(t *testing.T) {
	path := file(t)
	y := &tally{sent: -1, handled: map[string][]int{}}
	for round := range 8 {
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = append(os.Environ(), childEnv+"="+path, startEnv+"="+strconv.Itoa(y.sent+1))
		command.Stderr = os.Stderr
		output, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(output)
		for range 300 + 37*round {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("round %d: the child ended by itself: %v", round, err)
			}
			y.read(t, line)
		}
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(lines)
		if err != nil {
			t.Fatal(err)
		}
		_ = command.Wait() // it was killed
		for line := range strings.Lines(string(rest)) {
			y.read(t, line)
		}
	}
	workOff(t, path, y)
	for g := range killGroups {
		group := fmt.Sprint("g", g)
		next := 0 // the number that must come next, or the one before it once more
		for i, n := range y.handled[group] {
			if n != next && n != next-1 {
				t.Fatalf("group %s: message %d is the %dth that was handled, want %d", group, n, i+1, next)
			}
			next = n + 1
		}
		if next <= y.sent {
			t.Errorf("group %s: %d messages were acknowledged, only %d came", group, y.sent+1, next)
		}
	}
}

// workOff handles what the children left.
func workOff(t *testing.T, path string, y *tally) {
	t.Helper()
	db := open(t, sqlitequeue.Options{Path: path, ReleaseOnOpen: true})
	q := queue.New(db.Queue("jobs"), queue.Options{Name: "jobs"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // not to hang should something be lost
	defer cancel()
	var mu sync.Mutex
	err := q.Run(ctx, func(_ context.Context, m queue.Message) error {
		mu.Lock()
		defer mu.Unlock()
		y.read(t, strings.Replace(string(m.Body), "/", " ", 1))
		if left, err := q.Depth(ctx); err == nil && left.Visible == 0 && left.InFlight <= 1 && left.Delayed == 0 {
			cancel()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := q.Depth(t.Context()); err != nil || left != (queue.Depth{}) {
		t.Fatalf("messages are left: %+v, %v", left, err)
	}
}
