package correlator

import (
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// distinct tells findings of one check at one location apart where each fact is a weakness of its own: results of an engine, and
// findings of other tools. They are mended one by one. Empty for all other facts.
func distinct(o *modelv1.Observation) string {
	switch f := o.GetFact().(type) {
	case *modelv1.Observation_Vulnerability:
		return "\x00" + f.Vulnerability.GetEngine() + "\x00" + f.Vulnerability.GetRule()
	case *modelv1.Observation_Reported:
		return "\x00" + f.Reported.GetTool() + "\x00" + f.Reported.GetFingerprint()
	}
	return ""
}
