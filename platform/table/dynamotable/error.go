package dynamotable

import (
	"errors"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// fault turns an error of the SDK into one line that names the table and the remedy.
func (d *driver) fault(err error, what string) error {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "ValidationException" {
		// DynamoDB tells these apart by their words only.
		switch words := api.ErrorMessage(); {
		case strings.Contains(words, "Item size"):
			return fault.Wrap(fault.Invalid, err, "%s: the item with its index keys is larger than the 400 KB that DynamoDB takes", what)
		case strings.Contains(words, "specified index"), strings.HasPrefix(words, "Invalid index"):
			return fault.Wrap(fault.Internal, err, "%s: table %s in %s lacks an index that this version declares; deploy the stack that owns it",
				what, d.table, d.region)
		}
	}
	return awsclient.Fault(err, what, awsclient.Resource{Kind: "table", Name: d.table, Region: d.region})
}

func errLayout(d *driver) error {
	return fault.New(fault.DataLoss, "read table %s: an item's attributes are not as they were written", d.table)
}
