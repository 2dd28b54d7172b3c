package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// readKubernetes reads the clusters of Kubernetes.
func readKubernetes(ctx context.Context, r *regional) {
	client := eks.NewFromConfig(r.config)
	var names []string
	pages(ctx, r.inventory, r.at("eks:ListClusters"), eks.NewListClustersPaginator(eksListClusters(client.ListClusters), &eks.ListClustersInput{}),
		func(out *eks.ListClustersOutput) { names = append(names, out.Clusters...) })
	each(names, func(name string) {
		out, ok := call(ctx, r.inventory, r.at("eks:DescribeCluster"), client.DescribeCluster, &eks.DescribeClusterInput{Name: aws.String(name)}, absent)
		if ok && out != nil && out.Cluster != nil {
			r.kubernetes(out.Cluster)
		}
	})
}

func (r *regional) kubernetes(c *ekstypes.Cluster) {
	f := r.fact(cloud.TypeKubernetes, aws.ToString(c.Arn), aws.ToString(c.Name))
	f.Created, f.Tags = stamp(c.CreatedAt), c.Tags
	f.Settings[cloud.SettingEngine] = "kubernetes " + aws.ToString(c.Version)
	if host := hostOf(aws.ToString(c.Endpoint)); host != "" {
		f.Hostnames = []string{host}
	}
	v := c.ResourcesVpcConfig
	accessible := v != nil && v.EndpointPublicAccess
	f.Settings[cloud.SettingPubliclyAccessible] = yes(accessible)
	if accessible {
		// No list means everybody (docs.aws.amazon.com/eks/latest/APIReference/API_VpcConfigRequest.html).
		open := len(v.PublicAccessCidrs) == 0 || slices.ContainsFunc(v.PublicAccessCidrs, wholeInternet)
		f.Settings[cloud.SettingOpenToWorld] = yes(open)
		if f.Public = open; open {
			f.PublicReason = "its endpoint is public and admits every address"
			f.Ingress = []*modelv1.CloudIngress{{Protocol: "tcp", FromPort: 443, ToPort: 443, Source: "0.0.0.0/0", Rule: "public access of the endpoint"}}
		}
	}
	r.add(cloud.Resource{Fact: f, Names: accessible})
}

// readRegistry reads the repositories of container images that anybody may use.
func readRegistry(ctx context.Context, r *regional) {
	client := ecr.NewFromConfig(r.config)
	var all []ecrtypes.Repository
	pages(ctx, r.inventory, r.at("ecr:DescribeRepositories"), ecr.NewDescribeRepositoriesPaginator(ecrDescribeRepositories(client.DescribeRepositories), &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1000)}),
		func(out *ecr.DescribeRepositoriesOutput) { all = append(all, out.Repositories...) })
	each(all, func(x ecrtypes.Repository) {
		p := r.at("ecr:GetRepositoryPolicy")
		out, ok := call(ctx, r.inventory, p, client.GetRepositoryPolicy, &ecr.GetRepositoryPolicyInput{RepositoryName: x.RepositoryName, RegistryId: x.RegistryId},
			"RepositoryPolicyNotFoundException", "RepositoryNotFoundException")
		if ok && out != nil {
			r.byPolicy(cloud.TypeRegistry, aws.ToString(x.RepositoryArn), aws.ToString(x.RepositoryName), aws.ToString(out.PolicyText), p)
		}
	})
}

// publicRegistryRegion is where the public registry is asked, in the one partition that has it
// (docs.aws.amazon.com/general/latest/gr/ecr-public.html).
const publicRegistryRegion = "us-east-1"

// readPublicRegistry reads the repositories of the public gallery, which anybody may pull from.
func readPublicRegistry(ctx context.Context, in *inventory) {
	if in.partition != commercial {
		return
	}
	pages(ctx, in, place{"ecr-public:DescribeRepositories", publicRegistryRegion},
		ecrpublic.NewDescribeRepositoriesPaginator(ecrpublicDescribeRepositories(ecrpublic.NewFromConfig(in.in(publicRegistryRegion)).DescribeRepositories), &ecrpublic.DescribeRepositoriesInput{}),
		func(out *ecrpublic.DescribeRepositoriesOutput) {
			for _, x := range out.Repositories {
				in.add(cloud.Resource{Fact: &modelv1.CloudFact{
					Type: cloud.TypePublicRegistry, Id: aws.ToString(x.RepositoryArn), Name: aws.ToString(x.RepositoryName), Region: publicRegistryRegion,
					Public: true, PublicReason: "it is in the public gallery", Created: stamp(x.CreatedAt), Settings: map[string]string{cloud.SettingAnonymous: cloud.Yes},
				}})
			}
		})
}

// servicesPage is how many services are described at a time
// (docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html).
const servicesPage = 10

// readServices reads the services of containers whose tasks get public addresses.
func readServices(ctx context.Context, r *regional) {
	client := ecs.NewFromConfig(r.config)
	var clusters []string
	pages(ctx, r.inventory, r.at("ecs:ListClusters"), ecs.NewListClustersPaginator(ecsListClusters(client.ListClusters), &ecs.ListClustersInput{}),
		func(out *ecs.ListClustersOutput) { clusters = append(clusters, out.ClusterArns...) })
	for _, c := range clusters {
		var services []string
		pages(ctx, r.inventory, r.at("ecs:ListServices"), ecs.NewListServicesPaginator(ecsListServices(client.ListServices), &ecs.ListServicesInput{Cluster: aws.String(c), MaxResults: aws.Int32(100)}),
			func(out *ecs.ListServicesOutput) { services = append(services, out.ServiceArns...) })
		for part := range slices.Chunk(services, servicesPage) {
			out, ok := call(ctx, r.inventory, r.at("ecs:DescribeServices"), client.DescribeServices, &ecs.DescribeServicesInput{Cluster: aws.String(c), Services: part})
			if !ok || out == nil {
				continue
			}
			for _, s := range out.Services {
				r.service(s)
			}
		}
	}
}

func (r *regional) service(s ecstypes.Service) {
	n := s.NetworkConfiguration
	if n == nil || n.AwsvpcConfiguration == nil || n.AwsvpcConfiguration.AssignPublicIp != ecstypes.AssignPublicIpEnabled {
		return
	}
	f := r.fact(cloud.TypeService, aws.ToString(s.ServiceArn), aws.ToString(s.ServiceName))
	f.Created = stamp(s.CreatedAt)
	f.PointsTo = []string{strings.ToLower(aws.ToString(s.ClusterArn))}
	f.Settings[cloud.SettingAssignPublicIP] = cloud.Yes
	if f.Public = r.judgeOpen(f, n.AwsvpcConfiguration.SecurityGroups); f.GetPublic() {
		f.PublicReason = "its tasks get public addresses, and its security groups admit the internet to " + rules(f.GetIngress())
	}
	r.add(cloud.Resource{Fact: f})
}
