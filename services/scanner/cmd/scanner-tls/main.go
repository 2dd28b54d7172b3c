// Command scanner-tls is the scanner service with the scan type tls alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/tls"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, scanner.SpecFor(tls.New(tls.Options{})))) }
