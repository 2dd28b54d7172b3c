//go:build aws || awstest

package drivers

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/blob/s3blob"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/secret/awssecret"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
	"github.com/riskprofiler/riskprofiler/platform/telemetry/awsspan"
	"github.com/riskprofiler/riskprofiler/platform/telemetry/xray"
	"github.com/riskprofiler/riskprofiler/platform/workflow"
	"github.com/riskprofiler/riskprofiler/platform/workflow/stepfunctions"
)

const (
	// backendSetting is the URL that says where everything is: see awsclient.Parse.
	backendSetting = "RISKPROFILER_BACKEND"
	// queueTable has what SQS does not keep: attempts, last errors, parked messages.
	queueTable = "queues"
	// keyBucket has the services' signing keys.
	keyBucket = "keys"
)

// AWS keeps items in DynamoDB, messages in SQS, blobs in S3, and leaves workflows to Step Functions, at the place that the
// setting RISKPROFILER_BACKEND names. It calls nothing: that a resource is missing or access to it denied shows at its first
// use, in one line that names it and the remedy.
func AWS(ctx context.Context, settings map[string]string) (app.Backends, error) {
	raw := settings[backendSetting]
	if raw == "" {
		return nil, fault.New(fault.Invalid, "read settings: %s is not set; say where the resources are, for example %s", backendSetting, awsclient.Example)
	}
	location, err := awsclient.Parse(raw)
	if err != nil {
		return nil, err
	}
	config, err := awsclient.Load(ctx, location)
	if err != nil {
		return nil, err
	}
	config.APIOptions = append(config.APIOptions, awsspan.Middleware)
	a := &cloud{location: location, config: config}
	a.tables = sync.OnceValue(func() *dynamotable.DB { return dynamotable.Open(config, location) })
	a.queues = sync.OnceValues(func() (*sqsqueue.Queues, error) {
		state := table.New(a.tables().Table(queueTable), table.Options{Name: queueTable})
		return sqsqueue.Open(config, location, sqsqueue.Options{State: state})
	})
	a.buckets = sync.OnceValue(func() *s3blob.Store { return s3blob.Open(config, location) })
	a.functions = sync.OnceValue(func() *functions { return newFunctions(config, location) })
	return a, nil
}

// cloud makes each client when something of its kind is first asked for.
type cloud struct {
	location  awsclient.Location
	config    aws.Config
	tables    func() *dynamotable.DB
	queues    func() (*sqsqueue.Queues, error)
	buckets   func() *s3blob.Store
	functions func() *functions
}

// Table is the table <prefix>-<name>.
func (a *cloud) Table(_ context.Context, name string, indexes []string) (table.Driver, error) {
	return a.tables().Table(name, indexes...), nil
}

// Queue is the queue <prefix>-<name>.fifo.
func (a *cloud) Queue(_ context.Context, name string, _ bool) (queue.Driver, error) {
	queues, err := a.queues()
	if err != nil {
		return nil, err
	}
	return queues.Queue(name), nil
}

// Bucket is the bucket <prefix>-<name>, with the setting's suffix if it has one.
func (a *cloud) Bucket(_ context.Context, name string) (blob.Bucket, error) {
	return a.buckets().Bucket(name), nil
}

// workflowPoll is how often a scheduler that runs its machines itself looks for what others did: each look is a read that costs.
const workflowPoll = time.Second

// Workflow is Step Functions, which runs nothing in this process; or, where the location says so, the table "workflow", whose
// machines run in the process of the service that owns them: Step Functions calls functions, and no containers.
func (a *cloud) Workflow(_ context.Context, r app.WorkflowRequest) (workflow.Engine, func(context.Context) error, error) {
	if a.location.TableWorkflow {
		return tableWorkflow(table.New(a.tables().Table(workflowTable, workflowTable), table.Options{Name: workflowTable}), r, workflowPoll)
	}
	return stepfunctions.New(a.config, a.location), nil, nil
}

// Keys are in the bucket keys.
func (a *cloud) Keys() authn.KeyStore {
	return authn.NewBucketKeys(a.buckets().Bucket(keyBucket))
}

// Secrets are in Secrets Manager, as <prefix>/tenants/<tenant>/<name>.
func (a *cloud) Secrets() secret.Store { return awssecret.Open(a.config, a.location) }

// Invoke calls a function: see [app.Invoker].
func (a *cloud) Invoke(ctx context.Context, function string, payload []byte) ([]byte, error) {
	return a.functions().invoke(ctx, function, payload)
}

// XRay signs what is sent to X-Ray: see [app.XRaySigner].
func (a *cloud) XRay(region string) http.RoundTripper {
	return xray.NewTransport(xray.Options{Region: region, Credentials: a.config.Credentials})
}

// Close closes nothing: connections are the SDK's.
func (a *cloud) Close() error { return nil }
