package sqlitetable

import (
	"context"
	"errors"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	selectItem = "SELECT rev, ver, exp, crc, ix, val FROM items WHERE tbl = ? AND pk = ? AND sk = ?"

	// Ranges of the table itself. The bounds of a page are folded into those of the range. Neither
	// these nor those of an index sort or count anything: they are read row by row until the page is
	// full. What has expired is left out only after its checksum was verified.
	rangeKeys  = "SELECT sk, rev, ver, exp, crc, ix FROM items"
	rangeItems = "SELECT sk, rev, ver, exp, crc, ix, val FROM items"
	rangeWhere = " WHERE tbl = ? AND pk = ? AND sk >= ? AND sk < ? ORDER BY sk"

	// Ranges of an index. The join is a left one, so that a place without its item is seen as the
	// damage that it is.
	indexKeys  = "SELECT p.isk, p.pk, p.sk, i.rev, i.ver, i.exp, i.crc, i.ix" + indexFrom
	indexItems = "SELECT p.isk, p.pk, p.sk, i.rev, i.ver, i.exp, i.crc, i.ix, i.val" + indexFrom
	indexFrom  = ` FROM places p LEFT JOIN items i ON i.tbl = p.tbl AND i.pk = p.pk AND i.sk = p.sk
		WHERE p.tbl = ? AND p.idx = ? AND p.ipk = ?`
	indexUp   = " AND (p.isk, p.pk, p.sk) > (?, ?, ?) AND p.isk < ? ORDER BY p.isk, p.pk, p.sk"
	indexDown = " AND (p.isk, p.pk, p.sk) < (?, ?, ?) AND p.isk >= ? ORDER BY p.isk DESC, p.pk DESC, p.sk DESC"
)

// maxPassed is how many expired items a page passes over before it ends short, so that no read takes
// long because the sweeper is late.
const maxPassed = 1000

// errPageFull ends a query that has filled its page.
var errPageFull = errors.New("page is full")

// driver implements table.Driver for one table of a file.
type driver struct {
	file *sqlitedb.DB
	name string
}

// Close implements table.Driver. The file belongs to DB.
func (d *driver) Close() error { return nil }

// Get implements table.Driver.
func (d *driver) Get(ctx context.Context, key table.Key) (table.Item, error) {
	items, err := d.GetAll(ctx, []table.Key{key})
	if err != nil {
		return table.Item{}, err
	}
	if len(items) == 0 {
		return table.Item{}, fault.New(fault.NotFound, "item not found")
	}
	return items[0], nil
}

// GetAll implements table.Driver.
func (d *driver) GetAll(ctx context.Context, keys []table.Key) ([]table.Item, error) {
	now := time.Now().UnixMilli()
	var items []table.Item
	err := d.file.Read(ctx, func(c *sqlitedb.Conn) error {
		for _, key := range keys {
			err := c.Query(selectItem, func(r *sqlitedb.Row) error {
				item, err := readItem(c, r, 0, d.name, key, false)
				if err == nil && !expired(item, now) {
					items = append(items, item)
				}
				return err
			}, d.name, key.Partition, key.Sort)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return items, err
}

func expired(item table.Item, now int64) bool {
	return !item.Expires.IsZero() && item.Expires.UnixMilli() <= now
}

// Query implements table.Driver.
func (d *driver) Query(ctx context.Context, r table.Range) (table.RangeResult, error) {
	p := &page{limit: r.Limit, now: time.Now().UnixMilli()}
	err := d.file.Read(ctx, func(c *sqlitedb.Conn) error {
		if r.Index == "" {
			return d.queryTable(c, r, p)
		}
		return d.queryIndex(c, r, p)
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return table.RangeResult{}, err
	}
	return p.result, nil
}

func (d *driver) queryTable(c *sqlitedb.Conn, r table.Range, p *page) error {
	from, until := r.From, r.Until
	if r.Start != nil && !r.Descending {
		from = max(from, r.Start.Key.Sort+"\x00") // the smallest text above it
	}
	if r.Start != nil && r.Descending && (until == "" || r.Start.Key.Sort < until) {
		until = r.Start.Key.Sort
		if until == "" {
			return nil // nothing is below the empty sort key
		}
	}
	statement := rangeItems + rangeWhere
	if r.KeysOnly {
		statement = rangeKeys + rangeWhere
	}
	if r.Descending {
		statement += " DESC"
	}
	return c.Query(statement, func(row *sqlitedb.Row) error {
		key := table.Key{Partition: r.Partition, Sort: row.Text(0)}
		item, err := readItem(c, row, 1, d.name, key, r.KeysOnly)
		if err != nil {
			return err
		}
		return p.add(item, key)
	}, d.name, r.Partition, from, upper(until))
}

func (d *driver) queryIndex(c *sqlitedb.Conn, r table.Range, p *page) error {
	statement := indexItems
	if r.KeysOnly {
		statement = indexKeys
	}
	args := []any{d.name, r.Index, r.Partition}
	if r.Descending {
		statement += indexDown
		args = append(append(args, above(r)...), r.From)
	} else {
		statement += indexUp
		args = append(append(args, below(r)...), upper(r.Until))
	}
	return c.Query(statement, func(row *sqlitedb.Row) error {
		place := table.Key{Partition: r.Partition, Sort: row.Text(0)}
		key := table.Key{Partition: row.Text(1), Sort: row.Text(2)}
		if row.Null(3) {
			return c.Damaged("index %q of table %q names item %q, which is not there", r.Index, d.name, key)
		}
		item, err := readItem(c, row, 3, d.name, key, r.KeysOnly)
		if err != nil {
			return err
		}
		if item.Indexes[r.Index] != place {
			return c.Damaged("index %q of table %q has item %q in a wrong place", r.Index, d.name, key)
		}
		return p.add(item, place)
	}, args...)
}

// below is the place right below the range, and above the one right above it. No item has an empty
// partition key, so ("x", "", "") comes before all items at sort key "x".
func below(r table.Range) []any {
	if s := r.Start; s != nil && s.Place.Sort >= r.From {
		return []any{s.Place.Sort, s.Key.Partition, s.Key.Sort}
	}
	return []any{r.From, "", ""}
}

func above(r table.Range) []any {
	if s := r.Start; s != nil && (r.Until == "" || s.Place.Sort < r.Until) {
		return []any{s.Place.Sort, s.Key.Partition, s.Key.Sort}
	}
	return []any{upper(r.Until), "", ""}
}

// upper is an upper bound as SQLite sees it. Every text is smaller than every blob
// (https://www.sqlite.org/datatype3.html#sort_order), so a blob stands for "no bound".
func upper(until string) any {
	if until == "" {
		return []byte{0}
	}
	return until
}

// page collects the items of one page and notices when it is full.
type page struct {
	limit  int
	now    int64
	bytes  int
	passed int // expired items
	result table.RangeResult
	last   table.Position
}

func (p *page) add(item table.Item, place table.Key) error {
	gone := expired(item, p.now)
	size := item.Size()
	n := len(p.result.Items)
	if p.passed == maxPassed || !gone && (n == p.limit || n > 0 && p.bytes+size > table.MaxPageBytes) {
		last := p.last
		p.result.Last = &last
		return errPageFull
	}
	p.last = table.Position{Place: place, Key: item.Key}
	if gone {
		p.passed++
		return nil
	}
	p.bytes += size
	p.result.Items = append(p.result.Items, item)
	return nil
}
