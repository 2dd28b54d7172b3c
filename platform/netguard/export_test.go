package netguard

import (
	"context"
	"net"
)

// OverSystem is a guard whose system resolver reaches its servers through dial: the part of the
// system's configuration that a test can stand in for.
func OverSystem(o Options, dial func(ctx context.Context, network, address string) (net.Conn, error)) *Guard {
	g := New(o)
	system := g.dns.(systemResolver) // panics for options with a resolver: not the system's then
	system.resolver.Dial = dial
	return g
}
