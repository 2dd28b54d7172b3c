package sqlitequeue

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// Receive implements [queue.Driver]. It costs one transaction, also when it finds nothing, and then
// none until something changes or falls due.
func (d *driver) Receive(ctx context.Context, limit int, visibility time.Duration) ([]queue.Delivery, error) {
	d.db.enter(d.waker)
	defer d.db.leave(d.waker)
	for {
		changed := d.waker.listen()
		var deliveries []queue.Delivery
		var next int64
		err := d.write(ctx, func(c *sqlitedb.Conn, q queueID) (err error) {
			deliveries, next, err = d.claim(c, q, limit, visibility)
			return err
		})
		if err != nil || len(deliveries) > 0 {
			return deliveries, err
		}
		if err := d.wait(ctx, changed, next); err != nil {
			return nil, err
		}
	}
}

// wait returns when there may be something to receive.
func (d *driver) wait(ctx context.Context, changed <-chan struct{}, next int64) error {
	d.waker.expect(next)
	var due <-chan time.Time
	if next != 0 {
		timer := time.NewTimer(time.Until(time.UnixMilli(next)))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-due:
		return nil
	case <-ctx.Done():
		return fault.Wrap(fault.CodeOf(ctx.Err()), ctx.Err(), "wait for a message")
	case <-d.closed:
		return queue.ErrClosed
	case <-d.db.closing:
		return queue.ErrClosed
	}
}

// claimed is a lane that is about to be handed out.
type claimed struct {
	lane, fence, seq int64
	delivery         queue.Delivery
}

// claim hands out the first message of up to limit ready lanes. If there is none, next says when the
// first hidden one is due (0: none is hidden).
func (d *driver) claim(c *sqlitedb.Conn, q queueID, limit int, visibility time.Duration) ([]queue.Delivery, int64, error) {
	now := time.Now()
	if err := surface(c, q, now); err != nil {
		return nil, 0, err
	}
	lanes, err := heads(c, q, limit)
	if err != nil {
		return nil, 0, err
	}
	if len(lanes) == 0 {
		next, err := nextDue(c, q.id)
		return nil, next, err
	}
	deliveries := make([]queue.Delivery, len(lanes))
	until := after(now, visibility)
	for i, l := range lanes {
		_, err := c.Exec(`UPDATE lane SET state = 2, until = ?, head = ?, fence = ?, consumer = ? WHERE id = ?`,
			until, l.seq, l.fence, d.db.consumer, l.lane)
		if err != nil {
			return nil, 0, err
		}
		deliveries[i] = l.delivery
	}
	return deliveries, 0, nil
}

// surface makes lanes ready whose time has come. An expired delivery is a lost one.
func surface(c *sqlitedb.Conn, q queueID, now time.Time) error {
	due, err := nextDue(c, q.id)
	if err != nil || due == 0 || due > millis(now) {
		return err
	}
	turn, err := lastTurn(c, q)
	if err != nil {
		return err
	}
	_, err = c.Exec(`UPDATE lane SET state = 0, turn = ?, lost = lost + (state = 2) WHERE queue = ? AND state <> 0 AND until <= ?`,
		turn+1, q.id, millis(now))
	return err
}

// heads reads the first messages of the lanes whose turn it is. A bare "LIMIT ?" would have SQLite
// plan the statement anew each time, for the limit's sake; an expression it takes as it comes.
func heads(c *sqlitedb.Conn, q queueID, limit int) ([]claimed, error) {
	var lanes []claimed
	err := c.Query(`SELECT l.id, l.fence, m.seq, l.name, m.dedup, m.body, m.attributes, m.sent, m.sum,
			l.failures, l.lost, l.error, l.trace
		FROM lane l CROSS JOIN message m ON m.seq = (SELECT min(seq) FROM message WHERE lane = l.id)
		WHERE l.queue = ? AND l.state = 0 ORDER BY l.turn, l.id LIMIT 0 + ?`, func(r *sqlitedb.Row) error {
		l := claimed{lane: r.Int(0), fence: r.Int(1) + 1, seq: r.Int(2)}
		stored := row{group: r.Text(3), dedup: r.Text(4), body: r.Bytes(5), attributes: r.Bytes(6), sum: r.Int(8)}
		l.delivery = queue.Delivery{
			Receipt:     receipt(l.lane, l.seq, l.fence),
			Lost:        int(r.Int(10)),
			LastError:   r.Text(11),
			LastTraceID: r.Text(12),
		}
		l.delivery.Message, l.delivery.Damaged = stored.message(messageID(q, l.seq), r.Int(7))
		l.delivery.Message.Attempt = int(r.Int(9)) + 1
		lanes = append(lanes, l)
		return nil
	}, q.id, limit)
	return lanes, err
}

// message is the row as the port knows it. If the content is not what was stored, it is left out.
func (r row) message(id string, sent int64) (queue.Message, error) {
	m := queue.Message{ID: id, Group: r.group, SentAt: time.UnixMilli(sent).UTC()}
	if checksum(r) != r.sum {
		return m, fault.New(fault.DataLoss, "read message %s: its checksum does not fit, the stored message was damaged", id)
	}
	m.DedupID, m.Body = r.dedup, r.body
	if r.attributes != nil {
		if err := json.Unmarshal(r.attributes, &m.Attributes); err != nil {
			return m, fault.Wrap(fault.DataLoss, err, "read message %s", id)
		}
	}
	return m, nil
}

// A message id is the queue's salt and the sequence number.
func messageID(q queueID, seq int64) string { return q.salt + "-" + strconv.FormatInt(seq, 36) }

func parseMessageID(q queueID, id string) (seq int64, ok bool) {
	number, ok := strings.CutPrefix(id, q.salt+"-")
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseInt(number, 36, 64)
	return seq, err == nil
}

// A receipt names the lane, the message and the handing out.
func receipt(lane, seq, fence int64) string {
	b := make([]byte, 0, 40)
	b = strconv.AppendInt(b, lane, 36)
	b = append(b, '.')
	b = strconv.AppendInt(b, seq, 36)
	b = append(b, '.')
	return string(strconv.AppendInt(b, fence, 36))
}

func parseReceipt(s string) (lane, seq, fence int64, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return 0, 0, 0, false
	}
	var numbers [3]int64
	for i, p := range parts {
		n, err := strconv.ParseInt(p, 36, 64)
		if err != nil {
			return 0, 0, 0, false
		}
		numbers[i] = n
	}
	return numbers[0], numbers[1], numbers[2], true
}
