package sqlitetable

import (
	"bytes"
	"context"
	"hash/crc32"
	"slices"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	selectHeader = "SELECT rev, ver, exp, crc, ix FROM items WHERE tbl = ? AND pk = ? AND sk = ?"
	upsertItem   = `INSERT INTO items (tbl, pk, sk, rev, ver, exp, crc, ix, val) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tbl, pk, sk) DO UPDATE SET rev = excluded.rev, ver = excluded.ver, exp = excluded.exp,
			crc = excluded.crc, ix = excluded.ix, val = excluded.val`
	deleteItem  = "DELETE FROM items WHERE tbl = ? AND pk = ? AND sk = ?"
	insertPlace = "INSERT OR IGNORE INTO places (tbl, idx, ipk, isk, pk, sk) VALUES (?, ?, ?, ?, ?, ?)"
	deletePlace = "DELETE FROM places WHERE tbl = ? AND idx = ? AND ipk = ? AND isk = ? AND pk = ? AND sk = ?"

	// The usual puts in one statement each: they change no row where anything is unusual (the
	// condition fails, the item has expired or moves in an index, the revision is damaged), and then
	// the long way finds out what it is. quickPut is for an item in no index, with Any or Absent;
	// insertNew for one in indexes that is not there yet; quickPutIf for a condition on the revision, with the indexes as they were.
	quickPut = `INSERT INTO items (tbl, pk, sk, rev, ver, exp, crc, ix, val) VALUES (?, ?, ?, 1, ~1, ?, ?, NULL, ?)
		ON CONFLICT (tbl, pk, sk) DO UPDATE SET rev = rev + 1, ver = ~(rev + 1),
			exp = excluded.exp, crc = excluded.crc, val = excluded.val
		WHERE ? AND ver = ~rev AND ix IS NULL AND (exp = 0 OR exp > ?)`
	insertNew = `INSERT INTO items (tbl, pk, sk, rev, ver, exp, crc, ix, val) VALUES (?, ?, ?, 1, ~1, ?, ?, ?, ?)
		ON CONFLICT (tbl, pk, sk) DO NOTHING`
	quickPutIf = `UPDATE items SET rev = rev + 1, ver = ~(rev + 1), exp = ?, crc = ?, val = ?
		WHERE tbl = ? AND pk = ? AND sk = ? AND rev = ? AND ver = ~rev AND ix IS ? AND (exp = 0 OR exp > ?)`
)

// change is a write made ready outside the one writer, where all processors can take part.
type change struct {
	table.Write

	row header
	old header // what is stored now; rev 0 if nothing is
}

// Write implements table.Driver.
func (d *driver) Write(ctx context.Context, writes []table.Write) error {
	changes := make([]change, len(writes))
	for i, w := range writes {
		changes[i] = change{Write: w, row: header{
			tbl: d.name,
			key: w.Item.Key,
			ix:  encodeIndexes(w.Item.Indexes),
			sum: crc32.Checksum(w.Item.Value, castagnoli),
		}}
		if !w.Item.Expires.IsZero() {
			changes[i].row.expires = w.Item.Expires.UnixMilli()
		}
	}
	now := time.Now().UnixMilli()
	return d.file.Write(ctx, func(c *sqlitedb.Conn) error { return applyAll(c, changes, now) })
}

func applyAll(c *sqlitedb.Conn, changes []change, now int64) error {
	if len(changes) == 1 || !conditional(changes) {
		// Nothing can conflict after something was changed.
		for i := range changes {
			if err := changes[i].applyAlone(c, i, now); err != nil {
				return err
			}
		}
		return nil
	}
	return applyEach(c, changes, now)
}

// applyAlone applies a change that is a transaction of its own, or that cannot conflict.
func (ch *change) applyAlone(c *sqlitedb.Conn, position int, now int64) error {
	if done, err := ch.quick(c, now); done || err != nil {
		return err
	}
	if err := ch.check(c, position, now); err != nil {
		return err
	}
	return ch.apply(c)
}

// applyEach tests all conditions first: a transaction that has changed nothing is free to give up.
func applyEach(c *sqlitedb.Conn, changes []change, now int64) error {
	for i := range changes {
		if changes[i].unconditional() {
			continue
		}
		if err := changes[i].check(c, i, now); err != nil {
			return err
		}
	}
	for i := range changes {
		if err := changes[i].applyChecked(c, i, now); err != nil {
			return err
		}
	}
	return nil
}

// unconditional is a put that nothing can stop: it need not look before the others were tested.
func (ch *change) unconditional() bool { return ch.If == table.Any && !ch.Delete && !ch.Check }

