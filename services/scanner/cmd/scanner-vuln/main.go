// Command scanner-vuln is the scanner service with the scan type vuln alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/vuln"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, scanner.SpecFor(vuln.New()))) }
