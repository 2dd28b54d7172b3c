package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
)

// turn is one request of a binary protocol and its answer.
type turn struct {
	// begins is how the request begins; a client that says anything else is hung up on, as servers do.
	begins string
	// size of the request; 0: that of begins.
	size int
	// answer may be empty.
	answer string
}

// dialogue answers requests in turn, any number of times, and hangs up on what is none of them.
func dialogue(greeting string, turns ...turn) talk {
	return func(_ context.Context, conn net.Conn) {
		if _, err := io.WriteString(conn, greeting); err != nil {
			return
		}
		var heard []byte
		for {
			i := slices.IndexFunc(turns, func(t turn) bool { return len(heard) >= t.length() && bytes.HasPrefix(heard, []byte(t.begins)) })
			if i < 0 {
				piece := make([]byte, maxLine)
				n, err := conn.Read(piece)
				if heard = append(heard, piece[:n]...); err != nil || len(heard) > maxStartup || !mayBecome(heard, turns) {
					return
				}
				continue
			}
			heard = heard[turns[i].length():]
			if _, err := io.WriteString(conn, turns[i].answer); err != nil {
				return
			}
		}
	}
}

func (t turn) length() int { return max(t.size, len(t.begins)) }

// mayBecome says whether what was heard is, so far, the beginning of a request.
func mayBecome(heard []byte, turns []turn) bool {
	return slices.ContainsFunc(turns, func(t turn) bool {
		n := min(len(heard), len(t.begins))
		return string(heard[:n]) == t.begins[:n]
	})
}

// be16 and be32 write numbers as networks do.
func be16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func be32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
