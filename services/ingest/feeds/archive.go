package feeds

import (
	"archive/zip"
	"errors"
	"io"
	"os"
	"path"
	"sort"
	"strings"
)

// Limits of an archive. Sizes that it declares are not believed: what comes out is counted.
const (
	// maxEntries is the most entries; the CVE list has 330,000.
	maxEntries = 2_000_000
	// maxInner bounds an archive within the archive, which goes to a file: the CVE list's has 650 MB.
	maxInner = 4 << 30
	// expansion is how much more may come out of an archive than it has, above a base: JSON packs 1:30 at best, DEFLATE's most
	// is 1:1032.
	expansion     = 100
	expansionBase = 64 << 20
)

// Archive is a zip file of records.
type Archive struct {
	files []*zip.File
	limit int64
	close func() error
}

// OpenArchive opens a zip file, or the zip file that is the only entry of one (the CVE list is published so). Entries that
// overlap, climb out of the archive, or are links make it hostile: it is refused whole. Space for an inner archive that is
// itself packed is taken in dir.
func OpenArchive(r io.ReaderAt, size int64, dir string) (*Archive, error) {
	a, err := openZip(r, size)
	if err != nil {
		return nil, err
	}
	if len(a.files) != 1 || !strings.HasSuffix(strings.ToLower(a.files[0].Name), ".zip") {
		return a, nil
	}
	inner := a.files[0]
	if inner.Method == zip.Store {
		off, err := inner.DataOffset()
		if err != nil || inner.CompressedSize64 > uint64(size) {
			return nil, refuse("its inner archive is damaged")
		}
		return openZip(io.NewSectionReader(r, off, int64(inner.CompressedSize64)), int64(inner.CompressedSize64))
	}
	return unpackInner(inner, dir)
}

// unpackInner puts the inner archive into a file without a name.
func unpackInner(inner *zip.File, dir string) (*Archive, error) {
	f, err := os.CreateTemp(dir, "inner-*.zip")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // it lives until it is closed
	src, err := inner.Open()
	if err == nil {
		var n int64
		n, err = io.Copy(f, io.LimitReader(src, maxInner+1))
		_ = src.Close() // the checksum was compared at its end
		if err == nil && n > maxInner {
			err = refuse("its inner archive has more than %d bytes", int64(maxInner))
		}
		if err == nil {
			var a *Archive
			if a, err = openZip(f, n); err == nil {
				a.close = f.Close
				return a, nil
			}
		}
	}
	_ = f.Close() // it has no name and is gone
	return nil, zipError(err)
}

func openZip(r io.ReaderAt, size int64) (*Archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, zipError(err)
	}
	if len(z.File) > maxEntries {
		return nil, refuse("it has more than %d entries", maxEntries)
	}
	a := &Archive{limit: expansionBase + expansion*size, close: func() error { return nil }}
	type extent struct{ from, to uint64 }
	extents := make([]extent, 0, len(z.File))
	for _, f := range z.File {
		mode := f.Mode()
		if f.Name != strings.TrimPrefix(path.Clean("/"+f.Name), "/") && !mode.IsDir() || strings.Contains(f.Name, `\`) {
			return nil, refuse("it is hostile: entry %q climbs out of it", clean(f.Name, 80))
		}
		if mode.IsDir() {
			continue
		}
		if !mode.IsRegular() {
			return nil, refuse("it is hostile: entry %q is a link", clean(f.Name, 80))
		}
		off, err := f.DataOffset()
		if err != nil {
			return nil, zipError(err)
		}
		extents = append(extents, extent{uint64(off), uint64(off) + f.CompressedSize64})
		a.files = append(a.files, f)
	}
	sort.Slice(extents, func(i, j int) bool { return extents[i].from < extents[j].from })
	for i, e := range extents {
		if e.to < e.from || i > 0 && extents[i-1].to > e.from {
			return nil, refuse("it is hostile: its entries overlap")
		}
	}
	return a, nil
}

// Len is the number of entries.
func (a *Archive) Len() int { return len(a.files) }

// Close releases the archive.
func (a *Archive) Close() error { return a.close() }

// Each calls yield for the entries whose names end in .json, from the position on. It returns the position after the last one
// that yield took without error. An entry that is too large is told to skip; one that is damaged ends the reading.
func (a *Archive) Each(from int, yield func(name string, raw []byte) error, skip func(record, why string)) (int, error) {
	var buf []byte
	for i := from; i < len(a.files); i++ {
		f := a.files[i]
		if !strings.HasSuffix(f.Name, ".json") {
			continue
		}
		raw, err := a.read(f, buf)
		if errors.Is(err, errTooLarge) {
			skip(clean(path.Base(f.Name), 80), "it has more than 8 MiB")
			continue
		}
		if err != nil {
			return i, err
		}
		buf = raw
		if err := yield(f.Name, raw); err != nil {
			return i, err
		}
	}
	return len(a.files), nil
}

var errTooLarge = errors.New("entry is too large")

func (a *Archive) read(f *zip.File, buf []byte) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, zipError(err)
	}
	defer func() { _ = r.Close() }()
	out := buf[:0]
	for {
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if a.limit -= int64(n); a.limit < 0 {
			return nil, refuse("it is hostile: much more comes out of it than JSON can be packed")
		}
		if len(out) > MaxRecordBytes {
			return nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, zipError(err)
		}
	}
}

// zipError says in one line what is wrong with an archive.
func zipError(err error) error {
	if os.IsPermission(err) || os.IsNotExist(err) {
		return err
	}
	return refuse("it is no zip archive or is damaged: %s", clean(err.Error(), 120))
}
