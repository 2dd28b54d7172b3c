package port

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/riskprofiler/riskprofiler/platform/together"
)

const (
	// burstSize bounds how many connects one lane starts before the others get their turn and the clock is read again.
	burstSize = 64
	// maxActive bounds the lanes that one worker drives at a time.
	maxActive = 512
	// maxSleep bounds one wait for events.
	maxSleep = 250 * time.Millisecond
	// wakeIndex marks the wake-up descriptor among the events.
	wakeIndex = -1
)

// connectAll is the engine of Linux: one worker for each processor, each with its own sockets and its own epoll, so that
// nothing is shared while it runs.
func (s *Scanner) connectAll(ctx context.Context, o Options, lanes []*lane) error {
	if len(lanes) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	count := min(runtime.GOMAXPROCS(0), len(lanes))
	queue := &laneQueue{lanes: lanes}
	var group errgroup.Group
	for range count {
		w := &worker{ctx: ctx, sources: &s.sources, queue: queue, limit: max(1, o.InFlight/count)}
		if err := w.open(); err != nil {
			cancel()
			_ = group.Wait()
			return err
		}
		work := together.Safely(w.work)
		group.Go(func() error {
			err := work()
			if err != nil {
				cancel()
			}
			return err
		})
	}
	return group.Wait()
}

// laneQueue hands each lane to one worker.
type laneQueue struct {
	lanes []*lane
	next  atomic.Int64
}

func (q *laneQueue) take() *lane {
	if i := int(q.next.Add(1)) - 1; i < len(q.lanes) {
		return q.lanes[i]
	}
	return nil
}

// worker drives lanes over its own sockets. Only wake may be called by others.
type worker struct {
	ctx     context.Context
	sources *sources
	queue   *laneQueue
	limit   int // of sockets
	drained bool

	epoll, event int
	slots        []*slot
	idle         [2][]*slot // by family
	waiting      int        // slots whose connect is in flight
	active       []*lane
	asks         together.Group

	events [256]unix.EpollEvent
}

func (w *worker) open() error {
	var err error
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("open epoll: %w", err)
	}
	if w.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(w.epoll)
		return fmt.Errorf("open eventfd: %w", err)
	}
	err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, w.event, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: wakeIndex})
	if err != nil {
		_ = unix.Close(w.epoll)
		_ = unix.Close(w.event)
		return fmt.Errorf("watch eventfd: %w", err)
	}
	return nil
}

// close ends all sockets. The permits that are still being asked for are waited for, because they call wake.
func (w *worker) close() {
	w.asks.Wait()
	for _, s := range w.slots {
		s.close()
		w.sources.release(s.v6, s.source)
	}
	_ = unix.Close(w.epoll)
	_ = unix.Close(w.event)
}

// work runs the worker to its end and closes it. The end of the context wakes it.
func (w *worker) work() error {
	woken := make(chan struct{})
	stop := context.AfterFunc(w.ctx, func() {
		w.wake()
		close(woken)
	})
	err := w.run()
	if !stop() {
		<-woken // its descriptor must not be closed under it
	}
	w.close()
	return err
}

// wake ends the worker's sleep.
func (w *worker) wake() {
	_, _ = unix.Write(w.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (w *worker) run() error {
	for w.ctx.Err() == nil {
		now := time.Now()
		progress, err := w.turn(now)
		if err != nil {
			return err
		}
		if !progress && w.more() {
			continue
		}
		if len(w.active) == 0 && w.drained {
			return nil
		}
		if progress && w.waiting == 0 {
			continue // loopback: nothing is in flight, so there is nothing to hear
		}
		sleep := time.Duration(0)
		if !progress {
			sleep = w.sleep(now)
		}
		if err := w.listen(sleep); err != nil {
			return err
		}
	}
	return nil
}

// more takes another lane on, where the ones it has leave sockets idle.
func (w *worker) more() bool {
	if w.drained || len(w.active) >= maxActive || w.waiting >= w.limit {
		return false
	}
	l := w.queue.take()
	if l == nil {
		w.drained = true
		return false
	}
	w.active = append(w.active, l)
	return true
}

// turn gives each lane its turn, and drops those that are done. It says whether anything was started.
func (w *worker) turn(now time.Time) (progress bool, err error) {
	kept := w.active[:0]
	for i, l := range w.active {
		w.expire(l, now)
		started, err := w.start(l, now)
		if err != nil {
			w.active = append(kept, w.active[i:]...)
			return false, err
		}
		progress = progress || started
		if !l.finished() {
			kept = append(kept, l)
		}
	}
	clear(w.active[len(kept):])
	w.active = kept
	if len(kept) > 1 {
		kept[0], kept[len(kept)-1] = kept[len(kept)-1], kept[0] // where sockets are short, nobody is always first
	}
	return progress, nil
}

// start starts as many connects of l as its pace, its permits and the sockets let it, up to a burst.
func (w *worker) start(l *lane, now time.Time) (bool, error) {
	count := min(l.pace.allowed(now, l.inFlight), l.remaining(), burstSize)
	if count == 0 {
		return false, nil
	}
	granted, err := l.permits.available(w.ctx, l.remaining(), &w.asks, w.wake)
	if err != nil {
		l.fail(fmt.Errorf("take permits: %w", err))
		return false, nil
	}
	count = min(count, granted)
	started := 0
	for ; started < count; started++ {
		s, err := w.idleSlot(l.addr.Is6())
		if err != nil {
			return false, err
		}
		if s == nil {
			break
		}
		port, ok := l.take()
		if !ok {
			w.putBack(s)
			break
		}
		s.lane, s.port, s.since = l, port, now
		s.aim(l.addr, port)
		errno := s.connect()
		if errno == unix.EINPROGRESS && l.near {
			errno = s.connect() // the answer is there already
		}
		w.settle(s, errno)
	}
	l.permits.spend(started)
	l.pace.started(started)
	return started > 0, nil
}

// sleep is how long nothing can happen unless an event comes.
func (w *worker) sleep(now time.Time) time.Duration {
	sleep := maxSleep
	for _, l := range w.active {
		if l.oldest != nil {
			sleep = min(sleep, l.pace.timeout-now.Sub(l.oldest.since))
		}
		if wait := l.pace.wait(); wait > 0 && l.remaining() > 0 {
			sleep = min(sleep, wait)
		}
	}
	return max(sleep, 0)
}

// listen waits for events and settles the slots they are about.
func (w *worker) listen(sleep time.Duration) error {
	// Rounded up: epoll counts milliseconds, and waking early is a turn for nothing.
	n, err := unix.EpollWait(w.epoll, w.events[:], int((sleep+time.Millisecond-1)/time.Millisecond))
	if err != nil {
		if err == unix.EINTR {
			return nil
		}
		return fmt.Errorf("wait for sockets: %w", err)
	}
	for _, event := range w.events[:n] {
		if event.Fd == wakeIndex {
			var counter [8]byte
			_, _ = unix.Read(w.event, counter[:])
			continue
		}
		s := w.slots[event.Fd]
		if s.lane == nil {
			continue // heard already
		}
		errno := s.connect()
		if errno == unix.EALREADY {
			continue // an event of its earlier connect
		}
		w.arrived(s)
		w.settle(s, errno)
	}
	return nil
}
