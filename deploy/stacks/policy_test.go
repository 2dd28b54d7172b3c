package stacks

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/riskprofiler/riskprofiler/deploy/plan"
	"github.com/riskprofiler/riskprofiler/platform/app"
)

const (
	here   = ":REGION:ACCOUNT:"
	prefix = "rp-test"
)

// grants are what a role may do, as "action on resource" and, where the statement has conditions, " if " and those.
type grants map[string]bool

func (g grants) add(actions, resource, condition string) {
	for action := range strings.FieldsSeq(actions) {
		if condition != "" {
			g[action+" on "+resource+" if "+condition] = true
		} else {
			g[action+" on "+resource] = true
		}
	}
}

// specGrants says in this test's own words what a Spec needs. It shares nothing with policy.go but the drivers' needs.
func specGrants(f plan.Function, all []plan.Service) grants {
	g := grants{}
	s := f.Spec
	object := func(bucket, key string) string {
		return "arn:aws:s3:::" + prefix + "-" + bucket + "-ACCOUNT-REGION" + key
	}
	g.add("logs:CreateLogStream logs:PutLogEvents", "arn:aws:logs"+here+"log-group:/aws/lambda/"+prefix+"-"+f.Name+":*", "")
	g.add("xray:PutTraceSegments xray:PutTelemetryRecords xray:PutSpans xray:PutSpansForIndexing", "*", "")
	g.add("kms:Decrypt kms:GenerateDataKey", "KEY", `{"StringEquals":{"kms:ViaService":["dynamodb.REGION.amazonaws.com","s3.REGION.amazonaws.com","sqs.REGION.amazonaws.com"]}}`)
	g.add("s3:GetObject s3:PutObject", object("keys", "/private/"+s.Name), "")
	g.add("s3:PutObject s3:DeleteObject", object("keys", "/public/"+s.Name), "")
	g.add("s3:GetObject", object("keys", "/public/*"), "")
	g.add("s3:ListBucket", object("keys", ""), "")

	const rows = "dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:ConditionCheckItem"
	for _, table := range s.Tables {
		arn := "arn:aws:dynamodb" + here + "table/" + prefix + "-" + table
		g.add(rows, arn, "")
		for _, index := range s.Indexes[table] {
			g.add("dynamodb:Query", arn+"/index/"+index, "")
		}
	}
	for _, bucket := range s.Buckets {
		g.add("s3:GetObject s3:PutObject s3:DeleteObject", object(bucket, "/*"), "")
		g.add("s3:ListBucket", object(bucket, ""), "")
	}
	for _, bucket := range s.Reads {
		g.add("s3:GetObject", object(bucket, "/*"), "")
		g.add("s3:ListBucket", object(bucket, ""), "")
	}
	g.add(map[app.SecretAccess]string{
		app.ReadsSecrets: "secretsmanager:GetSecretValue", app.WritesSecrets: "secretsmanager:CreateSecret secretsmanager:PutSecretValue secretsmanager:DeleteSecret",
	}[s.Secrets], "arn:aws:secretsmanager"+here+"secret:"+prefix+"/tenants/*", "")
	for _, queue := range s.Sends {
		g.add("sqs:SendMessage sqs:GetQueueUrl", "arn:aws:sqs"+here+prefix+"-"+queue+".fifo", "")
		g.add("s3:PutObject s3:GetObject", object("messages", "/spill/"+queue+"/*"), "")
	}
	var own []string
	for _, c := range s.Consumes {
		g.add("sqs:ReceiveMessage sqs:DeleteMessage sqs:ChangeMessageVisibility sqs:GetQueueAttributes sqs:GetQueueUrl", "arn:aws:sqs"+here+prefix+"-"+c.Queue+".fifo", "")
		g.add("s3:GetObject s3:DeleteObject", object("messages", "/spill/"+c.Queue+"/*"), "")
		g.add("s3:ListBucket", object("messages", ""), "")
		own = append(own, c.Queue)
	}
	if s.InspectsQueues {
		own = plan.Queues(all)
		for _, queue := range own {
			g.add("sqs:SendMessage sqs:GetQueueUrl sqs:GetQueueAttributes", "arn:aws:sqs"+here+prefix+"-"+queue+".fifo", "")
		}
	}
	if len(own) > 0 {
		var keys []string
		slices.Sort(own)
		for _, queue := range own {
			keys = append(keys, `"`+queue+`"`, `"`+queue+`/*"`)
		}
		g.add(rows, "arn:aws:dynamodb"+here+"table/"+prefix+"-queues",
			`{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":[`+strings.Join(keys, ",")+`]},"Null":{"dynamodb:LeadingKeys":"false"}}`)
	}
	if s.EntersClouds {
		g.add("sts:AssumeRole", tenantRoles, "")
	}
	for _, peer := range s.Calls {
		if peer != s.Name {
			g.add("lambda:InvokeFunction", "arn:aws:lambda"+here+"function:"+prefix+"-"+peer+":live", "")
		}
	}
	for machine := range s.Workflows {
		g.add("states:StartExecution", "arn:aws:states"+here+"stateMachine:"+prefix+"-"+machine, "")
		g.add("states:DescribeExecution states:StopExecution", "arn:aws:states"+here+"execution:"+prefix+"-"+machine+":*", "")
	}
	if s.CompletesTasks {
		for _, m := range plan.Machines(all) {
			g.add("states:SendTaskSuccess states:SendTaskFailure states:SendTaskHeartbeat", "arn:aws:states"+here+"stateMachine:"+prefix+"-"+m.Name, "")
		}
	}
	return g
}

