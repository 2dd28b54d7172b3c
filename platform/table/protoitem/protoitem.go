// Package protoitem stores protobuf messages whole as the values of a table's items.
package protoitem

import (
	"google.golang.org/protobuf/proto"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
)

// New is the item with m under key. A message that cannot be encoded (text that is not UTF-8) is fault.Internal.
func New(key table.Key, m proto.Message) (table.Item, error) {
	value, err := proto.Marshal(m)
	if err != nil {
		return table.Item{}, fault.Wrap(fault.Internal, err, "encode %s", m.ProtoReflect().Descriptor().Name())
	}
	return table.Item{Key: key, Value: value}, nil
}

// Decode reads the message of an item into the given one and returns that. What cannot be read is fault.DataLoss.
func Decode[M proto.Message](item table.Item, into M) (M, error) {
	if err := proto.Unmarshal(item.Value, into); err != nil {
		return into, fault.Wrap(fault.DataLoss, err, "decode stored %s", into.ProtoReflect().Descriptor().Name())
	}
	return into, nil
}
