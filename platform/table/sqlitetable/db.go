// Package sqlitetable keeps tables in one SQLite file: the driver of package table for a single
// machine. Any number of named tables share the file, and several processes may.
//
// A write is acknowledged when it is synced to disk; writes that wait at the same time share the
// sync. Every row carries a checksum that is verified on every read: a row that is not what was
// stored is fault.DataLoss and never an answer. Index queries do not lag here, which callers must
// not rely on.
package sqlitetable

import (
	"context"
	"log/slog"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	// applicationID is "rptb" in ASCII.
	applicationID = 0x72707462
	// sweepInterval is how often expired items are looked for; DynamoDB promises days only.
	sweepInterval = 60 * time.Second
	// sweepBatch is how many are deleted in one transaction, few enough that no write waits long.
	sweepBatch = 100
)

// schema is explained by the names in package table: tbl is the table's name, pk and sk the key, rev
// the revision and ver its bitwise complement, exp the expiry in Unix milliseconds or 0, ix the
// encoded Indexes or NULL (see encodeIndexes), crc the checksums of the rest (see header). places has
// one row for each index that an item is in.
const schema = `
CREATE TABLE items (
	tbl TEXT NOT NULL, pk TEXT NOT NULL, sk TEXT NOT NULL,
	rev INTEGER NOT NULL, ver INTEGER NOT NULL, exp INTEGER NOT NULL, crc INTEGER NOT NULL,
	ix BLOB, val BLOB NOT NULL,
	PRIMARY KEY (tbl, pk, sk)
) WITHOUT ROWID, STRICT;
CREATE INDEX items_by_expiry ON items (exp) WHERE exp > 0;
CREATE TABLE places (
	tbl TEXT NOT NULL, idx TEXT NOT NULL, ipk TEXT NOT NULL, isk TEXT NOT NULL,
	pk TEXT NOT NULL, sk TEXT NOT NULL,
	PRIMARY KEY (tbl, idx, ipk, isk, pk, sk)
) WITHOUT ROWID, STRICT;`

const selectExpired = `SELECT tbl, pk, sk, rev, ver, exp, crc, ix FROM items
	WHERE exp > 0 AND exp <= ? ORDER BY exp LIMIT ?`

// Options configure a file of tables.
type Options struct {
	// Path of the file. It and its folder are created, for the owner only.
	Path string
	// MaxBytes is a quota for the file without the journal beside it; beyond it writes are
	// fault.ResourceExhausted until something is deleted or the quota is raised. 0: none.
	MaxBytes int64
	// Logger hears of failures of the sweeper. Nil: nobody does.
	Logger *slog.Logger
}

// DB is an open file of tables. It is safe for concurrent use.
type DB struct {
	file   *sqlitedb.DB
	logger *slog.Logger
	stop   context.CancelFunc
	swept  chan struct{}
}

// Open opens or creates the file. Its errors are those of sqlitedb.Open: one line that names the
// file and says what to do.
func Open(ctx context.Context, o Options) (*DB, error) {
	file, err := sqlitedb.Open(ctx, sqlitedb.Options{
		Path:          o.Path,
		ApplicationID: applicationID,
		Schema:        []string{schema},
		MaxBytes:      o.MaxBytes,
	})
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx)) // ctx bounds the opening only
	db := &DB{file: file, logger: o.Logger, stop: stop, swept: make(chan struct{})}
	go db.sweepUntil(sweeping)
	return db, nil
}

// Table is the driver for one table of the file. A table that was never written to is empty.
// Closing the driver does nothing; the file is closed by [DB.Close].
func (db *DB) Table(name string) table.Driver { return &driver{file: db.file, name: name} }

// Check reads the whole file, verifies every row and every index, and reports the first damage as
// fault.DataLoss. It finds what a read cannot notice: a damaged key, which looks like an absent item.
func (db *DB) Check(ctx context.Context) error {
	if err := db.file.Check(ctx); err != nil {
		return err
	}
	return db.file.Snapshot(ctx, checkRows)
}

// SetMaxBytes changes the quota of [Options].
func (db *DB) SetMaxBytes(ctx context.Context, n int64) error { return db.file.SetMaxBytes(ctx, n) }

// Close lets running calls finish and closes the file.
func (db *DB) Close() error {
	db.stop()
	<-db.swept
	return db.file.Close()
}

// sweepUntil deletes expired items now and then. They are invisible anyway: this only gives the
// space back.
func (db *DB) sweepUntil(ctx context.Context) {
	defer close(db.swept)
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := db.sweep(ctx); err != nil && ctx.Err() == nil {
			db.logger.WarnContext(ctx, "expired items were not deleted", "error", err)
		}
	}
}

func (db *DB) sweep(ctx context.Context) error {
	for {
		// Looking first costs no write lock while there is nothing to do.
		found := false
		now := time.Now().UnixMilli()
		err := db.file.Read(ctx, func(c *sqlitedb.Conn) error {
			return c.Query("SELECT 1 FROM items WHERE exp > 0 AND exp <= ? LIMIT 1",
				func(*sqlitedb.Row) error { found = true; return nil }, now)
		})
		if err != nil || !found {
			return err
		}
		deleted := 0
		err = db.file.Write(ctx, func(c *sqlitedb.Conn) (err error) {
			deleted, err = deleteExpired(c, now)
			return err
		})
		if err != nil || deleted == 0 {
			return err
		}
	}
}

// deleteExpired deletes up to sweepBatch items, oldest first.
func deleteExpired(c *sqlitedb.Conn, now int64) (int, error) {
	var found []header
	err := c.Query(selectExpired, func(r *sqlitedb.Row) error {
		h, err := readHeader(c, r, 3, r.Text(0), table.Key{Partition: r.Text(1), Sort: r.Text(2)})
		if err == nil {
			found = append(found, h)
		}
		// What is damaged stays for a person to look at: perhaps it is the expiry that is wrong.
		return nil
	}, now, sweepBatch)
	if err != nil {
		return 0, err
	}
	for _, h := range found {
		indexes, ok := decodeIndexes(h.ix)
		if !ok {
			return 0, c.Damaged("item %q of table %q has unreadable indexes", h.key, h.tbl)
		}
		if err := deleteRow(c, h.tbl, h.key, indexes); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}
