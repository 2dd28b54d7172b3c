package stacks

import (
	"encoding/json"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2authorizers"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2integrations"
	"github.com/aws/jsii-runtime-go"
)

// accessLog is one line for each request. It has no query string and no header: those can hold a credential.
var accessLog = map[string]string{
	"time": "$context.requestTimeEpoch", "request": "$context.requestId", "source": "$context.identity.sourceIp", "method": "$context.httpMethod",
	"path": "$context.path", "route": "$context.routeKey", "status": "$context.status", "bytes": "$context.responseLength",
	"milliseconds": "$context.responseLatency", "integration": "$context.integrationLatency", "error": "$context.error.message",
	"authorizer": "$context.authorizer.error",
}

// api makes the edge: one HTTP API whose callers the gateway alone proves, by API key or token, and, if there is an issuer, a second
// one for its tokens, which API Gateway proves before. docs/decisions/0001-edge-credentials.md says why there are two and no
// authorizer function.
func (s *serviceStack) api(edge built) {
	keys := s.newAPI("api", edge, nil)
	suppress(keys, reason{"AwsSolutions-APIG4", "The gateway proves the API key or token of every request itself and forgets what it read after 30 s; an authorizer " +
		"would be a second function with the same check. See docs/decisions/0001-edge-credentials.md.", nil})
	if s.config.Issuer != "" {
		s.newAPI("tokens", edge, awsapigatewayv2authorizers.NewHttpJwtAuthorizer(jsii.String("Issuer"), jsii.String(s.config.Issuer),
			&awsapigatewayv2authorizers.HttpJwtAuthorizerProps{JwtAudience: jsii.Strings(s.config.Audience), IdentitySource: jsii.Strings("$request.header.Authorization")}))
	}
}

func (s *serviceStack) newAPI(name string, edge built, authorizer awsapigatewayv2.IHttpRouteAuthorizer) awsapigatewayv2.HttpApi {
	api := awsapigatewayv2.NewHttpApi(s.stack, jsii.String("Api-"+name), &awsapigatewayv2.HttpApiProps{
		ApiName: jsii.String(s.names.of(name)), CreateDefaultStage: jsii.Bool(false), DefaultAuthorizer: authorizer,
		Description: jsii.String("RiskProfiler " + s.config.Prefix + ": " + name),
	})
	integration := awsapigatewayv2integrations.NewHttpLambdaIntegration(jsii.String("Edge-"+name), edge.live, &awsapigatewayv2integrations.HttpLambdaIntegrationProps{
		PayloadFormatVersion: awsapigatewayv2.PayloadFormatVersion_VERSION_2_0(),
	})
	// Every other path is answered by API Gateway and costs no invocation.
	routes := []awsapigatewayv2.AddRoutesOptions{{Path: jsii.String("/v1/{proxy+}"), Methods: &[]awsapigatewayv2.HttpMethod{awsapigatewayv2.HttpMethod_ANY}}}
	if authorizer == nil {
		for _, open := range []string{"/openapi.json", "/healthz"} {
			routes = append(routes, awsapigatewayv2.AddRoutesOptions{Path: jsii.String(open), Methods: &[]awsapigatewayv2.HttpMethod{awsapigatewayv2.HttpMethod_GET}})
		}
	}
	for _, r := range routes {
		r.Integration = integration
		api.AddRoutes(&r)
	}
	format, err := json.Marshal(accessLog)
	if err != nil {
		panic(err) // a map of strings
	}
	logs := newLogGroup(s.stack, "ApiLogs-"+name, "/aws/vendedlogs/apigateway/"+s.names.of(name), s.config)
	awsapigatewayv2.NewCfnStage(s.stack, jsii.String("Stage-"+name), &awsapigatewayv2.CfnStageProps{
		ApiId: api.ApiId(), StageName: jsii.String("$default"), AutoDeploy: jsii.Bool(true),
		AccessLogSettings: &awsapigatewayv2.CfnStage_AccessLogSettingsProperty{DestinationArn: logs.LogGroupArn(), Format: jsii.String(string(format))},
		DefaultRouteSettings: &awsapigatewayv2.CfnStage_RouteSettingsProperty{
			ThrottlingRateLimit: jsii.Number(float64(s.config.Rate)), ThrottlingBurstLimit: jsii.Number(float64(s.config.Burst)), DetailedMetricsEnabled: jsii.Bool(true),
		},
	})
	awscdk.NewCfnOutput(s.stack, jsii.String("Url-"+name), &awscdk.CfnOutputProps{Value: api.ApiEndpoint()})
	s.alarms.api(name, api.ApiId())
	return api
}
