package workflow

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxPathBytes bounds a path, far above what anyone writes.
const maxPathBytes = 1024

// path is a compiled Path of the States Language. "$" is the data, "$$" the Context Object. Steps
// are .name, ['name'], [n], [-n], [*] and .*; a backslash takes away the meaning of the character
// behind it in a .name. Filters, slices, unions and deep scan are not in the subset.
type path struct {
	text    string
	context bool
	steps   []step
	many    bool // has a wildcard, so it selects a list
}

type step struct {
	kind  stepKind
	name  string
	index int
}

type stepKind int

const (
	byName stepKind = iota
	byIndex
	byWildcard
)

// scope is what paths are applied to.
type scope struct {
	data    any
	context func() any // the Context Object, built when it is first asked for
}

// get applies the path. A path with a wildcard always finds a list, of what its steps behind the
// wildcard found; ok is false if a step found nothing before any wildcard.
func (p *path) get(s *scope) (value any, ok bool) {
	root := s.data
	if p.context {
		root = s.context()
	}
	if !p.many {
		return walk(root, p.steps)
	}
	found := []any{}
	if !p.collect(root, p.steps, &found, false) {
		return nil, false
	}
	return found, true
}

func walk(v any, steps []step) (any, bool) {
	for _, s := range steps {
		var ok bool
		if v, ok = s.of(v); !ok {
			return nil, false
		}
	}
	return v, true
}

// of takes one definite step.
func (s step) of(v any) (any, bool) {
	switch s.kind {
	case byName:
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		v, ok = object[s.name]
		return v, ok
	default:
		list, ok := v.([]any)
		i := s.index
		if i < 0 {
			i += len(list)
		}
		if !ok || i < 0 || i >= len(list) {
			return nil, false
		}
		return list[i], true
	}
}

// collect gathers what the steps find. Behind a wildcard, what has no such field is left out.
func (p *path) collect(v any, steps []step, found *[]any, behind bool) bool {
	for i, s := range steps {
		if s.kind != byWildcard {
			var ok bool
			if v, ok = s.of(v); !ok {
				return behind
			}
			continue
		}
		for _, child := range children(v) {
			p.collect(child, steps[i+1:], found, true)
		}
		return true
	}
	*found = append(*found, v)
	return true
}

// children are the elements of a list, or the values of an object in the order of their names.
func children(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		out := make([]any, 0, len(v))
		for _, name := range sortedKeys(v) {
			out = append(out, v[name])
		}
		return out
	}
	return nil
}

// put gives a copy of raw in which the value lies at the path; everything off the path is shared
// with raw. Objects on the way are made if they are missing. Steps are names only.
func (p *path) put(raw, value any) (any, error) {
	if len(p.steps) == 0 {
		return value, nil
	}
	return putAt(raw, true, p.steps, value, p.text)
}

func putAt(at any, present bool, steps []step, value any, text string) (any, error) {
	if len(steps) == 0 {
		return value, nil
	}
	object, ok := at.(map[string]any)
	if present && !ok {
		return nil, failed(ErrorResultPath, "ResultPath %s cannot be applied: there is no object to put %q into",
			text, steps[0].name)
	}
	child, has := object[steps[0].name]
	child, err := putAt(child, has, steps[1:], value, text)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any, len(object)+1)
	for name, v := range object {
		out[name] = v
	}
	out[steps[0].name] = child
	return out, nil
}

// definite says that the path selects one place, as a Reference Path must.
func (p *path) definite() error {
	if p.many {
		return errors.New("must be a reference path, without wildcards")
	}
	return nil
}

// parsePath compiles a path.
func parsePath(text string) (*path, error) {
	if len(text) > maxPathBytes {
		return nil, fmt.Errorf("path has %d bytes, at most %d are allowed", len(text), maxPathBytes)
	}
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, fmt.Errorf("path %q does not begin with $", text)
	}
	p := &path{text: text}
	rest, p.context = strings.CutPrefix(rest, "$")
	for rest != "" {
		s, after, err := parseStep(rest)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", text, err)
		}
		p.many = p.many || s.kind == byWildcard
		p.steps, rest = append(p.steps, s), after
	}
	return p, nil
}

func parseStep(rest string) (step, string, error) {
	switch {
	case strings.HasPrefix(rest, ".."):
		return step{}, "", errors.New("deep scan (..) is outside the supported subset")
	case strings.HasPrefix(rest, ".*"):
		return step{kind: byWildcard}, rest[2:], nil
	case rest[0] == '.':
		return parseName(rest[1:])
	case rest[0] == '[':
		return parseBracket(rest[1:])
	}
	return step{}, "", fmt.Errorf("%q begins no step, . or [ is expected (variables are outside the supported subset)", rest)
}

// parseName reads the name behind a dot. Only characters that mean nothing elsewhere stand for
// themselves, so that a mistake is seen when the definition is loaded.
func parseName(rest string) (step, string, error) {
	var name strings.Builder
	for i := 0; ; i++ {
		switch {
		case i == len(rest) || rest[i] == '.' || rest[i] == '[':
			if name.Len() == 0 {
				return step{}, "", errors.New("empty name")
			}
			return step{kind: byName, name: name.String()}, rest[i:], nil
		case rest[i] == '\\' && i+1 < len(rest):
			i++
			name.WriteByte(rest[i])
		case strings.IndexByte(" \t\r\n\\'\"@,:?*()$]{}", rest[i]) >= 0:
			return step{}, "", fmt.Errorf("character %q is outside the supported subset; write ['...'] for unusual names", rest[i])
		default:
			name.WriteByte(rest[i])
		}
	}
}

func parseBracket(rest string) (step, string, error) {
	if after, ok := strings.CutPrefix(rest, "*]"); ok {
		return step{kind: byWildcard}, after, nil
	}
	if rest != "" && (rest[0] == '\'' || rest[0] == '"') {
		inside, after, ok := strings.Cut(rest[1:], rest[:1]+"]")
		if !ok || inside == "" || strings.ContainsAny(inside, "'\"\\") {
			return step{}, "", errors.New("a name in brackets must be ['name']; unions and quotes in it are outside the supported subset")
		}
		return step{kind: byName, name: inside}, after, nil
	}
	inside, after, ok := strings.Cut(rest, "]")
	n, err := strconv.ParseInt(inside, 10, 32)
	if !ok || err != nil || inside[0] == '+' {
		return step{}, "", fmt.Errorf("[%s is outside the supported subset: ['name'], [n], [-n] and [*] are in it", rest)
	}
	return step{kind: byIndex, index: int(n)}, after, nil
}
