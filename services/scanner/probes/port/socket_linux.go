package port

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// slot is one socket and what it is doing. The socket outlives refused connects: the kernel lets a refused socket connect
// again, which saves closing and making one for each port.
//
// The socket is bound to a source port of ours for as long as it lives. That saves the kernel's search for a free port at
// each connect, and it is how an "open" port that is really one of our own sockets is told: see sources.
type slot struct {
	fd      int // -1: no socket now
	v6      bool
	watched bool // registered with epoll
	source  uint16
	index   int32

	// The connect in flight.
	lane       *lane // nil: idle
	port       uint16
	since      time.Time
	prev, next *slot // in the lane, by age
	addr       [unix.SizeofSockaddrInet6]byte
	addrLen    uintptr
}

// aim sets the address of the next connect: a sockaddr_in or sockaddr_in6 as connect(2) takes it.
func (s *slot) aim(addr netip.Addr, port uint16) {
	binary.BigEndian.PutUint16(s.addr[2:], port)
	if s.v6 {
		binary.NativeEndian.PutUint16(s.addr[0:], unix.AF_INET6)
		a := addr.As16()
		copy(s.addr[8:], a[:])
		s.addrLen = unix.SizeofSockaddrInet6
		return
	}
	binary.NativeEndian.PutUint16(s.addr[0:], unix.AF_INET)
	a := addr.As4()
	copy(s.addr[4:], a[:])
	s.addrLen = unix.SizeofSockaddrInet4
}

// connect starts the connect or asks how it went: for a socket that is connecting, connect(2) answers EALREADY, the error,
// or 0. It never blocks, so the scheduler need not be told of it.
func (s *slot) connect() syscall.Errno {
	//nolint:gosec // G103: connect(2) takes a pointer; unix.Connect builds the address anew each time.
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&s.addr)), s.addrLen)
	return errno
}

// open makes the socket and binds it, to the source port it had before if that is still free.
func (s *slot) open(from *sources) error {
	family := unix.AF_INET
	if s.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	if s.v6 {
		// Else the source port would be taken from IPv4 too, where it is not ours to judge by.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		s.source, err = from.bind(fd, s.v6, s.source)
	}
	if err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("bind socket: %w", err)
	}
	s.fd, s.watched = fd, false
	return nil
}

// close ends the socket at once: an open connection is reset, so that neither side keeps it in TIME_WAIT.
//
// The source port stays noted as ours, because the other end of a meeting may be looked at only after this one is closed.
func (s *slot) close() {
	if s.fd < 0 {
		return
	}
	_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
	_ = unix.Close(s.fd)
	s.fd = -1
}

// meetsItself says whether the connection that just opened has one of our own sockets at its other end. On this machine TCP
// lets a socket connect to itself, and two sockets that connect to each other's source port at the same time meet (a
// simultaneous open, RFC 9293 section 3.5). Nobody can listen on a port that one of our sockets is bound to, on any address
// of the family; so an open port of this machine that is a source port of ours is no service.
func (s *slot) meetsItself(from *sources) bool {
	if !from.holds(s.v6, s.port) {
		return false
	}
	if s.lane.addr.IsLoopback() {
		return true
	}
	local, err := unix.Getsockname(s.fd)
	if err != nil {
		return false
	}
	switch local := local.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(local.Addr) == s.lane.addr
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(local.Addr) == s.lane.addr
	}
	return false
}

// descriptorLimit is the number of files and sockets that this process may have open. Go has raised it as far as it may.
func descriptorLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}

// sources knows which source ports are bound by the sockets of one scanner.
type sources struct {
	mu    sync.Mutex
	bound [2][1 << 16 / 64]uint64 // by family: IPv4, IPv6
	first int
	last  int
	at    int
}

// bindTries bounds the search for a free source port.
const bindTries = 4096

// bind binds fd to wanted if it is free, else to another port of the system's ephemeral range, and notes the port.
func (s *sources) bind(fd int, v6 bool, wanted uint16) (uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wanted != 0 {
		if bindTo(fd, v6, int(wanted)) == nil {
			return wanted, nil
		}
		s.note(v6, wanted, false) // somebody else took it
	}
	if s.last == 0 {
		s.first, s.last = ephemeralRange()
		// Processes that scan at the same time should not try the same ports.
		s.at = s.first + rand.IntN(s.last-s.first+1) //nolint:gosec // G404: no secret.
	}
	for range bindTries {
		port := s.at
		if s.at++; s.at > s.last {
			s.at = s.first
		}
		if s.noted(v6, uint16(port)) {
			continue // of a slot that has no socket just now
		}
		err := bindTo(fd, v6, port)
		if err == nil {
			s.note(v6, uint16(port), true)
			return uint16(port), nil
		}
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EACCES) {
			return 0, err
		}
	}
	return 0, unix.EADDRINUSE
}

func (s *sources) note(v6 bool, port uint16, ours bool) {
	word, mask := &s.bound[family(v6)][port/64], uint64(1)<<(port%64)
	if *word &^= mask; ours {
		*word |= mask
	}
}

func (s *sources) noted(v6 bool, port uint16) bool {
	return s.bound[family(v6)][port/64]&(1<<(port%64)) != 0
}

func bindTo(fd int, v6 bool, port int) error {
	if v6 {
		return unix.Bind(fd, &unix.SockaddrInet6{Port: port})
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port})
}

func (s *sources) release(v6 bool, port uint16) {
	s.mu.Lock()
	s.note(v6, port, false)
	s.mu.Unlock()
}

func (s *sources) holds(v6 bool, port uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noted(v6, port)
}

func family(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// ephemeralRange is the range of source ports that the system uses itself: firewalls between us and a target expect those.
func ephemeralRange() (first, last int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Fscan(strings.NewReader(string(text)), &first, &last)
	}
	if err != nil || first < 1024 || last > 65535 || last-first < 1024 {
		return 32768, 60999 // Linux's default (ip-sysctl: ip_local_port_range)
	}
	return first, last
}
