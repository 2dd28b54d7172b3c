package aws_test

import (
	"testing"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// anybody is a policy that lets anybody in.
const anybody = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunctionUrl","Resource":"*"}]}`

// Services that no stand-in plays, answered as their documents say.
func TestDocumentedAnswers(t *testing.T) {
	f := newFake(t)
	f.XML("ec2 DescribeSecurityGroups", `<securityGroupInfo><item><groupId>sg-open</groupId><groupName>open</groupName><ipPermissions><item><ipProtocol>-1</ipProtocol>
		<ipv6Ranges><item><cidrIpv6>::/0</cidrIpv6></item></ipv6Ranges></item></ipPermissions></item><item><groupId>sg-closed</groupId><groupName>closed</groupName></item></securityGroupInfo>`)
	f.JSON("lambda GET /2015-03-31/functions", `{"Functions":[{"FunctionName":"hook","FunctionArn":"arn:aws:lambda:eu-west-1:123456789012:function:hook"}]}`)
	f.JSON("lambda GET /2015-03-31/functions/hook/policy", `{"Policy":`+quoted(anybody)+`}`)
	f.JSON("lambda GET /2021-10-31/functions/hook/urls", `{"FunctionUrlConfigs":[{"AuthType":"NONE","FunctionArn":"arn:aws:lambda:eu-west-1:123456789012:function:hook","FunctionUrl":"https://abc.lambda-url.eu-west-1.on.aws/"}]}`)
	f.JSON("apigateway GET /restapis", `{"item":[{"id":"a1","name":"shop","endpointConfiguration":{"types":["REGIONAL"]}},{"id":"a2","name":"inner","endpointConfiguration":{"types":["PRIVATE"]}},
		{"id":"a3","name":"office","policy":"{\\\"Statement\\\":[{\\\"Effect\\\":\\\"Allow\\\",\\\"Principal\\\":\\\"*\\\",\\\"Action\\\":\\\"execute-api:Invoke\\\",\\\"Condition\\\":{\\\"IpAddress\\\":{\\\"aws:SourceIp\\\":\\\"198.51.100.0/24\\\"}}}]}"}]}`)
	f.JSON("apigateway GET /restapis/a1/resources", `{"item":[{"id":"r","path":"/orders","resourceMethods":{"GET":{"httpMethod":"GET","authorizationType":"NONE","apiKeyRequired":false},"OPTIONS":{"authorizationType":"NONE"},"PUT":{"authorizationType":"AWS_IAM"}}}]}`)
	f.JSON("apigateway GET /restapis/a1/stages", `{"item":[{"stageName":"prod"}]}`)
	f.JSON("apigateway GET /v2/apis", `{"items":[{"apiId":"h1","name":"mobile","protocolType":"HTTP"}]}`)
	f.JSON("apigateway GET /v2/apis/h1/routes", `{"items":[{"routeKey":"GET /me","authorizationType":"JWT"}]}`)
	f.JSON("apigateway GET /domainnames", `{"item":[{"domainName":"api.example.com","regionalDomainName":"d-1.execute-api.eu-west-1.amazonaws.com","securityPolicy":"TLS_1_0","endpointConfiguration":{"types":["REGIONAL"]}}]}`)
	f.JSON("eks GET /clusters", `{"clusters":["prod"]}`)
	f.JSON("eks GET /clusters/prod", `{"cluster":{"name":"prod","arn":"arn:aws:eks:eu-west-1:123456789012:cluster/prod","version":"1.33","endpoint":"https://ABC.gr7.eu-west-1.eks.amazonaws.com","resourcesVpcConfig":{"endpointPublicAccess":true,"publicAccessCidrs":["0.0.0.0/0"]}}}`)
	f.JSON("mq GET /v1/brokers", `{"brokerSummaries":[{"brokerId":"b-1","brokerName":"bus","deploymentMode":"SINGLE_INSTANCE","engineType":"RABBITMQ"}]}`)
	f.JSON("mq GET /v1/brokers/b-1", `{"brokerId":"b-1","brokerArn":"arn:aws:mq:eu-west-1:123456789012:broker:bus:b-1","brokerName":"bus","engineType":"RabbitMQ","engineVersion":"3.13","publiclyAccessible":true,"brokerInstances":[{"endpoints":["amqps://b-1.mq.eu-west-1.on.aws:5671"]}]}`)
	f.JSON("kafka GET /api/v2/clusters", `{"clusterInfoList":[{"clusterArn":"arn:aws:kafka:eu-west-1:123456789012:cluster/log/1","clusterName":"log","clusterType":"PROVISIONED","provisioned":{"brokerNodeGroupInfo":{"connectivityInfo":{"publicAccess":{"type":"SERVICE_PROVIDED_EIPS"}},"securityGroups":["sg-open"]},"clientAuthentication":{"unauthenticated":{"enabled":true}}}}]}`)
	f.JSON("es GET /2021-01-01/domain", `{"DomainNames":[{"DomainName":"logs","EngineType":"OpenSearch"}]}`)
	f.JSON("es POST /2021-01-01/opensearch/domain-info", `{"DomainStatusList":[{"ARN":"arn:aws:es:eu-west-1:123456789012:domain/logs","DomainName":"logs","DomainId":"1/logs","EngineVersion":"OpenSearch_2.19","Endpoint":"search-logs.eu-west-1.es.amazonaws.com","ClusterConfig":{},"AccessPolicies":`+
		quoted(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"es:*","Resource":"*"}]}`)+`,"DomainEndpointOptions":{"EnforceHTTPS":false,"TLSSecurityPolicy":"Policy-Min-TLS-1-0-2019-07"}}]}`)
	f.JSON("lightsail GetInstances", `{"instances":[{"name":"blog","arn":"arn:aws:lightsail:eu-west-1:123456789012:Instance/1","publicIpAddress":"3.5.140.9","state":{"code":16,"name":"running"},"networking":{"ports":[{"fromPort":22,"toPort":22,"protocol":"tcp","cidrs":["0.0.0.0/0"]}]}}]}`)
	f.JSON("acm ListCertificates", `{"CertificateSummaryList":[{"CertificateArn":"arn:aws:acm:eu-west-1:123456789012:certificate/1","DomainName":"www.example.com","InUse":true,"NotAfter":1800000000,"RenewalEligibility":"INELIGIBLE"},{"CertificateArn":"arn:aws:acm:eu-west-1:123456789012:certificate/2","DomainName":"old.example.com","InUse":false}]}`)
	f.JSON("route53domains ListDomains", `{"Domains":[{"DomainName":"Example.com","AutoRenew":false,"TransferLock":false,"Expiry":1800000000}]}`)
	f.JSON("ecs ListClusters", `{"clusterArns":["arn:aws:ecs:eu-west-1:123456789012:cluster/c"]}`)
	f.JSON("ecs ListServices", `{"serviceArns":["arn:aws:ecs:eu-west-1:123456789012:service/c/web"]}`)
	f.JSON("ecs DescribeServices", `{"services":[{"serviceArn":"arn:aws:ecs:eu-west-1:123456789012:service/c/web","serviceName":"web","networkConfiguration":{"awsvpcConfiguration":{"subnets":["s"],"securityGroups":["sg-closed"],"assignPublicIp":"ENABLED"}}}]}`)
	f.XML("redshift DescribeClusters", `<DescribeClustersResult><Clusters><Cluster><ClusterIdentifier>facts</ClusterIdentifier><PubliclyAccessible>true</PubliclyAccessible><VpcSecurityGroups><VpcSecurityGroup><VpcSecurityGroupId>sg-open</VpcSecurityGroupId></VpcSecurityGroup></VpcSecurityGroups><Endpoint><Address>facts.eu-west-1.redshift.amazonaws.com</Address></Endpoint></Cluster></Clusters></DescribeClustersResult>`)
	f.JSON("events ListEventBuses", `{"EventBuses":[{"Name":"default","Arn":"arn:aws:events:eu-west-1:123456789012:event-bus/default","Policy":`+quoted(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"events:PutEvents","Resource":"*"}]}`)+`}]}`)
	f.JSON("ecr-public DescribeRepositories", `{"repositories":[{"repositoryName":"tool","repositoryArn":"arn:aws:ecr-public::123456789012:repository/tool"}]}`)

	found, gaps := f.inventory(t)
	if len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
	for key, want := range map[string]struct {
		public   bool
		settings map[string]string
	}{
		"lambda:function-url hook":               {true, map[string]string{cloud.SettingAuthorizer: cloud.None, cloud.SettingPolicy: cloud.PolicyPublic}},
		"apigateway:rest-api shop":               {true, map[string]string{cloud.SettingAuthorizer: cloud.None, cloud.SettingOpenRoutes: "GET:/orders", cloud.SettingWebACL: cloud.None}},
		"apigateway:rest-api inner":              {false, nil},
		"apigateway:rest-api office":             {false, map[string]string{cloud.SettingPolicy: cloud.PolicyRestricted}},
		"apigateway:http-api mobile":             {true, map[string]string{cloud.SettingAuthorizer: "JWT"}},
		"apigateway:domain-name api.example.com": {true, map[string]string{cloud.SettingMinimumTLS: cloud.TLS10}},
		"eks:cluster prod":                       {true, map[string]string{cloud.SettingPubliclyAccessible: cloud.Yes, cloud.SettingOpenToWorld: cloud.Yes}},
		"mq:broker bus":                          {true, map[string]string{cloud.SettingPubliclyAccessible: cloud.Yes}},
		"kafka:cluster log":                      {true, map[string]string{cloud.SettingAnonymous: cloud.Yes, cloud.SettingOpenToWorld: cloud.Yes}},
		"opensearch:domain logs":                 {true, map[string]string{cloud.SettingPolicy: cloud.PolicyPublic, cloud.SettingAnonymous: cloud.Yes, cloud.SettingMinimumTLS: cloud.TLS10, cloud.SettingPlainHTTP: cloud.Yes}},
		"lightsail:instance blog":                {true, map[string]string{cloud.SettingState: "running", cloud.SettingOpenToWorld: cloud.Yes}},
		"acm:certificate www.example.com":        {false, map[string]string{cloud.SettingInUse: cloud.Yes, cloud.SettingRenewal: "INELIGIBLE"}},
		"route53domains:domain example.com":      {false, map[string]string{cloud.SettingTransferLock: cloud.No, cloud.SettingAutoRenew: cloud.No}},
		"ecs:service web":                        {false, map[string]string{cloud.SettingAssignPublicIP: cloud.Yes, cloud.SettingOpenToWorld: cloud.No}},
		"redshift:cluster facts":                 {true, map[string]string{cloud.SettingPubliclyAccessible: cloud.Yes, cloud.SettingOpenToWorld: cloud.Yes}},
		"events:event-bus default":               {true, map[string]string{cloud.SettingPolicy: cloud.PolicyPublic}},
		"ecr-public:repository tool":             {true, nil},
		"ec2:security-group open":                {false, map[string]string{cloud.SettingAttachedPublic: cloud.No}},
		"s3:account ":                            {false, nil},
	} {
		r, ok := found[key]
		if !ok {
			t.Errorf("%s was not found", key)
			continue
		}
		delete(found, key)
		if r.Fact.GetPublic() != want.public || want.public == (r.Fact.GetPublicReason() == "") {
			t.Errorf("%s: public %v %q", key, r.Fact.GetPublic(), r.Fact.GetPublicReason())
		}
		for name, value := range want.settings {
			if got := r.Fact.GetSettings()[name]; got != value {
				t.Errorf("%s: %s is %q, want %q", key, name, got, value)
			}
		}
	}
	for key := range found {
		t.Errorf("%s was found and is not there", key)
	}
}
