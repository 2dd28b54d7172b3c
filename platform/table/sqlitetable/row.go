package sqlitetable

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/sqlitedb"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// castagnoli is CRC-32C (RFC 3720, appendix B.4): it finds every change of up to 32 bits in a row,
// and processors compute it by themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is a row without its value. Its checksum covers it and the checksum of the value, so
// that the header can be verified where the value is not read. The revision is not in the checksum
// but has its complement beside it, so that a single statement can count it up.
type header struct {
	tbl     string
	key     table.Key
	rev     int64
	expires int64 // Unix milliseconds, 0 for never
	ix      []byte
	sum     uint32 // CRC-32C of the value
}

// crc is what the column crc holds: the header's checksum above the value's.
func (h *header) crc() int64 {
	b := make([]byte, 0, 64+len(h.tbl)+len(h.key.Partition)+len(h.key.Sort)+len(h.ix))
	for _, s := range []string{h.tbl, h.key.Partition, h.key.Sort} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(h.expires))
	b = binary.BigEndian.AppendUint32(b, h.sum)
	b = append(b, h.ix...)
	return int64(uint64(crc32.Checksum(b, castagnoli))<<32 | uint64(h.sum))
}

// expired says whether the item has stopped to exist at now, in Unix milliseconds.
func (h *header) expired(now int64) bool { return h.expires > 0 && h.expires <= now }

// readHeader reads columns rev, ver, exp, crc, ix from the given one on, and verifies them.
func readHeader(c *sqlitedb.Conn, r *sqlitedb.Row, column int, tbl string, key table.Key) (header, error) {
	stored := r.Int(column + 3)
	h := header{
		tbl: tbl, key: key,
		rev: r.Int(column), expires: r.Int(column + 2), ix: r.Bytes(column + 4),
		sum: uint32(uint64(stored)),
	}
	if h.crc() != stored || h.rev != ^r.Int(column+1) {
		return h, c.Damaged("item %q of table %q has a wrong checksum", key, tbl)
	}
	return h, nil
}

// readItem reads columns rev, ver, exp, crc, ix, and unless keysOnly val, from the given one on.
func readItem(c *sqlitedb.Conn, r *sqlitedb.Row, column int, tbl string, key table.Key, keysOnly bool) (table.Item, error) {
	h, err := readHeader(c, r, column, tbl, key)
	if err != nil {
		return table.Item{}, err
	}
	item := table.Item{Key: key, Revision: h.rev}
	if h.expires > 0 {
		item.Expires = time.UnixMilli(h.expires)
	}
	var ok bool
	if item.Indexes, ok = decodeIndexes(h.ix); !ok {
		return table.Item{}, c.Damaged("item %q of table %q has unreadable indexes", key, tbl)
	}
	if keysOnly {
		return item, nil
	}
	item.Value = r.Bytes(column + 5)
	if crc32.Checksum(item.Value, castagnoli) != h.sum {
		return table.Item{}, c.Damaged("value of item %q of table %q has a wrong checksum", key, tbl)
	}
	return item, nil
}

// encodeIndexes writes name, partition and sort key of each index in the order of the names, each
// with its length before it. It is nil for an item in no index, and equal for equal indexes.
func encodeIndexes(indexes map[string]table.Key) []byte {
	if len(indexes) == 0 {
		return nil
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		for _, s := range []string{name, indexes[name].Partition, indexes[name].Sort} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// decodeIndexes is the inverse of encodeIndexes.
func decodeIndexes(b []byte) (map[string]table.Key, bool) {
	if len(b) == 0 {
		return nil, true
	}
	indexes := make(map[string]table.Key)
	for len(b) > 0 {
		var parts [3]string
		for i := range parts {
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return nil, false
			}
			parts[i], b = string(b[size:size+int(n)]), b[size+int(n):]
		}
		indexes[parts[0]] = table.Key{Partition: parts[1], Sort: parts[2]}
	}
	return indexes, true
}
