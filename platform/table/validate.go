package table

import (
	"strings"
	"unicode/utf8"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func (k Key) validate() error {
	switch {
	case k.Partition == "":
		return fault.New(fault.Invalid, "partition key is empty")
	case len(k.Partition) > MaxPartitionKeyBytes:
		return fault.New(fault.Invalid, "partition key has %d bytes, at most %d are allowed",
			len(k.Partition), MaxPartitionKeyBytes)
	case len(k.Sort) > MaxSortKeyBytes:
		return fault.New(fault.Invalid, "sort key has %d bytes, at most %d are allowed",
			len(k.Sort), MaxSortKeyBytes)
	case !isText(k.Partition):
		return fault.New(fault.Invalid, "partition key is not UTF-8 without U+0000")
	case !isText(k.Sort):
		return fault.New(fault.Invalid, "sort key is not UTF-8 without U+0000")
	}
	return nil
}

// isText is the rule for keys: DynamoDB's strings are UTF-8, and U+0000 is kept free so that a
// driver can stand it in for an empty sort key, which DynamoDB does not allow.
func isText(s string) bool {
	return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

func validateKeys(keys []Key) error {
	if len(keys) > MaxGetItems {
		return fault.New(fault.Invalid, "%d keys, at most %d are allowed", len(keys), MaxGetItems)
	}
	seen := make(map[Key]int, len(keys))
	for i, k := range keys {
		if err := k.validate(); err != nil {
			return fault.Wrap(fault.Invalid, err, "key %d", i)
		}
		if first, again := seen[k]; again {
			return fault.New(fault.Invalid, "keys %d and %d are the same", first, i)
		}
		seen[k] = i
	}
	return nil
}

func validateWrites(writes []Write) error {
	if len(writes) > MaxWriteItems {
		return fault.New(fault.Invalid, "%d writes, at most %d are allowed", len(writes), MaxWriteItems)
	}
	if len(writes) == 1 {
		if err := writes[0].validate(); err != nil {
			return fault.Wrap(fault.Invalid, err, "write 0")
		}
		return nil // a whole item is below MaxWriteBytes
	}
	total := 0
	seen := make(map[Key]int, len(writes))
	for i, w := range writes {
		if err := w.validate(); err != nil {
			return fault.Wrap(fault.Invalid, err, "write %d", i)
		}
		if first, again := seen[w.Item.Key]; again {
			return fault.New(fault.Invalid, "writes %d and %d are on the same key", first, i)
		}
		seen[w.Item.Key] = i
		total += w.Item.Size()
	}
	if total > MaxWriteBytes {
		return fault.New(fault.Invalid, "writes have %d bytes, at most %d are allowed", total, MaxWriteBytes)
	}
	return nil
}

func (w Write) validate() error {
	switch {
	case w.If < Any:
		return fault.New(fault.Invalid, "condition %d is no revision", w.If)
	case w.Delete && w.Check:
		return fault.New(fault.Invalid, "both delete and check")
	case w.Check && w.If == Any:
		return fault.New(fault.Invalid, "check with condition any tests nothing")
	}
	return w.Item.validate()
}

func (i Item) validate() error {
	if err := i.Key.validate(); err != nil {
		return err
	}
	if len(i.Indexes) > MaxIndexes {
		return fault.New(fault.Invalid, "item is in %d indexes, at most %d are allowed", len(i.Indexes), MaxIndexes)
	}
	for name, place := range i.Indexes {
		if err := validateIndexName(name); err != nil {
			return err
		}
		if err := place.validate(); err != nil {
			return fault.Wrap(fault.Invalid, err, "index %s", name)
		}
	}
	if size := i.Size(); size > MaxItemBytes {
		return fault.New(fault.Invalid, "item has %d bytes, at most %d are allowed", size, MaxItemBytes)
	}
	if !i.Expires.IsZero() && i.Expires.UnixMilli() <= 0 {
		return fault.New(fault.Invalid, "expiry is before 1970")
	}
	return nil
}

// validateIndexName allows what DynamoDB allows in the name of an index.
func validateIndexName(name string) error {
	if name == "" || len(name) > MaxIndexNameBytes {
		return fault.New(fault.Invalid, "index name has %d bytes, 1 to %d are allowed", len(name), MaxIndexNameBytes)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fault.New(fault.Invalid, "index name may hold letters, digits, '-', '_' and '.' only")
		}
	}
	return nil
}
