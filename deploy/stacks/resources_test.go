package stacks

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/queue/sqsqueue"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

// named finds the one resource of a type whose property has a value.
func (r resolver) named(kind, property, value string) resource {
	r.t.Helper()
	for _, x := range r.template.of(kind) {
		if x.Properties[property] != nil && r.text(x.Properties[property]) == value {
			return x
		}
	}
	r.t.Fatalf("there is no %s whose %s is %s", kind, property, value)
	return resource{}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	g, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(g) != string(w) {
		t.Errorf("%s is %s, want %s", what, g, w)
	}
}

// Functions have what their Spec says, and all three aliases point at one published version that stays when the next one comes.
func TestFunctions(t *testing.T) {
	both(t, func(t *testing.T, d deployment) {
		arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[d.config.Arch]
		for _, s := range d.services {
			r := resolver{t, d.templates[s.Name]}
			for _, f := range s.Functions {
				name := d.config.Prefix + "-" + f.Name
				x := r.named("AWS::Lambda::Function", "FunctionName", name)
				equal(t, f.Name+" memory", x.Properties["MemorySize"], f.Spec.MemoryMiB)
				equal(t, f.Name+" timeout", x.Properties["Timeout"], f.Spec.Timeout.Seconds())
				equal(t, f.Name+" runtime", x.Properties["Runtime"], "provided.al2023")
				equal(t, f.Name+" architecture", x.Properties["Architectures"], []string{arch})
				equal(t, f.Name+" tracing", at(x.Properties, "TracingConfig", "Mode"), "Active")
				equal(t, f.Name+" layers", x.Properties["Layers"] != nil, f.Spec.Trust == app.HostileNetwork)
				group := r.named("AWS::Logs::LogGroup", "LogGroupName", "/aws/lambda/"+name)
				equal(t, f.Name+" log retention", group.Properties["RetentionInDays"], d.config.LogDays)
				for _, alias := range []string{"live", "workflow", "events"} {
					found := 0
					for _, a := range r.template.of("AWS::Lambda::Alias") {
						if r.text(a.Properties["FunctionName"]) != name || a.Properties["Name"] != alias {
							continue
						}
						found++
						version, _ := at(a.Properties, "FunctionVersion", "Fn::GetAtt", 0).(string)
						if v := r.template.Resources[version]; v.Type != "AWS::Lambda::Version" || v.DeletionPolicy != "Retain" {
							t.Errorf("alias %s of %s points at %v, which does not stay", alias, f.Name, v)
						}
						warm := any(nil)
						if f.Name == plan.Edge && alias == "live" && d.config.Provisioned > 0 {
							warm = d.config.Provisioned
						}
						equal(t, f.Name+" provisioned concurrency", at(a.Properties, "ProvisionedConcurrencyConfig", "ProvisionedConcurrentExecutions"), warm)
					}
					if found != 1 {
						t.Errorf("%s has %d aliases %s", f.Name, found, alias)
					}
				}
			}
		}
	})
}

// What a function is told, the program understands.
func TestEnvironment(t *testing.T) {
	want := map[string]string{
		"gateway": "correlator=lambda:rp-test-correlator:live,ingest=lambda:rp-test-ingest:live,reporter=lambda:rp-test-reporter:live," +
			"scanner=lambda:rp-test-scanner:live,scheduler=lambda:rp-test-scheduler:live",
		"scanner-dns": "ingest=lambda:rp-test-ingest:live", "ingest": "scanner=lambda:rp-test-scanner:live",
	}
	for _, s := range full.services {
		r := resolver{t, full.templates[s.Name]}
		for _, f := range s.Functions {
			env, _ := at(r.named("AWS::Lambda::Function", "FunctionName", "rp-test-"+f.Name).Properties, "Environment", "Variables").(map[string]any)
			backend := strings.NewReplacer("REGION", "eu-west-1", "ACCOUNT", "123456789012").Replace(r.text(env["RISKPROFILER_BACKEND"]))
			l, err := awsclient.Parse(backend)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "table", l.Name("ingest"), "rp-test-ingest")
			equal(t, "bucket", l.Bucket("evidence"), "rp-test-evidence-123456789012-eu-west-1")
			equal(t, "account", l.Account, "123456789012")
			for name, v := range app.CollectorSettings(f.Spec.MemoryMiB) {
				equal(t, name, env[name], v)
			}
			equal(t, "spans", r.text(env["RISKPROFILER_OTLP_ENDPOINT"]), "xray://REGION")
			peers := ""
			if env["RISKPROFILER_PEERS"] != nil {
				peers = r.text(env["RISKPROFILER_PEERS"])
			}
			if w, ok := want[f.Name]; ok {
				equal(t, f.Name+" peers", peers, w)
			}
			if f.Name == plan.Edge {
				equal(t, "issuer", env["RISKPROFILER_OIDC_ISSUER"], "https://issuer.example/pool")
				equal(t, "audience", env["RISKPROFILER_OIDC_AUDIENCE"], "console")
				equal(t, "tenant claim", env["RISKPROFILER_OIDC_TENANT_CLAIM"], "tenant")
				equal(t, "roles claim", env["RISKPROFILER_OIDC_ROLES_CLAIM"], nil)
			}
			for name := range env {
				if strings.Contains(name, "SECRET") || strings.Contains(name, "PASSWORD") {
					t.Errorf("%s is told %s", f.Name, name)
				}
			}
		}
	}
}

