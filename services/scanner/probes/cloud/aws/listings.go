package aws

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/mq"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53domains"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// One type for each listing: a function with the method that the SDK's paginators ask for. A client itself is handed to nobody as an
// interface: where anything in a program calls methods by reflection, as templates do, the linker would keep all methods of all clients.

type (
	acmListCertificates           func(context.Context, *acm.ListCertificatesInput, ...func(*acm.Options)) (*acm.ListCertificatesOutput, error)
	apigatewayGetDomainNames      func(context.Context, *apigateway.GetDomainNamesInput, ...func(*apigateway.Options)) (*apigateway.GetDomainNamesOutput, error)
	apigatewayGetResources        func(context.Context, *apigateway.GetResourcesInput, ...func(*apigateway.Options)) (*apigateway.GetResourcesOutput, error)
	apigatewayGetRestApis         func(context.Context, *apigateway.GetRestApisInput, ...func(*apigateway.Options)) (*apigateway.GetRestApisOutput, error)
	cloudfrontListDistributions   func(context.Context, *cloudfront.ListDistributionsInput, ...func(*cloudfront.Options)) (*cloudfront.ListDistributionsOutput, error)
	ecrDescribeRepositories       func(context.Context, *ecr.DescribeRepositoriesInput, ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error)
	ecrpublicDescribeRepositories func(context.Context, *ecrpublic.DescribeRepositoriesInput, ...func(*ecrpublic.Options)) (*ecrpublic.DescribeRepositoriesOutput, error)
	ecsListClusters               func(context.Context, *ecs.ListClustersInput, ...func(*ecs.Options)) (*ecs.ListClustersOutput, error)
	ecsListServices               func(context.Context, *ecs.ListServicesInput, ...func(*ecs.Options)) (*ecs.ListServicesOutput, error)
	eksListClusters               func(context.Context, *eks.ListClustersInput, ...func(*eks.Options)) (*eks.ListClustersOutput, error)
	kafkaListClustersV2           func(context.Context, *kafka.ListClustersV2Input, ...func(*kafka.Options)) (*kafka.ListClustersV2Output, error)
	lambdaListFunctionURLConfigs  func(context.Context, *lambda.ListFunctionUrlConfigsInput, ...func(*lambda.Options)) (*lambda.ListFunctionUrlConfigsOutput, error)
	lambdaListFunctions           func(context.Context, *lambda.ListFunctionsInput, ...func(*lambda.Options)) (*lambda.ListFunctionsOutput, error)
	mqListBrokers                 func(context.Context, *mq.ListBrokersInput, ...func(*mq.Options)) (*mq.ListBrokersOutput, error)
	route53ListHostedZones        func(context.Context, *route53.ListHostedZonesInput, ...func(*route53.Options)) (*route53.ListHostedZonesOutput, error)
	route53domainsListDomains     func(context.Context, *route53domains.ListDomainsInput, ...func(*route53domains.Options)) (*route53domains.ListDomainsOutput, error)
	s3ListBuckets                 func(context.Context, *s3.ListBucketsInput, ...func(*s3.Options)) (*s3.ListBucketsOutput, error)
	secretsmanagerListSecrets     func(context.Context, *secretsmanager.ListSecretsInput, ...func(*secretsmanager.Options)) (*secretsmanager.ListSecretsOutput, error)
	sqsListQueues                 func(context.Context, *sqs.ListQueuesInput, ...func(*sqs.Options)) (*sqs.ListQueuesOutput, error)
)

// ListCertificates is what its paginator asks for.
func (f acmListCertificates) ListCertificates(ctx context.Context, in *acm.ListCertificatesInput, options ...func(*acm.Options)) (*acm.ListCertificatesOutput, error) {
	return f(ctx, in, options...)
}

// GetDomainNames is what its paginator asks for.
func (f apigatewayGetDomainNames) GetDomainNames(ctx context.Context, in *apigateway.GetDomainNamesInput, options ...func(*apigateway.Options)) (*apigateway.GetDomainNamesOutput, error) {
	return f(ctx, in, options...)
}

// GetResources is what its paginator asks for.
func (f apigatewayGetResources) GetResources(ctx context.Context, in *apigateway.GetResourcesInput, options ...func(*apigateway.Options)) (*apigateway.GetResourcesOutput, error) {
	return f(ctx, in, options...)
}

// GetRestApis is what its paginator asks for.
func (f apigatewayGetRestApis) GetRestApis(ctx context.Context, in *apigateway.GetRestApisInput, options ...func(*apigateway.Options)) (*apigateway.GetRestApisOutput, error) {
	return f(ctx, in, options...)
}

