// Command scanner-http is the scanner service with the scan type http alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http"
)

func main() {
	os.Exit(app.Main(os.Stderr, drivers.Default, scanner.SpecFor(http.New(http.Options{}))))
}
