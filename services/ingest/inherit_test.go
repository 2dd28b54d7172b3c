package ingest

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// Leads to one asset end in the same ownership and path in whatever order they come.
func TestLeadsInAnyOrder(t *testing.T) {
	key := assetKey("acme", "assets/x")
	apply := func(t *rapid.T, leads []*modelv1.Asset) *modelv1.Asset {
		item, err := protoitem.New(key, leads[0])
		if err != nil {
			t.Fatal(err)
		}
		for n, lead := range leads[1:] {
			item.Revision = int64(n + 1)
			writes, err := refreshed(item, lead)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range writes {
				item = table.Item{Key: key, Value: w.Item.Value}
			}
		}
		a, err := protoitem.Decode(item, &modelv1.Asset{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	lead := rapid.Custom(func(t *rapid.T) *modelv1.Asset {
		o := &modelv1.Ownership{State: modelv1.Ownership_STATE_UNVERIFIED}
		if rapid.Bool().Draw(t, "inherited") {
			o = &modelv1.Ownership{
				State: modelv1.Ownership_STATE_INHERITED, InheritedFrom: rapid.SampledFrom([]string{"assets/a", "assets/b"}).Draw(t, "from"),
				VerifiedAt: &timestamppb.Timestamp{Seconds: rapid.Int64Range(0, 2).Draw(t, "hour") * 3600},
			}
		}
		a := &modelv1.Asset{Name: "assets/x", Ownership: o, FirstSeen: &timestamppb.Timestamp{Seconds: rapid.Int64Range(0, 3).Draw(t, "first")}}
		for range rapid.IntRange(1, 3).Draw(t, "steps") {
			a.Path = append(a.Path, &modelv1.Discovery{
				From: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), ScanType: modelv1.ScanType(rapid.IntRange(1, 2).Draw(t, "type")),
				Relation: rapid.SampledFrom([]string{"MX record", "word list"}).Draw(t, "relation"),
			})
		}
		return a
	})
	rapid.Check(t, func(t *rapid.T) {
		leads := rapid.SliceOfN(lead, 1, 5).Draw(t, "leads")
		want, got := apply(t, leads), apply(t, rapid.Permutation(leads).Draw(t, "order"))
		if !proto.Equal(want, got) {
			t.Fatalf("%v\nand in another order\n%v", want, got)
		}
	})
}
