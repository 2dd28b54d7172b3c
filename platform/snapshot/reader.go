package snapshot

import (
	"errors"
	"iter"
	"sort"
	"sync/atomic"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Reader reads one snapshot, of one file or several. It may be used by many goroutines at once. Every block is checked
// against its checksum when it is read: what is damaged is [fault.DataLoss], whatever else the snapshot holds stays readable.
type Reader struct {
	name   string
	files  []*file
	parts  map[string][]*sectionReader // of each section, in order of their first keys
	cache  cache
	closed atomic.Bool
}

// Entry is one key with its value.
type Entry struct {
	Key string
	// Value must not be changed; it stays valid.
	Value []byte
}

// Section says what a snapshot holds under one name.
type Section struct {
	Name string
	Keys uint64
}

// Open opens a file: it reads the header and the table of sections, and the rest as it is asked for. A file that is no
// snapshot is [fault.DataLoss], one of another version [fault.FailedPrecondition].
func Open(path string) (*Reader, error) {
	src, err := openSource(path)
	if err != nil {
		return nil, fault.Wrap(fault.CodeOf(err), err, "open snapshot %s", path)
	}
	return newReader(path, src)
}

// OpenBytes opens a file that is in memory. data must not be changed until the reader is closed.
func OpenBytes(data []byte) (*Reader, error) { return newReader("in memory", memory(data)) }

// newReader makes a reader of whole files and takes their sources over, also in case of an error.
func newReader(name string, sources ...source) (*Reader, error) {
	r := &Reader{name: name, parts: map[string][]*sectionReader{}}
	for i, src := range sources {
		f, err := newFile(src)
		if err != nil {
			for _, rest := range sources[i:] {
				_ = rest.close() // the error before it says more
			}
			_ = r.Close()
			return nil, r.failed("open", err)
		}
		r.files = append(r.files, f)
		for _, s := range f.order {
			if s.blockCount > 0 {
				r.parts[s.name] = append(r.parts[s.name], f.sections[s.name])
			}
		}
	}
	if err := r.arrange(); err != nil {
		_ = r.Close()
		return nil, r.failed("open", err)
	}
	return r, nil
}

// arrange brings the parts of sections of several files into the order of their keys, for which it needs their indexes.
func (r *Reader) arrange() error {
	for _, parts := range r.parts {
		if len(parts) == 1 {
			continue
		}
		for _, p := range parts {
			if err := p.ready(); err != nil {
				return err
			}
		}
		sort.Slice(parts, func(i, j int) bool { return parts[i].blocks[0].first < parts[j].blocks[0].first })
		for i, p := range parts[1:] {
			before := parts[i].blocks
			if before[len(before)-1].first >= p.blocks[0].first {
				return damaged("two of its files hold the same range of section %s", p.name)
			}
		}
	}
	return nil
}

// Sections lists what the snapshot holds, by name.
func (r *Reader) Sections() []Section {
	var out []Section
	for name, parts := range r.parts {
		s := Section{Name: name}
		for _, p := range parts {
			s.Keys += p.keyCount
		}
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Get returns the value of a key, [fault.NotFound] if the section has none. The value belongs to the caller.
func (r *Reader) Get(section, key string) ([]byte, error) {
	if r.closed.Load() {
		return nil, r.failed("read", errClosed())
	}
	s, err := r.part(section, key)
	if err != nil {
		return nil, r.failed("read", err)
	}
	if s != nil {
		if i := s.find(key); i >= 0 {
			value, ok, err := r.inBlock(s, i, key)
			if err != nil {
				return nil, r.failed("read", err)
			}
			if ok {
				return value, nil
			}
		}
	}
	return nil, fault.New(fault.NotFound, "read snapshot: section %s has no key %q", section, key)
}

// part is the part of a section whose range of keys holds key; nil if there is none.
func (r *Reader) part(section, key string) (*sectionReader, error) {
	parts := r.parts[section]
	if len(parts) == 0 {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	i := 0
	if len(parts) > 1 {
		if i = sort.Search(len(parts), func(i int) bool { return parts[i].blocks[0].first > key }) - 1; i < 0 {
			return nil, nil //nolint:nilnil // absence is an answer here
		}
	}
	return parts[i], parts[i].ready()
}

func (r *Reader) inBlock(s *sectionReader, i int, key string) ([]byte, bool, error) {
	entries, err := r.entries(s, i)
	if err != nil {
		return nil, false, err
	}
	for len(entries) > 0 {
		k, v, rest, ok := next(entries)
		if !ok {
			return nil, false, damaged("block %d of section %s is wrong", i, s.name)
		}
		if string(k) == key {
			return append([]byte{}, v...), true, nil
		}
		if string(k) > key {
			break
		}
		entries = rest
	}
	return nil, false, nil
}

func (r *Reader) entries(s *sectionReader, i int) ([]byte, error) {
	at := place{s, i}
	if b, ok := r.cache.get(at); ok {
		return b, nil
	}
	b, err := s.read(i)
	if err == nil {
		r.cache.put(at, b)
	}
	return b, err
}

// Keys are the keys of a section that begin with prefix, in order. An error ends the iteration.
func (r *Reader) Keys(section, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for e, err := range r.Entries(section, prefix) {
			if !yield(e.Key, err) {
				return
			}
		}
	}
}

// Entries are the entries of a section whose keys begin with prefix, in order of the keys. An error ends the iteration.
func (r *Reader) Entries(section, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, s := range r.parts[section] {
			if more, err := r.walk(s, prefix, yield); err != nil {
				yield(Entry{}, r.failed("read", err))
				return
			} else if !more {
				return
			}
		}
	}
}

// walk yields the entries of one part; it tells whether the next part is to be looked at.
func (r *Reader) walk(s *sectionReader, prefix string, yield func(Entry, error) bool) (bool, error) {
	if err := s.ready(); err != nil {
		return false, err
	}
	for i := max(s.find(prefix), 0); i < len(s.blocks); i++ {
		if r.closed.Load() {
			return false, errClosed()
		}
		entries, err := s.read(i) // not through the cache: a walk would empty it
		if err != nil {
			return false, err
		}
		for len(entries) > 0 {
			k, v, rest, ok := next(entries)
			if !ok {
				return false, damaged("block %d of section %s is wrong", i, s.name)
			}
			entries = rest
			key := string(k)
			if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				if !yield(Entry{Key: key, Value: v}, nil) {
					return false, nil
				}
			} else if key > prefix {
				return false, nil
			}
		}
	}
	return true, nil
}

// Close releases the files. Reads that are under way finish or fail with [fault.FailedPrecondition]; closing again is no error.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.src.close())
	}
	return errors.Join(errs...)
}

func errClosed() error { return fault.New(fault.FailedPrecondition, "it is closed") }

func (r *Reader) failed(verb string, err error) error {
	return fault.Wrap(fault.CodeOf(err), err, "%s snapshot %s", verb, r.name)
}
