package dynamotable

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// expression is text with what it refers to. Every name is a placeholder, since many words are reserved
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html); DynamoDB refuses unused ones.
type expression struct {
	names  map[string]string
	values attributes
	text   string
}

func newExpression() expression {
	return expression{names: map[string]string{}, values: attributes{}}
}

// name is the placeholder of an attribute.
func (e *expression) name(attribute string) string {
	for placeholder, known := range e.names {
		if known == attribute {
			return placeholder
		}
	}
	placeholder := "#n" + strconv.Itoa(len(e.names))
	e.names[placeholder] = attribute
	return placeholder
}

// pointer is nil for no text, as the SDK wants it.
func pointer(s string) *string {
	if s == "" {
		return nil
	}
	return aws.String(s)
}

// require adds the condition as DynamoDB sees it: an expired item is absent.
func (e *expression) require(c table.Condition, now int64) string {
	switch c {
	case table.Any:
		return ""
	case table.Absent:
		e.values[":now"] = number(now)
		return "attribute_not_exists(" + e.name(attrPartition) + ") OR " + e.name(attrExpires) + " <= :now"
	}
	e.values[":if"] = number(int64(c))
	return e.name(attrRevision) + " = :if AND (" + e.alive(now) + ")"
}

// alive is true of items that have not expired.
func (e *expression) alive(now int64) string {
	e.values[":now"] = number(now)
	x := e.name(attrExpires)
	return "attribute_not_exists(" + x + ") OR " + x + " > :now"
}

// replace makes the update that turns whatever is stored into a new state and counts the revision up.
func (e *expression) replace(d *driver, state attributes) string {
	e.values[":zero"], e.values[":one"] = number(0), number(1)
	revision := e.name(attrRevision)
	set := []string{revision + " = if_not_exists(" + revision + ", :zero) + :one"}
	var remove []string
	for i, attribute := range d.attributes() {
		v, there := state[attribute]
		if !there {
			remove = append(remove, e.name(attribute))
			continue
		}
		placeholder := ":v" + strconv.Itoa(i)
		e.values[placeholder] = v
		set = append(set, e.name(attribute)+" = "+placeholder)
	}
	update := "SET " + strings.Join(set, ", ")
	if len(remove) > 0 {
		update += " REMOVE " + strings.Join(remove, ", ")
	}
	return update
}

// attributes are all that an item may have beside key and revision.
func (d *driver) attributes() []string {
	all := []string{attrValue, attrWriter, attrExpires, attrTTL}
	for _, index := range d.indexes {
		p, s := IndexKeys(index)
		all = append(all, p, s)
	}
	return all
}

// keysProjection asks for all but the value.
func keysProjection(indexes []string) expression {
	e := newExpression()
	wanted := []string{attrPartition, attrSort, attrRevision, attrExpires}
	for _, index := range indexes {
		p, s := IndexKeys(index)
		wanted = append(wanted, p, s)
	}
	var placeholders []string
	for _, attribute := range slices.Compact(wanted) {
		placeholders = append(placeholders, e.name(attribute))
	}
	e.text = strings.Join(placeholders, ", ")
	return e
}
