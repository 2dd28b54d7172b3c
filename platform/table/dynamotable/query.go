package dynamotable

import (
	"context"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// maxRequests is how many requests a page may take where items have expired or have long values that nobody asked for. Then it ends
// short, and the next page goes on. Each request reads at most 1 MB.
const maxRequests = 10

// Query implements table.Driver.
func (d *driver) Query(ctx context.Context, r table.Range) (table.RangeResult, error) {
	ctx, cancel, err := begin(ctx)
	defer cancel()
	if err != nil {
		return table.RangeResult{}, err
	}
	if r.Index != "" {
		if err := d.declared(r.Index); err != nil {
			return table.RangeResult{}, err
		}
	}
	start, empty := startOf(r)
	if empty {
		return table.RangeResult{}, nil
	}
	p := &page{driver: d, r: r, now: time.Now().UnixMilli()}
	in := d.queryInput(r, start, p.now)
	for request := range maxRequests {
		// One more than is wanted tells whether there is more; two at the edges and expired ones do not count, so later requests ask for
		// more.
		in.Limit = aws.Int32(int32(min(r.Limit-len(p.result.Items)+3<<request, table.MaxPageItems+3)))
		out, err := d.client.Query(ctx, in, d.retry(nil))
		if err != nil {
			return table.RangeResult{}, d.fault(err, "query")
		}
		done, err := p.add(out)
		if err != nil || done {
			return p.result, err
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	p.result.Last = &p.last
	return p.result, nil
}

// queryInput is the request for all of a range from start on.
func (d *driver) queryInput(r table.Range, start *table.Position, now int64) *dynamodb.QueryInput {
	e := newExpression()
	in := &dynamodb.QueryInput{
		TableName:        &d.table,
		ScanIndexForward: aws.Bool(!r.Descending),
		ConsistentRead:   aws.Bool(r.Index == ""),
	}
	if r.KeysOnly {
		maps.Copy(e.names, d.projection.names)
		in.ProjectionExpression = &d.projection.text
	}
	partition, sort := attrPartition, attrSort
	if r.Index != "" {
		partition, sort = IndexKeys(r.Index)
		in.IndexName = aws.String(IndexName(r.Index))
	}
	if start != nil {
		in.ExclusiveStartKey = keyAttributes(start.Key)
		in.ExclusiveStartKey[partition], in.ExclusiveStartKey[sort] = text(start.Place.Partition), sortText(start.Place.Sort)
	}
	e.values[":p"] = text(r.Partition)
	in.KeyConditionExpression = aws.String(strings.Join(append([]string{e.name(partition) + " = :p"}, e.between(r, sort)...), " AND "))
	in.FilterExpression = aws.String(e.alive(now))
	in.ExpressionAttributeNames, in.ExpressionAttributeValues = e.names, e.values
	return in
}

// between is the condition on the sort key, of which DynamoDB takes only one: two bounds are both inclusive, and what lies on them and
// outside of the range is dropped when it comes (page.outside).
func (e *expression) between(r table.Range, sort string) []string {
	low, above := strings.CutSuffix(r.From, "\x00")
	high, inclusive := upper(r.Until)
	if low != "" {
		e.values[":low"] = text(low)
	}
	if high != "" {
		e.values[":high"] = text(high)
	}
	switch {
	case low != "" && high != "":
		return []string{e.name(sort) + " BETWEEN :low AND :high"}
	case low != "" && above:
		return []string{e.name(sort) + " > :low"}
	case low != "":
		return []string{e.name(sort) + " >= :low"}
	case high != "" && inclusive:
		return []string{e.name(sort) + " <= :high"}
	case high != "":
		return []string{e.name(sort) + " < :high"}
	}
	return nil
}

// upper is the upper bound, and whether it is inclusive. The end of a prefix may be a byte longer than a key can be, where its last
// character is the first that takes so many bytes; DynamoDB refuses to compare with it. Below it is then everything up to the
// character before.
func upper(until string) (string, bool) {
	if len(until) <= table.MaxSortKeyBytes {
		return until, false
	}
	last, size := utf8.DecodeLastRuneInString(until)
	return until[:len(until)-size] + string(last-1), true
}

// startOf is where to start, nil for the beginning of the range, and whether nothing is left. DynamoDB refuses starts outside of the
// range.
func startOf(r table.Range) (start *table.Position, empty bool) {
	if r.Start == nil {
		return nil, false
	}
	below := r.Start.Place.Sort < r.From
	above := r.Until != "" && r.Start.Place.Sort >= r.Until
	if r.Descending {
		below, above = above, below
	}
	if below || above {
		return nil, above
	}
	return r.Start, false
}

// page collects the items of one page and notices when it is full.
type page struct {
	driver *driver
	r      table.Range
	now    int64
	bytes  int
	result table.RangeResult
	last   table.Position
}

// add takes an answer, and says whether the page is done.
func (p *page) add(out *dynamodb.QueryOutput) (done bool, err error) {
	for _, a := range out.Items {
		item, err := p.driver.item(a, p.r.KeysOnly)
		if err != nil {
			return false, err
		}
		place := item.Key
		if p.r.Index != "" {
			place = item.Indexes[p.r.Index]
		}
		if p.outside(place.Sort) || expired(item, p.now) {
			continue
		}
		size, n := item.Size(), len(p.result.Items)
		if n == p.r.Limit || n > 0 && p.bytes+size > table.MaxPageBytes {
			p.result.Last = &p.last
			return true, nil
		}
		p.last = table.Position{Place: place, Key: item.Key}
		p.bytes += size
		p.result.Items = append(p.result.Items, item)
	}
	if len(out.LastEvaluatedKey) == 0 {
		return true, nil
	}
	if p.last, err = p.driver.position(out.LastEvaluatedKey, p.r); err != nil {
		return false, err
	}
	if len(p.result.Items) == p.r.Limit {
		p.result.Last = &p.last
		return true, nil
	}
	return false, nil
}

func (p *page) outside(sort string) bool {
	return sort < p.r.From || p.r.Until != "" && sort >= p.r.Until
}

// position reads a LastEvaluatedKey.
func (d *driver) position(a attributes, r table.Range) (table.Position, error) {
	read := &reader{a: a}
	p := table.Position{Key: read.key()}
	p.Place = p.Key
	if r.Index != "" {
		partition, sort := IndexKeys(r.Index)
		p.Place = table.Key{Partition: read.text(partition), Sort: read.sort(sort)}
	}
	if read.bad {
		return p, errLayout(d)
	}
	return p, nil
}