// Queues are as the driver makes them for its tests, and wait six times as long as their function may take.
func TestQueues(t *testing.T) {
	for _, s := range full.services {
		r := resolver{t, full.templates[s.Name]}
		for _, q := range s.Queues {
			x := r.named("AWS::SQS::Queue", "QueueName", "rp-test-"+q.Name+".fifo").Properties
			dead := r.named("AWS::SQS::Queue", "QueueName", "rp-test-"+sqsqueue.DeadLetterName(q.Name)+".fifo").Properties
			deadARN := r.text(at(x, "RedrivePolicy", "deadLetterTargetArn"))
			for attribute, want := range sqsqueue.Attributes(deadARN) {
				switch attribute {
				case "RedrivePolicy":
					equal(t, q.Name+" receives", at(x, "RedrivePolicy", "maxReceiveCount"), sqsqueue.MaxReceiveCount)
				case "VisibilityTimeout": // ours is by function
				case "FifoQueue":
					equal(t, q.Name+" "+attribute, x[attribute], true)
				case "MessageRetentionPeriod":
					equal(t, q.Name+" retention", x[attribute], sqsqueue.Retention.Seconds())
					equal(t, q.Name+" retention of dead letters", dead[attribute], sqsqueue.Retention.Seconds())
				default:
					equal(t, q.Name+" "+attribute, x[attribute], want)
				}
			}
			function := r.named("AWS::Lambda::Function", "FunctionName", "rp-test-"+q.Function).Properties
			timeout, _ := function["Timeout"].(float64)
			if visibility, _ := x["VisibilityTimeout"].(float64); visibility < 6*timeout {
				t.Errorf("queue %s hides messages for %v s, its function may take %v s", q.Name, visibility, timeout)
			}
			for _, each := range []map[string]any{x, dead} {
				equal(t, q.Name+" key", r.text(each["KmsMasterKeyId"]), "KEY")
			}
			source := r.named("AWS::Lambda::EventSourceMapping", "EventSourceArn", "arn:aws:sqs:REGION:ACCOUNT:rp-test-"+q.Name+".fifo").Properties
			equal(t, q.Name+" function", r.text(source["FunctionName"]), "arn:aws:lambda:REGION:ACCOUNT:function:rp-test-"+q.Function+":events")
			equal(t, q.Name+" answers", source["FunctionResponseTypes"], []string{"ReportBatchItemFailures"})
			limit := q.Concurrency
			if strings.HasPrefix(q.Function, "scanner-") {
				limit = full.config.ScanConcurrency
			}
			equal(t, q.Name+" concurrency", at(source, "ScalingConfig", "MaximumConcurrency"), limit)
			equal(t, q.Name+" batch", source["BatchSize"], q.Batch)
			if source["FilterCriteria"] != nil || source["MaximumBatchingWindowInSeconds"] != nil {
				t.Errorf("queue %s filters or waits: a filter deletes for good, and FIFO has no window", q.Name)
			}
		}
		if queues, policies := len(r.template.of("AWS::SQS::Queue")), len(r.template.of("AWS::SQS::QueuePolicy")); queues != policies {
			t.Errorf("stack %s has %d queues and %d policies that ask for TLS", s.Name, queues, policies)
		}
		for id, p := range r.template.of("AWS::SQS::QueuePolicy") {
			equal(t, id, at(p.Properties, "PolicyDocument", "Statement", 0, "Condition"), map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}})
			equal(t, id, at(p.Properties, "PolicyDocument", "Statement", 0, "Effect"), "Deny")
		}
	}
}

