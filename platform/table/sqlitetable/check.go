package sqlitetable

import (
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	selectAllRows = "SELECT tbl, pk, sk, rev, ver, exp, crc, ix, val FROM items"
	selectPlace   = "SELECT 1 FROM places WHERE tbl = ? AND idx = ? AND ipk = ? AND isk = ? AND pk = ? AND sk = ?"
	countPlaces   = "SELECT count(*) FROM places"
)

// checkRows verifies the checksums of all rows, and that places holds what the rows say and no more.
func checkRows(c *sqlitedb.Conn) error {
	var named, found int64
	err := c.Query(selectAllRows, func(r *sqlitedb.Row) error {
		tbl, key := r.Text(0), table.Key{Partition: r.Text(1), Sort: r.Text(2)}
		item, err := readItem(c, r, 3, tbl, key, false)
		if err != nil {
			return err
		}
		named += int64(len(item.Indexes))
		return checkPlaces(c, tbl, item)
	})
	if err != nil {
		return err
	}
	err = c.Query(countPlaces, func(r *sqlitedb.Row) error {
		found = r.Int(0)
		return nil
	})
	if err == nil && found != named {
		err = c.Damaged("indexes have %d places, items name %d", found, named)
	}
	return err
}

func checkPlaces(c *sqlitedb.Conn, tbl string, item table.Item) error {
	for name, place := range item.Indexes {
		there := false
		err := c.Query(selectPlace, func(*sqlitedb.Row) error {
			there = true
			return nil
		}, tbl, name, place.Partition, place.Sort, item.Key.Partition, item.Key.Sort)
		if err != nil {
			return err
		}
		if !there {
			return c.Damaged("index %q of table %q lacks item %q", name, tbl, item.Key)
		}
	}
	return nil
}
