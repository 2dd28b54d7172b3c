package correlator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// shelf is a library over snapshots in memory that tells when one is read after it was closed.
type shelf struct {
	*library

	mu        sync.Mutex
	newest    string
	down      error
	asked     int
	opened    []string
	open      atomic.Int64
	readDead  atomic.Int64
	openDelay time.Duration
}

// watched is intel that knows whether it is closed.
type watched struct {
	*mapIntel

	shelf  *shelf
	closed atomic.Bool
}

func (w *watched) Advisory(id string) (*modelv1.Advisory, error) {
	if w.closed.Load() {
		w.shelf.readDead.Add(1)
	}
	return w.mapIntel.Advisory(id)
}

func newShelf() *shelf {
	s := &shelf{}
	s.library = &library{
		log: slog.New(slog.DiscardHandler), loading: make(chan struct{}, 1),
		newest: func(context.Context, string) (*modelv1.IntelManifest, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked++
			return &modelv1.IntelManifest{Version: s.newest, Blob: s.newest}, s.down
		},
		open: func(_ context.Context, m *modelv1.IntelManifest) (Intel, func() error, error) {
			time.Sleep(s.openDelay)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.opened = append(s.opened, m.GetVersion())
			s.shelfOpen(1)
			w := &watched{mapIntel: newMapIntel(m.GetVersion(), nil, plainAdvisories("CVE-1")), shelf: s}
			return w, func() error { w.closed.Store(true); s.shelfOpen(-1); return nil }, nil
		},
	}
	return s
}

func (s *shelf) shelfOpen(n int64) { s.open.Add(n) }

func (s *shelf) set(version string, down error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest, s.down = version, down
}

// TestLibrary: what is asked and opened when.
func TestLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		use := func(atLeast, want string, asked int) {
			t.Helper()
			in, release, err := s.use(t.Context(), "acme", atLeast)
			if err != nil {
				t.Fatal(err)
			}
			defer release()
			got := ""
			if in != nil {
				got = in.Version()
			}
			if got != want || s.asked != asked {
				t.Errorf("at least %q: version %q after asking %d times, want %q and %d", atLeast, got, s.asked, want, asked)
			}
		}
		use("", "", 1) // there is none
		use("", "", 1)
		s.set("9", nil)
		use("", "", 1)   // that there is some is told by the mark in the table, or in time
		use("9", "9", 2) // it is
		use("9", "9", 2)
		s.set("10", nil)
		use("9", "9", 2)
		use("10", "10", 3)
		s.set("11", nil)
		time.Sleep(askEvery)
		use("", "11", 4)
		s.set("12", fault.New(fault.Unavailable, "down"))
		time.Sleep(askEvery)
		use("11", "11", 5) // what is there goes on
		if _, _, err := s.use(t.Context(), "acme", "12"); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a version that exists cannot be had: %v", err)
		}
		s.set("11", nil)
		use("12", "11", 7) // the owner's word counts
		if s.open.Load() != 1 {
			t.Errorf("%d snapshots are open", s.open.Load())
		}
		if s.stop(); s.open.Load() != 0 {
			t.Errorf("%d snapshots are open after the end", s.open.Load())
		}
	})
}

// TestSwap: snapshots are swapped while evaluations read; none is closed under a reader, the old ones are closed after their last reader,
// and one snapshot is opened once, however many ask for it.
func TestSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.openDelay = 50 * time.Millisecond
		s.set("1", nil)
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		var readers sync.WaitGroup
		for n := range 32 {
			readers.Go(func() {
				for ctx.Err() == nil {
					in, release, err := s.use(t.Context(), "acme", "1")
					if err != nil {
						t.Error(err)
						return
					}
					for range 3 {
						if _, err := in.Advisory("CVE-1"); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Duration(n%7+1) * 10 * time.Millisecond)
					}
					release()
				}
			})
		}
		for v := 2; ctx.Err() == nil; v++ {
			time.Sleep(100 * time.Millisecond)
			s.set(fmt.Sprint(v), nil)
			_, release, err := s.use(t.Context(), "acme", fmt.Sprint(v))
			if err != nil {
				t.Fatal(err)
			}
			release()
		}
		readers.Wait()
		if s.readDead.Load() != 0 || s.open.Load() != 1 {
			t.Errorf("%d reads of a closed snapshot, %d open", s.readDead.Load(), s.open.Load())
		}
		seen := map[string]bool{}
		for _, v := range s.opened {
			if seen[v] {
				t.Errorf("snapshot %s was opened twice", v)
			}
			seen[v] = true
		}
		if s.stop(); s.open.Load() != 0 {
			t.Errorf("%d open after the end", s.open.Load())
		}
	})
}

func TestCacheDirectory(t *testing.T) {
	data := t.TempDir()
	dir, remove := cacheDirectory("", data)
	if got, err := dir(); err != nil || got != data+"/cache/intel" {
		t.Errorf("%s, %v", got, err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	dir, remove = cacheDirectory("", data+"/nothing")
	got, err := dir()
	if err != nil || got == "" {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	dir, _ = cacheDirectory("/set", data)
	if got, err := dir(); err != nil || got != "/set" {
		t.Errorf("%s, %v", got, err)
	}
}
