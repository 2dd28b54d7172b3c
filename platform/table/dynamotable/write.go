package dynamotable

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// writerBytes name a write. Two of a million writes of one item have the same by a chance of 3e-8.
const writerBytes = 8

// Write implements table.Driver.
func (d *driver) Write(ctx context.Context, writes []table.Write) error {
	for _, w := range writes {
		for index := range w.Item.Indexes {
			if err := d.declared(index); err != nil && !w.Delete && !w.Check {
				return err
			}
		}
	}
	ctx, cancel, err := begin(ctx)
	defer cancel()
	if err != nil {
		return err
	}
	call := writing{driver: d, now: time.Now().UnixMilli(), writer: make([]byte, writerBytes)}
	_, _ = rand.Read(call.writer) // never fails
	switch {
	case len(writes) > 1:
		return call.transact(ctx, writes)
	case writes[0].Check:
		return call.check(ctx, writes[0])
	}
	return call.one(ctx, writes[0])
}

// writing is one call of Write.
type writing struct {
	driver *driver
	now    int64
	writer []byte
}

// one executes a put or delete for itself.
func (c *writing) one(ctx context.Context, w table.Write) error {
	o := &outcome{resend: w.If != table.Any}
	var err error
	switch {
	case w.Delete:
		err = c.delete(ctx, w, o)
	case w.If == table.Any:
		err = c.update(ctx, w, o)
	default:
		err = c.put(ctx, w, o)
	}
	var failed *types.ConditionalCheckFailedException
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed) && !o.doubtful:
		return &table.ConflictError{}
	case errors.As(err, &failed):
		if !w.Delete && wroteBy(failed.Item, c.writer) {
			return nil
		}
	case !o.doubtful || ctx.Err() != nil:
		return c.driver.fault(err, "write item")
	case c.happened(ctx, w):
		return nil
	}
	return fault.Wrap(fault.Unavailable, err, "write item: an answer of AWS was lost, and what is stored now does not tell whether it was written")
}

// happened looks at what is stored after an answer was lost.
func (c *writing) happened(ctx context.Context, w table.Write) bool {
	e := newExpression()
	projection := e.name(attrWriter)
	out, err := c.driver.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &c.driver.table, Key: keyAttributes(w.Item.Key), ConsistentRead: aws.Bool(true),
		ProjectionExpression: &projection, ExpressionAttributeNames: e.names,
	}, c.driver.retry(nil))
	if err != nil {
		return false
	}
	if w.Delete {
		// With any condition: whoever deleted it, now it is gone. With another, we cannot know that it was us.
		return w.If == table.Any && len(out.Item) == 0
	}
	return wroteBy(out.Item, c.writer)
}

func (c *writing) put(ctx context.Context, w table.Write, o *outcome) error {
	e := newExpression()
	condition := e.require(w.If, c.now)
	_, err := c.driver.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &c.driver.table, Item: c.next(w), ConditionExpression: pointer(condition),
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}, c.driver.retry(o))
	return err
}

// next is the item after a put with a condition, which says what the revision was.
func (c *writing) next(w table.Write) attributes {
	a := state(w.Item, c.writer)
	maps.Copy(a, keyAttributes(w.Item.Key))
	a[attrRevision] = number(int64(w.If) + 1)
	return a
}

func (c *writing) update(ctx context.Context, w table.Write, o *outcome) error {
	e := newExpression()
	update := e.replace(c.driver, state(w.Item, c.writer))
	_, err := c.driver.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &c.driver.table, Key: keyAttributes(w.Item.Key), UpdateExpression: &update,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}, c.driver.retry(o))
	return err
}

func (c *writing) delete(ctx context.Context, w table.Write, o *outcome) error {
	in := &dynamodb.DeleteItemInput{TableName: &c.driver.table, Key: keyAttributes(w.Item.Key)}
	if w.If != table.Any {
		e := newExpression()
		in.ConditionExpression = pointer(e.require(w.If, c.now))
		in.ExpressionAttributeNames, in.ExpressionAttributeValues = e.names, e.values
	}
	_, err := c.driver.client.DeleteItem(ctx, in, c.driver.retry(o))
	return err
}

// check tests a condition and changes nothing: a read tells as well.
func (c *writing) check(ctx context.Context, w table.Write) error {
	e := newExpression()
	projection := e.name(attrRevision) + ", " + e.name(attrExpires)
	out, err := c.driver.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &c.driver.table, Key: keyAttributes(w.Item.Key), ConsistentRead: aws.Bool(true),
		ProjectionExpression: &projection, ExpressionAttributeNames: e.names,
	}, c.driver.retry(nil))
	if err != nil {
		return c.driver.fault(err, "check item")
	}
	r := &reader{a: out.Item}
	var revision int64
	if alive := out.Item[attrExpires] == nil || r.number(attrExpires) > c.now; len(out.Item) > 0 && alive {
		revision = r.number(attrRevision)
	}
	if r.bad {
		return errLayout(c.driver)
	}
	if revision != int64(w.If) {
		return &table.ConflictError{}
	}
	return nil
}
