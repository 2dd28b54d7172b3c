package dns

import (
	"context"
	"errors"
	"net"
	"time"

	mdns "github.com/miekg/dns"
)

// maxStray is how many datagrams that are no answer to our question are read past.
const maxStray = 16

// What is wrong with an answer that came.
var (
	errStranger = errors.New("the answer is not to our question")
	errCut      = errors.New("the answer is cut off")
	errStrays   = errors.New("too many datagrams that are no answer")
)

// talk sends one question over an open connection and reads the answer. An answer with less records than it announces is no
// answer: taken for one, it would say that something does not exist.
func talk(ctx context.Context, socket net.Conn, key questionKey, recurse bool, limit time.Duration) (*mdns.Msg, error) {
	deadline := time.Now().Add(limit)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	_ = socket.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := &mdns.Conn{Conn: socket, UDPSize: udpSize}
	query := newQuery(key, recurse)
	if err := conn.WriteMsg(query); err != nil {
		return nil, ended(ctx, err)
	}
	_, datagrams := socket.(net.PacketConn)
	for range maxStray {
		var header mdns.Header
		raw, err := conn.ReadMsgHeader(&header)
		if datagrams && (errors.Is(err, mdns.ErrShortRead) || err == nil && header.Id != query.Id) {
			continue // somebody guesses, or a late answer to an earlier question
		}
		if err != nil {
			return nil, ended(ctx, err)
		}
		reply := new(mdns.Msg)
		if err := reply.Unpack(raw); err != nil {
			return nil, err
		}
		if header.Id != query.Id || !answers(reply, key.Question) {
			return nil, errStranger
		}
		if !reply.Truncated && (int(header.Ancount) != len(reply.Answer) || int(header.Nscount) != len(reply.Ns)) {
			return nil, errCut
		}
		return reply, nil
	}
	return nil, errStrays
}

// ended is why a read or write failed: the end of the scan says more than the socket's error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
