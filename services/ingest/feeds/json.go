package feeds

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// decode reads one JSON value into the struct that into points to. A field of a wrong type is left out and named in problem;
// anything else that is wrong is an error.
func decode(raw []byte, into any) (problem string, err error) {
	if len(raw) > MaxRecordBytes {
		return "", refuse("it has %d bytes, the most is %d", len(raw), MaxRecordBytes)
	}
	if tooDeep(raw) {
		return "", refuse("it is nested deeper than %d", MaxDepth)
	}
	err = json.Unmarshal(raw, into)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return "field " + clean(kind.Field, 80) + " is a " + clean(kind.Value, 40), nil
	case err != nil:
		return "", refuse("it is no JSON: %s", clean(err.Error(), 120))
	}
	return "", nil
}

// tooDeep looks at brackets outside of texts.
func tooDeep(raw []byte) bool {
	depth, text := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// scanner cuts a JSON stream into values without holding more than one.
type scanner struct {
	r     *bufio.Reader
	bytes int64
	limit int64
}

// maxField bounds the values beside the list that are kept.
const maxField = 64 << 10

// elements calls yield with each element of the list under key of the object that r begins with. The other fields that are
// short are returned. An object that ends too early is an error.
func elements(r io.Reader, key string, limit int64, yield func(raw []byte) error) (map[string]json.RawMessage, error) {
	s := &scanner{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
	fields := map[string]json.RawMessage{}
	found := false
	if c, err := s.next(); err != nil || c != '{' {
		return nil, s.failed(err)
	}
	for {
		c, err := s.next()
		if err != nil {
			return nil, s.failed(err)
		}
		switch c {
		case ',':
			continue
		case '}':
			if !found {
				return nil, refuse("it has no list %q: another format, or damaged", key)
			}
			return fields, nil
		case '"':
		default:
			return nil, s.failed(nil)
		}
		name, err := s.value(c, maxField)
		if err != nil {
			return nil, err
		}
		if c, err = s.next(); err != nil || c != ':' {
			return nil, s.failed(err)
		}
		list, err := s.field(strings.Trim(string(name), `"`), key, fields, yield)
		if err != nil {
			return nil, err
		}
		found = found || list
	}
}

// field reads the value of one field; it tells whether it was the list.
func (s *scanner) field(name, key string, fields map[string]json.RawMessage, yield func([]byte) error) (bool, error) {
	c, err := s.next()
	if err != nil {
		return false, s.failed(err)
	}
	if name == key && c == '[' {
		return true, s.list(yield)
	}
	raw, err := s.value(c, maxField)
	if err == nil && len(fields) < 64 {
		fields[name] = bytes.Clone(raw)
	}
	return false, err
}

func (s *scanner) list(yield func([]byte) error) error {
	for {
		c, err := s.next()
		if err != nil {
			return s.failed(err)
		}
		switch c {
		case ',':
			continue
		case ']':
			return nil
		}
		raw, err := s.value(c, MaxRecordBytes)
		if err != nil {
			return err
		}
		if err := yield(raw); err != nil {
			return err
		}
	}
}

// next is the next byte that is no space.
func (s *scanner) next() (byte, error) {
	for {
		c, err := s.byte()
		if err != nil || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, err
		}
	}
}

func (s *scanner) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if err != nil {
		return 0, err
	}
	if s.bytes++; s.bytes > s.limit {
		return 0, refuse("it has more than %d bytes", s.limit)
	}
	return c, nil
}

// value reads the value that begins with first.
func (s *scanner) value(first byte, limit int) ([]byte, error) {
	out := []byte{first}
	depth, text := 0, first == '"'
	if first == '{' || first == '[' {
		depth = 1
	}
	for depth > 0 || text {
		c, err := s.byte()
		if err != nil {
			return nil, s.failed(err)
		}
		if out = append(out, c); len(out) > limit {
			return nil, refuse("one value has more than %d bytes", limit)
		}
		switch {
		case text && c == '\\':
			if c, err = s.byte(); err != nil {
				return nil, s.failed(err)
			}
			out = append(out, c)
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return nil, refuse("it is nested deeper than %d", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if first == '"' || first == '{' || first == '[' {
		return out, nil
	}
	return s.literal(out)
}

// literal reads on to the end of a number, true, false or null.
func (s *scanner) literal(out []byte) ([]byte, error) {
	for len(out) < 64 {
		c, err := s.r.Peek(1)
		if err != nil || strings.IndexByte(",]} \n\r\t", c[0]) >= 0 {
			return out, nil //nolint:nilerr // the end is noticed by the next read
		}
		b, err := s.byte()
		if err != nil {
			return nil, s.failed(err)
		}
		out = append(out, b)
	}
	return nil, s.failed(nil)
}

func (s *scanner) failed(err error) error {
	switch {
	case err == nil:
		return refuse("it is no JSON at byte %d", s.bytes)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return refuse("it ends too early, after %d bytes", s.bytes)
	}
	return fault.Wrap(fault.CodeOf(err), err, "read after %d bytes", s.bytes)
}
