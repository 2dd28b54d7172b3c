package aws

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	kafkatypes "github.com/aws/aws-sdk-go-v2/service/kafka/types"
	"github.com/aws/aws-sdk-go-v2/service/mq"
	mqtypes "github.com/aws/aws-sdk-go-v2/service/mq/types"
	"github.com/aws/aws-sdk-go-v2/service/opensearch"
	searchtypes "github.com/aws/aws-sdk-go-v2/service/opensearch/types"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/policy"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// readWarehouses reads the clusters of data warehouses.
func readWarehouses(ctx context.Context, r *regional) {
	client := query.New(r.config, query.Redshift)
	list(ctx, r.inventory, r.at("redshift:DescribeClusters"), query.List(client, query.DescribeClusters, nil), func(out *query.Clusters) {
		for _, c := range out.Clusters {
			r.warehouse(c)
		}
	})
}

func (r *regional) warehouse(c query.Cluster) {
	name := c.ClusterIdentifier
	f := r.fact(cloud.TypeWarehouse, r.arn("redshift", r.region, "cluster:"+name), name)
	f.Created = stamp(&c.ClusterCreateTime.Time)
	f.Settings[cloud.SettingEngine], f.Settings[cloud.SettingEncrypted] = "redshift "+c.ClusterVersion, yes(bool(c.Encrypted))
	if a := c.Endpoint.Address; a != "" {
		f.Hostnames = []string{strings.ToLower(a)}
	}
	var groups []string
	for _, g := range c.VpcSecurityGroups {
		groups = append(groups, g.VpcSecurityGroupID)
	}
	r.reachable(f, bool(c.PubliclyAccessible), groups)
	r.add(cloud.Resource{Fact: f, Names: bool(c.PubliclyAccessible)})
}

// searchPage is how many domains are described at a time
// (docs.aws.amazon.com/opensearch-service/latest/APIReference/API_DescribeDomains.html).
const searchPage = 5

// readSearch reads the domains of OpenSearch.
func readSearch(ctx context.Context, r *regional) {
	client := opensearch.NewFromConfig(r.config)
	list, ok := call(ctx, r.inventory, r.at("es:ListDomainNames"), client.ListDomainNames, &opensearch.ListDomainNamesInput{})
	if !ok || list == nil {
		return
	}
	for first := 0; first < len(list.DomainNames); first += searchPage {
		var names []string
		for _, d := range list.DomainNames[first:min(first+searchPage, len(list.DomainNames))] {
			names = append(names, aws.ToString(d.DomainName))
		}
		out, ok := call(ctx, r.inventory, r.at("es:DescribeDomains"), client.DescribeDomains, &opensearch.DescribeDomainsInput{DomainNames: names})
		if !ok || out == nil {
			continue
		}
		for _, d := range out.DomainStatusList {
			r.search(d)
		}
	}
}

func (r *regional) search(d searchtypes.DomainStatus) {
	f := r.fact(cloud.TypeSearch, aws.ToString(d.ARN), aws.ToString(d.DomainName))
	f.Settings[cloud.SettingEngine] = aws.ToString(d.EngineVersion)
	outside := d.VPCOptions == nil || aws.ToString(d.VPCOptions.VPCId) == ""
	f.Settings[cloud.SettingPubliclyAccessible] = yes(outside)
	for _, e := range append([]string{aws.ToString(d.Endpoint), aws.ToString(d.EndpointV2)}, d.Endpoints["vpc"]) {
		if e != "" {
			f.Hostnames = append(f.Hostnames, strings.ToLower(e))
		}
	}
	judged, err := policy.Judge(aws.ToString(d.AccessPolicies))
	if err != nil {
		r.gap(cloud.Gap{API: "es:DescribeDomains", Region: r.region, Why: failedGap, Detail: err.Error()})
	} else {
		judged.Fill(f.Settings)
	}
	if o := d.DomainEndpointOptions; o != nil {
		f.Settings[cloud.SettingPlainHTTP] = yes(!aws.ToBool(o.EnforceHTTPS))
		if aws.ToBool(o.CustomEndpointEnabled) && aws.ToString(o.CustomEndpoint) != "" {
			f.Hostnames = append(f.Hostnames, strings.ToLower(*o.CustomEndpoint))
		}
		// docs.aws.amazon.com/opensearch-service/latest/APIReference/API_DomainEndpointOptions.html
		switch security := string(o.TLSSecurityPolicy); {
		case strings.Contains(security, "TLS-1-0"):
			f.Settings[cloud.SettingMinimumTLS] = cloud.TLS10
		case strings.Contains(security, "TLS-1-2"):
			f.Settings[cloud.SettingMinimumTLS] = cloud.TLS12
		}
	}
	protected := d.AdvancedSecurityOptions != nil && aws.ToBool(d.AdvancedSecurityOptions.Enabled)
	f.Settings[cloud.SettingAnonymous] = yes(!protected && judged.State == cloud.PolicyPublic)
	if f.Public = outside && judged.State == cloud.PolicyPublic; f.GetPublic() {
		f.PublicReason = "it is in no private network, and its policy lets anybody in"
	}
	r.add(cloud.Resource{Fact: f, Names: outside, Partly: err != nil})
}

