//go:build awstest

package cloud

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/cloudtest"
)

// documented answers for services that moto plays not at all or not far enough, in the words of AWS's own documents.
func (w *world) documented() {
	w.functions()
	w.interfaces()
	w.stores()
	w.registrations()
	w.JSON("events ListEventBuses", `{"EventBuses":[{"Name":"default","Arn":"`+w.arn("events", "event-bus/default")+`","Policy":`+quoted(anybody("events:PutEvents", "*"))+`},{"Name":"inner","Arn":"`+w.arn("events", "event-bus/inner")+`"}]}`)
	w.holds("bus", "cloud-messaging-public", w.arn("events", "event-bus/default"), "")
	blog := w.arn("lightsail", "Instance/1")
	w.JSON("lightsail GetInstances", `{"instances":[{"name":"blog","arn":"`+blog+`","publicIpAddress":"3.5.140.9","state":{"code":16,"name":"running"},"networking":{"ports":[{"fromPort":22,"toPort":22,"protocol":"tcp","cidrs":["0.0.0.0/0"]}]}}]}`)
	w.holds("lightsail", "cloud-sensitive-port-open", "3.5.140.9", blog)
	w.JSON("ecr-public DescribeRepositories", `{"repositories":[{"repositoryName":"tool","repositoryArn":"arn:aws:ecr-public::`+w.account+`:repository/tool"}]}`) // meant to be public
}

func (w *world) functions() {
	hook, job := w.arn("lambda", "function:hook"), w.arn("lambda", "function:job")
	w.JSON("lambda GET /2015-03-31/functions", `{"Functions":[{"FunctionName":"hook","FunctionArn":"`+hook+`"},{"FunctionName":"job","FunctionArn":"`+job+`"},
		{"FunctionName":"signed","FunctionArn":"`+w.arn("lambda", "function:signed")+`"}]}`)
	w.JSON("lambda GET /2015-03-31/functions/hook/policy", `{"Policy":`+quoted(anybody("lambda:InvokeFunctionUrl", hook))+`}`)
	w.JSON("lambda GET /2015-03-31/functions/job/policy", `{"Policy":`+quoted(anybody("lambda:InvokeFunction", job))+`}`)
	w.Refuse("lambda GET /2015-03-31/functions/signed/policy", 404, "ResourceNotFoundException")
	for name, mode := range map[string]string{"hook": "NONE", "signed": "AWS_IAM"} {
		w.JSON("lambda GET /2021-10-31/functions/"+name+"/urls", `{"FunctionUrlConfigs":[{"AuthType":"`+mode+`","FunctionArn":"`+w.arn("lambda", "function:"+name)+
			`","FunctionUrl":"https://`+name+`.lambda-url.eu-west-1.on.aws/"}]}`)
	}
	w.JSON("lambda GET /2021-10-31/functions/job/urls", `{"FunctionUrlConfigs":[]}`)
	w.holds("function URL", "cloud-function-url-open", hook+"/url", "")
	w.holds("function", "cloud-function-public", job, "")
}

