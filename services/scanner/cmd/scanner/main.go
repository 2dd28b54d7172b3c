// Command scanner is the scanner service alone, on the embedded drivers.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Embedded, scanner.Spec)) }
