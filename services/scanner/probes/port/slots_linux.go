package port

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// idleSlot returns a slot with a socket, nil where all are in use or the machine gives no more.
func (w *worker) idleSlot(v6 bool) (*slot, error) {
	s := w.pick(v6)
	if s == nil || s.fd >= 0 {
		return s, nil
	}
	err := s.open(w.sources)
	if err == nil {
		return s, nil
	}
	w.putBack(s)
	if len(w.slots) > 1 && (errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.EADDRINUSE)) {
		return nil, nil // others of this process have them; some will come back
	}
	return nil, err
}

// pick takes an idle slot: of the right family, else a new one, else one of the other family.
func (w *worker) pick(v6 bool) *slot {
	if s := pop(&w.idle[family(v6)]); s != nil {
		return s
	}
	if len(w.slots) < w.limit {
		s := &slot{fd: -1, v6: v6, index: int32(len(w.slots))}
		w.slots = append(w.slots, s)
		return s
	}
	s := pop(&w.idle[family(!v6)])
	if s != nil {
		s.close()
		w.sources.release(s.v6, s.source)
		s.v6, s.source = v6, 0
	}
	return s
}

func pop(idle *[]*slot) *slot {
	n := len(*idle)
	if n == 0 {
		return nil
	}
	s := (*idle)[n-1]
	*idle = (*idle)[:n-1]
	return s
}

func (w *worker) putBack(s *slot) {
	s.lane = nil
	w.idle[family(s.v6)] = append(w.idle[family(s.v6)], s)
}

// settle takes what connect said of the slot's port: in flight, open, closed, silent, or this machine's fault.
func (w *worker) settle(s *slot, errno syscall.Errno) {
	l := s.lane
	switch errno {
	case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
		w.await(s)
		return
	case 0, unix.EISCONN:
		own := s.meetsItself(w.sources)
		l.reply(s.port, !own, time.Since(s.since))
		s.close()
	case unix.ECONNREFUSED, unix.ECONNRESET:
		took := time.Duration(0)
		if !l.near {
			took = time.Since(s.since)
		}
		l.reply(s.port, false, took)
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.ECONNABORTED:
		// This pair of ports is still known from an earlier connection: another source port will do.
		if !l.giveBack(s.port) {
			l.fail(fmt.Errorf("connect to %s: %w", l.addr, errno))
		}
		s.close()
		w.sources.release(s.v6, s.source)
		s.source = 0
	case unix.ENETUNREACH, unix.EAFNOSUPPORT, unix.ENETDOWN:
		l.fail(fmt.Errorf("connect to %s: %w", l.addr, errno))
	default:
		// EHOSTUNREACH, EACCES, ETIMEDOUT, ...: a filter on the way says so, or nobody is there.
		l.silence(s.port)
		s.close()
	}
	w.putBack(s)
}

// await puts the slot among those in flight.
func (w *worker) await(s *slot) {
	if !s.watched {
		event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLET, Fd: s.index}
		// A socket that cannot be watched is asked when its time is over.
		s.watched = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, s.fd, &event) == nil
	}
	l := s.lane
	s.prev, s.next = l.newest, nil
	if l.newest == nil {
		l.oldest = s
	} else {
		l.newest.next = s
	}
	l.newest = s
	l.inFlight++
	w.waiting++
}

// arrived takes the slot out of those in flight.
func (w *worker) arrived(s *slot) {
	l := s.lane
	if s.prev == nil {
		l.oldest = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.newest = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	l.inFlight--
	w.waiting--
}

// expire gives up the connects of l that have waited long enough.
func (w *worker) expire(l *lane, now time.Time) {
	for s := l.oldest; s != nil && now.Sub(s.since) >= l.pace.timeout; s = l.oldest {
		w.arrived(s)
		errno := s.connect() // the answer may lie there unheard
		if errno == unix.EALREADY || errno == unix.EINPROGRESS {
			errno = unix.ETIMEDOUT
		}
		w.settle(s, errno)
	}
}
