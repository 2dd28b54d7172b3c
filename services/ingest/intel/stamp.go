package intel

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// timeFormat is how times are written into files and keys: their order is that of time.
const timeFormat = "2006-01-02T15:04:05.000Z"

func parseStamp(s string) (*timestamppb.Timestamp, error) {
	t, err := time.Parse(timeFormat, s)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read catalogue: its date is wrong")
	}
	return timestamppb.New(t), nil
}
