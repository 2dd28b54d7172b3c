// Command scheduler is the scheduler service alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, scheduler.Spec)) }
