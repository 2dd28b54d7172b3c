package workflow

import (
	"slices"
	"strconv"
	"strings"
)

func (p *parser) state(name string, e *entity) *state {
	p.paths = nil
	s := &state{name: name, kind: kind(e.need("Type"))}
	e.comment()
	var inner []*path
	switch s.kind {
	case kindTask:
		e.work(s)
		e.readTask(s)
	case kindMap:
		e.work(s)
		inner = e.readMap(s)
	case kindParallel:
		e.work(s)
		inner = e.readParallel(s)
	case kindPass:
		e.readPass(s)
	case kindChoice:
		e.filters(s)
		e.readChoice(s)
	case kindWait:
		e.filters(s)
		e.readWait(s)
		e.following(s)
	case kindSucceed:
		e.filters(s)
	case kindFail:
		e.readFail(s)
	default:
		p.fail(e.place("Type"), "%q is no state type", s.kind)
	}
	e.end()
	s.usesClock = slices.ContainsFunc(append(inner, p.paths...), func(found *path) bool {
		return found.covers("State", "EnteredTime")
	})
	return s
}

func (e *entity) filters(s *state) {
	s.input, s.output = e.selection("InputPath"), e.selection("OutputPath")
}

// following reads Next or End.
func (e *entity) following(s *state) {
	end, hasEnd := e.flag("End")
	next, hasNext := e.str("Next")
	if hasEnd && !end || hasEnd == hasNext || hasNext && next == "" {
		e.p.fail(e.at, "either Next or \"End\": true is needed")
	}
	s.next = next
}

// work reads what Task, Map and Parallel have in common.
func (e *entity) work(s *state) {
	e.filters(s)
	e.following(s)
	s.result = e.resultPath()
	s.selector = e.template("ResultSelector")
	if s.kind != kindMap {
		s.template = e.template("Parameters")
	}
	s.retriers, s.catchers = e.retriers(), e.catchers()
}

func (e *entity) readPass(s *state) {
	e.filters(s)
	e.following(s)
	s.result = e.resultPath()
	s.template = e.template("Parameters")
	if raw, ok := e.take("Result"); ok {
		v, err := decode(raw)
		if err != nil {
			e.p.fail(e.place("Result"), "%v", err)
		}
		s.constant = &literal{v}
	}
}

func (e *entity) readWait(s *state) {
	w := &wait{seconds: e.quantity("Seconds", 0)}
	given := 0
	if w.seconds.set {
		given++
	}
	if text, ok := e.str("Timestamp"); ok {
		given++
		t, valid := parseTimestamp(text)
		if !valid {
			e.p.fail(e.place("Timestamp"), "must be RFC 3339 with upper-case T and Z")
		}
		w.until = &t
	}
	var ok bool
	if w.path, ok = e.reference("TimestampPath"); ok {
		given++
	}
	if given != 1 {
		e.p.fail(e.at, "exactly one of Seconds, SecondsPath, Timestamp and TimestampPath is needed")
	}
	s.wait = w
}

func (e *entity) readFail(s *state) {
	s.fail = &failState{err: e.text("Error"), cause: e.text("Cause")}
}

// text reads a string under name, or a reference path or intrinsic function under name+"Path".
func (e *entity) text(name string) node {
	fixed, ok := e.str(name)
	_, dynamic := e.fields[name+"Path"]
	switch {
	case ok && dynamic:
		e.p.fail(e.at, "%s and %sPath exclude each other", name, name)
	case ok:
		return literal{fixed}
	case dynamic:
		expression, _ := e.str(name + "Path")
		return e.compiled(name+"Path", parseExpression, expression)
	}
	return nil
}

func (e *entity) readParallel(s *state) (seen []*path) {
	s.fan = &fan{}
	list, ok := e.elements("Branches")
	if !ok {
		e.p.fail(e.place("Branches"), "is needed")
	}
	// The paths of the states inside are their own: only those read so far are this state's.
	seen = e.p.paths
	for i, raw := range list {
		b := e.p.entity(e.element("Branches", i), raw)
		b.str("Comment")
		s.fan.branches = append(s.fan.branches, e.p.flow(b))
	}
	e.p.paths = nil
	return seen
}

