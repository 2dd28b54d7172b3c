package stacks

import (
	"fmt"
	"strings"
	"testing"
)

// resolver turns CloudFormation's functions into texts, with REGION, ACCOUNT and so on for what only AWS knows.
type resolver struct {
	t        *testing.T
	template template
}

func (r resolver) text(v any) string {
	r.t.Helper()
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		if join, ok := v["Fn::Join"].([]any); ok {
			parts, _ := join[1].([]any)
			out := make([]string, 0, len(parts))
			for _, p := range parts {
				out = append(out, r.text(p))
			}
			return strings.Join(out, r.text(join[0]))
		}
		if ref, ok := v["Ref"].(string); ok {
			return r.ref(ref)
		}
		if get, ok := v["Fn::GetAtt"].([]any); ok {
			return r.attribute(fmt.Sprint(get[0]), fmt.Sprint(get[1]))
		}
	}
	r.t.Fatalf("cannot resolve %v", v)
	return ""
}

func (r resolver) ref(name string) string {
	switch name {
	case "AWS::Partition":
		return "aws"
	case "AWS::Region":
		return "REGION"
	case "AWS::AccountId":
		return "ACCOUNT"
	case "AWS::URLSuffix":
		return "amazonaws.com"
	case "KeyArn":
		return "KEY"
	}
	x, ok := r.template.Resources[name]
	if !ok {
		r.t.Fatalf("%s refers to nothing", name)
	}
	switch x.Type {
	case "AWS::Lambda::Alias":
		return "arn:aws:lambda:REGION:ACCOUNT:function:" + r.text(x.Properties["FunctionName"]) + ":" + r.text(x.Properties["Name"])
	case "AWS::Lambda::Function":
		return r.text(x.Properties["FunctionName"])
	case "AWS::Logs::LogGroup":
		return r.text(x.Properties["LogGroupName"])
	case "AWS::S3::Bucket":
		return r.text(x.Properties["BucketName"])
	case "AWS::Scheduler::ScheduleGroup":
		return r.text(x.Properties["Name"])
	case "AWS::SNS::Topic":
		return "arn:aws:sns:REGION:ACCOUNT:" + r.text(x.Properties["TopicName"])
	case "AWS::SQS::Queue":
		return "https://sqs.REGION.amazonaws.com/ACCOUNT/" + r.text(x.Properties["QueueName"])
	case "AWS::ApiGatewayV2::Api":
		return "API:" + r.text(x.Properties["Name"])
	}
	return name
}

func (r resolver) attribute(id, name string) string {
	x, ok := r.template.Resources[id]
	if !ok {
		r.t.Fatalf("%s.%s refers to nothing", id, name)
	}
	if name != "Arn" {
		return id + "." + name
	}
	in := func(service, resource string) string { return "arn:aws:" + service + ":REGION:ACCOUNT:" + resource }
	switch x.Type {
	case "AWS::DynamoDB::Table":
		return in("dynamodb", "table/"+r.text(x.Properties["TableName"]))
	case "AWS::SQS::Queue":
		return in("sqs", r.text(x.Properties["QueueName"]))
	case "AWS::S3::Bucket":
		return "arn:aws:s3:::" + r.text(x.Properties["BucketName"])
	case "AWS::Lambda::Function":
		return in("lambda", "function:"+r.text(x.Properties["FunctionName"]))
	case "AWS::StepFunctions::StateMachine":
		return in("states", "stateMachine:"+r.text(x.Properties["StateMachineName"]))
	case "AWS::Logs::LogGroup":
		return in("logs", "log-group:"+r.text(x.Properties["LogGroupName"])+":*")
	case "AWS::KMS::Key":
		return "KEY"
	case "AWS::IAM::Role":
		return "ROLE:" + id
	}
	return id + ".Arn"
}

// list is a text or a list of texts as a list.
func (r resolver) list(v any) []string {
	r.t.Helper()
	if many, ok := v.([]any); ok {
		out := make([]string, 0, len(many))
		for _, one := range many {
			out = append(out, r.text(one))
		}
		return out
	}
	if v == nil {
		return nil
	}
	return []string{r.text(v)}
}
