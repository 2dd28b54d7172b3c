package workflow

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Limits of a definition.
const (
	// MaxDefinitionBytes keeps a definition within one item of the table, where it is stored for
	// the executions that began with it. Step Functions allows 1 MB.
	MaxDefinitionBytes = 380 << 10
	// maxStateName is the States Language's limit, in characters.
	maxStateName = 80
)

// Parse checks and compiles a definition in the subset of the States Language that the package
// comment describes. What is wrong or outside the subset is [fault.Invalid] with the place and the
// reason, for example "States.Scan.Retry[0].MaxAttempts: must be ...".
func Parse(definition []byte) (*Machine, error) {
	if len(definition) > MaxDefinitionBytes {
		return nil, fault.New(fault.Invalid, "parse definition: %d bytes, at most %d are allowed",
			len(definition), MaxDefinitionBytes)
	}
	if _, err := decode(definition); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "parse definition: no JSON")
	}
	p := &parser{names: map[string]bool{}}
	m := p.machine(definition)
	if p.err != nil {
		return nil, p.err
	}
	if n := m.flow.longestPath(); n > maxStepBytes {
		return nil, fault.New(fault.Invalid,
			"parse definition: nested state names add up to %d bytes, at most %d are allowed", n, maxStepBytes)
	}
	return m, nil
}

// parser keeps the first error and goes on with zero values, so that reading a state needs no error
// handling of its own.
type parser struct {
	err   error
	names map[string]bool // states of the whole machine
	paths []*path         // of the state that is being read
}

func (p *parser) fail(at, reason string, args ...any) {
	if p.err == nil {
		p.err = fault.New(fault.Invalid, "parse definition: %s: %s", at, fmt.Sprintf(reason, args...))
	}
}

// entity is a JSON object of the definition and its place.
type entity struct {
	p      *parser
	at     string
	fields map[string]json.RawMessage
}

func (p *parser) entity(at string, raw json.RawMessage) *entity {
	f, err := fields(raw)
	if err != nil {
		p.fail(at, "%v", err)
	}
	return &entity{p: p, at: at, fields: f}
}

func (e *entity) place(name string) string {
	if e.at == "" {
		return name
	}
	return e.at + "." + name
}

// take removes a field: what is left in the end is not supported.
func (e *entity) take(name string) (json.RawMessage, bool) {
	raw, ok := e.fields[name]
	delete(e.fields, name)
	return raw, ok
}

// end refuses the fields that nobody took.
func (e *entity) end() {
	for _, name := range sortedKeys(e.fields) {
		e.p.fail(e.place(name), "is outside the supported subset here")
		return
	}
}

func (e *entity) into(name string, v any, what string) bool {
	raw, ok := e.take(name)
	if !ok {
		return false
	}
	// null would leave v as it is and pass for a value.
	if err := json.Unmarshal(raw, v); err != nil || string(raw) == "null" {
		e.p.fail(e.place(name), "must be %s", what)
		return false
	}
	return true
}

func (e *entity) str(name string) (s string, ok bool) {
	ok = e.into(name, &s, "a string")
	return s, ok
}

func (e *entity) need(name string) string {
	s, ok := e.str(name)
	if !ok || s == "" {
		e.p.fail(e.place(name), "is needed and must be a non-empty string")
	}
	return s
}

func (e *entity) flag(name string) (b, ok bool) {
	ok = e.into(name, &b, "true or false")
	return b, ok
}

func (e *entity) integer(name string, least, most int) (n int, ok bool) {
	ok = e.into(name, &n, fmt.Sprintf("a whole number from %d to %d", least, most))
	if ok && (n < least || n > most) {
		e.p.fail(e.place(name), "must be a whole number from %d to %d", least, most)
	}
	return n, ok
}

// elements gives the entries of a non-empty array.
func (e *entity) elements(name string) (list []json.RawMessage, ok bool) {
	ok = e.into(name, &list, "an array")
	if ok && len(list) == 0 {
		e.p.fail(e.place(name), "must not be empty")
	}
	return list, ok
}

// path reads a path. ok is false if there is none or it is null.
func (e *entity) path(name string) (out *path, ok bool) {
	text, ok := e.str(name)
	if !ok {
		return nil, false
	}
	out, err := parsePath(text)
	if err != nil {
		e.p.fail(e.place(name), "%v", err)
		return nil, false
	}
	e.p.paths = append(e.p.paths, out)
	return out, true
}

func (e *entity) reference(name string) (*path, bool) {
	out, ok := e.path(name)
	if ok && out.many {
		e.p.fail(e.place(name), "%v", out.definite())
	}
	return out, ok
}

// selection reads InputPath or OutputPath.
func (e *entity) selection(name string) selection {
	if string(e.fields[name]) == "null" {
		e.take(name)
		return selection{}
	}
	if p, ok := e.path(name); ok {
		return selection{p}
	}
	return selection{&path{text: "$"}}
}

