package snapshot

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Limits of a file. A writer keeps them and a reader refuses what is beyond.
const (
	// MaxKeyBytes is the longest key.
	MaxKeyBytes = 1024
	// MaxValueBytes is the longest value: one value is one block at most, which is held in memory.
	MaxValueBytes = 32 << 20
	// MaxSections is the most sections of one file.
	MaxSections = 256
	// MaxSectionBytes is the longest name of a section.
	MaxSectionBytes = 64
)

const (
	version     = 1
	headerMagic = "RPSNAP\r\n"
	footerMagic = "RPSNAPE\n"
	headerBytes = len(headerMagic) + 8
	footerBytes = 8 + 4 + 4 + 4 + len(footerMagic) + 4

	// blockBytes is the size at which a block is closed: large enough to compress well, small enough that one Get reads little.
	// Measured by BenchmarkGet; 4 KiB makes files a third larger, 64 KiB triples the time of a Get.
	blockBytes = 16 << 10
	// maxBlockBytes is the largest block: one entry of the greatest size.
	maxBlockBytes = MaxValueBytes + MaxKeyBytes + 2*binary.MaxVarintLen32 + blockBytes
	// maxRatio is more than DEFLATE can expand one byte to (1032:1): a block that claims more is hostile.
	// https://zlib.net/zlib_tech.html
	maxRatio = 1040

	codecRaw   = 0
	codecFlate = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func header() []byte {
	b := append(make([]byte, 0, headerBytes), headerMagic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// section is one line of the table.
type section struct {
	name                 string
	blocks               int64 // offset of the first block
	index, indexBytes    int64
	indexSum             uint32
	blockCount, keyCount uint64
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func encodeTable(sections []section) []byte {
	b := binary.AppendUvarint(nil, uint64(len(sections)))
	for _, s := range sections {
		b = appendText(b, s.name)
		b = binary.AppendUvarint(b, uint64(s.blocks))
		b = binary.AppendUvarint(b, uint64(s.index))
		b = binary.AppendUvarint(b, uint64(s.indexBytes))
		b = binary.LittleEndian.AppendUint32(b, s.indexSum)
		b = binary.AppendUvarint(b, s.blockCount)
		b = binary.AppendUvarint(b, s.keyCount)
	}
	return b
}

func encodeFooter(offset int64, table []byte) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, footerBytes), uint64(offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(table)))
	b = binary.LittleEndian.AppendUint32(b, checksum(table))
	b = binary.LittleEndian.AppendUint32(b, version)
	b = append(b, footerMagic...)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// decodeFooter returns where the table is and its checksum. size is that of the whole file.
func decodeFooter(b []byte, size int64) (offset, length int64, sum uint32, err error) {
	body, last := b[:footerBytes-4], b[footerBytes-4:]
	if !bytes.Equal(body[20:], []byte(footerMagic)) {
		return 0, 0, 0, damaged("it does not end as a snapshot does: it was cut short, or is none")
	}
	if checksum(body) != binary.LittleEndian.Uint32(last) {
		return 0, 0, 0, damaged("the checksum of its end differs")
	}
	if v := binary.LittleEndian.Uint32(body[16:]); v != version {
		return 0, 0, 0, fault.New(fault.FailedPrecondition, "its format is version %d, this program reads version %d", v, version)
	}
	at, n := binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint32(body[8:])
	if end := uint64(size) - uint64(footerBytes); at > end || uint64(n) > end-at {
		return 0, 0, 0, damaged("its table lies outside of it")
	}
	return int64(at), int64(n), binary.LittleEndian.Uint32(body[12:]), nil
}

// cursor reads numbers and texts from bytes, and remembers that it ran out of them.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) uint32() uint32 {
	b := c.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (c *cursor) text(limit uint64) string {
	n := c.uvarint()
	if n > limit {
		c.bad, c.b = true, nil
		return ""
	}
	return string(c.take(n))
}

func decodeTable(b []byte, size int64) ([]section, error) {
	c := &cursor{b: b}
	n := c.uvarint()
	if n > MaxSections {
		return nil, damaged("it has %d sections, the most is %d", n, MaxSections)
	}
	sections := make([]section, 0, n)
	seen := map[string]bool{}
	for range n {
		s := section{name: c.text(MaxSectionBytes)}
		blocks, index, length := c.uvarint(), c.uvarint(), c.uvarint()
		s.indexSum, s.blockCount, s.keyCount = c.uint32(), c.uvarint(), c.uvarint()
		limit := uint64(size)
		if c.bad || blocks > index || index > limit || length > limit-index || s.blockCount > length || seen[s.name] {
			return nil, damaged("its table of sections is wrong")
		}
		s.blocks, s.index, s.indexBytes = int64(blocks), int64(index), int64(length)
		seen[s.name] = true
		sections = append(sections, s)
	}
	if len(c.b) > 0 {
		return nil, damaged("its table of sections is wrong")
	}
	return sections, nil
}

// damaged is an error about a file that is not what a writer made.
func damaged(format string, args ...any) error {
	return fault.New(fault.DataLoss, format, args...)
}
