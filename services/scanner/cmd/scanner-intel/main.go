// Command scanner-intel is the scanner service with the scan type intel alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/intel"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, scanner.SpecFor(intel.New()))) }