// driverTables asks the driver of tables what it would create, on a server that only listens.
func driverTables(t *testing.T, table plan.Table) (definition map[string]any, ttl string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		answer := "{}"
		switch _, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); op {
		case "CreateTable":
			if err := json.Unmarshal(body, &definition); err != nil {
				t.Error(err)
			}
		case "DescribeTable":
			answer = `{"Table":{"TableStatus":"ACTIVE"}}`
		case "UpdateTimeToLive":
			var in map[string]any
			if err := json.Unmarshal(body, &in); err != nil {
				t.Error(err)
			}
			ttl, _ = at(in, "TimeToLiveSpecification", "AttributeName").(string)
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	config := aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")}
	db := dynamotable.Open(config, awsclient.Location{Region: "eu-west-1", Prefix: "rp-test", Endpoint: server.URL})
	if err := dynamotable.Create(context.Background(), db.Client(), "rp-test-"+table.Name, table.Indexes); err != nil {
		t.Fatal(err)
	}
	return definition, ttl
}

// Tables are what the driver reads and writes, can be restored, and cannot be deleted by mistake.
func TestTables(t *testing.T) {
	check := func(t *testing.T, stack string, table plan.Table) {
		r := resolver{t, full.templates[stack]}
		x := r.named("AWS::DynamoDB::Table", "TableName", "rp-test-"+table.Name)
		p := x.Properties
		want, ttl := driverTables(t, table)
		equal(t, table.Name+" key", p["KeySchema"], want["KeySchema"])
		equal(t, table.Name+" billing", p["BillingMode"], want["BillingMode"])
		equal(t, table.Name+" expiry", p["TimeToLiveSpecification"], map[string]any{"AttributeName": ttl, "Enabled": true})
		equal(t, table.Name+" indexes", p["GlobalSecondaryIndexes"], want["GlobalSecondaryIndexes"])
		equal(t, table.Name+" attributes", p["AttributeDefinitions"], want["AttributeDefinitions"])
		equal(t, table.Name+" recovery", at(p, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"), true)
		equal(t, table.Name+" protection", p["DeletionProtectionEnabled"], true)
		equal(t, table.Name+" retained", x.DeletionPolicy, "Retain")
		equal(t, table.Name+" encrypted", at(p, "SSESpecification", "SSEEnabled"), true)
		equal(t, table.Name+" key", r.text(at(p, "SSESpecification", "KMSMasterKeyId")), "KEY")
	}
	seen := 0
	for _, s := range full.services {
		for _, table := range s.Tables {
			seen++
			t.Run(table.Name, func(t *testing.T) { check(t, s.Name, table) })
		}
	}
	t.Run("queues", func(t *testing.T) { check(t, "shared", plan.Table{Name: plan.QueuesTable}) })
	if seen < 6 {
		t.Errorf("saw %d tables", seen)
	}
}

// Buckets are private, encrypted, over TLS only, logged and kept.
func TestBuckets(t *testing.T) {
	want := map[string]string{"keys": "shared", "messages": "shared", "logs": "shared", "evidence": "scanner", "reports": "reporter"}
	for name, stack := range want {
		r := resolver{t, full.templates[stack]}
		x := r.named("AWS::S3::Bucket", "BucketName", "rp-test-"+name+"-ACCOUNT-REGION")
		p := x.Properties
		equal(t, name+" public access", p["PublicAccessBlockConfiguration"], map[string]bool{
			"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true,
		})
		equal(t, name+" retained", x.DeletionPolicy, "Retain")
		algorithm := at(p, "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm")
		if name == "logs" {
			equal(t, name+" encryption", algorithm, "AES256")
			continue
		}
		equal(t, name+" encryption", algorithm, "aws:kms")
		equal(t, name+" logs", r.text(at(p, "LoggingConfiguration", "DestinationBucketName")), "rp-test-logs-ACCOUNT-REGION")
	}
	for _, versioned := range []string{"keys", "reports"} {
		r := resolver{t, full.templates[want[versioned]]}
		p := r.named("AWS::S3::Bucket", "BucketName", "rp-test-"+versioned+"-ACCOUNT-REGION").Properties
		equal(t, versioned+" versions", at(p, "VersioningConfiguration", "Status"), "Enabled")
	}
	for name, days := range map[string]int{"evidence": full.config.EvidenceDays, "messages": 15} {
		r := resolver{t, full.templates[want[name]]}
		p := r.named("AWS::S3::Bucket", "BucketName", "rp-test-"+name+"-ACCOUNT-REGION").Properties
		equal(t, name+" age", at(p, "LifecycleConfiguration", "Rules", 1, "ExpirationInDays"), days)
	}
	for name, tpl := range full.templates {
		if buckets, policies := len(tpl.of("AWS::S3::Bucket")), len(tpl.of("AWS::S3::BucketPolicy")); buckets != policies {
			t.Errorf("stack %s has %d buckets and %d policies that ask for TLS", name, buckets, policies)
		}
	}
}

// The state machine is the file that the embedded runner runs, all its placeholders are filled in, and its log has no data.
func TestMachine(t *testing.T) {
	r := resolver{t, full.templates["scheduler"]}
	p := r.named("AWS::StepFunctions::StateMachine", "StateMachineName", "rp-test-assessment").Properties
	file, err := os.ReadFile("../../services/scheduler/assessment.asl.json")
	if err != nil {
		t.Fatal(err)
	}
	definition := r.text(p["DefinitionString"])
	equal(t, "definition", definition, string(file))
	substitutions, _ := p["DefinitionSubstitutions"].(map[string]any)
	for name, v := range substitutions {
		value := r.text(v)
		if name != "QueuePrefix" && name != "QueueSuffix" {
			equal(t, name, value, "arn:aws:lambda:REGION:ACCOUNT:function:rp-test-"+name+":workflow")
		}
		definition = strings.ReplaceAll(definition, "${"+name+"}", value)
	}
	if strings.Contains(definition, "${") {
		t.Error("a placeholder is left")
	}
	if !strings.Contains(definition, "'https://sqs.REGION.amazonaws.com/ACCOUNT/rp-test-{}.fifo'") {
		t.Error("the URL of a queue is put together wrongly")
	}
	equal(t, "log level", at(p, "LoggingConfiguration", "Level"), "ALL")
	equal(t, "log data", at(p, "LoggingConfiguration", "IncludeExecutionData"), false)
	equal(t, "tracing", at(p, "TracingConfiguration", "Enabled"), true)
	equal(t, "type", p["StateMachineType"], "STANDARD")
}

// The edge: keys are proven by the gateway, tokens by API Gateway and only if there is an issuer; both are throttled and logged, and
// the log has no header and no query.
func TestAPI(t *testing.T) {
	routes := func(d deployment) map[string]string {
		out := map[string]string{}
		r := resolver{t, d.templates["gateway"]}
		for _, x := range r.template.of("AWS::ApiGatewayV2::Route") {
			out[r.text(x.Properties["ApiId"])+" "+r.text(x.Properties["RouteKey"])] = r.text(x.Properties["AuthorizationType"])
		}
		return out
	}
	open := map[string]string{"API:rp-test-api ANY /v1/{proxy+}": "NONE", "API:rp-test-api GET /openapi.json": "NONE", "API:rp-test-api GET /healthz": "NONE"}
	all := maps.Clone(open)
	all["API:rp-test-tokens ANY /v1/{proxy+}"] = "JWT"
	equal(t, "routes", routes(full), all)
	if len(routes(plain)) != len(open) {
		t.Errorf("without an issuer there are routes %v", routes(plain))
	}
	r := resolver{t, full.templates["gateway"]}
	for _, x := range r.template.of("AWS::ApiGatewayV2::Authorizer") {
		equal(t, "authorizer", x.Properties["JwtConfiguration"], map[string]any{"Issuer": "https://issuer.example/pool", "Audience": []string{"console"}})
		equal(t, "identity", x.Properties["IdentitySource"], []string{"$request.header.Authorization"})
	}
	stages := r.template.of("AWS::ApiGatewayV2::Stage")
	if len(stages) != 2 {
		t.Errorf("there are %d stages", len(stages))
	}
	for _, x := range stages {
		equal(t, "rate", at(x.Properties, "DefaultRouteSettings", "ThrottlingRateLimit"), 70)
		equal(t, "burst", at(x.Properties, "DefaultRouteSettings", "ThrottlingBurstLimit"), 90)
		format := r.text(at(x.Properties, "AccessLogSettings", "Format"))
		for _, secret := range []string{"header", "querystring", "queryString"} {
			if strings.Contains(format, secret) {
				t.Errorf("the access log has %s: %s", secret, format)
			}
		}
	}
	for _, x := range r.template.of("AWS::ApiGatewayV2::Integration") {
		equal(t, "payload", x.Properties["PayloadFormatVersion"], "2.0")
		equal(t, "function", r.text(x.Properties["IntegrationUri"]), "arn:aws:lambda:REGION:ACCOUNT:function:rp-test-gateway:live")
	}
}

// The tick comes every minute with the name of its schedule.
func TestSchedules(t *testing.T) {
	r := resolver{t, full.templates["scheduler"]}
	all := r.template.of("AWS::Scheduler::Schedule")
	if len(all) != 1 {
		t.Fatalf("there are %d schedules", len(all))
	}
	for _, x := range all {
		equal(t, "rate", x.Properties["ScheduleExpression"], "rate(1 minute)")
		equal(t, "input", at(x.Properties, "Target", "Input"), `{"schedule":"tick","time":"<aws.scheduler.scheduled-time>"}`)
		equal(t, "target", r.text(at(x.Properties, "Target", "Arn")), "arn:aws:lambda:REGION:ACCOUNT:function:rp-test-scheduler:events")
	}
}

// Everything that can go wrong has its alarm, every alarm goes somewhere, and the manual says what to do about each.
func TestAlarms(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, tpl := range full.templates {
		r := resolver{t, tpl}
		for _, x := range tpl.of("AWS::CloudWatch::Alarm") {
			name := strings.TrimPrefix(r.text(x.Properties["AlarmName"]), "rp-test-")
			got[name] = true
			if metrics, _ := x.Properties["Metrics"].([]any); len(metrics) > 11 {
				t.Errorf("alarm %s has %d metrics, CloudWatch takes 10 and the sum", name, len(metrics))
			}
			if x.Properties["TreatMissingData"] == nil {
				t.Errorf("alarm %s does not say what no data means", name)
			}
		}
	}
	var want []string
	add := func(name string, kinds ...string) {
		for _, kind := range kinds {
			want = append(want, name+"-"+kind)
			if !strings.Contains(string(manual), "`*-"+kind+"`") && !strings.Contains(string(manual), "`"+name+"-"+kind+"`") {
				t.Errorf("docs/operations.md does not say what %s-%s means", name, kind)
			}
		}
	}
	for _, s := range full.services {
		for _, f := range s.Functions {
			add(f.Name, "errors", "throttles", "slow", "metrics")
			for _, schedule := range f.Spec.Schedules {
				add(schedule.Name, "late", "failed")
			}
		}
		for _, q := range s.Queues {
			add(q.Name, "age", "age-page", "dead", "busy", "parked")
		}
		for _, x := range s.Tables {
			add(x.Name, "table-throttled", "table-failed")
		}
	}
	add("queues", "table-throttled", "table-failed")
	add("assessment", "failed", "timed-out", "throttled")
	add("api", "5xx", "slow")
	add("tokens", "5xx", "slow")
	for _, name := range want {
		if !got[name] {
			t.Errorf("there is no alarm %s", name)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("alarms that this test does not know: %v", slices.Sorted(maps.Keys(got)))
	}
}

// The shared stack: a key that turns, topics that are encrypted, a parameter with the key's ARN, a dashboard.
func TestShared(t *testing.T) {
	r := resolver{t, full.templates["shared"]}
	for _, x := range r.template.of("AWS::KMS::Key") {
		equal(t, "rotation", x.Properties["EnableKeyRotation"], true)
		equal(t, "retained", x.DeletionPolicy, "Retain")
	}
	parameter := r.named("AWS::SSM::Parameter", "Name", "/rp-test/key-arn")
	equal(t, "parameter", r.text(parameter.Properties["Value"]), "KEY")
	for _, topic := range []string{"warnings", "pages"} {
		equal(t, topic+" key", r.named("AWS::SNS::Topic", "TopicName", "rp-test-"+topic).Properties["KmsMasterKeyId"] != nil, true)
	}
	equal(t, "dashboards", len(r.template.of("AWS::CloudWatch::Dashboard")), 1)
	for _, s := range full.services {
		equal(t, s.Name+" parameter", at(full.templates[s.Name].Parameters, "KeyArn", "Default"), "/rp-test/key-arn")
	}
}