// readBrokers reads the message brokers.
func readBrokers(ctx context.Context, r *regional) {
	client := mq.NewFromConfig(r.config)
	var all []mqtypes.BrokerSummary
	pages(ctx, r.inventory, r.at("mq:ListBrokers"), mq.NewListBrokersPaginator(mqListBrokers(client.ListBrokers), &mq.ListBrokersInput{}),
		func(out *mq.ListBrokersOutput) { all = append(all, out.BrokerSummaries...) })
	each(all, func(b mqtypes.BrokerSummary) {
		out, ok := call(ctx, r.inventory, r.at("mq:DescribeBroker"), client.DescribeBroker, &mq.DescribeBrokerInput{BrokerId: b.BrokerId}, "NotFoundException")
		if ok && out != nil {
			r.broker(out)
		}
	})
}

func (r *regional) broker(b *mq.DescribeBrokerOutput) {
	f := r.fact(cloud.TypeBroker, aws.ToString(b.BrokerArn), aws.ToString(b.BrokerName))
	f.Created, f.Tags = stamp(b.Created), b.Tags
	f.Settings[cloud.SettingEngine] = strings.TrimSpace(string(b.EngineType) + " " + aws.ToString(b.EngineVersion))
	for _, i := range b.BrokerInstances {
		for _, e := range append(i.Endpoints, aws.ToString(i.ConsoleURL)) {
			if host := hostOf(e); host != "" {
				f.Hostnames = append(f.Hostnames, host)
			}
		}
	}
	open := aws.ToBool(b.PubliclyAccessible)
	f.Settings[cloud.SettingPubliclyAccessible] = yes(open)
	if len(b.SecurityGroups) > 0 {
		r.reachable(f, open, b.SecurityGroups)
	} else if f.Public = open; open { // RabbitMQ in public has no security groups
		f.PublicReason = "it is publicly accessible"
	}
	r.add(cloud.Resource{Fact: f, Names: open})
}

// hostOf is the host in "amqps://host:5671" or "host:port".
func hostOf(endpoint string) string {
	if _, rest, ok := strings.Cut(endpoint, "://"); ok {
		endpoint = rest
	}
	endpoint, _, _ = strings.Cut(endpoint, "/")
	host, _, _ := strings.Cut(endpoint, ":")
	return strings.ToLower(host)
}

// readKafka reads the clusters of Kafka.
func readKafka(ctx context.Context, r *regional) {
	pages(ctx, r.inventory, r.at("kafka:ListClustersV2"), kafka.NewListClustersV2Paginator(kafkaListClustersV2(kafka.NewFromConfig(r.config).ListClustersV2), &kafka.ListClustersV2Input{}),
		func(out *kafka.ListClustersV2Output) {
			for _, c := range out.ClusterInfoList {
				r.kafka(c)
			}
		})
}

func (r *regional) kafka(c kafkatypes.Cluster) {
	f := r.fact(cloud.TypeKafka, aws.ToString(c.ClusterArn), aws.ToString(c.ClusterName))
	f.Created, f.Tags = stamp(c.CreationTime), c.Tags
	p := c.Provisioned
	if p == nil || p.BrokerNodeGroupInfo == nil { // a serverless cluster has no public access
		return
	}
	n := p.BrokerNodeGroupInfo
	open := n.ConnectivityInfo != nil && n.ConnectivityInfo.PublicAccess != nil && aws.ToString(n.ConnectivityInfo.PublicAccess.Type) == "SERVICE_PROVIDED_EIPS"
	if a := p.ClientAuthentication; a != nil && a.Unauthenticated != nil {
		f.Settings[cloud.SettingAnonymous] = yes(aws.ToBool(a.Unauthenticated.Enabled))
	}
	r.reachable(f, open, n.SecurityGroups)
	r.add(cloud.Resource{Fact: f})
}
