package together_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/riskprofiler/riskprofiler/platform/together"
)

func breaks() { _ = make([]int, 1)[time.Now().Year()] }

// caught is what f panicked with.
func caught(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

// A panic in one part lets the others end, and comes to whoever waits: with the place where it happened, from a group within a group too.
func TestPanicComesToWhoWaits(t *testing.T) {
	for name, part := range map[string]func(){
		"of its own": breaks,
		"of a group within": func() {
			var inner together.Group
			inner.Go(breaks)
			inner.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ended atomic.Int32
			var g together.Group
			for i := range 10 {
				g.Go(func() {
					if i%5 == 0 {
						part()
					}
					ended.Add(1)
				})
			}
			p, ok := caught(g.Wait).(*together.Panic)
			if !ok {
				t.Fatal("Wait did not panic")
			}
			var mistake runtime.Error
			if ended.Load() != 8 || !errors.As(p, &mistake) || !strings.Contains(string(p.Stack), "together_test.breaks") || !strings.Contains(p.Error(), "index out of range") {
				t.Errorf("%d ended; %v", ended.Load(), p)
			}
		})
	}
}

func TestNoPanic(t *testing.T) {
	var g together.Group
	g.Wait() // nothing to wait for
	var ended atomic.Int32
	g = together.Group{}
	for range 100 {
		g.Go(func() { ended.Add(1) })
	}
	if value := caught(g.Wait); value != nil || ended.Load() != 100 {
		t.Errorf("%v, %d ended", value, ended.Load())
	}
}

// A limit holds, one that panicked gives its place back.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var running, most int
		began := time.Now()
		g := together.Limit(3)
		for i := range 12 {
			g.Go(func() {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				if i < 3 {
					panic("one of the first")
				}
			})
		}
		p, _ := caught(g.Wait).(*together.Panic)
		if took := time.Since(began); took != 4*time.Second || most != 3 || p == nil || p.Value != "one of the first" || p.Unwrap() != nil {
			t.Errorf("%d at once, took %s, %v", most, took, p)
		}
	})
}

func TestSafely(t *testing.T) {
	var g errgroup.Group
	g.Go(together.Safely(func() error { breaks(); return nil }))
	g.Go(together.Safely(func() error { return nil }))
	var p *together.Panic
	if err := g.Wait(); !errors.As(err, &p) || !strings.Contains(string(p.Stack), "together_test.breaks") {
		t.Errorf("got %v", err)
	}
	secret := together.Safely(func() error { panic("a secret") })()
	if text := secret.Error(); strings.Contains(text, "a secret") || !strings.Contains(text, "a value of type string") {
		t.Errorf("got %q", text)
	}
	mine := errors.New("mine")
	if err := together.Safely(func() error { return mine })(); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
}
