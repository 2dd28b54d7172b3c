// Package stacks makes the CDK stacks: one for each service, so that each deploys alone, and a small one for what they share.
// Everything follows from package plan, which follows from the services' Specs.
//
// It refuses to let one stack depend on another one's resources: names are fixed by the prefix and ARNs are put together from
// them. Only the key's ARN is looked up, in a parameter, when a stack is deployed.
package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

// Add makes the stacks of services in an app.
func Add(app awscdk.App, c Config, services []plan.Service) []awscdk.Stack {
	out := []awscdk.Stack{newSharedStack(app, c, services)}
	for _, s := range services {
		out = append(out, newServiceStack(app, c, s, services))
	}
	judge(app)
	return out
}