// applyChecked applies a change that was tested, or that needs no test.
func (ch *change) applyChecked(c *sqlitedb.Conn, position int, now int64) error {
	if ch.unconditional() {
		return ch.applyAlone(c, position, now)
	}
	return ch.apply(c)
}

func conditional(changes []change) bool {
	return slices.ContainsFunc(changes, func(ch change) bool { return ch.If != table.Any })
}

// quick tries to do a put in one statement, and says whether that was all.
func (ch *change) quick(c *sqlitedb.Conn, now int64) (done bool, err error) {
	row, n := &ch.row, int64(0)
	switch {
	case ch.Delete || ch.Check:
		return false, nil
	case ch.If > table.Absent:
		n, err = c.Exec(quickPutIf, row.expires, row.crc(), ch.value(),
			row.tbl, row.key.Partition, row.key.Sort, int64(ch.If), row.ix, now)
	case row.ix == nil:
		n, err = c.Exec(quickPut, row.tbl, row.key.Partition, row.key.Sort, row.expires, row.crc(), ch.value(),
			ch.If == table.Any, now)
	default:
		n, err = c.Exec(insertNew, row.tbl, row.key.Partition, row.key.Sort, row.expires, row.crc(), row.ix, ch.value())
		if err == nil && n == 1 {
			err = movePlaces(c, row.tbl, row.key, nil, ch.Item.Indexes)
		}
	}
	return n == 1, err
}

// value is never nil, which would be NULL.
func (ch *change) value() []byte {
	if ch.Item.Value == nil {
		return []byte{}
	}
	return ch.Item.Value
}

// check reads what is stored and tests the condition against it.
func (ch *change) check(c *sqlitedb.Conn, position int, now int64) error {
	ch.old = header{}
	err := c.Query(selectHeader, func(r *sqlitedb.Row) (err error) {
		ch.old, err = readHeader(c, r, 0, ch.row.tbl, ch.row.key)
		return err
	}, ch.row.tbl, ch.row.key.Partition, ch.row.key.Sort)
	if err != nil {
		return err
	}
	var revision int64
	if !ch.old.expired(now) {
		revision = ch.old.rev
	}
	if ch.If != table.Any && int64(ch.If) != revision {
		return &table.ConflictError{Position: position}
	}
	ch.row.rev = revision + 1
	return nil
}

func (ch *change) apply(c *sqlitedb.Conn) error {
	switch {
	case ch.Check:
		return nil
	case ch.Delete && ch.old.rev == 0:
		return nil
	case ch.Delete:
		before, err := ch.places(c)
		if err != nil {
			return err
		}
		return deleteRow(c, ch.row.tbl, ch.row.key, before)
	}
	key := ch.row.key
	_, err := c.Exec(upsertItem, ch.row.tbl, key.Partition, key.Sort, ch.row.rev, ^ch.row.rev, ch.row.expires,
		ch.row.crc(), ch.row.ix, ch.value())
	if err != nil || bytes.Equal(ch.old.ix, ch.row.ix) {
		return err
	}
	before, err := ch.places(c)
	if err != nil {
		return err
	}
	return movePlaces(c, ch.row.tbl, key, before, ch.Item.Indexes)
}

// places are where the item stands in the indexes now.
func (ch *change) places(c *sqlitedb.Conn) (map[string]table.Key, error) {
	indexes, ok := decodeIndexes(ch.old.ix)
	if !ok {
		return nil, c.Damaged("item %q of table %q has unreadable indexes", ch.row.key, ch.row.tbl)
	}
	return indexes, nil
}

func deleteRow(c *sqlitedb.Conn, tbl string, key table.Key, indexes map[string]table.Key) error {
	if _, err := c.Exec(deleteItem, tbl, key.Partition, key.Sort); err != nil {
		return err
	}
	return movePlaces(c, tbl, key, indexes, nil)
}

// movePlaces makes the rows of places those of after, where they were those of before.
func movePlaces(c *sqlitedb.Conn, tbl string, key table.Key, before, after map[string]table.Key) error {
	for name, place := range before {
		if after[name] == place {
			continue
		}
		if _, err := c.Exec(deletePlace, tbl, name, place.Partition, place.Sort, key.Partition, key.Sort); err != nil {
			return err
		}
	}
	for name, place := range after {
		if before[name] == place {
			continue
		}
		if _, err := c.Exec(insertPlace, tbl, name, place.Partition, place.Sort, key.Partition, key.Sort); err != nil {
			return err
		}
	}
	return nil
}
