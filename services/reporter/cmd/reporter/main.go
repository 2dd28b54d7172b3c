// Command reporter is the reporter service alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/reporter"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, reporter.Spec)) }
