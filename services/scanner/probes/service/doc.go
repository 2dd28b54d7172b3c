// Package service tells what speaks on one open TCP port: the protocol, the product and version where the service says so,
// whether it speaks TLS or offers it, and whether anybody may use it without credentials.
//
// It talks to a service the way its own clients do, on connections of a few seconds, and reads only: a version, a list of
// names, the greeting. Access without credentials is proven by such a read and never by a change. Protocols that print or
// move something when they hear strange bytes (raw printing, industrial control) hear only their own words, on their own
// ports.
//
// Services that do not speak first cost seconds, not tens: waiting for a greeting, a TLS handshake, an HTTP request and the
// words of the protocols that are usual on the port go out at the same time, each on a connection of its own.
package service
