//go:build aws

package drivers

import "github.com/riskprofiler/riskprofiler/platform/app"

// Default is the list of this binary: AWS.
var Default app.Drivers = AWS
