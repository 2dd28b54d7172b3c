// Package snapshot is an immutable sorted key/value file: what is compiled once, put into a bucket and read by many
// processes. Keys live in named sections; values are opaque.
//
// A file is a header, blocks of entries (each compressed on its own, with a checksum that is verified on every read), one
// index of blocks per section, the table of sections and a footer:
//
//	header  "RPSNAP\r\n", version u32, CRC-32C of both
//	blocks  entries: uvarint length, key, uvarint length, value; keys ascend over the whole section
//	index   per block: uvarint length, first key, uvarint stored bytes, uvarint raw bytes, codec u8, CRC-32C u32
//	table   uvarint count; per section: uvarint length, name, uvarint offset of its blocks, uvarint offset, uvarint bytes and
//	        CRC-32C u32 of its index, uvarint blocks, uvarint keys
//	footer  offset u64, bytes u32 and CRC-32C u32 of the table, version u32, magic 8 bytes, CRC-32C u32 of the footer
//
// All numbers are little-endian. The footer comes last, so a file that was cut short is no snapshot.
//
// A snapshot may be several files whose sections have disjoint ranges of keys: [Store] and [Load] keep it in a bucket as
// content-addressed parts with a list of them, so a new version moves only the parts that changed.
//
// The package refuses to change a file, to know what values mean, and to trust a file: a damaged, truncated or hostile one
// is an error of one line ([fault.DataLoss]), never a panic and never memory beyond the limits here.
package snapshot
