// Command correlator is the correlator service alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/correlator"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, correlator.Spec)) }
