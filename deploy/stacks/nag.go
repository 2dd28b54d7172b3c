package stacks

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/assertions"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
)

// reason says why a rule of cdk-nag does not hold here, for what it applies to or, without, for the whole construct. What begins
// and ends with a slash is a regular expression.
type reason struct {
	rule, why string
	appliesTo []string
}

// suppress records reasons at a construct and what is below it.
func suppress(c constructs.IConstruct, reasons ...reason) {
	list := make([]*cdknag.NagPackSuppression, 0, len(reasons))
	for _, r := range reasons {
		s := &cdknag.NagPackSuppression{Id: jsii.String(r.rule), Reason: jsii.String(r.why)}
		if len(r.appliesTo) > 0 {
			var to []any
			for _, a := range r.appliesTo {
				if len(a) > 1 && a[0] == '/' && a[len(a)-1] == '/' {
					to = append(to, &cdknag.RegexAppliesTo{Regex: jsii.String(a)})
				} else {
					to = append(to, a)
				}
			}
			s.AppliesTo = &to
		}
		list = append(list, s)
	}
	cdknag.NagSuppressions_AddResourceSuppressions(c, &list, jsii.Bool(true))
}

// Faults are what the rules found in a synthesised stack, each with where and why.
func Faults(s awscdk.Stack) []string {
	var out []string
	for _, e := range *assertions.Annotations_FromStack(s).FindError(jsii.String("*"), assertions.Match_AnyValue()) {
		out = append(out, fmt.Sprint(*e.Id, ": ", e.Entry.Data)) //nolint:staticcheck // SA1019: its new home has no Go module
	}
	return out
}

// judge lets cdk-nag's AWS Solutions rules look at every stack. What they find are errors of the synthesis.
func judge(app awscdk.App) {
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Verbose: jsii.Bool(true), Reports: jsii.Bool(false)}), nil)
}
