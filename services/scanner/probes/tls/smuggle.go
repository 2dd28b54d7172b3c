package tls

import (
	"bufio"
	"context"
	stdtls "crypto/tls"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// behaviour is what a survey learns about how the server behaves.
type behaviour = modelv1.TlsBehaviour

func (s *survey) setBehaviour(set func(*behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(s.behaviour)
}

func (s *survey) behaviourOf() *behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// maxReplies bounds the lines read inside of TLS.
const maxReplies = 32

// smuggle upgrades a connection with command behind the request for TLS, completes the handshake, says quit, and returns the
// lines that come back.
func (e *endpoint) smuggle(ctx context.Context, command, quit string) ([]string, error) {
	raw, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	upgraded, err := upgradeWith(raw, e.protocol, e.asked(), command)
	if err != nil {
		return nil, err
	}
	conn := stdtls.Client(&recorder{Conn: upgraded}, shake{}.config(e.name, &shaken{secrets: make(secrets)}))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(e.settle))
	if _, err := conn.Write([]byte(quit + "\r\n")); err != nil {
		return nil, err
	}
	var lines []string
	in := bufio.NewReaderSize(conn, maxLine)
	for len(lines) < maxReplies {
		line, err := in.ReadSlice('\n')
		if err != nil {
			break // the end, or silence
		}
		lines = append(lines, strings.TrimRight(string(line), "\r\n"))
	}
	return lines, nil
}
