package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxNesting is how deep intrinsic functions may be nested:
// https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
const maxNesting = 10

// call is an intrinsic function with its arguments.
type call struct {
	name string
	args []node
	fn   func(args []any) (any, error)
}

func (c call) eval(s *scope) (any, error) {
	args := make([]any, len(c.args))
	for i, a := range c.args {
		v, err := a.eval(s)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	v, err := c.fn(args)
	if err != nil {
		return nil, failed(ErrorIntrinsic, "%s: %v", c.name, err)
	}
	return v, nil
}

// intrinsic finds a function and checks how many arguments it takes. Only functions of the same
// arguments and the same result are in the subset: after a crash the data flow is computed again.
// That is why States.UUID and States.MathRandom are not.
func intrinsic(name string, args int) (func([]any) (any, error), error) {
	exactly := func(n int, fn func([]any) (any, error)) (func([]any) (any, error), error) {
		if args != n {
			return nil, fmt.Errorf("%s takes %d arguments, not %d", name, n, args)
		}
		return fn, nil
	}
	switch name {
	case "States.Format":
		if args == 0 {
			return nil, errors.New("States.Format takes a template and its arguments")
		}
		return format, nil
	case "States.Array":
		return func(args []any) (any, error) { return args, nil }, nil
	case "States.ArrayLength":
		return exactly(1, arrayLength)
	case "States.StringToJson":
		return exactly(1, stringToJSON)
	case "States.JsonToString":
		return exactly(1, jsonToString)
	case "States.MathAdd":
		return exactly(2, mathAdd)
	}
	return nil, fmt.Errorf("intrinsic function %s is outside the supported subset", name)
}

func arrayLength(args []any) (any, error) {
	a, ok := args[0].([]any)
	if !ok {
		return nil, errors.New("the argument is no array")
	}
	return json.Number(strconv.Itoa(len(a))), nil
}

func stringToJSON(args []any) (any, error) {
	s, ok := args[0].(string)
	if !ok {
		return nil, errors.New("the argument is no string")
	}
	return decode([]byte(s))
}

func jsonToString(args []any) (any, error) {
	raw, err := encode(args[0])
	return string(raw), err
}

// mathAdd adds 32-bit integers; a fraction is rounded to the nearest, as the page of maxNesting says.
func mathAdd(args []any) (any, error) {
	var sum int64
	for _, a := range args {
		n, ok := a.(json.Number)
		if !ok {
			return nil, errors.New("an argument is no number")
		}
		f, err := n.Float64()
		if err != nil {
			return nil, err
		}
		f = math.Floor(f + 0.5)
		if f < math.MinInt32 || f > math.MaxInt32 {
			return nil, fmt.Errorf("%s is no 32-bit integer", n)
		}
		sum += int64(f)
	}
	if sum < math.MinInt32 || sum > math.MaxInt32 {
		return nil, fmt.Errorf("the sum %d is no 32-bit integer", sum)
	}
	return json.Number(strconv.FormatInt(sum, 10)), nil
}

// format replaces each {} of the template. A backslash takes away the meaning of ', { , } and \.
func format(args []any) (any, error) {
	template, ok := args[0].(string)
	if !ok {
		return nil, errors.New("the template is no string")
	}
	args = args[1:]
	var out strings.Builder
	for i := 0; i < len(template); i++ {
		switch c := template[i]; c {
		case '\\':
			if i++; i == len(template) || strings.IndexByte(reserved, template[i]) < 0 {
				return nil, errors.New("the template has an open escape")
			}
			out.WriteByte(template[i])
		case '{', '}':
			if c == '}' || i+1 == len(template) || template[i+1] != '}' {
				return nil, errors.New(`a brace in the template must be {} or escaped`)
			}
			i++
			if len(args) == 0 {
				return nil, errors.New("the template has more {} than there are arguments")
			}
			text, err := formatted(args[0])
			if err != nil {
				return nil, err
			}
			out.WriteString(text)
			args = args[1:]
		default:
			out.WriteByte(c)
		}
	}
	if len(args) > 0 {
		return nil, errors.New("the template has fewer {} than there are arguments")
	}
	return out.String(), nil
}

func formatted(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "null", nil
	}
	return "", errors.New("an array or object cannot be formatted")
}

