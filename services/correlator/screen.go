package correlator

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// screen is a part of a condition that has to hold for the whole to hold and costs next to nothing: a string field of the fact
// is one of some values. Most checks of services begin with the service's name, so most facts never reach CEL.
type screen struct {
	field  protoreflect.FieldDescriptor
	values []string
}

// passes says whether the condition can hold for the fact. The zero screen lets everything pass.
func (s screen) passes(fact protoreflect.Message) bool {
	return s.field == nil || slices.Contains(s.values, fact.Get(s.field).String())
}

// screenOf finds a screen among the terms that the condition joins by &&: `fact.field == 'value'` or `fact.field in ['a', 'b']`. In
// CEL false && anything is false, also where the other side is an error, so leaving the rest out changes no answer.
func screenOf(condition ast.Expr, fact string, message protoreflect.MessageDescriptor) screen {
	if condition.Kind() != ast.CallKind {
		return screen{}
	}
	call := condition.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		for _, term := range call.Args() {
			if s := screenOf(term, fact, message); s.field != nil {
				return s
			}
		}
	case operators.Equals, operators.In:
		field := fieldOf(call.Args()[0], fact, message)
		if values := texts(call.Args()[1]); field != nil && len(values) > 0 {
			return screen{field, values}
		}
	}
	return screen{}
}

// fieldOf is the string field that an expression `fact.field` selects, or nil.
func fieldOf(e ast.Expr, fact string, message protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return nil
	}
	of := e.AsSelect().Operand()
	if of.Kind() != ast.IdentKind || of.AsIdent() != fact {
		return nil
	}
	field := message.Fields().ByName(protoreflect.Name(e.AsSelect().FieldName()))
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
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
