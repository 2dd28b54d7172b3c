package dynamotable

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// Codes of CancellationReason, from
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const (
	reasonNone        = "None"
	reasonCondition   = "ConditionalCheckFailed"
	reasonConflict    = "TransactionConflict"
	reasonThroughput  = "ProvisionedThroughputExceeded"
	reasonThrottling  = "ThrottlingError"
	reasonValidation  = "ValidationError"
	reasonItemTooLong = "ItemCollectionSizeLimitExceeded"
)

// transact executes several writes in one step. The client token makes repetitions of the request one execution, for ten minutes:
// longer than callTimeout.
func (c *writing) transact(ctx context.Context, writes []table.Write) error {
	in := &dynamodb.TransactWriteItemsInput{ClientRequestToken: aws.String(rand.Text())}
	for _, w := range writes {
		in.TransactItems = append(in.TransactItems, c.action(w))
	}
	_, err := c.driver.client.TransactWriteItems(ctx, in, c.driver.retry(nil))
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return c.driver.fault(err, "write items")
	}
	for i, reason := range cancelled.CancellationReasons {
		if aws.ToString(reason.Code) == reasonCondition {
			return &table.ConflictError{Position: i}
		}
	}
	switch {
	case transient(cancelled):
		return fault.Wrap(fault.Unavailable, err, "write items: table %s in %s is busy with other transactions on the same items, or throttled",
			c.driver.table, c.driver.region)
	case hasReason(cancelled, reasonValidation) || hasReason(cancelled, reasonItemTooLong):
		return fault.Wrap(fault.Internal, err, "write items: AWS refused the request")
	}
	return fault.Wrap(fault.Unavailable, err, "write items: AWS cancelled the transaction")
}

// action is one write as a part of a transaction.
func (c *writing) action(w table.Write) types.TransactWriteItem {
	e := newExpression()
	name, key := &c.driver.table, keyAttributes(w.Item.Key)
	condition := pointer(e.require(w.If, c.now))
	switch {
	case w.Check:
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: name, Key: key, ConditionExpression: condition,
			ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		}}
	case w.Delete:
		del := &types.Delete{TableName: name, Key: key, ConditionExpression: condition}
		if condition != nil {
			del.ExpressionAttributeNames, del.ExpressionAttributeValues = e.names, e.values
		}
		return types.TransactWriteItem{Delete: del}
	case w.If == table.Any:
		update := e.replace(c.driver, state(w.Item, c.writer))
		return types.TransactWriteItem{Update: &types.Update{
			TableName: name, Key: key, UpdateExpression: &update,
			ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
		}}
	}
	return types.TransactWriteItem{Put: &types.Put{
		TableName: name, Item: c.next(w), ConditionExpression: condition,
		ExpressionAttributeNames: e.names, ExpressionAttributeValues: e.values,
	}}
}

// transient says that a transaction was cancelled for reasons that pass, and for no other.
func transient(err *types.TransactionCanceledException) bool {
	passing := false
	for _, reason := range err.CancellationReasons {
		switch aws.ToString(reason.Code) {
		case reasonConflict, reasonThroughput, reasonThrottling:
			passing = true
		case reasonNone, "":
		default:
			return false
		}
	}
	return passing
}

func hasReason(err *types.TransactionCanceledException, code string) bool {
	for _, reason := range err.CancellationReasons {
		if aws.ToString(reason.Code) == code {
			return true
		}
	}
	return false
}
