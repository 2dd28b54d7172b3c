// Package table is the store of small items: by partition and sort key, with conditions on the
// item's revision, small all-or-nothing writes, sparse secondary indexes and expiry.
//
// It promises what DynamoDB promises and nothing more; every driver obeys the same limits, so what
// works on the embedded store works on the cloud's. There is no scan, no join, no transaction that
// runs code, and no read that sees several items at one instant: [Table.Query] of the base table and
// [Table.Get] see every write acknowledged before they began, an index query may lag behind.
//
// [Table] is what services hold. It checks sizes and keys, turns queries into ranges, makes page
// tokens, names the table in errors and records spans. A [Driver] only stores; package tabletest
// has the suite that every driver passes.
package table

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Limits, enforced here for every driver. All are DynamoDB's, from
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html and
// .../API_TransactWriteItems.html, .../API_Query.html, .../API_BatchGetItem.html,
// unless the comment says otherwise.
const (
	// MaxItemBytes bounds [Item.Size].
	MaxItemBytes = 400 << 10
	// MaxPartitionKeyBytes bounds a partition key, in UTF-8 bytes.
	MaxPartitionKeyBytes = 2048
	// MaxSortKeyBytes bounds a sort key, in UTF-8 bytes.
	MaxSortKeyBytes = 1024
	// MaxWriteItems bounds the writes of one [Table.Write].
	MaxWriteItems = 100
	// MaxWriteBytes bounds the sizes of the items of one [Table.Write] together.
	MaxWriteBytes = 4 << 20
	// MaxGetItems bounds the keys of one [Table.GetAll].
	MaxGetItems = 100
	// MaxPageBytes bounds the sizes of the items of one page together.
	MaxPageBytes = 1 << 20
	// MaxPageItems bounds the items of one page. Ours: DynamoDB has only the limit in bytes.
	MaxPageItems = 1000
	// MaxIndexes bounds the indexes that one item is in: the default quota of global secondary
	// indexes of a table.
	MaxIndexes = 20
	// MaxIndexNameBytes bounds the name of an index. Ours: DynamoDB allows 255.
	MaxIndexNameBytes = 64
	// ItemOverheadBytes is counted for every item and again for every index that it is in, so that
	// attribute names, revision, expiry and checksum fit beside a full item. Ours.
	ItemOverheadBytes = 64
)

// Key names an item, or a place in an index.
//
// Both parts are valid UTF-8 without U+0000. Partition is not empty. Sort may be empty, and keys of
// one partition are ordered by the bytes of Sort.
type Key struct{ Partition, Sort string }

// Item is what is stored under a key.
type Item struct {
	Key Key
	// Value is opaque to the store. No distinction is made between nil and empty.
	Value []byte
	// Revision is set by the store: 1 for a put with [Absent], n+1 for a put with condition n, and
	// for one with [Any] one more than the item had, or at least 1 if it was absent. Ignored in writes.
	Revision int64
	// Indexes are the sparse secondary indexes that the item is in, by name, with its place there.
	// Several items may have the same place.
	Indexes map[string]Key
	// Expires is when the item stops to exist, in whole milliseconds (finer parts are cut off), or
	// zero for never. An expired item is never returned and counts as absent in conditions; the
	// store deletes it some time later.
	Expires time.Time
}

// Size is what an item counts against [MaxItemBytes], [MaxWriteBytes] and [MaxPageBytes]: keys,
// value, index names and index keys, and [ItemOverheadBytes] once and for every index.
func (i Item) Size() int {
	n := ItemOverheadBytes + len(i.Key.Partition) + len(i.Key.Sort) + len(i.Value)
	for name, k := range i.Indexes {
		n += ItemOverheadBytes + len(name) + len(k.Partition) + len(k.Sort)
	}
	return n
}

// Condition is what must be true of the stored item for a write to happen. A number above zero is
// the revision that the item must have. The zero value is [Absent]: a write that says nothing
// creates and never overwrites.
type Condition int64

// The conditions that are no revision.
const (
	// Any is always true.
	Any Condition = -1
	// Absent is true if there is no such item, or only an expired one.
	Absent Condition = 0
)

// Write is one part of a [Table.Write]: a put, unless Delete or Check says otherwise.
type Write struct {
	// Delete removes the item. Of Item only the key counts. With Any it is no error if there is none.
	Delete bool
	// Check changes nothing and only tests the condition, which cannot be Any. Of Item only the key counts.
	Check bool
	// Item replaces what is stored, indexes and expiry included.
	Item Item
	// If is the condition on what is stored.
	If Condition
}

// Query names a part of one partition, of the table itself or of an index.
type Query struct {
	// Index is the name of a secondary index, or "" for the table itself. An index that no item was
	// ever in is empty.
	Index string
	// Partition is the partition of the table or of the index.
	Partition string
	// Prefix, After and Before narrow the sort key; all that are set hold. After and Before are
	// themselves outside.
	Prefix, After, Before string
	// Descending turns the order of the sort keys around.
	Descending bool
	// Limit is the largest number of items of the page, at most MaxPageItems; 0 means MaxPageItems.
	Limit int
	// PageToken is NextPageToken of the page before. Limit and KeysOnly may differ from page to
	// page, the rest may not.
	PageToken string
	// KeysOnly leaves out the values.
	KeysOnly bool
}

