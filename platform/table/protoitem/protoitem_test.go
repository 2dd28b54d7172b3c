package protoitem_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

func TestRoundTrip(t *testing.T) {
	item, err := protoitem.New(table.Key{Partition: "p", Sort: "s"}, wrapperspb.String("x"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := protoitem.Decode(item, &wrapperspb.StringValue{})
	if err != nil || got.GetValue() != "x" {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	if _, err := protoitem.New(table.Key{Partition: "p"}, wrapperspb.String("\xff")); !errors.Is(err, fault.Internal) {
		t.Errorf("encoding text that is not UTF-8: %v", err)
	}
	if _, err := protoitem.Decode(table.Item{Value: []byte{0xff}}, &wrapperspb.StringValue{}); !errors.Is(err, fault.DataLoss) {
		t.Errorf("decoding what is no message: %v", err)
	}
}
