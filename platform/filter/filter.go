// Package filter reads the filter texts of list methods: terms such as `severity >= HIGH` joined by AND, the part of AIP-160
// (google.aip.dev/160) that can be answered page by page without a query planner. It refuses OR, NOT, functions and nesting.
package filter

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// MaxTerms bounds the terms of one filter.
const MaxTerms = 16

// Field says how one field of T is compared. The result is negative, zero or positive as the field is below, equal to or
// above the literal; ok is false if the literal cannot be one.
type Field[T any] struct {
	parse func(literal string) (compare func(T) int, ok bool)
	// ordered fields know <, <=, >, >=; all know = and !=.
	ordered bool
	want    string
}

// Fields are the fields that a filter over T may name.
type Fields[T any] map[string]Field[T]

// Text compares text; literal may end in * to match a prefix.
func Text[T any](get func(T) string) Field[T] {
	return Field[T]{want: "a text", parse: func(literal string) (func(T) int, bool) {
		if prefix, ok := strings.CutSuffix(literal, "*"); ok {
			return func(v T) int {
				if strings.HasPrefix(get(v), prefix) {
					return 0
				}
				return 1
			}, true
		}
		return func(v T) int { return cmp.Compare(get(v), literal) }, true
	}}
}

// Number compares numbers.
func Number[T any](get func(T) float64) Field[T] {
	return Field[T]{want: "a number", ordered: true, parse: func(literal string) (func(T) int, bool) {
		n, err := strconv.ParseFloat(literal, 64)
		return func(v T) int { return cmp.Compare(get(v), n) }, err == nil
	}}
}

// Bool compares with true or false.
func Bool[T any](get func(T) bool) Field[T] {
	return Field[T]{want: "true or false", parse: func(literal string) (func(T) int, bool) {
		b, err := strconv.ParseBool(literal)
		return func(v T) int {
			if get(v) == b {
				return 0
			}
			return 1
		}, err == nil
	}}
}

// Enum compares with a value of an enum by name, without its prefix and in any case; values are ordered by number.
func Enum[T any](prefix string, values map[string]int32, get func(T) int32) Field[T] {
	names := slices.SortedFunc(maps.Keys(values), func(a, b string) int { return cmp.Compare(values[a], values[b]) })
	short := make([]string, 0, len(names))
	for _, n := range names {
		if values[n] != 0 {
			short = append(short, strings.TrimPrefix(n, prefix))
		}
	}
	return Field[T]{want: "one of " + strings.Join(short, ", "), ordered: true, parse: func(literal string) (func(T) int, bool) {
		name := strings.ToUpper(literal)
		n, ok := values[name]
		if !ok {
			n, ok = values[prefix+name]
		}
		return func(v T) int { return cmp.Compare(get(v), n) }, ok
	}}
}

// Parse reads a filter. An empty one matches all. The error names the term and what would be right, and matches
// fault.Invalid with the field violation "filter".
func Parse[T any](fields Fields[T], text string) (func(T) bool, error) {
	tokens, err := tokenize(text)
	if err != nil {
		return nil, invalid(err.Error())
	}
	var terms []func(T) bool
	for len(tokens) > 0 {
		if len(terms) > 0 {
			if !strings.EqualFold(tokens[0].text, "AND") || tokens[0].quoted {
				return nil, invalid("terms are joined by AND, not by " + strconv.Quote(tokens[0].text))
			}
			tokens = tokens[1:]
		}
		if len(tokens) < 3 {
			return nil, invalid("a term has a field, an operator and a value, such as state = OPEN")
		}
		if len(terms) == MaxTerms {
			return nil, invalid("at most " + strconv.Itoa(MaxTerms) + " terms are allowed")
		}
		term, err := compile(fields, tokens[0].text, tokens[1].text, tokens[2].text)
		if err != nil {
			return nil, err
		}
		terms, tokens = append(terms, term), tokens[3:]
	}
	return func(v T) bool {
		for _, t := range terms {
			if !t(v) {
				return false
			}
		}
		return true
	}, nil
}

func compile[T any](fields Fields[T], name, op, literal string) (func(T) bool, error) {
	f, ok := fields[name]
	if !ok {
		return nil, invalid(strconv.Quote(name) + " is not a field; use " + strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
	}
	compare, ok := f.parse(literal)
	if !ok {
		return nil, invalid(name + " takes " + f.want + ", not " + strconv.Quote(literal))
	}
	holds, ok := operators[op]
	if !ok || !f.ordered && op != "=" && op != "!=" {
		return nil, invalid(name + " cannot be compared by " + strconv.Quote(op))
	}
	return func(v T) bool { return holds(compare(v)) }, nil
}

var operators = map[string]func(int) bool{
	"=":  func(c int) bool { return c == 0 },
	"!=": func(c int) bool { return c != 0 },
	"<":  func(c int) bool { return c < 0 },
	"<=": func(c int) bool { return c <= 0 },
	">":  func(c int) bool { return c > 0 },
	">=": func(c int) bool { return c >= 0 },
}

func invalid(why string) error {
	return fault.WithField(fault.New(fault.Invalid, "read filter: %s", why), "filter", why)
}

type token struct {
	text   string
	quoted bool
}

func tokenize(text string) ([]token, error) {
	var out []token
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			i++
		case c == '"':
			end := strings.IndexByte(text[i+1:], '"')
			if end < 0 {
				return nil, fault.New(fault.Invalid, "a quotation mark is not closed")
			}
			out = append(out, token{text[i+1 : i+1+end], true})
			i += end + 2
		case strings.IndexByte("=<>!", c) >= 0:
			n := 1
			if i+1 < len(text) && text[i+1] == '=' {
				n = 2
			}
			out = append(out, token{text[i : i+n], false})
			i += n
		default:
			end := strings.IndexAny(text[i:], " \t=<>!\"")
			if end < 0 {
				end = len(text) - i
			}
			out = append(out, token{text[i : i+end], false})
			i += end
		}
	}
	return out, nil
}
