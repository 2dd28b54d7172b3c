// Package clouds is the scan type cloud with every provider. It is apart from package cloud, which the providers import.
package clouds

import (
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/azure"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/google"
)

// New is the probe with its providers, one line each.
func New() *cloud.Probe {
	return cloud.New(
		aws.New(), azure.New(), google.New(),
	)
}
