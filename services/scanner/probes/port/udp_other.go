//go:build !linux

package port

import "syscall"

// hearErrors does nothing: elsewhere such a socket hears of no ICMP error, and a closed port is silent.
func hearErrors(string, string, syscall.RawConn) error { return nil }