// resultPath reads a ResultPath: names only, so that it never depends on the length of a list.
func (e *entity) resultPath() *path {
	if string(e.fields["ResultPath"]) == "null" {
		e.take("ResultPath")
		return nil
	}
	p, ok := e.path("ResultPath")
	if !ok {
		return &path{text: "$"}
	}
	if p.context {
		e.p.fail(e.place("ResultPath"), "must not begin with $$")
	}
	for _, s := range p.steps {
		if s.kind != byName {
			e.p.fail(e.place("ResultPath"), "an index or wildcard here is outside the supported subset")
		}
	}
	return p
}

// template reads a payload template, nil if there is none.
func (e *entity) template(name string) node {
	raw, ok := e.take(name)
	if !ok {
		return nil
	}
	if _, err := fields(raw); err != nil {
		e.p.fail(e.place(name), "%v", err)
		return nil
	}
	v, err := decode(raw)
	if err != nil {
		e.p.fail(e.place(name), "%v", err)
		return nil
	}
	return e.compiled(name, parseTemplate, v)
}

func (e *entity) compiled(name string, compile func(any) (node, error), v any) node {
	n, err := compile(v)
	if err != nil {
		e.p.fail(e.place(name), "%v", err)
		return nil
	}
	paths(n, func(found *path) { e.p.paths = append(e.p.paths, found) })
	return n
}

// quantity reads a number under name or a path to it under name+"Path", not both.
func (e *entity) quantity(name string, least int) (q quantity) {
	n, fixed := e.integer(name, least, maxSeconds)
	p, found := e.reference(name + "Path")
	if fixed && found {
		e.p.fail(e.at, "%s and %sPath exclude each other", name, name)
	}
	return quantity{set: fixed || found, fixed: n, path: p}
}

func (p *parser) machine(definition []byte) *Machine {
	m := &Machine{}
	e := p.entity("", definition)
	e.comment()
	if version, ok := e.str("Version"); ok && version != "1.0" {
		p.fail("Version", "must be 1.0")
	}
	if seconds, ok := e.integer("TimeoutSeconds", 1, maxSeconds); ok {
		m.timeout = time.Duration(seconds) * time.Second
	}
	m.flow = p.flow(e)
	return m
}

// comment takes what has no meaning, and the only query language that is supported.
func (e *entity) comment() {
	e.str("Comment")
	if language, ok := e.str("QueryLanguage"); ok && language != "JSONPath" {
		e.p.fail(e.place("QueryLanguage"), "%s is outside the supported subset, JSONPath is in it", language)
	}
}

// flow reads StartAt and States, the last two fields of whatever holds them.
func (p *parser) flow(e *entity) *flow {
	f := &flow{start: e.need("StartAt"), states: map[string]*state{}}
	raw, ok := e.take("States")
	if !ok {
		p.fail(e.place("States"), "is needed")
	}
	e.end()
	if p.err != nil {
		return f
	}
	states := p.entity(e.place("States"), raw)
	for _, name := range sortedKeys(states.fields) {
		at := states.place(name)
		switch {
		case name == "" || utf8.RuneCountInString(name) > maxStateName:
			p.fail(at, "the name must have 1 to %d characters", maxStateName)
		case p.names[name]:
			p.fail(at, "the name is used twice in the machine")
		}
		p.names[name] = true
		f.states[name] = p.state(name, p.entity(at, states.fields[name]))
	}
	if p.err == nil {
		p.transitions(e, f)
	}
	return f
}

// transitions checks that every Next exists in the same flow, that every state can be reached and
// that the flow can end.
func (p *parser) transitions(e *entity, f *flow) {
	at := e.place("States")
	if f.states[f.start] == nil {
		p.fail(e.place("StartAt"), "there is no state %q", f.start)
		return
	}
	ends := false
	reached := map[string]bool{f.start: true}
	for queue := []string{f.start}; len(queue) > 0; queue = queue[1:] {
		s := f.states[queue[0]]
		next := s.successors()
		ends = ends || s.next == "" && s.kind != kindChoice
		for _, name := range next {
			if f.states[name] == nil {
				p.fail(at+"."+s.name, "the next state %q does not exist beside it", name)
				return
			}
			if !reached[name] {
				reached[name] = true
				queue = append(queue, name)
			}
		}
	}
	for _, name := range sortedKeys(f.states) {
		if !reached[name] {
			p.fail(at+"."+name, "cannot be reached")
		}
	}
	if !ends {
		p.fail(at, "no state ends the flow")
	}
}

// covers says that what the path selects contains the field of the Context Object with these names.
func (p *path) covers(names ...string) bool {
	if !p.context {
		return false
	}
	for i, s := range p.steps {
		if i == len(names) || s.kind == byName && s.name != names[i] {
			return i == len(names)
		}
	}
	return true
}