// ListDistributions is what its paginator asks for.
func (f cloudfrontListDistributions) ListDistributions(ctx context.Context, in *cloudfront.ListDistributionsInput, options ...func(*cloudfront.Options)) (*cloudfront.ListDistributionsOutput, error) {
	return f(ctx, in, options...)
}

// DescribeRepositories is what its paginator asks for.
func (f ecrDescribeRepositories) DescribeRepositories(ctx context.Context, in *ecr.DescribeRepositoriesInput, options ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error) {
	return f(ctx, in, options...)
}

// DescribeRepositories is what its paginator asks for.
func (f ecrpublicDescribeRepositories) DescribeRepositories(ctx context.Context, in *ecrpublic.DescribeRepositoriesInput, options ...func(*ecrpublic.Options)) (*ecrpublic.DescribeRepositoriesOutput, error) {
	return f(ctx, in, options...)
}

// ListClusters is what its paginator asks for.
func (f ecsListClusters) ListClusters(ctx context.Context, in *ecs.ListClustersInput, options ...func(*ecs.Options)) (*ecs.ListClustersOutput, error) {
	return f(ctx, in, options...)
}

// ListServices is what its paginator asks for.
func (f ecsListServices) ListServices(ctx context.Context, in *ecs.ListServicesInput, options ...func(*ecs.Options)) (*ecs.ListServicesOutput, error) {
	return f(ctx, in, options...)
}

// ListClusters is what its paginator asks for.
func (f eksListClusters) ListClusters(ctx context.Context, in *eks.ListClustersInput, options ...func(*eks.Options)) (*eks.ListClustersOutput, error) {
	return f(ctx, in, options...)
}

// ListClustersV2 is what its paginator asks for.
func (f kafkaListClustersV2) ListClustersV2(ctx context.Context, in *kafka.ListClustersV2Input, options ...func(*kafka.Options)) (*kafka.ListClustersV2Output, error) {
	return f(ctx, in, options...)
}

// ListFunctionUrlConfigs is what its paginator asks for.
func (f lambdaListFunctionURLConfigs) ListFunctionUrlConfigs(ctx context.Context, in *lambda.ListFunctionUrlConfigsInput, options ...func(*lambda.Options)) (*lambda.ListFunctionUrlConfigsOutput, error) { //nolint:revive,staticcheck // the name is of the SDK
	return f(ctx, in, options...)
}

// ListFunctions is what its paginator asks for.
func (f lambdaListFunctions) ListFunctions(ctx context.Context, in *lambda.ListFunctionsInput, options ...func(*lambda.Options)) (*lambda.ListFunctionsOutput, error) {
	return f(ctx, in, options...)
}

// ListBrokers is what its paginator asks for.
func (f mqListBrokers) ListBrokers(ctx context.Context, in *mq.ListBrokersInput, options ...func(*mq.Options)) (*mq.ListBrokersOutput, error) {
	return f(ctx, in, options...)
}

// ListHostedZones is what its paginator asks for.
func (f route53ListHostedZones) ListHostedZones(ctx context.Context, in *route53.ListHostedZonesInput, options ...func(*route53.Options)) (*route53.ListHostedZonesOutput, error) {
	return f(ctx, in, options...)
}

// ListDomains is what its paginator asks for.
func (f route53domainsListDomains) ListDomains(ctx context.Context, in *route53domains.ListDomainsInput, options ...func(*route53domains.Options)) (*route53domains.ListDomainsOutput, error) {
	return f(ctx, in, options...)
}

// ListBuckets is what its paginator asks for.
func (f s3ListBuckets) ListBuckets(ctx context.Context, in *s3.ListBucketsInput, options ...func(*s3.Options)) (*s3.ListBucketsOutput, error) {
	return f(ctx, in, options...)
}

// ListSecrets is what its paginator asks for.
func (f secretsmanagerListSecrets) ListSecrets(ctx context.Context, in *secretsmanager.ListSecretsInput, options ...func(*secretsmanager.Options)) (*secretsmanager.ListSecretsOutput, error) {
	return f(ctx, in, options...)
}

// ListQueues is what its paginator asks for.
func (f sqsListQueues) ListQueues(ctx context.Context, in *sqs.ListQueuesInput, options ...func(*sqs.Options)) (*sqs.ListQueuesOutput, error) {
	return f(ctx, in, options...)
}