// statement is one statement of any policy, with its conditions as canonical JSON.
func (r resolver) grantsOf(doc any, into grants) {
	statements, _ := at(doc, "Statement").([]any)
	for _, s := range statements {
		if at(s, "Effect") != "Allow" {
			r.t.Errorf("a role's policy has a statement that is no Allow: %v", s)
			continue
		}
		for _, key := range []string{"NotAction", "NotResource"} {
			if at(s, key) != nil {
				r.t.Errorf("a policy says %s", key)
			}
		}
		condition := ""
		if c := at(s, "Condition"); c != nil {
			condition = r.canonical(c)
		}
		for _, resource := range r.list(at(s, "Resource")) {
			into.add(strings.Join(r.list(at(s, "Action")), " "), resource, condition)
		}
	}
}

// canonical is JSON with functions resolved.
func (r resolver) canonical(v any) string {
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			out := make([]any, 0, len(v))
			for _, x := range v {
				out = append(out, walk(x))
			}
			return out
		case map[string]any:
			if len(v) == 1 {
				for key := range v {
					if key == "Ref" || strings.HasPrefix(key, "Fn::") {
						return r.text(v)
					}
				}
			}
			out := map[string]any{}
			for key, x := range v {
				out[key] = walk(x)
			}
			return out
		}
		return v
	}
	data, err := json.Marshal(walk(v))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// roleGrants are all grants of a role, by whichever way they are attached.
func (r resolver) roleGrants(role string) grants {
	out := grants{}
	x := r.template.Resources[role]
	if x.Properties["ManagedPolicyArns"] != nil {
		r.t.Errorf("role %s has managed policies", role)
	}
	inline, _ := x.Properties["Policies"].([]any)
	for _, p := range inline {
		r.grantsOf(at(p, "PolicyDocument"), out)
	}
	for _, p := range r.template.of("AWS::IAM::Policy") {
		for _, attached := range r.list(p.Properties["Roles"]) {
			if attached == role {
				r.grantsOf(p.Properties["PolicyDocument"], out)
			}
		}
	}
	return out
}

