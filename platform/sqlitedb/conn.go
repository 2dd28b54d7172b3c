package sqlitedb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Conn is one connection with its prepared statements. It is used by one goroutine at a time, and
// only inside the function that it was handed to.
//
// It stands on the SQL library's driver connection directly: database/sql would add a pool, a lock
// and several allocations to each of the short statements that make up nearly all of the work.
type Conn struct {
	path string
	raw  driver.Conn
	// ctx is that of Open without its end: statements are short, and to be able to interrupt one costs
	// the library a goroutine for each.
	ctx        context.Context
	statements map[string]*statement
	args       []driver.NamedValue

	changed bool // something was changed since the flag was cleared
	spoilt  bool // a statement failed in a way that may have ended the transaction
	broken  bool // the connection is not to be used again
}

type statement struct {
	execer  driver.StmtExecContext
	queryer driver.StmtQueryContext
	closer  driver.Stmt
	reads   bool // SELECT or PRAGMA: changes nothing
	counts  bool // INSERT, UPDATE, DELETE: reports how many rows it changed
	open    bool // its rows are being read
}

// Exec runs one statement and returns the number of rows that it changed. Arguments are string,
// []byte, int, int64, bool or nil. The text of a statement has to be a constant: every one is
// prepared once and kept for as long as the connection lives.
func (c *Conn) Exec(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	values, err := c.bind(args)
	if err != nil {
		return 0, err
	}
	result, err := s.execer.ExecContext(c.ctx, values)
	if err != nil {
		return 0, c.failed(err)
	}
	if !s.counts {
		c.changed = c.changed || !s.reads
		return 0, nil
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, c.failed(err)
	}
	c.changed = c.changed || n > 0
	return n, nil
}

// Query runs one statement and calls each for every row until it returns an error. Arguments and
// text are as for Exec; each may run other statements but not the same one again.
func (c *Conn) Query(query string, each func(*Row) error, args ...any) (err error) {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	values, err := c.bind(args)
	if err != nil {
		return err
	}
	rows, err := s.queryer.QueryContext(c.ctx, values)
	if err != nil {
		return c.failed(err)
	}
	s.open = true
	defer func() {
		s.open = false
		if e := rows.Close(); e != nil && err == nil {
			err = c.failed(e)
		}
	}()
	c.changed = c.changed || !s.reads
	row := Row{values: make([]driver.Value, len(rows.Columns()))}
	for {
		switch err := rows.Next(row.values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.failed(err)
		}
		err := each(&row)
		if row.err != nil {
			return fault.Wrap(fault.DataLoss, c.describe(row.err, adviceDamaged), "storage is damaged")
		}
		if err != nil {
			return err
		}
	}
}

func (c *Conn) prepare(query string) (*statement, error) {
	if s, ok := c.statements[query]; ok {
		if s.open {
			return nil, fault.New(fault.Internal, "statement is used within itself: %s", query)
		}
		return s, nil
	}
	raw, err := c.raw.Prepare(query)
	if err != nil {
		return nil, c.failed(err)
	}
	s := &statement{closer: raw}
	var canExec, canQuery bool
	s.execer, canExec = raw.(driver.StmtExecContext)
	s.queryer, canQuery = raw.(driver.StmtQueryContext)
	if !canExec || !canQuery {
		return nil, fault.New(fault.Internal, "SQL library has no context methods")
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(query), " ")
	switch strings.ToUpper(verb) {
	case "SELECT", "PRAGMA", "BEGIN", "COMMIT", "ROLLBACK":
		s.reads = true
	case "INSERT", "UPDATE", "DELETE", "REPLACE":
		s.counts = true
	}
	c.statements[query] = s
	return s, nil
}

// bind fills the connection's own slice: the library copies every value before it returns.
func (c *Conn) bind(args []any) ([]driver.NamedValue, error) {
	c.args = c.args[:0]
	for i, a := range args {
		switch v := a.(type) {
		case int:
			a = int64(v)
		case nil, string, []byte, int64, bool:
		default:
			return nil, fault.New(fault.Internal, "argument %d of a statement has type %T", i+1, a)
		}
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args, nil
}

// script runs statements that are used once.
func (c *Conn) script(text string) error {
	execer, ok := c.raw.(driver.ExecerContext)
	if !ok {
		return fault.New(fault.Internal, "SQL library has no context methods")
	}
	c.changed = true
	if _, err := execer.ExecContext(c.ctx, text, nil); err != nil {
		return c.failed(err)
	}
	return nil
}

// number runs a statement whose first column of the first row is a number.
func (c *Conn) number(query string) (n int64, err error) {
	err = c.Query(query, func(r *Row) error {
		n = r.Int(0)
		return nil
	})
	return n, err
}

// setWAL asks for the write-ahead log and makes sure of it: SQLite answers with the old mode where
// the file system cannot share memory, and readers would then block the writer.
func (c *Conn) setWAL() error {
	return c.Query("PRAGMA journal_mode=WAL", func(r *Row) error {
		if mode := r.Text(0); mode != "wal" {
			return fault.Wrap(fault.FailedPrecondition,
				c.describe(fmt.Errorf("its journal mode stays %q", mode), adviceFileSystem),
				"storage cannot be opened for writing")
		}
		return nil
	})
}

func (c *Conn) setMaxBytes(limit int64) error {
	size, err := c.number("PRAGMA page_size")
	if err != nil {
		return err
	}
	// SQLite's own upper bound, https://www.sqlite.org/limits.html#max_page_count.
	pages := int64(0xfffffffe)
	if limit > 0 {
		pages = max(limit/size, 1)
	}
	return c.script(fmt.Sprintf("PRAGMA max_page_count=%d", pages))
}

func (c *Conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.closer.Close())
	}
	errs = append(errs, c.raw.Close())
	c.statements = nil
	if err := errors.Join(errs...); err != nil {
		return c.failed(err)
	}
	return nil
}

// Row is the row that a query stands on. A column that holds something else than what is asked for
// fails the query as [fault.DataLoss], because only damage can have put it there.
type Row struct {
	values []driver.Value
	err    error
}

// Int is an integer column.
func (r *Row) Int(column int) int64 {
	v, ok := r.values[column].(int64)
	r.expect(ok, column, "an integer")
	return v
}

// Text is a text column.
func (r *Row) Text(column int) string {
	v, ok := r.values[column].(string)
	r.expect(ok, column, "text")
	return v
}

// Bytes is a blob column; NULL is nil. The caller may keep it.
func (r *Row) Bytes(column int) []byte {
	if r.values[column] == nil {
		return nil
	}
	v, ok := r.values[column].([]byte)
	r.expect(ok, column, "a blob")
	return v
}

// Null says whether the column is NULL.
func (r *Row) Null(column int) bool { return r.values[column] == nil }

func (r *Row) expect(ok bool, column int, what string) {
	if !ok && r.err == nil {
		r.err = fmt.Errorf("column %d holds %T and not %s", column, r.values[column], what)
	}
}
