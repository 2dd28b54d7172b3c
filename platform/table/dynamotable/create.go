package dynamotable

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
)

// createTimeout is how long a new table may take to become usable.
const createTimeout = 5 * time.Minute

// Create makes a table of that full name with these indexes, for tests and stand-ins: on AWS the deployment does it, with encryption
// and recovery besides. It returns when the table can be used. A table that is there already is success.
func Create(ctx context.Context, client *dynamodb.Client, name string, indexes []string) error {
	fail := func(err error) error {
		return awsclient.Fault(err, "create table", awsclient.Resource{Kind: "table", Name: name, Region: client.Options().Region})
	}
	_, err := client.CreateTable(ctx, definition(name, indexes))
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return fail(err)
	}
	table := &dynamodb.DescribeTableInput{TableName: &name}
	if err := dynamodb.NewTableExistsWaiter(client).Wait(ctx, table, createTimeout); err != nil || exists != nil {
		return fail(err)
	}
	_, err = client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               &name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(attrTTL), Enabled: aws.Bool(true)},
	})
	return fail(err)
}

// definition is the table as package comment and deployment have it.
func definition(name string, indexes []string) *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{
		TableName:            &name,
		BillingMode:          types.BillingModePayPerRequest,
		KeySchema:            keySchema(attrPartition, attrSort),
		AttributeDefinitions: []types.AttributeDefinition{textAttribute(attrPartition), textAttribute(attrSort)},
	}
	for _, index := range indexes {
		partition, sort := IndexKeys(index)
		in.AttributeDefinitions = append(in.AttributeDefinitions, textAttribute(partition), textAttribute(sort))
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName:  aws.String(IndexName(index)),
			KeySchema:  keySchema(partition, sort),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		})
	}
	return in
}

func keySchema(partition, sort string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: &partition, KeyType: types.KeyTypeHash}, {AttributeName: &sort, KeyType: types.KeyTypeRange},
	}
}

func textAttribute(name string) types.AttributeDefinition {
	return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
}
