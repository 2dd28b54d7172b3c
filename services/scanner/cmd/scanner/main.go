// Command scanner is the scanner service alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, all.Spec)) }
