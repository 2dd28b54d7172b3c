package aws

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secrettypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// readQueues reads the queues that anybody may use.
func readQueues(ctx context.Context, r *regional) {
	client := sqs.NewFromConfig(r.config)
	var all []string
	pages(ctx, r.inventory, r.at("sqs:ListQueues"), sqs.NewListQueuesPaginator(sqsListQueues(client.ListQueues), &sqs.ListQueuesInput{MaxResults: aws.Int32(1000)}),
		func(out *sqs.ListQueuesOutput) { all = append(all, out.QueueUrls...) })
	each(all, func(url string) {
		p := r.at("sqs:GetQueueAttributes")
		out, ok := call(ctx, r.inventory, p, client.GetQueueAttributes, &sqs.GetQueueAttributesInput{
			QueueUrl: aws.String(url), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNamePolicy, sqstypes.QueueAttributeNameQueueArn},
		}, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
		if ok && out != nil && out.Attributes["Policy"] != "" {
			arn := out.Attributes["QueueArn"]
			r.byPolicy(cloud.TypeQueue, arn, lastPart(arn), out.Attributes["Policy"], p)
		}
	})
}

// readTopics reads the topics that anybody may use.
func readTopics(ctx context.Context, r *regional) {
	client := query.New(r.config, query.SNS)
	var all []query.Topic
	list(ctx, r.inventory, r.at("sns:ListTopics"), query.List(client, query.ListTopics, nil), func(out *query.Topics) { all = append(all, out.Topics...) })
	each(all, func(t query.Topic) {
		p := r.at("sns:GetTopicAttributes")
		out, ok := ask(ctx, r.inventory, p, client, query.GetTopicAttributes, url.Values{"TopicArn": {t.TopicArn}}, "NotFound", "NotFoundException")
		if ok && out != nil {
			r.byPolicy(cloud.TypeTopic, t.TopicArn, lastPart(t.TopicArn), out.Attributes["Policy"], p)
		}
	})
}

// readSecrets reads the policies of secrets, and never a secret.
func readSecrets(ctx context.Context, r *regional) {
	client := secretsmanager.NewFromConfig(r.config)
	var all []secrettypes.SecretListEntry
	pages(ctx, r.inventory, r.at("secretsmanager:ListSecrets"), secretsmanager.NewListSecretsPaginator(secretsmanagerListSecrets(client.ListSecrets), &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(100)}),
		func(out *secretsmanager.ListSecretsOutput) { all = append(all, out.SecretList...) })
	each(all, func(s secrettypes.SecretListEntry) {
		p := r.at("secretsmanager:GetResourcePolicy")
		out, ok := call(ctx, r.inventory, p, client.GetResourcePolicy, &secretsmanager.GetResourcePolicyInput{SecretId: s.ARN}, absent)
		if ok && out != nil {
			r.byPolicy(cloud.TypeSecret, aws.ToString(s.ARN), aws.ToString(s.Name), aws.ToString(out.ResourcePolicy), p)
		}
	})
}

// readBuses reads the event buses that anybody may put events on.
func readBuses(ctx context.Context, r *regional) {
	client := eventbridge.NewFromConfig(r.config)
	p := r.at("events:ListEventBuses")
	input := &eventbridge.ListEventBusesInput{Limit: aws.Int32(100)}
	for range cloud.MaxPages {
		out, ok := call(ctx, r.inventory, p, client.ListEventBuses, input)
		if !ok || out == nil {
			return
		}
		for _, b := range out.EventBuses {
			r.byPolicy(cloud.TypeBus, aws.ToString(b.Arn), aws.ToString(b.Name), aws.ToString(b.Policy), p)
		}
		if input.NextToken = out.NextToken; aws.ToString(input.NextToken) == "" {
			return
		}
	}
	r.gap(cloud.Gap{API: p.api, Region: p.region, Why: cloud.GapCut})
}
