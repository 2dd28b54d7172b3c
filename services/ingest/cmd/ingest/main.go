// Command ingest is the ingest service alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/ingest"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, ingest.Spec)) }
