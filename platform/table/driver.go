package table

import "context"

// Driver stores items. Its input was validated by [Table]; it neither keeps nor changes the slices
// and maps that it is given, and hands out ones that the caller may keep and change.
//
// Drivers translate their own failures to fault codes; no type of their database is seen above.
type Driver interface {
	// Get must see every write that was acknowledged before it began, and must return
	// fault.NotFound for an absent or expired item.
	Get(ctx context.Context, key Key) (Item, error)

	// GetAll must read each item as Get does, in the order of the keys, without the absent ones.
	// There are 1 to MaxGetItems keys, all different.
	GetAll(ctx context.Context, keys []Key) ([]Item, error)

	// Query must return the items of the range in order, at most Limit of them and at most
	// MaxPageBytes by Item.Size (with KeysOnly, of the items without their values), without expired
	// ones, and Last unless it reached the end of the range.
	Query(ctx context.Context, r Range) (RangeResult, error)

	// Write must apply all of 1 to MaxWriteItems writes on different keys or none, in one step that
	// no reader of single items can see half of after it was acknowledged, and must not return nil
	// before they are durable. A condition that does not hold must be a *ConflictError. The
	// conditions must be tested in the same step: of several writers with the same condition on one
	// revision exactly one wins.
	Write(ctx context.Context, writes []Write) error

	// Close releases the handle.
	Close() error
}

// Range is a validated query: the sort keys from From (inclusive) until Until (exclusive).
type Range struct {
	// Index is the name of the index, or "" for the table itself.
	Index string
	// Partition is the partition of the table or the index.
	Partition string
	// From is the smallest sort key in the range. It may end in U+0000, which no key contains.
	From string
	// Until is the smallest sort key above the range, or "" if there is no upper bound.
	Until string
	// Descending reads from the upper end.
	Descending bool
	// Limit is from 1 to MaxPageItems.
	Limit int
	// KeysOnly leaves Item.Value nil.
	KeysOnly bool
	// Start is Last of the page before: the range goes on right behind it. Nil for the first page.
	Start *Position
}

// Position is the place of an item in a range.
type Position struct {
	// Place is the item's place in the index, with the Partition of the Range; for the table itself
	// it is the item's key.
	Place Key
	// Key is the item's key.
	Key Key
}

// RangeResult is one page of a range.
type RangeResult struct {
	Items []Item
	// Last is the place up to which the range was read, or nil if that is its end. It is a place
	// within the range, and need not be that of a returned item.
	Last *Position
}

// empty says that no sort key can lie in the range.
func (r Range) empty() bool { return r.Until != "" && r.From >= r.Until }
