// Command scanner-dns is the scanner service with the scan type dns alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/dns"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, scanner.SpecFor(dns.New(dns.Options{})))) }
