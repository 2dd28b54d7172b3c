package dynamotable

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// maxStalls is how many answers in a row of a batch may bring nothing before it is given up. Answers that bring something are
// bounded by the number of keys.
const maxStalls = awsclient.MaxAttempts

// Get implements table.Driver.
func (d *driver) Get(ctx context.Context, key table.Key) (table.Item, error) {
	ctx, cancel, err := begin(ctx)
	defer cancel()
	if err != nil {
		return table.Item{}, err
	}
	out, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &d.table, Key: keyAttributes(key), ConsistentRead: aws.Bool(true),
	}, d.retry(nil))
	if err != nil {
		return table.Item{}, d.fault(err, "read item")
	}
	if len(out.Item) == 0 {
		return table.Item{}, errNotFound()
	}
	item, err := d.item(out.Item, false)
	if err == nil && expired(item, time.Now().UnixMilli()) {
		err = errNotFound()
	}
	if err != nil {
		return table.Item{}, err
	}
	return item, nil
}

func errNotFound() error { return fault.New(fault.NotFound, "item not found") }

// GetAll implements table.Driver.
func (d *driver) GetAll(ctx context.Context, keys []table.Key) ([]table.Item, error) {
	ctx, cancel, err := begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	found := make(map[table.Key]table.Item, len(keys))
	if err := d.batch(ctx, keys, found); err != nil {
		return nil, err
	}
	now := time.Now().UnixMilli()
	items := make([]table.Item, 0, len(found))
	for _, key := range keys {
		if item, there := found[key]; there && !expired(item, now) {
			items = append(items, item)
		}
	}
	return items, nil
}

// batch reads until no key is left: an answer ends at 16 MB or where the table is throttled
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
func (d *driver) batch(ctx context.Context, keys []table.Key, found map[table.Key]table.Item) error {
	left := make([]attributes, 0, len(keys))
	for _, key := range keys {
		left = append(left, keyAttributes(key))
	}
	for stalls := 0; len(left) > 0; {
		out, err := d.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			d.table: {Keys: left, ConsistentRead: aws.Bool(true)},
		}}, d.retry(nil))
		if err != nil {
			return d.fault(err, "read items")
		}
		for _, a := range out.Responses[d.table] {
			item, err := d.item(a, false)
			if err != nil {
				return err
			}
			found[item.Key] = item
		}
		before := len(left)
		left = out.UnprocessedKeys[d.table].Keys
		if len(left) < before {
			stalls = 0
			continue
		}
		if stalls++; stalls >= maxStalls {
			return fault.New(fault.Unavailable, "read items: table %s in %s leaves %d of %d unread: AWS throttles the requests",
				d.table, d.region, len(left), len(keys))
		}
		if err := pause(ctx, stalls); err != nil {
			return d.fault(err, "read items")
		}
	}
	return nil
}
