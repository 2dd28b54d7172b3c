package aws

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	v2 "github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	v2types "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/policy"
)

const (
	// apiGET is the one action for every reading call of API Gateway
	// (docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapigatewaymanagement.html).
	apiGET = "apigateway:GET"
	// noAuthorization is the kind of a route that anybody may call.
	noAuthorization = "NONE"
	maxOpenRoutes   = 20
)

// readRestAPIs reads APIs of the first generation.
func readRestAPIs(ctx context.Context, r *regional) {
	client := apigateway.NewFromConfig(r.config)
	var all []types.RestApi
	pages(ctx, r.inventory, r.at(apiGET), apigateway.NewGetRestApisPaginator(apigatewayGetRestApis(client.GetRestApis), &apigateway.GetRestApisInput{Limit: aws.Int32(500)}),
		func(out *apigateway.GetRestApisOutput) { all = append(all, out.Items...) })
	for _, a := range all {
		r.restAPI(ctx, client, a)
	}
}

func (r *regional) restAPI(ctx context.Context, client *apigateway.Client, a types.RestApi) {
	id := aws.ToString(a.Id)
	f := r.fact(cloud.TypeRestAPI, "arn:"+r.name+":apigateway:"+r.region+"::/restapis/"+id, aws.ToString(a.Name))
	f.Tags, f.Created = a.Tags, stamp(a.CreatedDate)
	private := a.EndpointConfiguration != nil && slices.Contains(a.EndpointConfiguration.Types, types.EndpointTypePrivate)
	judged, err := policy.Judge(unescape(aws.ToString(a.Policy)))
	if err != nil {
		r.gap(cloud.Gap{API: apiGET, Region: r.region, Why: failedGap, Detail: err.Error()})
	} else {
		judged.Fill(f.Settings)
	}
	if !a.DisableExecuteApiEndpoint {
		f.Hostnames = []string{id + ".execute-api." + r.region + "." + r.suffix()}
	}
	whole := r.stages(ctx, client, f, id)
	kinds := map[string]bool{}
	var open []string
	routes := pages(ctx, r.inventory, r.at(apiGET), apigateway.NewGetResourcesPaginator(apigatewayGetResources(client.GetResources), &apigateway.GetResourcesInput{
		RestApiId: a.Id, Limit: aws.Int32(500), Embed: []string{"methods"},
	}), func(out *apigateway.GetResourcesOutput) {
		for _, resource := range out.Items {
			for method, m := range resource.ResourceMethods {
				kind := aws.ToString(m.AuthorizationType)
				if kind == noAuthorization && aws.ToBool(m.ApiKeyRequired) {
					kind = "API_KEY"
				}
				if method != "OPTIONS" { // asked without credentials by every browser (CORS)
					kinds[kind] = true
					open = appendOpen(open, kind, method+" "+aws.ToString(resource.Path))
				}
			}
		}
	})
	if f.Public = !private && judged.State != cloud.PolicyRestricted; f.GetPublic() {
		f.PublicReason = "its endpoint is not private, and no policy narrows who may call"
	}
	if routes {
		fillAuthorizers(f, kinds, open)
	}
	r.add(cloud.Resource{Fact: f, Names: !private, Partly: !routes || !whole || err != nil})
}

// stages says which rules of the firewall stand before all stages; [cloud.None] if one has none.
func (r *regional) stages(ctx context.Context, client *apigateway.Client, f *modelv1.CloudFact, id string) bool {
	out, ok := call(ctx, r.inventory, r.at(apiGET), client.GetStages, &apigateway.GetStagesInput{RestApiId: aws.String(id)})
	if !ok || out == nil {
		return ok
	}
	acl := ""
	for _, s := range out.Item {
		if acl = lastOf(aws.ToString(s.WebAclArn)); acl == "" {
			break
		}
	}
	if len(out.Item) > 0 {
		f.Settings[cloud.SettingWebACL] = orNone(acl)
	}
	return true
}

func appendOpen(open []string, kind, route string) []string {
	if kind != noAuthorization || len(open) >= maxOpenRoutes {
		return open
	}
	return append(open, strings.ReplaceAll(route, " ", ":"))
}

