package dynamotable

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// The attributes of every item. See the package comment.
const (
	attrPartition = "pk"
	attrSort      = "sk"
	attrValue     = "value"
	attrRevision  = "rev"
	attrWriter    = "w"
	attrExpires   = "expires"
	attrTTL       = "ttl"
)

// emptySort stands for the empty sort key. It sorts before all others.
const emptySort = "\x00"

// minIndexName is the shortest name that DynamoDB allows for an index:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GlobalSecondaryIndex.html
const minIndexName = 3

// IndexName is DynamoDB's name of an index: its own, filled up with dots.
func IndexName(index string) string {
	return index + strings.Repeat(".", max(0, minIndexName-len(index)))
}

// IndexKeys are the attributes that an index is made of, both of type S.
func IndexKeys(index string) (partition, sort string) { return index + "_pk", index + "_sk" }

type attributes = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func sortText(s string) types.AttributeValue {
	if s == "" {
		s = emptySort
	}
	return text(s)
}

func keyAttributes(k table.Key) attributes {
	return attributes{attrPartition: text(k.Partition), attrSort: sortText(k.Sort)}
}

// state is what a put stores beside key and revision. What is not in it an item does not have.
func state(item table.Item, writer []byte) attributes {
	value := item.Value
	if value == nil {
		value = []byte{} // the SDK leaves out nil
	}
	a := attributes{
		attrValue:  &types.AttributeValueMemberB{Value: value},
		attrWriter: &types.AttributeValueMemberB{Value: writer},
	}
	if !item.Expires.IsZero() {
		ms := item.Expires.UnixMilli()
		seconds := ms / 1000
		if ms%1000 > 0 {
			seconds++ // never before the expiry
		}
		a[attrExpires], a[attrTTL] = number(ms), number(seconds)
	}
	for index, place := range item.Indexes {
		p, s := IndexKeys(index)
		a[p], a[s] = text(place.Partition), sortText(place.Sort)
	}
	return a
}

// reader takes an item apart and remembers if something was not as this package writes it.
type reader struct {
	a   attributes
	bad bool
}

func (r *reader) text(name string) string {
	v, ok := r.a[name].(*types.AttributeValueMemberS)
	if !ok {
		r.bad = true
		return ""
	}
	return v.Value
}

func (r *reader) sort(name string) string {
	s := r.text(name)
	if s == emptySort {
		return ""
	}
	return s
}

func (r *reader) number(name string) int64 {
	v, ok := r.a[name].(*types.AttributeValueMemberN)
	if !ok {
		r.bad = true
		return 0
	}
	n, err := strconv.ParseInt(v.Value, 10, 64)
	r.bad = r.bad || err != nil
	return n
}

func (r *reader) key() table.Key {
	return table.Key{Partition: r.text(attrPartition), Sort: r.sort(attrSort)}
}

// item reads an item, with its value unless keysOnly.
func (d *driver) item(a attributes, keysOnly bool) (table.Item, error) {
	r := &reader{a: a}
	item := table.Item{Key: r.key(), Revision: r.number(attrRevision)}
	if a[attrExpires] != nil {
		item.Expires = time.UnixMilli(r.number(attrExpires))
	}
	for _, index := range d.indexes {
		p, s := IndexKeys(index)
		if a[p] == nil && a[s] == nil {
			continue
		}
		if item.Indexes == nil {
			item.Indexes = map[string]table.Key{}
		}
		item.Indexes[index] = table.Key{Partition: r.text(p), Sort: r.sort(s)}
	}
	if !keysOnly {
		v, ok := a[attrValue].(*types.AttributeValueMemberB)
		if ok {
			item.Value = v.Value
		}
		r.bad = r.bad || !ok
	}
	if r.bad || item.Revision < 1 {
		return table.Item{}, fault.New(fault.DataLoss, "read item %q of %s: its attributes are not as they were written", item.Key, d.table)
	}
	return item, nil
}

func expired(item table.Item, now int64) bool {
	return !item.Expires.IsZero() && item.Expires.UnixMilli() <= now
}

// wroteBy says whether that write made the item.
func wroteBy(a attributes, writer []byte) bool {
	v, ok := a[attrWriter].(*types.AttributeValueMemberB)
	return ok && bytes.Equal(v.Value, writer)
}
