package test

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// varying are the fields that differ between two runs of the same assessment on the same lab: ids that are random, times,
// and what is made anew for every connection or answer.
var varying = map[protoreflect.Name]bool{
	"assessment": true, "job": true, "trace_id": true, "etag": true, "blob": true, "excerpt": true,
	"subject": true,
}

// isTime says whether a field is a time or was computed from one.
func isTime(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && f.Message().FullName() == "google.protobuf.Timestamp"
}

// forget clears what varies in m and below it.
func forget(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case varying[f.Name()] || isTime(f):
			m.Clear(f)
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				forget(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			forget(v.Message())
		}
		return true
	})
}

// compact is JSON without white space.
func compact(raw []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return err.Error()
	}
	return b.String()
}
