package snapshot

import (
	"bytes"
	"compress/flate"
	"io"
	"sort"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// file is one open file.
type file struct {
	src      source
	sections map[string]*sectionReader
	order    []section
}

// sectionReader is one section of a file. Its index is read at its first use.
type sectionReader struct {
	section

	f      *file
	load   sync.Once
	blocks []block
	err    error
}

// block is one line of an index.
type block struct {
	first       string
	off         int64
	stored, raw uint32
	sum         uint32
	codec       byte
}

func newFile(src source) (*file, error) {
	size := src.size()
	if size < int64(headerBytes+footerBytes) {
		return nil, damaged("it has %d bytes: it was cut short, or is no snapshot", size)
	}
	head := make([]byte, headerBytes)
	if err := src.read(head, 0); err != nil {
		return nil, err
	}
	if !bytes.Equal(head, header()) {
		if !bytes.HasPrefix(head, []byte(headerMagic)) {
			return nil, damaged("it does not begin as a snapshot does")
		}
		return nil, damaged("its beginning is damaged or of another version")
	}
	foot := make([]byte, footerBytes)
	if err := src.read(foot, size-int64(footerBytes)); err != nil {
		return nil, err
	}
	at, n, sum, err := decodeFooter(foot, size)
	if err != nil {
		return nil, err
	}
	table := make([]byte, n)
	if err := src.read(table, at); err != nil {
		return nil, err
	}
	if checksum(table) != sum {
		return nil, damaged("the checksum of its table differs")
	}
	f := &file{src: src, sections: map[string]*sectionReader{}}
	if f.order, err = decodeTable(table, size); err != nil {
		return nil, err
	}
	for _, s := range f.order {
		f.sections[s.name] = &sectionReader{section: s, f: f}
	}
	return f, nil
}

// ready reads the index, once.
func (s *sectionReader) ready() error {
	s.load.Do(func() { s.blocks, s.err = s.readIndex() })
	return s.err
}

func (s *sectionReader) readIndex() ([]block, error) {
	raw := make([]byte, s.indexBytes)
	if err := s.f.src.read(raw, s.index); err != nil {
		return nil, err
	}
	if checksum(raw) != s.indexSum {
		return nil, damaged("the checksum of the index of section %s differs", s.name)
	}
	c := &cursor{b: raw}
	blocks := make([]block, 0, s.blockCount)
	off, last := s.section.blocks, ""
	for range s.blockCount {
		b := block{first: c.text(MaxKeyBytes), off: off}
		stored, rawBytes := c.uvarint(), c.uvarint()
		codec := c.take(1)
		b.sum = c.uint32()
		if c.bad || b.first <= last && last != "" || stored > uint64(s.index-off) || rawBytes > maxBlockBytes || rawBytes/maxRatio > stored {
			return nil, damaged("the index of section %s is wrong", s.name)
		}
		b.stored, b.raw, b.codec = uint32(stored), uint32(rawBytes), codec[0]
		off, last = off+int64(stored), b.first
		blocks = append(blocks, b)
	}
	if len(c.b) > 0 {
		return nil, damaged("the index of section %s is wrong", s.name)
	}
	return blocks, nil
}

// find is the block that holds key if any does: the last one whose first key is not after it; -1 if key is before all.
func (s *sectionReader) find(key string) int {
	return sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].first > key }) - 1
}

// read returns the entries of a block, verified and unpacked.
func (s *sectionReader) read(i int) ([]byte, error) {
	b := s.blocks[i]
	stored := make([]byte, b.stored)
	if err := s.f.src.read(stored, b.off); err != nil {
		return nil, err
	}
	if checksum(stored) != b.sum {
		return nil, damaged("the checksum of block %d of section %s differs", i, s.name)
	}
	switch b.codec {
	case codecRaw:
		if b.stored != b.raw {
			return nil, damaged("block %d of section %s has another size than its index says", i, s.name)
		}
		return stored, nil
	case codecFlate:
		return s.inflate(i, stored, b.raw)
	}
	return nil, damaged("block %d of section %s is packed in a way that is not known", i, s.name)
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

func (s *sectionReader) inflate(i int, stored []byte, size uint32) ([]byte, error) {
	r, ok := inflaters.Get().(io.Reader)
	if !ok {
		return nil, fault.New(fault.Internal, "read snapshot: no inflater")
	}
	defer inflaters.Put(r)
	resetter, ok := r.(flate.Resetter)
	if !ok {
		return nil, fault.New(fault.Internal, "read snapshot: no inflater")
	}
	if err := resetter.Reset(bytes.NewReader(stored), nil); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "read snapshot")
	}
	out := make([]byte, size)
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, damaged("block %d of section %s cannot be unpacked", i, s.name)
	}
	var more [1]byte
	if n, err := r.Read(more[:]); n != 0 || err != io.EOF {
		return nil, damaged("block %d of section %s has another size than its index says", i, s.name)
	}
	return out, nil
}

// next cuts the first entry off a block's entries.
func next(b []byte) (key, value, rest []byte, ok bool) {
	c := &cursor{b: b}
	n := c.uvarint()
	if n == 0 || n > MaxKeyBytes {
		return nil, nil, nil, false
	}
	key = c.take(n)
	value = c.take(c.uvarint())
	return key, value, c.b, !c.bad
}
