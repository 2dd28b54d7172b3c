package cloud

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/blob/s3blob"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

// provisionLimit bounds how long it takes to make everything.
const provisionLimit = time.Minute

// Provision makes the tables, queues and buckets that the specs name, and those that all services share, as deployment does.
// What is there already is no error.
func Provision(ctx context.Context, cfg aws.Config, l awsclient.Location, specs []app.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, provisionLimit)
	defer cancel()
	tables := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.BaseEndpoint = l.EndpointOf("dynamodb") })
	buckets := s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = l.EndpointOf("s3"), true })
	queues := sqsqueue.NewClient(cfg, l)
	made := map[string]bool{}
	once := func(kind, name string, create func() error) error {
		if made[kind+name] {
			return nil
		}
		made[kind+name] = true
		return create()
	}
	specs = append(slices.Clone(specs), app.Spec{Tables: []string{queuesTable}, Buckets: []string{keysBucket, messagesBucket}})
	for _, s := range specs {
		for _, name := range s.Tables {
			if err := once("table", name, func() error { return dynamotable.Create(ctx, tables, l.Name(name), s.Indexes[name]) }); err != nil {
				return err
			}
		}
		for _, name := range s.Buckets {
			if err := once("bucket", name, func() error { return s3blob.Create(ctx, buckets, l.Bucket(name)) }); err != nil {
				return err
			}
		}
		for _, c := range s.Consumes {
			if err := once("queue", c.Queue, func() error { return sqsqueue.Create(ctx, queues, l, c.Queue) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// queueURL asks for the URL of a queue and derives its ARN.
func queueURL(ctx context.Context, client *sqs.Client, l awsclient.Location, account, name string) (url, arn string, err error) {
	full := l.Name(name) + ".fifo"
	out, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &full})
	if err != nil {
		return "", "", awsclient.Fault(err, "find queue", awsclient.Resource{Kind: "queue", Name: full, Region: l.Region})
	}
	return *out.QueueUrl, strings.Join([]string{"arn", "aws", "sqs", l.Region, account, full}, ":"), nil
}
