package test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
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

// Normalised are the facts of a report without what differs from run to run: each as one line of JSON, sorted.
func Normalised(doc *reporterv1.ReportDocument) []string {
	doc = proto.CloneOf(doc)
	var out []string
	add := func(kind string, m proto.Message) {
		forget(m.ProtoReflect())
		out = append(out, kind+" "+canonical(m))
	}
	for _, m := range doc.GetCoverage() {
		add("coverage", m)
	}
	for _, m := range doc.GetAssets() {
		add("asset", m)
	}
	for _, m := range doc.GetObservations() {
		add("observation", m)
	}
	for _, m := range doc.GetFindings() {
		slices.SortFunc(m.Evidence, func(a, b *correlatorv1.FindingEvidence) int { return cmp.Compare(canonical(a), canonical(b)) })
		add("finding", m)
	}
	for _, m := range doc.GetRisks() {
		add("risk", m)
	}
	slices.Sort(out)
	return out
}

// canonical is a message as JSON without the white space that protojson varies on purpose.
func canonical(m proto.Message) string {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return compact(raw)
}

// Difference shows what two sorted lists do not share: "-" only in want, "+" only in got.
func Difference(want, got []string) string {
	var b strings.Builder
	for len(want) > 0 || len(got) > 0 {
		switch {
		case len(got) == 0 || len(want) > 0 && want[0] < got[0]:
			b.WriteString("- " + want[0] + "\n")
			want = want[1:]
		case len(want) == 0 || got[0] < want[0]:
			b.WriteString("+ " + got[0] + "\n")
			got = got[1:]
		default:
			want, got = want[1:], got[1:]
		}
	}
	return b.String()
}
