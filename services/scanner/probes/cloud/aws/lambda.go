package aws

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/policy"
)

// absent is the code for "there is none" of most services.
const absent = "ResourceNotFoundException"

// readFunctions reads functions that have a URL, and those whose policy lets anybody in.
func readFunctions(ctx context.Context, r *regional) {
	client := lambda.NewFromConfig(r.config)
	var all []types.FunctionConfiguration
	pages(ctx, r.inventory, r.at("lambda:ListFunctions"), lambda.NewListFunctionsPaginator(lambdaListFunctions(client.ListFunctions), &lambda.ListFunctionsInput{MaxItems: aws.Int32(50)}),
		func(out *lambda.ListFunctionsOutput) { all = append(all, out.Functions...) })
	each(all, func(f types.FunctionConfiguration) { r.function(ctx, client, f) })
}

func (r *regional) function(ctx context.Context, client *lambda.Client, c types.FunctionConfiguration) {
	name, arn := aws.ToString(c.FunctionName), aws.ToString(c.FunctionArn)
	out, ok := call(ctx, r.inventory, r.at("lambda:GetPolicy"), client.GetPolicy, &lambda.GetPolicyInput{FunctionName: c.FunctionName}, absent)
	judged := policy.Verdict{State: cloud.PolicyNone}
	if ok && out != nil {
		var err error
		if judged, err = policy.Judge(aws.ToString(out.Policy)); err != nil {
			r.gap(cloud.Gap{API: "lambda:GetPolicy", Region: r.region, Why: failedGap, Detail: err.Error()})
		}
	}
	urls := false
	pages(ctx, r.inventory, r.at("lambda:ListFunctionUrlConfigs"),
		lambda.NewListFunctionUrlConfigsPaginator(lambdaListFunctionURLConfigs(client.ListFunctionUrlConfigs), &lambda.ListFunctionUrlConfigsInput{FunctionName: c.FunctionName}),
		func(out *lambda.ListFunctionUrlConfigsOutput) {
			for _, u := range out.FunctionUrlConfigs {
				urls = true
				r.functionURL(name, u, judged, ok)
			}
		})
	// A policy for the URL is told of with the URL; anything else that anybody may do is the function's own affair.
	if judged.State == cloud.PolicyPublic && (!urls || judged.Permits("lambda:InvokeFunction")) {
		f := r.fact(cloud.TypeFunction, arn, name)
		judged.Fill(f.Settings)
		f.Public, f.PublicReason = true, publicPolicy(judged)
		r.add(cloud.Resource{Fact: f})
	}
}

// functionURL files a URL. One without authorization answers anybody as soon as the policy permits that, which the console writes by
// itself (docs.aws.amazon.com/lambda/latest/dg/urls-auth.html).
func (r *regional) functionURL(name string, u types.FunctionUrlConfig, judged policy.Verdict, known bool) {
	f := r.fact(cloud.TypeFunctionURL, aws.ToString(u.FunctionArn)+"/url", name)
	if at, err := url.Parse(aws.ToString(u.FunctionUrl)); err == nil && at.Hostname() != "" {
		f.Hostnames = []string{strings.ToLower(at.Hostname())}
	}
	f.Settings[cloud.SettingAuthorizer] = cloud.None
	if u.AuthType != types.FunctionUrlAuthTypeNone {
		f.Settings[cloud.SettingAuthorizer] = string(u.AuthType)
	}
	if known {
		judged.Fill(f.Settings)
		f.Public = u.AuthType == types.FunctionUrlAuthTypeNone && judged.Permits("lambda:InvokeFunctionUrl")
	}
	if f.GetPublic() {
		f.PublicReason = "it asks for no authorization, and the function's policy lets anybody call it"
	}
	r.add(cloud.Resource{Fact: f, Names: true, Partly: !known})
}
