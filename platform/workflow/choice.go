package workflow

import (
	"encoding/json"
	"strings"
	"time"
)

// rule is a compiled Choice Rule.
type rule func(s *scope) (bool, error)

func allOf(rules []rule) rule {
	return func(s *scope) (bool, error) {
		for _, r := range rules {
			if ok, err := r(s); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
}

func anyOf(rules []rule) rule {
	return func(s *scope) (bool, error) {
		for _, r := range rules {
			if ok, err := r(s); err != nil || ok {
				return ok, err
			}
		}
		return false, nil
	}
}

func not(r rule) rule {
	return func(s *scope) (bool, error) {
		ok, err := r(s)
		return !ok && err == nil, err
	}
}

// test is a rule on the value of the variable. A variable that finds nothing is a States.Runtime.
func test(variable *path, holds func(v any) bool) rule {
	return func(s *scope) (bool, error) {
		v, ok := variable.get(s)
		if !ok {
			return false, failed(ErrorRuntime, "Variable %s finds nothing", variable.text)
		}
		return holds(v), nil
	}
}

func present(variable *path, want bool) rule {
	return func(s *scope) (bool, error) {
		v, ok := variable.get(s)
		if found, isList := v.([]any); ok && variable.many && isList {
			ok = len(found) > 0
		}
		return ok == want, nil
	}
}

// compareTo is a rule that compares the variable with what another path finds.
func compareTo(variable, other *path, compare comparison) rule {
	return func(s *scope) (bool, error) {
		v, ok := variable.get(s)
		if !ok {
			return false, failed(ErrorRuntime, "Variable %s finds nothing", variable.text)
		}
		w, ok := other.get(s)
		if !ok {
			return false, failed(ErrorRuntime, "path %s of a comparison finds nothing", other.text)
		}
		return compare(v, w), nil
	}
}

// comparison is false unless both values are of its type.
type comparison func(a, b any) bool

// comparisonOf gives the comparison behind an operator such as NumericLessThanEquals, without
// "Path", and a check that a constant is of its type.
func comparisonOf(operator string) (compare comparison, valid func(any) bool, ok bool) {
	for _, kind := range []struct {
		prefix string
		order  func(a, b any) (int, bool)
	}{{"String", orderStrings}, {"Numeric", orderNumbers}, {"Timestamp", orderTimestamps}, {"Boolean", orderBooleans}} {
		relation, found := strings.CutPrefix(operator, kind.prefix)
		if !found {
			continue
		}
		holds := relationOf(relation)
		if holds == nil || kind.prefix == "Boolean" && relation != "Equals" {
			return nil, nil, false
		}
		valid = func(v any) bool { _, ok := kind.order(v, v); return ok }
		return func(a, b any) bool { n, ok := kind.order(a, b); return ok && holds(n) }, valid, true
	}
	return nil, nil, false
}

func relationOf(name string) func(order int) bool {
	switch name {
	case "Equals":
		return func(n int) bool { return n == 0 }
	case "LessThan":
		return func(n int) bool { return n < 0 }
	case "LessThanEquals":
		return func(n int) bool { return n <= 0 }
	case "GreaterThan":
		return func(n int) bool { return n > 0 }
	case "GreaterThanEquals":
		return func(n int) bool { return n >= 0 }
	}
	return nil
}

func orderStrings(a, b any) (int, bool) {
	x, okX := a.(string)
	y, okY := b.(string)
	return strings.Compare(x, y), okX && okY
}

// orderNumbers compares as the States Language promises: exactly within IEEE 754 binary64.
func orderNumbers(a, b any) (int, bool) {
	x, okX := a.(json.Number)
	y, okY := b.(json.Number)
	if !okX || !okY {
		return 0, false
	}
	f, errF := x.Float64()
	g, errG := y.Float64()
	switch {
	case errF != nil || errG != nil:
		return 0, false
	case f < g:
		return -1, true
	case f > g:
		return 1, true
	}
	return 0, true
}

func orderBooleans(a, b any) (int, bool) {
	x, okX := a.(bool)
	y, okY := b.(bool)
	if x == y {
		return 0, okX && okY
	}
	return 1, okX && okY
}

func orderTimestamps(a, b any) (int, bool) {
	x, okX := parseTimestamp(a)
	y, okY := parseTimestamp(b)
	return x.Compare(y), okX && okY
}

// parseTimestamp reads RFC 3339 with upper-case T and Z, as the States Language restricts it.
func parseTimestamp(v any) (time.Time, bool) {
	s, ok := v.(string)
	if !ok || strings.ToUpper(s) != s {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil
}

// isType gives the type test behind IsNull and its like.
func isType(operator string) func(v any) bool {
	switch operator {
	case "IsNull":
		return func(v any) bool { return v == nil }
	case "IsString":
		return func(v any) bool { _, ok := v.(string); return ok }
	case "IsNumeric":
		return func(v any) bool { _, ok := v.(json.Number); return ok }
	case "IsBoolean":
		return func(v any) bool { _, ok := v.(bool); return ok }
	case "IsTimestamp":
		return func(v any) bool { _, ok := parseTimestamp(v); return ok }
	}
	return nil
}

// parsePattern splits a StringMatches pattern at its wildcards, escapes taken off.
func parsePattern(pattern string) (parts []string, ok bool) {
	var part strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			parts = append(parts, part.String())
			part.Reset()
		case '\\':
			if i++; i == len(pattern) || pattern[i] != '*' && pattern[i] != '\\' {
				return nil, false
			}
			part.WriteByte(pattern[i])
		default:
			part.WriteByte(c)
		}
	}
	return append(parts, part.String()), true
}

// matches compares a string with the parts of a pattern in linear time: the first and the last are
// fixed, those between are found from the left.
func matches(parts []string, s string) bool {
	if len(parts) == 1 {
		return s == parts[0]
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		if _, s, ok = strings.Cut(s, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