// fillAuthorizers says how callers are identified; [cloud.None] as soon as one route asks for nothing.
func fillAuthorizers(f *modelv1.CloudFact, kinds map[string]bool, open []string) {
	var list []string
	for k := range kinds {
		if k != "" && k != noAuthorization {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	slices.Sort(open)
	switch {
	case kinds[noAuthorization]:
		f.Settings[cloud.SettingAuthorizer] = cloud.None
		f.Settings[cloud.SettingOpenRoutes] = strings.Join(open, " ")
	case len(list) > 0:
		f.Settings[cloud.SettingAuthorizer] = strings.Join(list, ",")
	}
}

// unescape reads the policy of an API, whose quotes API Gateway escapes once more than JSON does.
func unescape(text string) string {
	if plain, err := strconv.Unquote(`"` + text + `"`); err == nil {
		return plain
	}
	return text
}

// readHTTPAPIs reads APIs of the second generation, of HTTP and WebSocket.
func readHTTPAPIs(ctx context.Context, r *regional) {
	client := v2.NewFromConfig(r.config)
	input := &v2.GetApisInput{MaxResults: aws.String("100")}
	for range cloud.MaxPages {
		out, ok := call(ctx, r.inventory, r.at(apiGET), client.GetApis, input)
		if !ok || out == nil {
			return
		}
		for _, a := range out.Items {
			r.httpAPI(ctx, client, a)
		}
		if input.NextToken = out.NextToken; aws.ToString(input.NextToken) == "" {
			return
		}
	}
	r.gap(cloud.Gap{API: apiGET, Region: r.region, Why: cloud.GapCut})
}

func (r *regional) httpAPI(ctx context.Context, client *v2.Client, a v2types.Api) {
	id := aws.ToString(a.ApiId)
	f := r.fact(cloud.TypeHTTPAPI, "arn:"+r.name+":apigateway:"+r.region+"::/apis/"+id, aws.ToString(a.Name))
	f.Tags, f.Created = a.Tags, stamp(a.CreatedDate)
	f.Settings[cloud.SettingKind] = string(a.ProtocolType)
	f.Public, f.PublicReason = true, "such an API has no private endpoint"
	if !aws.ToBool(a.DisableExecuteApiEndpoint) {
		f.Hostnames = []string{id + ".execute-api." + r.region + "." + r.suffix()}
	}
	kinds := map[string]bool{}
	var open []string
	input := &v2.GetRoutesInput{ApiId: a.ApiId, MaxResults: aws.String("100")}
	whole := false
	for range cloud.MaxPages {
		out, ok := call(ctx, r.inventory, r.at(apiGET), client.GetRoutes, input)
		if !ok || out == nil {
			break
		}
		for _, route := range out.Items {
			kind := string(route.AuthorizationType)
			if kind == "" {
				kind = noAuthorization
			}
			key := aws.ToString(route.RouteKey)
			// Of a WebSocket only the route that connects can ask who calls.
			if a.ProtocolType != v2types.ProtocolTypeWebsocket || key == "$connect" {
				kinds[kind] = true
				open = appendOpen(open, kind, key)
			}
		}
		if input.NextToken = out.NextToken; aws.ToString(input.NextToken) == "" {
			whole = true
			break
		}
	}
	if whole {
		fillAuthorizers(f, kinds, open)
	}
	r.add(cloud.Resource{Fact: f, Names: true, Partly: !whole})
}

// readAPIDomains reads the names of their own that APIs of both generations have.
func readAPIDomains(ctx context.Context, r *regional) {
	pages(ctx, r.inventory, r.at(apiGET), apigateway.NewGetDomainNamesPaginator(apigatewayGetDomainNames(apigateway.NewFromConfig(r.config).GetDomainNames), &apigateway.GetDomainNamesInput{Limit: aws.Int32(500)}),
		func(out *apigateway.GetDomainNamesOutput) {
			for _, d := range out.Items {
				r.apiDomain(d)
			}
		})
}

func (r *regional) apiDomain(d types.DomainName) {
	name := strings.ToLower(aws.ToString(d.DomainName))
	f := r.fact(cloud.TypeAPIDomain, "arn:"+r.name+":apigateway:"+r.region+"::/domainnames/"+name, name)
	f.Tags = d.Tags
	private := d.EndpointConfiguration != nil && slices.Contains(d.EndpointConfiguration.Types, types.EndpointTypePrivate)
	f.Hostnames = []string{name}
	for _, to := range []*string{d.RegionalDomainName, d.DistributionDomainName} {
		if aws.ToString(to) != "" {
			f.PointsTo = append(f.PointsTo, strings.ToLower(*to))
			in := strings.ToLower(*to)
			r.hold(func(h *holdings) { h.distributions[in] = true })
		}
	}
	if tls := apiTLS(string(d.SecurityPolicy)); tls != "" {
		f.Settings[cloud.SettingMinimumTLS] = tls
		f.Settings[cloud.SettingPostQuantum] = yes(strings.Contains(string(d.SecurityPolicy), "_PQ_"))
	}
	if f.Public = !private; f.GetPublic() {
		f.PublicReason = "its endpoint is not private"
	}
	r.add(cloud.Resource{Fact: f, Names: !private})
}

// apiTLS reads the name of a security policy: TLS_1_0, TLS_1_2, SecurityPolicy_TLS13_1_2_2021_06
// (docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies-list.html).
func apiTLS(policy string) string {
	for _, one := range []struct{ part, oldest string }{
		{"TLS13_1_3", cloud.TLS13}, {"TLS13_1_2", cloud.TLS12}, {"TLS12", cloud.TLS12}, {"TLS_1_2", cloud.TLS12}, {"TLS_1_0", cloud.TLS10},
	} {
		if strings.Contains(policy, one.part) {
			return one.oldest
		}
	}
	return ""
}
