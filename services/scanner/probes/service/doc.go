// Package service tells what speaks on one open TCP or UDP port: the protocol, the product and version where the service says so, the
// distribution and the revision of its package where the banner has it, whether it speaks TLS or offers it, and whether anybody may
// use it without credentials.
//
// It talks to a service the way its own clients do, on connections of a few seconds, and reads only: a version, a list of
// names, the greeting. Access without credentials is proven by such a read and never by a change; no password is ever sent. A mail
// server is asked whether it would relay and the question is taken back; a proxy is asked to connect to itself and to nobody else.
// Protocols that print or move something when they hear strange bytes (raw printing, industrial control) hear only their own words,
// on their own ports.
//
// Services that do not speak first cost seconds, not tens: waiting for a greeting, a TLS handshake, an HTTP request and the
// words of the protocols that are usual on the port go out at the same time, each on a connection of its own.
//
// It refuses what would need a credential, a write, or another host: logins, SMB's null session, guests and shares, an allocation on a
// TURN server, the answer to a RAKP hash. WireGuard cannot be seen by anybody who has none of its keys.
package service
