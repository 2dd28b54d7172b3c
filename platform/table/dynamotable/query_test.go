package dynamotable

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

func sorts() *rapid.Generator[string] {
	long := strings.Repeat("x", table.MaxSortKeyBytes-1)
	return rapid.SampledFrom([]string{"", "\u0001", "a", "a/", "a/b", "a0", "b", "\x7f", "\u0080", "\uD7FF", "\uE000", "\U0010FFFF",
		long, long + "\u0001", long + "\x7f"})
}

// bounds are what package table makes of a query's prefix, after and before: see table.Query.
func bounds(rt *rapid.T) table.Range {
	r := table.Range{Partition: "p", From: sorts().Draw(rt, "from"), Until: sorts().Draw(rt, "until")}
	if rapid.Bool().Draw(rt, "after") && r.From != "" {
		r.From += "\x00"
	}
	if strings.HasSuffix(r.Until, "\x7f") && rapid.Bool().Draw(rt, "end of a prefix") {
		r.Until = strings.TrimSuffix(r.Until, "\x7f") + "\u0080"
	}
	r.Descending = rapid.Bool().Draw(rt, "descending")
	return r
}

func has(r table.Range, s string) bool { return s >= r.From && (r.Until == "" || s < r.Until) }

// holds evaluates a key condition as DynamoDB does.
func holds(rt *rapid.T, e expression, condition []string, s string) bool {
	if len(condition) == 0 {
		return true
	}
	value := func(name string) string {
		v := e.values[name].(*types.AttributeValueMemberS).Value
		if len(v) > table.MaxSortKeyBytes || v == "" {
			rt.Fatalf("DynamoDB refuses to compare with %d bytes", len(v))
		}
		return v
	}
	words := strings.Fields(condition[0])
	switch words[1] {
	case "BETWEEN":
		if value(":low") > value(":high") {
			rt.Fatalf("DynamoDB refuses %q BETWEEN %q AND %q", s, value(":low"), value(":high"))
		}
		return s >= value(":low") && s <= value(":high")
	case ">":
		return s > value(words[2])
	case ">=":
		return s >= value(words[2])
	case "<":
		return s < value(words[2])
	case "<=":
		return s <= value(words[2])
	}
	rt.Fatalf("condition is %q", condition)
	return false
}

// TestConditionCoversRange: DynamoDB finds all of a range, and what it finds besides lies on its edges and is dropped.
func TestConditionCoversRange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := bounds(rt)
		if r.Until != "" && r.From >= r.Until {
			return // package table asks no driver
		}
		e := newExpression()
		condition := e.between(r, attrSort)
		s := sorts().Draw(rt, "sort")
		stored := sortText(s).(*types.AttributeValueMemberS).Value
		found := holds(rt, e, condition, stored)
		if has(r, s) && !found {
			rt.Fatalf("%q is in %+v, DynamoDB does not find it by %q", s, r, condition)
		}
		if dropped := (&page{r: r}).outside(s); dropped == has(r, s) {
			rt.Fatalf("%q in %+v: dropped %v", s, r, dropped)
		}
	})
}

// TestStartsLieInTheRange: DynamoDB refuses a start outside of the range; package table takes any place of the partition.
func TestStartsLieInTheRange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := bounds(rt)
		if r.Until != "" && r.From >= r.Until {
			return
		}
		at := sorts().Draw(rt, "start")
		r.Start = &table.Position{Place: table.Key{Partition: "p", Sort: at}}
		start, empty := startOf(r)
		s := sorts().Draw(rt, "sort")
		behind := has(r, s) && s > at
		if r.Descending {
			behind = has(r, s) && s < at
		}
		switch {
		case start != nil && !has(r, at):
			rt.Fatalf("starts at %q, outside of %+v", at, r)
		case start == nil && has(r, at):
			rt.Fatalf("does not start at %q, inside of %+v", at, r)
		case empty && behind:
			rt.Fatalf("nothing left behind %q, but %q is in %+v", at, s, r)
		case start == nil && !empty && has(r, s) && !behind:
			rt.Fatalf("reads %q again, which is before %q in %+v", s, at, r)
		}
	})
}
