// Package port finds the open TCP ports of one address by connecting to them: the only kind of scan that needs no
// privileges, and so the only one in a Lambda function. It says which ports take a connection and nothing about what speaks
// there.
//
// On Linux the engine makes its own non-blocking sockets, keeps each for many ports (a refused socket may connect again) and
// waits with epoll; elsewhere it uses the guard's dialer. Both judge every address and port before a packet is sent, keep a
// rate for each host, slow down for a host that drops, ask silent ports again, and take neither a socket that met itself nor
// a host that answers everywhere for open ports.
package port
