package workflow

import (
	"fmt"
	"slices"
	"strings"
)

// node is a compiled part of a payload template.
type node interface {
	eval(s *scope) (any, error)
}

type (
	literal struct{ value any }
	lookup  struct{ path *path }
	object  struct {
		names  []string // sorted, so that of several failures always the same is reported
		values []node
	}
	list []node
)

func (l literal) eval(*scope) (any, error) { return l.value, nil }

func (l lookup) eval(s *scope) (any, error) {
	v, ok := l.path.get(s)
	if !ok {
		return nil, failed(ErrorParameterPath, "path %s finds nothing", l.path.text)
	}
	return v, nil
}

func (o object) eval(s *scope) (any, error) {
	out := make(map[string]any, len(o.names))
	for i, name := range o.names {
		v, err := o.values[i].eval(s)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func (l list) eval(s *scope) (any, error) {
	out := make([]any, len(l))
	for i, n := range l {
		v, err := n.eval(s)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// field is the part of the template under a name.
func (o object) field(name string) (node, bool) {
	i, ok := slices.BinarySearch(o.names, name)
	if !ok {
		return nil, false
	}
	return o.values[i], true
}

// paths calls fn for every path in a template.
func paths(n node, fn func(*path)) {
	switch n := n.(type) {
	case lookup:
		fn(n.path)
	case object:
		for _, v := range n.values {
			paths(v, fn)
		}
	case list:
		for _, v := range n {
			paths(v, fn)
		}
	case call:
		for _, v := range n.args {
			paths(v, fn)
		}
	}
}

// parseTemplate compiles a decoded payload template: a field whose name ends in ".$" holds a path
// or an intrinsic function, everything else stands for itself.
func parseTemplate(v any) (node, error) {
	switch v := v.(type) {
	case map[string]any:
		return parseObject(v)
	case []any:
		out := make(list, len(v))
		for i, element := range v {
			n, err := parseTemplate(element)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out[i] = n
		}
		return out, nil
	}
	return literal{v}, nil
}

func parseObject(v map[string]any) (node, error) {
	values := make(map[string]node, len(v))
	for _, key := range sortedKeys(v) {
		name, dynamic := strings.CutSuffix(key, ".$")
		if _, again := values[name]; again {
			return nil, fmt.Errorf("%s and %s.$ are the same field", name, name)
		}
		var err error
		if dynamic {
			values[name], err = parseExpression(v[key])
		} else {
			values[name], err = parseTemplate(v[key])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	out := object{names: sortedKeys(values)}
	for _, name := range out.names {
		out.values = append(out.values, values[name])
	}
	return out, nil
}

// parseExpression reads a path or an intrinsic function.
func parseExpression(v any) (node, error) {
	text, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("must be a string with a path or an intrinsic function")
	}
	if !strings.HasPrefix(text, "$") {
		return parseIntrinsic(text)
	}
	p, err := parsePath(text)
	if err != nil {
		return nil, err
	}
	return lookup{p}, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