func compare(t *testing.T, who string, got, want grants) {
	t.Helper()
	for _, g := range slices.Sorted(maps.Keys(got)) {
		if !want[g] {
			t.Errorf("%s may, and should not: %s", who, g)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(want)) {
		if !got[g] {
			t.Errorf("%s may not, and should: %s", who, g)
		}
	}
}

// Each function may do what its Spec names: nothing more, nothing less.
func TestFunctionsMayDoWhatTheirSpecNames(t *testing.T) {
	for _, s := range full.services {
		r := resolver{t, full.templates[s.Name]}
		for _, f := range s.Functions {
			t.Run(f.Name, func(t *testing.T) {
				r := resolver{t, r.template}
				role := ""
				for _, x := range r.template.of("AWS::Lambda::Function") {
					if r.text(x.Properties["FunctionName"]) == prefix+"-"+f.Name {
						role = strings.TrimPrefix(r.text(x.Properties["Role"]), "ROLE:")
					}
				}
				if role == "" {
					t.Fatal("there is no such function")
				}
				compare(t, f.Name, r.roleGrants(role), specGrants(f, full.services))
			})
		}
	}
}

// Each state machine may do what its definition names.
func TestMachinesMayDoWhatTheirDefinitionNames(t *testing.T) {
	for _, s := range full.services {
		r := resolver{t, full.templates[s.Name]}
		for _, m := range s.Machines {
			want := grants{}
			for _, function := range []string{"scheduler", "correlator", "reporter"} {
				want.add("lambda:InvokeFunction", "arn:aws:lambda"+here+"function:"+prefix+"-"+function+":workflow", "")
			}
			for _, queue := range []string{"scan-dns", "scan-subdomain", "scan-port", "scan-service", "scan-tls", "scan-http", "scan-vuln", "scan-intel", "scan-cloud"} {
				want.add("sqs:SendMessage", "arn:aws:sqs"+here+prefix+"-"+queue+".fifo", "")
			}
			want.add("kms:Decrypt kms:GenerateDataKey", "KEY", `{"StringEquals":{"kms:ViaService":["sqs.REGION.amazonaws.com"]}}`)
			want.add("xray:PutTraceSegments xray:PutTelemetryRecords xray:PutSpans xray:PutSpansForIndexing", "*", "")
			want.add("logs:CreateLogDelivery logs:GetLogDelivery logs:UpdateLogDelivery logs:DeleteLogDelivery logs:ListLogDeliveries "+
				"logs:PutResourcePolicy logs:DescribeResourcePolicies logs:DescribeLogGroups", "*", "")
			for _, x := range r.template.of("AWS::StepFunctions::StateMachine") {
				compare(t, m.Name, r.roleGrants(strings.TrimPrefix(r.text(x.Properties["RoleArn"]), "ROLE:")), want)
			}
		}
	}
}

// Every role is a function's, a machine's or a schedule's: there is none that no test looks at.
func TestNoOtherRoles(t *testing.T) {
	for name, tpl := range full.templates {
		r := resolver{t, tpl}
		for id, x := range tpl.of("AWS::IAM::Role") {
			who := fmt.Sprint(at(x.Properties, "AssumeRolePolicyDocument", "Statement", 0, "Principal", "Service"))
			switch who {
			case "lambda.amazonaws.com", "states.amazonaws.com":
			case "scheduler.amazonaws.com":
				want := grants{}
				want.add("lambda:InvokeFunction", "arn:aws:lambda"+here+"function:"+prefix+"-"+name+":events", "")
				compare(t, id, r.roleGrants(id), want)
			default:
				t.Errorf("stack %s: role %s is for %s", name, id, who)
			}
		}
	}
}

// No policy of any kind allows a scan of a table or has a wildcard among its actions, and what principals outside of this account
// are given is nothing.
func TestNoWildcardActionAndNoScan(t *testing.T) {
	both(t, func(t *testing.T, d deployment) {
		seen := 0
		for name, tpl := range d.templates {
			for id, x := range tpl.Resources {
				eachAllow(x.Properties, func(statement map[string]any) {
					seen++
					for _, action := range (resolver{t, tpl}).list(statement["Action"]) {
						if strings.Contains(action, "*") || strings.EqualFold(action, "dynamodb:Scan") {
							t.Errorf("stack %s: %s allows %s", name, id, action)
						}
					}
					if statement["NotAction"] != nil || statement["NotPrincipal"] != nil {
						t.Errorf("stack %s: %s allows by exception: %v", name, id, statement)
					}
					if p := statement["Principal"]; p == "*" || at(p, "AWS") == "*" {
						t.Errorf("stack %s: %s allows everybody: %v", name, id, statement)
					}
				})
			}
		}
		if seen < 100 {
			t.Errorf("saw %d statements: does this test look in the right place?", seen)
		}
	})
}

// eachAllow finds statements that allow wherever they are.
func eachAllow(v any, found func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			eachAllow(x, found)
		}
	case map[string]any:
		if v["Effect"] == "Allow" && (v["Action"] != nil || v["NotAction"] != nil) {
			found(v)
		}
		for _, x := range v {
			eachAllow(x, found)
		}
	}
}

// The alias workflow, whose callers may name a tenant, is invoked by state machines and by nobody else, the alias events by schedules
// (and by queues, which need no permission of their own); a function's unqualified
// name by nobody at all; and only API Gateway is let in by a function's own policy, at the edge.
func TestWhoInvokes(t *testing.T) {
	both(t, func(t *testing.T, d deployment) {
		for name, tpl := range d.templates {
			r := resolver{t, tpl}
			for id, x := range tpl.of("AWS::IAM::Role") {
				want := map[any]string{"states.amazonaws.com": plan.Workflow, "scheduler.amazonaws.com": plan.Events, "lambda.amazonaws.com": plan.Live}[at(x.Properties,
					"AssumeRolePolicyDocument", "Statement", 0, "Principal", "Service")]
				for g := range r.roleGrants(id) {
					if !strings.HasPrefix(g, "lambda:") {
						continue
					}
					if alias := g[strings.LastIndex(g, ":")+1:]; alias != want {
						t.Errorf("stack %s: %s: %s", name, id, g)
					}
				}
			}
			for id, x := range tpl.of("AWS::Lambda::Permission") {
				function := r.text(x.Properties["FunctionName"])
				if x.Properties["Principal"] != "apigateway.amazonaws.com" || x.Properties["SourceArn"] == nil ||
					!strings.HasSuffix(function, "-"+plan.Edge+":"+plan.Live) {
					t.Errorf("stack %s: %s lets %v invoke %s", name, id, x.Properties["Principal"], function)
				}
			}
		}
	})
}

