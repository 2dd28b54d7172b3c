// Command gateway is the gateway service alone.
package main

import (
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/gateway"
)

func main() { os.Exit(app.Main(os.Stderr, drivers.Default, gateway.Spec)) }
