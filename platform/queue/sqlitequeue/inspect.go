package sqlitequeue

import (
	"context"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// Inspect implements [queue.Driver]. The counts cost as much as there are groups with messages, not
// as much as there are messages.
func (d *driver) Inspect(ctx context.Context, r queue.Inspect) (queue.Inspection, error) {
	if err := d.open(); err != nil {
		return queue.Inspection{}, err
	}
	last, err := parseToken(r.PageToken)
	if err != nil {
		return queue.Inspection{}, err
	}
	var found queue.Inspection
	err = d.db.sql.Snapshot(ctx, func(c *sqlitedb.Conn) error {
		q, exists, err := find(c, d.name)
		switch {
		case err != nil || !exists:
			return err
		case r.Limit > 0:
			found, err = page(c, q, last, r.Limit)
		default:
			found.Depth, err = depth(c, q)
		}
		return err
	})
	if err != nil {
		return queue.Inspection{}, d.failed(err)
	}
	return found, nil
}

func depth(c *sqlitedb.Conn, q queueID) (queue.Depth, error) {
	var found queue.Depth
	err := c.Query(`SELECT coalesce(sum(count), 0), coalesce(sum(state = 2 AND until > ?1), 0), coalesce(sum(state = 1 AND until > ?1), 0),
			coalesce(min((SELECT sent FROM message WHERE seq = (SELECT min(seq) FROM message WHERE lane = l.id))), -1)
		FROM lane l WHERE queue = ?2`, func(r *sqlitedb.Row) error {
		found.InFlight, found.Delayed = int(r.Int(1)), int(r.Int(2))
		found.Visible = int(r.Int(0)) - found.InFlight - found.Delayed
		if sent := r.Int(3); sent >= 0 {
			found.OldestSentAt = time.UnixMilli(sent).UTC()
		}
		return nil
	}, millis(time.Now()), q.id)
	if err != nil {
		return queue.Depth{}, err
	}
	err = c.Query(`SELECT count(*) FROM parked WHERE queue = ?`, func(r *sqlitedb.Row) error {
		found.Parked = int(r.Int(0))
		return nil
	}, q.id)
	return found, err
}

// page lists parked messages in the order in which they were first sent.
func page(c *sqlitedb.Conn, q queueID, last int64, limit int) (queue.Inspection, error) {
	var found queue.Inspection
	err := c.Query(`SELECT seq, name, dedup, body, attributes, sent, sum, failures, error, trace, parked
		FROM parked WHERE queue = ? AND seq > ? ORDER BY seq LIMIT 0 + ?`, func(r *sqlitedb.Row) error {
		if len(found.Parked) == limit {
			found.NextPageToken = formatToken(last)
			return nil
		}
		last = r.Int(0)
		stored := row{group: r.Text(1), dedup: r.Text(2), body: r.Bytes(3), attributes: r.Bytes(4), sum: r.Int(6)}
		// A damaged one is listed without its content; why it was parked says so.
		m, _ := stored.message(messageID(q, last), r.Int(5))
		m.Attempt = int(r.Int(7))
		found.Parked = append(found.Parked, queue.ParkedMessage{
			Message: m, Error: r.Text(8), TraceID: r.Text(9), ParkedAt: time.UnixMilli(r.Int(10)).UTC(),
		})
		return nil
	}, q.id, last, limit+1)
	return found, err
}

// A page token is the last sequence number of the page before.
func formatToken(seq int64) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendInt(nil, seq, 36))
}

func parseToken(token string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		var seq int64
		if seq, err = strconv.ParseInt(string(text), 36, 64); err == nil && seq >= 0 {
			return seq, nil
		}
	}
	return 0, fault.New(fault.Invalid, "list parked messages: the page token is not one of this listing")
}

// redriveAtOnce is how many messages one transaction sends again, so that others get in between.
const redriveAtOnce = 100

// Redrive implements [queue.Driver].
func (d *driver) Redrive(ctx context.Context, ids []string) (int, error) {
	sent := 0
	if len(ids) == 0 {
		return d.redriveAll(ctx)
	}
	for len(ids) > 0 {
		some := ids[:min(len(ids), redriveAtOnce)]
		ids = ids[len(some):]
		moved := 0
		err := d.write(ctx, func(c *sqlitedb.Conn, q queueID) (err error) {
			var sequence []int64
			for _, id := range some {
				if seq, ok := parseMessageID(q, id); ok {
					sequence = append(sequence, seq)
				}
			}
			moved, err = resend(c, q, sequence)
			return err
		})
		if err != nil {
			return sent, err
		}
		sent += moved
		d.waker.wake()
	}
	return sent, nil
}

// redriveAll takes what is parked when it begins; what fails again meanwhile waits for the next call.
func (d *driver) redriveAll(ctx context.Context) (int, error) {
	sent, last, end := 0, int64(0), int64(-1)
	for {
		moved, done := 0, false
		var next, bound int64
		err := d.write(ctx, func(c *sqlitedb.Conn, q queueID) (err error) {
			var sequence []int64
			if sequence, bound, err = parkedAfter(c, q, last, end); err != nil || len(sequence) == 0 {
				done = true
				return err
			}
			done, next = len(sequence) < redriveAtOnce, sequence[len(sequence)-1]
			moved, err = resend(c, q, sequence)
			return err
		})
		if err != nil {
			return sent, err
		}
		sent += moved
		d.waker.wake()
		if done {
			return sent, nil
		}
		last, end = next, bound
	}
}

// parkedAfter lists parked messages behind last and up to end. end -1 stands for the last one there
// is, which comes back as bound.
func parkedAfter(c *sqlitedb.Conn, q queueID, last, end int64) (sequence []int64, bound int64, err error) {
	bound = end
	if bound < 0 {
		err = c.Query(`SELECT coalesce(max(seq), 0) FROM parked WHERE queue = ?`, func(r *sqlitedb.Row) error {
			bound = r.Int(0)
			return nil
		}, q.id)
		if err != nil {
			return nil, 0, err
		}
	}
	err = c.Query(`SELECT seq FROM parked WHERE queue = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT 0 + ?`, func(r *sqlitedb.Row) error {
		sequence = append(sequence, r.Int(0))
		return nil
	}, q.id, last, bound, redriveAtOnce)
	return sequence, bound, err
}

// resend moves parked messages to the ends of their lanes. They are new messages there.
func resend(c *sqlitedb.Conn, q queueID, sequence []int64) (moved int, err error) {
	now := time.Now()
	turn, err := lastTurn(c, q)
	if err != nil {
		return 0, err
	}
	for _, seq := range sequence {
		var r row
		found := false
		err := c.Query(`SELECT name, dedup, body, attributes, sum FROM parked WHERE seq = ? AND queue = ?`, func(s *sqlitedb.Row) error {
			r = row{group: s.Text(0), dedup: s.Text(1), body: s.Bytes(2), attributes: s.Bytes(3), sum: s.Int(4)}
			found = true
			return nil
		}, seq, q.id)
		if err != nil {
			return 0, err
		}
		if !found {
			continue
		}
		turn++
		if _, err := push(c, q, r, turn, now); err != nil {
			return 0, err
		}
		if _, err := c.Exec(`DELETE FROM parked WHERE seq = ?`, seq); err != nil {
			return 0, err
		}
		moved++
	}
	return moved, nil
}
