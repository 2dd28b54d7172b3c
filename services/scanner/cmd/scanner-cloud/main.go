// Command scanner-cloud is the scanner service with the scan type cloud alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/clouds"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, scanner.SpecFor(clouds.New()))) }
