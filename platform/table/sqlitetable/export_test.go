package sqlitetable

import (
	"context"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
)

// Rows counts what lies in the file, expired or not.
func Rows(t *testing.T, db *DB) (rows, places int64) {
	t.Helper()
	err := db.file.Read(context.Background(), func(c *sqlitedb.Conn) error {
		return c.Query("SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM places)",
			func(r *sqlitedb.Row) error {
				rows, places = r.Int(0), r.Int(1)
				return nil
			})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, places
}

// QueryPlans says how SQLite would run each of the reads.
func QueryPlans(t *testing.T, db *DB) map[string]string {
	t.Helper()
	plans := make(map[string]string)
	for _, statement := range []string{
		selectItem, selectHeader,
		rangeItems + rangeWhere, rangeKeys + rangeWhere + " DESC",
		indexItems + indexUp, indexItems + indexDown, selectExpired,
	} {
		err := db.file.Read(context.Background(), func(c *sqlitedb.Conn) error {
			args := make([]any, 0, 20)
			for _, b := range []byte(statement) {
				if b == '?' {
					args = append(args, "x")
				}
			}
			return c.Query("EXPLAIN QUERY PLAN "+statement, func(r *sqlitedb.Row) error {
				plans[statement] += r.Text(3) + "\n"
				return nil
			}, args...)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return plans
}

// Tamper changes the file behind the back of the driver.
func Tamper(t *testing.T, db *DB, statement string) {
	t.Helper()
	err := db.file.Write(context.Background(), func(c *sqlitedb.Conn) error {
		n, err := c.Exec(statement)
		if n != 1 {
			t.Errorf("%s: changed %d rows", statement, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
