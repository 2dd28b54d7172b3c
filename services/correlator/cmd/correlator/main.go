// Command correlator is the correlator service alone, on the embedded drivers.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/correlator"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Embedded, correlator.Spec)) }
