package imports

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// walker streams one JSON value: what lies at a path that somebody wants is decoded whole, everything else is passed over
// token by token, so that nothing is kept.
type walker struct {
	report *report
	source *source
	dec    *json.Decoder
	// raw is what the value at hand is made of; its memory is used again.
	raw json.RawMessage
	walkHooks
}

// walkHooks are what is wanted of a value, by path: names joined with dots, "[]" for the elements of an array:
// "runs[].results[]".
type walkHooks struct {
	at map[string]func(line int, decode func(any) error) error
	// enter are called when the value at a path begins, which is then walked.
	enter map[string]func() error
}

// walk reads the whole report as one JSON value.
func (r *report) walk(ctx context.Context, at map[string]func(line int, decode func(any) error) error) error {
	return r.walkWith(ctx, walkHooks{at: at})
}

func (r *report) walkWith(ctx context.Context, hooks walkHooks) error {
	s, err := r.begin(ctx)
	if err != nil {
		return err
	}
	s.json = true
	w := &walker{report: r, source: s, dec: json.NewDecoder(s), walkHooks: hooks}
	if err := w.value(""); err != nil {
		return cutOff(err)
	}
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			return fmt.Errorf("more follows after its end")
		}
		return err
	}
	return nil
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutOff
	}
	return err
}

// value reads the value at a path.
func (w *walker) value(path string) error {
	if f := w.at[path]; f != nil {
		return w.wanted(f)
	}
	if f := w.enter[path]; f != nil {
		if err := f(); err != nil {
			return err
		}
	}
	token, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		err = w.object(path)
	case json.Delim('['):
		err = w.array(path)
	default:
		w.source.finished(w.dec.InputOffset())
		return nil
	}
	if err != nil {
		return err
	}
	_, err = w.dec.Token() // the end of it
	w.source.finished(w.dec.InputOffset())
	return err
}

func (w *walker) object(path string) error {
	for w.dec.More() {
		key, err := w.dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if path != "" {
			name = path + "." + name
		}
		if err := w.value(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) array(path string) error {
	for w.dec.More() {
		if err := w.value(path + "[]"); err != nil {
			return err
		}
	}
	return nil
}

// wanted hands a value over. One that has not the shape that it should have is a problem, and the reading goes on behind it.
func (w *walker) wanted(f func(int, func(any) error) error) error {
	line := w.source.line(w.start())
	if err := w.dec.Decode(&w.raw); err != nil {
		return err
	}
	w.source.finished(w.dec.InputOffset())
	if width(w.raw) > maxRecordMarks {
		return errWide
	}
	err := f(line, func(v any) error { return json.Unmarshal(w.raw, v) })
	if shape(err) {
		return w.report.problem(line, "not understood: "+err.Error())
	}
	return err
}

// width is how many marks of elements a value has.
func width(raw []byte) int {
	var s jsonState
	_ = s.take(raw) // the source has refused what is too deep
	return s.elements
}

// start is where the next value begins: behind the separators and white space that the decoder has not passed yet.
func (w *walker) start() int64 {
	at := w.dec.InputOffset()
	ahead, ok := w.dec.Buffered().(*bytes.Reader)
	if !ok {
		return at
	}
	for {
		b, err := ahead.ReadByte()
		if err != nil || !strings.ContainsRune(" \t\r\n,:", rune(b)) {
			return at
		}
		at++
	}
}

// shape says whether an error is about the shape of one value, which the decoder has passed.
func shape(err error) bool {
	var t *json.UnmarshalTypeError
	return errors.As(err, &t)
}

// each calls f with every object of a report that is a list of objects: one a line, or one array.
func (r *report) each(ctx context.Context, f func(line int, decode func(any) error) error) error {
	s, err := r.begin(ctx)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(s, 64<<10)
	first, err := firstByte(in)
	if errors.Is(err, io.EOF) {
		return errNotFormat
	}
	if err != nil {
		return err
	}
	if first == '[' {
		return r.walk(ctx, map[string]func(int, func(any) error) error{"[]": f})
	}
	return r.lines(s, in, f)
}

// firstByte is the first byte that is no white space; it stays in the reader.
func firstByte(in *bufio.Reader) (byte, error) {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n\ufeff", rune(b)) && b < 0x80 {
			return b, in.UnreadByte()
		}
	}
}

// lines reads one object a line. A line that is none is a problem and stops nothing.
func (r *report) lines(s *source, in *bufio.Reader, f func(int, func(any) error) error) error {
	offset := s.read - int64(in.Buffered())
	for n := 0; ; n++ {
		if n > MaxElements || s.state.elements > maxJSONMarks {
			return errElements
		}
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		line := s.line(offset)
		offset += int64(len(text))
		s.finished(offset)
		if text := bytes.TrimSpace(text); len(text) > 0 {
			if err := r.oneLine(s, line, text, f); err != nil {
				return err
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the end
		}
	}
}

func (r *report) oneLine(s *source, line int, text []byte, f func(int, func(any) error) error) error {
	var state jsonState // of its own: a line that is broken leaves nothing open for the next
	if err := state.take(text); err != nil {
		return err
	}
	if s.state.elements += state.elements; state.elements > maxRecordMarks {
		return errWide
	}
	var broken error
	err := f(line, func(v any) error {
		broken = json.Unmarshal(text, v)
		return broken
	})
	if broken != nil {
		return r.problem(line, "not understood: "+broken.Error())
	}
	return err
}