// The scanner, which talks to hostile machines, reads no table but its rate limits, and calls only ingest. No secret but the keys
// for third parties, and these only where third parties are asked: not where targets are.
func TestScannerHasLittle(t *testing.T) {
	r := resolver{t, full.templates["scanner"]}
	for id, x := range r.template.of("AWS::IAM::Role") {
		if at(x.Properties, "AssumeRolePolicyDocument", "Statement", 0, "Principal", "Service") != "lambda.amazonaws.com" {
			continue
		}
		for g := range r.roleGrants(id) {
			table := strings.Contains(g, ":table/") && !strings.Contains(g, ":table/rp-test-ratelimits") && !strings.Contains(g, ":table/rp-test-queues if ")
			secret := strings.HasPrefix(g, "secretsmanager:") || strings.HasPrefix(g, "ssm:")
			if g == "secretsmanager:GetSecretValue on "+tenantSecrets {
				secret = !asksThirdParties(id)
			}
			call := strings.HasPrefix(g, "lambda:") && !strings.HasSuffix(g, "-ingest:live")
			private := strings.Contains(g, "/private/") && !strings.HasSuffix(g, "/private/scanner")
			enters := strings.HasPrefix(g, "sts:") && !entersClouds(id)
			if table || secret || call || private || enters {
				t.Errorf("%s: %s", id, g)
			}
		}
	}
}

// tenantSecrets is the folder of the tenants' keys, in which the gateway makes secrets.
const tenantSecrets = "arn:aws:secretsmanager" + here + "secret:" + prefix + "/tenants/*"

// tenantRoles are the roles in tenants' accounts that may be assumed.
const tenantRoles = "arn:aws:iam::*:role/RiskProfiler*"

// asksThirdParties: the role of the scan types that do, and of the function that answers calls, which has them all.
func asksThirdParties(role string) bool {
	return slices.Contains([]string{"scanner", "scannercloud", "scannerintel", "scannersubdomain"}, functionOf(role))
}

// entersClouds: the role of the scan type that goes into tenants' accounts, and of the function that answers calls.
func entersClouds(role string) bool {
	return slices.Contains([]string{"scanner", "scannercloud"}, functionOf(role))
}

// functionOf is the function that a role is for, without dashes.
func functionOf(role string) string {
	return strings.TrimRight(strings.TrimPrefix(role, "Role"), "0123456789ABCDEF")
}

// Whatever a policy, a variable or a trigger names by its ARN is made by one of the stacks: a mistyped name does not wait for the
// first deployment to be found.
func TestWhatIsNamedExists(t *testing.T) {
	known := map[string]bool{"KEY": true, "*": true, tenantSecrets: true, tenantRoles: true}
	for _, tpl := range full.templates {
		r := resolver{t, tpl}
		for id, x := range tpl.Resources {
			switch x.Type {
			case "AWS::DynamoDB::Table":
				known[r.attribute(id, "Arn")] = true
				indexes, _ := x.Properties["GlobalSecondaryIndexes"].([]any)
				for _, i := range indexes {
					known[r.attribute(id, "Arn")+"/index/"+r.text(at(i, "IndexName"))] = true
				}
			case "AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::StepFunctions::StateMachine", "AWS::Logs::LogGroup":
				known[r.attribute(id, "Arn")] = true
			case "AWS::Lambda::Alias", "AWS::SNS::Topic":
				known[r.ref(id)] = true
			}
		}
	}
	exists := func(resource string) bool {
		bucket, _, _ := strings.Cut(resource, "/")
		execution := strings.TrimSuffix(strings.Replace(resource, ":execution:", ":stateMachine:", 1), ":*")
		return known[resource] || known[execution] || strings.HasPrefix(resource, "arn:aws:s3:::") && known[bucket]
	}
	for name, tpl := range full.templates {
		r := resolver{t, tpl}
		for id := range tpl.of("AWS::IAM::Role") {
			for g := range r.roleGrants(id) {
				_, resource, _ := strings.Cut(g, " on ")
				resource, _, _ = strings.Cut(resource, " if ")
				if !exists(resource) {
					t.Errorf("stack %s: %s names %s, which no stack makes", name, id, resource)
				}
			}
		}
		for id, x := range tpl.of("AWS::CloudWatch::Alarm") {
			for _, topic := range r.list(x.Properties["AlarmActions"]) {
				if !exists(topic) {
					t.Errorf("stack %s: %s goes to %s, which no stack makes", name, id, topic)
				}
			}
		}
	}
}
