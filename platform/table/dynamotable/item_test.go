package dynamotable

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// maxNameThatFits is the longest name of an index whose two attributes fit into what table.Item.Size counts for it.
const maxNameThatFits = 57

// sizeOf is DynamoDB's formula, from
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html: names and texts in UTF-8 bytes,
// binary values in bytes, numbers in one byte for two digits and one more.
func sizeOf(t testing.TB, a attributes) int {
	n := 0
	for name, v := range a {
		n += len(name)
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberB:
			n += len(v.Value)
		case *types.AttributeValueMemberN:
			n += (len(v.Value)+1)/2 + 1
		default:
			t.Fatalf("attribute %s has type %T", name, v)
		}
	}
	return n
}

func stored(item table.Item) attributes {
	c := writing{writer: make([]byte, writerBytes)}
	return c.next(table.Write{Item: item, If: math.MaxInt64 - 1})
}

// TestAllowedItemsFit: the largest items that package table lets through are not larger than DynamoDB takes.
func TestAllowedItemsFit(t *testing.T) {
	full := table.Item{
		Key:     table.Key{Partition: strings.Repeat("p", table.MaxPartitionKeyBytes)},
		Expires: time.UnixMilli(math.MaxInt64),
		Indexes: map[string]table.Key{},
	}
	for i := range table.MaxIndexes {
		full.Indexes[strings.Repeat("n", maxNameThatFits-1)+string(rune('a'+i))] = table.Key{Partition: "p"}
	}
	full.Value = make([]byte, table.MaxItemBytes-full.Size())
	if full.Size() != table.MaxItemBytes {
		t.Fatalf("the item has %d bytes", full.Size())
	}
	if n := sizeOf(t, stored(full)); n > 400<<10 {
		t.Errorf("DynamoDB counts %d bytes, more than it takes", n)
	}
}

func texts() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"", "a", "due", "é", "\U0010FFFF", "\u0001", strings.Repeat("x", 300)})
}

func items() *rapid.Generator[table.Item] {
	return rapid.Custom(func(rt *rapid.T) table.Item {
		key := func(label string) table.Key {
			return table.Key{Partition: "p" + texts().Draw(rt, label), Sort: texts().Draw(rt, label)}
		}
		item := table.Item{Key: key("key"), Revision: rapid.Int64Range(1, math.MaxInt64).Draw(rt, "revision"),
			Value: rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(rt, "value"), Indexes: map[string]table.Key{}}
		if rapid.Bool().Draw(rt, "expires") {
			item.Expires = time.UnixMilli(rapid.Int64Range(1, math.MaxInt64).Draw(rt, "expiry"))
		}
		for _, index := range []string{"i", "due", strings.Repeat("n", maxNameThatFits)} {
			if rapid.Bool().Draw(rt, index) {
				item.Indexes[index] = key("place")
			}
		}
		return item
	})
}

// TestItemsComeBack: what is stored reads as what was put, is never larger than it was counted, has no empty key attribute, and is
// not deleted before it expires.
func TestItemsComeBack(t *testing.T) {
	d := &driver{indexes: []string{"due", "i", strings.Repeat("n", maxNameThatFits)}}
	rapid.Check(t, func(rt *rapid.T) {
		want := items().Draw(rt, "item")
		c := writing{writer: make([]byte, writerBytes)}
		a := c.next(table.Write{Item: want, If: table.Condition(want.Revision - 1)})
		if n := sizeOf(t, a); n > want.Size() {
			rt.Fatalf("DynamoDB counts %d bytes, the item %d", n, want.Size())
		}
		for name, v := range a {
			if s, ok := v.(*types.AttributeValueMemberS); ok && s.Value == "" {
				rt.Fatalf("%s is empty", name)
			}
		}
		if !want.Expires.IsZero() {
			r := &reader{a: a}
			if ttl := r.number(attrTTL); ttl < want.Expires.Unix() || time.Unix(ttl, 0).Before(want.Expires) {
				rt.Fatalf("it expires at %v and may be deleted at %d", want.Expires, ttl)
			}
		}
		got, err := d.item(a, false)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || d != "" {
			rt.Fatalf("%v (-want +got):\n%s", err, d)
		}
	})
}

// TestForeignItemsAreDamage: an item that this package did not write is no answer.
func TestForeignItemsAreDamage(t *testing.T) {
	d := &driver{indexes: []string{"i"}}
	for name, change := range map[string]func(attributes){
		"no key":          func(a attributes) { delete(a, attrSort) },
		"no value":        func(a attributes) { delete(a, attrValue) },
		"no revision":     func(a attributes) { delete(a, attrRevision) },
		"revision 0":      func(a attributes) { a[attrRevision] = number(0) },
		"revision text":   func(a attributes) { a[attrRevision] = text("1") },
		"half a place":    func(a attributes) { a["i_pk"] = text("p") },
		"no whole number": func(a attributes) { a[attrExpires] = &types.AttributeValueMemberN{Value: "1.5"} },
	} {
		a := stored(table.Item{Key: table.Key{Partition: "p", Sort: "s"}})
		if _, err := d.item(a, false); err != nil {
			t.Fatal(err)
		}
		change(a)
		if item, err := d.item(a, false); err == nil {
			t.Errorf("%s: read as %+v", name, item)
		}
	}
}

// TestNoScan: what reads a whole table is not in this package.
func TestNoScan(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{".Scan(", "ScanInput", "NewScanPaginator", "ExecuteStatement"} {
			if bytes.Contains(source, []byte(word)) {
				t.Errorf("%s contains %s", file, word)
			}
		}
	}
}