func (e *entity) readMap(s *state) (seen []*path) {
	s.fan = &fan{items: &path{text: "$"}, limit: e.quantity("MaxConcurrency", 0)}
	if items, ok := e.reference("ItemsPath"); ok {
		s.fan.items = items
	}
	s.fan.selector = e.template("ItemSelector")
	if old := e.template("Parameters"); old != nil {
		if s.fan.selector != nil {
			e.p.fail(e.at, "ItemSelector and Parameters exclude each other")
		}
		s.fan.selector = old
	}
	raw, ok := e.take("ItemProcessor")
	if !ok {
		e.p.fail(e.place("ItemProcessor"), "is needed (Iterator, its old name, is outside the supported subset)")
		return nil
	}
	seen = e.p.paths
	processor := e.p.entity(e.place("ItemProcessor"), raw)
	processor.str("Comment")
	if raw, ok := processor.take("ProcessorConfig"); ok {
		config := e.p.entity(processor.place("ProcessorConfig"), raw)
		if mode, ok := config.str("Mode"); ok && mode != "INLINE" {
			e.p.fail(config.place("Mode"), "%s is outside the supported subset, INLINE is in it", mode)
		}
		config.end()
	}
	s.fan.iterator = e.p.flow(processor)
	e.p.paths = nil
	return seen
}

func (e *entity) readChoice(s *state) {
	s.choice = &choice{}
	list, ok := e.elements("Choices")
	if !ok {
		e.p.fail(e.place("Choices"), "is needed")
	}
	for i, raw := range list {
		c := e.p.entity(e.element("Choices", i), raw)
		s.choice.next = append(s.choice.next, c.need("Next"))
		s.choice.rules = append(s.choice.rules, c.rule())
	}
	s.choice.fallback, _ = e.str("Default")
}

// rule reads a Choice Rule: And, Or or Not around others, or a test of a variable.
func (e *entity) rule() rule {
	e.str("Comment")
	defer e.end()
	for _, name := range []string{"And", "Or"} {
		list, ok := e.elements(name)
		if !ok {
			continue
		}
		var rules []rule
		for i, raw := range list {
			rules = append(rules, e.p.entity(e.element(name, i), raw).rule())
		}
		if name == "And" {
			return allOf(rules)
		}
		return anyOf(rules)
	}
	if raw, ok := e.take("Not"); ok {
		return not(e.p.entity(e.place("Not"), raw).rule())
	}
	variable, ok := e.path("Variable")
	if !ok {
		e.p.fail(e.at, "one of Variable, And, Or and Not is needed")
		return nil
	}
	if len(e.fields) != 1 {
		e.p.fail(e.at, "exactly one comparison is needed beside Variable")
		return nil
	}
	return e.comparison(variable, sortedKeys(e.fields)[0])
}

func (e *entity) comparison(variable *path, operator string) rule {
	if operator == "IsPresent" {
		want, _ := e.flag(operator)
		return present(variable, want)
	}
	if is := isType(operator); is != nil {
		want, _ := e.flag(operator)
		return test(variable, func(v any) bool { return is(v) == want })
	}
	if operator == "StringMatches" {
		pattern, _ := e.str(operator)
		parts, ok := parsePattern(pattern)
		if !ok {
			e.p.fail(e.place(operator), `a backslash stands before * or \ only`)
			return nil
		}
		return test(variable, func(v any) bool { s, ok := v.(string); return ok && matches(parts, s) })
	}
	name, byPath := strings.CutSuffix(operator, "Path")
	compare, valid, ok := comparisonOf(name)
	if !ok {
		return nil // end() refuses the field
	}
	if byPath {
		other, ok := e.path(operator)
		if !ok {
			return nil
		}
		return compareTo(variable, other, compare)
	}
	raw, _ := e.take(operator)
	constant, err := decode(raw)
	if err != nil || !valid(constant) {
		e.p.fail(e.place(operator), "the value is not of the operator's type")
		return nil
	}
	return test(variable, func(v any) bool { return compare(v, constant) })
}

func (e *entity) element(name string, i int) string {
	return e.place(name) + "[" + strconv.Itoa(i) + "]"
}