func (w *world) interfaces() {
	w.JSON("apigateway GET /restapis", `{"item":[{"id":"a1","name":"shop","endpointConfiguration":{"types":["REGIONAL"]}},{"id":"a2","name":"inner","endpointConfiguration":{"types":["PRIVATE"]}}]}`)
	open := `{"item":[{"id":"r","path":"/orders","resourceMethods":{"GET":{"httpMethod":"GET","authorizationType":"NONE","apiKeyRequired":false},"PUT":{"authorizationType":"AWS_IAM"}}}]}`
	for _, id := range []string{"a1", "a2"} {
		w.JSON("apigateway GET /restapis/"+id+"/resources", open)
		w.JSON("apigateway GET /restapis/"+id+"/stages", `{"item":[{"stageName":"prod"}]}`)
	}
	shop := "arn:aws:apigateway:" + region + "::/restapis/a1"
	w.holds("API", "cloud-api-open", shop, "")
	w.holds("firewall", "cloud-no-waf", shop, "")
	w.JSON("apigateway GET /v2/apis", `{"items":[{"apiId":"h1","name":"mobile","protocolType":"HTTP"}]}`)
	w.JSON("apigateway GET /v2/apis/h1/routes", `{"items":[{"routeKey":"GET /me","authorizationType":"JWT"}]}`)
	w.JSON("apigateway GET /domainnames", `{"item":[{"domainName":"api.`+zone+`","regionalDomainName":"d-1.execute-api.eu-west-1.amazonaws.com","securityPolicy":"TLS_1_0","endpointConfiguration":{"types":["REGIONAL"]}},
		{"domainName":"new.`+zone+`","regionalDomainName":"d-2.execute-api.eu-west-1.amazonaws.com","securityPolicy":"TLS_1_2","endpointConfiguration":{"types":["REGIONAL"]}}]}`)
	w.holds("API domain", "cloud-tls-outdated", "arn:aws:apigateway:"+region+"::/domainnames/api."+zone, "")
	w.JSON("eks GET /clusters", `{"clusters":["prod","inner"]}`)
	for name, cidr := range map[string]string{"prod": "0.0.0.0/0", "inner": "198.51.100.0/24"} {
		w.JSON("eks GET /clusters/"+name, fmt.Sprintf(`{"cluster":{"name":%q,"arn":%q,"version":"1.33","endpoint":"https://%s.gr7.eu-west-1.eks.amazonaws.com",
			"resourcesVpcConfig":{"endpointPublicAccess":true,"publicAccessCidrs":[%q]}}}`, name, w.arn("eks", "cluster/"+name), name, cidr))
	}
	w.holds("kubernetes", "cloud-kubernetes-public", w.arn("eks", "cluster/prod"), "")
}

func (w *world) stores() {
	open := w.group("stores", "0.0.0.0/0", 9092, 5439)
	w.JSON("mq GET /v1/brokers", `{"brokerSummaries":[{"brokerId":"b-1","brokerName":"bus","deploymentMode":"SINGLE_INSTANCE","engineType":"RABBITMQ"}]}`)
	w.JSON("mq GET /v1/brokers/b-1", `{"brokerId":"b-1","brokerArn":"`+w.arn("mq", "broker:bus:b-1")+`","brokerName":"bus","engineType":"RabbitMQ","engineVersion":"3.13","publiclyAccessible":true,
		"brokerInstances":[{"endpoints":["amqps://b-1.mq.eu-west-1.on.aws:5671"]}]}`)
	w.holds("broker", "cloud-database-address", w.arn("mq", "broker:bus:b-1"), "")
	w.JSON("kafka GET /api/v2/clusters", `{"clusterInfoList":[{"clusterArn":"`+w.arn("kafka", "cluster/log/1")+`","clusterName":"log","clusterType":"PROVISIONED","provisioned":{"brokerNodeGroupInfo":{"connectivityInfo":
		{"publicAccess":{"type":"SERVICE_PROVIDED_EIPS"}},"securityGroups":["`+open+`"]},"clientAuthentication":{"unauthenticated":{"enabled":true}}}}]}`)
	w.holds("kafka", "cloud-data-store-anonymous", w.arn("kafka", "cluster/log/1"), "")
	logs := w.arn("es", "domain/logs")
	w.JSON("es GET /2021-01-01/domain", `{"DomainNames":[{"DomainName":"logs","EngineType":"OpenSearch"}]}`)
	w.JSON("es POST /2021-01-01/opensearch/domain-info", `{"DomainStatusList":[{"ARN":"`+logs+`","DomainName":"logs","DomainId":"1/logs","EngineVersion":"OpenSearch_2.19","Endpoint":"search-logs.eu-west-1.es.amazonaws.com",
		"ClusterConfig":{},"AccessPolicies":`+quoted(anybody("es:*", "*"))+`,"DomainEndpointOptions":{"EnforceHTTPS":false,"TLSSecurityPolicy":"Policy-Min-TLS-1-0-2019-07"}}]}`)
	w.holds("search", "cloud-data-store-anonymous", logs, "")
	w.holds("search", "cloud-plain-http", logs, "")
	w.holds("search", "cloud-tls-outdated", logs, "")
	w.XML("redshift DescribeClusters", `<DescribeClustersResult><Clusters><Cluster><ClusterIdentifier>facts</ClusterIdentifier><PubliclyAccessible>true</PubliclyAccessible><VpcSecurityGroups><VpcSecurityGroup>
		<VpcSecurityGroupId>`+open+`</VpcSecurityGroupId></VpcSecurityGroup></VpcSecurityGroups><Endpoint><Address>facts.eu-west-1.redshift.amazonaws.com</Address></Endpoint></Cluster></Clusters></DescribeClustersResult>`)
	w.holds("warehouse", "cloud-database-public", w.arn("redshift", "cluster:facts"), "")
}

