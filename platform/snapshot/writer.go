package snapshot

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Writer makes one file from entries that come in order. Its memory is one block and the index: about 40 bytes and a key for
// every 16 KiB of entries. It is for one goroutine. After an error nothing more can be written.
type Writer struct {
	w   io.Writer
	off int64
	err error

	sections []section
	name     string
	last     []byte
	any      bool

	block      []byte
	first      []byte
	index      []byte
	blockCount uint64
	keyCount   uint64
	blocksAt   int64

	packed bytes.Buffer
	flate  *flate.Writer
}

// NewWriter starts a file on w, which it neither syncs nor closes.
func NewWriter(w io.Writer) *Writer {
	out := &Writer{w: w}
	out.flate, _ = flate.NewWriter(&out.packed, flate.DefaultCompression) // the level is known to be right
	out.write(header())
	return out
}

// Add appends an entry. The entries of one section come together and in strictly ascending order of the bytes of their keys:
// anything else is [fault.Invalid], as is a key, value or name beyond the limits.
func (w *Writer) Add(section, key string, value []byte) error {
	if w.err != nil {
		return w.err
	}
	if err := w.check(section, key, value); err != nil {
		w.err = err
		return err
	}
	if !w.any || section != w.name {
		w.endSection()
		w.name, w.any, w.last, w.blocksAt = section, true, w.last[:0], w.off
	}
	if len(w.block) == 0 {
		w.first = append(w.first[:0], key...)
	}
	w.block = appendText(w.block, key)
	w.block = append(binary.AppendUvarint(w.block, uint64(len(value))), value...)
	w.last = append(w.last[:0], key...)
	w.keyCount++
	if len(w.block) >= blockBytes {
		w.endBlock()
	}
	return w.err
}

func (w *Writer) check(section, key string, value []byte) error {
	switch {
	case section == "" || len(section) > MaxSectionBytes:
		return fault.New(fault.Invalid, "write snapshot: a section's name has %d bytes, not 1 to %d", len(section), MaxSectionBytes)
	case key == "" || len(key) > MaxKeyBytes:
		return fault.New(fault.Invalid, "write snapshot: a key of section %s has %d bytes, not 1 to %d", section, len(key), MaxKeyBytes)
	case len(value) > MaxValueBytes:
		return fault.New(fault.Invalid, "write snapshot: the value of %q in section %s has %d bytes, the most is %d", key, section, len(value), MaxValueBytes)
	}
	if w.any && section == w.name {
		if w.keyCount > 0 && key <= string(w.last) {
			return fault.New(fault.Invalid, "write snapshot: key %q of section %s does not come after %q", key, section, w.last)
		}
		return nil
	}
	for _, s := range w.sections {
		if s.name == section {
			return fault.New(fault.Invalid, "write snapshot: section %s was ended by another one", section)
		}
	}
	if len(w.sections) >= MaxSections-1 {
		return fault.New(fault.Invalid, "write snapshot: there are more than %d sections", MaxSections)
	}
	return nil
}

// Size is how many bytes were written until now.
func (w *Writer) Size() int64 { return w.off }

// Close writes index, table and footer. Only then the file is a snapshot.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.endSection()
	table := encodeTable(w.sections)
	at := w.off
	w.write(table)
	w.write(encodeFooter(at, table))
	if w.err != nil {
		return w.err
	}
	w.err = fault.New(fault.FailedPrecondition, "write snapshot: it is closed")
	return nil
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.off += int64(n)
	if err != nil {
		w.err = fault.Wrap(fault.CodeOf(err), err, "write snapshot")
	}
}

func (w *Writer) endBlock() {
	if len(w.block) == 0 {
		return
	}
	stored, codec := w.pack()
	w.index = appendText(w.index, string(w.first))
	w.index = binary.AppendUvarint(w.index, uint64(len(stored)))
	w.index = binary.AppendUvarint(w.index, uint64(len(w.block)))
	w.index = append(w.index, codec)
	w.index = binary.LittleEndian.AppendUint32(w.index, checksum(stored))
	w.blockCount++
	w.write(stored)
	w.block = w.block[:0]
}

// pack compresses the block, unless that gains less than an eighth.
func (w *Writer) pack() ([]byte, byte) {
	w.packed.Reset()
	w.flate.Reset(&w.packed)
	_, err := w.flate.Write(w.block)
	if closeErr := w.flate.Close(); err != nil || closeErr != nil || w.packed.Len() > len(w.block)/8*7 {
		return w.block, codecRaw
	}
	return w.packed.Bytes(), codecFlate
}

func (w *Writer) endSection() {
	if !w.any {
		return
	}
	w.endBlock()
	w.sections = append(w.sections, section{
		name: w.name, blocks: w.blocksAt, index: w.off, indexBytes: int64(len(w.index)), indexSum: checksum(w.index),
		blockCount: w.blockCount, keyCount: w.keyCount,
	})
	w.write(w.index)
	w.index, w.blockCount, w.keyCount, w.any = w.index[:0], 0, 0, false
}