// Page is one page of a query. It may hold fewer items than the limit, even none, while there are
// more: only an empty NextPageToken is the end. Items that are put or deleted between two pages may
// be seen or not; all others are seen exactly once.
type Page struct {
	Items         []Item
	NextPageToken string
}

// ConflictError says which write's condition did not hold. It matches [fault.Conflict]. Nothing was
// written.
type ConflictError struct {
	// Position counts the writes of the call from 0. If several conditions fail it is one of them.
	Position int
}

// Error names the position.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("condition of write %d does not hold", e.Position)
}

// FaultCode is [fault.Conflict].
func (e *ConflictError) FaultCode() fault.Code { return fault.Conflict }

// Is matches [fault.Conflict].
func (e *ConflictError) Is(target error) bool { return target == error(fault.Conflict) }

// Options configure a table.
type Options struct {
	// Name appears in errors and spans, and is part of every page token.
	Name string
	// Indexes are the only ones that items may be put in and queries may name, if it is not nil: another one is
	// fault.Internal. A deployment makes just these.
	Indexes []string
}

// Table is the portable type in front of a driver. It is safe for concurrent use.
type Table struct {
	driver  Driver
	name    string
	indexes []string
}

// New puts the portable type in front of a driver.
func New(d Driver, o Options) *Table {
	return &Table{driver: d, name: o.Name, indexes: slices.Clone(o.Indexes)}
}

// Name is the table's name.
func (t *Table) Name() string { return t.name }

// Close releases the driver's handle on the table. The store behind it is closed by whoever opened it.
func (t *Table) Close() error { return t.failed("close", t.driver.Close()) }

// Get reads one item, strongly consistent. An absent or expired item is [fault.NotFound].
func (t *Table) Get(ctx context.Context, key Key) (_ Item, err error) {
	ctx, end := t.span(ctx, "get")
	defer func() { end(err) }()
	if err := key.validate(); err != nil {
		return Item{}, t.failed("get", err)
	}
	item, err := t.driver.Get(ctx, key)
	if err != nil {
		return Item{}, t.failed("get", err)
	}
	return item, nil
}

// GetAll reads up to [MaxGetItems] different items, each strongly consistent, though not all at one
// instant. Absent ones are left out; the others come in the order of the keys.
func (t *Table) GetAll(ctx context.Context, keys []Key) (_ []Item, err error) {
	ctx, end := t.span(ctx, "get_all")
	defer func() { end(err) }()
	if err := validateKeys(keys); err != nil {
		return nil, t.failed("get all", err)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	items, err := t.driver.GetAll(ctx, keys)
	if err != nil {
		return nil, t.failed("get all", err)
	}
	return items, nil
}

// Query reads one page in the order of the sort keys; in an index, items of the same place come in
// a fixed order that the driver chooses. Without Index the page is strongly consistent; with Index
// it may miss the latest writes, so nothing may be decided from it that is not checked by Get or by
// a condition.
func (t *Table) Query(ctx context.Context, q Query) (_ Page, err error) {
	ctx, end := t.span(ctx, "query")
	defer func() { end(err) }()
	r, err := t.rangeOf(q)
	if err == nil && q.Index != "" {
		err = t.declared(q.Index)
	}
	if err != nil {
		return Page{}, t.failed("query", err)
	}
	if r.empty() {
		return Page{}, nil
	}
	result, err := t.driver.Query(ctx, r)
	if err != nil {
		return Page{}, t.failed("query", err)
	}
	page := Page{Items: result.Items}
	if result.Last != nil {
		page.NextPageToken = t.pageToken(q, *result.Last)
	}
	return page, nil
}

// Write applies all writes or none, and returns when they are durable. A condition that does not
// hold is a *[ConflictError], which matches [fault.Conflict]. Two writes on one key are
// [fault.Invalid]. No writes are no error.
//
// After [fault.Cancelled], [fault.DeadlineExceeded], [fault.Unavailable] and [fault.Internal] it is
// not known whether the writes happened; after every other error they did not.
func (t *Table) Write(ctx context.Context, writes ...Write) (err error) {
	ctx, end := t.span(ctx, "write")
	defer func() { end(err) }()
	if err := t.validate(writes); err != nil {
		return t.failed("write", err)
	}
	if len(writes) == 0 {
		return nil
	}
	return t.failed("write", t.driver.Write(ctx, writes))
}

// validate checks writes and the indexes that their items are in.
func (t *Table) validate(writes []Write) error {
	if err := validateWrites(writes); err != nil || t.indexes == nil {
		return err
	}
	for _, w := range writes {
		for index := range w.Item.Indexes {
			if err := t.declared(index); err != nil {
				return err
			}
		}
	}
	return nil
}

// declared returns an error if the table has a list of indexes without this one.
func (t *Table) declared(index string) error {
	if t.indexes == nil || slices.Contains(t.indexes, index) {
		return nil
	}
	return fault.New(fault.Internal, "use index %s: it is not declared; name it in the Spec of the service that owns the table", index)
}

// failed gives an error of the driver its place. Keys are not named here: these words reach the
// caller of a service, and a key begins with a tenant.
func (t *Table) failed(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.CodeOf(err), err, "%s table %s", verb, t.name)
}
