package sqlitequeue

import (
	"context"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// Settle implements [queue.Driver].
func (d *driver) Settle(ctx context.Context, settlements []queue.Settlement) ([]int, error) {
	var s settling
	err := d.write(ctx, func(c *sqlitedb.Conn, q queueID) error {
		s = settling{conn: c, queue: q, now: time.Now()} // anew, should it run again
		return s.all(settlements)
	})
	if err != nil {
		return nil, err
	}
	if s.wake {
		d.waker.wake()
	}
	return s.expired, nil
}

// settling is one Settle in its transaction.
type settling struct {
	conn    *sqlitedb.Conn
	queue   queueID
	now     time.Time
	turn    int64 // of the last ready lane, once it was asked for
	expired []int
	wake    bool // something may be ready, or is due earlier than before
}

func (s *settling) all(settlements []queue.Settlement) error {
	for i, one := range settlements {
		valid, err := s.one(one)
		if err != nil {
			return err
		}
		if !valid {
			s.expired = append(s.expired, i)
		}
	}
	return nil
}

// one applies one settlement, if its receipt is that of the present, unexpired handing out. The
// condition is part of every statement that changes anything.
func (s *settling) one(one queue.Settlement) (valid bool, err error) {
	lane, seq, fence, ok := parseReceipt(one.Receipt)
	if !ok {
		return false, nil
	}
	var n int64
	now := millis(s.now)
	switch one.Action {
	case queue.Ack:
		return s.remove(lane, seq, fence)
	case queue.Park:
		return s.park(lane, seq, fence, one)
	case queue.Retry:
		s.wake = true
		n, err = s.conn.Exec(`UPDATE lane SET state = 1, until = ?, failures = failures + 1, error = ?, trace = ?
			WHERE id = ? AND head = ? AND fence = ? AND queue = ? AND state = 2 AND until > ?`,
			after(s.now, one.After), one.Error, one.TraceID, lane, seq, fence, s.queue.id, now)
	case queue.Return:
		s.wake = true
		n, err = s.conn.Exec(`UPDATE lane SET state = 1, until = ?
			WHERE id = ? AND head = ? AND fence = ? AND queue = ? AND state = 2 AND until > ?`,
			after(s.now, one.After), lane, seq, fence, s.queue.id, now)
	case queue.Extend:
		n, err = s.conn.Exec(`UPDATE lane SET until = ?
			WHERE id = ? AND head = ? AND fence = ? AND queue = ? AND state = 2 AND until > ?`,
			after(s.now, one.After), lane, seq, fence, s.queue.id, now)
	default:
		err = fault.New(fault.Invalid, "settle message: unknown action %d", one.Action)
	}
	return n > 0, err
}

// remove takes the first message out of its lane. The lane of a last message goes with it.
func (s *settling) remove(lane, seq, fence int64) (valid bool, err error) {
	n, err := s.conn.Exec(`DELETE FROM lane
		WHERE id = ? AND head = ? AND fence = ? AND queue = ? AND state = 2 AND until > ? AND count = 1`,
		lane, seq, fence, s.queue.id, millis(s.now))
	if err != nil {
		return false, err
	}
	if n == 0 {
		if n, err = s.advance(lane, seq, fence); err != nil || n == 0 {
			return false, err
		}
	}
	_, err = s.conn.Exec(`DELETE FROM message WHERE seq = ?`, seq)
	return true, err
}

// advance makes a lane ready for its next message, behind all that wait.
func (s *settling) advance(lane, seq, fence int64) (int64, error) {
	if s.turn == 0 {
		turn, err := lastTurn(s.conn, s.queue)
		if err != nil {
			return 0, err
		}
		s.turn = turn
	}
	s.turn++
	s.wake = true
	return s.conn.Exec(`UPDATE lane SET state = 0, turn = ?, count = count - 1, failures = 0, lost = 0, error = '', trace = ''
		WHERE id = ? AND head = ? AND fence = ? AND queue = ? AND state = 2 AND until > ?`,
		s.turn, lane, seq, fence, s.queue.id, millis(s.now))
}

// park copies the first message of its lane to where parked ones are kept, as it is stored.
func (s *settling) park(lane, seq, fence int64, one queue.Settlement) (valid bool, err error) {
	n, err := s.conn.Exec(`INSERT INTO parked (seq, queue, name, dedup, body, attributes, sent, sum, failures, error, trace, parked)
		SELECT m.seq, l.queue, l.name, m.dedup, m.body, m.attributes, m.sent, m.sum, l.failures + 1, ?, ?, ?
		FROM lane l JOIN message m ON m.seq = l.head
		WHERE l.id = ? AND l.head = ? AND l.fence = ? AND l.queue = ? AND l.state = 2 AND l.until > ?`,
		one.Error, one.TraceID, millis(s.now), lane, seq, fence, s.queue.id, millis(s.now))
	if err != nil || n == 0 {
		return false, err
	}
	return s.remove(lane, seq, fence)
}
