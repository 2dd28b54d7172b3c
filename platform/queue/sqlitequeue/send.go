package sqlitequeue

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// castagnoli is the polynomial of CRC-32C (RFC 3720), which processors compute by themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// row is a message as it is stored.
type row struct {
	group, dedup     string
	body, attributes []byte
	dedupKey         []byte // nil: never a repeat
	sum              int64
}

// Send implements [queue.Driver].
func (d *driver) Send(ctx context.Context, messages []queue.Message) error {
	rows := make([]row, len(messages))
	for i, m := range messages {
		var err error
		if rows[i], err = newRow(d.name, m); err != nil {
			return err
		}
	}
	wake := false
	err := d.write(ctx, func(c *sqlitedb.Conn, q queueID) (err error) {
		wake, err = store(c, q, rows, time.Now())
		return err
	})
	if err == nil && wake {
		d.waker.wake()
	}
	return err
}

func newRow(queueName string, m queue.Message) (row, error) {
	r := row{group: m.Group, dedup: m.DedupID, body: m.Body}
	if len(m.Attributes) > 0 {
		var err error
		if r.attributes, err = json.Marshal(m.Attributes); err != nil {
			return row{}, fault.Wrap(fault.Internal, err, "encode attributes")
		}
	}
	if m.DedupID != "" {
		r.dedupKey = dedupKey(queueName, m.Group, m.DedupID)
	}
	r.sum = checksum(r)
	return r, nil
}

// dedupKey is 128 bits of a SHA-256: no two ids of one window will ever share it, not even on
// purpose.
func dedupKey(queueName, group, id string) []byte {
	h := sha256.New()
	writeParts(h, []byte(queueName), []byte(group), []byte(id))
	return h.Sum(nil)[:16]
}

// checksum covers what the sender gave.
func checksum(r row) int64 {
	h := crc32.New(castagnoli)
	writeParts(h, []byte(r.group), []byte(r.dedup), r.body, r.attributes)
	return int64(h.Sum32())
}

// writeParts writes each part behind its length, so that no two lists of parts look the same.
func writeParts(h interface{ Write([]byte) (int, error) }, parts ...[]byte) {
	var length [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		_, _ = h.Write(length[:]) // a hash never fails
		_, _ = h.Write(p)
	}
}

// store puts messages behind those of their groups. wake says that a lane became ready.
func store(c *sqlitedb.Conn, q queueID, rows []row, now time.Time) (wake bool, err error) {
	turn, err := lastTurn(c, q)
	if err != nil {
		return false, err
	}
	remembered := 0
	for _, r := range rows {
		if r.dedupKey != nil {
			repeated, err := remember(c, r.dedupKey, now)
			if err != nil {
				return false, err
			}
			if repeated {
				continue
			}
			remembered++
		}
		turn++
		first, err := push(c, q, r, turn, now)
		if err != nil {
			return false, err
		}
		wake = wake || first
	}
	if remembered > 0 {
		err = forget(c, now)
	}
	return wake, err
}

// push adds one message to its lane and says whether it is the first there.
func push(c *sqlitedb.Conn, q queueID, r row, turn int64, now time.Time) (first bool, err error) {
	var lane int64
	err = c.Query(`INSERT INTO lane (queue, name, count, state, turn) VALUES (?, ?, 1, 0, ?)
		ON CONFLICT (queue, name) DO UPDATE SET count = count + 1 RETURNING id, count`, func(row *sqlitedb.Row) error {
		lane, first = row.Int(0), row.Int(1) == 1
		return nil
	}, q.id, r.group, turn)
	if err != nil {
		return false, err
	}
	_, err = c.Exec(`INSERT INTO message (lane, dedup, body, attributes, sent, sum) VALUES (?, ?, ?, ?, ?, ?)`,
		lane, r.dedup, r.body, r.attributes, millis(now), r.sum)
	return first, err
}

// windowMinutes is how many minutes of sending a window can touch.
const windowMinutes = int64(queue.DedupWindow/time.Minute) + 1

// remember notes a dedup id, or says that it was sent inside the window.
func remember(c *sqlitedb.Conn, id []byte, now time.Time) (repeated bool, err error) {
	minute, since := minuteOf(now), millis(now.Add(-queue.DedupWindow))
	err = c.Query(`SELECT 1 FROM dedup WHERE minute IN (?1, ?1 - 1, ?1 - 2, ?1 - 3, ?1 - 4, ?1 - 5) AND id = ?2 AND sent > ?3`,
		func(*sqlitedb.Row) error {
			repeated = true
			return nil
		}, minute, id, since)
	if err != nil || repeated {
		return repeated, err
	}
	_, err = c.Exec(`INSERT INTO dedup (minute, id, sent) VALUES (?, ?, ?)`, minute, id, millis(now))
	return false, err
}

// forgetAtOnce is how many old dedup ids one Send removes: more than it can add, so the table
// shrinks after a burst, and few enough to delay nobody.
const forgetAtOnce = 4 * queue.MaxBatch

// forget removes dedup ids whose window is over. Old ones lie at the start of the table.
func forget(c *sqlitedb.Conn, now time.Time) error {
	_, err := c.Exec(`DELETE FROM dedup WHERE (minute, id) IN
		(SELECT minute, id FROM dedup WHERE minute < ? ORDER BY minute, id LIMIT 0 + ?)`,
		minuteOf(now)-windowMinutes, forgetAtOnce)
	return err
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// newSalt is the random half of a queue's message ids: should the file be made anew, its messages
// are not taken for the old ones.
func newSalt() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
