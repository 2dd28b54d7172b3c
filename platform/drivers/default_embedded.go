//go:build !aws

package drivers

import "github.com/riskprofiler/riskprofiler/platform/app"

// Default is the list of this binary: everything on this machine.
var Default app.Drivers = Embedded
