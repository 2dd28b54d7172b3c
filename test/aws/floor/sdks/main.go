// Command sdks is the second floor under the cold start of a function: a handler that does nothing and links what our
// functions link that is not ours: the SDK's clients, gRPC and OpenTelemetry. Each is made at init, as a function has to, and
// would be called if an invocation asked for it, so that the linker keeps it.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	functions "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	ctx := context.Background()
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		panic(err)
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		panic(err)
	}
	tracer := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter)).Tracer("floor")
	cc, err := grpc.NewClient("dns:///127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	tables, queues, buckets, peers := dynamodb.NewFromConfig(c), sqs.NewFromConfig(c), s3.NewFromConfig(c), functions.NewFromConfig(c)
	lambda.Start(func(ctx context.Context, do string) error {
		if do == "" {
			return nil
		}
		ctx, span := tracer.Start(ctx, "floor")
		defer span.End()
		for _, call := range []func() error{
			func() error { _, err := tables.Query(ctx, &dynamodb.QueryInput{}); return err },
			func() error {
				_, err := tables.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{})
				return err
			},
			func() error { _, err := queues.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{}); return err },
			func() error { _, err := buckets.PutObject(ctx, &s3.PutObjectInput{Body: os.Stdin}); return err },
			func() error { _, err := peers.Invoke(ctx, &functions.InvokeInput{}); return err },
			func() error { return cc.Invoke(ctx, "/floor", nil, nil) },
		} {
			if err := call(); err != nil {
				return err
			}
		}
		return nil
	})
}
