package correlator

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// screen is the part of a condition that costs next to nothing: terms that all have to hold for the whole to hold. Most checks of
// services ask for the service's name first, so most facts never reach CEL; where all terms are simple, none does.
type screen struct {
	terms []term
	// whole says that the terms are the whole condition.
	whole bool
}

// term compares one field of the fact: a text is one of some values, or a flag is set; or not.
type term struct {
	field  protoreflect.FieldDescriptor
	values []string // nil for a flag
	not    bool
}

func (t term) holds(fact protoreflect.Message) bool {
	value := fact.Get(t.field)
	if t.values == nil {
		return value.Bool() != t.not
	}
	return slices.Contains(t.values, value.String()) != t.not
}

// passes says whether the condition can hold for the fact. The zero screen lets everything pass.
func (s screen) passes(fact protoreflect.Message) bool {
	for _, t := range s.terms {
		if !t.holds(fact) {
			return false
		}
	}
	return true
}

// screenOf finds the simple ones among the terms that the condition joins by &&: comparisons of the fact's texts with constants, and
// its flags. In CEL false && anything is false, also where the other side is an error, so a false term decides.
func screenOf(condition ast.Expr, fact string, message protoreflect.MessageDescriptor) screen {
	if calls(condition, operators.LogicalAnd) {
		s := screen{whole: true}
		for _, part := range condition.AsCall().Args() {
			p := screenOf(part, fact, message)
			s.terms, s.whole = append(s.terms, p.terms...), s.whole && p.whole
		}
		return s
	}
	if t := termOf(condition, fact, message); t.field != nil {
		return screen{terms: []term{t}, whole: true}
	}
	return screen{}
}

// termOf is the simple term that an expression is, or the zero term.
func termOf(e ast.Expr, fact string, message protoreflect.MessageDescriptor) term {
	switch {
	case calls(e, operators.LogicalNot):
		t := termOf(e.AsCall().Args()[0], fact, message)
		t.not = !t.not
		return t
	case calls(e, operators.Equals), calls(e, operators.NotEquals), calls(e, operators.In):
		args := e.AsCall().Args()
		field, values := fieldOf(args[0], fact, message, protoreflect.StringKind), texts(args[1])
		if field == nil || len(values) == 0 {
			return term{}
		}
		return term{field: field, values: values, not: calls(e, operators.NotEquals)}
	}
	if field := fieldOf(e, fact, message, protoreflect.BoolKind); field != nil {
		return term{field: field}
	}
	return term{}
}

func calls(e ast.Expr, function string) bool {
	return e.Kind() == ast.CallKind && e.AsCall().FunctionName() == function
}

// fieldOf is the field of a kind that an expression `fact.field` selects, or nil.
func fieldOf(e ast.Expr, fact string, message protoreflect.MessageDescriptor, kind protoreflect.Kind) protoreflect.FieldDescriptor {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return nil
	}
	of := e.AsSelect().Operand()
	if of.Kind() != ast.IdentKind || of.AsIdent() != fact {
		return nil
	}
	field := message.Fields().ByName(protoreflect.Name(e.AsSelect().FieldName()))
	if field == nil || field.Kind() != kind || field.Cardinality() == protoreflect.Repeated {
		return nil
	}
	return field
}

// texts are the strings that an expression is or lists, nil if it is anything else.
func texts(e ast.Expr) []string {
	switch e.Kind() {
	case ast.LiteralKind:
		if s, ok := e.AsLiteral().Value().(string); ok {
			return []string{s}
		}
	case ast.ListKind:
		var all []string
		for _, element := range e.AsList().Elements() {
			one := texts(element)
			if len(one) != 1 || element.Kind() != ast.LiteralKind {
				return nil
			}
			all = append(all, one...)
		}
		return all
	}
	return nil
}