// parseIntrinsic compiles "States.Name(argument, ...)".
func parseIntrinsic(text string) (node, error) {
	n, rest, err := parseCall(text, 1)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(rest) != "" {
		return nil, fmt.Errorf("%q follows the intrinsic function", rest)
	}
	return n, nil
}

func parseCall(text string, depth int) (node, string, error) {
	if depth > maxNesting {
		return nil, "", fmt.Errorf("intrinsic functions are nested deeper than %d", maxNesting)
	}
	name, rest, ok := strings.Cut(text, "(")
	if !ok || !strings.HasPrefix(name, "States.") {
		return nil, "", fmt.Errorf("%q is neither a path nor an intrinsic function", clip(text, 64))
	}
	c := call{name: name}
	for rest = strings.TrimLeft(rest, " "); ; {
		if after, done := strings.CutPrefix(rest, ")"); done && len(c.args) == 0 {
			rest = after
			break
		}
		arg, after, err := parseArgument(rest, depth)
		if err != nil {
			return nil, "", err
		}
		if q, ok := arg.(quoted); ok && name == "States.Format" && len(c.args) == 0 {
			arg = literal{q.raw} // format itself takes the escapes off: \{ is no part of a {}
		}
		c.args = append(c.args, arg)
		after = strings.TrimLeft(after, " ")
		if tail, more := strings.CutPrefix(after, ","); more {
			rest = strings.TrimLeft(tail, " ")
			continue
		}
		if rest, ok = strings.CutPrefix(after, ")"); !ok {
			return nil, "", fmt.Errorf("%s: ) or , is expected at %q", name, clip(after, 64))
		}
		break
	}
	fn, err := intrinsic(name, len(c.args))
	c.fn = fn
	return c, rest, err
}

// parseArgument reads a string in apostrophes, a number, null, a path or a nested function.
func parseArgument(rest string, depth int) (node, string, error) {
	switch {
	case rest == "":
		return nil, "", errors.New("the intrinsic function is not closed")
	case rest[0] == '\'':
		return parseQuoted(rest[1:])
	case strings.HasPrefix(rest, "States."):
		return parseCall(rest, depth+1)
	}
	text, after := cutArgument(rest)
	if strings.HasPrefix(text, "$") {
		p, err := parsePath(text)
		return lookup{p}, after, err
	}
	if text == "null" {
		return literal{nil}, after, nil
	}
	v, err := decode([]byte(text))
	n, ok := v.(json.Number)
	if err != nil || !ok {
		return nil, "", fmt.Errorf("argument %q is no string, number, null, path or function", clip(text, 64))
	}
	return literal{n}, after, nil
}

// cutArgument ends at the comma or parenthesis that is not inside ['...'] or escaped.
func cutArgument(rest string) (text, after string) {
	var quote byte
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == ',' || c == ')' || c == ' ':
			return rest[:i], rest[i:]
		}
	}
	return rest, ""
}

// quoted is a string argument, still with its escapes.
type quoted struct{ raw string }

func (q quoted) eval(*scope) (any, error) {
	var out strings.Builder
	for i := 0; i < len(q.raw); i++ {
		if q.raw[i] == '\\' {
			i++ // there is a character behind it: parseQuoted
		}
		out.WriteByte(q.raw[i])
	}
	return out.String(), nil
}

// reserved are the characters that a backslash may stand before.
const reserved = `'{}\`

// parseQuoted reads up to the closing apostrophe.
func parseQuoted(rest string) (node, string, error) {
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\'':
			return quoted{rest[:i]}, rest[i+1:], nil
		case '\\':
			if i++; i == len(rest) || strings.IndexByte(reserved, rest[i]) < 0 {
				return nil, "", errors.New(`a backslash stands before one of '{}\ only`)
			}
		}
	}
	return nil, "", errors.New("a string in the intrinsic function is not closed")
}
