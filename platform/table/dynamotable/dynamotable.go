// Package dynamotable keeps tables in Amazon DynamoDB: the driver of package table for AWS. One table of package table is one
// table of DynamoDB, named by the location's prefix.
//
// # Layout of an item
//
//	pk        S  Key.Partition
//	sk        S  Key.Sort; an empty one is U+0000, which no key contains, since DynamoDB refuses empty key attributes
//	value     B  Item.Value
//	rev       N  Item.Revision
//	w         B  8 random bytes of the write that made the item
//	expires   N  Item.Expires in Unix milliseconds, if set; compared on every read and in every condition
//	ttl       N  the same in whole seconds, rounded up: DynamoDB's Time to Live deletes by it, days late
//	<i>_pk    S  partition of the item's place in index i
//	<i>_sk    S  sort key there, written as sk is
//
// An index is a global secondary index of its own over <i>_pk and <i>_sk with all attributes projected. It is sparse: an item
// that has no place in it lacks the two. DynamoDB keeps items of one place apart by their keys, as pages need.
//
// The sizes of names and numbers fit into table.ItemOverheadBytes, so what package table allows DynamoDB takes. Names of indexes
// have to be declared to [DB.Table]: a put with table.Any has to know what to remove, and a query without values what to ask for.
//
// # What a result means
//
// Requests that AWS throttled or rejected because of a running transaction were not executed and are sent again, by the policy of
// awsclient.NewRetryer. A request whose answer was lost (connection broken, status 5xx) may have been executed. Then:
//
//   - several writes: the request is sent again with its client token, by which DynamoDB executes it once;
//   - one write with a condition: it is sent again, and if the condition fails now, the item says by "w" whether it was us;
//   - one write with table.Any: it is not sent again, since somebody may have built on it meanwhile; the item is read.
//
// Where that does not decide, the error is fault.Unavailable, after which nobody knows. A fault.Conflict is always certain.
//
// Reads of the table are strongly consistent, reads of an index are not. There is no scan in this package, and IAM denies it.
// It refuses undeclared indexes, and makes no network call before the first use of a table.
package dynamotable

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

const (
	// attemptTimeout bounds one HTTP request. DynamoDB answers in milliseconds; the largest answer is 16 MB
	// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
	attemptTimeout = 10 * time.Second
	// callTimeout bounds one call of the driver with all its requests, where the caller's context has no earlier end.
	callTimeout = time.Minute
)

// DB is a place where tables are. It is safe for concurrent use.
type DB struct {
	client   *dynamodb.Client
	location awsclient.Location
}

// Open makes the client. It calls nothing.
func Open(cfg aws.Config, l awsclient.Location) *DB {
	return &DB{location: l, client: dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.BaseEndpoint = l.EndpointOf("dynamodb")
		o.HTTPClient = awsclient.Bounded(o.HTTPClient, attemptTimeout)
		o.Logger = logging.Nop{} // its lines are not those of our log; what fails comes back as an error
	})}
}

// Client is the client of the tables, for [Create].
func (db *DB) Client() *dynamodb.Client { return db.client }

// Table is the driver for one table, which is in these indexes and no others: a write or a query with another index is
// fault.Internal. Whether the table is there shows at its first use.
func (db *DB) Table(name string, indexes ...string) table.Driver {
	indexes = slices.Sorted(slices.Values(indexes))
	return &driver{
		client: db.client, table: db.location.Name(name), region: db.location.Region,
		indexes: indexes, projection: keysProjection(indexes), retryer: newRetryer(),
	}
}

// driver implements table.Driver for one table.
type driver struct {
	client  *dynamodb.Client
	table   string // the full name
	region  string
	indexes []string // sorted
	// projection asks for all but the value.
	projection expression
	// retryer has the table's own budget of retries: a table whose partition is hot does not use up that of others.
	retryer *retry.Standard
}

// Close implements table.Driver. The client needs no closing.
func (d *driver) Close() error { return nil }

// declared returns an error unless the index is one of the table's.
func (d *driver) declared(index string) error {
	if _, found := slices.BinarySearch(d.indexes, index); !found {
		return fault.New(fault.Internal, "use index %s: it is not declared; name it in the Spec of the service that owns the table", index)
	}
	return nil
}
