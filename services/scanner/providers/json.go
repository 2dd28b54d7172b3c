package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	// maxList bounds the elements that are kept of any list in an answer: bytes on the wire are bounded, but a list of "{}" is
	// twenty times as large in memory.
	maxList = 50_000
	// maxText bounds a text in bytes.
	maxText = 8 << 10
)

var (
	errText  = errors.New("text that is too long")
	errShape = errors.New("not what is documented")
)

// decode reads one JSON value into the documented type. Fields that are not documented are passed over, because APIs grow; one of
// another type than documented is an error.
func decode[T any](body []byte) (T, error) {
	var out T
	if string(bytes.TrimSpace(body)) == "null" {
		return out, errShape
	}
	err := json.Unmarshal(body, &out)
	return out, err
}

// list is a list of bounded length: what comes after its bound is checked to be JSON, and dropped.
type list[T any] struct {
	items []T
	cut   bool
}

// UnmarshalJSON reads a list or null.
func (l *list[T]) UnmarshalJSON(raw []byte) error {
	*l = list[T]{}
	d := json.NewDecoder(bytes.NewReader(raw))
	open, err := d.Token()
	if err != nil || open == nil {
		return err
	}
	if open != json.Delim('[') {
		return errShape
	}
	for d.More() {
		if len(l.items) == maxList {
			l.cut = true
			return nil // json.Unmarshal has checked the rest
		}
		var item T
		if err := d.Decode(&item); err != nil {
			return err
		}
		l.items = append(l.items, item)
	}
	return nil
}

// text is a string of bounded length, or null.
type text string

// UnmarshalJSON refuses a text that nobody writes.
func (t *text) UnmarshalJSON(raw []byte) error {
	if len(raw) > maxText {
		return errText
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	*t = ""
	if s != nil {
		*t = text(*s)
	}
	return nil
}

// texts are the texts of a list.
func (l list[T]) texts(of func(T) text) []string {
	out := make([]string, 0, len(l.items))
	for _, item := range l.items {
		out = append(out, string(of(item)))
	}
	return out
}

func same(t text) text { return t }

// unix is a time in seconds; 0 and what no calendar has are the zero time.
func unix(seconds int64) time.Time {
	if seconds <= 0 || seconds > 1<<37 { // the year 6325
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// stamp reads the times of Shodan ("2026-11-20T08:49:35.190817", without a zone: UTC) and of RFC 3339. What is neither is zero.
func stamp(t text) time.Time {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05", "2006-01-02"} {
		if parsed, err := time.Parse(form, strings.TrimSpace(string(t))); err == nil && parsed.Year() >= 1980 && parsed.Year() < 3000 {
			return parsed.UTC()
		}
	}
	return time.Time{}
}

// asn reads "AS15169".
func asn(t text) uint32 {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToUpper(string(t)), "AS"), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
