package imports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
)

// errTooLarge and the like are one line each; Parse adds format and line.
var (
	errTooLarge  = fmt.Errorf("it is larger than %d bytes: split it", MaxBytes)
	errDepth     = fmt.Errorf("it is nested deeper than %d levels", MaxDepth)
	errWide      = fmt.Errorf("one of its records has more than %d elements: split it", MaxRecordElements)
	errElements  = fmt.Errorf("it has more than %d elements: split it", MaxElements)
	errRecords   = fmt.Errorf("it has more than %d results: split it", MaxRecords)
	errProblems  = fmt.Errorf("more than %d of its entries are not understood: name the format that it has", MaxProblems)
	errCutOff    = errors.New("it ends in the middle")
	errNotFormat = errors.New("it is not in this format")
)

// source hands out the bytes of a report, counts them and knows their lines.
type source struct {
	ctx context.Context
	raw io.Reader
	// read is how many bytes were handed out, allowed how many may be before the record at hand, of at most bound bytes, is
	// finished. No reader gets further ahead than that, so the size of a record is also the size of its buffer.
	read, allowed, bound int64
	// lines are offsets behind the line ends that were handed out and not passed yet; passedLines were before them.
	lines       []int64
	passedLines int
	// json switches on the count of depth and elements, which encoding/json does not bound as we want it.
	json   bool
	state  jsonState
	failed error
}

func newSource(ctx context.Context, raw io.Reader) *source {
	s := &source{ctx: ctx, raw: raw}
	s.records(MaxRecordBytes)
	return s
}

// records sets how large a record may be.
func (s *source) records(bound int64) { s.bound, s.allowed = bound, s.read+bound }

// Read hands out bytes until a bound is broken.
func (s *source) Read(p []byte) (int, error) {
	if s.failed != nil {
		return 0, s.failed
	}
	if err := s.ctx.Err(); err != nil {
		return 0, passed{err}
	}
	// Who asks for more at the end of what is allowed has not found the end of the record. It may be that of the report.
	n, err := s.raw.Read(p[:min(int64(len(p)), max(s.allowed-s.read, 1))])
	for i, b := range p[:n] {
		if b == '\n' {
			s.lines = append(s.lines, s.read+int64(i)+1)
		}
	}
	s.read += int64(n)
	switch {
	case s.read > MaxBytes:
		s.failed = errTooLarge
	case s.read > s.allowed:
		s.failed = fmt.Errorf("one of its records is larger than %d bytes: split it", s.bound)
	case s.json:
		s.failed = s.state.take(p[:n])
	}
	if s.failed != nil {
		return 0, s.failed
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, passed{err}
	}
	return n, err
}

// finished says that all before an offset was used: the next record may be as large again.
func (s *source) finished(offset int64) { s.allowed = offset + s.bound }

// line of an offset. Offsets only grow, so lines that were passed are forgotten.
func (s *source) line(offset int64) int {
	i := sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset })
	s.passedLines += i
	s.lines = s.lines[i:]
	return s.passedLines + 1
}

func (s *source) lineAtEnd() int { return s.passedLines + len(s.lines) + 1 }

// jsonState counts depth and elements of JSON as its bytes pass. It does not check the syntax: the decoder does.
type jsonState struct {
	text, escaped bool
	depth         int
	elements      int
	// arrays has a bit for each level that is an array; marked says that the element of one at hand has marks of its own.
	arrays uint64
	marked bool
}

func (s *jsonState) take(p []byte) error {
	for _, b := range p {
		switch {
		case s.escaped:
			s.escaped = false
		case s.text:
			s.escaped, s.text = b == '\\', b != '"'
		case b == '"':
			s.text, s.marked = true, true
			s.elements++
		case b == '{' || b == '[':
			s.open(b == '[')
		case b == '}' || b == ']':
			s.depth--
			s.marked = true
		case b == ',':
			s.comma()
		}
		if s.depth > MaxDepth {
			return errDepth
		}
	}
	if s.elements > maxJSONMarks {
		return errElements
	}
	return nil
}

func (s *jsonState) open(array bool) {
	s.depth++
	s.elements++
	s.marked = false
	bit := uint64(1) << (s.depth & (MaxDepth - 1)) // deeper ones are refused
	if s.arrays &^= bit; array {
		s.arrays |= bit
	}
}

// comma makes three marks of every element of an array: a bare number has no other, anything else has begun with one.
func (s *jsonState) comma() {
	switch {
	case s.arrays&(1<<(s.depth&(MaxDepth-1))) == 0:
		s.elements++
	case s.marked:
		s.elements += 2
	default:
		s.elements += 3
	}
	s.marked = false
}

// maxJSONMarks bounds the marks that begin or separate elements: a member of an object has up to three of them (two texts, a
// comma).
const (
	maxJSONMarks   = 3 * MaxElements
	maxRecordMarks = 3 * MaxRecordElements
)
