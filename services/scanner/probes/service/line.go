package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// errTooLong says that a service sent more than the bound of what is read of it.
var errTooLong = errors.New("more than the bound")

// patience is how long a scan waits for what. It is a value so that tests need not wait as long.
type patience struct {
	dial   time.Duration // one connection attempt
	banner time.Duration // for a service that speaks first
	step   time.Duration // for one answer of a service that does not
	gap    time.Duration // between the pieces of one answer
	settle time.Duration // after an answer that seems to be over
	grace  time.Duration // for a banner, before the service is spoken to
	slow   time.Duration // before the minimum rate counts
	udp    time.Duration // for the answer to one datagram
	budget time.Duration // for the whole port
}

// Of the bounds of package probes, these stay below: eight seconds for a port, so that a host with a dozen of silent ones
// does not take minutes.
func patienceOf(quick bool) patience {
	p := patience{
		dial:   probes.DialTimeout,
		banner: 3 * time.Second,
		step:   2 * time.Second,
		gap:    1500 * time.Millisecond,
		settle: 100 * time.Millisecond,
		grace:  300 * time.Millisecond,
		slow:   probes.SlowAfter,
		udp:    time.Second,
		budget: 8 * time.Second,
	}
	if quick {
		p.dial, p.banner, p.step, p.budget = probes.QuickDialTimeout, 1500*time.Millisecond, 1200*time.Millisecond, 6*time.Second
	}
	return p
}

// line is one connection to the service, for the length of one exchange, whose context it keeps. It keeps all that was
// received too, at most probes.MaxBannerBytes; what is read is taken from the front of that. Every wait is bounded, and ends
// with the context.
type line struct {
	ctx       context.Context
	conn      net.Conn
	patience  patience
	stop      func() bool
	raw       []byte // all that was received
	taken     int    // how much of raw was read
	pieces    int    // how many reads brought something
	truncated bool
	crawls    bool // slower than the minimum rate
	err       error
}

// newLine takes conn over; it is closed by close, and its waits end with ctx.
func newLine(ctx context.Context, conn net.Conn, p patience) *line {
	return &line{
		ctx: ctx, conn: conn, patience: p,
		stop: context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }),
	}
}

func (l *line) close() {
	l.stop()
	_ = l.conn.Close()
}

// send writes data. What was received stays readable where writing fails: services say why they hang up.
func (l *line) send(data []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.patience.step)); err != nil {
		return err
	}
	if err := l.ctx.Err(); err != nil { // asked after the deadline, which the end of the context sets too
		return err
	}
	_, err := l.conn.Write(data)
	return err
}

// more waits at most wait for the next piece and adds it to what was received. It returns false when there was none.
func (l *line) more(wait time.Duration) bool {
	if l.err != nil {
		return false
	}
	room := probes.MaxBannerBytes - len(l.raw)
	if room <= 0 {
		l.truncated, l.err = true, errTooLong
		return false
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		l.err = err
		return false
	}
	if l.ctx.Err() != nil { // asked after the deadline, which the end of the context sets too
		return false
	}
	piece := make([]byte, min(room, 8<<10))
	n, err := l.conn.Read(piece)
	l.raw = append(l.raw, piece[:n]...)
	if n > 0 {
		l.pieces++
	}
	var network net.Error
	if timeout := errors.As(err, &network) && network.Timeout(); err != nil && !timeout {
		l.err = err
	}
	return n > 0
}

// rest is what was received and not read yet.
func (l *line) rest() []byte { return l.raw[l.taken:] }

// gather waits at most first for an answer, and for the rest of it until done says it is all there, or it stops coming. A
// service that keeps it coming too slowly crawls.
func (l *line) gather(first time.Duration, done func([]byte) bool) {
	wait, began := first, time.Now()
	if len(l.rest()) > 0 {
		wait = l.patience.gap
	}
	for !done(l.rest()) {
		// Four pieces, because some mail servers send a part of their greeting, wait, and send the rest.
		if spent := time.Since(began); spent > l.patience.slow && l.pieces >= 4 && float64(len(l.raw)) < probes.MinimumRate*spent.Seconds() {
			l.crawls, l.err = true, errTooSlow
			return
		}
		if !l.more(wait) {
			return
		}
		wait = l.patience.gap
	}
}

// errTooSlow says that a service crawls.
var errTooSlow = errors.New("slower than the minimum rate")

// collect reads what comes until it stops for the time of patience.settle, or goes on for longer than patience.gap.
func (l *line) collect() {
	for began := time.Now(); time.Since(began) < l.patience.gap && l.more(l.patience.settle); {
	}
}

// take reads exactly n bytes.
func (l *line) take(n int) ([]byte, error) {
	if n < 0 || n > probes.MaxBannerBytes {
		return nil, errTooLong
	}
	l.gather(l.patience.step, func(rest []byte) bool { return len(rest) >= n })
	if len(l.rest()) < n {
		return nil, l.missing()
	}
	data := l.rest()[:n]
	l.taken += n
	return data, nil
}

// maxText bounds one line of a text protocol.
const maxText = 8 << 10

// text reads one line, without its end.
func (l *line) text() (string, error) {
	l.gather(l.patience.step, func(rest []byte) bool {
		return bytes.IndexByte(rest, '\n') >= 0 || len(rest) > maxText
	})
	end := bytes.IndexByte(l.rest(), '\n')
	if end < 0 || end > maxText {
		return "", l.missing()
	}
	text := l.rest()[:end]
	l.taken += end + 1
	return string(bytes.TrimSuffix(text, []byte("\r"))), nil
}

// ask sends text with a line end and reads one line.
func (l *line) ask(text string) (string, error) {
	if err := l.send([]byte(text + "\r\n")); err != nil {
		return "", err
	}
	return l.text()
}

// missing is why less came than was asked for.
func (l *line) missing() error {
	if l.err != nil {
		return l.err
	}
	return io.ErrUnexpectedEOF
}
