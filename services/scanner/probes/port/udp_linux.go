package port

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hearErrors lets a socket that is not connected hear of ICMP errors (ip(7), IP_RECVERR).
func hearErrors(network, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		} else {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		}
	})
	if err != nil {
		return err
	}
	return failed
}
