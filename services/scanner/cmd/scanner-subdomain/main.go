// Command scanner-subdomain is the scanner service with the scan type subdomain alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/subdomain"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, scanner.SpecFor(subdomain.New()))) }
