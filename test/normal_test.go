package test

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// varying are the fields that differ between two runs of the same assessment on the same lab: random ids, the key of the
// operator, and text that quotes the time at which a server answered.
var varying = map[protoreflect.FullName]bool{
	"riskprofiler.model.v1.Coverage.assessment":          true,
	"riskprofiler.model.v1.Coverage.job":                 true,
	"riskprofiler.model.v1.Observation.trace_id":         true,
	"riskprofiler.model.v1.Evidence.blob":                true,
	"riskprofiler.model.v1.Evidence.excerpt":             true,
	"riskprofiler.model.v1.Asset.etag":                   true,
	"riskprofiler.model.v1.Ownership.subject":            true,
	"riskprofiler.correlator.v1.Finding.assessment":      true,
	"riskprofiler.correlator.v1.Finding.trace_id":        true,
	"riskprofiler.correlator.v1.Finding.etag":            true,
	"riskprofiler.correlator.v1.FindingEvidence.blob":    true,
	"riskprofiler.correlator.v1.FindingEvidence.excerpt": true,
}

// datedHeaders are the maps of headers, in which one tells the time.
const datedHeaders = protoreflect.FullName("riskprofiler.model.v1.HttpFact.headers")

// isTime says whether a field is a time or was computed from one.
func isTime(f protoreflect.FieldDescriptor) bool {
	return f.Message() != nil && f.Message().FullName() == "google.protobuf.Timestamp"
}

// forget clears what varies in m and below it.
func forget(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case varying[f.FullName()] || isTime(f):
			m.Clear(f)
		case f.FullName() == datedHeaders:
			v.Map().Clear(protoreflect.ValueOfString("date").MapKey())
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
