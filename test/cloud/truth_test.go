//go:build awstest

package cloud

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/test"
)

// answering are the checks of which one half is what answers. No address of an account on moto may be asked, so they are in no assessment
// here: TestTruthOfJoins shows them.
var answering = []string{"cloud-data-store-answers", "cloud-remote-access-answers", "cloud-ssh-answers"}

// TestTruthOfAWS: a declared account becomes the findings that are declared, all of them and no others; every check of clouds is among
// them or told why not.
func TestTruthOfAWS(t *testing.T) {
	w := newWorld(t, "950000000001")
	w.names()
	w.network()
	w.buckets()
	w.policies()
	w.databases()
	w.balancers()
	w.distribution()
	w.documented()
	w.start()
	w.compare("the account", w.all(), w.assess(modelv1.Outcome_OUTCOME_COMPLETE).GetFindings())

	var played []string
	for _, l := range w.all() {
		played = append(played, strings.Fields(l)[0])
	}
	played = append(played, answering...)
	slices.Sort(played)
	res := &correlatorv1.ListChecksResponse{}
	w.call(http.MethodGet, "/v1/checks", nil, res)
	var shipped []string
	for _, k := range res.GetChecks() {
		if strings.HasPrefix(k.GetId(), "cloud-") {
			shipped = append(shipped, k.GetId())
		}
	}
	slices.Sort(shipped)
	if d := test.Difference(shipped, slices.Compact(played)); d != "" {
		t.Errorf("the truth differs from the catalogue (- no place where it holds, + no check):\n%s", d)
	}
}