// registrations answers for certificates and domains that end in a while from now.
func (w *world) registrations() {
	soon, later := time.Now().Add(10*24*time.Hour).Unix(), time.Now().Add(300*24*time.Hour).Unix()
	certificate := func(id, name string, used bool, ends int64) string {
		return fmt.Sprintf(`{"CertificateArn":%q,"DomainName":%q,"InUse":%v,"NotAfter":%d,"RenewalEligibility":"INELIGIBLE"}`, w.arn("acm", "certificate/"+id), name, used, ends)
	}
	w.JSON("acm ListCertificates", `{"CertificateSummaryList":[`+certificate("1", "www."+zone, true, soon)+`,`+certificate("2", "unused."+zone, false, soon)+`,`+certificate("3", "new."+zone, true, later)+`]}`)
	w.JSON("acm DescribeCertificate", `{"Certificate":{}}`)
	w.holds("certificate", "cloud-certificate-renewal", w.arn("acm", "certificate/1"), "")
	w.JSON("route53domains ListDomains", fmt.Sprintf(`{"Domains":[{"DomainName":"Riskprofiler-Lab.com","AutoRenew":false,"TransferLock":false,"Expiry":%d},
		{"DomainName":"riskprofiler-lab-locked.com","AutoRenew":true,"TransferLock":true,"Expiry":%d}]}`, later, later))
	domain := "arn:aws:route53domains::" + w.account + ":domain/" + zone
	w.holds("registration", "cloud-domain-transfer-lock", domain, "")
	w.holds("registration", "cloud-domain-renewal", domain, "")
}

// snapshots answers as documented from what moto has: moto lists the snapshots of all owners, whoever may restore them
// (docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html, Owner.N and RestorableBy.N).
func (w *world) snapshots(rw http.ResponseWriter, r *http.Request) {
	client := ec2.NewFromConfig(w.config)
	list, err := client.DescribeSnapshots(r.Context(), &ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: sdk.String("owner-id"), Values: []string{w.account}}}})
	if err != nil || r.PostForm.Get("Owner.1") != "self" || r.PostForm.Get("RestorableBy.1") != "all" {
		cloudtest.Refuse(rw, http.StatusBadRequest, "InvalidParameterValue")
		return
	}
	var out strings.Builder
	for _, s := range list.Snapshots {
		may, err := client.DescribeSnapshotAttribute(r.Context(), &ec2.DescribeSnapshotAttributeInput{SnapshotId: s.SnapshotId, Attribute: "createVolumePermission"})
		if err == nil && len(may.CreateVolumePermissions) == 1 && may.CreateVolumePermissions[0].Group == "all" {
			fmt.Fprintf(&out, "<item><snapshotId>%s</snapshotId><encrypted>false</encrypted></item>", *s.SnapshotId)
		}
	}
	cloudtest.WriteXML(rw, "DescribeSnapshots", "<snapshotSet>"+out.String()+"</snapshotSet>")
}
